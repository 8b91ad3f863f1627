#include "dicom_node/report/overlay_picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

#include "dicom_node/object/map_percentiles.h"
#include "dicom_node/report/finding_list.h"

namespace node::report {
namespace {

constexpr Colour kTicks{235, 235, 235};
constexpr Colour kSmallPrint{165, 165, 170};
constexpr Colour kWarning{255, 191, 0};
constexpr Colour kHalfLine{120, 230, 120};
constexpr int kCanvasWidthMin = 640;

// Where everything lies, from the size of the radiograph and of the texts.
struct Layout {
  int text_px, small_px, gap;
  Rectangle picture, bar, bar_text, warning;
  int bar_title_height, upper_rows, rows, columns;
  Rectangle findings, notes, details;
};

TextStyle tick_style(const Layout& layout) { return {.size_px = layout.text_px, .colour = kTicks}; }
TextStyle note_style(const Layout& layout) { return {.size_px = layout.text_px, .colour = kWarning}; }
TextStyle small_style(const Layout& layout) { return {.size_px = layout.small_px, .colour = kSmallPrint}; }
TextStyle warning_style(const Layout& layout) {
  return {.size_px = layout.text_px * 5 / 4, .bold = true, .centred = true, .colour = {0, 0, 0}};
}

// What the colours mean: the map as shares of the colour scale, and how the bar beside it is labelled.
struct Scale {
  std::int32_t side = 0;      // The shares are side x side.
  std::vector<float> shares;  // 0 to 1, row by row.
  std::string title, note;
  std::vector<std::pair<double, std::string>> ticks;  // Share and label, from the bottom up.
};

std::string join(const std::vector<std::string>& lines) { return fmt::format("{}", fmt::join(lines, "\n")); }

// Errors as they are, against a fixed one.
Scale error_scale(const inference::AnomalyMap& map, double scale_max) {
  Scale scale{map.size, {}, "Reconstruction error", "mean squared, fixed scale, uncalibrated", {}};
  for (const float error : map.values)
    scale.shares.push_back(static_cast<float>(std::clamp(error / scale_max, 0.0, 1.0)));
  constexpr int kSteps = 4;
  for (int i = 0; i <= kSteps; ++i) {
    const std::string label = fmt::format("{:.4g}", scale_max * i / kSteps);
    scale.ticks.emplace_back(static_cast<double>(i) / kSteps, i == kSteps ? "\u2265 " + label : label);
  }
  return scale;
}

// Each patch by how rare so great an error is in normal images.
Scale percentile_scale(const inference::AnomalyMap& map) {
  const std::vector<double> percentiles = object::patch_percentiles(map);
  Scale scale{map.size / map.patch_size, {}, "Percentile of normal images", "", {}};
  for (const double percentile : percentiles) scale.shares.push_back(static_cast<float>(percentile_share(percentile)));
  scale.note = fmt::format("patch error, {} images, {}", map.reference.images, map.reference.body_part);
  for (const auto& [percentile, label] : {std::pair{0.0, "0"}, {90.0, "90"}, {99.0, "99"}, {99.9, "\u2265 99.9"}})
    scale.ticks.emplace_back(percentile_share(percentile), label);
  return scale;
}

int widest_word(const std::string& text, const TextStyle& style) {
  int widest = 0;
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t to = std::min(text.find(' ', from), text.size());
    widest = std::max(widest, text_width(text.substr(from, to - from), style));
    from = to + 1;
  }
  return widest;
}

// The strip right of the radiograph takes what the smallest canvas leaves over, so that little stays empty.
int strip_width_min(const Layout& l, const Scale& scale) {
  int labels = 0;
  for (const auto& [share, label] : scale.ticks) labels = std::max(labels, text_width(label, tick_style(l)));
  const int words = std::max(widest_word(scale.title, small_style(l)), widest_word(scale.note, small_style(l)));
  return std::max(l.bar.width + l.gap + labels, words) + 2 * l.gap;
}

void lay_out_strip(Layout& l, const object::GrayImage& radiograph, const Scale& scale) {
  l.bar.width = 2 * l.text_px;
  l.columns = std::max({kCanvasWidthMin, 24 * l.text_px, radiograph.columns + strip_width_min(l, scale)});
  const int text_width = std::min(l.columns - radiograph.columns - 2 * l.gap, 16 * l.text_px);
  l.bar_title_height = text_height(scale.title, small_style(l), text_width);
  const int note_height = text_height(scale.note, small_style(l), text_width);
  l.bar.x = radiograph.columns + l.gap;
  l.bar.y = l.gap + l.bar_title_height + l.gap + l.text_px / 2;
  const int below = l.text_px / 2 + l.gap + note_height + l.gap;
  l.upper_rows = std::max(radiograph.rows, l.bar.y + 7 * l.text_px + below);
  l.bar.height = std::min(l.upper_rows - l.bar.y - below, 24 * l.text_px);
  l.bar_text = {l.bar.x, l.bar.y + l.bar.height + l.text_px / 2 + l.gap, text_width, note_height};
}

Layout lay_out(const object::GrayImage& radiograph, const Scale& scale, const OverlayText& text) {
  Layout l{};
  l.text_px = std::clamp(std::max(radiograph.rows, radiograph.columns) / 60, 16, 32);
  l.small_px = std::max(14, l.text_px * 4 / 5);
  l.gap = l.text_px / 2;
  l.picture = {0, 0, radiograph.columns, radiograph.rows};
  lay_out_strip(l, radiograph, scale);

  const int inner = l.columns - 2 * l.gap;
  l.warning = {0, l.upper_rows, l.columns, text_height(text.disclaimer, warning_style(l), inner) + l.gap};
  // Side by side where both have room: a wide picture is not made a high one by its small print.
  const bool beside = l.columns >= 56 * l.text_px;
  const int width = beside ? (inner - 2 * l.gap) / 2 : inner;
  const int findings_y = l.warning.y + l.warning.height + l.gap;
  l.findings = {l.gap, findings_y, width, finding_list_height(text.findings, l.text_px, width)};
  int findings_end = findings_y + l.findings.height + (l.findings.height > 0 ? l.gap : 0);
  if (!text.notes.empty()) {
    l.notes = {l.gap, findings_end, width, text_height(join(text.notes), note_style(l), width)};
    findings_end += l.notes.height + l.gap;
  }
  l.details = {l.gap, findings_end, width,
               text.details.empty() ? 0 : text_height(join(text.details), small_style(l), width)};
  if (beside) {
    l.details.x += width + 2 * l.gap;
    l.details.y = findings_y;
  }
  l.rows = std::max(findings_end, l.details.y + l.details.height + l.gap);
  l.rows += l.rows % 2;  // Pixel data of an even length need no padding.
  return l;
}

Status check_map(const inference::AnomalyMap& map, double scale_max) {
  if (map.size <= 0 || map.values.size() != static_cast<std::size_t>(map.size) * map.size)
    return invalid_argument("draw overlay: no anomaly map, or not size x size values");
  if (!std::all_of(map.values.begin(), map.values.end(), [](float value) { return std::isfinite(value); }))
    return invalid_argument("draw overlay: the anomaly map holds a value that is no number");
  if (!(scale_max > 0)) return invalid_argument("draw overlay: the end of the colour scale is not positive");
  if (object::is_calibrated(map) && (map.patch_size < 1 || map.size % map.patch_size != 0))
    return invalid_argument("draw overlay: a calibrated map that does not consist of whole patches");
  return ok_status();
}

Scale scale_of(const inference::AnomalyMap& map, double scale_max) {
  return object::is_calibrated(map) ? percentile_scale(map) : error_scale(map, scale_max);
}

// The shares of the scale at the radiograph's size. Throws as OpenCV does.
std::vector<float> resample(Scale& scale, int rows, int columns) {
  const cv::Mat shares(scale.side, scale.side, CV_32F, scale.shares.data());
  std::vector<float> out(static_cast<std::size_t>(rows) * columns);
  cv::Mat to(rows, columns, CV_32F, out.data());
  const bool shrinks = rows < scale.side && columns < scale.side;
  cv::resize(shares, to, to.size(), 0, 0, shrinks ? cv::INTER_AREA : cv::INTER_LINEAR);
  return out;
}

// A share of the scale as weights, in 65536ths: of the grey below it, and the colour, weighted already.
struct Heat {
  std::uint32_t grey;
  std::array<std::uint32_t, 3> colour;
};

constexpr std::size_t kHeatSteps = 1024;  // Finer than eight bits of colour can show.

std::array<Heat, kHeatSteps> make_heats() {
  constexpr double kWhole = 65536;
  std::array<Heat, kHeatSteps> heats{};
  for (std::size_t i = 0; i < kHeatSteps; ++i) {
    const double share = static_cast<double>(i) / (kHeatSteps - 1);
    const double near_full = std::min(share / kOpacityFull, 1.0);
    const double opacity = kOpacityMax * near_full * near_full;
    heats[i].grey = static_cast<std::uint32_t>(std::lround(kWhole * (1 - opacity)));
    const Colour colour = hot_colour(share);
    for (std::size_t c = 0; c < colour.size(); ++c)
      heats[i].colour[c] = static_cast<std::uint32_t>(std::lround(kWhole * opacity * colour[c]));
  }
  return heats;
}

using Heats = std::array<Heat, kHeatSteps>;

const Heats& heats() {
  static const Heats all = make_heats();
  return all;
}

// `share` from 0 to 1.
const Heat& heat_of(const Heats& all, float share) {
  return all[static_cast<std::size_t>(share * (kHeatSteps - 1) + 0.5F)];
}

Colour shade(std::uint8_t grey, const Heat& heat) {
  const auto channel = [&](std::uint32_t colour) {
    return static_cast<std::uint8_t>((heat.grey * grey + colour + 32768) >> 16);
  };
  return {channel(heat.colour[0]), channel(heat.colour[1]), channel(heat.colour[2])};
}

// The legend has the greys of a radiograph from left to right, so that a colour is found in it whatever lies below.
RgbImage draw_bar(int rows, int columns) {
  RgbImage bar{rows, columns, {}};
  bar.pixels.reserve(static_cast<std::size_t>(rows) * columns * 3);
  for (int y = 0; y < rows; ++y) {
    for (int x = 0; x < columns; ++x) {
      const double share = rows > 1 ? 1.0 - static_cast<double>(y) / (rows - 1) : 1.0;
      const double grey = columns > 1 ? 255.0 * x / (columns - 1) : 0.0;
      const Colour colour = blend(static_cast<std::uint8_t>(std::lround(grey)), share);
      bar.pixels.insert(bar.pixels.end(), colour.begin(), colour.end());
    }
  }
  return bar;
}

void draw_colour_bar(Canvas& canvas, const Layout& l, const Scale& scale) {
  canvas.text(scale.title, small_style(l), l.bar.x, l.gap, l.bar_text.width);
  canvas.put(draw_bar(l.bar.height, l.bar.width), l.bar.x, l.bar.y);
  canvas.frame({l.bar.x - 1, l.bar.y - 1, l.bar.width + 2, l.bar.height + 2}, kSmallPrint);
  for (const auto& [share, label] : scale.ticks) {
    const int y = l.bar.y + static_cast<int>((l.bar.height - 1) * (1 - share));
    canvas.fill({l.bar.x + l.bar.width, y, l.gap / 2, 1}, kTicks);
    const int height = text_height(label, tick_style(l), -1);
    canvas.text(label, tick_style(l), l.bar.x + l.bar.width + l.gap, y - height / 2, -1);
  }
  canvas.text(scale.note, small_style(l), l.bar_text.x, l.bar_text.y, l.bar_text.width);
}

}  // namespace

