#include <fmt/format.h>

#include "dicom_node/operate/commands/commands.h"
#include "dicom_node/operate/listing_json.h"

namespace node::operate {

int models(const config::NodeConfig& config, const PredictorFactory& open_predictor, bool json) {
  auto predictor = open_predictor(config.inference);
  if (!predictor.ok()) {
    fmt::print(stderr, "skelex-node: {}\n", predictor.status().message());
    return exit_status(predictor.status());
  }
  const std::vector<inference::TaskInfo> all = (*predictor)->tasks();
  for (const config::ModelConfig& model : config.inference.models) {
    if (json) {
      fmt::print("{}\n", model_json(model, all));
      continue;
    }
    std::string tasks;
    const inference::TaskInfo* any = nullptr;
    for (const inference::TaskInfo& task : all) {
      if (task.model != model.name) continue;
      any = &task;
      tasks += fmt::format("  task {}: {}\n", task.task,
                           task.labels.empty() ? "anomaly map" : fmt::format("{}", fmt::join(task.labels, ", ")));
    }
    if (any == nullptr) {
      fmt::print("{}: no task uses it\n", model.name);
    } else {
      fmt::print("{}: {:.1f} M parameters, {}, on {}, {}\n{}", model.name, any->parameters / 1e6, any->precision,
                 any->device, any->model_digest, tasks);
    }
  }
  return 0;
}

}  // namespace node::operate
