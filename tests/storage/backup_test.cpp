#include "storage/backup.h"

#include <gmock/gmock.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <atomic>
#include <mutex>
#include <set>
#include <thread>

#include "storage/spool_check.h"
#include "storage/sqlite_study_store.h"
#include "tests/fakes/temporary_store.h"

namespace node::storage {
namespace {

// The real one, which writes down what is synced and renamed.
class Recorded : public FileSystem {
 public:
  using Path = std::filesystem::path;
  Status create_directory(const Path& path) override { return posix_file_system().create_directory(path); }
  Status create_file(const Path& path) override { return posix_file_system().create_file(path); }
  Status append(const Path& path, const void* data, std::size_t size_bytes) override {
    return posix_file_system().append(path, data, size_bytes);
  }
  Status sync_file(const Path& path) override {
    done.push_back("sync " + path.string());
    return posix_file_system().sync_file(path);
  }
  Status rename(const Path& from, const Path& to) override {
    done.push_back("rename " + from.string());
    return posix_file_system().rename(from, to);
  }
  Status sync_directory(const Path& path) override {
    done.push_back("sync " + path.string());
    return posix_file_system().sync_directory(path);
  }
  Status remove(const Path& path) override { return posix_file_system().remove(path); }
  Result<std::vector<Path>> list(const Path& directory) override { return posix_file_system().list(directory); }
  Result<std::uint64_t> free_bytes(const Path& path) override { return posix_file_system().free_bytes(path); }

  std::vector<std::string> done;
};

class BackupTest : public testing::Test {
 protected:
  BackupTest() : to_(stored_.directory() / "backup") { config_.directory = (stored_.directory() / "store").string(); }

  Result<BackupReport> back_up_now(const std::function<void(std::int64_t, std::int64_t)>& progress = {}) {
    return back_up(config_, to_, posix_file_system(), progress);
  }
  Uid add(int number) {
    const std::string uid = "1.2.3." + std::to_string(number);
    return stored_.add("bytes of " + uid, uid, "1.2.3", {}, {});
  }
  // As a node on a new machine that was given the folder.
  struct Restored {
    config::StorageConfig config;
    std::unique_ptr<StudyStore> store;
    std::unique_ptr<Spool> spool;
  };
  Restored restore() {
    Restored restored;
    restored.config.directory = (stored_.directory() / "restored").string();
    std::filesystem::copy(to_, restored.config.directory, std::filesystem::copy_options::recursive);
    auto store = open_sqlite_study_store(restored.config, stored_.clock());
    EXPECT_TRUE(store.ok()) << store.status().message();
    restored.store = std::move(store).value();
    restored.spool = Spool::open(restored.config, posix_file_system()).value();
    const auto check = check_spool(restored.config.directory, posix_file_system(), *restored.store);
    EXPECT_TRUE(check.ok() && check->lost.empty() && check->orphans.empty());
    return restored;
  }
  void purge_all() {
    const auto purged = stored_.store().purge({std::chrono::milliseconds(0), std::chrono::milliseconds(0)}, 100);
    ASSERT_TRUE(purged.ok());
    for (const StoredFile& file : purged->originals) EXPECT_TRUE(stored_.spool().remove(file.key).ok());
    purged_ += purged->originals.size();
  }
  void bring_to_rest() {
    stored_.clock().advance(std::chrono::seconds(10));
    EXPECT_FALSE(*stored_.store().claim_ready_study(std::chrono::milliseconds(0)));
  }

