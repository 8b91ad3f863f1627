// skelex-waiting-node: the node, with a device that only waits: each image takes it so many seconds, one after the
// other, and every label gets 0.5. For tools/benchmark/store_and_forward: what intake suffers from a slow analysis,
// without what it suffers from an engine on its own cores.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "config/base/mutex.h"
#include "config/node_config.h"
#include "dicom_node/operate/commands/commands.h"
#include "dicom_node/operate/logging.h"
#include "dicom_node/receive/dcmtk_setup.h"

namespace {

using node::inference::AnalysisRequest;
using node::inference::Prediction;
using Done = std::function<void(node::Result<std::vector<Prediction>>)>;

class WaitingPredictor : public node::inference::Predictor {
 public:
  WaitingPredictor(std::vector<node::config::TaskConfig> tasks, std::chrono::duration<double> per_image)
      : tasks_(std::move(tasks)), per_image_(per_image), worker_([this] { run(); }) {}
  ~WaitingPredictor() override {
    {
      node::MutexLock lock(mutex_);
      ended_ = true;
      changed_.notify_all();
    }
    worker_.join();
  }

  std::vector<node::inference::TaskInfo> tasks() const override {
    std::vector<node::inference::TaskInfo> tasks;
    for (const auto& task : tasks_) {
      node::inference::TaskInfo info;
      info.task = task.name;
      info.model = info.model_version = "waiting";
      info.labels = task.labels;
      tasks.push_back(std::move(info));
    }
    return tasks;
  }

  void submit(AnalysisRequest request, Done done) override {
    node::MutexLock lock(mutex_);
    waiting_.emplace_back(std::move(request.tasks), std::move(done));
    ++stats_.requests;
    stats_.waiting = std::ssize(waiting_);
    changed_.notify_all();
  }

  node::inference::PredictorStats stats() const override {
    node::MutexLock lock(mutex_);
    return stats_;
  }

 private:
  void run() {
    while (true) {
      std::pair<std::vector<std::string>, Done> next;
      {
        node::MutexLock lock(mutex_);
        changed_.wait(lock, [this]() NO_THREAD_SAFETY_ANALYSIS { return ended_ || !waiting_.empty(); });
        if (waiting_.empty()) return;
        next = std::move(waiting_.front());
        waiting_.pop_front();
        stats_.waiting = std::ssize(waiting_);
      }
      std::this_thread::sleep_for(per_image_);
      next.second(answer(next.first));
    }
  }

  std::vector<Prediction> answer(const std::vector<std::string>& names) const {
    std::vector<Prediction> predictions;
    for (const std::string& name : names) {
      Prediction prediction;
      prediction.task = name;
      prediction.model = prediction.model_version = "waiting";
      prediction.model_digest = "sha256:" + std::string(64, '0');
      for (const auto& task : tasks_) {
        if (task.name != name) continue;
        for (const std::string& label : task.labels) prediction.scores.push_back({.label = label, .value = 0.5});
      }
      predictions.push_back(std::move(prediction));
    }
    return predictions;
  }

  const std::vector<node::config::TaskConfig> tasks_;
  const std::chrono::duration<double> per_image_;
  mutable node::Mutex mutex_;
  node::ConditionVariable changed_;
  std::deque<std::pair<std::vector<std::string>, Done>> waiting_ GUARDED_BY(mutex_);
  node::inference::PredictorStats stats_ GUARDED_BY(mutex_);
  bool ended_ GUARDED_BY(mutex_) = false;
  std::thread worker_;  // The last, so that it finds the rest.
};

}  // namespace

int main(int argc, char** argv) {
  std::string config_file;
  double seconds = 0;
  std::vector<std::string> settings;
  CLI::App app("The node on a device that only waits, for measurements.");
  app.add_option("--config", config_file, "The configuration file")->required();
  app.add_option("--set", settings, "key.path=value overrides one key of the file")->allow_extra_args(false);
  app.add_option("--seconds", seconds, "That each image takes")->required()->check(CLI::Range(0.0, 3600.0));
  CLI11_PARSE(app, argc, argv);

  ::setenv("TCP_NODELAY", "1", 0);  // DCMTK reads it at each connection, as in skelex-node.
  std::vector<std::pair<std::string, std::string>> overrides;
  for (const std::string& setting : settings) {
    overrides.emplace_back(setting.substr(0, setting.find('=')), setting.substr(setting.find('=') + 1));
  }
  const auto read_config = [&] { return node::config::read_node_config(config_file, overrides, {}); };
  auto config = read_config();
  if (!config.ok()) {
    fmt::print(stderr, "{}\n", config.status().message());
    return 2;
  }
  config->report.node_version = "benchmark";
  node::operate::configure_logging(config->log);
  node::receive::configure_dcmtk(config->receive.dimse_timeout);
  return node::operate::serve(
      *config,
      [&](const node::config::InferenceConfig& inference) -> node::Result<std::unique_ptr<node::inference::Predictor>> {
        return std::unique_ptr<node::inference::Predictor>(
            std::make_unique<WaitingPredictor>(inference.tasks, std::chrono::duration<double>(seconds)));
      },
      read_config);
}
