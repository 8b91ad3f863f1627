#include "dicom_node/object/finding_record.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "dicom_node/object/map_percentiles.h"
#include "dicom_node/object/sha256.h"

namespace node::object {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "the map's blob is little endian");

// JSON has no word for these, and a network that went wrong gives them: better stored than lost.
json number(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return value;
}

double number_of(const json& value) {
  if (value.is_number()) return value.get<double>();
  const auto& word = value.get_ref<const std::string&>();
  if (word == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (word == "inf") return std::numeric_limits<double>::infinity();
  if (word == "-inf") return -std::numeric_limits<double>::infinity();
  throw std::invalid_argument("no number");
}

json encode_reference(const inference::MapReference& reference) {
  return {{"digest", reference.digest}, {"body_part", reference.body_part},     {"images", reference.images},
          {"levels", reference.levels}, {"patch_error", reference.patch_error}, {"image_score", reference.image_score}};
}

inference::MapReference decode_reference(const json& from) {
  inference::MapReference reference;
  reference.digest = from.at("digest").get<std::string>();
  reference.body_part = from.at("body_part").get<std::string>();
  reference.images = from.at("images").get<std::int64_t>();
  reference.levels = from.at("levels").get<std::vector<double>>();
  reference.patch_error = from.at("patch_error").get<std::vector<double>>();
  reference.image_score = from.at("image_score").get<std::vector<double>>();
  if (reference.patch_error.size() != reference.levels.size() ||
      reference.image_score.size() != reference.levels.size())
    throw std::invalid_argument("a table without a number for each level");
  return reference;
}

const char* word_of(inference::RegionSource source) {
  switch (source) {
    case inference::RegionSource::kWholeImage: return "whole image";
    case inference::RegionSource::kDetector: return "detector";
    case inference::RegionSource::kTile: return "tile";
  }
  return "";
}

inference::RegionSource source_of(const std::string& word) {
  using inference::RegionSource;
  for (const RegionSource source : {RegionSource::kWholeImage, RegionSource::kDetector, RegionSource::kTile})
    if (word == word_of(source)) return source;
  throw std::invalid_argument("no source of a region");
}

json encode_scores(const std::vector<inference::Score>& scores) {
  json list = json::array();
  for (const inference::Score& score : scores) {
    list.push_back({{"label", score.label}, {"value", number(score.value)}, {"unit", score.unit}});
    if (score.region >= 0) list.back()["region"] = score.region;
  }
  return list;
}

std::vector<inference::Score> decode_scores(const json& from, std::size_t regions) {
  std::vector<inference::Score> scores;
  for (const json& score : from) {
    scores.push_back({score.at("label").get<std::string>(), number_of(score.at("value")),
                      score.at("unit").get<std::string>(), score.value("region", -1)});
    if (scores.back().region >= static_cast<int>(regions)) throw std::invalid_argument("a score of no region");
  }
  return scores;
}

json encode_logits(const std::vector<float>& logits) {
  json list = json::array();
  for (const float logit : logits) list.push_back(number(logit));
  return list;
}

std::vector<float> decode_logits(const json& from) {
  std::vector<float> logits;
  for (const json& logit : from) logits.push_back(static_cast<float>(number_of(logit)));
  return logits;
}

json encode_box(const inference::Box& box) { return {box.left, box.top, box.right, box.bottom}; }

inference::Box decode_box(const json& from) {
  const auto box = from.get<std::array<std::int32_t, 4>>();
  return {box[0], box[1], box[2], box[3]};
}

json encode_region(const inference::Region& region) {
  return {{"source", word_of(region.source)},
          {"label", region.label},
          {"detector_score", number(region.detector_score)},
          {"box", encode_box(region.box)},
          {"logits", encode_logits(region.logits)},
          {"scores", encode_scores(region.scores)},
          {"bone", region.bone},
          {"bone_probability", number(region.bone_probability)}};
}

inference::Region decode_region(const json& from) {
  inference::Region region;
  region.source = source_of(from.at("source").get<std::string>());
  region.label = from.at("label").get<std::string>();
  region.detector_score = number_of(from.at("detector_score"));
  region.box = decode_box(from.at("box"));
  region.logits = decode_logits(from.at("logits"));
  region.scores = decode_scores(from.at("scores"), 0);
  region.bone = from.at("bone").get<std::string>();
  region.bone_probability = number_of(from.at("bone_probability"));
  return region;
}

}  // namespace

std::string finding_key(const FindingRecord& record) {
  if (record.frame == 0) return record.prediction.task;
  const std::string digits = std::to_string(record.frame);
  return record.prediction.task + " frame " + std::string(4 - std::min<std::size_t>(digits.size(), 4), '0') + digits;
}

