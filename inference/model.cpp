#include "inference/model.h"

#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "inference/masks.h"
#include "inference/regions.h"
#include "inference/torchscript_detector.h"
#include "inference/yolos.h"

namespace node::inference {
namespace {

Placement placement_on(const Device& device, config::Precision precision) {
  const bool bfloat16 =
      precision == config::Precision::kBfloat16 || (precision == config::Precision::kAuto && device.native_bfloat16);
  return {device.is_cpu() ? at::Device(at::kCPU) : at::Device(device.name), bfloat16 ? at::kBFloat16 : at::kFloat};
}

std::shared_ptr<const VisionTransformer> encoder_of(const Models& loaded, const std::string& backbone,
                                                    std::size_t device, at::ScalarType type) {
  for (const auto& [name, other] : loaded) {
    const auto weights = other.on.find(device);
    if (other.backbone == backbone && weights != other.on.end() && weights->second.placement.type == type) {
      return weights->second.encoder;
    }
  }
  return nullptr;
}

// The labels of a detector as this node calls them, and a word on those that it does not know.
void name_regions(Model& model, const std::string& way_out) {
  for (std::string& label : model.network.labels) label = region_label(label);
  const std::string unknown = unknown_labels(model.network.labels);
  if (unknown.empty()) return;
  model.note += (model.note.empty() ? "" : "; ") +
                ("has classes that are none of the 29 bones of the region head, nor left, right or lesion: " + unknown +
                 ". They are looked at under these names; which bone each is can be said in " + way_out);
}

Result<Model> load_torchscript_model(const config::ModelConfig& wanted, const std::vector<Device>& devices,
                                     const std::vector<std::size_t>& placed) {
  NODE_ASSIGN_OR_RETURN(const TorchScriptFile file, read_torchscript(wanted.path, wanted.sha256));
  Model model;
  model.name = wanted.name;
  model.digest = file.digest;
  model.version = file.manifest.file + "@" + file.digest.substr(0, std::strlen("sha256:") + 16);
  model.backbone = file.digest;
  model.network.architecture = Architecture::kObjectDetection;
  model.network.labels = file.manifest.labels;
  name_regions(model, "`regions` of manifest.json");
  model.detector_input = file.manifest.input;
  model.score_min = file.manifest.score_min;
  model.overlap_max = file.manifest.overlap_max;
  for (const std::size_t device : placed) {
    ModelWeights weights;
    weights.placement = placement_on(devices[device], config::Precision::kFloat32);  // As it was exported.
    NODE_ASSIGN_OR_RETURN(weights.detector, load_torchscript(file, weights.placement));
    model.on.emplace(device, std::move(weights));
  }
  return model;
}

// Before they are read: a machine that runs out of memory does not say so, it kills.
Status weights_fit(const Device& device, std::int64_t parameters, at::ScalarType type) {
  const std::uint64_t wanted = static_cast<std::uint64_t>(parameters) * c10::elementSize(type);
  const DeviceMemory memory = device_memory(device);
  if (memory.total_bytes == 0 || wanted <= memory.free_bytes) return ok_status();
  return resource_exhausted("its weights take " + std::to_string(wanted >> 20) + " MiB as " + c10::toString(type) +
                            ", and " + device.name + " has " + std::to_string(memory.free_bytes >> 20) + " of " +
                            std::to_string(memory.total_bytes >> 20) +
                            " MiB free: place it on another device, or give it precision: bfloat16");
}

}  // namespace

std::string Model::backbone_and_devices() const {
  std::string text = backbone;
  for (const auto& [device, weights] : on) {
    text += ' ' + std::to_string(device) + ' ' + c10::toString(weights.placement.type);
  }
  return text;
}

Result<Model> load_model(const config::ModelConfig& wanted, const std::vector<Device>& devices,
                         const std::vector<std::size_t>& placed, const Models& loaded) {
  if (is_torchscript(wanted.path)) return load_torchscript_model(wanted, devices, placed);
  std::error_code ignored;
  if (!wanted.sha256.empty() && std::filesystem::exists(std::filesystem::path(wanted.path) / "config.json", ignored)) {
    return invalid_argument(wanted.path +
                            ": sha256: is for a TorchScript file with a manifest.json, and there is none");
  }
  NODE_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::open(wanted.path));
  Model model;
  model.name = wanted.name;
  model.digest = checkpoint.digest();
  model.version = checkpoint.name() + "@" + checkpoint.digest().substr(0, std::strlen("sha256:") + 16);
  model.backbone = checkpoint.backbone_digest();
  model.network = checkpoint.network();
  model.preprocess = checkpoint.preprocess();
  model.detector_input = checkpoint.detector_input();
  model.parameters = checkpoint.parameters();
  if (!checkpoint.has_preprocessor_config()) {
    model.note = "has no preprocessor_config.json: bilinear, 1/255, ImageNet's mean and deviation are taken";
    if (model.is_detector()) model.note += ", shortest edge 800, longest 1333";
  }
  if (model.is_detector()) name_regions(model, "id2label of config.json");
  for (const std::size_t device : placed) {
    ModelWeights weights;
    weights.placement = placement_on(devices[device], wanted.precision);
    weights.encoder = encoder_of(loaded, model.backbone, device, weights.placement.type);
    if (weights.encoder == nullptr) {
      NODE_RETURN_IF_ERROR(weights_fit(devices[device], model.parameters, weights.placement.type));
    }
    if (model.is_detector()) {
      weights.detector = load_yolos(checkpoint, weights.placement);
      model.on.emplace(device, std::move(weights));
      continue;
    }
    if (weights.encoder == nullptr) {
      weights.encoder =
          std::make_shared<const VisionTransformer>(load_vision_transformer(checkpoint, weights.placement));
    }
    if (model.is_classifier()) {
      weights.classifier = load_linear(checkpoint, "classifier", {weights.placement.device, at::kFloat});
    } else {
      weights.mae = load_masked_autoencoder(checkpoint, weights.placement, weights.encoder);
    }
    model.on.emplace(device, std::move(weights));
  }
  return model;
}

