// Linear: y = activation(x W^T + b), the weight laid out once, at loading, for the device that runs it.
//
// Guarantee: on a CPU whose oneDNN has kernels for the type, the weight is kept in oneDNN's blocked layout, and bias,
//            activation and residual are part of the product; everywhere else it is LibTorch's own linear. One copy of
//            the weight is held, whichever it is.
// Threads:   immutable; called in inference mode.
// Shapes:    x [..., in], y [..., out], weight [out, in], bias [out]; all of one type. Errors: c10::Error.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "inference/checkpoint.h"

namespace node::inference {

class Linear {
 public:
  Linear() = default;
  // Copies the weight, which may lie in a mapped file; `bias` may be undefined.
  Linear(const at::Tensor& weight, at::Tensor bias);

  at::Tensor operator()(const at::Tensor& input) const;
  at::Tensor activated(const at::Tensor& input, Activation activation) const;
  at::Tensor added_to(const at::Tensor& residual, const at::Tensor& input) const;  // residual + layer(input)

 private:
  at::Tensor weight_, bias_;  // weight_ is opaque if packed_.
  bool packed_ = false;
};

}  // namespace node::inference
