// DetectorInput: how an image becomes a detector's input, and where a point of the input lies in the image.
//
// Threads: any; fit_image() takes milliseconds, on the caller's thread.
// Shapes:  GreyImage -> [3, rows, columns] float32, normalised.
// Source:  YolosImageProcessorPil of transformers 5; the letterbox of the YOLO family: the image at its aspect ratio in
// a
//          box of grey 114.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/base/status.h"
#include "inference/preprocess.h"
#include "inference/preprocess_config.h"

namespace node::inference {

class JsonObject;

enum class Fit {
  kShortestEdge,      // At its aspect ratio, no padding; the size depends on the image.
  kStretch,           // To height x width, the aspect ratio given up.
  kLetterbox,         // At its aspect ratio in the middle of height x width, the rest `padding`.
  kLetterboxTopLeft,  // The same at the top left.
};

struct DetectorInput {
  Fit fit = Fit::kShortestEdge;
  PreprocessConfig values;  // Filter, factor, mean and deviation; height and width of all but kShortestEdge.
  std::int32_t shortest_edge = 800, longest_edge = 1333;  // Of kShortestEdge.
  std::int32_t multiple_of = 16;                          // The same: sides are cut down to multiples.
  std::uint8_t padding = 114;                             // Of a letterbox.
};

struct FittedImage {
  std::vector<float> input;
  std::int32_t rows = 0, columns = 0;
  std::int32_t source_rows = 0, source_columns = 0;
  // Pixels of the input: where the image begins in it, and its size there.
  std::int32_t left = 0, top = 0, width = 0, height = 0;

  float source_x(float x) const {
    return (x - static_cast<float>(left)) * static_cast<float>(source_columns) / static_cast<float>(width);
  }
  float source_y(float y) const {
    return (y - static_cast<float>(top)) * static_cast<float>(source_rows) / static_cast<float>(height);
  }
};

// preprocessor_config.json of a YOLOS. Errors: as read_preprocess_config().
Result<DetectorInput> read_yolos_input(JsonObject config);

// Errors: kInvalidArgument (a size that cannot be).
Result<FittedImage> fit_image(const GreyImage& image, const DetectorInput& input);

}  // namespace node::inference
