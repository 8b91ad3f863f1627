#include "dicom_node/operate/recent_flow.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace node::operate {
namespace {

using std::chrono::seconds;

std::vector<std::uint64_t> received(const RecentFlow& flow) {
  std::vector<std::uint64_t> counts;
  for (const RecentFlow::Counts& minute : flow.minutes()) counts.push_back(minute.received);
  return counts;
}

TEST(RecentFlow, EachMinuteHoldsWhatCameInIt) {
  RecentFlow flow;
  SteadyTime now{};
  flow.observe(now, {.received = 0});
  flow.observe(now += seconds(30), {.received = 5});
  EXPECT_THAT(received(flow), testing::ElementsAre(5));
  flow.observe(now += seconds(40), {.received = 7});
  flow.observe(now += seconds(10), {.received = 8});
  EXPECT_THAT(received(flow), testing::ElementsAre(7, 1));
}

TEST(RecentFlow, ANodeThatSleptShowsEmptyMinutesAndNoMoreThanAnHour) {
  RecentFlow flow;
  SteadyTime now{};
  flow.observe(now, {.received = 4});
  flow.observe(now += seconds(150), {.received = 4});
  EXPECT_THAT(received(flow), testing::ElementsAre(4, 0, 0));
  flow.observe(now += std::chrono::hours(30), {.received = 9});
  flow.observe(now += seconds(1), {.received = 10});
  const auto counts = received(flow);
  EXPECT_EQ(counts.size(), 60u);
  EXPECT_EQ(counts.back(), 1u);
}

}  // namespace
}  // namespace node::operate
