#include "dicom_node/object/jpeg_stream.h"

#include <algorithm>
#include <cstddef>
#include <string>

namespace node::object {
namespace {

// Of a JPEG stream's Huffman tables (DHT, ITU-T T.81 B.2.4.2) for DC coefficients or lossless differences.
int greatest_dc_symbol(std::string_view segment) {
  constexpr std::size_t kHead = 17;  // Class and destination, and how many codes there are of each length.
  int greatest = 0;
  while (segment.size() >= kHead) {
    std::size_t count = 0;
    for (const char codes : segment.substr(1, kHead - 1)) count += static_cast<unsigned char>(codes);
    if ((segment[0] & 0x10) == 0) {
      for (const char symbol : segment.substr(kHead, count))
        greatest = std::max(greatest, int{static_cast<unsigned char>(symbol)});
    }
    segment.remove_prefix(std::min(segment.size(), kHead + count));
  }
  return greatest;
}

}  // namespace

Status check_jpeg_stream(std::string_view stream, int rows, int columns) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(stream[i]); };
  if (stream.size() < 4 || byte(0) != 0xFF || byte(1) != 0xD8) return invalid_argument("no JPEG stream");
  bool has_frame = false, lossless = false;
  int greatest = 0;
  for (std::size_t at = 2; at + 4 <= stream.size();) {
    if (byte(at) != 0xFF && !has_frame) return invalid_argument("the JPEG stream is damaged");
    const unsigned char marker = byte(at + 1);
    if (byte(at) != 0xFF || marker == 0xFF) {  // Of a scan, or a fill byte.
      ++at;
      continue;
    }
    if (has_frame && (marker < 0xC0 || (marker >= 0xD0 && marker <= 0xD7))) {  // Stuffed, or a restart.
      at += 2;
      continue;
    }
    if (marker == 0xD9) break;
    const std::string_view segment =
        stream.substr(at + 4, std::max<std::size_t>(byte(at + 2) << 8 | byte(at + 3), 2) - 2);
    if (marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC) {
      if (segment.size() < 5) break;
      const int height = byte(at + 5) << 8 | byte(at + 6), width = byte(at + 7) << 8 | byte(at + 8);
      if (height != rows || width != columns)
        return invalid_argument("the JPEG stream has another size than the header says");
      has_frame = true;
      lossless = marker == 0xC3;
    }
    if (marker == 0xC4) greatest = std::max(greatest, greatest_dc_symbol(segment));
    at += 4 + segment.size();
  }
  if (!has_frame) return invalid_argument("the JPEG stream has no frame header");
  if (greatest > (lossless ? 16 : 15)) return invalid_argument("the JPEG stream has an impossible Huffman table");
  return ok_status();
}

JpegColours jpeg_colours(std::string_view stream) {
  using namespace std::string_view_literals;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(stream[i]); };
  JpegColours said = JpegColours::kUnsaid;
  for (std::size_t at = 2; at + 4 <= stream.size() && byte(at) == 0xFF;) {
    const unsigned char marker = byte(at + 1);
    if (marker == 0xFF) {  // A fill byte.
      ++at;
      continue;
    }
    const std::string_view segment =
        stream.substr(at + 4, std::max<std::size_t>(byte(at + 2) << 8 | byte(at + 3), 2) - 2);
    constexpr std::size_t kTransform = 11;
    if (marker == 0xE0 && segment.starts_with("JFIF\0"sv)) said = JpegColours::kYcbcr;
    if (marker == 0xEE && segment.starts_with("Adobe"sv) && segment.size() > kTransform &&
        said == JpegColours::kUnsaid && static_cast<unsigned char>(segment[kTransform]) <= 1)
      said = segment[kTransform] == 0 ? JpegColours::kRgb : JpegColours::kYcbcr;
    if (marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC) {
      constexpr std::size_t kComponents = 5, kFirstId = 6, kNextId = 3;  // Behind precision, height and width.
      const bool of_three = segment.size() > kFirstId + 2 * kNextId && segment[kComponents] == 3;
      if (!of_three) return said;
      const std::string ids{segment[kFirstId], segment[kFirstId + kNextId], segment[kFirstId + 2 * kNextId]};
      return ids == "RGB" || ids == "rgb" ? JpegColours::kRgb : said;
    }
    at += 4 + segment.size();
  }
  return said;
}

}  // namespace node::object