std::vector<Rectangle> draw_halves(Canvas& canvas, const Rectangle& picture, int text_px) {
  const TextStyle style{.size_px = text_px, .bold = true, .centred = true, .colour = kBackground};
  const int middle = picture.x + picture.width / 2, dash = text_px, side = 2 * text_px;
  std::vector<Rectangle> letters;
  for (int y = 0; y < picture.height; y += 2 * dash)
    canvas.fill({middle - 1, picture.y + y, 2, std::min(dash, picture.height - y)}, kHalfLine);
  for (const auto& [letter, x] : {std::pair{"R", middle - side - 2}, {"L", middle + 2}}) {
    const int y = picture.y + std::max(0, picture.height - 2 * text_px);
    letters.push_back({x, y, side, text_height(letter, style, -1)});
    canvas.fill(letters.back(), kHalfLine);
    canvas.text(letter, style, x, y, side);
  }
  return letters;
}

Colour hot_colour(double share) {
  // Breakpoints of the published map: red is full at 0.365, green at 0.746, blue at 1.
  constexpr double kRed = 0.365079, kGreen = 0.746032;
  const auto ramp = [&](double from, double to) {
    return static_cast<std::uint8_t>(std::lround(255 * std::clamp((share - from) / (to - from), 0.0, 1.0)));
  };
  return {ramp(0, kRed), ramp(kRed, kGreen), ramp(kGreen, 1)};
}

