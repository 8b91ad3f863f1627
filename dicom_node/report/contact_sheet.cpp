#include "dicom_node/report/contact_sheet.h"

#include <fmt/format.h>

#include <algorithm>

namespace node::report {
namespace {

constexpr Colour kCell{30, 30, 33};
constexpr int kSide = 280;  // Box into which each picture is fitted; more where the tables need a wider cell.
constexpr int kSideMax = 400;
constexpr int kGap = 12;

const TextStyle kTitle{.size_px = 26, .bold = true};
const TextStyle kWarning{.size_px = 18, .bold = true, .colour = {255, 191, 0}};
const TextStyle kName{.size_px = 16, .bold = true};
const TextStyle kLine{.size_px = 15};
const TextStyle kTableTitle{.size_px = 15, .bold = true};
const TextStyle kCaption{.size_px = 14, .colour = {165, 165, 170}};

std::string lines_of(const ContactSheetEntry& entry) { return fmt::format("{}", fmt::join(entry.lines, "\n")); }

// What all cells have in common.
struct CellSize {
  int side = kSide;
  int inner = 0;  // Without the gaps around.
  int width() const { return inner + 2 * kGap; }
};

bool has_regions(const ContactSheetEntry& entry) { return entry.regions.rows > 0 || !entry.tables.empty(); }

// Radiograph, map and boxes beside each other, where any entry has them all; as wide as the widest table.
CellSize size_of_cells(const std::vector<ContactSheetEntry>& entries) {
  int pictures = 2;
  CellSize size;
  for (const ContactSheetEntry& entry : entries) {
    if (entry.overlay.rows > 0 && entry.regions.rows > 0) pictures = 3;
    for (const ContactSheetEntry::Table& table : entry.tables) size.inner = std::max(size.inner, table.rows.width());
  }
  size.side = std::clamp((size.inner - (pictures - 1) * kGap) / pictures, kSide, kSideMax);
  size.inner = std::max(size.inner, pictures * size.side + (pictures - 1) * kGap);
  return size;
}

int cell_height(const ContactSheetEntry& entry, const CellSize& size) {
  int height = kGap + text_height(entry.title, kName, size.inner) + kGap + size.side + kGap +
               (entry.lines.empty() ? 0 : text_height(lines_of(entry), kLine, size.inner) + kGap);
  for (const ContactSheetEntry::Table& table : entry.tables)
    height += text_height(table.title, kTableTitle, size.inner) + table.rows.height() + kGap;
  return height;
}

void put_centred(Canvas& canvas, const RgbImage& image, int side, int x, int y) {
  const RgbImage small = fit(image, side, side);
  canvas.put(small, x + (side - small.columns) / 2, y + (side - small.rows) / 2);
}

void draw_cell(Canvas& canvas, const ContactSheetEntry& entry, const CellSize& size, int x, int y, int height) {
  canvas.fill({x, y, size.width(), height}, kCell);
  x += kGap;
  y += kGap;
  y += canvas.text(entry.title, kName, x, y, size.inner) + kGap;
  int left = x;
  const auto put = [&](const RgbImage& image) {
    put_centred(canvas, image, size.side, left, y);
    left += size.side + kGap;
  };
  put(to_rgb(entry.radiograph.rows, entry.radiograph.columns, entry.radiograph.pixels));
  if (entry.overlay.rows > 0) put(crop(entry.overlay, entry.overlay_picture));
  if (entry.regions.rows > 0) put(entry.regions);
  if (entry.overlay.rows <= 0 && entry.regions.rows <= 0)
    canvas.text("no anomaly map", kCaption, left, y + size.side / 2 - 8, size.side);
  y += size.side + kGap;
  if (!entry.lines.empty()) y += canvas.text(lines_of(entry), kLine, x, y, size.inner) + kGap;
  for (const ContactSheetEntry::Table& table : entry.tables) {
    y += canvas.text(table.title, kTableTitle, x, y, size.inner);
    table.rows.draw(canvas, x, y);
    y += table.rows.height() + kGap;
  }
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
  const CellSize size = size_of_cells(entries);
  const bool wide = std::any_of(entries.begin(), entries.end(), has_regions);
  const int across = entries.size() <= 2 ? static_cast<int>(entries.size()) : entries.size() <= 8 || wide ? 2 : 3;
  const int columns = std::max(640, across * (size.width() + kGap) + kGap);
  const int inner = columns - 2 * kGap;
  const int head = kGap + text_height(title, kTitle, inner) + text_height(disclaimer, kWarning, inner) + kGap;
  std::vector<int> heights;
  int rows = head;
  for (std::size_t first = 0; first < entries.size(); first += across) {
    int height = 0;
    for (std::size_t i = first; i < std::min(entries.size(), first + across); ++i)
      height = std::max(height, cell_height(entries[i], size));
    heights.push_back(height);
    rows += height + kGap;
  }

  Canvas canvas(rows, columns, kBackground);
  int y = kGap + canvas.text(title, kTitle, kGap, kGap, inner);
  canvas.text(disclaimer, kWarning, kGap, y, inner);
  y = head;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const int column = static_cast<int>(i % across);
    draw_cell(canvas, entries[i], size, kGap + column * (size.width() + kGap), y, heights[i / across]);
    if (column == across - 1) y += heights[i / across] + kGap;
  }
  return canvas.image();
}

}  // namespace node::report
