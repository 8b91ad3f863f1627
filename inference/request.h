// Request: one AnalysisRequest on its way: its items, one a queue, fill in predictions; the last one answers.
//
// Guarantee: `done` is called exactly once, when each item was finished once.
// Threads:   finish() from any device's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "config/base/mutex.h"
#include "config/base/status.h"
#include "inference/batcher.h"
#include "inference/model.h"
#include "inference/predictor.h"

namespace node::inference {

// Of one item: predictions by position in its request.
using Outcome = std::vector<std::pair<std::size_t, Prediction>>;

class Request {
 public:
  using Done = std::function<void(Result<std::vector<Prediction>>)>;

  Request(std::vector<const Task*> tasks, std::uint64_t seed, std::size_t items, Done done);

  const Task& task(std::size_t position) const { return *tasks_[position]; }
  std::uint64_t seed() const { return seed_; }

  // One item's outcome, or why there is none. The last one answers, after `before_answer` heard whether it failed.
  void finish(Outcome outcome, const Status& status, const std::function<void(bool failed)>& before_answer);

 private:
  const std::vector<const Task*> tasks_;
  const std::uint64_t seed_;
  Mutex mutex_;
  // Guarded by mutex_ until open_items_ is zero; then the thread that made it so has them alone.
  std::vector<Prediction> predictions_;
  Status status_;
  std::size_t open_items_;
  const Done done_;
};

struct RequestItem : BatchItem {
  std::shared_ptr<Request> request;
  std::shared_ptr<const std::vector<float>> input;  // [3, S, S], as of Preprocessor::normalize().
  std::vector<std::size_t> positions;               // Of its tasks in the request; one for a map.

  const Task& first_task() const { return request->task(positions.front()); }
};

}  // namespace node::inference
