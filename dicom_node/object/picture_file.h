// picture_file: a PNG or JPEG file in the form of a DICOM image, so that it is read by the one loader that there is.
//
// Guarantee: grey values are what the file holds; a JPEG's bytes are kept as they are and decoded by the loader. What
//            has no identity gets UIDs derived from its bytes: the same file is the same image.
// Threads:   reentrant.
// Source:    PS3.5 A.4.1 (JPEG), A.1 (uncompressed); PS3.3 A.2 (CR image). ISO 10918-1 B.2.2 (frame header).
#pragma once

#include <string>
#include <string_view>

#include "config/base/status.h"

namespace node::object {

bool is_picture(std::string_view bytes);  // By its first bytes: PNG or JPEG.

// A Part 10 file. `body_part`: what Body Part Examined (0018,0015) shall say; may be empty. A PNG of 16 bits is read
// with 8. Errors: kInvalidArgument (damaged), kUnsupported (progressive, lossless or arithmetic JPEG, CMYK),
// kResourceExhausted (larger than LoadOptions::pixels_max).
Result<std::string> picture_as_dicom(std::string_view bytes, const std::string& body_part);

}  // namespace node::object
