// Clock: time that tests can move.
//
// Guarantee: now() is wall time, for what is written down or compared with what was written down; steady_now() never
//            jumps, for delays inside one process.
// Threads:   any.
#pragma once

#include <chrono>

#include "config/base/mutex.h"

namespace node {

using WallTime = std::chrono::sys_time<std::chrono::milliseconds>;
using SteadyTime = std::chrono::steady_clock::time_point;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual WallTime now() const = 0;
  virtual SteadyTime steady_now() const = 0;

  // Waits on `condition` until it is notified or `deadline` (by steady_now()) has passed; may wake for no reason.
  // A test's clock wakes all its waiters when it is moved.
  virtual void wait_until(ConditionVariable& condition, MutexLock& lock, SteadyTime deadline) = 0;
};

class SystemClock : public Clock {
 public:
  WallTime now() const override {
    return std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
  }
  SteadyTime steady_now() const override { return std::chrono::steady_clock::now(); }
  void wait_until(ConditionVariable& condition, MutexLock& lock, SteadyTime deadline) override {
    condition.wait_until(lock, deadline);
  }
};

}  // namespace node
