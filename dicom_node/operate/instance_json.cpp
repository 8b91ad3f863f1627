#include "dicom_node/operate/instance_json.h"

#include <map>
#include <nlohmann/json.hpp>

#include "dicom_node/object/finding_record.h"
#include "dicom_node/object/map_percentiles.h"
#include "dicom_node/operate/listing_json.h"
#include "dicom_node/report/finding_summary.h"

namespace node::operate {
namespace {

using Json = nlohmann::ordered_json;

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

void put(Json& json, const char* key, const std::string& value) {
  if (!value.empty()) json[key] = value;
}

Json anomaly_json(const inference::Prediction& prediction) {
  const inference::AnomalyMap& map = prediction.map;
  Json json = {{"model", prediction.model}, {"score", map.score}, {"mode", map.mode},
               {"passes", map.passes},      {"seed", map.seed},   {"calibrated", object::is_calibrated(map)}};
  if (object::is_calibrated(map)) {
    json["percentile"] = object::score_percentile(map);
    json["calibration_digest"] = map.reference.digest;
    json["calibration_images"] = map.reference.images;
  }
  return json;
}

Json probabilities_json(const std::vector<inference::Score>& scores) {
  Json probabilities = Json::object();
  for (const inference::Score& score : scores) probabilities[score.label] = score.value;
  return probabilities;
}

// The whole image is number 0; the others have the numbers that they have on the overlay.
Json regions_json(const inference::Prediction& prediction) {
  Json list = Json::array();
  for (const inference::Region& region : prediction.regions) {
    const inference::Box& box = region.box;
    Json json = {{"number", list.size()}, {"label", region.label}};
    if (region.source == inference::RegionSource::kDetector) json["detector_score"] = region.detector_score;
    json["box"] = {box.left, box.top, box.right, box.bottom};
    json["bone"] = region.bone;
    json["bone_probability"] = region.bone_probability;
    json["probabilities"] = probabilities_json(region.scores);
    list.push_back(std::move(json));
  }
  return list;
}

Json finding_json(const inference::Prediction& prediction, const config::TaskConfig& task) {
  Json json = {{"task", prediction.task}, {"model", prediction.model}, {"model_digest", prediction.model_digest}};
  if (const inference::ImagePart& part = prediction.part; !part.side.empty()) {
    json["side"] = part.side;
    json["box"] = {part.box.left, part.box.top, part.box.right, part.box.bottom};
  }
  const bool quantity = task.output == config::OutputKind::kRegression;
  if (!prediction.not_asked.empty()) {
    json["not_asked"] = prediction.not_asked;
    return json;
  }
  if (const int leading = report::leading_label(prediction); leading >= 0) {
    const inference::Score& score = prediction.scores[leading];
    json["label"] = score.label;
    json["value"] = score.value;
    json["unit"] = score.unit;
    if (!quantity) {
      json["level"] = report::to_string(report::level_of(task, prediction));
      json["shown"] = report::score_text(task, score.value);
    }
  }
  json["logits"] = prediction.logits;
  if (!quantity) {
    json["probabilities"] = probabilities_json(prediction.scores);
  }
  if (!prediction.regions.empty()) {
    Json deciding = Json::object();  // Which region each probability is of.
    for (const inference::Score& score : prediction.scores) deciding[score.label] = score.region;
    json["deciding_regions"] = deciding;
    json["regions"] = regions_json(prediction);
  }
  put(json, "regions_note", prediction.regions_note);
  return json;
}

}  // namespace

std::string instance_json(const storage::InstanceRecord& instance, const std::vector<config::TaskConfig>& tasks,
                          const config::RegionHead& region_head, const InstanceOutputs& outputs) {
  Json json = Json::object();
  put(json, "path", outputs.path);
  json["sop_instance_uid"] = instance.sop_instance_uid.str();
  json["state"] = storage::to_string(instance.state);
  put(json, "reason", instance.reason.empty() ? instance.route.reason : instance.reason);
  if (instance.received_at > WallTime{}) {  // From a store.
    if (instance.version > 1) json["version"] = instance.version;
    json["received_at"] = utc(instance.received_at);
    put(json, "predicted_at", utc(instance.predicted_at));
    put(json, "purged_at", utc(instance.purged_at));
  }
  put(json, "rule", instance.route.rule);
  put(json, "body_part", instance.route.body_part);
  put(json, "body_part_from", instance.route.body_part_evidence);
  std::vector<object::FindingRecord> decoded;
  std::map<int, Json> frames;  // What each frame came to; a single image is frame 0.
  for (const storage::StoredPrediction& stored : instance.predictions) {
    auto record = object::decode_finding(stored);
    if (!record.ok()) {
      json["state"] = "failed";
      json["reason"] = record.status().message();
      continue;
    }
    if (!record->rendering.empty()) json["rendering"] = record->rendering;
    Json& frame = frames[record->frame];
    if (record->prediction.map.size > 0) {
      frame["anomaly"] = anomaly_json(record->prediction);
    } else {
      frame["findings"].push_back(finding_json(record->prediction, report::find_task(tasks, record->prediction)));
    }
    decoded.push_back(std::move(record).value());
  }
  for (const auto& [number, found] : frames) {
    if (number == 0) {
      json.update(found);
    } else {
      Json frame = {{"frame", number}};
      frame.update(found);
      json["frames"].push_back(std::move(frame));
    }
  }
  put(json, "body_part_disagreement", report::body_part_disagreement(region_head, instance.route, decoded));
  for (const auto& [form, file] : outputs.of_study) json["outputs"][form] = file;
  for (const auto& [form, files] : outputs.of_image) json["outputs"][form] = files;
  return dump(json);
}

std::string file_json(const std::string& path, const std::string& state, const std::string& reason) {
  return dump({{"path", path}, {"state", state}, {"reason", reason}});
}

}  // namespace node::operate
