// load_uncompressed: a compressed file with its pixels decoded and all else as it is, for a peer that takes nothing
// else.
//
// Guarantee: the values are those that the models' images are made of, before bits are dropped or moved: RLE and
//            JPEG 2000 by the decoders of PixelReader (DCMTK 3.6.7 has none of the latter and misreads the former), the
//            JPEG and JPEG-LS families by DCMTK's.
// Threads:   reentrant; one DcmFileFormat belongs to one thread.
// Source:    PS3.5 8.2, annex A.4; PS3.3 C.7.6.3.1.2, C.7.6.3.1.3 (colour is interleaved afterwards).
#pragma once

#include <filesystem>

#include "config/base/status.h"

class DcmFileFormat;

namespace node::object {

// `into` can then be written as Explicit or Implicit VR Little Endian. A file that is not compressed is only loaded.
// Errors: as load_dataset() and PixelReader; kUnsupported (no decoder).
Status load_uncompressed(const std::filesystem::path& file, DcmFileFormat& into);

}  // namespace node::object
