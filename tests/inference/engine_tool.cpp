// engine_tool: what the engine answers, for parity_test.py. One JSON object on standard input, one on standard output.
//
//   {"models": [{"name", "path", "precision"}],
//    "tasks": [{"name", "model", "output", "passes", "mode", "detector", "score_min", "when": {"task", "label",
//    "at_least"}}], "requests": [{"image": <file of raw float32>, "rows", "columns", "tasks": [...], "seed"}],
//    "detect": {"path", "images": [{"image", "rows", "columns"}]},
//    "reconstruct": {"path", "pixels": <file of raw float32 [N, 3, S, S]>, "visible": [[...], ...]}}
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <future>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "inference/engine.h"
#include "inference/masked_autoencoder.h"
#include "inference/yolos.h"

namespace {

using namespace node;
using namespace node::inference;
using nlohmann::json;

std::vector<float> read_floats(const std::string& path, std::size_t count) {
  std::vector<float> values(count);
  std::ifstream(path, std::ios::binary)
      .read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(count * sizeof(float)));
  return values;
}

config::InferenceConfig configuration(const json& input) {
  config::InferenceConfig config;
  config.device = "cpu";
  config.batch_rows_max = input.value("batch_rows_max", 16);
  for (const json& from : input.at("models")) {
    config::ModelConfig model;
    model.name = from.at("name");
    model.path = from.at("path");
    model.sha256 = from.value("sha256", "");
    const std::string precision = from.value("precision", "float32");
    model.precision = precision == "bfloat16" ? config::Precision::kBfloat16 : config::Precision::kFloat32;
    config.models.push_back(model);
  }
  for (const json& from : input.at("tasks")) {
    config::TaskConfig task;
    task.name = from.at("name");
    task.model = from.at("model");
    const std::string output = from.value("output", "sigmoid");
    if (output == "softmax") task.output = config::OutputKind::kSoftmax;
    if (output == "regression") task.output = config::OutputKind::kRegression;
    if (output == "anomaly_map") task.output = config::OutputKind::kAnomalyMap;
    task.regions = output == "regions";
    task.region_selection.detector = from.value("detector", "");
    if (from.contains("score_min")) task.region_selection.score_min = from.at("score_min").get<double>();
    if (from.contains("when")) {
      const json& when = from.at("when");
      task.when = config::TaskCondition{when.at("task"), when.value("label", ""), when.at("at_least")};
    }
    task.passes = from.value("passes", 8);
    if (from.value("mode", "partition") == "random") task.mode = config::MaskMode::kRandom;
    config.tasks.push_back(task);
  }
  return config;
}

json to_json(const Region& region) {
  return {{"label", region.label},   {"detector_score", region.detector_score},
          {"bone", region.bone},     {"bone_probability", region.bone_probability},
          {"logits", region.logits}, {"box", {region.box.left, region.box.top, region.box.right, region.box.bottom}}};
}

json to_json(const Prediction& prediction) {
  json scores = json::array(), regions = json::array();
  for (const Score& score : prediction.scores) scores.push_back({score.label, score.value, score.region});
  for (const Region& region : prediction.regions) regions.push_back(to_json(region));
  return {{"task", prediction.task},
          {"version", prediction.model_version},
          {"digest", prediction.model_digest},
          {"logits", prediction.logits},
          {"scores", scores},
          {"map", prediction.map.values},
          {"map_score", prediction.map.score},
          {"regions", regions},
          {"note", prediction.regions_note},
          {"not_asked", prediction.not_asked}};
}

