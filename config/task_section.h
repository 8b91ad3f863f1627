// What of node.yaml is the engine's: models and tasks.
//
// Guarantee: every mistake is noted with its place; a task's model exists, and what it waits for (`when`) is a task
// that
//            exists, has that label and does not wait for it in turn.
// Threads:   one at a time.
#pragma once

#include <string>
#include <vector>

#include "config/router_section.h"
#include "config/task_config.h"

namespace node::config {

std::string device_problem(const std::string& device);  // Nothing if it is a word for a device.

void read_models(Section& root, const Context& context, std::vector<ModelConfig>& models);
// `names`: of the body parts.
void read_tasks(Section& root, const Context& context, const Names& names, const std::vector<ModelConfig>& models,
                std::vector<TaskConfig>& tasks);

}  // namespace node::config
