#include "inference/attention.h"

#include <ATen/native/CPUBlas.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "inference/parallel.h"

// LibTorch's own kernel for a CPU converts bfloat16 to float32 and back on the way, and its MKL multiplies float32 on
// an AMD processor with half of a register: on the short sequences of radiographs a quarter and a half of the
// arithmetic's speed. So where AVX-512 is native, each head's two products go to oneDNN's small-matrix kernel, and what
// lies between stays in the cache. The compiler takes an instruction of avx512bf16 only where store() names it, which
// float32 never comes to.
#define NODE_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))

namespace node::inference {
namespace {

using at::BFloat16;
using at::native::cpublas::brgemm;

constexpr std::int64_t kPanel = 64;  // Columns of one product: oneDNN's packed layout ends there.

template <typename Number>
struct Head {                         // Of one image.
  const Number *query, *key, *value;  // [T, D], a token every `stride` values.
  Number* output;                     // [asked, D], a token every `output_stride` values.
};

// How many lie side by side along the summed dimension, as the instruction takes them: words of 32 bits.
template <typename Number>
constexpr std::int64_t kInWord = sizeof(std::uint32_t) / sizeof(Number);

struct Sizes {
  std::int64_t tokens, asked, width, stride, output_stride;
  std::int64_t columns() const { return (tokens + 15) / 16 * 16; }  // Tokens, filled up to whole registers.
  std::int64_t blocks() const { return (asked + 63) / 64; }
  std::int64_t block_rows() const { return (asked + blocks() - 1) / blocks(); }
};

template <typename Number>
struct Scratch {
  explicit Scratch(const Sizes& s)
      : keys(static_cast<std::size_t>(s.width * s.columns())),
        values(static_cast<std::size_t>(s.columns() * s.width)),
        weights(static_cast<std::size_t>(s.block_rows() * s.columns())),
        scores(static_cast<std::size_t>(s.block_rows() * s.columns())),
        sums(static_cast<std::size_t>(s.block_rows() * s.width)),
        totals(static_cast<std::size_t>(s.block_rows())) {}

