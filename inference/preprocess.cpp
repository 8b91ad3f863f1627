#include "inference/preprocess.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "inference/wide.h"

namespace node::inference {
namespace {

constexpr int kSideMax = 16384;
constexpr int kLanes = 16;

struct Extremes {
  float least, greatest;
  bool nan;
};

NODE_WIDE Extremes find_extremes(const float* pixels, std::size_t count) {
  // One running extreme per lane: comparisons of floats may not be reordered, lanes need not be.
  float least[kLanes], greatest[kLanes];
  std::int32_t nan[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    least[lane] = greatest[lane] = pixels[0];
    nan[lane] = 0;
  }
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const float x = pixels[i + lane];
      least[lane] = x < least[lane] ? x : least[lane];
      greatest[lane] = x > greatest[lane] ? x : greatest[lane];
      nan[lane] |= x != x;
    }
  }
  Extremes all{least[0], greatest[0], false};
  for (int lane = 0; lane < kLanes; ++lane) {
    all.least = std::min(all.least, least[lane]);
    all.greatest = std::max(all.greatest, greatest[lane]);
    all.nan |= nan[lane] != 0;
  }
  for (; i < count; ++i) {
    all.least = std::min(all.least, pixels[i]);
    all.greatest = std::max(all.greatest, pixels[i]);
    all.nan |= std::isnan(pixels[i]);
  }
  return all;
}

NODE_WIDE void stretch(const float* pixels, std::size_t count, float least, float range, std::uint8_t* out) {
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = grey_level(pixels[i], least, range);
  }
}

std::string size_text(std::int32_t rows, std::int32_t columns) {
  return std::to_string(rows) + " x " + std::to_string(columns);
}

}  // namespace

Result<GreyImage> to_8_bit(Radiograph image) {
  const std::size_t count = std::max(image.pixels.size(), image.grey.size());
  if (image.rows < 1 || image.columns < 1 || static_cast<std::size_t>(image.rows) * image.columns != count) {
    return invalid_argument("radiograph of " + size_text(image.rows, image.columns) + " holds " +
                            std::to_string(count) + " pixels");
  }
  if (!image.grey.empty()) return GreyImage{image.rows, image.columns, std::move(image.grey)};
  const Extremes extremes = find_extremes(image.pixels.data(), count);
  if (extremes.nan) return invalid_argument("radiograph holds a pixel that is not a number");
  const float range = extremes.greatest - extremes.least;
  if (!std::isfinite(range)) return invalid_argument("radiograph holds an infinite pixel, or spans all of float32");
  GreyImage out{image.rows, image.columns, std::vector<std::uint8_t>(count)};
  if (range > 0) stretch(image.pixels.data(), count, extremes.least, range, out.pixels.data());
  return out;
}

Result<Preprocessor> Preprocessor::create(const PreprocessConfig& config) {
  if (config.height < 1 || config.height > kSideMax || config.width < 1 || config.width > kSideMax) {
    return invalid_argument("size " + size_text(config.height, config.width) + " is outside 1 to " +
                            std::to_string(kSideMax));
  }
  if (!std::isfinite(config.rescale_factor)) return invalid_argument("rescale_factor is not a finite number");
  for (int channel = 0; channel < 3; ++channel) {
    if (!std::isfinite(static_cast<float>(config.mean[channel]))) {
      return invalid_argument("image_mean is not a finite number");
    }
    const float std = static_cast<float>(config.std[channel]);
    if (!std::isfinite(std) || std == 0) return invalid_argument("image_std is zero or not a finite number");
  }
  return Preprocessor(config);
}

Preprocessor::Preprocessor(const PreprocessConfig& config) : config_(config) {
  for (int channel = 0; channel < 3; ++channel) {
    // The widths of numpy's arrays in transformers: the factor is applied in float64, mean and std in float32.
    const float mean = static_cast<float>(config.mean[channel]);
    const float std = static_cast<float>(config.std[channel]);
    for (int pixel = 0; pixel < 256; ++pixel) {
      float value = static_cast<float>(pixel);
      if (config.do_rescale) value = static_cast<float>(pixel * config.rescale_factor);
      if (config.do_normalize) value = (value - mean) / std;
      normalized_[channel][pixel] = value;
    }
  }
}

std::size_t Preprocessor::input_size() const { return std::size_t{3} * config_.height * config_.width; }

Status Preprocessor::run(Radiograph image, std::span<float> input) const {
  NODE_ASSIGN_OR_RETURN(const GreyImage grey, to_8_bit(std::move(image)));
  NODE_ASSIGN_OR_RETURN(const GreyImage reduced, reduce(grey));
  normalize(reduced, input);
  return ok_status();
}

Result<GreyImage> Preprocessor::reduce(const GreyImage& image) const {
  if (config_.do_resize) return resize(image, config_.height, config_.width, config_.resample);
  if (image.rows == config_.height && image.columns == config_.width) return image;
  return invalid_argument("image of " + size_text(image.rows, image.columns) + " for a model of " +
                          size_text(config_.height, config_.width) + " whose do_resize is false");
}

void Preprocessor::normalize(const GreyImage& reduced, std::span<float> input) const {
  const std::size_t plane = reduced.pixels.size();
  assert(plane * 3 == input_size() && input.size() == input_size());
  for (int channel = 0; channel < 3; ++channel) {
    const std::array<float, 256>& normalized = normalized_[channel];
    float* out = input.data() + channel * plane;
    for (std::size_t i = 0; i < plane; ++i) out[i] = normalized[reduced.pixels[i]];
  }
}

}  // namespace node::inference
