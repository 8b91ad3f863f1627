// check_jpeg_stream: a JPEG stream before a decoder sees it: the size in its frame header, which decides what is
// allocated, and the sizes in its Huffman tables, which DCMTK's decoders take for places in an array of 16.
//
// Source:    ITU-T T.81 B.2; T.871 (JFIF); T.872 6.5.3 (Adobe).
#pragma once

#include <string_view>

#include "config/base/status.h"

namespace node::object {

// Errors: kInvalidArgument (damaged, another size, an impossible table).
Status check_jpeg_stream(std::string_view stream, int rows, int columns);

// What a JPEG stream says of its own colours: by component ids R, G, B (as libjpeg writes them), a JFIF marker, which
// stands for YCbCr, or Adobe's; by nothing else.
enum class JpegColours { kUnsaid, kRgb, kYcbcr };
JpegColours jpeg_colours(std::string_view stream);

}  // namespace node::object
