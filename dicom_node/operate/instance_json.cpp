#include "dicom_node/operate/instance_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "dicom_node/object/finding_record.h"

namespace node::operate {
namespace {

using Json = nlohmann::ordered_json;

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

void put(Json& json, const char* key, const std::string& value) {
  if (!value.empty()) json[key] = value;
}

const config::TaskConfig* find_task(const std::vector<config::TaskConfig>& tasks, const std::string& name) {
  const auto found = std::find_if(tasks.begin(), tasks.end(), [&](const auto& task) { return task.name == name; });
  return found == tasks.end() ? nullptr : &*found;
}

Json anomaly_json(const inference::Prediction& prediction) {
  const inference::AnomalyMap& map = prediction.map;
  return {{"model", prediction.model}, {"score", map.score}, {"mode", map.mode},
          {"passes", map.passes},      {"seed", map.seed},   {"calibrated", false}};
}

Json finding_json(const inference::Prediction& prediction, const config::TaskConfig* task) {
  Json json = {{"task", prediction.task}, {"model", prediction.model}, {"model_digest", prediction.model_digest}};
  const auto best = std::max_element(prediction.scores.begin(), prediction.scores.end(),
                                     [](const auto& a, const auto& b) { return a.value < b.value; });
  if (best != prediction.scores.end()) {
    json["label"] = best->label;
    json["value"] = best->value;
    json["unit"] = best->unit;
    if (task != nullptr && task->output != config::OutputKind::kRegression) {
      json["level"] = config::to_string(config::level_of(*task, best->value));
    }
  }
  json["logits"] = prediction.logits;
  if (task == nullptr || task->output != config::OutputKind::kRegression) {
    Json probabilities = Json::object();
    for (const inference::Score& score : prediction.scores) probabilities[score.label] = score.value;
    json["probabilities"] = probabilities;
  }
  return json;
}

}  // namespace

std::string instance_json(const storage::InstanceRecord& instance, const std::vector<config::TaskConfig>& tasks,
                          const InstanceOutputs& outputs) {
  Json json = Json::object();
  put(json, "path", outputs.path);
  json["sop_instance_uid"] = instance.sop_instance_uid.str();
  json["state"] = storage::to_string(instance.state);
  put(json, "reason", instance.reason);
  put(json, "rule", instance.route.rule);
  put(json, "body_part", instance.route.body_part);
  put(json, "body_part_from", instance.route.body_part_evidence);
  Json findings = Json::array();
  for (const storage::StoredPrediction& stored : instance.predictions) {
    auto record = object::decode_finding(stored);
    if (!record.ok()) {
      json["state"] = "failed";
      json["reason"] = record.status().message();
      continue;
    }
    if (!record->rendering.empty()) json["rendering"] = record->rendering;
    if (record->prediction.map.size > 0) {
      json["anomaly"] = anomaly_json(record->prediction);
    } else {
      findings.push_back(finding_json(record->prediction, find_task(tasks, stored.task)));
    }
  }
  if (!findings.empty()) json["findings"] = findings;
  if (!outputs.sr.empty() || !outputs.sc.empty()) {
    json["outputs"] = Json::object();
    put(json["outputs"], "sr", outputs.sr);
    if (!outputs.sc.empty()) json["outputs"]["sc"] = outputs.sc;
  }
  return dump(json);
}

std::string file_json(const std::string& path, const std::string& state, const std::string& reason) {
  return dump({{"path", path}, {"state", state}, {"reason", reason}});
}

}  // namespace node::operate
