#include "dicom_node/report/finding_list.h"

#include <algorithm>

namespace node::report {
namespace {

constexpr int kLinesPerColumn = 6;  // With fewer a second column only makes the eye jump.
constexpr int kColumnsMax = 3;

// Bright and bold say "look here first", not "ill": a certain finding may be a healthy one ("KL 0 0.97 certain").
TextStyle style_of(const FindingLine& line, int size_px) {
  if (line.level == Level::kCertain) return {.size_px = size_px, .bold = true, .colour = {255, 255, 255}};
  if (line.level == Level::kNegative) return {.size_px = size_px, .colour = {150, 150, 155}};
  return {.size_px = size_px, .colour = {225, 225, 225}};
}

// Where each line lies, from the top left of the list; column after column.
struct Arrangement {
  std::vector<Rectangle> places;
  int height = 0;
};

Arrangement arrange(const std::vector<FindingLine>& lines, int size_px, int width) {
  const int gap = 2 * size_px;
  int widest = 1;
  for (const FindingLine& line : lines) widest = std::max(widest, text_width(line.text, style_of(line, size_px)));
  const int count = static_cast<int>(lines.size());
  const int wanted = std::min(kColumnsMax, (count + kLinesPerColumn - 1) / kLinesPerColumn);
  const int columns = std::max(1, std::min(wanted, (width + gap) / (widest + gap)));
  const int column_width = (width + gap) / columns - gap;
  const int per_column = (count + columns - 1) / columns;

  Arrangement arrangement;
  int y = 0;
  for (int i = 0; i < count; ++i) {
    if (i % per_column == 0) y = 0;
    const FindingLine& line = lines[static_cast<std::size_t>(i)];
    const int height = text_height(line.text, style_of(line, size_px), column_width);
    arrangement.places.push_back({i / per_column * (column_width + gap), y, column_width, height});
    y += height;
    arrangement.height = std::max(arrangement.height, y);
  }
  return arrangement;
}

}  // namespace

int finding_list_height(const std::vector<FindingLine>& lines, int size_px, int width) {
  return arrange(lines, size_px, width).height;
}

int draw_finding_list(Canvas& canvas, const std::vector<FindingLine>& lines, int size_px, int x, int y, int width) {
  const Arrangement arrangement = arrange(lines, size_px, width);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const Rectangle& place = arrangement.places[i];
    canvas.text(lines[i].text, style_of(lines[i], size_px), x + place.x, y + place.y, place.width);
  }
  return arrangement.height;
}

}  // namespace node::report
