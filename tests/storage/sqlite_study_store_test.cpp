#include "storage/sqlite_study_store.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "storage/spool.h"
#include "storage/sqlite_database.h"
#include "tests/storage/counted_syncs.h"
#include "tests/storage/study_store_fixture.h"

namespace node::storage {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class SqliteStudyStoreTest : public StudyStoreFixture {
 protected:
  Result<std::unique_ptr<StudyStore>> open_store() override { return open_sqlite_study_store(config(), clock_); }
  config::StorageConfig config() const {
    config::StorageConfig config;
    config.directory = directory_.path().string();
    return config;
  }
  std::filesystem::path database() const { return directory_.path() / "studies.sqlite"; }
  int syncs() const { return CountedSyncs::of(database().string() + "-wal"); }
};

// A command that root runs beside a service, or before its first start.
TEST_F(SqliteStudyStoreTest, WhatRootMakesIsOfTheUserToWhomTheDirectoryBelongs) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root makes files for others";
  store_.reset();
  constexpr uid_t kServiceUser = 65534;
  const std::filesystem::path of_service = directory_.path() / "of_service";
  std::filesystem::create_directory(of_service);
  ASSERT_EQ(::chown(of_service.c_str(), kServiceUser, kServiceUser), 0);
  config::StorageConfig of_root = config();
  of_root.directory = of_service.string();
  of_root.free_bytes_min = 0;
  const auto store = open_sqlite_study_store(of_root, clock_);
  ASSERT_TRUE(store.ok()) << store.status().message();
  const auto spool = Spool::open(of_root, posix_file_system());
  ASSERT_TRUE(spool.ok()) << spool.status().message();
  const auto kept = (*spool)->store("bytes", uid("1.2.3"));
  ASSERT_TRUE(kept.ok());
  std::ofstream((*spool)->path(kept->key)) << "other";
  EXPECT_FALSE((*spool)->verify(*kept).ok());  // Which leaves a mark.
  int entries = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(of_service)) {
    struct ::stat info {};
    ASSERT_EQ(::lstat(entry.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_uid, kServiceUser) << entry.path();
    EXPECT_EQ(info.st_gid, kServiceUser) << entry.path();
    ++entries;
  }
  EXPECT_EQ(entries, 10) << "lock, database, log and its index, incoming, objects, a shard, an object, lost, a mark";
}

