// decode_jpeg_ls: a JPEG-LS codestream into samples, by CharLS 2: DCMTK's copy of version 1 reads beyond a table where
// a damaged stream leads it there, and no header shows that.
//
// Guarantee: refuses a codestream of another size than asked before anything is allocated for its samples.
// Source:    PS3.5 A.4.3; ISO/IEC 14495-1 C.2.
#pragma once

#include <string>

#include "config/base/status.h"
#include "dicom_node/object/bytes.h"

namespace node::object {

struct JpegLsImage {
  bool planar = false;  // One component after the other (interleave mode none); else samples interleaved.
  Bytes bytes;          // `sample_bytes` each, in the machine's byte order.
};

// `sample_bytes`: 1 or 2; a stream of fewer bits is widened.
// Errors: kInvalidArgument (damaged, cut, or of another size, other components or more bits), kResourceExhausted.
Result<JpegLsImage> decode_jpeg_ls(std::string codestream, int rows, int columns, int samples_per_pixel,
                                   int sample_bytes);

}  // namespace node::object
