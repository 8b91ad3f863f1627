// decode_rle: one frame of RLE into samples. Ours, though codecs are else taken from libraries: DCMTK 3.6.7 reads the
// code 0x80, which stands for nothing, as a run of 129 bytes and gives other pixels without a word; it also takes one
// fragment for one frame, says nothing when the data run out, and needs several times as long.
//
// Guarantee: allocates for as many samples as asked, whatever the stream says; segments outside it are refused.
// Threads:   reentrant.
// Source:    PS3.5 annex G.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "config/base/status.h"
#include "dicom_node/object/bytes.h"

namespace node::object {

// Samples interleaved, `sample_bytes` each, in the machine's byte order. What a segment holds behind its last pixel is
// padding. `seen` is given each piece of them while it is in the cache. Errors: kInvalidArgument (damaged, short).
Result<Bytes> decode_rle(
    std::string_view stream, std::size_t pixels, std::size_t samples, std::size_t sample_bytes,
    const std::function<void(std::span<const std::uint8_t>)>& seen = [](std::span<const std::uint8_t>) {});

}  // namespace node::object
