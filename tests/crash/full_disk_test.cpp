// Calls that nobody repeats, on a disk that is full for a while.
#include "storage/sqlite_study_store.h"
#include "tests/fakes/faulty_sqlite_vfs.h"
#include "tests/storage/study_store_fixture.h"

namespace node::storage {
namespace {

class FullDisk : public StudyStoreFixture {
 protected:
  Result<std::unique_ptr<StudyStore>> open_store() override {
    config::StorageConfig config;
    config.directory = directory_.path().string();
    config.log_pages_max = log_pages_max_;
    config.database_reserve_bytes = reserve_bytes_;
    return open_sqlite_study_store(config, clock_, files_);
  }
  void TearDown() override { store_.reset(); }  // Before the VFS that it uses.

  int log_pages_max_ = 1000;
  int reserve_bytes_ = 0;
  fakes::FaultyFileSystem files_;
  fakes::FaultySqliteVfs vfs_{files_, directory_.path()};
};

TEST_F(FullDisk, AnAssociationThatEndsThenLetsItsStudyGoOnceThereIsSpace) {
  NewInstance held = image(1, 1);
  held.association = 7;
  add(held);
  analyse_all();
  files_.fill_disk_before(1);
  EXPECT_EQ(store_->end_association(7, false).code(), StatusCode::kResourceExhausted);
  files_.free_disk();
  EXPECT_FALSE(claim_study()) << "its quiet period begins";
  clock_.advance(std::chrono::seconds(10));
  EXPECT_TRUE(claim_study()) << "without it the study stays open for study_open_max";
}

// Another program takes the last byte, below every reserve of ours and while the log is short, as at the first start or
// after a restore: what makes room again can be recorded all the same. Also after a sync that failed.
TEST_F(FullDisk, WhatMakesRoomIsRecordedThoughTheDiskIsFullToTheLastByte) {
  store_.reset();
  reserve_bytes_ = config::StorageConfig().database_reserve_bytes;
  open();
  NewInstance sent = unrouted(1, 1);
  sent.route.forward_to = {"archive"};
  add(sent);
  clock_.advance(std::chrono::seconds(10));
  EXPECT_FALSE(claim_study());
  const auto due = store_->claim_due_deliveries("archive", 1, kNoWait);
  ASSERT_TRUE(due.ok() && due->size() == 1);
  files_.fill_disk_before(1);
  for (int number = 2; number < 300; ++number) {  // Longer than the log may become before the database takes it over.
    const auto added = store_->add_instance(image(2, number), Arrival::kFirst, 0);
    ASSERT_TRUE(added.ok() && added->refused.ok()) << number << ": " << added.status().message();
  }
  files_.fail(files_.calls() + 1, data_loss("Input/output error"));
  EXPECT_FALSE(store_->finish_delivery((*due)[0].token, {}).ok());
  ASSERT_TRUE(store_->finish_delivery((*due)[0].token, {}).ok()) << store_->health().message();
  const PurgeLimits all{.originals_kept = milliseconds(0), .results_kept = milliseconds(0)};
  const auto purged = store_->purge(all, 10);
  ASSERT_TRUE(purged.ok()) << purged.status().message();
  EXPECT_EQ(purged->originals.size(), 1u);
}

// Whether it was committed is known only of what came to no commit: its file may be deleted. What did come to one, and
// failed, may be there after a power loss.
TEST_F(FullDisk, WhatIsRefusedForCertainIsNotThereAfterAPowerLoss) {
  add(image(1, 1));
  const int before = files_.calls();
  add(image(1, 2));
  const int calls = files_.calls() - before;
  int number = 3, refused = 0, unknown = 0;
  for (int call = 1; call <= calls; ++call) {
    std::vector<Uid> not_there;
    for (int attempt = 0; attempt < 2; ++attempt) {  // The second finds a log that it empties first.
      files_.fail(files_.calls() + call, data_loss("Input/output error"));
      const NewInstance one = image(1, number++);
      const auto added = store_->add_instance(one, Arrival::kFirst, 0);
      unknown += !added.ok();
      if (!added.ok() || added->refused.ok()) continue;
      ++refused;
      not_there.push_back(one.sop_instance_uid);
    }
    store_.reset();
    files_.lose_power(fakes::FaultyFileSystem::Loss::kNames);  // What was written is there, though nobody synced it.
    open();
    for (const Uid& one : not_there) EXPECT_FALSE(*store_->find_instance(one)) << call;
  }
  EXPECT_GT(unknown, 0);
  EXPECT_GT(refused, 0);
}

// A claim needs no sync; the log that it was written to is synced when the database takes it over. Where that fails the
// system has forgotten the claim, and what is promised next must not stand behind the hole: whenever the power goes.
TEST_F(FullDisk, APromiseAfterALogThatCouldNotBeTakenOverSurvivesAPowerLoss) {
  store_.reset();
  log_pages_max_ = 1;
  int number = 1, survived = 0;
  bool failed = true;
  for (int call = 1; failed; ++call) {
    bool lost = true;
    for (int later = 1; lost && failed; ++later) {
      open();
      add(image(1, number++));
      const int failing = files_.calls() + call;
      files_.fail(failing, data_loss("Input/output error"));
      static_cast<void>(store_->claim_instances(1, kNoWait).ok());
      failed = files_.calls() >= failing;
      const int last = files_.calls() + later;
      files_.lose_power_before(last);
      const NewInstance promised = image(1, number++);
      const auto added = store_->add_instance(promised, Arrival::kFirst, 0);
      lost = files_.calls() >= last;
      files_.lose_power_before(1);
      store_.reset();
      files_.lose_power();
      if (!added.ok() || !added->added) continue;
      ++survived;
      open();
      EXPECT_TRUE(*store_->find_instance(promised.sop_instance_uid))
          << "call " << call << ", power lost before " << later;
      store_.reset();
    }
  }
  EXPECT_GT(survived, 5);
}

}  // namespace
}  // namespace node::storage
