#include "dicom_node/object/rle.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace node::object {
namespace {

// PS3.5 G.3.2. False if the segment ends before `size` bytes have come of it.
bool unpack(std::string_view segment, std::uint8_t* out, std::size_t size) {
  const auto* in = reinterpret_cast<const std::uint8_t*>(segment.data());
  const std::uint8_t* const end = in + segment.size();
  while (size > 0) {
    if (in == end) return false;
    const std::size_t code = *in++;
    if (code == 128) continue;
    const std::size_t length = std::min(size, code < 128 ? code + 1 : 257 - code);
    const std::size_t taken = code < 128 ? length : 1;
    if (static_cast<std::size_t>(end - in) < taken) return false;
    if (code < 128) {
      std::memcpy(out, in, length);
    } else {
      std::memset(out, *in, length);
    }
    in += taken;
    out += length;
    size -= length;
  }
  return true;
}

}  // namespace

Result<std::vector<std::uint8_t>> decode_rle(std::string_view stream, std::size_t pixels, std::size_t samples,
                                             std::size_t sample_bytes) {
  std::array<std::uint32_t, 16> header;  // The number of segments, then where each begins.
  if (stream.size() < sizeof header) return invalid_argument("the RLE stream is shorter than its header");
  std::memcpy(header.data(), stream.data(), sizeof header);
  const std::size_t segments = samples * sample_bytes;
  if (header[0] != segments)
    return invalid_argument("the RLE stream has another number of segments than the header says");

  std::vector<std::uint8_t> planes(pixels * segments);
  for (std::size_t s = 0; s < segments; ++s) {
    const std::size_t first = header[s + 1], end = s + 1 < segments ? header[s + 2] : stream.size();
    if (first < sizeof header || first > end || end > stream.size())
      return invalid_argument("the RLE stream is damaged: a segment outside it");
    if (!unpack(stream.substr(first, end - first), planes.data() + s * pixels, pixels))
      return invalid_argument("the RLE stream is damaged: a segment ends too early");
  }
  if (segments == 1) return planes;

  std::vector<std::uint8_t> bytes(planes.size());
  if (segments == 2 && samples == 1) {  // Most radiographs: worth a loop that a compiler can widen.
    const std::uint8_t *high = planes.data(), *low = high + pixels;
    auto* const cells = reinterpret_cast<std::uint16_t*>(bytes.data());
    for (std::size_t i = 0; i < pixels; ++i) cells[i] = static_cast<std::uint16_t>(high[i] << 8 | low[i]);
    return bytes;
  }
  for (std::size_t s = 0; s < segments; ++s) {
    // The most significant byte of a sample comes first.
    const std::size_t sample = s / sample_bytes, byte = sample_bytes - 1 - s % sample_bytes;
    std::uint8_t* const out = bytes.data() + sample * sample_bytes + byte;
    for (std::size_t i = 0; i < pixels; ++i) out[i * segments] = planes[s * pixels + i];
  }
  return bytes;
}

}  // namespace node::object
