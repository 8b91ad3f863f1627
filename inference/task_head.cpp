#include "inference/task_head.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "inference/readable.h"
#include "inference/region_head.h"

namespace node::inference {
namespace {

double sigmoid(double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }

// The checkpoint says itself which logit means what: a list in another order would give every finding a wrong name. A
// label that the checkpoint does not know is a new name, for which the site answers.
Status check_order(const std::vector<std::string>& labels, const std::vector<std::string>& all, int first) {
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const std::size_t logit = static_cast<std::size_t>(first) + i;
    const auto known = std::find(all.begin(), all.end(), labels[i]);
    if (known == all.end() || all[logit] == labels[i]) continue;
    return invalid_argument("labels: '" + labels[i] + "' stands for logit " + std::to_string(logit) +
                            ", but in id2label of the checkpoint it is logit " + std::to_string(known - all.begin()) +
                            ", and " + std::to_string(logit) + " is '" + all[logit] + "'");
  }
  return ok_status();
}

// Of a checkpoint's own labels; the configuration's were looked at when it was read.
Status check_names(const TaskHead& head, const std::string& model) {
  for (std::size_t i = 0; i < head.labels.size(); ++i) {
    const std::string why = why_no_label(head.labels[i]);
    if (why.empty()) continue;
    return invalid_argument("id2label in config.json of model " + model + ": \"" +
                            std::to_string(static_cast<std::size_t>(head.first) + i) + "\": the name \"" +
                            readable(head.labels[i], 80) + "\" " + why +
                            ": no report can hold it; change it there, or give the task `labels`");
  }
  return ok_status();
}

// Its logits are the published 38, whatever a site calls the scores that are made of them.
Result<TaskHead> region_task_head(const config::TaskConfig& task, const std::vector<std::string>& all) {
  if (all.size() != kRegionLogits) {
    return invalid_argument("output: regions needs a head of " + std::to_string(kRegionLogits) +
                            " logits, the checkpoint of model " + task.model + " has " + std::to_string(all.size()));
  }
  NODE_RETURN_IF_ERROR(check_order(region_head_labels(), all, 0).within("output: regions"));
  const TaskHead head{0, kRegionLogits, task.labels.empty() ? config::kRegionScores : task.labels};
  if (head.labels.size() == config::kRegionScores.size()) return head;
  return invalid_argument("labels: output regions has " + std::to_string(config::kRegionScores.size()) +
                          " scores, not " + std::to_string(head.labels.size()));
}

}  // namespace

Result<TaskHead> task_head(const config::TaskConfig& task, const NetworkConfig& network) {
  if (network.architecture != Architecture::kImageClassification) {
    return invalid_argument("model " + task.model + " is a masked autoencoder and has no classifier");
  }
  const std::vector<std::string>& all = network.labels;
  const auto logits = static_cast<int>(all.size());
  if (task.regions) return region_task_head(task, all);
  const bool sliced = task.logits_count > 0 || task.logits_first > 0;
  TaskHead head;
  head.first = task.logits_first;
  head.count = task.logits_count > 0 ? task.logits_count : logits - head.first;
  if (head.first < 0 || head.first >= logits || head.count < 1 || head.count > logits - head.first) {
    return invalid_argument("slice: logits from " + std::to_string(head.first) +
                            (task.logits_count > 0 ? ", " + std::to_string(task.logits_count) + " of them" : "") +
                            ": the checkpoint of model " + task.model + " has " + std::to_string(logits));
  }
  head.labels = task.labels;
  if (head.labels.empty()) {
    head.labels.assign(all.begin() + head.first, all.begin() + head.first + head.count);
    NODE_RETURN_IF_ERROR(check_names(head, task.model));
  }
  if (static_cast<int>(head.labels.size()) != head.count) {
    return invalid_argument(std::to_string(head.labels.size()) + " labels, but the checkpoint of model " + task.model +
                            " has " + std::to_string(head.count) +
                            (sliced ? " logits in this task's slice" : " logits"));
  }
  NODE_RETURN_IF_ERROR(check_order(head.labels, all, head.first));
  if (task.output == config::OutputKind::kSoftmax && head.count == 1) {
    return invalid_argument("output: a softmax over one logit is always 1; sigmoid is wanted");
  }
  return head;
}

std::vector<Score> scores_of(const config::TaskConfig& task, const TaskHead& head, std::span<const float> logits) {
  if (task.regions) return region_scores(head.labels, logits);
  double greatest = logits.front(), sum = 0;
  for (const float logit : logits) greatest = std::max<double>(greatest, logit);
  for (const float logit : logits) sum += std::exp(logit - greatest);
  std::vector<Score> scores;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    Score score{head.labels[i], 0, "1"};
    switch (task.output) {
      case config::OutputKind::kSigmoid: score.value = sigmoid(logits[i]); break;
      case config::OutputKind::kSoftmax: score.value = std::exp(logits[i] - greatest) / sum; break;
      case config::OutputKind::kRegression:
        score.value = logits[i] * task.scale + task.offset;
        score.unit = task.unit;
        break;
      case config::OutputKind::kAnomalyMap: break;  // Has no logits.
    }
    scores.push_back(std::move(score));
  }
  return scores;
}

}  // namespace node::inference
