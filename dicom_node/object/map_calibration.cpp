#include "dicom_node/object/map_calibration.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "dicom_node/object/sha256.h"

namespace node::object {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "skelex-map-calibration-1";

// Six significant digits: more would be noise, and a person is to read it.
std::string numbers(const std::vector<double>& values) {
  std::string text = "[";
  for (const double value : values) text += fmt::format("{}{:.6g}", text.size() > 1 ? ", " : "", value);
  return text + "]";
}

std::string quoted(const std::string& text) { return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace); }

// Why a table cannot be used, or nothing.
std::string problem_of(const inference::MapReference& reference) {
  const auto& levels = reference.levels;
  if (levels.size() < 2 || levels.front() != 0 || levels.back() != 100 ||
      std::adjacent_find(levels.begin(), levels.end(), std::greater_equal<>()) != levels.end()) {
    return "levels: wants percents that rise from 0 to 100";
  }
  if (reference.images < 1) return reference.body_part + ": images: wants a count from 1";
  for (const auto& [name, table] :
       {std::pair{"patch_error", &reference.patch_error}, std::pair{"image_score", &reference.image_score}}) {
    if (table->size() == levels.size() && std::is_sorted(table->begin(), table->end())) continue;
    return fmt::format("{}: {}: wants one number for each of {} levels, none less than the one before",
                       reference.body_part, name, levels.size());
  }
  return "";
}

}  // namespace

std::string encode_map_calibration(const MapCalibration& calibration) {
  std::string text = fmt::format(
      "{{\n \"format\": \"{}\",\n \"model\": {},\n \"model_digest\": {},\n \"mode\": {},\n \"passes\": {},\n", kFormat,
      quoted(calibration.model), quoted(calibration.model_digest), quoted(calibration.mode), calibration.passes);
  text += fmt::format(" \"levels\": {},\n \"body_parts\": {{",
                      calibration.body_parts.empty() ? "[]" : numbers(calibration.body_parts.begin()->second.levels));
  const char* separator = "\n";
  for (const auto& [name, reference] : calibration.body_parts) {
    text +=
        fmt::format("{}  {}: {{\n   \"images\": {},\n   \"patch_error\": {},\n   \"image_score\": {}\n  }}", separator,
                    quoted(name), reference.images, numbers(reference.patch_error), numbers(reference.image_score));
    separator = ",\n";
  }
  return text + "\n }\n}\n";
}

Result<MapCalibration> read_map_calibration(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return not_found(file.string() + ": cannot be read");
  const std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  const auto wrong = [&](const std::string& why) { return invalid_argument(file.string() + ": " + why); };
  MapCalibration calibration;
  try {
    const Json content = Json::parse(bytes);
    if (content.at("format").get<std::string>() != kFormat) return wrong(fmt::format("is not a {}", kFormat));
    calibration.model = content.at("model").get<std::string>();
    calibration.model_digest = content.at("model_digest").get<std::string>();
    calibration.mode = content.at("mode").get<std::string>();
    calibration.passes = content.at("passes").get<std::int32_t>();
    Sha256 digest;
    digest.update(bytes);
    calibration.digest = "sha256:" + digest.finish_hex();
    const auto levels = content.at("levels").get<std::vector<double>>();
    for (const auto& [name, of_part] : content.at("body_parts").items()) {
      inference::MapReference reference{.digest = calibration.digest,
                                        .body_part = name,
                                        .images = of_part.at("images").get<std::int64_t>(),
                                        .levels = levels,
                                        .patch_error = of_part.at("patch_error").get<std::vector<double>>(),
                                        .image_score = of_part.at("image_score").get<std::vector<double>>()};
      if (const std::string problem = problem_of(reference); !problem.empty()) return wrong(problem);
      calibration.body_parts.emplace(name, std::move(reference));
    }
  } catch (const Json::exception& error) {
    return wrong(fmt::format("is not a {}: {}", kFormat, error.what()));
  }
  return calibration;
}

Status check_made_for(const MapCalibration& calibration, const config::TaskConfig& task,
                      const inference::TaskInfo& served) {
  std::string differs;
  const auto compare = [&](const char* what, const std::string& made_for, const std::string& now) {
    if (made_for != now) differs += fmt::format("{}{} {}, not {}", differs.empty() ? "" : "; ", what, made_for, now);
  };
  compare("model", calibration.model_digest, served.model_digest);
  compare("mode", calibration.mode, to_string(task.mode));
  compare("passes", std::to_string(calibration.passes), std::to_string(task.passes));
  if (differs.empty()) return ok_status();
  return invalid_argument("was made for " + differs + ": make it again with skelex-node calibrate");
}

std::string to_string(config::MaskMode mode) { return mode == config::MaskMode::kPartition ? "partition" : "random"; }

}  // namespace node::object
