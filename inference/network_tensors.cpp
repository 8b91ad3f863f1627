#include "inference/network_tensors.h"

#include <array>
#include <string_view>
#include <utility>

namespace node::inference {
namespace {

using Shapes = std::map<std::string, std::vector<std::int64_t>>;

constexpr const char* kEncoderLayers = "vit.encoder.layer.";
constexpr const char* kDecoderLayers = "decoder.decoder_layers.";
constexpr const char* kMidPositions = "vit.encoder.mid_position_embeddings";

void expect_linear(const std::string& name, std::int64_t out, std::int64_t in, bool bias, Shapes& shapes) {
  shapes[name + ".weight"] = {out, in};
  if (bias) shapes[name + ".bias"] = {out};
}

void expect_norm(const std::string& name, std::int64_t size, Shapes& shapes) {
  shapes[name + ".weight"] = shapes[name + ".bias"] = {size};
}

void expect_layers(const std::string& prefix, const TransformerConfig& t, bool qkv_bias, Shapes& shapes) {
  for (std::int64_t i = 0; i < t.layers; ++i) {
    const std::string layer = prefix + std::to_string(i) + ".";
    for (const char* part : {"query", "key", "value"}) {
      expect_linear(layer + "attention.attention." + part, t.hidden_size, t.hidden_size, qkv_bias, shapes);
    }
    expect_linear(layer + "attention.output.dense", t.hidden_size, t.hidden_size, true, shapes);
    expect_linear(layer + "intermediate.dense", t.intermediate_size, t.hidden_size, true, shapes);
    expect_linear(layer + "output.dense", t.hidden_size, t.intermediate_size, true, shapes);
    for (const char* norm : {"layernorm_before", "layernorm_after"}) expect_norm(layer + norm, t.hidden_size, shapes);
  }
}

bool starts_with(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }

// The encoder's tokens and what they come from.
void expect_embeddings(const NetworkConfig& n, std::int64_t positions, Shapes& shapes) {
  const std::int64_t hidden = n.encoder.hidden_size;
  shapes["vit.embeddings.cls_token"] = {1, 1, hidden};
  shapes["vit.embeddings.position_embeddings"] = {1, positions, hidden};
  shapes["vit.embeddings.patch_embeddings.projection.weight"] = {hidden, 3, n.patch_size, n.patch_size};
  shapes["vit.embeddings.patch_embeddings.projection.bias"] = {hidden};
}

void expect_detector(const NetworkConfig& n, Shapes& shapes) {
  const std::int64_t hidden = n.encoder.hidden_size;
  const std::int64_t tokens = 1 + (n.image_rows / n.patch_size) * (n.image_columns / n.patch_size) + n.detection_tokens;
  expect_embeddings(n, tokens, shapes);
  shapes["vit.embeddings.detection_tokens"] = {1, n.detection_tokens, hidden};
  if (n.mid_positions && n.encoder.layers > 1) shapes[kMidPositions] = {n.encoder.layers - 1, 1, tokens, hidden};
  for (const auto& [head, out] : {std::pair<const char*, std::int64_t>{"class_labels_classifier.layers.",
                                                                       static_cast<std::int64_t>(n.labels.size()) + 1},
                                  {"bbox_predictor.layers.", 4}}) {
    expect_linear(head + std::string("0"), hidden, hidden, true, shapes);
    expect_linear(head + std::string("1"), hidden, hidden, true, shapes);
    expect_linear(head + std::string("2"), out, hidden, true, shapes);
  }
}

Shapes expected_tensors_of_detector(const NetworkConfig& n) {
  Shapes shapes;
  expect_detector(n, shapes);
  expect_layers(kEncoderLayers, n.encoder, n.qkv_bias, shapes);
  expect_norm("vit.layernorm", n.encoder.hidden_size, shapes);
  return shapes;
}

}  // namespace

Shapes expected_tensors(const NetworkConfig& n) {
  if (n.architecture == Architecture::kObjectDetection) return expected_tensors_of_detector(n);
  Shapes shapes;
  const std::int64_t hidden = n.encoder.hidden_size, tokens = n.patches() + 1;
  expect_embeddings(n, tokens, shapes);
  expect_layers(kEncoderLayers, n.encoder, n.qkv_bias, shapes);
  expect_norm("vit.layernorm", hidden, shapes);
  if (n.architecture == Architecture::kImageClassification) {
    expect_linear("classifier", static_cast<std::int64_t>(n.labels.size()), hidden, true, shapes);
    return shapes;
  }
  const std::int64_t narrow = n.decoder.hidden_size;
  shapes["decoder.mask_token"] = {1, 1, narrow};
  shapes["decoder.decoder_pos_embed"] = {1, tokens, narrow};
  expect_linear("decoder.decoder_embed", narrow, hidden, true, shapes);
  expect_layers(kDecoderLayers, n.decoder, n.qkv_bias, shapes);
  expect_norm("decoder.decoder_norm", narrow, shapes);
  expect_linear("decoder.decoder_pred", n.patch_values(), narrow, true, shapes);
  return shapes;
}

std::string canonical_name(const std::string& name) {
  using Rename = std::pair<std::string_view, std::string_view>;
  static constexpr std::array<Rename, 3> kLayers{{{"decoder.decoder_encoder.layer.", kDecoderLayers},
                                                  {kDecoderLayers, kDecoderLayers},
                                                  {"vit.layers.", kEncoderLayers}}};
  static constexpr std::array<Rename, 6> kParts{{{"attention.q_proj.", "attention.attention.query."},
                                                 {"attention.k_proj.", "attention.attention.key."},
                                                 {"attention.v_proj.", "attention.attention.value."},
                                                 {"attention.o_proj.", "attention.output.dense."},
                                                 {"mlp.fc1.", "intermediate.dense."},
                                                 {"mlp.fc2.", "output.dense."}}};
  for (const auto& [layers, canonical_layers] : kLayers) {
    if (!starts_with(name, layers)) continue;
    const std::size_t dot = name.find('.', layers.size());
    if (dot == std::string::npos) return name;
    std::string part = name.substr(dot + 1);  // Of layer N.
    for (const auto& [theirs, canonical] : kParts) {
      if (starts_with(part, theirs)) part.replace(0, theirs.size(), canonical);
    }
    return std::string(canonical_layers) + name.substr(layers.size(), dot + 1 - layers.size()) + part;
  }
  return name == "vit.encoder.interpolation.mid_position_embeddings" ? kMidPositions : name;
}

bool is_without_effect(const NetworkConfig& network, const std::string& name) {
  return network.architecture != Architecture::kMaskedAutoencoder &&
         (starts_with(name, "vit.pooler.") || starts_with(name, "decoder."));
}

}  // namespace node::inference
