#include "dicom_node/report/region_picture.h"

#include <fmt/format.h>

#include <algorithm>

#include "dicom_node/report/finding_list.h"
#include "dicom_node/report/finding_notes.h"
#include "dicom_node/report/finding_summary.h"

namespace node::report {
namespace {

using inference::Prediction;
using inference::Region;
using inference::RegionSource;

constexpr Colour kBlack{0, 0, 0}, kDim{150, 150, 155};
constexpr int kBesideEms = 32;  // Of the text: what findings want beside the radiograph.

struct Layout {
  int text_px, small_px, gap, columns, rows;
  Rectangle warning, note, table, findings, details;
};

TextStyle warning_style(const Layout& l) {
  return {.size_px = l.text_px * 5 / 4, .bold = true, .centred = true, .colour = kBlack};
}
TextStyle note_style(const Layout& l) { return {.size_px = l.text_px, .bold = true, .colour = kDecidingColour}; }
TextStyle small_style(const Layout& l) { return {.size_px = l.small_px, .colour = kDim}; }

// What is said of the regions, then the rest.
std::string notes_of(const Prediction& prediction, const OverlayText& text) {
  std::vector<std::string> notes = region_notes(prediction);
  for (const std::string& note : text.notes)
    if (std::find(notes.begin(), notes.end(), note) == notes.end()) notes.push_back(note);
  return fmt::format("{}", fmt::join(notes, "\n"));
}

int text_size(const object::GrayImage& radiograph) {
  return std::clamp(std::max(radiograph.rows, radiograph.columns) / 60, 16, 32);
}
int small_size(const object::GrayImage& radiograph) { return std::max(14, text_size(radiograph) * 4 / 5); }

Layout lay_out(const object::GrayImage& radiograph, const RegionTable& table, const std::string& notes,
               const OverlayText& text) {
  Layout l{};
  l.text_px = text_size(radiograph);
  l.small_px = small_size(radiograph);
  l.gap = l.text_px / 2;
  l.columns = std::max(radiograph.columns, table.width() + 2 * l.gap);
  if (l.columns > radiograph.columns)  // No strip beside it that is of no use.
    l.columns = std::max(l.columns, radiograph.columns + kBesideEms * l.text_px + 3 * l.gap);
  const int inner = l.columns - 2 * l.gap;
  int y = radiograph.rows;
  const auto place = [&](int height) {
    const Rectangle at{l.gap, y, inner, height};
    y += height + (height > 0 ? l.gap : 0);
    return at;
  };
  l.warning = {0, y, l.columns, text_height(text.disclaimer, warning_style(l), inner) + l.gap};
  y += l.warning.height + l.gap;
  l.note = place(notes.empty() ? 0 : text_height(notes, note_style(l), inner));
  l.table = place(table.height());
  const std::string details = fmt::format("{}", fmt::join(text.details, "\n"));
  // A small radiograph leaves room beside it: for the findings, then perhaps for the small print.
  const int x = radiograph.columns + 2 * l.gap, width = l.columns - x - l.gap;
  int used = l.gap;
  const auto fits_beside = [&](int height) {
    return width >= kBesideEms * l.text_px && used + height + l.gap <= radiograph.rows;
  };
  const int findings_height = finding_list_height(text.findings, l.text_px, std::max(width, 1));
  if (fits_beside(findings_height)) {
    l.findings = {x, used, width, findings_height};
    used += findings_height + l.gap;
  } else {
    l.findings = place(finding_list_height(text.findings, l.text_px, inner));
    used = radiograph.rows;
  }
  const int details_height = details.empty() ? 0 : text_height(details, small_style(l), std::max(width, 1));
  if (fits_beside(details_height)) {
    l.details = {x, used, width, details_height};
  } else {
    l.details = place(details.empty() ? 0 : text_height(details, small_style(l), inner));
  }
  l.rows = y + y % 2;  // Pixel data of an even length need no padding.
  return l;
}

void draw_box(Canvas& canvas, const Rectangle& box, int thickness, Colour colour) {
  for (int i = 0; i < thickness && box.width > 2 * i && box.height > 2 * i; ++i) {
    canvas.frame({box.x + i, box.y + i, box.width - 2 * i, box.height - 2 * i}, colour);
  }
}

// Numbers stand in the upper left corner of their boxes, beside those that are there already.
void draw_number(Canvas& canvas, const std::string& number, Rectangle tag, int limit, const TextStyle& style,
                 Colour colour, std::vector<Rectangle>& taken) {
  const auto overlaps = [&](const Rectangle& other) {
    return tag.x < other.x + other.width && other.x < tag.x + tag.width && tag.y < other.y + other.height &&
           other.y < tag.y + tag.height;
  };
  for (bool moved = true; moved;) {
    const auto in_the_way = std::find_if(taken.begin(), taken.end(), overlaps);
    moved = in_the_way != taken.end() && in_the_way->x + in_the_way->width + tag.width <= limit;
    if (moved) tag.x = in_the_way->x + in_the_way->width;
  }
  taken.push_back(tag);
  canvas.fill(tag, colour);
  canvas.text(number, style, tag.x, tag.y, tag.width);
}

// Over a radiograph at the top left of the canvas.
void draw_boxes(Canvas& canvas, int text_px, const object::GrayImage& radiograph, int source_rows, int source_columns,
                const Prediction& prediction, std::vector<Rectangle> taken) {
  const auto place = [&](const inference::Box& box) {
    const auto x = [&](std::int64_t at) { return static_cast<int>(at * radiograph.columns / source_columns); };
    const auto y = [&](std::int64_t at) { return static_cast<int>(at * radiograph.rows / source_rows); };
    return Rectangle{x(box.left), y(box.top), std::max(1, x(box.right) - x(box.left)),
                     std::max(1, y(box.bottom) - y(box.top))};
  };
  const int thin = std::max(2, text_px / 8);
  for (const bool deciding : {false, true}) {  // The deciding one lies over the others.
    // The whole image has a box only where it decides.
    for (std::size_t r = deciding ? 0 : 1; r < prediction.regions.size(); ++r) {
      if (decides(prediction, r) != deciding) continue;
      draw_box(canvas, place(prediction.regions[r].box), deciding ? 2 * thin : thin,
               deciding ? kDecidingColour : kRegionColour);
    }
  }
  for (std::size_t r = 1; r < prediction.regions.size(); ++r) {
    const Rectangle box = place(prediction.regions[r].box);
    const TextStyle style{.size_px = text_px, .bold = true, .centred = true, .colour = kBlack};
    const std::string number = std::to_string(r);
    const Rectangle tag{box.x, box.y, text_width(number, style) + text_px / 2, text_height(number, style, -1)};
    draw_number(canvas, number, tag, radiograph.columns, style,
                decides(prediction, r) ? kDecidingColour : kRegionColour, taken);
  }
}

Status check(const object::GrayImage& radiograph, int source_rows, int source_columns, const Prediction& prediction) {
  if (radiograph.rows <= 0 || radiograph.columns <= 0 ||
      radiograph.pixels.size() != static_cast<std::size_t>(radiograph.rows) * radiograph.columns)
    return invalid_argument("draw regions: no radiograph, or not rows x columns pixels");
  if (prediction.regions.empty()) return invalid_argument("draw regions: no regions");
  for (const Region& region : prediction.regions) {
    const inference::Box& box = region.box;
    if (box.left < 0 || box.top < 0 || box.right > source_columns || box.bottom > source_rows ||
        box.left >= box.right || box.top >= box.bottom)
      return invalid_argument("draw regions: a box that does not lie in the image");
  }
  return ok_status();
}

}  // namespace

std::string region_line(const config::TaskConfig& task, const Prediction& prediction, std::size_t number) {
  const Region& region = prediction.regions[number];
  std::string line = fmt::format("{} {}", number, region.label);
  if (region.source == RegionSource::kDetector) line += " " + share_text(region.detector_score);
  for (std::size_t i = 0; i < region.scores.size(); ++i) {
    line +=
        fmt::format("{}{} {}", i == 0 ? ": " : ", ", region.scores[i].label, score_text(task, region.scores[i].value));
  }
  return line + fmt::format("; taken for {} {}", region.bone, share_text(region.bone_probability));
}

Result<RgbImage> draw_region_boxes(const object::GrayImage& radiograph, int source_rows, int source_columns,
                                   const Prediction& prediction, int text_px) {
  NODE_RETURN_IF_ERROR(check(radiograph, source_rows, source_columns, prediction));
  Canvas canvas(radiograph.rows, radiograph.columns, kBackground);
  canvas.put(to_rgb(radiograph.rows, radiograph.columns, radiograph.pixels), 0, 0);
  draw_boxes(canvas, text_px, radiograph, source_rows, source_columns, prediction, {});
  return canvas.image();
}

Result<OverlayPicture> draw_regions(const object::GrayImage& radiograph, int source_rows, int source_columns,
                                    const config::TaskConfig& task, const Prediction& prediction,
                                    const OverlayText& text) {
  NODE_RETURN_IF_ERROR(check(radiograph, source_rows, source_columns, prediction));
  const RegionTable table(task, prediction, {.size_px = small_size(radiograph)});
  const std::string notes = notes_of(prediction, text);
  const Layout l = lay_out(radiograph, table, notes, text);
  Canvas canvas(l.rows, l.columns, kBackground);
  canvas.put(to_rgb(radiograph.rows, radiograph.columns, radiograph.pixels), 0, 0);
  std::vector<Rectangle> taken;
  if (text.halves) taken = draw_halves(canvas, {0, 0, radiograph.columns, radiograph.rows}, l.text_px);
  draw_boxes(canvas, l.text_px, radiograph, source_rows, source_columns, prediction, std::move(taken));
  canvas.fill(l.warning, kDecidingColour);
  canvas.text(text.disclaimer, warning_style(l), l.gap, l.warning.y + l.gap / 2, l.columns - 2 * l.gap);
  if (!notes.empty()) canvas.text(notes, note_style(l), l.note.x, l.note.y, l.note.width);
  table.draw(canvas, l.table.x, l.table.y);
  draw_finding_list(canvas, text.findings, l.text_px, l.findings.x, l.findings.y, l.findings.width);
  canvas.text(fmt::format("{}", fmt::join(text.details, "\n")), small_style(l), l.details.x, l.details.y,
              l.details.width);
  return OverlayPicture{canvas.image(), {0, 0, radiograph.columns, radiograph.rows}, {}};
}

}  // namespace node::report