  fakes::TemporaryStore stored_;
  config::StorageConfig config_;
  const std::filesystem::path to_;
  std::size_t purged_ = 0;
};

TEST_F(BackupTest, EveryInstanceAcknowledgedBeforeItBeganIsThereWhileImagesGoOnArriving) {
  std::atomic<int> acknowledged = 0;
  std::atomic<bool> enough = false;
  std::thread room([&] {
    for (int number = 1; !enough; ++number) {
      add(number);
      acknowledged = number;
    }
  });
  while (acknowledged < 50) std::this_thread::yield();
  const int before = acknowledged;
  std::atomic<bool> during = false;
  const auto report = back_up_now([&](std::int64_t, std::int64_t) {
    while (acknowledged < before + 20) std::this_thread::yield();  // It does go on.
    during = true;
  });
  enough = true;
  room.join();
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_TRUE(during);
  EXPECT_TRUE(report->lost.empty());
  EXPECT_EQ(report->copied, 0) << "the same volume";
  EXPECT_GE(report->linked, before);

  const Restored restored = restore();
  EXPECT_EQ(restored.store->node_uid(), stored_.store().node_uid());
  for (int number = 1; number <= before; ++number) {
    const auto held = restored.store->find_instance(Uid::parse("1.2.3." + std::to_string(number)).value());
    ASSERT_TRUE(held.ok() && held->has_value()) << number;
    EXPECT_TRUE(restored.spool->verify((*held)->file).ok()) << number;
  }
}

TEST_F(BackupTest, WhatRetentionDeletesMeanwhileIsPurgedInTheBackupToo) {
  for (int number = 1; number <= 5; ++number) add(number);
  bring_to_rest();
  const auto report = back_up_now([&](std::int64_t done, std::int64_t all) {
    EXPECT_EQ(all, 5);
    if (done == 2) purge_all();
  });
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_EQ(purged_, 5u);
  EXPECT_EQ(report->linked, 2);
  EXPECT_TRUE(report->lost.empty());
  const Restored restored = restore();
  EXPECT_EQ(restored.store->known_files()->size(), 2u);
  EXPECT_EQ(restored.store->list_instances(Uid::parse("1.2.3").value())->size(), 5u);
}

TEST_F(BackupTest, AnObjectThatTheStoreItselfHasLostIsNamed) {
  add(1);
  const Uid lost = add(2);
  const std::string key = (*stored_.store().find_instance(lost))->file.key;
  ASSERT_TRUE(stored_.spool().remove(key).ok());
  const auto report = back_up_now();
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_EQ(report->lost, std::vector<std::string>{key});
  EXPECT_EQ(report->linked, 1);
}

TEST_F(BackupTest, ALinkedFileOutlivesItsOriginal) {
  add(1);
  ASSERT_TRUE(back_up_now().ok());
  bring_to_rest();
  purge_all();
  EXPECT_EQ(restore().store->known_files()->size(), 1u);
}

TEST_F(BackupTest, HoldsOneDatabaseTheObjectsAndNothingElse) {
  add(1);
  ASSERT_TRUE(back_up_now().ok());
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(to_)) names.insert(entry.path().filename());
  EXPECT_EQ(names, (std::set<std::string>{"objects", "studies.sqlite"}));
}

// After a power loss, too: the names of what is linked, and, on another volume, the bytes of what is copied.
TEST_F(BackupTest, IsSyncedBeforeItIsSaidToBeWhole) {
  const Uid uid = add(1);
  const std::filesystem::path shard =
      std::filesystem::path((*stored_.store().find_instance(uid))->file.key).parent_path();
  Recorded files;
  ASSERT_TRUE(back_up(config_, to_, files, {}).ok());
  const std::string objects = (to_ / "objects").string(), unfinished = (to_ / "studies.sqlite.part").string();
  EXPECT_THAT(files.done, testing::IsSupersetOf({"sync " + (to_ / "objects" / shard).string()})) << "names of objects";
  ASSERT_GE(files.done.size(), 4u);
  files.done.erase(files.done.begin(), files.done.end() - 4);
  EXPECT_THAT(files.done, testing::ElementsAre("sync " + objects, "sync " + unfinished, "rename " + unfinished,
                                               "sync " + to_.string()));
}

TEST_F(BackupTest, OnAnotherVolumeItIsACopyAndEachFileIsSynced) {
  struct ::stat here = {}, there = {};
  ASSERT_EQ(::stat(stored_.directory().c_str(), &here), 0);
  const char* elsewhere = nullptr;
  for (const char* const folder : {"/dev/shm", "/tmp", "/var/tmp"}) {
    if (::stat(folder, &there) == 0 && there.st_dev != here.st_dev && ::access(folder, W_OK) == 0) elsewhere = folder;
  }
  if (elsewhere == nullptr) GTEST_SKIP() << "there is one volume only";
  std::string pattern = std::string(elsewhere) + "/node-test-XXXXXX";
  const std::filesystem::path folder = ::mkdtemp(pattern.data());
  const Uid uid = add(1);
  const std::string key = (*stored_.store().find_instance(uid))->file.key;
  Recorded files;
  const auto report = back_up(config_, folder / "backup", files, {});
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_EQ(report->copied, 1);
  EXPECT_EQ(report->linked, 0);
  EXPECT_THAT(files.done, testing::Contains("sync " + (folder / "backup/objects" / key).string()));
  EXPECT_EQ(std::filesystem::file_size(folder / "backup/objects" / key),
            std::filesystem::file_size(stored_.spool().path(key)));
  std::filesystem::remove_all(folder);
}

TEST_F(BackupTest, OfTwoVolumesTheFullOneIsNamed) {
  const std::filesystem::path small = stored_.directory() / "small";
  std::filesystem::create_directory(small);
  if (::mount("tmpfs", small.c_str(), "tmpfs", 0, "size=1m") != 0) GTEST_SKIP() << "mounting a volume needs root";
  const std::filesystem::path to = small / "backup";
  stored_.add(std::string(2 << 20, 'x'), "1.2.3.1", "1.2.3", {}, {});
  const Status full = back_up(config_, to, posix_file_system(), {}).status();
  EXPECT_EQ(full.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(full.message(), testing::HasSubstr("the volume of " + to.string() + " is full ("));
  EXPECT_THAT(full.message(), testing::HasSubstr(" to " + to.string())) << "what was copied, and where to";
  ::umount2(small.c_str(), MNT_DETACH);
}

TEST_F(BackupTest, AFolderThatIsNotEmptyIsLeftAlone) {
  add(1);
  std::filesystem::create_directories(to_);
  std::ofstream(to_ / "precious") << "precious";
  const auto refused = back_up_now();
  EXPECT_EQ(refused.status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(to_), {}), 1);
}

TEST_F(BackupTest, AFolderWithinTheStoreIsRefusedAndNotMade) {
  add(1);
  const std::filesystem::path store = config_.directory, link = stored_.directory() / "link";
  std::filesystem::create_directory_symlink(store, link);
  for (const auto& inside : {store, store / "backup", store / "backup/", store / "objects/ab/backup",
                             store / "../store/backup", link / "backup"}) {
    const auto refused = back_up(config_, inside, posix_file_system(), {});
    EXPECT_EQ(refused.status().code(), StatusCode::kInvalidArgument) << inside;
    EXPECT_THAT(refused.status().message(), testing::HasSubstr("lies within storage.directory")) << inside;
    EXPECT_FALSE(std::filesystem::exists(inside / "studies.sqlite.part")) << inside;
  }
  EXPECT_FALSE(std::filesystem::exists(store / "backup"));
  config_.directory += "/";
  EXPECT_FALSE(back_up(config_, store / "backup", posix_file_system(), {}).ok());
  EXPECT_TRUE(back_up(config_, store.string() + "-backup", posix_file_system(), {}).ok()) << "beside it";
}

TEST_F(BackupTest, WithoutAStoreNothingIsMade) {
  config_.directory = (stored_.directory() / "nowhere").string();
  EXPECT_EQ(back_up_now().status().code(), StatusCode::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(to_));
}

}  // namespace
}  // namespace node::storage
