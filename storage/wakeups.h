// Wakeups: lets claim_ calls sleep until there may be work for them: channels by name, each with a count of signals.
// What comes due later is one signal then: of many dues that move on as images arrive, only the first wakes anyone.
//
// Guarantee: a signal after counter() was read is never missed by the wait() that shows that count.
// Threads:   any.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "config/base/clock.h"

namespace node::storage {

class Wakeups {
 public:
  explicit Wakeups(Clock& clock) : clock_(clock) {}

  std::uint64_t counter(const std::string& channel) {
    MutexLock lock(mutex_);
    return channels_[channel].signals;
  }

  void signal(const std::string& channel) {
    MutexLock lock(mutex_);
    ++channels_[channel].signals;
    channels_[channel].changed.notify_all();
  }

  // A signal at `due`, or earlier if another is due before: then those who look find the next one themselves.
  void signal_at(const std::string& channel, SteadyTime due) {
    MutexLock lock(mutex_);
    Channel& own = channels_[channel];
    if (own.due && *own.due <= due) return;
    own.due = due;
    own.changed.notify_all();
  }

  // Until a signal after `seen`, until `deadline`, or until stop().
  void wait(const std::string& channel, std::uint64_t seen, SteadyTime deadline) {
    MutexLock lock(mutex_);
    Channel& own = channels_[channel];
    while (own.signals == seen && !stopped_) {
      const SteadyTime now = clock_.steady_now();
      if (own.due && *own.due <= now) {
        own.due.reset();
        ++own.signals;
        own.changed.notify_all();
        return;
      }
      if (now >= deadline) return;
      clock_.wait_until(own.changed, lock, std::min(deadline, own.due.value_or(deadline)));
    }
  }

  void stop() {
    MutexLock lock(mutex_);
    stopped_ = true;
    for (auto& [name, channel] : channels_) channel.changed.notify_all();
  }

  bool stopped() {
    MutexLock lock(mutex_);
    return stopped_;
  }

 private:
  struct Channel {
    std::uint64_t signals = 0;
    std::optional<SteadyTime> due;
    ConditionVariable changed;
  };

  Clock& clock_;
  Mutex mutex_;
  std::map<std::string, Channel> channels_ GUARDED_BY(mutex_);
  bool stopped_ GUARDED_BY(mutex_) = false;
};

}  // namespace node::storage
