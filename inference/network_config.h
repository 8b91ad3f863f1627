// NetworkConfig: of a checkpoint's config.json, all that changes the result.
//
// Source: ViTConfig, ViTMAEConfig and YolosConfig of transformers 4 and 5: names of keys, and what holds where one is
// left out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/base/status.h"
#include "inference/json_object.h"

namespace node::inference {

enum class Architecture { kImageClassification, kMaskedAutoencoder, kObjectDetection };
enum class Activation { kGelu, kGeluTanh, kQuickGelu, kRelu, kSilu };

struct TransformerConfig {
  std::int64_t hidden_size = 0, layers = 0, heads = 0, intermediate_size = 0;
};

struct NetworkConfig {
  Architecture architecture = Architecture::kImageClassification;
  TransformerConfig encoder;
  TransformerConfig decoder;  // Of a masked autoencoder.
  std::int64_t image_size = 224, patch_size = 16;
  bool qkv_bias = true;
  Activation activation = Activation::kGelu;
  double layer_norm_eps = 1e-12;
  double mask_ratio = 0.75;
  bool norm_pix_loss = false;
  std::vector<std::string> labels;  // id2label, in the order of the logits; of a detector without its "none".
  // Of a detector, in place of image_size: the size its position embeddings are for. It takes images of any size.
  std::int64_t image_rows = 512, image_columns = 864;
  std::int64_t detection_tokens = 100;
  bool mid_positions = true;  // Position embeddings after each block but the last.

  std::int64_t patches() const { return (image_size / patch_size) * (image_size / patch_size); }
  std::int64_t patch_values() const { return 3 * patch_size * patch_size; }
};

// Errors: kInvalidArgument (a value that cannot be), kUnsupported (legal, but not understood: a class, an activation, a
//         key). All name file and key.
Result<NetworkConfig> read_network_config(JsonObject config);

}  // namespace node::inference