double percentile_share(double percentile) {
  constexpr double kDecades = 3;  // 90, 99, 99.9.
  const double rarity = 1 - percentile / 100;
  return rarity > 0 ? std::clamp(-std::log10(rarity) / kDecades, 0.0, 1.0) : 1.0;
}

Colour blend(std::uint8_t grey, double share) {
  return shade(grey, heat_of(heats(), static_cast<float>(std::clamp(share, 0.0, 1.0))));
}

Result<std::vector<float>> map_shares(const inference::AnomalyMap& map, double scale_max, int rows, int columns) {
  NODE_RETURN_IF_ERROR(check_map(map, scale_max));
  if (rows <= 0 || columns <= 0) return invalid_argument("map of shares: no rows or no columns");
  try {
    Scale scale = scale_of(map, scale_max);
    return resample(scale, rows, columns);
  } catch (const cv::Exception& error) {
    return internal_error(std::string("map of shares: OpenCV: ") + error.err);
  }
}

std::string scale_in_words(const inference::AnomalyMap& map, double scale_max) {
  if (!object::is_calibrated(map)) return fmt::format("fixed scale 0 to {:.4g}, uncalibrated", scale_max);
  return fmt::format("fixed scale of percentiles among the patches of {} normal images of {}, calibration {}",
                     map.reference.images, map.reference.body_part, map.reference.digest);
}

