#include "inference/request.h"

namespace node::inference {

Request::Request(std::vector<const Task*> tasks, std::uint64_t seed, std::size_t items, Done done)
    : tasks_(std::move(tasks)), seed_(seed), predictions_(tasks_.size()), open_items_(items), done_(std::move(done)) {}

void Request::finish(Outcome outcome, const Status& status, const std::function<void(bool failed)>& before_answer) {
  {
    MutexLock lock(mutex_);
    for (auto& [position, prediction] : outcome) predictions_[position] = std::move(prediction);
    if (status_.ok()) status_ = status;
    if (--open_items_ > 0) return;
  }
  before_answer(!status_.ok());
  if (status_.ok()) {
    done_(std::move(predictions_));
  } else {
    done_(status_);
  }
}

}  // namespace node::inference
