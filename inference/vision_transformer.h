// VisionTransformer: the encoder of ViTForImageClassification and ViTMAEForPreTraining, as plain functions over
// weights.
//
// Threads:   weights are immutable after loading; the functions are called on the device's thread, in inference mode.
// Shapes:    pixels [N, 3, S, S] float32, normalised; patches [N, L, 3 * P * P], each (channel, row, column); tokens
//            [N, T, H] in the type of the weights.
// Errors:    c10::Error, from LibTorch alone: the caller catches.
// Source:    Dosovitskiy et al., "An image is worth 16x16 words", arXiv 2010.11929; pre-norm blocks, exact GELU.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "inference/checkpoint.h"
#include "inference/linear.h"

namespace node::inference {

struct LayerNorm {
  at::Tensor weight, bias;
  double eps = 0;
};

struct TransformerBlock {
  LayerNorm before, after;
  Linear query_key_value, attention_output, up, down;  // The three projections of one input are one matrix.
};

struct Transformer {
  std::vector<TransformerBlock> blocks;
  LayerNorm norm;
  std::int64_t heads = 0;
  Activation activation = Activation::kGelu;
};

struct VisionTransformer {
  Linear patch_projection;  // The convolution of stride P, as a matrix.
  at::Tensor cls_token;     // [1, 1, H], its position embedding added.
  at::Tensor positions;     // [1, L, H]
  Transformer transformer;
  std::int64_t patch_size = 0;
};

// Where the weights of one model go, in which type.
struct Placement {
  at::Device device = at::kCPU;
  at::ScalarType type = at::kFloat;
};

// As it lies in the mapped file where type and device are the file's own, else a copy: not to be kept beyond the
// checkpoint's life, not to be written to.
at::Tensor view_tensor(const Checkpoint& checkpoint, const std::string& name, const Placement& placement);
// Copies: the checkpoint may be dropped afterwards.
at::Tensor load_tensor(const Checkpoint& checkpoint, const std::string& name, const Placement& placement);
Linear load_linear(const Checkpoint& checkpoint, const std::string& name, const Placement& placement);
LayerNorm load_layer_norm(const Checkpoint& checkpoint, const std::string& name, const Placement& placement);
// The blocks "<layers>0." and so on, and the norm after the last of them.
Transformer load_transformer(const Checkpoint& checkpoint, const std::string& layers, const std::string& norm,
                             const TransformerConfig& config, const Placement& placement);
VisionTransformer load_vision_transformer(const Checkpoint& checkpoint, const Placement& placement);

// The first `asked` tokens after the last block and the final norm, [N, asked, H]. What only the other tokens would
// need is not computed: for the CLS token alone, most of the last block. `between`: added to all tokens after each
// block but the last; empty: nothing.
at::Tensor run_transformer(const Transformer& transformer, at::Tensor tokens, std::int64_t asked,
                           const std::vector<at::Tensor>& between = {});

at::Tensor patchify(const at::Tensor& pixels, std::int64_t patch_size);
// [N, H]: the CLS token after the final norm, what a classifier's head reads.
at::Tensor cls_features(const VisionTransformer& vit, const at::Tensor& pixels);

}  // namespace node::inference
