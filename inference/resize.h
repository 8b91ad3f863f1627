// resize: an 8-bit grey image at another size, as PIL's Image.resize() gives it, exact to the last bit on any CPU.
//
// Guarantee: integers alone decide a pixel, so that what the CPU has to offer changes the time and never a bit.
// Threads:   functions of their arguments.
// Source:    Pillow 13's fixed-point resampling (PRECISION_BITS 22). Before 13 Pillow differs by one grey level here and
//            there in images that shrink far more in height.
#pragma once

#include <cstdint>
#include <vector>

#include "config/base/status.h"
#include "inference/preprocess_config.h"

namespace node::inference {

// Errors: kUnsupported for any other number, naming it.
Result<Resample> resample_from_pil(std::int64_t number);

struct GreyImage {
  std::int32_t rows = 0;
  std::int32_t columns = 0;
  std::vector<std::uint8_t> pixels;  // rows * columns, row-major.
};

// PIL's Image.resize() of an "L" image. `image` and the size must not be empty.
GreyImage resize(const GreyImage& image, std::int32_t height, std::int32_t width, Resample resample);

}  // namespace node::inference
