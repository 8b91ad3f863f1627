#include "inference/request.h"

#include <algorithm>
#include <cstdio>

#include "config/base/rounding.h"

namespace node::inference {
namespace {

const Score& score_of(const Prediction& gate, const config::TaskCondition& condition) {
  const auto found = std::find_if(gate.scores.begin(), gate.scores.end(),
                                  [&](const Score& score) { return score.label == condition.label; });
  return found == gate.scores.end() ? gate.scores.front() : *found;  // Without a label there is only one.
}

std::string number_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", value);
  return text;
}

// "tumour 0.12 below 0.5", "behaviour malignant 0.12 below 0.5"; more digits where two would not be below.
std::string below_text(const Prediction& gate, const config::TaskCondition& condition) {
  const Score& score = score_of(gate, condition);
  const std::string name = gate.task + (gate.scores.size() > 1 ? " " + score.label : "");
  const std::string value = fixed_text(score.value, digits_beside(score.value, 2, {condition.at_least}));
  return name + " " + value + " below " + number_text(condition.at_least);
}

}  // namespace

Request::Request(std::vector<const Task*> tasks, std::vector<Prediction> known, std::uint64_t seed, Submit submit,
                 Done done)
    : tasks_(std::move(tasks)),
      known_(std::move(known)),
      seed_(seed),
      submit_(std::move(submit)),
      done_(std::move(done)),
      predictions_(tasks_.size()),
      open_items_(tasks_.size()) {}

void Request::start(RequestItems items) {
  RequestItems ready;
  {
    MutexLock lock(mutex_);
    for (const auto& item : items) {
      for (const std::size_t position : item->positions) ++open_items_[position];
    }
    held_ = std::move(items);
    ready = take_ready();
  }
  const bool ended = ready.empty();
  go_on(std::move(ready), ended);
}

void Request::finish(const RequestItem& item, Outcome outcome, const Status& status) {
  RequestItems ready;
  bool ended = false;
  {
    MutexLock lock(mutex_);
    for (auto& [position, prediction] : outcome) predictions_[position] = std::move(prediction);
    for (const std::size_t position : item.positions) --open_items_[position];
    if (status_.ok()) status_ = status;
    if (!status_.ok()) held_.clear();
    --running_;
    ready = take_ready();
    ended = running_ == 0;  // What is held waits for something that runs.
  }
  go_on(std::move(ready), ended);
}

void Request::go_on(RequestItems ready, bool ended) {
  for (auto& item : ready) submit_(std::move(item));
  if (ended) answer();
}

// Counts them as running; drops those that nobody wants any more.
RequestItems Request::take_ready() {
  RequestItems ready;
  for (auto& item : held_) {
    const auto any = [&](Wanted wanted_now) {
      return std::any_of(item->positions.begin(), item->positions.end(),
                         [&](std::size_t position)
                             NO_THREAD_SAFETY_ANALYSIS { return wanted(position) == wanted_now; });
    };
    if (any(Wanted::kYes)) {
      ready.push_back(std::move(item));
    } else if (!any(Wanted::kNotYetKnown)) {
      for (const std::size_t position : item->positions) --open_items_[position];
      item.reset();
    }
  }
  std::erase(held_, nullptr);
  running_ += ready.size();
  return ready;
}

std::size_t Request::position_of(const std::string& name) const {
  const auto found =
      std::find_if(tasks_.begin(), tasks_.end(), [&](const Task* task) { return task->config.name == name; });
  return static_cast<std::size_t>(found - tasks_.begin());
}

const Prediction* Request::result_for(const std::string& name) const {
  const std::size_t position = position_of(name);
  if (position < tasks_.size()) return open_items_[position] == 0 ? &predictions_[position] : nullptr;
  const auto found =
      std::find_if(known_.begin(), known_.end(), [&](const Prediction& one) { return one.task == name; });
  return found == known_.end() ? nullptr : &*found;
}

Request::Wanted Request::wanted(std::size_t position) const {
  const auto& when = tasks_[position]->config.when;
  if (!when) return Wanted::kYes;
  const std::size_t gate_position = position_of(when->task);
  if (gate_position < tasks_.size()) {
    const Wanted gate_wanted = wanted(gate_position);
    if (gate_wanted != Wanted::kYes) return gate_wanted;
  }
  const Prediction* const gate = result_for(when->task);
  if (gate == nullptr) return Wanted::kNotYetKnown;
  if (!gate->not_asked.empty() || gate->scores.empty()) return Wanted::kNo;
  return score_of(*gate, *when).value >= when->at_least ? Wanted::kYes : Wanted::kNo;
}

std::string Request::why_not(std::size_t position) const {
  const config::TaskCondition& when = *tasks_[position]->config.when;
  const std::size_t gate_position = position_of(when.task);
  const bool gate_asked = gate_position == tasks_.size() || wanted(gate_position) == Wanted::kYes;
  const Prediction* const gate = result_for(when.task);
  if (!gate_asked || gate == nullptr || gate->scores.empty()) return when.task + " was not asked";
  return below_text(*gate, when);
}

void Request::answer() {
  if (!status_.ok()) return done_(status_);
  {
    MutexLock lock(mutex_);
    std::vector<std::pair<std::size_t, Prediction>> not_asked;
    for (std::size_t position = 0; position < tasks_.size(); ++position) {
      if (wanted(position) == Wanted::kYes) continue;
      not_asked.emplace_back(position, tasks_[position]->prediction());
      not_asked.back().second.not_asked = why_not(position);
    }
    for (auto& [position, prediction] : not_asked) predictions_[position] = std::move(prediction);
  }
  done_(std::move(predictions_));
}

}  // namespace node::inference
