// FakePredictor: answers every request at once or when the test says so, with numbers that the test can predict.
//
// The probability of each task is the mean of the radiograph's pixels; the task "anomaly" draws a map, all that mean.
#pragma once

#include <deque>
#include <functional>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "config/base/mutex.h"
#include "inference/predictor.h"

namespace node::fakes {

class FakePredictor : public inference::Predictor {
 public:
  // `answer_at_once` false: requests wait until answer_all() is called.
  explicit FakePredictor(bool answer_at_once = true) : answer_at_once_(answer_at_once) {}
  ~FakePredictor() override { answer_all(); }

  std::vector<inference::TaskInfo> tasks() const override { return {}; }

  void submit(inference::AnalysisRequest request,
              std::function<void(Result<std::vector<inference::Prediction>>)> done) override {
    {
      MutexLock lock(mutex_);
      ++requests_;
      most_waiting_ = std::max(most_waiting_, waiting_.size() + 1);
      if (!answer_at_once_) {
        waiting_.emplace_back(std::move(request), std::move(done));
        changed_.notify_all();
        return;
      }
    }
    done(answer(request));
  }

  inference::PredictorStats stats() const override {
    MutexLock lock(mutex_);
    return {.requests = requests_};
  }

  // Blocks until `count` requests wait.
  void wait_for_waiting(std::size_t count) {
    MutexLock lock(mutex_);
    while (waiting_.size() < count) changed_.wait(lock);
  }
  std::size_t most_waiting() const {
    MutexLock lock(mutex_);
    return most_waiting_;
  }
  void answer_all() {
    while (true) {
      std::pair<inference::AnalysisRequest, std::function<void(Result<std::vector<inference::Prediction>>)>> next;
      {
        MutexLock lock(mutex_);
        if (waiting_.empty()) return;
        next = std::move(waiting_.front());
        waiting_.pop_front();
      }
      next.second(answer(next.first));
    }
  }
  void fail_with(Status status) {
    MutexLock lock(mutex_);
    failure_ = std::move(status);
  }
  std::vector<std::uint64_t> seeds() const {
    MutexLock lock(mutex_);
    return seeds_;
  }

 private:
  Result<std::vector<inference::Prediction>> answer(const inference::AnalysisRequest& request) {
    MutexLock lock(mutex_);
    seeds_.push_back(request.seed);
    if (!failure_.ok()) return failure_;
    const auto& grey = request.image.grey;
    const std::vector<float> pixels =
        grey.empty() ? request.image.pixels : std::vector<float>(grey.begin(), grey.end());
    const double mean = std::accumulate(pixels.begin(), pixels.end(), 0.0) / static_cast<double>(pixels.size());
    std::vector<inference::Prediction> predictions;
    for (const std::string& task : request.tasks) {
      inference::Prediction prediction;
      prediction.task = task;
      prediction.model = "fake";
      prediction.model_version = "fake@sha256:0";
      if (task == "anomaly") {
        prediction.map.size = 16;
        prediction.map.values.assign(16 * 16, static_cast<float>(mean));
        prediction.map.score = mean;
        prediction.map.passes = 8;
        prediction.map.mode = "partition";
        prediction.map.mask_ratio = 0.75;
        prediction.map.seed = request.seed;
      } else {
        prediction.scores = {{.label = task, .value = mean}};
      }
      predictions.push_back(std::move(prediction));
    }
    return predictions;
  }

  const bool answer_at_once_;
  mutable Mutex mutex_;
  ConditionVariable changed_;
  std::deque<std::pair<inference::AnalysisRequest, std::function<void(Result<std::vector<inference::Prediction>>)>>>
      waiting_ GUARDED_BY(mutex_);
  std::size_t most_waiting_ GUARDED_BY(mutex_) = 0;
  std::uint64_t requests_ GUARDED_BY(mutex_) = 0;
  std::vector<std::uint64_t> seeds_ GUARDED_BY(mutex_);
  Status failure_ GUARDED_BY(mutex_);
};

}  // namespace node::fakes
