// TaskHead: which logits of its model are a task's, and what they mean.
//
// Threads: any.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "config/base/status.h"
#include "config/task_config.h"
#include "inference/network_config.h"
#include "inference/predictor.h"

namespace node::inference {

struct TaskHead {
  int first = 0, count = 0;         // Of the model's logits.
  std::vector<std::string> labels;  // One each: the task's, else the checkpoint's.
};

// Errors: kInvalidArgument naming the key: a slice outside the logits, labels that are not one for each, or that the
//         checkpoint has at another logit; a softmax over a single logit, whose answer is always 1; no classifier at
//         all.
Result<TaskHead> task_head(const config::TaskConfig& task, const NetworkConfig& network);

// `logits`: of the head alone.
std::vector<Score> scores_of(const config::TaskConfig& task, const TaskHead& head, std::span<const float> logits);

}  // namespace node::inference
