// Model: one checkpoint in memory, on each device that it is placed on; Task: what is asked of it.
//
// Guarantee: a loaded model is whole: read, checked, packed. Models whose encoder, its settings and its input are equal
//            (Checkpoint::backbone_digest()) share its memory where they share device and precision.
// Threads:   immutable after loading. Errors: c10::Error of LibTorch besides those named: the caller catches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/inference_config.h"
#include "inference/checkpoint.h"
#include "inference/detector.h"
#include "inference/device.h"
#include "inference/masked_autoencoder.h"
#include "inference/predictor.h"
#include "inference/task_head.h"
#include "inference/vision_transformer.h"

namespace node::inference {

struct ModelWeights {  // On one device.
  Placement placement;
  std::shared_ptr<const VisionTransformer> encoder;
  Linear classifier;      // Of a classifier. In float32 always: bfloat16 would keep eight bits of a logit.
  MaskedAutoencoder mae;  // Of a masked autoencoder.
  std::shared_ptr<const Detector> detector;
};

struct Model {
  std::string name, version, digest, backbone, note;
  NetworkConfig network;
  PreprocessConfig preprocess;
  DetectorInput detector_input;                  // Of a detector, in place of preprocess.
  std::optional<double> score_min, overlap_max;  // Of a detector with a manifest.
  std::int64_t parameters = 0;
  std::map<std::size_t, ModelWeights> on;  // By device. At least one.

  bool is_classifier() const { return network.architecture == Architecture::kImageClassification; }
  bool is_detector() const { return network.architecture == Architecture::kObjectDetection; }
  std::string backbone_and_devices() const;  // Equal: classifications of both travel in one batch.
};

using Models = std::map<std::string, Model>;

// `placed`: indices of `devices`. Errors: those of Checkpoint::open().
Result<Model> load_model(const config::ModelConfig& wanted, const std::vector<Device>& devices,
                         const std::vector<std::size_t>& placed, const Models& loaded);

enum class Work { kClassify, kDrawMaps, kDetect };

struct Task {
  config::TaskConfig config;
  const Model* model = nullptr;
  TaskHead head;  // Of a classifier.
  int queue = 0;

  bool is_map() const { return config.output == config::OutputKind::kAnomalyMap; }
  Work work() const { return config.detects ? Work::kDetect : is_map() ? Work::kDrawMaps : Work::kClassify; }
  // Which patches each pass of its map sees. Errors: those of visible_patches(), whatever the seed.
  Result<std::vector<std::vector<std::int64_t>>> draw_masks(std::uint64_t seed) const;
  // Of a map's passes, how many patches each sees; 0 of a classification.
  std::size_t visible_count() const;
  Prediction prediction() const;  // Without a result yet: who says it.
};

// Errors: kInvalidArgument (no such model, passes that do not fit it), those of task_head().
Result<Task> make_task(const config::TaskConfig& wanted, const Models& models);

}  // namespace node::inference
