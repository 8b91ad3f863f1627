// Canvas: where the node's pictures are drawn: coloured areas, images, and text of any script.
//
// Guarantee: the same calls give the same bytes on one installation of fonts; settings of desktop, user and environment
//            (hinting, sub-pixel order, resolution, language, preferred fonts) have no influence. Text is DejaVu Sans
//            (Debian fonts-dejavu-core: Latin, Greek, Cyrillic, Arabic, Hebrew), for other scripts what fontconfig
//            finds; a character that no font has is drawn as '?'.
// Threads:   one canvas per thread; several threads may draw at once.
// Shapes:    pictures are rows x columns x RGB, 8 bit, row-major. x counts columns, y rows, from the top left.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "config/base/status.h"

namespace node::report {

using Colour = std::array<std::uint8_t, 3>;
inline constexpr Colour kBackground{16, 16, 18};  // Of every picture, wherever nothing is drawn.

struct RgbImage {
  int rows = 0, columns = 0;
  std::vector<std::uint8_t> pixels;

  Colour at(int y, int x) const {
    const std::size_t i = (static_cast<std::size_t>(y) * columns + x) * 3;
    return {pixels[i], pixels[i + 1], pixels[i + 2]};
  }
};

struct Rectangle {
  int x = 0, y = 0, width = 0, height = 0;
};

struct TextStyle {
  int size_px = 14;  // Of the font's em; capitals are about 0.7 of it.
  bool bold = false;
  bool centred = false;
  Colour colour{230, 230, 230};
};

// Height in pixels that `text` (UTF-8; may hold line breaks) takes when wrapped to `width`.
int text_height(const std::string& text, const TextStyle& style, int width);
// Width of the widest line of `text`, not wrapped.
int text_width(const std::string& text, const TextStyle& style);

// The characters of `text`, each once, that no installed font has.
std::string missing_characters(const std::string& text);

class Canvas {
 public:
  Canvas(int rows, int columns, Colour background);
  ~Canvas();
  Canvas(const Canvas&) = delete;
  Canvas& operator=(const Canvas&) = delete;

  void fill(const Rectangle& area, Colour colour);
  void frame(const Rectangle& area, Colour colour);  // One pixel wide, just inside the area.
  void put(const RgbImage& image, int x, int y);     // What lies outside is cut off.
  int text(const std::string& text, const TextStyle& style, int x, int y, int width);  // Returns the height drawn.
  RgbImage image() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A grey picture of rows x columns pixels, in colour.
RgbImage to_rgb(int rows, int columns, const std::vector<std::uint8_t>& grey);

// Shrinks (never enlarges) a picture to fit into rows x columns, its aspect ratio kept.
RgbImage fit(const RgbImage& image, int rows_max, int columns_max);

// The part of a picture that lies in `area`; all of it where that is empty.
RgbImage crop(const RgbImage& image, const Rectangle& area);

// The bytes of a PNG file. Errors: kInvalidArgument (no picture), kResourceExhausted (memory), kInternal.
Result<std::string> encode_png(const RgbImage& image);
// Errors: kInvalidArgument (no picture), kResourceExhausted (disk full), kInternal (cannot be written).
Status write_png(const RgbImage& image, const std::filesystem::path& file);

}  // namespace node::report
