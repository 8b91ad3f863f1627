#include "storage/spool_check.h"

#include "tests/fakes/temporary_store.h"

namespace node::storage {
namespace {

class SpoolCheckTest : public testing::Test {
 protected:
  SpoolCheck check() {
    auto check = check_spool((stored_.directory() / "store").string(), posix_file_system(), stored_.store());
    EXPECT_TRUE(check.ok()) << check.status().message();
    return check.ok() ? std::move(check).value() : SpoolCheck();
  }
  fakes::TemporaryStore stored_;
};

TEST_F(SpoolCheckTest, FindsWhatIsLostAndWhatIsLeftOver) {
  stored_.add("one", "1.2.3.1", "1.2.3", {});
  const Uid lost = stored_.add("two", "1.2.3.2", "1.2.3", {});
  EXPECT_TRUE(check().lost.empty());
  EXPECT_TRUE(check().orphans.empty());

  const std::string key = (*stored_.store().find_instance(lost))->file.key;
  ASSERT_TRUE(stored_.spool().remove(key).ok());
  const auto orphan = stored_.spool().store("three", Uid::parse("1.2.3.3").value());
  ASSERT_TRUE(orphan.ok());
  ASSERT_EQ(check().lost.size(), 1u);
  EXPECT_EQ(check().lost[0].key, key);
  EXPECT_EQ(check().orphans, std::vector<std::string>{orphan->key});
  EXPECT_EQ(stored_.spool().list_keys()->size(), 2u) << "nothing is changed";
}

TEST_F(SpoolCheckTest, NamesWhatLiesAmongTheObjectsAndIsNone) {
  const Uid uid = stored_.add("one", "1.2.3.1", "1.2.3", {});
  const std::string shard = (*stored_.store().find_instance(uid))->file.key.substr(0, 2);
  EXPECT_TRUE(check().strays.empty());
  const std::filesystem::path objects = objects_directory(stored_.directory() / "store");
  std::filesystem::create_symlink("/nowhere", objects / shard / "link");
  std::filesystem::create_symlink("/nowhere", objects / (shard == "ab" ? "cd" : "ab"));
  std::ofstream(objects / "notes.txt") << "notes";
  EXPECT_EQ(check().strays.size(), 3u);
  EXPECT_TRUE(check().orphans.empty() && check().lost.empty());
  std::filesystem::create_symlink("/nowhere", objects / shard / "1.2.3.9.0123.dcm");
  EXPECT_EQ(check().orphans, std::vector<std::string>{shard + "/1.2.3.9.0123.dcm"}) << "it has an object's name";
}

TEST_F(SpoolCheckTest, AFileThatIsEmptyOrCutShortIsLost) {
  std::vector<StoredFile> files;
  for (const char* number : {"1", "2", "3"}) {
    const Uid uid = stored_.add("three", std::string("1.2.3.") + number, "1.2.3", {});
    files.push_back((*stored_.store().find_instance(uid))->file);
  }
  std::filesystem::resize_file(stored_.spool().path(files[0].key), 0);  // As a power loss leaves it.
  std::filesystem::resize_file(stored_.spool().path(files[2].key), files[2].size_bytes - 1);
  std::vector<std::string> lost;
  for (const StoredFile& file : check().lost) lost.push_back(file.key);
  std::vector<std::string> expected{files[0].key, files[2].key};
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(lost, expected);
  EXPECT_TRUE(check().orphans.empty());
  ASSERT_TRUE(remember_losses(check(), stored_.spool(), stored_.store()).ok());
  EXPECT_EQ(stored_.spool().lost().size(), 2u) << "so the node is not ready";
}

TEST_F(SpoolCheckTest, WhatIsPurgedIsNoLoss) {
  stored_.add("one", "1.2.3.1", "1.2.3", {});
  stored_.clock().advance(std::chrono::seconds(10));
  EXPECT_FALSE(*stored_.store().claim_ready_study(std::chrono::milliseconds(0)));
  const auto purged = stored_.store().purge({std::chrono::milliseconds(0), {}}, 10);
  ASSERT_TRUE(purged.ok() && purged->originals.size() == 1);
  EXPECT_EQ(check().orphans.size(), 1u) << "marked, and killed before the file was deleted";
  ASSERT_TRUE(stored_.spool().remove(purged->originals[0].key).ok());
  EXPECT_TRUE(check().lost.empty());
}

TEST_F(SpoolCheckTest, VerifyCountsWhatItFinds) {
  const Uid damaged = stored_.add("one", "1.2.3.1", "1.2.3", {});
  const StoredFile file = (*stored_.store().find_instance(damaged))->file;
  EXPECT_TRUE(stored_.spool().verify(file).ok());
  EXPECT_EQ(stored_.spool().lost().size(), 0u);
  std::ofstream(stored_.spool().path(file.key)) << "two";
  EXPECT_EQ(stored_.spool().verify(file).code(), StatusCode::kDataLoss);
  EXPECT_EQ(stored_.spool().lost().size(), 1u);
}

TEST_F(SpoolCheckTest, OtherBytesOfTheSameSizeStayKnownAcrossARestart) {
  const Uid damaged = stored_.add("one", "1.2.3.1", "1.2.3", {});
  const StoredFile file = (*stored_.store().find_instance(damaged))->file;
  std::ofstream(stored_.spool().path(file.key)) << "two";
  EXPECT_TRUE(check().lost.empty()) << "nothing has read it yet";
  ASSERT_FALSE(stored_.spool().verify(file).ok());

  config::StorageConfig config;
  config.directory = (stored_.directory() / "store").string();
  for (int start = 0; start < 2; ++start) {
    const auto next = Spool::open(config, posix_file_system());
    ASSERT_EQ(check().lost.size(), 1u);
    ASSERT_TRUE(remember_losses(check(), **next, stored_.store()).ok());
    EXPECT_EQ((*next)->lost().size(), 1u) << "so the node is not ready";
  }
  std::ofstream(stored_.spool().path(file.key)) << "one";  // Put back while no node runs.
  const auto last = Spool::open(config, posix_file_system());
  EXPECT_TRUE(check().lost.empty());
  ASSERT_TRUE(remember_losses(check(), **last, stored_.store()).ok());
  EXPECT_TRUE((*last)->lost().empty());
  EXPECT_TRUE(std::filesystem::is_empty(stored_.directory() / "store/lost")) << "nothing is read again";
}

TEST_F(SpoolCheckTest, AnAcceptedLossIsRememberedUntilItsFileIsWholeOrNotWantedAnyMore) {
  std::vector<StoredFile> files;
  for (const char* number : {"1", "2", "3"}) {
    const Uid uid = stored_.add("one", std::string("1.2.3.") + number, "1.2.3", {});
    files.push_back((*stored_.store().find_instance(uid))->file);
  }
  std::filesystem::remove(stored_.spool().path(files[0].key));
  std::ofstream(stored_.spool().path(files[1].key)) << "two";  // Found where it is read.
  EXPECT_FALSE(stored_.spool().verify(files[1]).ok());
  ASSERT_TRUE(remember_losses(check(), stored_.spool(), stored_.store()).ok());
  const auto waiting = known_losses(stored_.spool(), stored_.store());
  ASSERT_EQ(waiting->size(), 2u);
  EXPECT_FALSE(waiting->at(0).accepted || waiting->at(1).accepted);
  ASSERT_TRUE(review_losses(stored_.spool(), stored_.store(), /*accept=*/true).ok());

  // As at the next start: of a spool that remembers nothing.
  config::StorageConfig config;
  config.directory = (stored_.directory() / "store").string();
  const auto next = Spool::open(config, posix_file_system());
  ASSERT_TRUE(remember_losses(check(), **next, stored_.store()).ok());
  auto losses = known_losses(**next, stored_.store());
  ASSERT_EQ(losses->size(), 2u) << "also the one whose file is there, with other bytes";
  EXPECT_TRUE(losses->at(0).accepted && losses->at(1).accepted);

  std::ofstream(stored_.spool().path(files[0].key)) << "one";
  EXPECT_EQ(review_losses(**next, stored_.store(), false)->size(), 1u);
  EXPECT_EQ(*stored_.store().accepted_losses(), std::vector<std::string>{files[1].key});
  std::filesystem::remove(stored_.spool().path(files[0].key));
  EXPECT_FALSE((*next)->verify(files[0]).ok());
  losses = known_losses(**next, stored_.store());
  EXPECT_EQ(std::count_if(losses->begin(), losses->end(), [](const Loss& loss) { return loss.accepted; }), 1)
      << "one that is lost again is another loss";
  ASSERT_TRUE((*next)->remove(files[0].key).ok() && (*next)->remove(files[1].key).ok());
  EXPECT_TRUE(known_losses(**next, stored_.store())->empty()) << "retention has them";
}

}  // namespace
}  // namespace node::storage
