#include "inference/batcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/fakes/fake_clock.h"
#include "tests/fakes/seed.h"

namespace node::inference {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Named : BatchItem {
  std::string name;
};

std::unique_ptr<BatchItem> item(std::string name, int rows = 1, int priority = 0) {
  auto made = std::make_unique<Named>();
  made->name = std::move(name);
  made->rows = rows;
  made->priority = priority;
  return made;
}

// "queue: names of its items".
std::string text(int queue, const Batcher::Batch& batch) {
  std::string names = std::to_string(queue) + ":";
  for (const auto& one : batch) names += " " + static_cast<const Named&>(*one).name;
  return names;
}

// A device that writes down its batches, and can be kept busy with the next one by the test.
class Device {
 public:
  void run(int queue, const Batcher::Batch& batch) {
    std::unique_lock lock(mutex_);
    batches_.push_back(text(queue, batch));
    changed_.notify_all();
    changed_.wait(lock, [&] { return !held_; });
  }
  void hold() {
    std::lock_guard lock(mutex_);
    held_ = true;
  }
  void release() {
    std::lock_guard lock(mutex_);
    held_ = false;
    changed_.notify_all();
  }
  std::vector<std::string> batches() {
    std::lock_guard lock(mutex_);
    return batches_;
  }
  std::vector<std::string> await(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return batches_.size() >= count; });
    return batches_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> batches_;
  bool held_ = false;
};

