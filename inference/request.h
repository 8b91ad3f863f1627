// Request: one AnalysisRequest on its way: its items, one a queue, fill in predictions; the last one answers.
//
// Guarantee: `done` is called exactly once, when every item was finished or is not needed. An item of which all tasks
//            wait for others (`when`) is handed on once one of them is to be asked, and dropped once none is; a task
//            that is not to be asked has no result but why, also where its numbers came with a pass that others needed.
// Threads:   start() once; finish() from any device's thread; `submit` and `done` are called without a lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "config/base/mutex.h"
#include "config/base/status.h"
#include "inference/batcher.h"
#include "inference/detector_input.h"
#include "inference/model.h"
#include "inference/predictor.h"

namespace node::inference {

class Request;

struct RequestItem : BatchItem {
  std::shared_ptr<Request> request;
  int queue = 0;
  std::shared_ptr<const std::vector<float>> input;  // [3, S, S], as of Preprocessor::normalize().
  std::shared_ptr<const FittedImage> fitted;        // In its place, of a detection.
  std::vector<std::size_t> positions;               // Of its tasks in the request; one for a map.

  const Task& first_task() const;
};
using RequestItems = std::vector<std::unique_ptr<RequestItem>>;

// Of one item: predictions by position in its request.
using Outcome = std::vector<std::pair<std::size_t, Prediction>>;

class Request {
 public:
  using Submit = std::function<void(std::unique_ptr<RequestItem>)>;
  using Done = std::function<void(Result<std::vector<Prediction>>)>;

  // `known`: predictions of an earlier request about the same image. Every task that one of `tasks` waits for is in
  // either.
  Request(std::vector<const Task*> tasks, std::vector<Prediction> known, std::uint64_t seed, Submit submit, Done done);

  const Task& task(std::size_t position) const { return *tasks_[position]; }
  std::uint64_t seed() const { return seed_; }

  void start(RequestItems items);
  // One item's outcome, or why there is none. The last one answers.
  void finish(const RequestItem& item, Outcome outcome, const Status& status);

 private:
  enum class Wanted { kYes, kNo, kNotYetKnown };

  const Prediction* result_for(const std::string& task) const REQUIRES(mutex_);  // Null while it is not known.
  Wanted wanted(std::size_t position) const REQUIRES(mutex_);
  std::string why_not(std::size_t position) const REQUIRES(mutex_);
  std::size_t position_of(const std::string& task) const;  // tasks_.size(): none.
  RequestItems take_ready() REQUIRES(mutex_);
  void go_on(RequestItems ready, bool ended);
  void answer();

  const std::vector<const Task*> tasks_;
  const std::vector<Prediction> known_;
  const std::uint64_t seed_;
  const Submit submit_;
  const Done done_;
  Mutex mutex_;
  // Guarded until nothing is held or running; then the thread that made it so has them alone.
  std::vector<Prediction> predictions_;
  std::vector<int> open_items_;  // By position: held or running items that carry it.
  Status status_;
  RequestItems held_ GUARDED_BY(mutex_);
  std::size_t running_ GUARDED_BY(mutex_) = 0;
};

inline const Task& RequestItem::first_task() const { return request->task(positions.front()); }

}  // namespace node::inference
