// Replaceable: a value that many threads read and that is replaced as a whole.
//
// Guarantee: whoever holds what get() gave keeps it as it was; a later get() gives the one that took its place.
// Threads:   any.
#pragma once

#include <memory>
#include <utility>

#include "config/base/mutex.h"

namespace node {

template <typename T>
class Replaceable {
 public:
  explicit Replaceable(T value) : value_(std::make_shared<const T>(std::move(value))) {}

  std::shared_ptr<const T> get() const {
    MutexLock lock(mutex_);
    return value_;
  }
  void replace(T value) {
    auto fresh = std::make_shared<const T>(std::move(value));
    MutexLock lock(mutex_);
    value_.swap(fresh);
  }

 private:
  mutable Mutex mutex_;
  std::shared_ptr<const T> value_ GUARDED_BY(mutex_);
};

}  // namespace node