TEST_F(SqliteStudyStoreTest, WhatAPeerIsToldIsSyncedFirst) {
  int before = syncs();
  const auto synced = [&] { return syncs() > std::exchange(before, syncs()); };
  add(image(1, 1));
  EXPECT_TRUE(synced()) << "add_instance";
  const auto claims = claim_instances();
  EXPECT_FALSE(synced()) << "a claim is no promise";
  ASSERT_TRUE(store_->finish_instance(claims[0].token, predictions()).ok());
  EXPECT_TRUE(synced()) << "finish_instance";
  const auto ready = close_and_claim();
  EXPECT_FALSE(synced()) << "claim_ready_study";
  report(*ready);
  EXPECT_TRUE(synced()) << "finish_study";
  const auto deliveries = claim_deliveries();
  EXPECT_FALSE(synced()) << "claim_due_deliveries";
  ASSERT_TRUE(store_->finish_delivery(deliveries[0].token, {DeliveryState::kParked, kNoWait, {}, ""}).ok());
  EXPECT_TRUE(synced()) << "finish_delivery";
  ASSERT_TRUE(store_->release_delivery(deliveries[0].id).ok());
  EXPECT_TRUE(synced()) << "release_delivery";
  const auto again = claim_deliveries();
  ASSERT_TRUE(store_->finish_delivery(again[0].token, {DeliveryState::kParked, kNoWait, {}, ""}).ok());
  EXPECT_TRUE(synced()) << "finish_delivery";
  ASSERT_TRUE(store_->give_up_delivery(again[0].id).ok());
  EXPECT_TRUE(synced()) << "give_up_delivery";
  ASSERT_TRUE(store_->release_delivery(again[0].id).ok());
  EXPECT_TRUE(synced()) << "release_delivery";
  ASSERT_TRUE(store_->set_destinations({}).ok());
  EXPECT_TRUE(synced()) << "set_destinations";
  ASSERT_TRUE(store_->set_destinations({"pacs"}).ok());
  EXPECT_TRUE(synced()) << "set_destinations";
  ASSERT_TRUE(store_->postpone_deliveries("pacs", {claim_deliveries()[0].token}, kNoWait, "down").ok());
  EXPECT_FALSE(synced()) << "postpone_deliveries";
  ASSERT_TRUE(store_->retry_study(uid("1.2.1")).ok());
  EXPECT_TRUE(synced()) << "retry_study";
  ASSERT_TRUE(store_->end_instance(claim_instances()[0].token, InstanceState::kFailed, "why").ok());
  EXPECT_TRUE(synced()) << "end_instance";
  ASSERT_TRUE(store_->fail_study(claim_study()->token, "why").ok());
  EXPECT_TRUE(synced()) << "fail_study";
  ASSERT_TRUE(store_->finish_delivery(claim_deliveries()[0].token, {}).ok());
  ASSERT_TRUE(store_->finish_delivery(claim_deliveries()[0].token, {}).ok());
  EXPECT_TRUE(synced()) << "finish_delivery";
  ASSERT_EQ(store_->purge({kNoWait, kNoWait}, 100)->originals.size(), 1u);
  EXPECT_TRUE(synced()) << "purge: or a power loss leaves a row without its file";
  ASSERT_TRUE(store_->end_association(1, true).ok());
  EXPECT_FALSE(synced()) << "end_association";
}

TEST_F(SqliteStudyStoreTest, WhatStorageCommitmentPromisesIsSyncedFirst) {
  int before = syncs();
  const auto synced = [&] { return syncs() > std::exchange(before, syncs()); };
  const SopReference reference{"1.2.840.10008.5.1.4.1.1.1", "1.2.1.1"};
  const milliseconds day{24 * 3600 * 1000};
  NewInstance given = image(1, 1);
  given.route.forward_to = {"archive"};
  add(given);
  DeliveryOutcome outcome;
  outcome.to_be_committed = true;
  ASSERT_TRUE(store_->finish_delivery(claim_deliveries("archive")[0].token, outcome).ok());
  clock_.advance(seconds(2));
  EXPECT_TRUE(synced());
  const std::string first = store_->begin_commitment("archive", 10, day, 7 * day)->transaction_uid;
  EXPECT_TRUE(synced()) << "begin_commitment";
  ASSERT_TRUE(store_->release_commitment(first, kNoWait, std::nullopt, "down").ok());
  EXPECT_TRUE(synced()) << "release_commitment";
  const std::string second = store_->begin_commitment("archive", 10, day, 7 * day)->transaction_uid;
  EXPECT_TRUE(synced()) << "begin_commitment";
  ASSERT_TRUE(*store_->end_commitment("archive", second, {}, {{reference, 0x0213}}));
  EXPECT_TRUE(synced()) << "end_commitment";
  ASSERT_TRUE(store_->add_commitment_request("xray1", "1.2.99", {reference}).ok());
  EXPECT_TRUE(synced()) << "add_commitment_request";
  ASSERT_TRUE(store_->safety_of(reference, true).ok());
  const auto due = store_->due_commitment_requests("xray1", 10);
  EXPECT_FALSE(synced()) << "who only looks promises nothing";
  ASSERT_TRUE(store_->end_commitment_request(due->at(0).id, std::nullopt, "").ok());
  EXPECT_TRUE(synced()) << "end_commitment_request";
  ASSERT_EQ(store_->set_commitment_peers({}, {})->at("archive"), 1);
  EXPECT_TRUE(synced()) << "set_commitment_peers";
}

