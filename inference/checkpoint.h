// Checkpoint: a HuggingFace directory (config.json, preprocessor_config.json, model.safetensors), checked and mapped.
//
// Guarantee: what open() returns is complete: exactly the tensors that its configuration asks for, each of its shape,
//            every number finite, no file read beyond its end. Nothing in the files is executed; what they ask for and
//            we do not understand is refused by name, never ignored.
// Threads:   immutable after open(). The files are mapped while it lives, and must not be changed in place meanwhile.
// Errors:    kNotFound (no such file), kDataLoss (truncated; offsets beyond the file; NaN), kInvalidArgument
// (malformed;
//            a missing, extra or misshapen tensor), kUnsupported (legal, but not understood). All name file and tensor.
// Source:    safetensors format: 8 bytes header length, little endian; JSON; data. Names of tensors and keys:
// transformers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/base/status.h"
#include "inference/preprocess.h"

namespace node::inference {

enum class Architecture { kImageClassification, kMaskedAutoencoder };
enum class Activation { kGelu, kGeluTanh, kQuickGelu, kRelu, kSilu };
enum class StoredType { kFloat32, kFloat16, kBfloat16 };

struct TransformerConfig {
  std::int64_t hidden_size = 0, layers = 0, heads = 0, intermediate_size = 0;
};

struct NetworkConfig {  // Of config.json, what changes the result.
  Architecture architecture = Architecture::kImageClassification;
  TransformerConfig encoder;
  TransformerConfig decoder;  // Of a masked autoencoder.
  std::int64_t image_size = 224, patch_size = 16;
  bool qkv_bias = true;
  Activation activation = Activation::kGelu;
  double layer_norm_eps = 1e-12;
  double mask_ratio = 0.75;
  bool norm_pix_loss = false;
  std::vector<std::string> labels;  // id2label, in the order of the logits.

  std::int64_t patches() const { return (image_size / patch_size) * (image_size / patch_size); }
  std::int64_t patch_values() const { return 3 * patch_size * patch_size; }
};

struct StoredTensor {  // Row-major, in the mapped file; not necessarily aligned.
  StoredType type = StoredType::kFloat32;
  std::vector<std::int64_t> shape;
  const std::byte* data = nullptr;
  std::size_t size_bytes = 0;
  std::array<std::uint8_t, 32> sha256{};  // Of the bytes.
};

class MappedFile;

class Checkpoint {
 public:
  static Result<Checkpoint> open(const std::string& directory);

  Checkpoint(Checkpoint&&) noexcept;
  Checkpoint& operator=(Checkpoint&&) noexcept;
  ~Checkpoint();

  const NetworkConfig& network() const { return network_; }
  const PreprocessConfig& preprocess() const { return preprocess_; }
  // False: bilinear to image_size, 1/255, ImageNet's mean and std. `check` says so.
  bool has_preprocessor_config() const { return has_preprocessor_config_; }

  // `name` as transformers 4 wrote it ("decoder.decoder_layers.0.output.dense.bias"), whatever the file calls it. Must
  // be one that the configuration asks for.
  const StoredTensor& tensor(const std::string& name) const;
  std::int64_t parameters() const;

  // "sha256:" and 64 hex digits. digest() is of all that open() read: SHA-256 over the lines "config.json <sha256 of
  // the file>", "preprocessor_config.json <the same, or `absent`>" and, sorted by name, "<name> <dtype> <shape as
  // 3x4> <sha256 of the bytes>" of each tensor that config.json asks for; each line ends in a line feed. So sharding
  // does not change it.
  const std::string& digest() const { return digest_; }
  // The same over the lines of the tensors vit.* and of all settings that act on the encoder and its input. Equal
  // backbones give equal features for equal radiographs.
  const std::string& backbone_digest() const { return backbone_digest_; }
  const std::string& name() const { return name_; }  // Of the directory.

 private:
  Checkpoint();

  std::string name_;
  NetworkConfig network_;
  PreprocessConfig preprocess_;
  bool has_preprocessor_config_ = false;
  std::vector<std::unique_ptr<MappedFile>> files_;
  std::map<std::string, StoredTensor> tensors_;
  std::string digest_, backbone_digest_;
};

}  // namespace node::inference
