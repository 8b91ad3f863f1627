#include "storage/wakeups.h"

#include <gtest/gtest.h>

#include <future>

#include "tests/fakes/fake_clock.h"

namespace node::storage {
namespace {

using std::chrono::milliseconds;

class WakeupsTest : public testing::Test {
 protected:
  // A thread that waits for a signal after now, for at most an hour.
  std::future<void> waiter() {
    return std::async(std::launch::async, [this, seen = wakeups_.counter("studies")] {
      wakeups_.wait("studies", seen, clock_.steady_now() + std::chrono::hours(1));
    });
  }
  SteadyTime in(milliseconds time) const { return clock_.steady_now() + time; }
  static bool has_ended(const std::future<void>& waiter) {
    return waiter.wait_for(milliseconds(0)) == std::future_status::ready;
  }

  fakes::FakeClock clock_;
  Wakeups wakeups_{clock_};
};

TEST_F(WakeupsTest, WhatComesDueWakesThenAndNotBefore) {
  auto waits = waiter();
  clock_.await_wait();
  wakeups_.signal_at("studies", in(milliseconds(100)));
  clock_.advance(milliseconds(99));
  clock_.await_wait();
  EXPECT_FALSE(has_ended(waits));
  clock_.advance(milliseconds(1));
  waits.get();
}

TEST_F(WakeupsTest, TheEarlierOfTwoDuesWakes) {
  wakeups_.signal_at("studies", in(milliseconds(100)));
  auto waits = waiter();
  clock_.await_wait();
  wakeups_.signal_at("studies", in(milliseconds(10)));
  wakeups_.signal_at("studies", in(milliseconds(50)));
  clock_.advance(milliseconds(10));
  waits.get();
}

TEST_F(WakeupsTest, WhatCameDueBeforeTheWaitIsNotMissed) {
  const std::uint64_t seen = wakeups_.counter("studies");
  wakeups_.signal_at("studies", in(milliseconds(10)));
  clock_.advance(milliseconds(20));
  wakeups_.wait("studies", seen, in(std::chrono::hours(1)));  // It would never return: nobody moves the clock.
}

TEST_F(WakeupsTest, EveryoneWhoWaitsLooksOnceItIsDue) {
  auto one = waiter();
  auto other = waiter();
  wakeups_.signal_at("studies", in(milliseconds(10)));
  clock_.advance(milliseconds(10));
  one.get();
  other.get();
}

TEST_F(WakeupsTest, WhatHasWokenOnceIsOver) {
  wakeups_.signal_at("studies", in(milliseconds(10)));
  clock_.advance(milliseconds(10));
  waiter().get();
  auto waits = waiter();
  clock_.await_wait();
  EXPECT_FALSE(has_ended(waits));
  wakeups_.signal("studies");
  waits.get();
}

}  // namespace
}  // namespace node::storage
