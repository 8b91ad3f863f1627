#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "dicom_node/operate/commands/commands.h"

namespace node::operate {

int models(const config::NodeConfig& config, const PredictorFactory& open_predictor, bool json) {
  auto predictor = open_predictor(config.inference);
  if (!predictor.ok()) {
    fmt::print(stderr, "skelex-node: {}\n", predictor.status().message());
    return exit_status(predictor.status());
  }
  for (const config::ModelConfig& model : config.inference.models) {
    nlohmann::ordered_json entry = {{"model", model.name}, {"path", model.path}, {"tasks", nlohmann::json::array()}};
    std::string tasks;
    for (const inference::TaskInfo& task : (*predictor)->tasks()) {
      if (task.model != model.name) continue;
      entry["tasks"].push_back({{"task", task.task}, {"labels", task.labels}, {"unit", task.unit}});
      entry["parameters"] = task.parameters;
      entry["precision"] = task.precision;
      entry["device"] = task.device;
      entry["digest"] = task.model_digest;
      tasks += fmt::format("  task {}: {}\n", task.task,
                           task.labels.empty() ? "anomaly map" : fmt::format("{}", fmt::join(task.labels, ", ")));
    }
    if (json) {
      fmt::print("{}\n", entry.dump());
    } else if (tasks.empty()) {
      fmt::print("{}: no task uses it\n", model.name);
    } else {
      fmt::print("{}: {:.1f} M parameters, {}, on {}, {}\n{}", model.name,
                 entry["parameters"].get<std::int64_t>() / 1e6, entry["precision"].get<std::string>(),
                 entry["device"].get<std::string>(), entry["digest"].get<std::string>(), tasks);
    }
  }
  return 0;
}

}  // namespace node::operate
