// Both ways through attention(), against the formula in float32: sequences and heads of sizes that fill no register.
#include "inference/attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cmath>

namespace node::inference {
namespace {

struct Shape {
  std::int64_t images, tokens, heads, width;
};

at::Tensor input_of(const Shape& s, at::ScalarType type) {
  return at::randn({s.images, s.tokens, 3 * s.heads * s.width}).to(type);
}

at::Tensor by_the_formula(const at::Tensor& query_key_value, const Shape& s) {
  const at::Tensor all =
      query_key_value.to(at::kDouble).view({s.images, s.tokens, 3, s.heads, s.width}).permute({2, 0, 3, 1, 4});
  const at::Tensor scores = at::matmul(all[0], all[1].transpose(-1, -2)) / std::sqrt(static_cast<double>(s.width));
  return at::matmul(at::softmax(scores, -1), all[2]).transpose(1, 2).reshape({s.images, s.tokens, s.heads * s.width});
}

// Whether each head is then computed by itself, whatever the batch.
bool by_head(at::ScalarType type, std::int64_t width) {
  return type == at::kFloat ? __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0
                            : __builtin_cpu_supports("avx512bf16") != 0 && width % 2 == 0;
}

class AttentionOfShape : public ::testing::TestWithParam<Shape> {
 protected:
  const c10::InferenceMode guard_;
};

TEST_P(AttentionOfShape, IsTheFormulas) {
  const Shape s = GetParam();
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor input = input_of(s, type);
    const at::Tensor expected = by_the_formula(input, s);
    const double bound = type == at::kFloat ? 1e-5 : 0.02;
    const at::Tensor all = attention(input, s.heads, s.tokens);
    EXPECT_EQ(all.scalar_type(), type);
    EXPECT_LE((all.to(at::kDouble) - expected).abs().max().item<double>(), bound);
    const at::Tensor first = attention(input, s.heads, 1);
    EXPECT_LE((first.to(at::kDouble) - expected.slice(1, 0, 1)).abs().max().item<double>(), bound);
  }
}

TEST_P(AttentionOfShape, DoesNotDependOnTheBatch) {
  const Shape s = GetParam();
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor input = input_of(s, type);
    const at::Tensor together = attention(at::cat({input_of(s, type), input}), s.heads, s.tokens).slice(0, s.images);
    const at::Tensor alone = attention(input, s.heads, s.tokens);
    const double bound = by_head(type, s.width) ? 0 : type == at::kFloat ? 1e-5 : 0.02;
    EXPECT_LE((together - alone).abs().max().item<double>(), bound);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionOfShape,
                         ::testing::Values(Shape{1, 197, 16, 64}, Shape{3, 50, 16, 64}, Shape{2, 197, 2, 32},
                                           Shape{2, 17, 3, 80}, Shape{2, 10, 4, 6}, Shape{1, 1, 1, 2},
                                           Shape{2, 33, 2, 7}, Shape{1, 65, 1, 130}));

// The greatest score decides alone, and none overflows.
TEST(Attention, KeepsToTheGreatestScore) {
  const c10::InferenceMode guard;
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    at::Tensor input = at::randn({1, 20, 3 * 64}).to(type);
    input.slice(2, 0, 128).mul_(1000);  // Queries and keys.
    const at::Tensor output = attention(input, 1, 20);
    EXPECT_TRUE(output.isfinite().all().item<bool>());
    EXPECT_LE((output.to(at::kDouble) - by_the_formula(input, {1, 20, 1, 64})).abs().max().item<double>(), 0.02);
  }
}

}  // namespace
}  // namespace node::inference