TEST_F(SqliteStudyStoreTest, ConcurrentCallersShareCommits) {
  constexpr int kThreads = 8, kEach = 25;
  const StoreStats before = store_->stats();
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 1; i <= kEach; ++i) EXPECT_TRUE(add(image(100 + t, i)));
    });
  }
  for (auto& thread : threads) thread.join();
  const StoreStats after = store_->stats();
  EXPECT_EQ(after.instances_received - before.instances_received, kThreads * kEach);
  EXPECT_EQ(after.writes - before.writes, kThreads * kEach);
  EXPECT_LT(after.commits - before.commits, after.writes - before.writes);
  EXPECT_LE(syncs(), after.commits + 20) << "one sync a commit, and those of checkpoints";
}

TEST_F(SqliteStudyStoreTest, OneInstanceIsAddedOnceByManyThreads) {
  std::atomic<int> added = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] { added += add(image(1, 1)) ? 1 : 0; });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(added, 1);
}

TEST_F(SqliteStudyStoreTest, NoTwoThreadsClaimTheSame) {
  for (int i = 1; i <= 40; ++i) add(image(1, i));
  std::atomic<int> finished = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (auto claims = claim_instances(1); !claims.empty(); claims = claim_instances(1)) {
        finished += store_->finish_instance(claims[0].token, predictions()).ok() ? 1 : 0;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(finished, 40);
}

TEST_F(SqliteStudyStoreTest, AnAttemptSurvivesSigkill) {
  add(image(1, 1));
  store_.reset();
  const pid_t child = ::fork();
  if (child == 0) {
    auto store = open_sqlite_study_store(config(), clock_);
    if (store.ok() && (*store)->claim_instances(1, kNoWait).ok()) ::raise(SIGKILL);
    ::_exit(1);
  }
  int how = 0;
  ASSERT_EQ(::waitpid(child, &how, 0), child);
  ASSERT_TRUE(WIFSIGNALED(how));
  open();
  EXPECT_EQ(claim_instances()[0].instance.attempts, 2);
}

TEST_F(SqliteStudyStoreTest, ASecondNodeOnTheDirectoryIsRefusedByName) {
  const auto second = open_sqlite_study_store(config(), clock_);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), StatusCode::kUnavailable);
  EXPECT_THAT(second.status().message(), HasSubstr(directory_.path().string()));
  EXPECT_THAT(second.status().message(), HasSubstr("process " + std::to_string(::getpid())));
  restart();
  EXPECT_TRUE(add(image(1, 1))) << "a lock ends with its holder";
}

