// Preprocessor: the model's pixel contract, radiograph to input, exact to the last bit.
//
// Guarantee: the same bits as PIL and HuggingFace's ViTImageProcessorPil give for the same 8-bit image, on any CPU.
// Threads:   immutable after create(); functions of their arguments. Takes milliseconds: the caller's thread.
// Shapes:    Radiograph -> [H, W] uint8, black = its least value, white = its greatest -> [3, H, W] float32, three
//            equal channels before normalisation.
// Source:    preprocessor_config.json of HuggingFace transformers; Pillow 13's fixed-point resampling (PRECISION_BITS
//            22). Before 13 Pillow differs by one grey level here and there in images that shrink far more in height.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "config/base/status.h"
#include "inference/predictor.h"
#include "inference/preprocess_config.h"

namespace node::inference {

// Errors: kUnsupported for any other number, naming it.
Result<Resample> resample_from_pil(std::int64_t number);

struct GreyImage {
  std::int32_t rows = 0;
  std::int32_t columns = 0;
  std::vector<std::uint8_t> pixels;  // rows * columns, row-major.
};

// grey_level() of each pixel; nothing to do where the radiograph comes as grey.
// Errors: kInvalidArgument if the size does not fit the pixels, or one is NaN or infinite.
Result<GreyImage> to_8_bit(Radiograph image);

// PIL's Image.resize() of an "L" image. `image` and the size must not be empty.
GreyImage resize(const GreyImage& image, std::int32_t height, std::int32_t width, Resample resample);

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