Result<std::vector<std::vector<std::int64_t>>> Task::draw_masks(std::uint64_t seed) const {
  return visible_patches(config.mode, config.passes, static_cast<int>(model->network.patches()),
                         model->network.mask_ratio, seed);
}

std::size_t Task::visible_count() const {
  if (!is_map()) return 0;
  const auto masks = draw_masks(0);
  return masks.ok() ? masks->front().size() : 0;
}

Prediction Task::prediction() const {
  Prediction prediction;
  prediction.task = config.name;
  prediction.model = model->name;
  prediction.model_version = model->version;
  prediction.model_digest = model->digest;
  return prediction;
}

Result<Task> make_task(const config::TaskConfig& wanted, const Models& models) {
  Task task;
  task.config = wanted;
  const auto model = models.find(wanted.model);
  if (model == models.end()) return invalid_argument("no model named " + wanted.model);
  task.model = &model->second;
  if (wanted.detects) {
    config::RegionSelection& selection = task.config.region_selection;
    if (!selection.score_min) selection.score_min = task.model->score_min;
    if (!selection.overlap_max) selection.overlap_max = task.model->overlap_max;
    if (task.model->is_detector()) return task;
    return invalid_argument("detector: model " + wanted.model + " finds no regions: it is no YolosForObjectDetection");
  }
  if (task.model->is_detector()) {
    return invalid_argument("model: " + wanted.model +
                            " is a detector; it is named by `detector` of a task with output " + "regions");
  }
  if (task.is_map()) {
    if (task.model->is_classifier()) {
      return invalid_argument("an anomaly map needs a masked autoencoder, model " + wanted.model + " is a classifier");
    }
    NODE_RETURN_IF_ERROR(task.draw_masks(0).status());
    return task;
  }
  NODE_ASSIGN_OR_RETURN(task.head, task_head(wanted, task.model->network));
  return task;
}

}  // namespace node::inference