storage::StoredPrediction encode_finding(const FindingRecord& record) {
  const inference::Prediction& prediction = record.prediction;
  json content{{"task", prediction.task},
               {"model", prediction.model},
               {"model_version", prediction.model_version},
               {"model_digest", prediction.model_digest},
               {"logits", encode_logits(prediction.logits)},
               {"scores", encode_scores(prediction.scores)},
               {"rendering", record.rendering}};
  if (record.frame > 0) content["frame"] = record.frame;
  if (!prediction.not_asked.empty()) content["not_asked"] = prediction.not_asked;
  for (const inference::Region& region : prediction.regions) content["regions"].push_back(encode_region(region));
  if (const inference::ImagePart& part = prediction.part; !part.side.empty()) {
    content["part"] = {{"side", part.side}, {"box", encode_box(part.box)}};
  }
  if (!prediction.regions_note.empty()) content["regions_note"] = prediction.regions_note;
  const inference::AnomalyMap& map = prediction.map;
  storage::StoredPrediction stored;
  stored.task = finding_key(record);
  stored.model_version = prediction.model_version;
  if (!map.values.empty()) {
    content["map"] = {{"size", map.size},
                      {"score", number(map.score)},
                      {"passes", map.passes},
                      {"mode", map.mode},
                      {"mask_ratio", number(map.mask_ratio)},
                      {"seed", map.seed},
                      {"patch_size", map.patch_size}};
    if (is_calibrated(map)) content["map"]["reference"] = encode_reference(map.reference);
    stored.blob.assign(reinterpret_cast<const char*>(map.values.data()), map.values.size() * sizeof(float));
  }
  // Names come from the configuration; one that is no UTF-8 is stored with replacement characters.
  stored.content = content.dump(-1, ' ', false, json::error_handler_t::replace);
  return stored;
}

Result<FindingRecord> decode_finding(const storage::StoredPrediction& stored) {
  try {
    const json content = json::parse(stored.content);
    FindingRecord record;
    inference::Prediction& prediction = record.prediction;
    prediction.task = content.at("task").get<std::string>();
    prediction.model = content.at("model").get<std::string>();
    prediction.model_version = content.at("model_version").get<std::string>();
    prediction.model_digest = content.at("model_digest").get<std::string>();
    prediction.logits = decode_logits(content.at("logits"));
    if (content.contains("regions")) {  // Of a region task alone.
      for (const json& region : content.at("regions")) prediction.regions.push_back(decode_region(region));
    }
    if (content.contains("part")) {
      const json& part = content.at("part");
      prediction.part = {part.at("side").get<std::string>(), decode_box(part.at("box"))};
    }
    prediction.regions_note = content.value("regions_note", "");
    prediction.scores = decode_scores(content.at("scores"), prediction.regions.size());
    record.rendering = content.at("rendering").get<std::vector<std::string>>();
    record.frame = content.value("frame", 0);
    prediction.not_asked = content.value("not_asked", "");
    if (content.contains("map")) {
      const json& from = content.at("map");
      inference::AnomalyMap& map = prediction.map;
      map.size = from.at("size").get<std::int32_t>();
      map.score = number_of(from.at("score"));
      map.passes = from.at("passes").get<std::int32_t>();
      map.mode = from.at("mode").get<std::string>();
      map.mask_ratio = number_of(from.at("mask_ratio"));
      map.seed = from.at("seed").get<std::uint64_t>();
      map.patch_size = from.value("patch_size", 0);  // Not in what early versions stored.
      if (from.contains("reference")) map.reference = decode_reference(from.at("reference"));
      const auto side = static_cast<std::uint64_t>(map.size < 0 ? 0 : map.size);
      if (side == 0 || stored.blob.size() != side * side * sizeof(float)) {
        return data_loss("stored prediction of " + stored.task + ": the map has another size than it says");
      }
      map.values.resize(side * side);
      std::memcpy(map.values.data(), stored.blob.data(), stored.blob.size());
    } else if (!stored.blob.empty()) {
      return data_loss("stored prediction of " + stored.task + ": a map that nothing describes");
    }
    return record;
  } catch (const std::exception&) {  // What nlohmann-json throws; its texts repeat the input.
    return data_loss("stored prediction of " + stored.task + ": not what was stored");
  }
}

std::uint64_t mask_seed(const std::string& sop_instance_uid, int frame) {
  Sha256 digest;
  digest.update(sop_instance_uid);
  if (frame > 0) digest.update("/" + std::to_string(frame));
  const std::string bytes = digest.finish();
  std::uint64_t seed = 0;
  for (int i = 0; i < 6; ++i) seed = seed << 8 | static_cast<unsigned char>(bytes[static_cast<std::size_t>(i)]);
  return seed;
}

}  // namespace node::object
