#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>

#include "dicom_node/node.h"
#include "dicom_node/object/map_calibration.h"
#include "dicom_node/object/map_percentiles.h"
#include "dicom_node/operate/commands/analysed_image.h"
#include "dicom_node/operate/commands/commands.h"

namespace node::operate {
namespace {

using config::TaskConfig;

// The errors of one body part's images.
struct Samples {
  std::vector<double> patch_errors, image_scores;
};

// The task to calibrate: the one that is named, else the only one that draws maps.
Result<TaskConfig> find_map_task(const std::vector<TaskConfig>& tasks, const std::string& name) {
  std::vector<TaskConfig> found;
  std::string names;
  for (const TaskConfig& task : tasks) {
    if (task.output != config::OutputKind::kAnomalyMap || (!name.empty() && task.name != name)) continue;
    found.push_back(task);
    names += " " + task.name;
  }
  if (found.size() == 1) return found.front();
  if (!name.empty()) return invalid_argument("--task " + name + ": no task of that name draws anomaly maps");
  if (found.empty()) return invalid_argument("the configuration has no task with output anomaly_map");
  return invalid_argument("several tasks draw anomaly maps; name one with --task:" + names);
}

class Calibration {
 public:
  Calibration(const TaskConfig& task, const route::Router& router, inference::Predictor& predictor)
      : task_(task), router_(router), predictor_(predictor) {}

  // Routes an image and asks for its map, if its route does. What is no image of the task is counted by its reason.
  void submit(const InputPath& input) {
    auto image = read_image(input.path, router_);
    if (!image.ok()) return set_aside(input, image.status(), unreadable_is_failure(input));
    if (!image->record.route.pending.empty()) {  // A reference of a body part holds what certainly shows it.
      ++set_aside_["the header does not say the body part"];
      return;
    }
    std::vector<std::string>& tasks = image->record.route.tasks;
    if (std::find(tasks.begin(), tasks.end(), task_.name) == tasks.end()) {
      const std::string& reason = image->record.route.reason;
      ++set_aside_[reason.empty() ? "rule " + image->record.route.rule + " does not ask for " + task_.name : reason];
      return;
    }
    if (!seen_.insert(image->record.sop_instance_uid.str()).second) {
      ++set_aside_["an instance that was there before"];
      return;
    }
    tasks = {task_.name};
    pending_.push_back({input, image->record.route.body_part, submit_image(*image, tasks, predictor_)});
  }

  std::size_t out() const { return pending_.size(); }

  // Waits for the oldest answer and takes its errors.
  void finish_oldest() {
    Pending oldest = std::move(pending_.front());
    pending_.pop_front();
    const auto answer = oldest.analysis.get();
    if (!answer.ok())
      return set_aside(oldest.input, answer.status(), answer.status().code() != StatusCode::kUnsupported);
    Samples& samples = samples_[oldest.body_part];
    for (const object::FindingRecord& finding : *answer) {
      const inference::AnomalyMap& map = finding.prediction.map;
      const std::vector<double> errors = object::patch_errors(map);
      samples.patch_errors.insert(samples.patch_errors.end(), errors.begin(), errors.end());
      samples.image_scores.push_back(map.score);
    }
  }

  // What was found, by body part. Says on standard output what is in and what is left out.
  object::MapCalibration result(const inference::TaskInfo& served, std::size_t images_min) const {
    object::MapCalibration calibration;
    calibration.model = served.model;
    calibration.model_digest = served.model_digest;
    calibration.mode = object::to_string(task_.mode);
    calibration.passes = task_.passes;
    const std::vector<double> levels = object::quantile_levels();
    for (const auto& [body_part, samples] : samples_) {
      const std::size_t images = samples.image_scores.size();
      if (body_part.empty() || images < images_min) {
        fmt::print("{}: {} images, left out: {}\n", body_part.empty() ? "no body part" : body_part, images,
                   body_part.empty() ? "nothing names the body part" : fmt::format("fewer than {}", images_min));
        continue;
      }
      fmt::print("{}: {} images\n", body_part, images);
      calibration.body_parts[body_part] = {.digest = "",
                                           .body_part = body_part,
                                           .images = static_cast<std::int64_t>(images),
                                           .levels = levels,
                                           .patch_error = object::quantiles(samples.patch_errors, levels),
                                           .image_score = object::quantiles(samples.image_scores, levels)};
    }
    for (const auto& [reason, count] : set_aside_) fmt::print("not used: {}: {}\n", count, reason);
    return calibration;
  }