Status answer_requests(const json& input, json& output) {
  SystemClock clock;
  NODE_ASSIGN_OR_RETURN(const std::unique_ptr<Predictor> predictor, open_engine(configuration(input), clock));
  std::vector<std::future<Result<std::vector<Prediction>>>> answers;
  for (const json& from : input.at("requests")) {
    AnalysisRequest request;
    request.image.rows = from.at("rows");
    request.image.columns = from.at("columns");
    request.image.pixels = read_floats(
        from.at("image"), static_cast<std::size_t>(request.image.rows) * from.at("columns").get<std::size_t>());
    request.tasks = from.at("tasks").get<std::vector<std::string>>();
    request.seed = from.value("seed", std::uint64_t{0});
    auto promise = std::make_shared<std::promise<Result<std::vector<Prediction>>>>();
    answers.push_back(promise->get_future());
    predictor->submit(std::move(request), [promise](auto result) { promise->set_value(std::move(result)); });
  }
  output["answers"] = json::array();
  for (auto& answer : answers) {
    NODE_ASSIGN_OR_RETURN(const std::vector<Prediction> predictions, answer.get());
    json list = json::array();
    for (const Prediction& prediction : predictions) list.push_back(to_json(prediction));
    output["answers"].push_back(list);
  }
  output["backbone_passes"] = predictor->stats().backbone_passes;
  const auto by_rows = predictor->stats().batch_rows.counts;
  output["batches"] = std::accumulate(by_rows.begin(), by_rows.end(), std::uint64_t{0});
  return ok_status();
}

// The bare detector: of each image, by itself, what it is given and all that it answers.
Status answer_detections(const json& input, json& output) {
  NODE_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::open(input.at("path")));
  const c10::InferenceMode guard;
  const auto detector = load_yolos(checkpoint, Placement{});
  for (const json& from : input.at("images")) {
    Radiograph image{from.at("rows"), from.at("columns"), {}};
    image.pixels =
        read_floats(from.at("image"), static_cast<std::size_t>(image.rows) * static_cast<std::size_t>(image.columns));
    NODE_ASSIGN_OR_RETURN(const GreyImage grey, to_8_bit(std::move(image)));
    NODE_ASSIGN_OR_RETURN(const FittedImage fitted, fit_image(grey, checkpoint.detector_input()));
    const FittedImage* const one = &fitted;
    json boxes = json::array();
    const std::vector<std::vector<DetectedBox>> found = detector->detect({&one, 1});
    for (const DetectedBox& box : found.front()) {
      boxes.push_back({box.left, box.top, box.right, box.bottom, box.score, box.label});
    }
    output["detections"].push_back(
        {{"rows", fitted.rows}, {"columns", fitted.columns}, {"input", fitted.input}, {"boxes", boxes}});
  }
  return ok_status();
}

// The bare network: [N, 3, S, S] as patches of patchify(), reconstructed from the visible ones.
Status answer_reconstruction(const json& input, json& output) {
  NODE_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::open(input.at("path")));
  const c10::InferenceMode guard;
  const Placement placement;
  const auto encoder = std::make_shared<const VisionTransformer>(load_vision_transformer(checkpoint, placement));
  const MaskedAutoencoder mae = load_masked_autoencoder(checkpoint, placement, encoder);
  const auto visible = input.at("visible").get<std::vector<std::vector<std::int64_t>>>();
  const auto rows = static_cast<std::int64_t>(visible.size());
  const std::int64_t size = checkpoint.network().image_size;
  at::Tensor pixels = at::empty({rows, 3, size, size}, at::kFloat);
  const std::vector<float> values = read_floats(input.at("pixels"), static_cast<std::size_t>(pixels.numel()));
  std::copy(values.begin(), values.end(), pixels.mutable_data_ptr<float>());
  at::Tensor ids = at::empty({rows, static_cast<std::int64_t>(visible.front().size())}, at::kLong);
  std::int64_t* next = ids.mutable_data_ptr<std::int64_t>();
  for (const auto& pass : visible) next = std::copy(pass.begin(), pass.end(), next);
  const at::Tensor result = reconstruct(mae, patchify(pixels, encoder->patch_size), ids).contiguous();
  const float* const first = result.const_data_ptr<float>();
  output["patches"] = std::vector<float>(first, first + result.numel());
  return ok_status();
}

}  // namespace

int main() {
  const json input = json::parse(std::cin);
  json output = json::object();
  Status status;
  if (input.contains("requests")) status = answer_requests(input, output);
  if (status.ok() && input.contains("detect")) status = answer_detections(input.at("detect"), output);
  if (status.ok() && input.contains("reconstruct")) status = answer_reconstruction(input.at("reconstruct"), output);
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.message().c_str());
    return 1;
  }
  std::cout << output.dump() << "\n";
  return 0;
}
