#include "inference/vision_transformer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/layer_norm.h>
#include <c10/core/InferenceMode.h>

#include <cstdint>
#include <cstring>
#include <utility>

#include "inference/attention.h"
#include "inference/parallel.h"

namespace node::inference {
namespace {

at::ScalarType scalar_type(StoredType type) {
  switch (type) {
    case StoredType::kFloat32: return at::kFloat;
    case StoredType::kFloat16: return at::kHalf;
    case StoredType::kBfloat16: return at::kBFloat16;
  }
  return at::kFloat;
}

at::Tensor layer_norm(const at::Tensor& input, const LayerNorm& layer) {
  return at::layer_norm(input, layer.weight.sizes(), layer.weight, layer.bias, layer.eps);
}

at::Tensor run_block(const at::Tensor& tokens, const TransformerBlock& block, const Transformer& transformer,
                     std::int64_t asked) {
  const at::Tensor all = block.query_key_value(layer_norm(tokens, block.before));
  const at::Tensor mixed = attention(all, transformer.heads, asked);
  const at::Tensor attended = block.attention_output.added_to(tokens.slice(1, 0, asked), mixed);
  const at::Tensor wide = block.up.activated(layer_norm(attended, block.after), transformer.activation);
  return block.down.added_to(attended, wide);
}

}  // namespace

at::Tensor view_tensor(const Checkpoint& checkpoint, const std::string& name, const Placement& placement) {
  const StoredTensor& stored = checkpoint.tensor(name);
  const auto options = at::TensorOptions().dtype(scalar_type(stored.type));
  if (reinterpret_cast<std::uintptr_t>(stored.data) % c10::elementSize(scalar_type(stored.type)) == 0) {
    void* const data = const_cast<std::byte*>(stored.data);  // Of a read-only mapping: nothing writes to it.
    return at::from_blob(data, stored.shape, options).to(placement.device, placement.type);
  }
  at::Tensor tensor = at::empty(stored.shape, options);
  std::memcpy(tensor.mutable_data_ptr(), stored.data, stored.size_bytes);
  return tensor.to(placement.device, placement.type);
}

at::Tensor load_tensor(const Checkpoint& checkpoint, const std::string& name, const Placement& placement) {
  const at::Tensor tensor = view_tensor(checkpoint, name, placement);
  return tensor.const_data_ptr() == checkpoint.tensor(name).data ? tensor.clone() : tensor;
}

Linear load_linear(const Checkpoint& checkpoint, const std::string& name, const Placement& placement) {
  return Linear(view_tensor(checkpoint, name + ".weight", placement),
                load_tensor(checkpoint, name + ".bias", placement));
}

LayerNorm load_layer_norm(const Checkpoint& checkpoint, const std::string& name, const Placement& placement) {
  return {load_tensor(checkpoint, name + ".weight", placement), load_tensor(checkpoint, name + ".bias", placement),
          checkpoint.network().layer_norm_eps};
}

Transformer load_transformer(const Checkpoint& checkpoint, const std::string& layers, const std::string& norm,
                             const TransformerConfig& config, const Placement& placement) {
  Transformer transformer;
  transformer.heads = config.heads;
  transformer.activation = checkpoint.network().activation;
  transformer.norm = load_layer_norm(checkpoint, norm, placement);
  const auto load_block = [&](std::int64_t i) {
    const std::string layer = layers + std::to_string(i) + ".";
    const auto fused = [&](const std::string& part) {
      const std::string prefix = layer + "attention.attention.";
      return at::cat({view_tensor(checkpoint, prefix + "query." + part, placement),
                      view_tensor(checkpoint, prefix + "key." + part, placement),
                      view_tensor(checkpoint, prefix + "value." + part, placement)});
    };
    TransformerBlock& block = transformer.blocks[static_cast<std::size_t>(i)];
    block.before = load_layer_norm(checkpoint, layer + "layernorm_before", placement);
    block.after = load_layer_norm(checkpoint, layer + "layernorm_after", placement);
    block.query_key_value = Linear(fused("weight"), checkpoint.network().qkv_bias ? fused("bias") : at::Tensor());
    block.attention_output = load_linear(checkpoint, layer + "attention.output.dense", placement);
    block.up = load_linear(checkpoint, layer + "intermediate.dense", placement);
    block.down = load_linear(checkpoint, layer + "output.dense", placement);
  };
  transformer.blocks.resize(static_cast<std::size_t>(config.layers));
  // A block on each core: much of packing is one thread's work, and the first touch of its memory is.
  const std::int64_t together = placement.device.is_cpu() ? 1 : config.layers;
  at::parallel_for(0, config.layers, together, [&](std::int64_t begin, std::int64_t end) {
    const c10::InferenceMode guard;  // Of this thread.
    for (std::int64_t i = begin; i < end; ++i) load_block(i);
  });
  return transformer;
}

VisionTransformer load_vision_transformer(const Checkpoint& checkpoint, const Placement& placement) {
  const NetworkConfig& network = checkpoint.network();
  VisionTransformer vit;
  vit.patch_size = network.patch_size;
  const std::string projection = "vit.embeddings.patch_embeddings.projection.";
  vit.patch_projection =
      Linear(view_tensor(checkpoint, projection + "weight", placement).reshape({network.encoder.hidden_size, -1}),
             load_tensor(checkpoint, projection + "bias", placement));
  const at::Tensor positions = load_tensor(checkpoint, "vit.embeddings.position_embeddings", placement);
  vit.cls_token = load_tensor(checkpoint, "vit.embeddings.cls_token", placement) + positions.slice(1, 0, 1);
  vit.positions = positions.slice(1, 1).contiguous();
  vit.transformer = load_transformer(checkpoint, "vit.encoder.layer.", "vit.layernorm", network.encoder, placement);
  return vit;
}

at::Tensor run_transformer(const Transformer& transformer, at::Tensor tokens, std::int64_t asked,
                           const std::vector<at::Tensor>& between) {
  for (std::size_t i = 0; i < transformer.blocks.size(); ++i) {
    const bool last = i + 1 == transformer.blocks.size();
    tokens = run_block(tokens, transformer.blocks[i], transformer, last ? asked : tokens.size(1));
    if (!last && !between.empty()) tokens = tokens + between[i];
  }
  return layer_norm(tokens, transformer.norm);
}

at::Tensor patchify(const at::Tensor& pixels, std::int64_t patch_size) {
  const std::int64_t rows = pixels.size(0), side = pixels.size(2) / patch_size;
  return pixels.reshape({rows, 3, side, patch_size, side, patch_size})
      .permute({0, 2, 4, 1, 3, 5})
      .reshape({rows, side * side, 3 * patch_size * patch_size});
}

at::Tensor cls_features(const VisionTransformer& vit, const at::Tensor& pixels) {
  const at::Tensor patches = patchify(pixels.to(vit.positions.scalar_type()), vit.patch_size);
  const at::Tensor tokens = vit.patch_projection(patches) + vit.positions;
  const at::Tensor cls = vit.cls_token.expand({tokens.size(0), -1, -1});
  return run_transformer(vit.transformer, at::cat({cls, tokens}, 1), 1).select(1, 0);
}

}  // namespace node::inference