  std::vector<Number> keys, values;         // As packed below.
  std::vector<Number> weights;              // [block_rows, columns]
  std::vector<float> scores, sums, totals;  // [block_rows, columns], [block_rows, D], [block_rows]
};

// rows[i][j] -> rows[j][i], 16 x 16 words: within registers' quarters first, then the quarters among registers.
NODE_AVX512 inline void transpose(__m512i (&rows)[16]) {
  __m512i pairs[16];
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    rows[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
    rows[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
    rows[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
    rows[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    const __m512i even = _mm512_shuffle_i32x4(rows[i], rows[4 + i], 0x88);
    const __m512i odd = _mm512_shuffle_i32x4(rows[i], rows[4 + i], 0xDD);
    const __m512i even_below = _mm512_shuffle_i32x4(rows[8 + i], rows[12 + i], 0x88);
    const __m512i odd_below = _mm512_shuffle_i32x4(rows[8 + i], rows[12 + i], 0xDD);
    rows[i] = _mm512_shuffle_i32x4(even, even_below, 0x88);
    rows[4 + i] = _mm512_shuffle_i32x4(odd, odd_below, 0x88);
    rows[8 + i] = _mm512_shuffle_i32x4(even, even_below, 0xDD);
    rows[12 + i] = _mm512_shuffle_i32x4(odd, odd_below, 0xDD);
  }
}

// The first `count` of 16 lanes; none if it is not positive, all if it is 16 or more.
inline __mmask16 first_lanes(std::int64_t count) {
  return static_cast<__mmask16>((1U << std::clamp<std::int64_t>(count, 0, 16)) - 1);
}

// K^T: [panel][words of D][columns of the panel], zero beyond the tokens.
template <typename Number>
NODE_AVX512 void pack_keys(const Head<Number>& head, const Sizes& s, std::vector<Number>& packed) {
  auto* to = reinterpret_cast<std::uint32_t*>(packed.data());
  const std::int64_t words = s.width / kInWord<Number>;
  for (std::int64_t first = 0; first < s.columns(); first += kPanel) {
    const std::int64_t columns = std::min(kPanel, s.columns() - first);
    for (std::int64_t column = 0; column < columns; column += 16) {
      for (std::int64_t word = 0; word < words; word += 16) {
        __m512i block[16];
        for (std::int64_t i = 0; i < 16; ++i) {
          const std::int64_t token = first + column + i;
          const __mmask16 lanes = token < s.tokens ? first_lanes(words - word) : __mmask16{0};
          block[i] = _mm512_maskz_loadu_epi32(lanes, head.key + token * s.stride + word * kInWord<Number>);
        }
        transpose(block);
        const std::int64_t rows = std::min<std::int64_t>(16, words - word);
        for (std::int64_t i = 0; i < rows; ++i) _mm512_storeu_si512(to + (word + i) * columns + column, block[i]);
      }
    }
    to += words * columns;
  }
}

// V: [panel][tokens / 2][D of the panel][2]
NODE_AVX512 void pack_values(const Head<BFloat16>& head, const Sizes& s, std::vector<BFloat16>& packed) {
  auto* to = reinterpret_cast<std::uint32_t*>(packed.data());
  for (std::int64_t first = 0; first < s.width; first += kPanel) {
    const std::int64_t width = std::min(kPanel, s.width - first);
    for (std::int64_t token = 0; token < s.tokens; token += 2) {
      const BFloat16* const from = head.value + token * s.stride + first;
      for (std::int64_t i = 0; i < width; i += 16) {
        const __mmask16 lanes = first_lanes(width - i), next_lanes = token + 1 < s.tokens ? lanes : __mmask16{0};
        const __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, from + i));
        const __m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(next_lanes, from + s.stride + i));
        _mm512_mask_storeu_epi32(to + token / 2 * width + i, lanes, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
      }
    }
    to += s.columns() / 2 * width;
  }
}

// V: [panel][tokens][D of the panel]. Where they lie, tokens are apart by a power of two and evict each other.
void pack_values(const Head<float>& head, const Sizes& s, std::vector<float>& packed) {
  float* to = packed.data();
  for (std::int64_t first = 0; first < s.width; first += kPanel) {
    const std::int64_t width = std::min(kPanel, s.width - first);
    for (std::int64_t token = 0; token < s.tokens; ++token) {
      std::copy_n(head.value + token * s.stride + first, width, to + token * width);
    }
    to += s.columns() * width;
  }
}

NODE_AVX512 inline void store(BFloat16* to, __mmask16 lanes, __m512 numbers) {
  _mm256_mask_storeu_epi16(to, lanes, reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(numbers)));
}
NODE_AVX512 inline void store(float* to, __mmask16 lanes, __m512 numbers) { _mm512_mask_storeu_ps(to, lanes, numbers); }

// e^x for x <= 0, to float32's precision but for the last bit or two.
NODE_AVX512 inline __m512 exponential(__m512 x) {
  const __m512 y = _mm512_mul_ps(_mm512_max_ps(x, _mm512_set1_ps(-87.0F)), _mm512_set1_ps(1.44269504F));
  const __m512 whole = _mm512_roundscale_ps(y, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 rest = _mm512_sub_ps(y, whole);  // 2^rest by its Taylor series, |rest| <= 1/2.
  __m512 power = _mm512_set1_ps(1.5403530e-4F);
  for (const float c : {1.3333558e-3F, 9.6181291e-3F, 5.5504109e-2F, 2.4022651e-1F, 6.9314718e-1F, 1.0F}) {
    power = _mm512_fmadd_ps(power, rest, _mm512_set1_ps(c));
  }
  return _mm512_scalef_ps(power, whole);
}

// One row: weights = e^(scale * (score - greatest)), zero beyond the tokens. Returns their sum.
template <typename Number>
NODE_AVX512 float exponentials(const float* scores, const Sizes& s, float scale, Number* weights) {
  const __mmask16 tail = first_lanes(s.tokens % 16);
  __m512 greatest = _mm512_set1_ps(-INFINITY), sum = _mm512_setzero_ps();
  std::int64_t i = 0;
  for (; i + 16 <= s.tokens; i += 16) greatest = _mm512_max_ps(greatest, _mm512_loadu_ps(scores + i));
  if (tail != 0) greatest = _mm512_mask_max_ps(greatest, tail, greatest, _mm512_maskz_loadu_ps(tail, scores + i));
  const __m512 most = _mm512_set1_ps(_mm512_reduce_max_ps(greatest)), factor = _mm512_set1_ps(scale);
  for (i = 0; i < s.tokens; i += 16) {
    const __mmask16 mask = first_lanes(s.tokens - i);
    const __m512 x = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(mask, scores + i), most), factor);
    const __m512 weight = _mm512_maskz_mov_ps(mask, exponential(x));
    sum = _mm512_add_ps(sum, weight);
    store(weights + i, 0xFFFF, weight);
  }
  return _mm512_reduce_add_ps(sum);
}

template <typename Number>
NODE_AVX512 void store_scaled(const float* from, float factor, std::int64_t width, Number* to) {
  const __m512 by = _mm512_set1_ps(factor);
  for (std::int64_t i = 0; i < width; i += 16) {
    const __mmask16 mask = first_lanes(width - i);
    store(to + i, mask, _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, from + i), by));
  }
}

