#include "dicom_node/object/rle.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

namespace node::object {
namespace {

// A segment, unpacked piece by piece (PS3.5 G.3.2): pieces stay in the cache until they are put together.
class Unpacker {
 public:
  explicit Unpacker(std::string_view segment)
      : in_(reinterpret_cast<const std::uint8_t*>(segment.data())), end_(in_ + segment.size()) {}

  // The next `size` bytes. False if the segment ends before them.
  bool next(std::uint8_t* out, std::size_t size) {
    std::uint8_t* const out_end = out + size;
    while (out < out_end) {
      if (left_ == 0) {
        if (in_ == end_) return false;
        const std::size_t code = *in_++;
        if (code == 128) continue;
        is_run_ = code > 128;
        left_ = is_run_ ? 257 - code : code + 1;
        if (static_cast<std::size_t>(end_ - in_) < (is_run_ ? 1 : left_)) {
          if (in_ == end_) return false;
          left_ = static_cast<std::size_t>(end_ - in_);  // What there is of it; the next code is missed then.
        }
      }
      const std::size_t length = std::min(left_, static_cast<std::size_t>(out_end - out));
      const bool roomy = out_end - out >= kWide && end_ - in_ >= kWide;  // Most are short: copies of a constant size.
      if (is_run_) {
        roomy&& length <= kWide ? std::memset(out, *in_, kWide) : std::memset(out, *in_, length);
      } else {
        roomy&& length <= kWide ? std::memcpy(out, in_, kWide) : std::memcpy(out, in_, length);
        in_ += length;
      }
      out += length;
      left_ -= length;
      if (is_run_ && left_ == 0) ++in_;
    }
    return true;
  }

 private:
  static constexpr std::ptrdiff_t kWide = 32;
  const std::uint8_t* in_;
  const std::uint8_t* const end_;
  std::size_t left_ = 0;  // Of the code that was read last.
  bool is_run_ = false;
};

}  // namespace

Result<Bytes> decode_rle(std::string_view stream, std::size_t pixels, std::size_t samples, std::size_t sample_bytes) {
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
  constexpr std::size_t kPiece = 16 * 1024;
  std::vector<std::uint8_t> pieces(segments * kPiece);
  Bytes bytes(pixels * segments);
  for (std::size_t at = 0; at < pixels; at += kPiece) {
    const std::size_t size = std::min(kPiece, pixels - at);
    std::uint8_t* const out = bytes.data() + at * segments;
    for (std::size_t s = 0; s < segments; ++s) {
      if (!planes[s].next(segments == 1 ? out : pieces.data() + s * kPiece, size))
        return invalid_argument("the RLE stream is damaged: a segment ends too early");
    }
    if (segments == 2 && samples == 1) {  // Most radiographs: worth a loop that a compiler can widen.
      const std::uint8_t *high = pieces.data(), *low = high + kPiece;
      auto* const cells = reinterpret_cast<std::uint16_t*>(out);
      for (std::size_t i = 0; i < size; ++i) cells[i] = static_cast<std::uint16_t>(high[i] << 8 | low[i]);
    } else if (segments > 1) {
      for (std::size_t s = 0; s < segments; ++s) {
        // The most significant byte of a sample comes first.
        const std::size_t byte = s / sample_bytes * sample_bytes + sample_bytes - 1 - s % sample_bytes;
        for (std::size_t i = 0; i < size; ++i) out[i * segments + byte] = pieces[s * kPiece + i];
      }
    }
  }
  return bytes;
}

}  // namespace node::object
