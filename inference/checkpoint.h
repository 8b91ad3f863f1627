// Checkpoint: a HuggingFace directory (config.json, preprocessor_config.json, model.safetensors), checked and mapped.
//
// Guarantee: what open() returns is complete: exactly the tensors that its configuration asks for, each of its shape,
//            every number finite, no file read beyond its end. Nothing in the files is executed; what they ask for and
//            we do not understand is refused by name, never ignored.
// Threads:   immutable after open(). The files are mapped while it lives, and must not be changed in place meanwhile.
// Errors:    kNotFound (no such file), kDataLoss (truncated; offsets beyond the file; NaN), kInvalidArgument
// (malformed; a
//            missing, extra or misshapen tensor), kUnsupported (legal, but not understood). All name file and tensor.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "config/base/status.h"
#include "inference/detector_input.h"
#include "inference/network_config.h"
#include "inference/preprocess_config.h"
#include "inference/safetensors_file.h"

namespace node::inference {

class Checkpoint {
 public:
  static Result<Checkpoint> open(const std::string& directory);

  const NetworkConfig& network() const { return network_; }
  const PreprocessConfig& preprocess() const { return preprocess_; }
  const DetectorInput& detector_input() const { return detector_input_; }  // Of a detector, in place of preprocess().
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
  Checkpoint() = default;
  Status read_preprocessor(const std::string& directory, std::string& file_sha256);
  Status check_detector_input(const std::string& path) const;
  Status add_tensors(const std::string& path, const std::set<std::string>& names);
  Status read_numbers(const std::string& directory);  // Once: their SHA-256, and whether they are finite.
  void make_digests(const std::string& files);

  std::string name_;
  NetworkConfig network_;
  PreprocessConfig preprocess_;
  DetectorInput detector_input_;
  bool has_preprocessor_config_ = false;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, StoredTensor> tensors_;
  std::string digest_, backbone_digest_;
};

}  // namespace node::inference
