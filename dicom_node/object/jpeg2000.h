// decode_jpeg2000: a JPEG 2000 or HTJ2K codestream into samples; DCMTK 3.6.7 has no decoder for it.
//
// Guarantee: refuses a codestream of another size than asked before anything is allocated for its samples.
// Source:    PS3.5 A.4.4; ISO/IEC 15444-1 and -15.
#pragma once

#include <string_view>

#include "config/base/status.h"
#include "dicom_node/object/bytes.h"

namespace node::object {

struct Jpeg2000Image {
  bool is_signed = false;
  bool colour_transformed = false;  // Its components were YBR and are RGB now.
  Bytes bytes;                      // Samples, interleaved, `sample_bytes` each, in the machine's byte order.
};

// `sample_bytes`: 1 or 2; what does not fit is cut off at the top.
// Errors: kInvalidArgument (damaged, or another size), kUnsupported (subsampled, more than 16 bits).
Result<Jpeg2000Image> decode_jpeg2000(std::string_view codestream, int rows, int columns, int samples_per_pixel,
                                      int sample_bytes);

}  // namespace node::object
