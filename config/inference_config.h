// InferenceConfig: the `inference:`, `models:` and `tasks:` of node.yaml, for the engine.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "config/task_config.h"

namespace node::config {

struct InferenceConfig {
  std::string device = "auto";                // Of models that name none: auto, cpu, cuda (every GPU), cuda:1
  int threads = 0;                            // CPU threads of one device; 0: one per core.
  int batch_rows_max = 16;                    // Rows of one forward pass. 1 to 1024.
  std::chrono::milliseconds batch_delay{20};  // A batch that is not full waits at most so long for more.
  int in_flight_max = 0;                      // Requests out at once; 0: twice batch_rows_max.
  std::vector<ModelConfig> models;
  std::vector<TaskConfig> tasks;
  bool operator==(const InferenceConfig&) const = default;
};

}  // namespace node::config
