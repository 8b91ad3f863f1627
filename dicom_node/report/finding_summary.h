// finding_summary: what a prediction says, by the thresholds of its task, and in words for a person.
//
// One place for it, because the report, the overlay, `predict` and the operator's page must not disagree.
// Threads: any.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/router_config.h"
#include "config/task_config.h"
#include "dicom_node/object/finding_record.h"
#include "inference/predictor.h"
#include "storage/route_decision.h"

namespace node::report {

enum class Level { kNegative, kDoubtful, kCertain };
std::string_view to_string(Level level);

// Of one label, by the task's thresholds.
Level level_of(const config::TaskConfig& task, double probability);
// Of the likeliest label, or of a quantity, which is always certain. A negative softmax names none of its labels.
Level level_of(const config::TaskConfig& task, const inference::Prediction& prediction);

// The label with the highest value; the first of equal ones. Errors: -1 if there are no scores.
int leading_label(const inference::Prediction& prediction);

// Whether the task found what it looks for, doubtful or certain; of one that only classifies, measures or draws:
// neither.
enum class Outcome { kNeither, kNothingFound, kFound };
Outcome outcome_of(const config::TaskConfig& task, const inference::Prediction& prediction);
// Of several findings: something if any has, else nothing if any looked.
Outcome outcome_of(const std::vector<config::TaskConfig>& tasks, const std::vector<object::FindingRecord>& findings);

struct FindingLine {
  std::string text;
  std::optional<Level> level;  // None: a score or a quantity, which no threshold judges.
};

// "Fracture 0.83 certain"; "KL 2 0.71 certain"; "Bone age 132 mo"; "Anomaly score 0.0123 (uncalibrated)", or
// "Anomaly score 0.0123, percentile 97.5 of 214 normal images, KNEE".
// One line per label of a sigmoid, else one line. Of a task that looks at regions each line ends with the one that its
// score is of: "Bone tumour 0.83 certain, region 2 distal femur".
std::vector<FindingLine> finding_lines(const config::TaskConfig& task, const inference::Prediction& prediction);

// What a region is called beside its score: "region 2 distal femur", by its number on the picture; "tile 2"; "whole
// image". `region`: an index of prediction.regions; anything else: "".
std::string region_name(const inference::Prediction& prediction, int region);

// "Right half: " of a film of both sides, which finding_lines() begin with; else empty.
std::string_view half_words(const inference::Prediction& prediction);

// A probability beside its level: how many digits, `digits` or more, it needs so as not to be rounded across one of the
// task's thresholds; and so written, with two or more: "0.88", "0.498" of a threshold of 0.5, "<0.01", ">0.99".
int score_digits(const config::TaskConfig& task, double value, int digits);
std::string score_text(const config::TaskConfig& task, double value);

// From where on a detector's label, or the head's of a region, is held against what else names a body part. Higher than
// the `score_min` from which a box is looked at: a box too many costs a line in a table, a false alarm trust.
inline constexpr double kSureOfBone = 0.5;

// How sure one is of a bone, in two digits, or those it needs beside kSureOfBone: "0.88", "0.498", "<0.01", ">0.99".
std::string share_text(double value);

// "97.5", "<0.1", ">99.9".
std::string percentile_text(double percentile);

// Of one finding among those of its image. The class of a softmax says little without its question, and two tasks may
// have a label of one name, whose lines would contradict each other side by side: these say whose they are, "KL 2 0.71
// certain (knee-oa)", "Malignant 0.17 negative (tumour-malignant)".
std::vector<FindingLine> finding_lines(const std::vector<config::TaskConfig>& tasks,
                                       const object::FindingRecord& finding,
                                       const std::vector<object::FindingRecord>& of_image);

// "fracture: demo-fracture 0123abcd"; of a map also mode, passes, seed and calibration.
std::string model_line(const inference::Prediction& prediction);

// "The header shows HAND (Body Part Examined), the pixels LOWERLIMB (region: leg 0.97)": where the region head is sure
// of a part of the body that has nothing in common with what the header says, or a detector of a bone, whether
// there is a head or not. Empty: no disagreement, or no such finding.
std::string body_part_disagreement(const config::RegionHead& head, const storage::RouteDecision& route,
                                   const std::vector<object::FindingRecord>& findings);

// The task that made the prediction; if the configuration has it no more, one that only bears its name.
config::TaskConfig find_task(const std::vector<config::TaskConfig>& tasks, const inference::Prediction& prediction);

}  // namespace node::report
