#include "dicom_node/object/rle.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

namespace node::object {
namespace {

constexpr std::size_t kPiece = 16 * 1024, kLongest = 128;  // Bytes; the latter those that one code stands for.

// A segment, unpacked piece by piece (PS3.5 G.3.2): pieces stay in the cache until they are put together. Codes are
// unpacked whole, and what goes beyond a piece begins the next.
class Unpacker {
 public:
  explicit Unpacker(std::string_view segment)
      : in_(reinterpret_cast<const std::uint8_t*>(segment.data())), end_(in_ + segment.size()) {}

  // The next `size` bytes, at most kPiece. Null if the segment ends before them.
  const std::uint8_t* next(std::size_t size) {
    std::uint8_t *const piece = piece_.data(), *const piece_end = piece + size;
    std::memmove(piece, piece + given_, beyond_);
    std::uint8_t* out = piece + beyond_;
    const std::uint8_t* in = in_;  // In a register: what is written through `out` could be a member.
    while (out < piece_end) {
      if (in == end_) return nullptr;
      const std::size_t code = *in++;
      if (code == 128) continue;
      const auto left = static_cast<std::size_t>(end_ - in);
      if (left == 0) return nullptr;
      // Copies of a constant size, of which too much is overwritten: most are short, and none is longer than kLongest.
      constexpr std::size_t kMost = 32;
      const std::size_t length = code > 128 ? 257 - code : std::min(code + 1, left);  // What there is of a literal.
      if (code > 128) {
        std::memset(out, *in, kMost);
        if (length > kMost) std::memset(out + kMost, *in, kLongest - kMost);
        ++in;
      } else if (left < kLongest) {
        std::memcpy(out, in, length);
        in += length;
      } else {
        std::memcpy(out, in, kMost);
        if (length > kMost) std::memcpy(out + kMost, in + kMost, kLongest - kMost);
        in += length;
      }
      out += length;
    }
    in_ = in;
    given_ = size;
    beyond_ = static_cast<std::size_t>(out - piece_end);
    return piece;
  }

 private:
  const std::uint8_t* in_;
  const std::uint8_t* const end_;
  Bytes piece_ = Bytes(kPiece + kLongest);
  std::size_t given_ = 0, beyond_ = 0;  // Of piece_: what was given out last, and what was unpacked behind it.
};

}  // namespace

Result<Bytes> decode_rle(std::string_view stream, std::size_t pixels, std::size_t samples, std::size_t sample_bytes,
                         const std::function<void(std::span<const std::uint8_t>)>& seen) {
  std::array<std::uint32_t, 16> header;  // The number of segments, then where each begins.
  if (stream.size() < sizeof header) return invalid_argument("the RLE stream is shorter than its header");
  std::memcpy(header.data(), stream.data(), sizeof header);
  const std::size_t segments = samples * sample_bytes;
  if (header[0] != segments)
    return invalid_argument("the RLE stream has another number of segments than the header says");

  std::vector<Unpacker> planes;
  for (std::size_t s = 0; s < segments; ++s) {
    const std::size_t first = header[s + 1], end = s + 1 < segments ? header[s + 2] : stream.size();
    if (first < sizeof header || first > end || end > stream.size())
      return invalid_argument("the RLE stream is damaged: a segment outside it");
    planes.emplace_back(stream.substr(first, end - first));
  }
  std::vector<const std::uint8_t*> pieces(segments);
  Bytes bytes(pixels * segments);
  for (std::size_t at = 0; at < pixels; at += kPiece) {
    const std::size_t size = std::min(kPiece, pixels - at);
    std::uint8_t* const out = bytes.data() + at * segments;
    for (std::size_t s = 0; s < segments; ++s) {
      pieces[s] = planes[s].next(size);
      if (pieces[s] == nullptr) return invalid_argument("the RLE stream is damaged: a segment ends too early");
    }
    if (segments == 2 && samples == 1) {  // Most radiographs: worth a loop that a compiler can widen.
      const std::uint8_t *high = pieces[0], *low = pieces[1];
      auto* const cells = reinterpret_cast<std::uint16_t*>(out);
      for (std::size_t i = 0; i < size; ++i) cells[i] = static_cast<std::uint16_t>(high[i] << 8 | low[i]);
    } else {
      for (std::size_t s = 0; s < segments; ++s) {
        // The most significant byte of a sample comes first.
        const std::size_t byte = s / sample_bytes * sample_bytes + sample_bytes - 1 - s % sample_bytes;
        for (std::size_t i = 0; i < size; ++i) out[i * segments + byte] = pieces[s][i];
      }
    }
    seen({out, size * segments});
  }
  return bytes;
}

}  // namespace node::object
