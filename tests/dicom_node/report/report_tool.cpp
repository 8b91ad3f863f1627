// report_tool: writes the objects of one study whose findings stand in a JSON file, for validators_test.py.
//
//   report_tool study.json OUT    -> OUT/sr.dcm, OUT/sc-N.dcm, ...: of a study FORM.dcm, of images FORM-N.dcm
//
// With "repeat": N in the file all is made N times and a JSON line says what it took, in milliseconds of the
// processor, for tools/benchmark/results: of each form a list, under "decode" the time until the first image's stored
// values are there.
#include <fmt/format.h>

#include <cmath>
#include <ctime>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "dicom_node/object/image_loader.h"
#include "dicom_node/object/instance_header.h"
#include "dicom_node/object/stored_pixels.h"
#include "dicom_node/report/study_objects.h"

namespace {

using nlohmann::json;
using namespace node;
using namespace node::report;

config::Code code_from(const json& j) { return {j.at(0), j.at(1), j.at(2)}; }

config::TaskConfig task_from(const json& j) {
  config::TaskConfig task;
  task.name = j.at("name");
  const std::string output = j.at("output");
  task.output = output == "softmax"       ? config::OutputKind::kSoftmax
                : output == "regression"  ? config::OutputKind::kRegression
                : output == "anomaly_map" ? config::OutputKind::kAnomalyMap
                                          : config::OutputKind::kSigmoid;
  task.labels = j.value("labels", std::vector<std::string>());
  if (j.contains("code")) task.code = code_from(j["code"]);
  for (const json& code : j.value("label_codes", json::array())) task.label_codes.push_back(code_from(code));
  task.threshold_doubtful = j.value("doubtful", output == "softmax" ? 0.0 : 0.5);
  task.threshold_certain = j.value("certain", 0.5);
  task.unit = j.value("unit", "1");
  return task;
}

// Two soft spots over the noise of healthy detail.
inference::AnomalyMap map_from(const json& j) {
  inference::AnomalyMap map;
  map.size = 224;
  map.mode = j.at("mode");
  map.passes = j.at("passes");
  map.seed = j.at("seed");
  map.mask_ratio = 0.75;
  double sum = 0;
  for (int y = 0; y < map.size; ++y) {
    for (int x = 0; x < map.size; ++x) {
      const auto spot = [&](double at_y, double at_x, double width) {
        return std::exp(-((y - at_y) * (y - at_y) + (x - at_x) * (x - at_x)) / (2 * width * width));
      };
      const double peak = j.at("peak"), at_y = j.at("y"), at_x = j.at("x");
      const double error = 0.004 + peak * spot(at_y, at_x, 12) + 0.3 * peak * spot(at_x, at_y, 8);
      map.values.push_back(static_cast<float>(error));
      sum += error;
    }
  }
  map.patch_size = 16;
  if (j.contains("reference")) {
    const json& from = j["reference"];
    map.reference = {from.at("digest"), from.at("body_part"),   from.at("images"),
                     from.at("levels"), from.at("patch_error"), from.at("image_score")};
  }
  map.score = j.contains("score") ? j["score"].get<double>() : sum / (map.size * map.size);
  return map;
}

// The whole image where there is no detector's score.
inference::Region region_from(const json& j, const std::vector<inference::Score>& like) {
  inference::Region region;
  region.label = j.at("label");
  region.detector_score = j.value("detector_score", 0.0);
  if (j.contains("detector_score")) region.source = inference::RegionSource::kDetector;
  const std::vector<std::int32_t> box = j.at("box");
  region.box = {box.at(0), box.at(1), box.at(2), box.at(3)};
  region.bone = j.at("bone");
  region.bone_probability = j.at("bone_probability");
  for (const double value : j.at("values")) {
    region.scores.push_back({like.at(region.scores.size()).label, value});
  }
  return region;
}

object::FindingRecord finding_from(const json& j) {
  object::FindingRecord record;
  inference::Prediction& prediction = record.prediction;
  prediction.task = j.at("task");
  prediction.model = j.at("model");
  prediction.model_digest = j.at("digest");
  prediction.model_version = prediction.model + "@" + prediction.model_digest.substr(0, 15);
  for (const json& score : j.value("scores", json::array()))
    prediction.scores.push_back({score.at(0), score.at(1), score.at(2), score.size() > 3 ? score[3].get<int>() : -1});
  for (const json& region : j.value("regions", json::array()))
    prediction.regions.push_back(region_from(region, prediction.scores));
  prediction.regions_note = j.value("regions_note", "");
  if (j.contains("map")) prediction.map = map_from(j["map"]);
  record.rendering = j.value("rendering", std::vector<std::string>());
  return record;
}

Result<ReportedImage> image_from(const json& j) {
  const std::string file = j.at("file");
  NODE_ASSIGN_OR_RETURN(const object::InstanceHeader header, object::read_instance_header(file));
  NODE_ASSIGN_OR_RETURN(const storage::Uid uid, storage::Uid::parse(header.sop_instance_uid));
  NODE_ASSIGN_OR_RETURN(const storage::Uid study, storage::Uid::parse(header.study_instance_uid));
  ReportedImage image{{.sop_instance_uid = uid, .study_instance_uid = study}, file, {}};
  image.record.series_instance_uid = header.series_instance_uid;
  image.record.sop_class_uid = header.sop_class_uid;
  image.record.route.body_part = header.body_part_examined;
  image.record.route.body_part_evidence = "Body Part Examined";
  image.record.predicted_at = WallTime(std::chrono::milliseconds(j.at("predicted_at_ms").get<std::int64_t>()));
  for (const json& finding : j.value("findings", json::array())) image.findings.push_back(finding_from(finding));
  if (j.value("load", false)) {
    const auto loaded = object::load_frame(file, 1, {.render_for_processing = true});
    for (object::FindingRecord& finding : image.findings)
      if (loaded.ok()) finding.rendering = loaded->rendering;
  }
  image.record.state = image.findings.empty() ? storage::InstanceState::kSkipped : storage::InstanceState::kAnalysed;
  image.record.reason = j.value("reason", "");
  return image;
}

Status write(const std::string& bytes, const std::string& file) {
  std::ofstream out(file, std::ios::binary);
  out << bytes;
  return out.good() ? ok_status() : internal_error("write " + file);
}

// Of the processor, all threads together: what others do on the machine counts less than by the clock.
double milliseconds() { return 1e3 * static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

Status measure(const ReportedStudy& study, const WantedForms& wanted, const ResultContext& context, int repeat) {
  json times;
  for (int i = 0; i < repeat; ++i) {
    double start = milliseconds();
    NODE_ASSIGN_OR_RETURN(const auto reader,
                          object::PixelReader::open(study.images.front().file, object::LoadOptions().pixels_max));
    NODE_RETURN_IF_ERROR(reader->read_frame(0, object::UnusedBits::kKeep).status());
    times["decode"].push_back(milliseconds() - start);
    start = milliseconds();
    NODE_RETURN_IF_ERROR(build_study_objects(study, wanted, {}, context,
                                             [&](const Form& form, const ResultReference&, const ResultObject& object) {
                                               times[std::string(form.word)].push_back(milliseconds() - start);
                                               times[std::string(form.word) + " bytes"] = object.bytes.size();
                                               start = milliseconds();
                                               return ok_status();
                                             }));
  }
  std::cout << times.dump() << std::endl;
  return ok_status();
}

Status run(const json& j, const std::string& folder) {
  ResultContext context;
  context.node_uid = j.at("node_uid");
  context.config.node_version = "0.1.0";
  context.config.disclaimer = j.value("disclaimer", context.config.disclaimer);
  for (const json& task : j.at("tasks")) context.config.tasks.push_back(task_from(task));
  context.revision = std::to_string(j.at("revision").get<int>());
  context.time = WallTime(std::chrono::milliseconds(j.at("closed_at_ms").get<std::int64_t>()));

  std::optional<ReportedStudy> study;
  for (const json& entry : j.at("images")) {
    NODE_ASSIGN_OR_RETURN(ReportedImage image, image_from(entry));
    if (!study) study = ReportedStudy{image.record.study_instance_uid, j.at("revision"), {}, {}, {}};
    study->add(std::move(image));
  }
  if (!study) return invalid_argument("no images");
  if (j.contains("predecessor")) {
    NODE_ASSIGN_OR_RETURN(const object::InstanceHeader header,
                          object::read_instance_header(j["predecessor"].get<std::string>()));
    NODE_ASSIGN_OR_RETURN(const storage::Uid uid, storage::Uid::parse(header.sop_instance_uid));
    NODE_ASSIGN_OR_RETURN(const storage::Uid series, storage::Uid::parse(header.series_instance_uid));
    study->predecessors.push_back({"sr", study->study_instance_uid.str(), uid, series, header.sop_class_uid});
  }

  WantedForms wanted;
  for (const std::string& form : j.value("forms", std::vector<std::string>{"sr", "sc"})) {
    wanted.emplace(form, study->study_instance_uid.str());
    for (const ReportedImage& image : study->images) wanted.emplace(form, image.record.sop_instance_uid.str());
  }
  if (const int repeat = j.value("repeat", 0); repeat > 0) return measure(*study, wanted, context, repeat);
  std::map<std::string, int> written;
  const auto take = [&](const Form& form, const ResultReference& reference, const ResultObject& object) {
    const int number = ++written[reference.form];
    return write(object.bytes, form.of == FormOf::kStudy ? fmt::format("{}/{}.dcm", folder, form.word)
                                                         : fmt::format("{}/{}-{}.dcm", folder, form.word, number));
  };
  return build_study_objects(*study, wanted, {}, context, take);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  std::ifstream in(argv[1]);
  const json study = json::parse(in, nullptr, /*allow_exceptions=*/false);
  if (study.is_discarded()) return 2;
  const Status status = run(study, argv[2]);
  if (!status.ok()) std::cerr << status.message() << "\n";
  return status.ok() ? 0 : 1;
}
