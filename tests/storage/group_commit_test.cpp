#include "storage/group_commit.h"

#include <future>
#include <new>

#include "tests/storage/study_store_fixture.h"

namespace node::storage {
namespace {

using Durability = GroupCommit::Durability;

class GroupCommitTest : public testing::Test {
 protected:
  void SetUp() override {
    auto database = Database::open(directory_.path() / "test.sqlite", Database::Mode::kReadWrite);
    ASSERT_TRUE(database.ok());
    ASSERT_TRUE((*database)->execute("CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT)").ok());
    ASSERT_TRUE((*database)->execute("CREATE TABLE t(x INTEGER PRIMARY KEY, bytes BLOB)").ok());
    group_.emplace(std::move(*database));
  }
  static Status insert(Transaction& transaction, int x) {
    return Query(transaction.database, "INSERT INTO t VALUES (?, '')", x).run();
  }
  std::int64_t rows() {
    std::int64_t count = -1;
    EXPECT_TRUE(group_
                    ->run(Durability::kProcess,
                          [&](Transaction& transaction) {
                            Query query(transaction.database, "SELECT count(*) FROM t");
                            if (query.next()) count = query.integer();
                            return query.status();
                          })
                    .ok());
    return count;
  }
  // Holds the writer in a work of its own until `others` have been handed in behind it as one batch.
  template <typename HandIn>
  void as_one_batch(HandIn hand_in) {
    std::promise<void> entered, go_on;
    auto first = std::async(std::launch::async, [&] {
      return group_->run(Durability::kProcess, [&](Transaction&) {
        entered.set_value();
        go_on.get_future().wait();
        return ok_status();
      });
    });
    entered.get_future().wait();
    hand_in();
    go_on.set_value();
    EXPECT_TRUE(first.get().ok());
  }

  TemporaryDirectory directory_;
  std::optional<GroupCommit> group_;
};

TEST_F(GroupCommitTest, WorksThatWaitTogetherShareOneCommit) {
  std::vector<std::future<Status>> works;
  as_one_batch([&] {
    for (int i = 0; i < 8; ++i) {
      works.push_back(std::async(std::launch::async, [this, i] {
        return group_->run(Durability::kPower, [i](Transaction& transaction) { return insert(transaction, i); });
      }));
    }
    while (group_->waiting() < 8) std::this_thread::yield();
  });
  for (auto& work : works) EXPECT_TRUE(work.get().ok());
  EXPECT_EQ(rows(), 8);
  EXPECT_EQ(group_->stats().works, 8);
  EXPECT_EQ(group_->stats().commits, 1);
}

TEST_F(GroupCommitTest, AWorkThatFailsIsUndoneAlone) {
  int memory = 0;
  std::future<Status> good, bad;
  as_one_batch([&] {
    bad = std::async(std::launch::async, [&] {
      return group_->run(Durability::kPower, [&](Transaction& transaction) -> Status {
        memory += 1;
        transaction.on_rollback([&] { memory -= 1; });
        transaction.on_commit([&] { memory += 1000; });
        NODE_RETURN_IF_ERROR(insert(transaction, 1));
        return invalid_argument("no");
      });
    });
    while (group_->waiting() < 1) std::this_thread::yield();
    good = std::async(std::launch::async, [&] {
      return group_->run(Durability::kPower, [&](Transaction& transaction) {
        transaction.on_commit([&] { memory += 10; });
        return insert(transaction, 2);
      });
    });
    while (group_->waiting() < 2) std::this_thread::yield();
  });
  EXPECT_EQ(bad.get().code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(good.get().ok());
  EXPECT_EQ(rows(), 1);
  EXPECT_EQ(memory, 10);
  EXPECT_TRUE(group_->health().ok()) << "a call's own mistake is no failure of the store";
}

TEST_F(GroupCommitTest, AWorkThatThrowsIsUndoneAloneAndNobodyIsLeftWaiting) {
  std::future<Status> good, bad;
  as_one_batch([&] {
    bad = std::async(std::launch::async, [&] {
      return group_->run(Durability::kPower, [&](Transaction& transaction) -> Status {
        NODE_RETURN_IF_ERROR(insert(transaction, 1));
        throw std::bad_alloc();
      });
    });
    while (group_->waiting() < 1) std::this_thread::yield();
    good = std::async(std::launch::async, [&] {
      return group_->run(Durability::kPower, [](Transaction& transaction) { return insert(transaction, 2); });
    });
    while (group_->waiting() < 2) std::this_thread::yield();
  });
  EXPECT_EQ(bad.get().code(), StatusCode::kInternal);
  EXPECT_TRUE(good.get().ok());
  EXPECT_EQ(rows(), 1);
}

TEST_F(GroupCommitTest, AFullDiskFailsTheWholeBatchAndHealthSaysSoUntilAWriteSucceeds) {
  const auto set_limit = [&](const std::string& pages) {
    EXPECT_TRUE(group_
                    ->run(Durability::kProcess,
                          [&](Transaction& transaction) {
                            return Query(transaction.database, "PRAGMA max_page_count = " + pages).run();
                          })
                    .ok());
  };
  set_limit("8");
  bool undone = false, certain = false;
  std::future<Status> small, big;
  as_one_batch([&] {
    small = std::async(std::launch::async, [&] {
      return group_->run(
          Durability::kPower,
          [&](Transaction& transaction) {
            transaction.on_rollback([&] { undone = true; });
            return insert(transaction, 1);
          },
          &certain);
    });
    while (group_->waiting() < 1) std::this_thread::yield();
    big = std::async(std::launch::async, [&] {
      return group_->run(Durability::kPower, [&](Transaction& transaction) {
        return Query(transaction.database, "INSERT INTO t VALUES (2, zeroblob(1000000))").run();
      });
    });
    while (group_->waiting() < 2) std::this_thread::yield();
  });
  EXPECT_EQ(small.get().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(big.get().code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(undone);
  EXPECT_TRUE(certain) << "it never came to a commit";
  EXPECT_EQ(group_->health().code(), StatusCode::kResourceExhausted);
  set_limit("100000");  // Any transaction writes a mark while the store is unwell, so it recovers by itself.
  EXPECT_TRUE(group_->health().ok());
  EXPECT_EQ(rows(), 0);
}

TEST_F(GroupCommitTest, TheDatabaseTakesOverItsLogBeforeThatIsLong) {
  const std::filesystem::path path = directory_.path() / "logged.sqlite";
  auto database = Database::open(path, Database::Mode::kReadWrite);
  ASSERT_TRUE(database.ok());
  ASSERT_TRUE(Query(**database, "PRAGMA journal_mode = WAL").run().ok());
  ASSERT_TRUE((*database)->execute("CREATE TABLE t(x INTEGER PRIMARY KEY, bytes BLOB)").ok());
  GroupCommit group(std::move(*database), /*log_pages_max=*/10);
  for (int i = 0; i < 100; ++i) {
    const auto work = [](Transaction& transaction) {
      return Query(transaction.database, "INSERT INTO t(bytes) VALUES (zeroblob(4000))").run();
    };
    ASSERT_TRUE(group.run(Durability::kProcess, work).ok());
  }
  EXPECT_LT(std::filesystem::file_size(path.string() + "-wal"), 30u * 4096);
  EXPECT_GT(std::filesystem::file_size(path), 80u * 4096);
}

}  // namespace
}  // namespace node::storage
