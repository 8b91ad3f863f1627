#include "inference/linear.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>

#include <optional>
#include <string_view>
#include <utility>

namespace node::inference {
namespace {

constexpr std::int64_t kUsualRows = 256;  // oneDNN chooses the layout for so many; it serves any number.

using Scalars = c10::List<std::optional<at::Scalar>>;
using Pack = at::Tensor(const at::Tensor&, std::optional<c10::SymInt>);
using Pointwise = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, std::string_view,
                             Scalars, std::optional<std::string_view>);
using Binary = at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                          std::string_view);

template <typename Signature>
c10::TypedOperatorHandle<Signature> operator_named(const char* name, const char* overload = "") {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).typed<Signature>();
}

// The operators that LibTorch's own compiler calls for frozen weights; no header declares them.
bool can_pack(const at::Tensor& weight) {
  if (!weight.device().is_cpu() || !at::hasMKLDNN()) return false;
  auto& dispatcher = c10::Dispatcher::singleton();
  if (!dispatcher.findSchema({"mkldnn::_linear_pointwise", ""})) return false;
  if (weight.scalar_type() == at::kFloat) return true;
  return weight.scalar_type() == at::kBFloat16 && operator_named<bool()>("mkldnn::_is_mkldnn_bf16_supported").call();
}

at::Tensor run_packed(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                      std::string_view activation, std::string_view algorithm) {
  static const auto pointwise = operator_named<Pointwise>("mkldnn::_linear_pointwise");
  return pointwise.call(input, weight, bias.defined() ? std::optional(bias) : std::nullopt, activation, Scalars(),
                        algorithm);
}

at::Tensor activate(const at::Tensor& input, Activation activation) {
  switch (activation) {
    case Activation::kGelu: return at::gelu(input);
    case Activation::kGeluTanh: return at::gelu(input, "tanh");
    case Activation::kQuickGelu: return input * at::sigmoid(input * 1.702);
    case Activation::kRelu: return at::relu(input);
    case Activation::kSilu: return at::silu(input);
  }
  return input;
}

}  // namespace

Linear::Linear(const at::Tensor& weight, at::Tensor bias) : bias_(std::move(bias)), packed_(can_pack(weight)) {
  if (packed_) {
    const std::optional<c10::SymInt> rows{c10::SymInt(kUsualRows)};
    weight_ = operator_named<Pack>("mkldnn::_reorder_linear_weight").call(weight, rows);
  } else {
    weight_ = weight.device().is_cpu() ? weight.clone() : weight;
  }
}

at::Tensor Linear::operator()(const at::Tensor& input) const {
  return packed_ ? run_packed(input, weight_, bias_, "none", "") : at::linear(input, weight_, bias_);
}

at::Tensor Linear::activated(const at::Tensor& input, Activation activation) const {
  if (packed_) {
    switch (activation) {
      case Activation::kGelu: return run_packed(input, weight_, bias_, "gelu", "none");
      case Activation::kGeluTanh: return run_packed(input, weight_, bias_, "gelu", "tanh");
      case Activation::kRelu: return run_packed(input, weight_, bias_, "relu", "");
      case Activation::kSilu: return run_packed(input, weight_, bias_, "swish", "");
      case Activation::kQuickGelu: break;  // oneDNN has it, the operator does not pass it on.
    }
  }
  return activate((*this)(input), activation);
}

at::Tensor Linear::added_to(const at::Tensor& residual, const at::Tensor& input) const {
  if (!packed_) return residual + (*this)(input);
  static const auto binary = operator_named<Binary>("mkldnn::_linear_pointwise", "binary");
  return binary.call(input, residual, weight_, bias_.defined() ? std::optional(bias_) : std::nullopt, "add");
}

}  // namespace node::inference
