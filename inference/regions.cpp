#include "inference/regions.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <map>

#include "inference/readable.h"
#include "inference/region_head.h"

namespace node::inference {
namespace {

ChosenRegions nothing(const std::string& why) { return {{}, whole_only(why)}; }

std::string counted(std::size_t count, const std::string& one, const std::string& several) {
  return std::to_string(count) + " " + (count == 1 ? one : several);
}

float overlap(const DetectedBox& a, const DetectedBox& b) {  // Intersection over union.
  const float width = std::min(a.right, b.right) - std::max(a.left, b.left);
  const float height = std::min(a.bottom, b.bottom) - std::max(a.top, b.top);
  if (width <= 0 || height <= 0) return 0;
  const auto area = [](const DetectedBox& box) { return (box.right - box.left) * (box.bottom - box.top); };
  return width * height / (area(a) + area(b) - width * height);
}

std::vector<DetectedBox> without_overlaps(const std::vector<DetectedBox>& boxes, double overlap_max) {
  std::vector<DetectedBox> kept;
  for (const DetectedBox& box : boxes) {
    const bool covered = std::any_of(kept.begin(), kept.end(), [&](const DetectedBox& surer) {
      return surer.label == box.label && overlap(surer, box) > overlap_max;
    });
    if (!covered) kept.push_back(box);
  }
  return kept;
}

std::int32_t whole_pixel(float at, std::int32_t end) {
  return static_cast<std::int32_t>(std::clamp(at, 0.0F, static_cast<float>(end)));
}

std::string number_text(float value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", static_cast<double>(value));
  return text;
}

constexpr float kScoreMax = 1.0001F;  // A probability, rounded.

std::string why_not_believed(const std::vector<DetectedBox>& boxes, const std::vector<std::string>& labels,
                             double score_min) {
  for (const DetectedBox& box : boxes) {
    for (const float number : {box.left, box.top, box.right, box.bottom, box.score}) {
      if (!std::isfinite(number)) return "the detector's boxes are not numbers";
    }
    if (box.score < score_min) continue;  // Some fill up their answer with rows of no label.
    if (box.score > kScoreMax) return "the detector answers a score of " + std::to_string(box.score);
    if (!(box.label >= 0 && box.label < static_cast<float>(labels.size()) && box.label == std::floor(box.label))) {
      return "the detector answers label " + number_text(box.label) + " of " + std::to_string(labels.size());
    }
  }
  return "";
}

// "Femur-diaphysis", "femur_diaphysis" and "FemurDiaphysis" are one.
std::string folded(const std::string& name) {
  std::string letters;
  for (const char c : name) {
    if (c != ' ' && c != '_' && c != '-') letters += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return letters;
}

const std::map<std::string, std::string>& known_labels() {
  static const std::map<std::string, std::string> known = [] {
    std::map<std::string, std::string> names;
    for (const std::string& bone : bone_labels()) names[folded(bone)] = bone;
    for (const std::string& other : kNoRegions) names[folded(other)] = other;
    for (const char* marker : {"marker", "laterality marker"}) names[folded(marker)] = "side marker";
    for (const std::string side : {"left", "right"}) {
      for (const std::string& word : {side, side.substr(0, 1)}) {
        for (const std::string& name : {word, word + "marker", "marker" + word, word + "sidemarker"})
          names[name] = side;
      }
    }
    return names;
  }();
  return known;
}

}  // namespace

std::string region_label(const std::string& name) {
  const auto known = known_labels().find(folded(name));
  return known == known_labels().end() ? name : known->second;
}

std::string unknown_labels(const std::vector<std::string>& labels) {
  constexpr std::size_t kNamedMax = 5, kLengthMax = 40;
  std::string list;
  std::size_t count = 0;
  for (const std::string& label : labels) {
    if (known_labels().contains(folded(label)) || ++count > kNamedMax) continue;
    list += (count > 1 ? ", '" : "'") + readable(label, kLengthMax) + "'";
  }
  return count > kNamedMax ? list + " and " + std::to_string(count - kNamedMax) + " more" : list;
}

ChosenRegions choose_regions(std::vector<DetectedBox> boxes, const std::vector<std::string>& labels,
                             const config::RegionSelection& selection, std::int32_t rows, std::int32_t columns) {
  const double score_min = selection.score_min.value_or(config::kRegionScoreMin);
  if (const std::string why = why_not_believed(boxes, labels, score_min); !why.empty()) return nothing(why);
  std::erase_if(boxes, [&](const DetectedBox& box) { return box.score < score_min; });
  if (boxes.size() > kCandidatesMax) {
    return nothing("the detector answers " + std::to_string(boxes.size()) + " boxes, more than " +
                   std::to_string(kCandidatesMax));
  }
  for (DetectedBox& box : boxes) {  // Several classes may have become one label: its first stands for all of them.
    const auto& label = labels[static_cast<std::size_t>(box.label)];
    box.label = static_cast<float>(std::find(labels.begin(), labels.end(), label) - labels.begin());
  }
  std::stable_sort(boxes.begin(), boxes.end(), [](const auto& a, const auto& b) { return a.score > b.score; });
  ChosenRegions chosen;
  std::size_t markers = 0, empty = 0, more = 0;
  const std::vector<DetectedBox> apart =
      without_overlaps(boxes, selection.overlap_max.value_or(config::kRegionOverlapMax));
  if (apart.size() > kBoxesMax) {
    return nothing("the detector found " + std::to_string(apart.size()) + " regions, more than " +
                   std::to_string(kBoxesMax));
  }
  for (const DetectedBox& box : apart) {
    Region region;
    region.source = RegionSource::kDetector;
    region.label = labels[static_cast<std::size_t>(box.label)];
    region.detector_score = box.score;
    region.box = {whole_pixel(box.left, columns), whole_pixel(box.top, rows), whole_pixel(box.right, columns),
                  whole_pixel(box.bottom, rows)};
    if (std::find(kNoRegions.begin(), kNoRegions.end(), region.label) != kNoRegions.end()) {
      ++markers;
    } else if (region.box.left >= region.box.right || region.box.top >= region.box.bottom) {
      ++empty;
    } else if (chosen.regions.size() == static_cast<std::size_t>(selection.count_max)) {
      ++more;
    } else {
      chosen.regions.push_back(std::move(region));
    }
  }
  std::vector<std::string> left_out;
  if (empty > 0) left_out.push_back(counted(empty, "box", "boxes") + " outside the image or empty");
  if (markers > 0) left_out.push_back(counted(markers, "box", "boxes") + " of a side marker or lesion");
  if (more > 0) left_out.push_back(counted(more, "less sure region", "less sure regions"));
  if (chosen.regions.empty()) chosen.note = whole_only("no regions found");
  for (std::size_t i = 0; i < left_out.size(); ++i) {
    chosen.note += (i > 0 ? ", " : chosen.note.empty() ? "left out: " : "; left out: ") + left_out[i];
  }
  return chosen;
}

ChosenRegions tiles(std::int32_t rows, std::int32_t columns) {
  // In hundredths of a side, so that the same pixels come out everywhere.
  struct Tile {
    int left, top, right, bottom;
  };
  constexpr Tile kTiles[] = {{0, 0, 60, 60}, {40, 0, 100, 60}, {0, 40, 60, 100}, {40, 40, 100, 100}, {25, 25, 75, 75}};
  const auto at = [](std::int64_t side, int share) { return static_cast<std::int32_t>(side * share / 100); };
  ChosenRegions chosen;
  for (const Tile& tile : kTiles) {
    Region region;
    region.source = RegionSource::kTile;
    region.box = {at(columns, tile.left), at(rows, tile.top), at(columns, tile.right), at(rows, tile.bottom)};
    if (region.box.left >= region.box.right || region.box.top >= region.box.bottom) continue;  // Of a tiny image.
    region.label = "tile " + std::to_string(chosen.regions.size() + 1);
    chosen.regions.push_back(std::move(region));
  }
  chosen.note = "no detector: the regions are fixed tiles";
  return chosen;
}

Box half_of(std::int32_t rows, std::int32_t columns, config::Half half) {
  return half == config::Half::kRight ? Box{0, 0, columns / 2, rows} : Box{columns / 2, 0, columns, rows};
}

Region whole_image(std::int32_t rows, std::int32_t columns) {
  Region region;
  region.label = "whole image";
  region.box = {0, 0, columns, rows};
  return region;
}

GreyImage crop(const GreyImage& image, const Box& box) {
  GreyImage out{box.bottom - box.top, box.right - box.left, {}};
  out.pixels.reserve(static_cast<std::size_t>(out.rows) * out.columns);
  for (std::int32_t y = box.top; y < box.bottom; ++y) {
    const auto row = image.pixels.begin() + static_cast<std::ptrdiff_t>(y) * image.columns;
    out.pixels.insert(out.pixels.end(), row + box.left, row + box.right);
  }
  return out;
}

}  // namespace node::inference
