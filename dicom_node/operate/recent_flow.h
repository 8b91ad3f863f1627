// RecentFlow: how much went through the node in each of the last sixty minutes, from counts that only grow.
//
// Threads: any.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string>

#include "config/base/clock.h"
#include "config/base/mutex.h"

namespace node::operate {

class RecentFlow {
 public:
  struct Counts {
    std::uint64_t received = 0, analysed = 0, delivered = 0;
  };
  static constexpr int kMinutes = 60;

  // To be called a few times a minute.
  void observe(SteadyTime now, const Counts& totals);

  // Per minute, the running one last; fewer than kMinutes if the node is younger.
  std::deque<Counts> minutes() const;

 private:
  mutable Mutex mutex_;
  std::deque<Counts> minutes_ GUARDED_BY(mutex_);
  Counts before_ GUARDED_BY(mutex_);  // Totals when the running minute began.
  SteadyTime minute_ends_ GUARDED_BY(mutex_){};
};

}  // namespace node::operate
