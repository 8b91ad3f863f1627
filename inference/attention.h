// attention: what each token takes from all tokens of its image, for each head: softmax(Q K^T / sqrt(D)) V.
//
// Guarantee: on a CPU with AVX-512 (for bfloat16 with its BF16), an image's result has the same bits whatever batch it
//            travels in; LibTorch's own kernel, which serves the rest, differs by rounding.
// Threads:   spreads over LibTorch's threads; called in inference mode.
// Shapes:    query_key_value [N, T, 3 H], the three side by side, each of `heads` times D = H / heads values; the
//            result is [N, asked, H], of the first `asked` tokens. Errors: c10::Error.
// Source:    Vaswani et al., "Attention is all you need", arXiv 1706.03762.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace node::inference {

at::Tensor attention(const at::Tensor& query_key_value, std::int64_t heads, std::int64_t asked);

}  // namespace node::inference