template <typename Number>
void attend(const Head<Number>& head, const Sizes& s, Scratch<Number>& scratch) {
  pack_keys(head, s, scratch.keys);
  pack_values(head, s, scratch.values);
  const float scale = 1 / std::sqrt(static_cast<float>(s.width));
  const std::int64_t columns = s.columns(), in_word = kInWord<Number>;
  const std::int64_t summed = (s.tokens + in_word - 1) / in_word * in_word;  // The last word's rest has the weight 0.
  for (std::int64_t first = 0; first < s.asked; first += s.block_rows()) {
    const std::int64_t rows = std::min(s.block_rows(), s.asked - first);
    for (std::int64_t at = 0; at < columns; at += kPanel) {
      const std::int64_t panel = std::min(kPanel, columns - at);
      brgemm(rows, panel, s.width, s.stride, panel, columns, false, head.query + first * s.stride,
             scratch.keys.data() + at * s.width, scratch.scores.data() + at);
    }
    for (std::int64_t row = 0; row < rows; ++row) {
      scratch.totals[static_cast<std::size_t>(row)] =
          exponentials(scratch.scores.data() + row * columns, s, scale, scratch.weights.data() + row * columns);
    }
    for (std::int64_t at = 0; at < s.width; at += kPanel) {
      const std::int64_t panel = std::min(kPanel, s.width - at);
      brgemm(rows, panel, summed, columns, panel, s.width, false, scratch.weights.data(),
             scratch.values.data() + at * columns, scratch.sums.data() + at);
    }
    for (std::int64_t row = 0; row < rows; ++row) {
      store_scaled(scratch.sums.data() + row * s.width, 1 / scratch.totals[static_cast<std::size_t>(row)], s.width,
                   head.output + (first + row) * s.output_stride);
    }
  }
}

template <typename Number>
at::Tensor attention_by_head(const at::Tensor& query_key_value, std::int64_t heads, std::int64_t asked) {
  const std::int64_t images = query_key_value.size(0), hidden = query_key_value.size(2) / 3;
  const Sizes s{query_key_value.size(1), asked, hidden / heads, 3 * hidden, hidden};
  at::Tensor output = at::empty({images, asked, hidden}, query_key_value.options());
  const Number* const from = query_key_value.const_data_ptr<Number>();
  Number* const to = output.mutable_data_ptr<Number>();
  at::parallel_for(0, images * heads, 1, [&](std::int64_t begin, std::int64_t end) {
    Scratch<Number> scratch(s);
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t image = i / heads, at = i % heads * s.width;
      const Number* const query = from + image * s.tokens * s.stride + at;
      attend<Number>({query, query + hidden, query + 2 * hidden, to + image * asked * hidden + at}, s, scratch);
    }
    at::native::cpublas::brgemm_release();  // A CPU with AMX keeps the shapes of its tiles, which the linears change.
  });
  return output;
}

// Whether the processor has what attention_by_head() is compiled for.
bool is_native(at::ScalarType type) {
  static const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  static const bool bfloat16 = avx512 && __builtin_cpu_supports("avx512bf16");
  return type == at::kFloat ? avx512 : type == at::kBFloat16 && bfloat16;
}

}  // namespace

at::Tensor attention(const at::Tensor& query_key_value, std::int64_t heads, std::int64_t asked) {
  const std::int64_t rows = query_key_value.size(0), tokens = query_key_value.size(1);
  const std::int64_t hidden = query_key_value.size(2) / 3, width = hidden / heads;
  const at::ScalarType type = query_key_value.scalar_type();
  if (query_key_value.device().is_cpu() && is_native(type) && query_key_value.is_contiguous()) {
    if (type == at::kFloat) return attention_by_head<float>(query_key_value, heads, asked);
    if (width % kInWord<BFloat16> == 0) return attention_by_head<BFloat16>(query_key_value, heads, asked);
  }
  // [N, T, 3 H] -> [3, N, heads, T, D]
  const at::Tensor all = query_key_value.view({rows, tokens, 3, heads, width}).permute({2, 0, 3, 1, 4});
  return at::scaled_dot_product_attention(all.select(0, 0).slice(2, 0, asked), all.select(0, 1), all.select(0, 2))
      .transpose(1, 2)
      .reshape({rows, asked, hidden});
}

}  // namespace node::inference
