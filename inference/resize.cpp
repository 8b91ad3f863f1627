#include "inference/resize.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <numbers>
#include <string>

#include "inference/wide.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace node::inference {
namespace {

constexpr int kPrecisionBits = 32 - 8 - 2;  // Pillow's: 8 bits of pixel, 2 of overshoot and sign.
constexpr int kLanes = 16;                  // Taps are padded to a multiple of it, so that no loop has a remainder.

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

#if defined(__x86_64__)
constexpr int kTogether = 8;

// Two taps in a word of 16 bits each, to be multiplied with two pixels at once. A tap is 256 * high + low, of which
// each fits; a pair begins at an even pixel.
struct TapPairs {
  int stride = 0;
  std::vector<int> first, count;  // In pairs, each otherwise as in Filter.
  std::vector<std::uint32_t> high, low;
};

TapPairs pair_up(const Filter& filter) {
  TapPairs pairs;
  pairs.stride = filter.stride / 2 + 1;
  const std::size_t size = filter.first.size();
  pairs.high.resize(size * pairs.stride);
  pairs.low.resize(size * pairs.stride);
  for (std::size_t i = 0; i < size; ++i) {
    const int begin = filter.first[i] % 2, end = begin + filter.count[i];
    for (int j = begin; j < end; ++j) {
      const std::int32_t tap = filter.taps[i * filter.stride + (j - begin)];
      assert(std::abs(tap) < 2 << kPrecisionBits);
      const std::size_t at = i * pairs.stride + j / 2;
      pairs.high[at] |= static_cast<std::uint32_t>(static_cast<std::uint16_t>(tap >> 8)) << j % 2 * 16;
      pairs.low[at] |= static_cast<std::uint32_t>(tap & 255) << j % 2 * 16;
    }
    pairs.first.push_back(filter.first[i] / 2);
    pairs.count.push_back((end + 1) / 2);
  }
  return pairs;
}

// Pixels 0 and 1 of each of eight rows, then 2 and 3 of each.
void lay_together(const std::uint8_t* rows, int columns, std::uint8_t* out) {
  for (int x = 0; x < columns / 2; ++x)
    for (int r = 0; r < kTogether; ++r)
      std::memcpy(out + 2 * (x * kTogether + r), rows + static_cast<std::ptrdiff_t>(r) * columns + 2 * x, 2);
  if (columns % 2 == 0) return;
  for (int r = 0; r < kTogether; ++r)
    out[(columns - 1) * kTogether + 2 * r] = rows[static_cast<std::ptrdiff_t>(r + 1) * columns - 1];
}

// resize_row() of eight rows: a lane for each, so that nothing has to be summed across lanes. Sums wrap, as the lanes
// do, and are right in the end.
__attribute__((target("avx2"))) void resize_together(const std::uint8_t* together, const TapPairs& pairs, int out_size,
                                                     std::uint8_t* out) {
  for (int i = 0; i < out_size; ++i) {
    const auto* in = reinterpret_cast<const __m128i*>(together) + pairs.first[i];
    const std::size_t at = static_cast<std::size_t>(i) * pairs.stride;
    __m256i high = _mm256_setzero_si256(), low = _mm256_set1_epi32(kHalf);
    for (int j = 0; j < pairs.count[i]; ++j) {
      const __m256i pixels = _mm256_cvtepu8_epi16(_mm_loadu_si128(in + j));
      const __m256i high_taps = _mm256_set1_epi32(static_cast<int>(pairs.high[at + j]));
      const __m256i low_taps = _mm256_set1_epi32(static_cast<int>(pairs.low[at + j]));
      high = _mm256_add_epi32(high, _mm256_madd_epi16(pixels, high_taps));
      low = _mm256_add_epi32(low, _mm256_madd_epi16(pixels, low_taps));
    }
    alignas(32) std::int32_t sums[kTogether];
    _mm256_store_si256(reinterpret_cast<__m256i*>(sums), _mm256_add_epi32(_mm256_slli_epi32(high, 8), low));
    for (int r = 0; r < kTogether; ++r) out[r * out_size + i] = to_pixel(sums[r]);
  }
}
#endif

GreyImage resize_rows(const GreyImage& image, int width, Resample resample) {
  const Filter filter = make_filter(image.columns, width, resample);
  GreyImage out{image.rows, width, std::vector<std::uint8_t>(static_cast<std::size_t>(image.rows) * width)};
  const auto in_row = [&](int y) { return image.pixels.data() + static_cast<std::ptrdiff_t>(y) * image.columns; };
  const auto out_row = [&](int y) { return out.pixels.data() + static_cast<std::ptrdiff_t>(y) * width; };
  int y = 0;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) {
    const TapPairs pairs = pair_up(filter);
    std::vector<std::uint8_t> together((static_cast<std::size_t>(image.columns) + 1) * kTogether);
    for (; y + kTogether <= image.rows; y += kTogether) {
      lay_together(in_row(y), image.columns, together.data());
      resize_together(together.data(), pairs, width, out_row(y));
    }
  }
#endif
  std::vector<std::uint8_t> row(static_cast<std::size_t>(image.columns) + filter.stride);
  for (; y < image.rows; ++y) {
    std::copy_n(in_row(y), image.columns, row.begin());
    resize_row(row.data(), filter, width, out_row(y));
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

}  // namespace

Result<Resample> resample_from_pil(std::int64_t number) {
  if (number >= 1 && number <= 5) return static_cast<Resample>(number);
  return unsupported("resample " + std::to_string(number) + (number == 0 ? " (nearest)" : "") +
                     " is not one of 1 lanczos, 2 bilinear, 3 bicubic, 4 box, 5 hamming");
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

}  // namespace node::inference
