// PreprocessConfig: how an image becomes the network's input; of a checkpoint's preprocessor_config.json, all that
// changes the result.
//
// Source: ViTFeatureExtractor and ViTImageProcessor of transformers 4, ViTImageProcessorPil of transformers 5.
#pragma once

#include <array>
#include <cstdint>

#include "config/base/status.h"

namespace node::inference {

class JsonObject;

// PIL's numbers, as in preprocessor_config.json; each of them with antialias. 0, nearest, is not supported.
enum class Resample { kLanczos = 1, kBilinear = 2, kBicubic = 3, kBox = 4, kHamming = 5 };

struct PreprocessConfig {  // These are the values where there is no such file.
  std::int32_t height = 224;
  std::int32_t width = 224;
  bool do_resize = true;  // Straight to height x width, aspect ratio not kept. False: the image must have that size.
  Resample resample = Resample::kBilinear;
  bool do_rescale = true;
  double rescale_factor = 1.0 / 255;
  bool do_normalize = true;
  std::array<double, 3> mean{0.485, 0.456, 0.406};
  std::array<double, 3> std{0.229, 0.224, 0.225};

  bool operator==(const PreprocessConfig&) const = default;
};

// Where the file leaves a key out, the value of the processor's class holds: 224, bilinear, 1/255, mean and std of 0.5.
// Errors: kInvalidArgument (a value that cannot be), kUnsupported (legal, but not understood: a class, a filter, a size
//         that keeps the aspect ratio, a crop, a key). All name file and key.
Result<PreprocessConfig> read_preprocess_config(JsonObject config);

}  // namespace node::inference
