// Preprocessor: the model's pixel contract, radiograph to input, exact to the last bit.
//
// Guarantee: the same bits as PIL and HuggingFace's ViTImageProcessorPil give for the same 8-bit image, on any CPU.
// Threads:   immutable after create(); functions of their arguments. Takes milliseconds: the caller's thread.
// Shapes:    Radiograph -> [H, W] uint8, black = its least value, white = its greatest -> [3, H, W] float32, three
//            equal channels before normalisation.
// Source:    preprocessor_config.json of HuggingFace transformers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "config/base/status.h"
#include "inference/predictor.h"
#include "inference/preprocess_config.h"
#include "inference/resize.h"

namespace node::inference {

// grey_level() of each pixel; nothing to do where the radiograph comes as grey.
// Errors: kInvalidArgument if the size does not fit the pixels, or one is NaN or infinite.
Result<GreyImage> to_8_bit(Radiograph image);

class Preprocessor {
 public:
  // Errors: kInvalidArgument naming the key: a size outside 1 to 16384, a mean, std or factor that is no number, a std
  // of zero.
  static Result<Preprocessor> create(const PreprocessConfig& config);

  const PreprocessConfig& config() const { return config_; }
  std::size_t input_size() const;  // Floats of one image: 3 * height * width.

  // Both steps below. `image` may go to several models: then to_8_bit() once, and reduce() once per size.
  // Errors: of to_8_bit() and reduce().
  Status run(Radiograph image, std::span<float> input) const;

  // [height, width] from an image of any size. Errors: kInvalidArgument if do_resize is off and the size is another.
  Result<GreyImage> reduce(const GreyImage& image) const;

  // Rescales and normalises `reduced`, of height x width, into `input`, [3, height, width] of input_size().
  void normalize(const GreyImage& reduced, std::span<float> input) const;

 private:
  explicit Preprocessor(const PreprocessConfig& config);

  PreprocessConfig config_;
  std::array<std::array<float, 256>, 3> normalized_{};  // Per channel and 8-bit value: all that can come out.
};

}  // namespace node::inference
