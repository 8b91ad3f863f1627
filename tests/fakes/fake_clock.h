// FakeClock: a Clock that stands still until a test moves it.
//
// Threads: any; advance() wakes every thread that waits through wait_until().
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "config/base/clock.h"

namespace node::fakes {

class FakeClock : public Clock {
 public:
  explicit FakeClock(WallTime start = WallTime(std::chrono::hours(24 * 20000))) : now_(start) {}

  WallTime now() const override {
    MutexLock lock(mutex_);
    return now_;
  }
  SteadyTime steady_now() const override {
    MutexLock lock(mutex_);
    return steady_;
  }
  void wait_until(ConditionVariable& condition, MutexLock& lock, SteadyTime deadline) override {
    {
      MutexLock own(mutex_);
      if (steady_ >= deadline) return;
      waiting_.push_back(&condition);
      ++waits_;
      waits_changed_.notify_all();
    }
    // A short real wait bounds the race between the check above and a concurrent advance(): callers loop.
    condition.wait_for(lock, std::chrono::milliseconds(5));
    MutexLock own(mutex_);
    waiting_.erase(std::find(waiting_.begin(), waiting_.end(), &condition));
  }

  void advance(std::chrono::milliseconds by) {
    MutexLock lock(mutex_);
    now_ += by;
    steady_ += by;
    for (ConditionVariable* condition : waiting_) condition->notify_all();
  }
  // Returns once a thread has begun another wait_until() for a deadline still to come: so it has seen the present time
  // and has found nothing to do. Call it only while a thread waits.
  void await_wait() {
    MutexLock lock(mutex_);
    const std::uint64_t seen = waits_;
    while (waits_ == seen) waits_changed_.wait(lock);
  }
  void set_wall(WallTime now) {  // A clock that jumps: steady time is unmoved.
    MutexLock lock(mutex_);
    now_ = now;
  }

 private:
  mutable Mutex mutex_;
  WallTime now_ GUARDED_BY(mutex_);
  SteadyTime steady_ GUARDED_BY(mutex_){};
  std::vector<ConditionVariable*> waiting_ GUARDED_BY(mutex_);
  ConditionVariable waits_changed_;
  std::uint64_t waits_ GUARDED_BY(mutex_) = 0;
};

}  // namespace node::fakes
