// The crash tests believe FaultySqliteVfs about when SQLite syncs what: here it is compared with SQLite's own VFS.
#include "storage/sqlite_study_store.h"
#include "tests/fakes/faulty_sqlite_vfs.h"
#include "tests/storage/counted_syncs.h"
#include "tests/storage/study_store_fixture.h"

namespace node::storage {
namespace {

class SqliteVfs : public StudyStoreFixture {
 protected:
  Result<std::unique_ptr<StudyStore>> open_store() override {
    config::StorageConfig config;
    config.directory = directory_.path().string();
    return files_ ? open_sqlite_study_store(config, clock_, *files_) : open_sqlite_study_store(config, clock_);
  }
  void SetUp() override {}  // Each test opens.

  // A first start, a study's life, a stop, another start: syncs of the database, its log, its journal, its directory.
  std::vector<int> syncs_of_a_life(const std::function<int(const std::filesystem::path&)>& syncs_of) {
    open();
    finish_one(1);
    for (const auto& claim : claim_deliveries()) {
      EXPECT_TRUE(store_->finish_delivery(claim.token, {DeliveryState::kDelivered}).ok());
    }
    restart();
    finish_one(2);
    store_.reset();
    const std::string database = (directory_.path() / "studies.sqlite").string();
    return {syncs_of(database), syncs_of(database + "-wal"), syncs_of(database + "-journal"),
            syncs_of(directory_.path())};
  }

  std::unique_ptr<fakes::FaultyFileSystem> files_;
};

TEST_F(SqliteVfs, SyncsWhatSqliteSyncs) {
  const std::vector<int> real = syncs_of_a_life(&CountedSyncs::of);
  EXPECT_GT(real[0], 0) << "the database, at a checkpoint";
  EXPECT_GT(real[1], 5) << "the log";
  EXPECT_GT(real[3], 1) << "the directory";

  for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
    std::filesystem::remove_all(entry.path());
  }
  files_ = std::make_unique<fakes::FaultyFileSystem>();
  const fakes::FaultySqliteVfs vfs(*files_, directory_.path());
  EXPECT_EQ(syncs_of_a_life([this](const std::filesystem::path& path) { return files_->syncs_of(path); }), real);
}

// SQLite ignores a sync of the directory that fails; the one that the store makes itself, as it opens, does not.
TEST_F(SqliteVfs, AStoreThatHasOpenedSurvivesAPowerLossWhateverFailedOnTheWay) {
  int opened = 0;
  bool reached = true;
  for (int call = 1; reached; ++call) {
    for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
      std::filesystem::remove_all(entry.path());
    }
    files_ = std::make_unique<fakes::FaultyFileSystem>();
    const fakes::FaultySqliteVfs vfs(*files_, directory_.path());
    files_->fail(call, data_loss("Input/output error"));
    auto store = open_store();
    reached = files_->calls() >= call;
    if (!store.ok()) continue;
    ++opened;
    const Uid node_uid = (*store)->node_uid();
    files_->lose_power_before(1);
    store->reset();
    files_->lose_power();
    store = open_store();
    ASSERT_TRUE(store.ok()) << store.status().message();
    EXPECT_EQ((*store)->node_uid(), node_uid) << "call " << call;
    store->reset();
  }
  EXPECT_GT(opened, 1) << "some failures are ignored";
}

}  // namespace
}  // namespace node::storage
