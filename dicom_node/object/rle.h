// decode_rle: one frame of RLE into samples. DCMTK's decoder of byte segments does the runs; its codec around it takes
// one fragment for one frame, says nothing when the data run out (3.6.7), and needs several times as long.
//
// Guarantee: allocates for as many samples as asked, whatever the stream says; segments outside it are refused.
// Source:    PS3.5 annex G.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "config/base/status.h"

namespace node::object {

// Samples interleaved, `sample_bytes` each, in the machine's byte order. Errors: kInvalidArgument (damaged, short).
Result<std::vector<std::uint8_t>> decode_rle(std::string_view stream, std::size_t pixels, std::size_t samples,
                                             std::size_t sample_bytes);

}  // namespace node::object
