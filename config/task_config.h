// ModelConfig, TaskConfig: the `models:` and `tasks:` of node.yaml.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace node::config {

struct Code {  // A coded concept: (value, scheme, "meaning"). Written "125605004|SCT|Fracture of bone" in node.yaml.
  std::string value, scheme, meaning;
  bool operator==(const Code&) const = default;
};

enum class Precision { kAuto, kFloat32, kBfloat16 };

struct ModelConfig {
  std::string name;
  // A HuggingFace directory: config.json, preprocessor_config.json, model.safetensors. Of a detector also one with
  // manifest.json and a TorchScript file.
  std::string path;
  Precision precision = Precision::kAuto;
  std::string sha256;                // 64 hex digits of a detector's TorchScript file; empty: it is none.
  std::vector<std::string> devices;  // auto, cpu, cuda, cuda:1; several: a copy on each. Empty: inference.device.
  bool operator==(const ModelConfig&) const = default;
};

enum class OutputKind { kSigmoid, kSoftmax, kRegression, kAnomalyMap };
enum class MaskMode { kPartition, kRandom };

// `when:` of a task: it is asked only of images in which another's score reaches a value.
struct TaskCondition {
  std::string task;
  std::string label;  // Of that task; empty: its only one.
  double at_least = 0.5;
  bool operator==(const TaskCondition&) const = default;
};

// A film of both sides: which of the patient's.
enum class Half { kNone, kRight, kLeft };

// The task that reads one half of a film for `task`; no task of a file has such a name.
inline std::string half_name(const std::string& task, Half half) {
  return task + (half == Half::kRight ? " right half" : " left half");
}

// What is wrong with the condition's label where the other task has `labels`; or nothing.
inline std::string label_problem(const TaskCondition& condition, const std::vector<std::string>& labels) {
  if (condition.label.empty()) {
    return labels.size() == 1
               ? ""
               : "is wanted: task " + condition.task + " has " + std::to_string(labels.size()) + " labels";
  }
  if (std::find(labels.begin(), labels.end(), condition.label) != labels.end()) return "";
  return "task " + condition.task + " has no label '" + condition.label + "'";
}

// What a region task says of an image, in this order; the published work's aggregation (inference/region_head.h).
inline const std::vector<std::string> kRegionScores{"Abnormal",
                                                    "Bone tumour",
                                                    "Malignant",
                                                    "Intermediate",
                                                    "Benign",
                                                    "Neoplastic pathologic fracture",
                                                    "Non-pathologic fracture",
                                                    "Implant"};

struct RegionSelection {  // Which regions of an image a region task looks at, besides the whole.
  std::string detector;   // A ModelConfig's name; empty: fixed tiles.
  // Of a detector's box the least score, and of two boxes of one label the greatest intersection over union, above
  // which the surer one alone stays; 0 to 1. Absent: the manifest's, else the published work's.
  std::optional<double> score_min, overlap_max;
  int count_max = 32;  // The surest ones. 1 to 300.
  bool operator==(const RegionSelection&) const = default;
};
inline constexpr double kRegionScoreMin = 0.25, kRegionOverlapMax = 0.7;

struct TaskConfig {
  std::string name;
  std::string origin;  // Where it stands, for messages: "node.yaml:93"; empty: in no file.
  std::string model;   // A ModelConfig's name.
  OutputKind output = OutputKind::kSigmoid;
  std::vector<std::string> labels;  // One per logit (of the slice); empty: the checkpoint's id2label.
  Code code;                        // What is looked for; empty: (name, 99SKELEX, name).
  std::vector<Code> label_codes;    // One per label, or empty: private codes are made.
  std::vector<std::string>
      negative_labels;               // Of a softmax: those that say that nothing was found. Empty: it classifies.
  double threshold_doubtful = 0.5;   // Probability from which a label counts as "doubtful"; node.yaml's default for a
                                     // softmax is 0: it always names its likeliest label. 0 to 1.
  double threshold_certain = 0.5;    // From here on "certain".
  int logits_first = 0;              // The slice of the logits that is this task's.
  int logits_count = 0;              // 0: all from logits_first on.
  std::string unit = "1";            // UCUM; "mo" for a bone age in months.
  double scale = 1.0, offset = 0.0;  // Regression: value = logit * scale + offset.
  int passes = 8;                    // Anomaly map: masked passes, 1 to 64; a multiple of 4 for partition.
  MaskMode mode = MaskMode::kPartition;
  // output: regions. A sigmoid of kRegionScores over a head of 38 logits, each the greatest of all regions.
  bool regions = false;
  RegionSelection region_selection;
  double map_scale_max = 0.1;           // Anomaly map: squared error drawn as the hottest colour. > 0.
  std::string calibration;              // Anomaly map: a file of `skelex-node calibrate`; empty: uncalibrated.
  std::vector<std::string> body_parts;  // Terms of PS3.16 Annex L the task is meant for; empty: any.
  std::vector<std::string> views;       // View Position likewise.
  std::vector<std::string> laterality;  // R, L, B, U likewise, U also where none is named: [R, L, U] is not both.
  std::optional<int> age_years_min, age_years_max;  // Outside, or unknown where one is set: out of scope.
  bool split = false;       // bilateral: split. A film of both sides is read half by half where the router allows it.
  Half half = Half::kNone;  // In no file: the task that reads this half of such films (half_name()).

  bool detects = false;  // In no file: the engine's own task for a detector's boxes, by region_selection.

  std::optional<TaskCondition> when;  // Absent: asked of every image that its routes name it for.

  // What a message about it begins with: "node.yaml:93: tasks.knee-oa".
  std::string where() const { return origin.empty() ? "task " + name : origin + ": tasks." + name; }
  bool operator==(const TaskConfig&) const = default;
};

// What is wrong with the condition's limit where it is for scores of `other`; or nothing.
inline std::string at_least_problem(const TaskCondition& condition, const TaskConfig& other) {
  const bool probability = other.output == OutputKind::kSigmoid || other.output == OutputKind::kSoftmax;
  if (!probability || (condition.at_least >= 0 && condition.at_least <= 1)) return "";
  return "is " + std::string(condition.at_least > 1 ? "above 1, which is never reached" : "below 0") +
         ": the scores of '" + other.name + "' are probabilities, from 0 to 1";
}

}  // namespace node::config