TEST_F(SqliteStudyStoreTest, ADamagedDatabaseIsDataLoss) {
  store_.reset();
  for (const char* ending : {"-wal", "-shm"}) std::filesystem::remove(database().string() + ending);
  std::ofstream(database()) << std::string(10'000, 'x');
  const auto damaged = open_sqlite_study_store(config(), clock_);
  ASSERT_FALSE(damaged.ok());
  EXPECT_EQ(damaged.status().code(), StatusCode::kDataLoss);
  EXPECT_THAT(damaged.status().message(), HasSubstr(database().string()));
}

TEST_F(SqliteStudyStoreTest, AReaderBesideARunningNodeSeesWhatIsCommittedAndWritesNothing) {
  finish_one(1);
  auto reader = open_sqlite_study_store_read_only(config(), clock_);
  ASSERT_TRUE(reader.ok()) << reader.status().message();
  EXPECT_EQ((*reader)->node_uid(), store_->node_uid());
  EXPECT_EQ((*reader)->find_study(uid("1.2.1"))->state, StudyState::kFinished);
  add(image(2, 1));
  EXPECT_THAT(*(*reader)->list_studies({.limit = 10}), SizeIs(2));
  EXPECT_THAT(*(*reader)->list_instances(uid("1.2.2")), SizeIs(1));
  EXPECT_THAT(*(*reader)->list_deliveries({.state = DeliveryState::kPending, .limit = 10}), SizeIs(2));
  EXPECT_THAT(*(*reader)->known_files(), SizeIs(4));
  EXPECT_EQ((*reader)->stats().instances_received, 2);

  EXPECT_EQ((*reader)->add_instance(image(3, 1), Arrival::kFirst, 0)->refused.code(), StatusCode::kUnavailable);
  EXPECT_EQ((*reader)->claim_instances(1, kNoWait).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ((*reader)->claim_ready_study(kNoWait).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ((*reader)->claim_due_deliveries("pacs", 1, kNoWait).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ((*reader)->retry_study(uid("1.2.1")).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ((*reader)->release_delivery(1).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ((*reader)->give_up_delivery(1).code(), StatusCode::kUnavailable);
  EXPECT_EQ(summary(1).state, StudyState::kFinished);
  EXPECT_THAT(claim_instances(), SizeIs(1)) << "the reader takes no lock";
}

TEST_F(SqliteStudyStoreTest, AReaderOfAStoppedNodeSeesEverything) {
  finish_one(1);
  store_.reset();
  auto reader = open_sqlite_study_store_read_only(config(), clock_);
  ASSERT_TRUE(reader.ok()) << reader.status().message();
  EXPECT_EQ((*reader)->find_study(uid("1.2.1"))->state, StudyState::kFinished);
  config::StorageConfig elsewhere;
  elsewhere.directory = (directory_.path() / "elsewhere").string();
  EXPECT_EQ(open_sqlite_study_store_read_only(elsewhere, clock_).status().code(), StatusCode::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(elsewhere.directory));
}

// A search or a sort of a whole table would make the millionth instance slower than the first.
TEST_F(SqliteStudyStoreTest, ClaimsReadAnIndexInItsOrder) {
  auto raw = Database::open(database(), Database::Mode::kReadOnly);
  ASSERT_TRUE(raw.ok());
  for (const char* claim :
       {"SELECT id FROM instance WHERE state = 0 ORDER BY received_at - priority * 600000, id",
        "SELECT id, attempts FROM instance WHERE state = 0 AND attempts > 0 "
        "ORDER BY attempts, received_at - priority * 600000, id",
        "SELECT id FROM study INDEXED BY study_ready WHERE state = 1 AND waits = 0 "
        "ORDER BY closed_at - priority * 600000, id",
        "SELECT id FROM study WHERE holds > 0",
        "SELECT rest_since, id FROM study WHERE originals = 1 AND rest_since IS NOT NULL AND rest_since <= 9 "
        "ORDER BY rest_since, id LIMIT 1",
        "SELECT rest_since, id FROM study WHERE results = 1 AND rest_since IS NOT NULL AND rest_since <= 9 "
        "ORDER BY rest_since, id LIMIT 1",
        "SELECT min(close_due_at) FROM study WHERE state = 0",
        "SELECT d.id FROM delivery d WHERE d.state = 0 AND d.blocked = 0 AND d.delayed = 0 AND d.destination = 'x' "
        "ORDER BY d.attempts > 0 AND d.priority < 2000, d.priority DESC, d.id",
        "SELECT min(due_at) FROM delivery WHERE state = 0 AND delayed = 1 AND destination = 'x'",
        "SELECT id FROM study WHERE state = 2 ORDER BY id DESC LIMIT 20"}) {
    Query plan(**raw, std::string("EXPLAIN QUERY PLAN ") + claim);
    while (plan.next()) {
      plan.integer(), plan.integer(), plan.integer();
      const std::string step = plan.text();
      EXPECT_THAT(step, HasSubstr("INDEX")) << claim;
      EXPECT_THAT(step, testing::Not(HasSubstr("TEMP B-TREE"))) << claim;
    }
    EXPECT_TRUE(plan.status().ok());
  }
}

}  // namespace
}  // namespace node::storage
