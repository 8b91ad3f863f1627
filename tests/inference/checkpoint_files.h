// Tiny checkpoint directories with random weights, written by the tests themselves, whole or broken on purpose.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

namespace node::test_files {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "skelex-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline void write_file(const std::filesystem::path& path, const std::string& bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

struct Tensor {
  std::string dtype = "F32";
  std::vector<std::int64_t> shape;
  std::string bytes;
};
using Tensors = std::map<std::string, Tensor>;

inline std::string header_length(std::uint64_t length) {
  std::string text;
  for (int i = 0; i < 8; ++i) text.push_back(static_cast<char>(length >> (8 * i) & 0xFF));
  return text;
}

inline std::string with_header(const nlohmann::json& header, const std::string& data) {
  const std::string text = header.dump();
  return header_length(text.size()) + text + data;
}

// Header and data of a safetensors file with `tensors`, in the order of their names.
inline std::pair<nlohmann::json, std::string> safetensors_parts(const Tensors& tensors) {
  nlohmann::json header = {{"__metadata__", {{"format", "pt"}}}};
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", tensor.dtype},
                    {"shape", tensor.shape},
                    {"data_offsets", {data.size(), data.size() + tensor.bytes.size()}}};
    data += tensor.bytes;
  }
  return {header, data};
}

inline std::string safetensors(const Tensors& tensors) {
  const auto [header, data] = safetensors_parts(tensors);
  return with_header(header, data);
}

inline Tensor tensor_of(std::vector<std::int64_t> shape, const std::vector<float>& values) {
  Tensor tensor{"F32", std::move(shape), std::string(values.size() * sizeof(float), '\0')};
  std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  return tensor;
}

inline Tensor random_tensor(std::mt19937& random, std::vector<std::int64_t> shape) {
  std::size_t count = 1;
  for (const std::int64_t side : shape) count *= static_cast<std::size_t>(side);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(static_cast<std::int32_t>(random() % 2001) - 1000) / 2000.0F;
  return tensor_of(std::move(shape), values);
}

// Hidden 8, one layer, two heads, 8 x 8 pixels in 4 patches.
inline constexpr std::int64_t kHidden = 8, kNarrow = 4, kSize = 8, kPatch = 4;

inline nlohmann::json classifier_config(int labels) {
  nlohmann::json id2label = nlohmann::json::object();
  for (int i = 0; i < labels; ++i) id2label[std::to_string(i)] = "label-" + std::to_string(i);
  return {{"architectures", {"ViTForImageClassification"}},
          {"model_type", "vit"},
          {"hidden_size", kHidden},
          {"num_hidden_layers", 1},
          {"num_attention_heads", 2},
          {"intermediate_size", 2 * kHidden},
          {"image_size", kSize},
          {"patch_size", kPatch},
          {"hidden_act", "gelu"},
          {"layer_norm_eps", 1e-12},
          {"qkv_bias", true},
          {"num_channels", 3},
          {"id2label", id2label}};
}

inline nlohmann::json mae_config() {
  nlohmann::json config = classifier_config(1);
  config.erase("id2label");
  config["architectures"] = {"ViTMAEForPreTraining"};
  config["model_type"] = "vit_mae";
  config["decoder_hidden_size"] = kNarrow;
  config["decoder_num_hidden_layers"] = 1;
  config["decoder_num_attention_heads"] = 2;
  config["decoder_intermediate_size"] = 2 * kNarrow;
  config["mask_ratio"] = 0.75;
  config["norm_pix_loss"] = false;
  return config;
}

inline void add_layer(std::mt19937& random, const std::string& layer, std::int64_t hidden, Tensors& tensors) {
  const auto linear = [&](const std::string& name, std::int64_t out, std::int64_t in) {
    tensors[layer + name + ".weight"] = random_tensor(random, {out, in});
    tensors[layer + name + ".bias"] = random_tensor(random, {out});
  };
  for (const char* part : {"query", "key", "value"}) linear(std::string("attention.attention.") + part, hidden, hidden);
  linear("attention.output.dense", hidden, hidden);
  linear("intermediate.dense", 2 * hidden, hidden);
  linear("output.dense", hidden, 2 * hidden);
  for (const char* norm : {"layernorm_before", "layernorm_after"}) {
    tensors[layer + norm + ".weight"] = random_tensor(random, {hidden});
    tensors[layer + norm + ".bias"] = random_tensor(random, {hidden});
  }
}

inline Tensors backbone_tensors(unsigned seed) {
  std::mt19937 random(seed);
  Tensors tensors;
  tensors["vit.embeddings.cls_token"] = random_tensor(random, {1, 1, kHidden});
  tensors["vit.embeddings.position_embeddings"] = random_tensor(random, {1, 5, kHidden});
  tensors["vit.embeddings.patch_embeddings.projection.weight"] = random_tensor(random, {kHidden, 3, kPatch, kPatch});
  tensors["vit.embeddings.patch_embeddings.projection.bias"] = random_tensor(random, {kHidden});
  tensors["vit.layernorm.weight"] = random_tensor(random, {kHidden});
  tensors["vit.layernorm.bias"] = random_tensor(random, {kHidden});
  add_layer(random, "vit.encoder.layer.0.", kHidden, tensors);
  return tensors;
}

// Equal `backbone` seeds: equal backbones.
inline Tensors classifier_tensors(unsigned backbone, int labels, unsigned head = 1) {
  Tensors tensors = backbone_tensors(backbone);
  std::mt19937 random(head);
  tensors["classifier.weight"] = random_tensor(random, {labels, kHidden});
  tensors["classifier.bias"] = random_tensor(random, {labels});
  return tensors;
}

inline Tensors mae_tensors(unsigned backbone) {
  Tensors tensors = backbone_tensors(backbone);
  std::mt19937 random(backbone + 1000);
  tensors["decoder.mask_token"] = random_tensor(random, {1, 1, kNarrow});
  tensors["decoder.decoder_pos_embed"] = random_tensor(random, {1, 5, kNarrow});
  tensors["decoder.decoder_embed.weight"] = random_tensor(random, {kNarrow, kHidden});
  tensors["decoder.decoder_embed.bias"] = random_tensor(random, {kNarrow});
  tensors["decoder.decoder_norm.weight"] = random_tensor(random, {kNarrow});
  tensors["decoder.decoder_norm.bias"] = random_tensor(random, {kNarrow});
  tensors["decoder.decoder_pred.weight"] = random_tensor(random, {3 * kPatch * kPatch, kNarrow});
  tensors["decoder.decoder_pred.bias"] = random_tensor(random, {3 * kPatch * kPatch});
  add_layer(random, "decoder.decoder_layers.0.", kNarrow, tensors);
  return tensors;
}

inline void write_checkpoint(const std::filesystem::path& folder, const nlohmann::json& config,
                             const Tensors& tensors) {
  write_file(folder / "config.json", config.dump());
  write_file(folder / "model.safetensors", safetensors(tensors));
}

}  // namespace node::test_files
