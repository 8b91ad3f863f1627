#include "dicom_node/operate/recent_flow.h"

#include <chrono>

namespace node::operate {
namespace {

RecentFlow::Counts since(const RecentFlow::Counts& before, const RecentFlow::Counts& totals) {
  return {totals.received - before.received, totals.analysed - before.analysed, totals.delivered - before.delivered};
}

}  // namespace

void RecentFlow::observe(SteadyTime now, const Counts& totals) {
  MutexLock lock(mutex_);
  if (minutes_.empty()) {
    minutes_.emplace_back();
    minute_ends_ = now + std::chrono::minutes(1);
  }
  for (int passed = 0; now >= minute_ends_ && passed < kMinutes; ++passed) {
    minutes_.back() = since(before_, totals);
    before_ = totals;
    minutes_.emplace_back();
    if (minutes_.size() > kMinutes) minutes_.pop_front();
    minute_ends_ += std::chrono::minutes(1);
  }
  if (now >= minute_ends_) minute_ends_ = now + std::chrono::minutes(1);  // A machine that slept.
  minutes_.back() = since(before_, totals);
}

std::deque<RecentFlow::Counts> RecentFlow::minutes() const {
  MutexLock lock(mutex_);
  return minutes_;
}

}  // namespace node::operate
