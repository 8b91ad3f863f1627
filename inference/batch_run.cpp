#include "inference/batch_run.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "inference/anomaly_map.h"
#include "inference/vision_transformer.h"

namespace node::inference {
namespace {

// [N, 3, S, S] on the device.
at::Tensor pixels_of(std::span<RequestItem* const> items, const Model& model, const ModelWeights& weights) {
  const std::int64_t size = model.network.image_size;
  at::Tensor pixels = at::empty({static_cast<std::int64_t>(items.size()), 3, size, size}, at::kFloat);
  float* to = pixels.mutable_data_ptr<float>();
  for (const RequestItem* const item : items) to = std::copy(item->input->begin(), item->input->end(), to);
  return pixels.to(weights.placement.device);
}

// [N, H], in passes of at most run.rows_max images.
at::Tensor features_of(const BatchRun& run, std::span<RequestItem* const> items) {
  const Model& model = *items.front()->first_task().model;
  const ModelWeights& weights = model.on.at(run.device);
  std::vector<at::Tensor> features;
  for (std::size_t first = 0; first < items.size(); first += static_cast<std::size_t>(run.rows_max)) {
    const auto part = items.subspan(first, std::min(static_cast<std::size_t>(run.rows_max), items.size() - first));
    run.before_pass(static_cast<std::int64_t>(part.size()));
    features.push_back(cls_features(*weights.encoder, pixels_of(part, model, weights)));
  }
  return features.size() == 1 ? features.front() : at::cat(features);
}

Result<Prediction> classification(const Task& task, const float* logits) {
  Prediction prediction = task.prediction();
  const float* const first = logits + task.head.first;
  prediction.logits.assign(first, first + task.head.count);
  if (!std::all_of(prediction.logits.begin(), prediction.logits.end(), [](float x) { return std::isfinite(x); })) {
    return internal_error("task " + prediction.task + ": the network's logits are not numbers");
  }
  prediction.scores = scores_of(task.config, task.head, prediction.logits);
  return prediction;
}

Result<Prediction> anomaly_map(const RequestItem& item, const float* values, std::int64_t size,
                               std::size_t visible_count) {
  const Task& task = item.first_task();
  Prediction prediction = task.prediction();
  AnomalyMap& map = prediction.map;
  map.size = static_cast<std::int32_t>(size);
  map.patch_size = static_cast<std::int32_t>(task.model->network.patch_size);
  map.values.assign(values, values + size * size);
  double sum = 0;
  for (const float value : map.values) sum += value;
  map.score = sum / static_cast<double>(size * size);
  map.passes = task.config.passes;
  map.mode = task.config.mode == config::MaskMode::kPartition ? "partition" : "random";
  map.mask_ratio = 1 - static_cast<double>(visible_count) / static_cast<double>(task.model->network.patches());
  map.seed = item.request->seed();
  if (!std::isfinite(map.score)) {
    return internal_error("task " + prediction.task + ": the network's reconstruction is no image");
  }
  return prediction;
}

}  // namespace

std::vector<Result<Outcome>> classify(const BatchRun& run, std::span<RequestItem* const> items) {
  const at::Tensor features = features_of(run, items);
  std::map<const Model*, at::Tensor> logits_of_heads;  // [N, labels] each
  std::vector<Result<Outcome>> outcomes;
  for (std::size_t i = 0; i < items.size(); ++i) {
    Result<Outcome> outcome = Outcome();
    for (const std::size_t position : items[i]->positions) {
      const Task& task = items[i]->request->task(position);
      at::Tensor& logits = logits_of_heads[task.model];
      if (!logits.defined()) {
        logits = task.model->on.at(run.device).classifier(features.to(at::kFloat)).to(at::kCPU).contiguous();
      }
      const float* const row = logits.const_data_ptr<float>() + static_cast<std::int64_t>(i) * logits.size(1);
      Result<Prediction> prediction = classification(task, row);
      if (!prediction.ok()) {
        outcome = prediction.status();
        break;
      }
      outcome->emplace_back(position, std::move(*prediction));
    }
    outcomes.push_back(std::move(outcome));
  }
  return outcomes;
}

std::vector<Result<Outcome>> draw_maps(const BatchRun& run, std::span<RequestItem* const> items) {
  const Model& model = *items.front()->first_task().model;
  const ModelWeights& weights = model.on.at(run.device);
  PassesOfImages visible;
  for (const RequestItem* const item : items) {
    Result<std::vector<std::vector<std::int64_t>>> masks = item->first_task().draw_masks(item->request->seed());
    TORCH_CHECK(masks.ok(), masks.status().message());  // Tried at loading: another seed fails no more.
    visible.push_back(std::move(*masks));
  }
  const at::Tensor maps = anomaly_maps(weights.mae, model.preprocess, pixels_of(items, model, weights), visible,
                                       run.rows_max, run.before_pass)
                              .to(at::kCPU)
                              .contiguous();
  std::vector<Result<Outcome>> outcomes;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::int64_t size = maps.size(1);
    const float* const values = maps.const_data_ptr<float>() + static_cast<std::int64_t>(i) * size * size;
    Result<Prediction> prediction = anomaly_map(*items[i], values, size, visible[i].front().size());
    if (!prediction.ok()) {
      outcomes.emplace_back(prediction.status());
      continue;
    }
    Outcome outcome;
    outcome.emplace_back(items[i]->positions.front(), std::move(*prediction));
    outcomes.emplace_back(std::move(outcome));
  }
  return outcomes;
}

std::vector<Result<Outcome>> detect(const BatchRun& run, std::span<RequestItem* const> items) {
  const Model& model = *items.front()->first_task().model;
  const Detector& detector = *model.on.at(run.device).detector;
  std::map<std::pair<std::int32_t, std::int32_t>, std::vector<std::size_t>> by_size;
  for (std::size_t i = 0; i < items.size(); ++i) {
    by_size[{items[i]->fitted->rows, items[i]->fitted->columns}].push_back(i);
  }
  std::vector<std::vector<DetectedBox>> boxes(items.size());
  for (const auto& [size, numbers] : by_size) {
    for (std::size_t first = 0; first < numbers.size(); first += static_cast<std::size_t>(run.rows_max)) {
      const std::size_t end = std::min(first + static_cast<std::size_t>(run.rows_max), numbers.size());
      std::vector<const FittedImage*> images;
      for (std::size_t i = first; i < end; ++i) images.push_back(items[numbers[i]]->fitted.get());
      run.before_pass(static_cast<std::int64_t>(images.size()));
      std::vector<std::vector<DetectedBox>> found = detector.detect(images);
      for (std::size_t i = first; i < end; ++i) boxes[numbers[i]] = std::move(found[i - first]);
    }
  }
  std::vector<Result<Outcome>> outcomes;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const Task& task = items[i]->first_task();
    const FittedImage& image = *items[i]->fitted;
    Prediction prediction = task.prediction();
    ChosenRegions chosen = choose_regions(std::move(boxes[i]), model.network.labels, task.config.region_selection,
                                          image.source_rows, image.source_columns);
    prediction.regions = std::move(chosen.regions);
    prediction.regions_note = std::move(chosen.note);
    Outcome outcome;
    outcome.emplace_back(items[i]->positions.front(), std::move(prediction));
    outcomes.emplace_back(std::move(outcome));
  }
  return outcomes;
}

}  // namespace node::inference
