// Studies with made-up findings over the radiographs of tests/data, for the tests of report/.
#pragma once

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "config/report_config.h"
#include "dicom_node/object/instance_header.h"
#include "dicom_node/report/result_object.h"
#include "dicom_node/report/secondary_capture.h"
#include "dicom_node/report/structured_report.h"

namespace node::report::made {

inline const std::string kNodeUid = "2.25.134532011558794181833216965492102009321";
inline const std::string kHand = "01_1_hand_pa.dcm";          // DX, JPEG Lossless, 12 bits
inline const std::string kShoulder = "06_1_shoulder_ap.dcm";  // MONOCHROME1
inline const std::string kJpeg = "09_1_hand_obl.dcm";         // JPEG Baseline
inline const std::string kKnee = "13_1_knee_ap.dcm";

inline std::string radiograph(const std::string& name) { return std::string(NODE_TEST_DATA) + "/radiographs/" + name; }

// 2026-11-02 08:20:00 UTC
inline WallTime at_noon() { return WallTime(std::chrono::seconds(1793607600)); }

inline config::TaskConfig fracture_task() {
  config::TaskConfig task;
  task.name = "fracture";
  task.labels = {"Fracture"};
  task.code = {"125605004", "SCT", "Fracture of bone"};
  task.threshold_doubtful = 0.3;
  task.threshold_certain = 0.7;
  return task;
}

inline config::TaskConfig finds_task() {  // Two labels of one sigmoid head.
  config::TaskConfig task;
  task.name = "finds";
  task.labels = {"Implant", "Tumour"};
  task.label_codes = {{"40388003", "SCT", "Implant"}, {"126537000", "SCT", "Neoplasm of bone"}};
  return task;
}

inline config::TaskConfig knee_task() {
  config::TaskConfig task;
  task.name = "knee-oa";
  task.output = config::OutputKind::kSoftmax;
  task.labels = {"KL 0", "KL 1", "KL 2", "KL 3", "KL 4"};
  task.code = {"SKX-KL", "99SKELEX", "Kellgren-Lawrence grade"};
  task.threshold_doubtful = 0;
  return task;
}

inline config::TaskConfig age_task() {
  config::TaskConfig task;
  task.name = "bone-age";
  task.output = config::OutputKind::kRegression;
  task.labels = {"Bone age"};
  task.code = {"SKX-BONEAGE", "99SKELEX", "Bone age"};
  task.unit = "mo";
  return task;
}

inline config::TaskConfig anomaly_task() {
  config::TaskConfig task;
  task.name = "anomaly";
  task.output = config::OutputKind::kAnomalyMap;
  task.map_scale_max = 0.1;
  return task;
}

inline object::FindingRecord finding(const config::TaskConfig& task, std::vector<double> values) {
  object::FindingRecord record;
  record.prediction.task = task.name;
  record.prediction.model = "demo-" + task.name;
  record.prediction.model_digest = "sha256:0f1e2d3c" + std::string(56, '0');
  record.prediction.model_version = record.prediction.model + "@sha256:0f1e2d3c";
  for (std::size_t i = 0; i < values.size(); ++i)
    record.prediction.scores.push_back({task.labels[i], values[i], task.unit});
  record.rendering = {"voi=window 1"};
  return record;
}

// A map that is all zero but for a patch of 16 x 16 around (y, x), of 224 x 224.
inline inference::AnomalyMap patch_at(int y, int x, float error) {
  inference::AnomalyMap map;
  map.size = 224;
  map.values.assign(224 * 224, 0.0f);
  for (int i = y - 8; i < y + 8; ++i)
    for (int j = x - 8; j < x + 8; ++j) map.values[static_cast<std::size_t>(i) * 224 + j] = error;
  map.score = 256.0 * error / (224 * 224);
  map.passes = 8;
  map.mode = "partition";
  map.mask_ratio = 0.75;
  map.seed = 185372638192;
  map.patch_size = 16;
  return map;
}

// The percentiles of made::patch_at(): an error of 0 has 45, of 0.05 and more 99.9, in a straight line between.
inline void calibrate(object::FindingRecord& finding, const std::string& body_part = "HAND") {
  finding.prediction.map.reference = {"sha256:feedbeef" + std::string(56, '0'),
                                      body_part,
                                      214,
                                      {0, 90, 99.9, 100},
                                      {0, 0, 0.05, 0.05},
                                      {0, 0.001, 0.01, 0.1}};
  finding.prediction.model_version += "+cal:feedbeef00000000";
}

inline object::FindingRecord anomaly(int y = 56, int x = 168, float error = 0.1f) {
  object::FindingRecord record = finding(anomaly_task(), {});
  record.prediction.map = patch_at(y, x, error);
  return record;
}

inline ReportedImage image(const std::string& name, std::vector<object::FindingRecord> findings) {
  const object::InstanceHeader header = object::read_instance_header(radiograph(name)).value();
  storage::InstanceRecord record{.sop_instance_uid = storage::Uid::parse(header.sop_instance_uid).value(),
                                 .study_instance_uid = storage::Uid::parse(header.study_instance_uid).value()};
  record.series_instance_uid = header.series_instance_uid;
  record.sop_class_uid = header.sop_class_uid;
  record.modality = header.modality;
  record.route.rule = "all";
  record.route.body_part = header.body_part_examined;
  record.route.body_part_evidence = "Body Part Examined";
  record.route.results_to = {"pacs"};
  for (const auto& f : findings) record.route.tasks.push_back(f.prediction.task);
  record.state = storage::InstanceState::kAnalysed;
  record.predicted_at = at_noon();
  return {std::move(record), radiograph(name), std::move(findings)};
}

inline ResultContext context() {
  ResultContext context;
  context.node_uid = kNodeUid;
  context.config.node_version = "0.1.0";
  context.config.tasks = {fracture_task(), finds_task(), knee_task(), age_task(), anomaly_task()};
  context.revision = "1";
  context.time = at_noon() + std::chrono::minutes(1);
  return context;
}

inline ReportedStudy study(std::vector<ReportedImage> images, const ResultContext& context) {
  ReportedStudy study{images.front().record.study_instance_uid, 1, {}, {}, {}};
  for (ReportedImage& image : images) {
    for (ResultReference& overlay : overlay_references("sc", image, context))
      study.illustrations.push_back(std::move(overlay));
    study.add(std::move(image));
  }
  return study;
}

}  // namespace node::report::made
