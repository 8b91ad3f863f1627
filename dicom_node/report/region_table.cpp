#include "dicom_node/report/region_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "dicom_node/report/finding_summary.h"

namespace node::report {
namespace {

using inference::Prediction;
using inference::Region;
using inference::RegionSource;

constexpr Colour kBlack{0, 0, 0}, kText{225, 225, 225}, kBright{255, 255, 255}, kDim{165, 165, 170};
constexpr Colour kDecidingRow{66, 52, 12}, kLine{90, 90, 96};
constexpr std::size_t kDecidingScore = 1;  // Of config::kRegionScores.
constexpr int kColumnEms = 12;             // No column is wider, whatever its texts.

// The side of a region on a film of the side `film`: a box on a film of both is of either.
std::string side_text(const std::string& film, bool whole) {
  if (film == "R") return "right";
  if (film == "L") return "left";
  return film == "B" && whole ? "both" : "\u2013";
}

// In order of their numbers: the whole image, those that a score of the image is of, then the surest.
std::vector<std::size_t> shown_regions(const Prediction& prediction, std::size_t rows_max) {
  std::set<std::size_t> shown;
  const std::size_t count = prediction.regions.size();
  if (count > 0) shown.insert(0);
  for (const inference::Score& score : prediction.scores)
    if (score.region >= 0 && score.region < std::ssize(prediction.regions))
      shown.insert(static_cast<std::size_t>(score.region));
  for (std::size_t r = 0; r < count && shown.size() < rows_max; ++r) shown.insert(r);
  return {shown.begin(), shown.end()};
}

// Of the widest part of a text that is not broken.
int unbroken_width(const std::string& text, const TextStyle& style) {
  int widest = 0;
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t to = std::min(text.find_first_of(" -", from), text.size() - 1) + 1;
    widest = std::max(widest, text_width(text.substr(from, to - from), style));
    from = to;
  }
  return widest;
}

}  // namespace

int deciding_score(const Prediction& prediction) {
  return prediction.scores.size() > kDecidingScore ? static_cast<int>(kDecidingScore) : -1;
}

bool decides(const Prediction& prediction, std::size_t region) {
  const int score = deciding_score(prediction);
  return score >= 0 && prediction.scores[static_cast<std::size_t>(score)].region == static_cast<int>(region);
}

RegionTable::RegionTable(const config::TaskConfig& task, const Prediction& prediction, TableStyle style)
    : style_(std::move(style)) {
  add_heading(prediction);
  const std::vector<std::size_t> shown = shown_regions(prediction, style_.rows_max);
  for (const std::size_t region : shown) add_row(task, prediction, region);
  if (const std::size_t more = prediction.regions.size() - shown.size(); more > 0)
    legend_ = fmt::format("and {} more regions, of which none is the greatest in a column\n", more);
  if (const int deciding = deciding_score(prediction); deciding >= 0)
    legend_ += fmt::format("Marked: decides {}. Bold: the greatest of its column.",
                           prediction.scores[static_cast<std::size_t>(deciding)].label);
  lay_out();
}

void RegionTable::add_heading(const Prediction& prediction) {
  Row& row = rows_.emplace_back();
  row.cells = {{"No."}, {"Region"}};
  if (style_.side) row.cells.push_back({"Side"});
  row.cells.push_back({"Found"});
  row.cells.push_back({"Taken for"});
  for (const inference::Score& score : prediction.scores) row.cells.push_back({score.label});
}

void RegionTable::add_row(const config::TaskConfig& task, const Prediction& prediction, std::size_t number) {
  const Region& region = prediction.regions[number];
  Row& row = rows_.emplace_back();
  row.decides = report::decides(prediction, number);
  row.boxed = region.source != RegionSource::kWholeImage || row.decides;  // As on the picture.
  row.cells = {{std::to_string(number), row.boxed}, {region.label, row.decides}};
  if (style_.side) row.cells.push_back({side_text(*style_.side, region.source == RegionSource::kWholeImage)});
  row.cells.push_back({region.source == RegionSource::kDetector ? share_text(region.detector_score) : ""});
  row.cells.push_back({region.bone + " " + share_text(region.bone_probability)});
  for (std::size_t i = 0; i < region.scores.size() && i < prediction.scores.size(); ++i)
    row.cells.push_back(
        {score_text(task, region.scores[i].value), prediction.scores[i].region == static_cast<int>(number)});
}

TextStyle RegionTable::style_of(const Row& row, const Cell& cell) const {
  TextStyle style{.size_px = style_.size_px, .bold = cell.bold, .colour = cell.bold ? kBright : kText};
  if (row.decides) style.colour = kDecidingColour;
  if (&row == &rows_.front()) style.colour = kDim;
  if (&cell == &row.cells.front()) {
    style.centred = true;
    if (row.boxed) style.colour = kBlack;
  }
  return style;
}

void RegionTable::lay_out() {
  const int gap = style_.size_px;
  columns_.assign(rows_.front().cells.size(), 0);
  for (const Row& row : rows_) {
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      const Cell& cell = row.cells[i];
      const TextStyle style = style_of(row, cell);
      const int wanted = &row == &rows_.front() ? unbroken_width(cell.text, style) : text_width(cell.text, style);
      columns_[i] = std::max(columns_[i], std::min(wanted, kColumnEms * style_.size_px) + gap);
    }
  }
  width_ = std::accumulate(columns_.begin(), columns_.end(), 0);
  for (Row& row : rows_) {
    for (std::size_t i = 0; i < row.cells.size(); ++i)
      row.height = std::max(row.height, text_height(row.cells[i].text, style_of(row, row.cells[i]), columns_[i] - gap));
    row.height += style_.size_px / 3;
    height_ += row.height;
  }
  legend_height_ = legend_.empty() ? 0 : text_height(legend_, {.size_px = style_.size_px}, width_);
  height_ += legend_height_ + (legend_height_ > 0 ? style_.size_px / 3 : 0);
}

std::string RegionTable::words() const {
  std::string words;
  for (const Row& row : rows_) {
    words += row.decides ? "> " : "";
    for (const Cell& cell : row.cells) words += (&cell == &row.cells.front() ? "" : " | ") + cell.text;
    words += "\n";
  }
  return words + legend_;
}

void RegionTable::draw(Canvas& canvas, int x, int y) const {
  const int gap = style_.size_px, inset = style_.size_px / 6;
  for (const Row& row : rows_) {
    const bool heading = &row == &rows_.front();
    if (row.decides) canvas.fill({x, y, width_, row.height}, kDecidingRow);
    if (row.boxed)
      canvas.fill({x, y + inset / 2, columns_.front() - gap / 2, row.height - inset},
                  row.decides ? kDecidingColour : kRegionColour);
    int left = x;
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      const TextStyle style = style_of(row, row.cells[i]);
      const int width = columns_[i] - (i == 0 ? gap / 2 : gap);
      const int top = heading ? row.height - inset - text_height(row.cells[i].text, style, width) : inset;
      canvas.text(row.cells[i].text, style, i == 0 ? left : left + gap / 4, y + top, width);
      left += columns_[i];
    }
    y += row.height;
    if (heading) canvas.fill({x, y - 1, width_, 1}, kLine);
  }
  if (!legend_.empty()) canvas.text(legend_, {.size_px = style_.size_px, .colour = kDim}, x, y + gap / 3, width_);
}

}  // namespace node::report
