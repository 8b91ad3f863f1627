#include "dicom_node/object/rle.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcrledec.h>
#include <dcmtk/dcmdata/dctypes.h>

#include <array>
#include <cstring>

namespace node::object {

Result<std::vector<std::uint8_t>> decode_rle(std::string_view stream, std::size_t pixels, std::size_t samples,
                                             std::size_t sample_bytes) {
  std::array<std::uint32_t, 16> header;  // The number of segments, then where each begins.
  if (stream.size() < sizeof header) return invalid_argument("the RLE stream is shorter than its header");
  std::memcpy(header.data(), stream.data(), sizeof header);
  const std::size_t segments = samples * sample_bytes;
  if (header[0] != segments)
    return invalid_argument("the RLE stream has another number of segments than the header says");

  std::vector<std::uint8_t> bytes(pixels * segments);
  DcmRLEDecoder decoder(pixels);
  for (std::size_t s = 0; s < segments; ++s) {
    const std::size_t first = header[s + 1], end = s + 1 < segments ? header[s + 2] : stream.size();
    if (first < sizeof header || first > end || end > stream.size())
      return invalid_argument("the RLE stream is damaged: a segment outside it");
    decoder.clear();
    // A run that is longer than the segment's pixels is an error to DCMTK, bytes behind the last are not: padding.
    (void)decoder.decompress(const_cast<char*>(stream.data() + first), end - first);
    if (decoder.size() != pixels) return invalid_argument("the RLE stream is damaged: a segment ends too early");
    // The most significant byte of a sample comes first.
    const std::size_t sample = s / sample_bytes, byte = sample_bytes - 1 - s % sample_bytes;
    const auto* plane = static_cast<const std::uint8_t*>(decoder.getOutputBuffer());
    std::uint8_t* out = bytes.data() + sample * sample_bytes + byte;
    for (std::size_t i = 0; i < pixels; ++i) out[i * segments] = plane[i];
  }
  return bytes;
}

}  // namespace node::object