  bool failed() const { return failed_; }

 private:
  struct Pending {
    InputPath input;
    std::string body_part;
    PendingAnalysis analysis;
  };

  void set_aside(const InputPath& input, const Status& why, bool is_failure) {
    ++set_aside_[is_failure ? "failed, named above" : "no radiograph that can be analysed"];
    if (!is_failure) return;
    failed_ = true;
    fmt::print(stderr, "skelex-node: {}: {}\n", input.path, why.message());
  }

  const TaskConfig& task_;
  const route::Router& router_;
  inference::Predictor& predictor_;
  std::set<std::string> seen_;  // SOP Instance UIDs: the same image twice is one image.
  std::deque<Pending> pending_;
  std::map<std::string, Samples> samples_;  // By body part.
  std::map<std::string, int> set_aside_;    // By reason.
  bool failed_ = false;
};

// Whole or not at all: a reader never sees half a file.
Status write_whole(const std::filesystem::path& path, const std::string& text) {
  const std::filesystem::path part = path.string() + ".part";
  std::ofstream file(part, std::ios::binary | std::ios::trunc);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(part, path, error);
  return file && !error ? ok_status() : internal_error("write " + path.string());
}

int refuse(const Status& status, int exit) {
  fmt::print(stderr, "skelex-node: {}\n", status.message());
  return exit;
}

}  // namespace

int calibrate(const config::NodeConfig& config, const PredictorFactory& open_predictor, const std::string& out,
              std::size_t images_min, const std::string& task_name, const std::vector<std::string>& paths) {
  auto task = find_map_task(config.inference.tasks, task_name);
  auto router = route::Router::create(config.router, task_names(config.inference));
  auto inputs = expand_paths(paths);
  for (const Status& status : {task.status(), router.status(), inputs.status()}) {
    if (!status.ok()) return refuse(status, 2);
  }
  // The map alone, without the calibration that it may have and that is to be made anew.
  task->calibration.clear();
  config::InferenceConfig alone = config.inference;
  alone.tasks = {*task};
  std::erase_if(alone.models, [&](const config::ModelConfig& model) { return model.name != task->model; });
  auto predictor = open_predictor(alone);
  if (!predictor.ok()) return refuse(predictor.status(), exit_status(predictor.status()));

  Calibration calibration(*task, *router, **predictor);
  const std::size_t ahead = requests_ahead(config.inference);
  const bool progress = isatty(STDERR_FILENO) == 1;
  for (std::size_t i = 0; i < inputs->size(); ++i) {
    if (calibration.out() >= ahead) calibration.finish_oldest();
    calibration.submit((*inputs)[i]);
    if (progress) fmt::print(stderr, "\r{} of {} files", i + 1 - calibration.out(), inputs->size());
  }
  while (calibration.out() > 0) {
    calibration.finish_oldest();
    if (progress) fmt::print(stderr, "\r{} of {} files", inputs->size() - calibration.out(), inputs->size());
  }
  if (progress) fmt::print(stderr, "\n");

  const object::MapCalibration result = calibration.result((*predictor)->tasks().front(), images_min);
  if (result.body_parts.empty())
    return refuse(invalid_argument(fmt::format("no body part has {} images: {} is not written", images_min, out)), 1);
  if (Status written = write_whole(out, object::encode_map_calibration(result)); !written.ok())
    return refuse(written, 1);
  fmt::print("written: {}; name it in tasks.{}.calibration\n", out, task->name);
  return calibration.failed() ? 1 : 0;
}

}  // namespace node::operate