class BatcherTest : public ::testing::Test {
 protected:
  std::unique_ptr<Batcher> make(int queues, int rows_max) {
    Batcher::Options options;
    options.rows_max = rows_max;
    options.delay = milliseconds(20);
    options.patience = milliseconds(10'000);
    return std::make_unique<Batcher>(queues, options, clock_,
                                     [this](int queue, Batcher::Batch batch) { device_.run(queue, batch); });
  }
  // Keeps the device busy with a batch of its own, so that the order of what is submitted next is the Batcher's.
  void occupy(Batcher& batcher, int queue, int rows) {
    device_.hold();
    const std::size_t before = device_.batches().size();
    EXPECT_TRUE(batcher.submit(queue, item("busy", rows)).ok());
    device_.await(before + 1);
  }

  fakes::FakeClock clock_;
  Device device_;
};

TEST_F(BatcherTest, ABatchThatIsNotFullWaitsForItsDelay) {
  const auto batcher = make(1, 4);
  ASSERT_TRUE(batcher->submit(0, item("a")).ok());
  clock_.advance(milliseconds(9));
  clock_.await_wait();
  EXPECT_THAT(device_.batches(), IsEmpty());
  ASSERT_TRUE(batcher->submit(0, item("b")).ok());
  clock_.advance(milliseconds(10));
  clock_.await_wait();
  EXPECT_THAT(device_.batches(), IsEmpty());
  clock_.advance(milliseconds(1));  // 20 ms of the older of the two.
  EXPECT_THAT(device_.await(1), ElementsAre("0: a b"));
}

TEST_F(BatcherTest, AFullBatchGoesAtOnce) {
  const auto batcher = make(2, 4);
  ASSERT_TRUE(batcher->submit(0, item("a", 3)).ok());
  ASSERT_TRUE(batcher->submit(1, item("b", 1)).ok());  // Another model's: fills nothing.
  clock_.await_wait();
  EXPECT_THAT(device_.batches(), IsEmpty());
  ASSERT_TRUE(batcher->submit(0, item("c", 1)).ok());
  EXPECT_THAT(device_.await(1), ElementsAre("0: a c"));
}

TEST_F(BatcherTest, AnItemLargerThanABatchTravelsAlone) {
  const auto batcher = make(1, 4);
  occupy(*batcher, 0, 4);
  for (auto& one : {std::pair("small", 1), {"large", 10}, {"next", 1}}) {
    ASSERT_TRUE(batcher->submit(0, item(one.first, one.second)).ok());
  }
  clock_.advance(milliseconds(20));
  device_.release();
  EXPECT_THAT(device_.await(3), ElementsAre("0: busy", "0: small next", "0: large"));
}

TEST_F(BatcherTest, RoomThatALargeItemLeavesIsFilled) {
  const auto batcher = make(1, 4);
  occupy(*batcher, 0, 4);
  for (auto& one : {std::pair("three", 3), {"two", 2}, {"one", 1}, {"other", 2}}) {
    ASSERT_TRUE(batcher->submit(0, item(one.first, one.second)).ok());
  }
  device_.release();
  EXPECT_THAT(device_.await(3), ElementsAre("0: busy", "0: three one", "0: two other"));
}

TEST_F(BatcherTest, AnUrgentItemOvertakesWithinItsQueue) {
  const auto batcher = make(1, 2);
  occupy(*batcher, 0, 2);
  for (auto& one : {std::pair("a", 0), {"b", 0}, {"c", 0}, {"urgent", 5}, {"d", 0}, {"most urgent", 9}}) {
    ASSERT_TRUE(batcher->submit(0, item(one.first, 1, one.second)).ok());
  }
  device_.release();
  EXPECT_THAT(device_.await(4), ElementsAre("0: busy", "0: most urgent urgent", "0: a b", "0: c d"));
}

TEST_F(BatcherTest, AnUrgentItemOvertakesOtherQueues) {
  const auto batcher = make(3, 1);
  occupy(*batcher, 0, 1);
  ASSERT_TRUE(batcher->submit(0, item("a")).ok());
  ASSERT_TRUE(batcher->submit(1, item("b")).ok());
  ASSERT_TRUE(batcher->submit(2, item("urgent", 1, 5)).ok());
  device_.release();
  EXPECT_THAT(device_.await(4), ElementsAre("0: busy", "2: urgent", "1: b", "0: a"));
}

TEST_F(BatcherTest, PriorityStarvesNobodyForEver) {
  const auto batcher = make(2, 1);
  occupy(*batcher, 0, 1);
  ASSERT_TRUE(batcher->submit(0, item("routine in 0")).ok());
  ASSERT_TRUE(batcher->submit(1, item("routine in 1")).ok());
  clock_.advance(milliseconds(10'000));
  ASSERT_TRUE(batcher->submit(0, item("urgent", 1, 5)).ok());
  device_.release();
  EXPECT_THAT(device_.await(4), ElementsAre("0: busy", "1: routine in 1", "0: routine in 0", "0: urgent"));
}

TEST_F(BatcherTest, QueuesShareTheDeviceByRows) {
  const auto batcher = make(2, 4);
  occupy(*batcher, 0, 8);
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(batcher->submit(0, item("map", 8)).ok());
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(batcher->submit(1, item("x")).ok());
  device_.release();
  const std::string map = "0: map", four = "1: x x x x";
  EXPECT_THAT(device_.await(8), ElementsAre("0: busy", four, four, map, four, four, map, four));
}

TEST_F(BatcherTest, UnderSaturationEveryBatchIsFull) {
  const auto batcher = make(1, 4);
  occupy(*batcher, 0, 4);
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(batcher->submit(0, item("x")).ok());
  device_.release();
  const std::vector<std::string> all = device_.await(11);
  EXPECT_THAT(std::vector(all.begin() + 1, all.end()), ::testing::Each("0: x x x x"));
  EXPECT_EQ(batcher->stats().batches, 11u);
}

TEST_F(BatcherTest, WhoeverIsAloneWaitsForTheDelayAndNoLonger) {
  const auto batcher = make(2, 16);
  for (int i = 0; i < 3; ++i) {  // One in flight at a time, as from a single X-ray room.
    ASSERT_TRUE(batcher->submit(i % 2, item("alone")).ok());
    clock_.advance(milliseconds(19));
    clock_.await_wait();
    EXPECT_EQ(device_.batches().size(), static_cast<std::size_t>(i));
    clock_.advance(milliseconds(1));
    device_.await(static_cast<std::size_t>(i) + 1);
  }
}

// Maps of eight rows and classifications of one, both without end: each gets half of the device's rows, whatever the
// number of requests, and an urgent one of either kind goes next.
TEST_F(BatcherTest, MapsAndClassificationsShareTheDeviceFairly) {
  const auto batcher = make(2, 8);
  occupy(*batcher, 0, 8);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(batcher->submit(0, item("map", 8)).ok());
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(batcher->submit(1, item("x")).ok());
  ASSERT_TRUE(batcher->submit(0, item("urgent map", 8, 5)).ok());
  device_.release();
  const std::vector<std::string> all = device_.await(1 + 21 + 25);
  EXPECT_EQ(all[1], "0: urgent map");
  int maps = 0, classifications = 0;
  for (std::size_t i = 2; i < 40; ++i) {
    (all[i][0] == '0' ? maps : classifications) += 1;
    EXPECT_LE(std::abs(maps - classifications), 3) << i;
  }
}

TEST_F(BatcherTest, CountsTheRowsOnTheDevice) {
  const auto batcher = make(1, 4);
  EXPECT_EQ(batcher->stats().running_rows, 0);
  occupy(*batcher, 0, 3 + 1);
  EXPECT_EQ(batcher->stats().running_rows, 4);
  ASSERT_TRUE(batcher->submit(0, item("x", 4)).ok());
  EXPECT_THAT(batcher->stats().waiting_rows, ElementsAre(4));
  device_.release();
}

TEST_F(BatcherTest, AModelThatWasIdleBringsNoCredit) {
  const auto batcher = make(2, 1);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(batcher->submit(0, item("early")).ok());
  device_.await(10);
  occupy(*batcher, 0, 1);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(batcher->submit(0, item("a")).ok());
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(batcher->submit(1, item("b")).ok());
  device_.release();
  const std::vector<std::string> all = device_.await(18);
  EXPECT_THAT(std::vector(all.begin() + 11, all.end()),
              ElementsAre("1: b", "0: a", "1: b", "0: a", "1: b", "0: a", "1: b"));
}

TEST_F(BatcherTest, TheDestructorFinishesWhatWasAccepted) {
  auto batcher = make(2, 4);
  ASSERT_TRUE(batcher->submit(0, item("a")).ok());
  ASSERT_TRUE(batcher->submit(1, item("b")).ok());
  ASSERT_TRUE(batcher->submit(1, item("c")).ok());
  batcher.reset();  // The clock stands still: nothing was due.
  EXPECT_THAT(device_.batches(), ElementsAre("0: a", "1: b c"));
}

TEST_F(BatcherTest, CancelGivesBackWhatHasNotStarted) {
  auto batcher = make(2, 2);
  occupy(*batcher, 0, 2);
  ASSERT_TRUE(batcher->submit(0, item("a")).ok());
  ASSERT_TRUE(batcher->submit(1, item("b", 3)).ok());
  EXPECT_EQ(batcher->stats().waiting_items, 2);
  EXPECT_THAT(batcher->stats().waiting_rows, ElementsAre(1, 3));
  const Batcher::Batch unserved = batcher->cancel();
  EXPECT_EQ(text(0, unserved), "0: a b");
  EXPECT_EQ(batcher->stats().waiting_items, 0);
  EXPECT_THAT(batcher->stats().waiting_rows, ElementsAre(0, 0));

  std::unique_ptr<BatchItem> late = item("late");
  EXPECT_EQ(batcher->submit(0, std::move(late)).code(), StatusCode::kUnavailable);
  EXPECT_NE(late, nullptr) << "a refused item stays the caller's";
  device_.release();
  batcher.reset();
  EXPECT_THAT(device_.batches(), ElementsAre("0: busy"));
}

TEST_F(BatcherTest, RefusesWhatNoQueueCanServe) {
  const auto batcher = make(1, 4);
  EXPECT_EQ(batcher->submit(1, item("a")).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(batcher->submit(-1, item("a")).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(batcher->submit(0, item("a", 0)).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(batcher->stats().waiting_items, 0);
}

TEST_F(BatcherTest, CountsWhatItHandsOver) {
  auto batcher = make(1, 4);
  ASSERT_TRUE(batcher->submit(0, item("a", 3)).ok());
  ASSERT_TRUE(batcher->submit(0, item("b", 1)).ok());
  ASSERT_TRUE(batcher->submit(0, item("c", 9)).ok());
  device_.await(2);
  const BatcherStats stats = batcher->stats();
  EXPECT_EQ(stats.batches, 2u);
  EXPECT_EQ(stats.items, 3u);
  EXPECT_EQ(stats.rows, 13u);
  EXPECT_EQ(stats.waiting_items, 0);
  EXPECT_THAT(stats.waiting_rows, ElementsAre(0));
}

TEST(Batcher, ItsThreadIsNicerThanItsMaker) {
  SystemClock clock;
  const int own = getpriority(PRIO_PROCESS, 0);
  int seen = own;
  {
    Batcher batcher(1, {}, clock, [&](int, Batcher::Batch) { seen = getpriority(PRIO_PROCESS, 0); });
    ASSERT_TRUE(batcher.submit(0, item("a")).ok());
  }
  EXPECT_EQ(seen, std::min(own + 5, 19));
}

TEST(Batcher, AnItemMaySubmitTheNext) {  // As a failed batch does, whose requests run once more one by one.
  SystemClock clock;
  Batcher* self = nullptr;
  std::mutex mutex;
  std::vector<std::string> batches;
  std::condition_variable changed;
  Batcher batcher(2, {}, clock, [&](int queue, Batcher::Batch batch) {
    std::lock_guard lock(mutex);
    if (queue == 0) {
      EXPECT_TRUE(self->submit(1, std::move(batch[0])).ok());
    }
    batches.push_back(std::to_string(queue));
    changed.notify_all();
  });
  {
    std::lock_guard lock(mutex);
    self = &batcher;
  }
  ASSERT_TRUE(batcher.submit(0, item("a")).ok());
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return batches.size() == 2; });
  EXPECT_THAT(batches, ElementsAre("0", "1"));
}

TEST(Batcher, HandsEveryItemOverExactlyOnceUnderManyThreads) {
  constexpr int kThreads = 8, kItems = 500, kQueues = 3, kRowsMax = 8;
  const unsigned seed = test_seed();
  SCOPED_TRACE("seed " + std::to_string(seed));
  SystemClock clock;
  std::map<std::string, int> served;  // By the Batcher's thread alone, read after its end.
  bool mixed = false, oversized = false;
  std::atomic<int> accepted = 0;
  {
    Batcher::Options options;
    options.rows_max = kRowsMax;
    options.delay = milliseconds(1);
    Batcher batcher(kQueues, options, clock, [&](int queue, Batcher::Batch batch) {
      int rows = 0;
      for (const auto& one : batch) {
        const std::string& name = static_cast<const Named&>(*one).name;
        served[name] += 1;
        mixed |= name.back() != static_cast<char>('0' + queue);
        rows += one->rows;
      }
      oversized |= rows > kRowsMax && batch.size() > 1;
    });
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937 random(seed + t);
        for (int i = 0; i < kItems; ++i) {
          const int queue = static_cast<int>(random() % kQueues);
          const std::string name = std::to_string(t) + "/" + std::to_string(i) + " in " + std::to_string(queue);
          accepted += batcher.submit(queue, item(name, 1 + random() % 10, random() % 3)).ok();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  EXPECT_EQ(accepted, kThreads * kItems);
  EXPECT_EQ(served.size(), static_cast<std::size_t>(kThreads * kItems));
  for (const auto& [name, count] : served) EXPECT_EQ(count, 1) << name;
  EXPECT_FALSE(mixed) << "two models in one batch";
  EXPECT_FALSE(oversized);
}

}  // namespace
}  // namespace node::inference
