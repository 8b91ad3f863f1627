#include "dicom_node/report/contact_sheet.h"

#include <fmt/format.h>

#include <algorithm>

namespace node::report {
namespace {

constexpr Colour kCell{30, 30, 33};
constexpr int kSide = 280;  // Box into which each picture is fitted.
constexpr int kGap = 12;
constexpr int kCellWidth = 2 * kSide + 3 * kGap;

const TextStyle kTitle{.size_px = 26, .bold = true};
const TextStyle kWarning{.size_px = 18, .bold = true, .colour = {255, 191, 0}};
const TextStyle kName{.size_px = 16, .bold = true};
const TextStyle kLine{.size_px = 15};
const TextStyle kCaption{.size_px = 14, .colour = {165, 165, 170}};

RgbImage grey_to_rgb(const object::GrayImage& grey) {
  RgbImage image{grey.rows, grey.columns, {}};
  image.pixels.reserve(grey.pixels.size() * 3);
  for (const std::uint8_t value : grey.pixels) image.pixels.insert(image.pixels.end(), 3, value);
  return image;
}

std::string lines_of(const ContactSheetEntry& entry) { return fmt::format("{}", fmt::join(entry.lines, "\n")); }

int cell_height(const ContactSheetEntry& entry) {
  const int width = kCellWidth - 2 * kGap;
  return kGap + text_height(entry.title, kName, width) + kGap + kSide + kGap +
         (entry.lines.empty() ? 0 : text_height(lines_of(entry), kLine, width) + kGap);
}

void put_centred(Canvas& canvas, const RgbImage& image, int x, int y) {
  const RgbImage small = fit(image, kSide, kSide);
  canvas.put(small, x + (kSide - small.columns) / 2, y + (kSide - small.rows) / 2);
}

void draw_cell(Canvas& canvas, const ContactSheetEntry& entry, int x, int y, int height) {
  canvas.fill({x, y, kCellWidth, height}, kCell);
  const int width = kCellWidth - 2 * kGap;
  x += kGap;
  y += kGap;
  y += canvas.text(entry.title, kName, x, y, width) + kGap;
  put_centred(canvas, grey_to_rgb(entry.radiograph), x, y);
  if (entry.overlay.rows > 0)
    put_centred(canvas, crop(entry.overlay, entry.overlay_picture), x + kSide + kGap, y);
  else
    canvas.text("no anomaly map", kCaption, x + kSide + kGap, y + kSide / 2 - 8, kSide);
  y += kSide + kGap;
  if (!entry.lines.empty()) canvas.text(lines_of(entry), kLine, x, y, width);
}

}  // namespace

Result<RgbImage> draw_contact_sheet(const std::vector<ContactSheetEntry>& entries, const std::string& title,
                                    const std::string& disclaimer) {
  if (entries.empty()) return invalid_argument("draw contact sheet: no images");
  for (const ContactSheetEntry& entry : entries) {
    const object::GrayImage& grey = entry.radiograph;
    if (grey.rows <= 0 || grey.columns <= 0 || grey.pixels.size() != static_cast<std::size_t>(grey.rows) * grey.columns)
      return invalid_argument("draw contact sheet: " + entry.title + ": no radiograph");
  }
  // About as wide as high; cells of one row are equally high.
  const int across = entries.size() <= 2 ? static_cast<int>(entries.size()) : entries.size() <= 8 ? 2 : 3;
  const int columns = std::max(640, across * (kCellWidth + kGap) + kGap);
  const int inner = columns - 2 * kGap;
  const int head = kGap + text_height(title, kTitle, inner) + text_height(disclaimer, kWarning, inner) + kGap;
  std::vector<int> heights;
  int rows = head;
  for (std::size_t first = 0; first < entries.size(); first += across) {
    int height = 0;
    for (std::size_t i = first; i < std::min(entries.size(), first + across); ++i)
      height = std::max(height, cell_height(entries[i]));
    heights.push_back(height);
    rows += height + kGap;
  }

  Canvas canvas(rows, columns, kBackground);
  int y = kGap + canvas.text(title, kTitle, kGap, kGap, inner);
  canvas.text(disclaimer, kWarning, kGap, y, inner);
  y = head;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const int column = static_cast<int>(i % across);
    draw_cell(canvas, entries[i], kGap + column * (kCellWidth + kGap), y, heights[i / across]);
    if (column == across - 1) y += heights[i / across] + kGap;
  }
  return canvas.image();
}

}  // namespace node::report
