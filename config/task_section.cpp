#include "config/task_section.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <regex>
#include <set>
#include <tuple>
#include <utility>

#include "config/config_section.h"

namespace node::config {
namespace {

constexpr double kAnyNumber = std::numeric_limits<double>::max();

// One number, or two. A softmax names its likeliest label whatever its probability, unless told from where on.
void read_threshold(Section& section, TaskConfig& task) {
  const bool softmax = task.output == OutputKind::kSoftmax;
  if (softmax) task.threshold_doubtful = 0;
  const Value* value = section.get("threshold");
  if (value == nullptr) return;
  if (value->kind == Value::Kind::kScalar) {
    section.number("threshold", task.threshold_certain, 0, 1);
    if (!softmax) task.threshold_doubtful = task.threshold_certain;
    return;
  }
  Section threshold = section.section("threshold");
  if (threshold.broken()) return;
  threshold.require("doubtful", "a probability from 0 to 1");
  threshold.require("certain", "a probability from 0 to 1");
  const bool both = threshold.number("doubtful", task.threshold_doubtful, 0, 1) &&
                    threshold.number("certain", task.threshold_certain, 0, 1);
  if (both && task.threshold_doubtful > task.threshold_certain) {
    threshold.wrong("doubtful", "is above certain; a finding becomes doubtful first, certain later");
  }
}

// One code for each label, each another: two labels under one code would be one finding to whoever reads the report.
void read_label_codes(Section& section, TaskConfig& task) {
  section.codes("label_codes", task.label_codes);
  if (task.label_codes.empty()) return;
  if (task.label_codes.size() != task.labels.size()) {
    return section.wrong("label_codes", "holds " + std::to_string(task.label_codes.size()) + " codes for " +
                                            std::to_string(task.labels.size()) +
                                            " labels; one for each label is wanted");
  }
  std::set<std::pair<std::string, std::string>> seen;
  for (const Code& code : task.label_codes) {
    if (!seen.emplace(code.scheme, code.value).second) {
      section.wrong("label_codes", "holds " + in_quotes(code.value + "|" + code.scheme) + " for two labels");
    }
  }
}

// A label stands in code meanings (VR LO), on pictures and in messages. Control characters are refused in every text.
std::string written_label_problem(const std::string& label) {
  if (characters(label) > 64) return in_quotes(label) + " has more than 64 characters";
  if (label.find('\\') != std::string::npos) return in_quotes(label) + " holds a backslash, where DICOM ends a value";
  static const std::regex kBreak("\xC2[\x80-\x9F]|\xE2\x80[\xA8\xA9]");  // Controls and line breaks beyond ASCII.
  if (std::regex_search(label, kBreak)) return in_quotes(label) + " holds control characters";
  static const std::regex kBlank("([ \t]|\xC2\xA0|\xE2\x80[\x80-\x8F\xAF]|\xE3\x80\x80|\xEF\xBB\xBF)*");
  return std::regex_match(label, kBlank) ? "holds a blank label; text is wanted" : "";
}

void read_when(Section when, TaskConfig& task) {
  TaskCondition condition;
  if (when.broken()) return;
  when.require("task", "the name of a task");
  when.require("at_least", "the score from which on this task is asked");
  when.text("label", condition.label);
  const bool both =
      when.text("task", condition.task) && when.number("at_least", condition.at_least, -kAnyNumber, kAnyNumber);
  if (both) task.when = condition;
}

void read_slice(Section slice, TaskConfig& task) {
  slice.integer("first", task.logits_first, 0, 100'000);
  slice.integer("count", task.logits_count, 1, 100'000);
  const auto count = static_cast<std::size_t>(task.logits_count);
  if (count != 0 && !task.labels.empty() && task.labels.size() != count) {
    slice.wrong("count",
                "is " + std::to_string(count) + ", but there are " + std::to_string(task.labels.size()) + " labels");
  }
}

// The head's 38 logits make these scores and no others; a site may call them what it likes.
void read_regions(Section& section, const Words& models, TaskConfig& task) {
  section.refuse("slice", "means nothing for output regions, which reads all logits of its head");
  if (task.labels.empty()) task.labels = kRegionScores;
  if (task.labels.size() != kRegionScores.size()) {
    section.wrong("labels", "holds " + std::to_string(task.labels.size()) + " for " +
                                std::to_string(kRegionScores.size()) + " scores: " + join(kRegionScores, ", "));
  }
  RegionSelection& selection = task.region_selection;
  if (section.text("detector", selection.detector) &&
      std::find(models.begin(), models.end(), selection.detector) == models.end()) {
    section.wrong("detector",
                  "no model named " + in_quotes(selection.detector) + suggestion(selection.detector, models));
  }
  Section regions = section.section("regions");
  if (selection.detector.empty()) {
    for (const char* key : {"score_min", "overlap_max", "count_max"})
      regions.refuse(key, "is for a detector's boxes, and there is no detector");
  }
  const auto share = [&](const char* key, std::optional<double>& value) {
    if (double number = 0; regions.number(key, number, 0, 1)) value = number;
  };
  share("score_min", selection.score_min);
  share("overlap_max", selection.overlap_max);
  regions.integer("count_max", selection.count_max, 1, 300);
}

// A label that is none of the task's would never be seen; those of the checkpoint are not known here.
void read_negative_labels(Section& section, TaskConfig& task) {
  section.words("negative_labels", task.negative_labels, [&](const std::string& label) {
    if (task.labels.empty() || std::find(task.labels.begin(), task.labels.end(), label) != task.labels.end())
      return std::string();
    return "no label " + in_quotes(label) + suggestion(label, task.labels);
  });
}

// Of a film of both sides each half is an image to a task of one side. What waits, or is waited for, has one answer.
void read_bilateral(Section& section, TaskConfig& task) {
  section.choice("bilateral", task.split, {{"out_of_scope", false}, {"split", true}});
  if (!task.split) return;
  const auto one_side = [](const std::string& side) { return side == "R" || side == "L"; };
  if (task.laterality.empty() || !std::all_of(task.laterality.begin(), task.laterality.end(), one_side)) {
    section.wrong("bilateral", "is split, but the task is not of one side; laterality: [R, L] is wanted");
  }
  if (task.output == OutputKind::kAnomalyMap || task.regions) {
    section.wrong("bilateral", "is split, which is for output sigmoid, softmax and regression only");
  }
  if (task.when) section.wrong("bilateral", "is split, but the task waits for another, which reads the whole film");
}

TaskConfig read_task(const std::string& name, Section& section, const Context& context, const Names& names,
                     const Words& models) {
  TaskConfig task;
  task.name = name;
  task.origin = section.origin().text();
  section.require("model", "the name of one of models");
  if (section.text("model", task.model) && std::find(models.begin(), models.end(), task.model) == models.end()) {
    section.wrong("model", "no model named " + in_quotes(task.model) + suggestion(task.model, models));
  }
  section.require("output", "sigmoid or softmax or regression or anomaly_map or regions is wanted");
  std::pair output{task.output, task.regions};
  section.choice("output", output,
                 {{"sigmoid", {OutputKind::kSigmoid, false}},
                  {"softmax", {OutputKind::kSoftmax, false}},
                  {"regression", {OutputKind::kRegression, false}},
                  {"anomaly_map", {OutputKind::kAnomalyMap, false}},
                  {"regions", {OutputKind::kSigmoid, true}}});
  std::tie(task.output, task.regions) = output;
  section.code("code", task.code);
  section.words("views", task.views);
  for (std::string& view : task.views) view = upper(view);
  section.words("body_parts", task.body_parts, [&](const std::string& name) { return names.body_part_problem(name); });
  for (std::string& part : task.body_parts) part = upper(part);
  section.words("laterality", task.laterality, laterality_problem);
  for (std::string& side : task.laterality) side = upper(side);
  read_age(section.section("age"), task.age_years_min, task.age_years_max);
  if (section.get("when") != nullptr) read_when(section.section("when"), task);

  read_bilateral(section, task);

  const bool anomaly_map = task.output == OutputKind::kAnomalyMap;
  if (anomaly_map) {
    for (const char* key : {"labels", "slice", "detector", "regions"})
      section.refuse(key, "means nothing for an anomaly_map, which has no logits");
    section.integer("passes", task.passes, 1, 64);
    section.choice("mode", task.mode, {{"partition", MaskMode::kPartition}, {"random", MaskMode::kRandom}});
    if (task.mode == MaskMode::kPartition && task.passes % 4 != 0) {
      section.wrong("passes",
                    "is " + std::to_string(task.passes) +
                        "; a multiple of 4 is wanted for mode partition, which hides every patch equally often");
    }
    section.number("map_scale_max", task.map_scale_max, 1e-9, kAnyNumber);
    if (section.text("calibration", task.calibration)) task.calibration = context.resolve(task.calibration);
  } else {
    for (const char* key : {"passes", "mode", "map_scale_max", "calibration"})
      section.refuse(key, "is for output anomaly_map only");
    section.words("labels", task.labels, written_label_problem);
    if (task.regions) {
      read_regions(section, models, task);
    } else {
      for (const char* key : {"detector", "regions"}) section.refuse(key, "is for output regions only");
      read_slice(section.section("slice"), task);
    }
  }
  if (task.output == OutputKind::kSigmoid || task.output == OutputKind::kSoftmax) {
    read_threshold(section, task);
    read_label_codes(section, task);
  } else {
    section.refuse("threshold", "is for output sigmoid and softmax only");
    section.refuse("label_codes", "is for output sigmoid and softmax only; use code");
  }
  if (task.output == OutputKind::kSoftmax) {
    read_negative_labels(section, task);
  } else {
    section.refuse("negative_labels", "is for output softmax only; a sigmoid is negative below its threshold");
  }
  const Value* const labels = section.get("labels");  // As written: one given twice is another mistake.
  const bool one_label = labels != nullptr && task.labels.size() == 1 && labels->entries.size() <= 1;
  if (task.output == OutputKind::kSoftmax && (one_label || task.logits_count == 1)) {
    section.wrong("output", "is softmax, which is always 1 for one label; sigmoid is wanted");
  }
  if (task.output == OutputKind::kRegression) {
    section.text("unit", task.unit, 16);
    section.number("scale", task.scale, -kAnyNumber, kAnyNumber);
    if (task.scale == 0) section.wrong("scale", "is 0, which makes every value the same");
    section.number("offset", task.offset, -kAnyNumber, kAnyNumber);
  } else {
    for (const char* key : {"unit", "scale", "offset"}) section.refuse(key, "is for output regression only");
  }
  return task;
}

// --- when ------------------------------------------------------------------------------------------------------------

const TaskConfig* find(const std::vector<TaskConfig>& tasks, const std::string& name) {
  const auto found =
      std::find_if(tasks.begin(), tasks.end(), [&](const TaskConfig& task) { return task.name == name; });
  return found == tasks.end() ? nullptr : &*found;
}

// "a after b after a", if the tasks before `task` lead back to it; the walk ends where a name was seen before.
std::string cycle_of(const std::vector<TaskConfig>& tasks, const TaskConfig& task) {
  std::string text = task.name;
  std::set<std::string> seen{task.name};
  for (const TaskConfig* at = &task; at != nullptr && at->when; at = find(tasks, at->when->task)) {
    text += " after " + at->when->task;
    if (at->when->task == task.name) return text;
    if (!seen.insert(at->when->task).second) return "";
  }
  return "";
}

// What only all tasks together show: that the other exists, has such a label, and does not wait for this one.
void check_when(Section section, const std::vector<TaskConfig>& tasks, const TaskConfig& task) {
  Words names;
  for (const TaskConfig& other : tasks) names.push_back(other.name);
  const TaskConfig* const other = find(tasks, task.when->task);
  for (const char* key : {"task", "label", "at_least"}) section.get(key);  // Read before: not unknown to this reader.
  if (other == nullptr) {
    return section.wrong("task", "no task named " + in_quotes(task.when->task) + suggestion(task.when->task, names));
  }
  if (other->output == OutputKind::kAnomalyMap) {
    return section.wrong("task", in_quotes(other->name) + " is an anomaly_map, of which no decision is made");
  }
  if (other->split) {
    return section.wrong("task",
                         in_quotes(other->name) + " is split on films of both sides, and has two answers there");
  }
  if (const std::string problem = at_least_problem(*task.when, *other); !problem.empty()) {
    section.wrong("at_least", problem);
  }
  if (const std::string cycle = cycle_of(tasks, task); !cycle.empty()) {
    return section.wrong("task", "is a circle: " + cycle + "; none of them would ever be asked");
  }
  if (other->labels.empty()) return;  // The checkpoint's; the engine knows them.
  if (const std::string problem = label_problem(*task.when, other->labels); !problem.empty()) {
    section.wrong("label", problem);
  }
}

}  // namespace

std::string device_problem(const std::string& device) {
  static const std::regex kDevice("auto|cpu|cuda(:[0-9]{1,2})?");
  return std::regex_match(device, kDevice) ? "" : "is " + in_quotes(device) + "; auto, cpu, cuda or cuda:1 is wanted";
}

void read_models(Section& root, const Context& context, std::vector<ModelConfig>& models) {
  root.each("models", [&](const std::string& name, Section& section) {
    ModelConfig model;
    model.name = name;
    section.require("path", "the folder of a HuggingFace checkpoint is wanted");
    if (section.text("path", model.path)) model.path = context.resolve(model.path);
    section.choice("precision", model.precision,
                   {{"auto", Precision::kAuto}, {"float32", Precision::kFloat32}, {"bfloat16", Precision::kBfloat16}});
    static const std::regex kSha256("[0-9a-f]{64}");
    if (section.text("sha256", model.sha256) && !std::regex_match(model.sha256, kSha256)) {
      section.wrong("sha256", "is " + in_quotes(model.sha256) + "; the 64 hex digits of sha256sum are wanted");
    }
    section.words("device", model.devices, device_problem);
    models.push_back(std::move(model));
  });
}

void read_tasks(Section& root, const Context& context, const Names& names, const std::vector<ModelConfig>& models,
                std::vector<TaskConfig>& tasks) {
  Words model_names;
  for (const ModelConfig& model : models) model_names.push_back(model.name);
  root.each("tasks", [&](const std::string& name, Section& section) {
    tasks.push_back(read_task(name, section, context, names, model_names));
  });
  const Value* const written = root.get("tasks");
  for (const TaskConfig& task : tasks) {
    if (!task.when) continue;
    const Value& entry = *written->find(task.name);
    check_when({context.mistakes, entry.find("when"), "tasks." + task.name + ".when", entry.origin}, tasks, task);
  }
}

}  // namespace node::config
