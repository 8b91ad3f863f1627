// RecentLooks: whether somebody looks at something anew, or still does: a page that is open asks again and again.
//
// Threads: any.
#pragma once

#include <map>
#include <string>

#include "config/base/clock.h"
#include "config/base/mutex.h"

namespace node::operate {

inline constexpr std::chrono::minutes kLookLasts{15};  // After it was last asked for.

class RecentLooks {
 public:
  // `who_and_what` stands for both.
  bool is_new(const std::string& who_and_what, SteadyTime now) {
    MutexLock lock(mutex_);
    if (last_.size() >= kKeptMax) {
      std::erase_if(last_, [now](const auto& one) { return now - one.second > kLookLasts; });
      if (last_.size() >= kKeptMax) last_.clear();  // Rather one message too many.
    }
    const auto [place, added] = last_.emplace(who_and_what, now);
    const bool is_new = added || now - place->second > kLookLasts;
    place->second = now;
    return is_new;
  }

 private:
  static constexpr std::size_t kKeptMax = 10'000;
  Mutex mutex_;
  std::map<std::string, SteadyTime> last_ GUARDED_BY(mutex_);
};

}  // namespace node::operate
