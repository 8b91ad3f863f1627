#include "inference/detector_input.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace node::inference {
namespace {

struct Size {
  std::int32_t rows, columns;
};

// As YOLOS' processor does, to the last rounding: half to even where the longest edge decides, else truncated.
Size keep_aspect(const GreyImage& image, const DetectorInput& input) {
  const double rows = image.rows, columns = image.columns;
  const double least = std::min(rows, columns), greatest = std::max(rows, columns);
  double raw = input.shortest_edge;
  if (greatest / least * raw > input.longest_edge) raw = input.longest_edge * least / greatest;
  const double side = std::nearbyint(raw);
  Size size{static_cast<std::int32_t>(side), static_cast<std::int32_t>(side)};
  if (columns < rows) {
    size.rows = static_cast<std::int32_t>(raw * rows / columns);
  } else if (rows != side) {
    size.columns = static_cast<std::int32_t>(raw * columns / rows);
  } else {
    size.columns = image.columns;
  }
  const auto cut = [&](std::int32_t edge) { return std::max(edge - edge % input.multiple_of, input.multiple_of); };
  return {cut(size.rows), cut(size.columns)};
}

}  // namespace

Result<FittedImage> fit_image(const GreyImage& image, const DetectorInput& input) {
  PreprocessConfig values = input.values;
  FittedImage fitted;
  fitted.source_rows = image.rows;
  fitted.source_columns = image.columns;
  fitted.height = values.height;
  fitted.width = values.width;
  const bool letterbox = input.fit == Fit::kLetterbox || input.fit == Fit::kLetterboxTopLeft;
  if (input.fit == Fit::kShortestEdge) {
    const Size size = keep_aspect(image, input);
    fitted.height = values.height = size.rows;
    fitted.width = values.width = size.columns;
  } else if (letterbox) {
    const double scale =
        std::min(static_cast<double>(values.height) / image.rows, static_cast<double>(values.width) / image.columns);
    const auto scaled = [&](std::int32_t side, std::int32_t room) {
      return std::clamp(static_cast<std::int32_t>(std::nearbyint(side * scale)), 1, room);
    };
    fitted.height = scaled(image.rows, values.height);
    fitted.width = scaled(image.columns, values.width);
    if (input.fit == Fit::kLetterbox) {  // The odd pixel of padding goes below and to the right.
      fitted.top = (values.height - fitted.height) / 2;
      fitted.left = (values.width - fitted.width) / 2;
    }
  }
  fitted.rows = values.height;
  fitted.columns = values.width;
  NODE_ASSIGN_OR_RETURN(const Preprocessor preprocessor, Preprocessor::create(values));
  GreyImage reduced = resize(image, fitted.height, fitted.width, values.resample);
  if (letterbox) {
    GreyImage box{fitted.rows, fitted.columns, {}};
    box.pixels.assign(static_cast<std::size_t>(box.rows) * box.columns, input.padding);
    for (std::int32_t y = 0; y < reduced.rows; ++y) {
      std::copy_n(reduced.pixels.begin() + static_cast<std::ptrdiff_t>(y) * reduced.columns, reduced.columns,
                  box.pixels.begin() + static_cast<std::ptrdiff_t>(y + fitted.top) * box.columns + fitted.left);
    }
    reduced = std::move(box);
  }
  fitted.input.resize(preprocessor.input_size());
  preprocessor.normalize(reduced, fitted.input);
  return fitted;
}

}  // namespace node::inference
