#include "dicom_node/operate/retention_worker.h"

#include <gtest/gtest.h>

#include <future>
#include <utility>

#include "tests/fakes/faulty_file_system.h"
#include "tests/fakes/temporary_store.h"

namespace node::operate {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class RetentionWorkerTest : public testing::Test {
 protected:
  RetentionWorkerTest() { config_.directory = (stored_.directory() / "store").string(); }

  // `count` objects of a study that asks for nothing, hence is at rest when it closes.
  void add_at_rest(int count) {
    for (int i = 0; i < count; ++i) {
      stored_.add("bytes", "1.2.3." + std::to_string(++added_), "1.2.3", {}, {});
    }
    stored_.clock().advance(seconds(10));
    EXPECT_FALSE(*stored_.store().claim_ready_study(milliseconds(0)));
  }
  std::size_t files() { return stored_.spool().list_keys()->size(); }
  void start() { worker_ = RetentionWorker::start(config_, stored_.clock(), stored_.spool(), stored_.store()); }
  // Moves the clock, and returns when the worker has looked at that time.
  void advance(milliseconds by) {
    stored_.clock().advance(by);
    stored_.clock().await_wait();
  }

  std::size_t files_after(milliseconds time) {
    advance(time);
    return files();
  }

  fakes::FaultyFileSystem files_;
  fakes::TemporaryStore stored_{files_};
  config::StorageConfig config_;
  std::unique_ptr<RetentionWorker> worker_;
  int added_ = 0;
};

TEST_F(RetentionWorkerTest, DeletesWhatIsOldEnoughAndNothingElse) {
  config_.originals_days = 1;
  add_at_rest(70);  // More than one handful.
  start();
  advance(std::chrono::hours(23));
  EXPECT_EQ(files(), 70u);
  advance(std::chrono::hours(1));
  EXPECT_EQ(files(), 0u);
  const RetentionStats stats = worker_->stats();
  EXPECT_EQ(stats.originals, 70u);
  EXPECT_EQ(stats.bytes, 70u * 5);
  EXPECT_EQ(stats.failures, 0u);
}

TEST_F(RetentionWorkerTest, ZeroDaysKeepForEverWhateverTheDiskSays) {
  config_.originals_days = 0;
  config_.free_bytes_low = std::uint64_t{1} << 62;
  add_at_rest(1);
  start();
  advance(std::chrono::days(10'000));
  EXPECT_EQ(files(), 1u);
}

TEST_F(RetentionWorkerTest, ADiskThatRunsLowTakesThemBeforeTheirTime) {
  add_at_rest(1);
  start();
  advance(seconds(10));
  EXPECT_EQ(files(), 1u) << "there is room";
  worker_->stop();
  config_.free_bytes_low = std::uint64_t{1} << 62;
  start();
  advance(seconds(10));
  EXPECT_EQ(files(), 0u);
}

TEST_F(RetentionWorkerTest, DeletionsThatFreeNothingAreNotRepeatedAtEveryLook) {
  files_.set_free_bytes(1000);  // Whatever is deleted.
  config_.free_bytes_low = 2000;
  add_at_rest(1);
  start();
  EXPECT_EQ(files_after(seconds(10)), 0u);
  add_at_rest(1);
  EXPECT_EQ(files_after(seconds(10)), 1u) << "nothing was freed: it waits";
  EXPECT_EQ(files_after(std::chrono::minutes(10)), 0u) << "and tries again";
  files_.set_free_bytes(1500);
  add_at_rest(1);
  EXPECT_EQ(files_after(seconds(10)), 0u) << "it was freed, and more is wanted";
}

// A disk that takes its time to delete.
class SlowDeletions : public fakes::FaultyFileSystem {
 public:
  Status remove(const std::filesystem::path& path) override {
    if (path.extension() == ".dcm" && !std::exchange(entered_, true)) {
      begun_.set_value();
      let_go_.get_future().wait();
    }
    return FaultyFileSystem::remove(path);
  }
  std::promise<void> begun_, let_go_;

 private:
  bool entered_ = false;  // Of the worker's thread alone.
};

TEST(RetentionWorker, IntakeGoesOnInTheMiddleOfADeletion) {
  SlowDeletions files;
  fakes::TemporaryStore stored(files);
  config::StorageConfig config;
  config.directory = (stored.directory() / "store").string();
  config.free_bytes_low = std::uint64_t{1} << 62;
  stored.add("bytes", "1.2.3.1", "1.2.3", {}, {});
  stored.clock().advance(seconds(10));
  EXPECT_FALSE(*stored.store().claim_ready_study(milliseconds(0)));
  const auto worker = RetentionWorker::start(config, stored.clock(), stored.spool(), stored.store());
  stored.clock().advance(seconds(10));
  files.begun_.get_future().wait();
  auto taken = std::async(std::launch::async, [&] {
    for (int i = 0; i < 50; ++i) stored.add("bytes", "1.2.4." + std::to_string(i), "1.2.4", {}, {});
  });
  EXPECT_EQ(taken.wait_for(seconds(60)), std::future_status::ready) << "images wait for a deletion";
  EXPECT_EQ(worker->stats().originals, 0u) << "which still goes on";
  files.let_go_.set_value();
  taken.wait();
  worker->stop();
  EXPECT_EQ(worker->stats().originals, 1u);
}

TEST_F(RetentionWorkerTest, WhatIsNotAtRestIsKeptHoweverFullTheDiskIs) {
  config_.free_bytes_low = std::uint64_t{1} << 62;
  stored_.add("bytes", "1.2.3.1", "1.2.3", {}, {}, {"archive"});
  stored_.clock().advance(seconds(10));
  EXPECT_FALSE(*stored_.store().claim_ready_study(milliseconds(0)));
  start();
  advance(std::chrono::days(100));
  EXPECT_EQ(files(), 1u) << "its original is due at the archive";
  const auto due = stored_.store().claim_due_deliveries("archive", 1, milliseconds(0));
  ASSERT_TRUE(due.ok() && due->size() == 1);
  ASSERT_TRUE(stored_.store().finish_delivery((*due)[0].token, {}).ok());
  advance(seconds(10));
  EXPECT_EQ(files(), 0u);
}

}  // namespace
}  // namespace node::operate