Result<OverlayPicture> draw_overlay(const object::GrayImage& radiograph, const inference::AnomalyMap& map,
                                    double scale_max, const OverlayText& text) {
  if (radiograph.rows <= 0 || radiograph.columns <= 0 ||
      radiograph.pixels.size() != static_cast<std::size_t>(radiograph.rows) * radiograph.columns)
    return invalid_argument("draw overlay: no radiograph, or not rows x columns pixels");
  NODE_RETURN_IF_ERROR(check_map(map, scale_max));
  try {
    Scale scale = scale_of(map, scale_max);
    const Layout l = lay_out(radiograph, scale, text);
    const std::vector<float> shares = resample(scale, radiograph.rows, radiograph.columns);
    RgbImage picture{radiograph.rows, radiograph.columns, std::vector<std::uint8_t>(shares.size() * 3)};
    const Heats& all = heats();
    std::uint8_t* to = picture.pixels.data();
    for (std::size_t i = 0; i < shares.size(); ++i, to += 3) {
      const Colour colour = shade(radiograph.pixels[i], heat_of(all, shares[i]));
      for (std::size_t c = 0; c < colour.size(); ++c) to[c] = colour[c];
    }

    Canvas canvas(l.rows, l.columns, kBackground);
    canvas.put(picture, 0, 0);
    if (text.halves) draw_halves(canvas, l.picture, l.text_px);
    draw_colour_bar(canvas, l, scale);
    const int inner = l.columns - 2 * l.gap;
    canvas.fill(l.warning, kWarning);
    canvas.text(text.disclaimer, warning_style(l), l.gap, l.warning.y + l.gap / 2, inner);
    draw_finding_list(canvas, text.findings, l.text_px, l.findings.x, l.findings.y, l.findings.width);
    if (!text.notes.empty()) canvas.text(join(text.notes), note_style(l), l.notes.x, l.notes.y, l.notes.width);
    canvas.text(join(text.details), small_style(l), l.details.x, l.details.y, l.details.width);
    return OverlayPicture{canvas.image(), l.picture, l.bar};
  } catch (const cv::Exception& error) {
    return internal_error(std::string("draw overlay: OpenCV: ") + error.err);
  }
}

}  // namespace node::report
