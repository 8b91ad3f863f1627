#include "inference/preprocess.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <numbers>
#include <string>
#include <utility>

// The loops over pixels are compiled once more for wider registers and chosen at start. Integers and single rounded
// float32 operations give the same bits at any width. (Sanitizers run before such a choice can be made.)
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define NODE_WIDE __attribute__((target_clones("default", "avx2")))
#else
#define NODE_WIDE
#endif

namespace node::inference {
namespace {

constexpr int kSideMax = 16384;
constexpr int kPrecisionBits = 32 - 8 - 2;  // Pillow's: 8 bits of pixel, 2 of overshoot and sign.
constexpr int kLanes = 16;                  // Taps are padded to a multiple of it, so that no loop has a remainder.

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

double sinc(double x) {
  if (x == 0) return 1;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

// Half the width of the filter, in pixels of the smaller image.
double support_of(Resample resample) {
  switch (resample) {
    case Resample::kBox: return 0.5;
    case Resample::kBilinear: return 1;
    case Resample::kHamming: return 1;
    case Resample::kBicubic: return 2;
    case Resample::kLanczos: return 3;
  }
  return 1;
}

double weight(Resample resample, double x) {
  const double distance = std::abs(x);
  switch (resample) {
    case Resample::kBox: return x > -0.5 && x <= 0.5 ? 1 : 0;
    case Resample::kBilinear: return distance < 1 ? 1 - distance : 0;
    case Resample::kHamming: {
      if (distance >= 1) return 0;
      if (distance == 0) return 1;
      const double angle = distance * std::numbers::pi;
      return std::sin(angle) / angle * (0.54f + 0.46f * std::cos(angle));  // float32 constants, as Pillow's are.
    }
    case Resample::kBicubic: {  // Catmull-Rom's family with a = -0.5.
      constexpr double a = -0.5;
      if (distance < 1) return ((a + 2) * distance - (a + 3)) * distance * distance + 1;
      if (distance < 2) return (((distance - 5) * distance + 8) * distance - 4) * a;
      return 0;
    }
    case Resample::kLanczos: return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
  }
  return 0;
}

// Along one axis: output pixel i is the sum of taps [i * stride, i * stride + count[i]) times the input from first[i].
struct Filter {
  int stride = 0;
  std::vector<int> first, count;
  std::vector<std::int32_t> taps;  // Fixed point with kPrecisionBits, zero beyond `count`.
};

Filter make_filter(int in_size, int out_size, Resample resample) {
  const double scale = static_cast<double>(in_size) / out_size;
  const double stretch = std::max(scale, 1.0);  // Antialias: when reducing, the filter spans all pixels it stands for.
  const double support = support_of(resample) * stretch;
  const double inverse = 1.0 / stretch;

  Filter filter;
  filter.stride = (static_cast<int>(std::ceil(support)) * 2 + 1 + kLanes - 1) / kLanes * kLanes;
  filter.first.resize(out_size);
  filter.count.resize(out_size);
  filter.taps.resize(static_cast<std::size_t>(filter.stride) * out_size);
  std::vector<double> weights(filter.stride);
  for (int i = 0; i < out_size; ++i) {
    const double center = (i + 0.5) * scale;
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int end = std::min(static_cast<int>(center + support + 0.5), in_size);
    double sum = 0;
    for (int j = first; j < end; ++j) {
      weights[j - first] = weight(resample, (j - center + 0.5) * inverse);
      sum += weights[j - first];
    }
    for (int j = first; j < end; ++j) {
      const double share = sum != 0 ? weights[j - first] / sum : weights[j - first];
      const double fixed = share * (1 << kPrecisionBits);
      filter.taps[static_cast<std::size_t>(i) * filter.stride + (j - first)] =
          static_cast<std::int32_t>(share < 0 ? fixed - 0.5 : fixed + 0.5);
    }
    filter.first[i] = first;
    filter.count[i] = end - first;
  }
  return filter;
}

std::uint8_t to_pixel(std::int32_t fixed) {
  return static_cast<std::uint8_t>(std::clamp(fixed >> kPrecisionBits, 0, 255));
}

constexpr std::int32_t kHalf = 1 << (kPrecisionBits - 1);

// `row` is followed by filter.stride zeros.
NODE_WIDE void resize_row(const std::uint8_t* row, const Filter& filter, int out_size, std::uint8_t* out) {
  for (int i = 0; i < out_size; ++i) {
    const std::uint8_t* in = row + filter.first[i];
    const std::int32_t* taps = filter.taps.data() + static_cast<std::size_t>(i) * filter.stride;
    const int count = (filter.count[i] + kLanes - 1) / kLanes * kLanes;
    std::int32_t sum = kHalf;
    for (int j = 0; j < count; ++j) sum += in[j] * taps[j];
    out[i] = to_pixel(sum);
  }
}

NODE_WIDE void add_row(const std::uint8_t* row, std::int32_t tap, int count, std::int32_t* sums) {
  for (int i = 0; i < count; ++i) sums[i] += row[i] * tap;
}

NODE_WIDE void to_pixels(const std::int32_t* sums, int count, std::uint8_t* out) {
  for (int i = 0; i < count; ++i) out[i] = to_pixel(sums[i]);
}

GreyImage resize_rows(const GreyImage& image, int width, Resample resample) {
  const Filter filter = make_filter(image.columns, width, resample);
  GreyImage out{image.rows, width, std::vector<std::uint8_t>(static_cast<std::size_t>(image.rows) * width)};
  std::vector<std::uint8_t> row(static_cast<std::size_t>(image.columns) + filter.stride);
  for (int y = 0; y < image.rows; ++y) {
    std::copy_n(image.pixels.begin() + static_cast<std::ptrdiff_t>(y) * image.columns, image.columns, row.begin());
    resize_row(row.data(), filter, width, out.pixels.data() + static_cast<std::size_t>(y) * width);
  }
  return out;
}

GreyImage resize_columns(const GreyImage& image, int height, Resample resample) {
  const Filter filter = make_filter(image.rows, height, resample);
  const std::size_t width = image.columns;
  GreyImage out{height, image.columns, std::vector<std::uint8_t>(height * width)};
  std::vector<std::int32_t> sums(width);
  for (int y = 0; y < height; ++y) {
    std::fill(sums.begin(), sums.end(), kHalf);
    for (int j = 0; j < filter.count[y]; ++j) {
      add_row(image.pixels.data() + (filter.first[y] + j) * width,
              filter.taps[static_cast<std::size_t>(y) * filter.stride + j], image.columns, sums.data());
    }
    to_pixels(sums.data(), image.columns, out.pixels.data() + y * width);
  }
  return out;
}

std::string size_text(std::int32_t rows, std::int32_t columns) {
  return std::to_string(rows) + " x " + std::to_string(columns);
}

}  // namespace

Result<Resample> resample_from_pil(std::int64_t number) {
  if (number >= 1 && number <= 5) return static_cast<Resample>(number);
  return unsupported("resample " + std::to_string(number) + (number == 0 ? " (nearest)" : "") +
                     " is not one of 1 lanczos, 2 bilinear, 3 bicubic, 4 box, 5 hamming");
}

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

GreyImage resize(const GreyImage& image, std::int32_t height, std::int32_t width, Resample resample) {
  assert(image.rows > 0 && image.columns > 0 && height > 0 && width > 0);
  // Each pass rounds to 8 bits, so the order matters to the last bit. Pillow goes along the rows first, but since 13.0
  // along the columns first where the height shrinks by more than twice what the width does. An axis that keeps its
  // size is left alone.
  const bool columns_first = height < image.rows && image.rows - height > 2 * (image.columns - width);
  const auto along_rows = [&](const GreyImage& in) {
    return in.columns == width ? in : resize_rows(in, width, resample);
  };
  const auto along_columns = [&](const GreyImage& in) {
    return in.rows == height ? in : resize_columns(in, height, resample);
  };
  return columns_first ? along_rows(along_columns(image)) : along_columns(along_rows(image));
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
