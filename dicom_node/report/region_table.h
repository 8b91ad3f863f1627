// region table: the regions that a task looked at, a row each: number, name, side, how surely found, what the head
// takes it for, and its scores.
//
// Guarantee: no text is cut off; the number is that of the box on the picture. The region that decides stands out, and
//            the greatest score of each column is bold. The whole image and every region that a score of the image is
//            of have a row, however few rows are wanted; how many have none is said below.
// Threads:   as Canvas.
#pragma once

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "config/task_config.h"
#include "dicom_node/report/canvas.h"
#include "inference/predictor.h"

namespace node::report {

inline constexpr Colour kRegionColour{90, 200, 250};
inline constexpr Colour kDecidingColour{255, 191, 0};

// Which of the scores says whose region is highlighted: the bone tumour's. -1: there is none.
int deciding_score(const inference::Prediction& prediction);
// Whether it is the score of that region.
bool decides(const inference::Prediction& prediction, std::size_t region);

struct TableStyle {
  int size_px = 14;
  std::optional<std::string> side{};  // Image Laterality: R, L, B, U or empty. None: no such column.
  std::size_t rows_max = std::numeric_limits<std::size_t>::max();
};

class RegionTable {
 public:
  RegionTable(const config::TaskConfig& task, const inference::Prediction& prediction, TableStyle style);

  int width() const { return width_; }
  int height() const { return height_; }
  void draw(Canvas& canvas, int x, int y) const;
  std::string words()
      const;  // What is drawn: cells apart by " | ", a line for each row, "> " before the one that decides.

 private:
  struct Cell {
    std::string text;
    bool bold = false;
  };
  struct Row {
    std::vector<Cell> cells;  // The first: the number.
    bool decides = false;
    bool boxed = false;  // It has a box on the picture.
    int height = 0;
  };

  void add_heading(const inference::Prediction& prediction);
  void add_row(const config::TaskConfig& task, const inference::Prediction& prediction, std::size_t region);
  void lay_out();
  TextStyle style_of(const Row& row, const Cell& cell) const;

  TableStyle style_;
  std::vector<Row> rows_;  // The heading first.
  std::string legend_;
  std::vector<int> columns_;  // Their widths.
  int width_ = 0, height_ = 0, legend_height_ = 0;
};

}  // namespace node::report
