#include "storage/spool.h"

#include <sys/stat.h>

#include <fstream>

#include "tests/fakes/faulty_file_system.h"
#include "tests/storage/study_store_fixture.h"

namespace node::storage {
namespace {

using fakes::FaultyFileSystem;
using Loss = FaultyFileSystem::Loss;
using testing::ElementsAre;
using testing::IsEmpty;

class SpoolTest : public testing::Test {
 protected:
  SpoolTest() {
    config_.directory = (directory_.path() / "var" / "node").string();
    config_.free_bytes_min = 0;
  }
  std::unique_ptr<Spool> open() {
    auto spool = Spool::open(config_, files_);
    EXPECT_TRUE(spool.ok()) << spool.status().message();
    return spool.ok() ? std::move(spool).value() : nullptr;
  }
  std::vector<std::string> keys(Spool& spool) {
    auto keys = spool.list_keys();
    EXPECT_TRUE(keys.ok()) << keys.status().message();
    return keys.ok() ? std::move(keys).value() : std::vector<std::string>();
  }
  bool incoming_is_empty() const {
    return std::filesystem::is_empty(std::filesystem::path(config_.directory) / "incoming");
  }

  TemporaryDirectory directory_;
  config::StorageConfig config_;
  FaultyFileSystem files_;
  const Uid uid_ = uid("1.2.3");
  const std::string bytes_ = std::string(100'000, 'x') + "end";
};

TEST_F(SpoolTest, KeepsBytesAsTheyWere) {
  const auto spool = open();
  auto incoming = spool->begin();
  ASSERT_TRUE(incoming.ok());
  ASSERT_TRUE(incoming->append("ab", 2).ok() && incoming->append("c", 1).ok());
  EXPECT_THAT(keys(*spool), IsEmpty()) << "no reader sees it yet";
  const auto stored = spool->commit(std::move(*incoming), uid_);
  ASSERT_TRUE(stored.ok()) << stored.status().message();
  EXPECT_EQ(stored->size_bytes, 3u);
  EXPECT_EQ(stored->sha256_hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(std::filesystem::file_size(spool->path(stored->key)), 3u);
  EXPECT_TRUE(spool->verify(*stored).ok());
  EXPECT_THAT(keys(*spool), ElementsAre(stored->key));
  EXPECT_TRUE(incoming_is_empty());
}

TEST_F(SpoolTest, TheDigestIsThatOfTheFileHoweverItCame) {
  const auto spool = open();
  std::string bytes;
  for (unsigned i = 0; i < 3'000'000; ++i) bytes += static_cast<char>(i * 7919 >> 8);
  for (const std::size_t part : {std::size_t{4093}, std::size_t{1} << 20, bytes.size()}) {
    auto incoming = spool->begin();
    ASSERT_TRUE(incoming.ok());
    for (std::size_t at = 0; at < bytes.size(); at += part) {
      ASSERT_TRUE(incoming->append(bytes.data() + at, std::min(part, bytes.size() - at)).ok());
    }
    ASSERT_TRUE(incoming->flush().ok());
    EXPECT_EQ(std::filesystem::file_size(incoming->path()), bytes.size()) << "flushed: others may read it";
    const auto stored = spool->commit(std::move(*incoming), uid_);
    ASSERT_TRUE(stored.ok()) << stored.status().message();
    EXPECT_TRUE(spool->verify(*stored).ok()) << "in parts of " << part;
  }
}

TEST_F(SpoolTest, AfterAFailedWriteNothingIsCommitted) {
  const auto spool = open();
  auto incoming = spool->begin();
  ASSERT_TRUE(incoming.ok());
  files_.fail(files_.calls() + 1, resource_exhausted("write: No space left on device"));
  const std::string piece((1 << 20) + 1, 'x');
  EXPECT_EQ(incoming->append(piece.data(), piece.size()).code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(incoming->append("rest", 4).code(), StatusCode::kResourceExhausted) << "although the disk would take it";
  EXPECT_EQ(spool->commit(std::move(*incoming), uid_).status().code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(keys(*spool), IsEmpty());
  EXPECT_TRUE(incoming_is_empty());
}

TEST_F(SpoolTest, CommitSurvivesLossOfUnsyncedWrites) {
  for (const Loss loss : {Loss::kNamesAndContents, Loss::kContents, Loss::kNames}) {
    auto spool = open();
    const auto stored = spool->store(bytes_, uid_);
    ASSERT_TRUE(stored.ok());
    files_.lose_power(loss);
    spool = open();
    EXPECT_TRUE(spool->verify(*stored).ok());
    EXPECT_TRUE(incoming_is_empty());
  }
}

TEST_F(SpoolTest, EverySyncIsNeeded) {
  FaultyFileSystem counted;
  config_.directory = (directory_.path() / "counted" / "node").string();
  auto spool = Spool::open(config_, counted);
  ASSERT_TRUE(spool.ok() && (*spool)->store(bytes_, uid_).ok());
  // The parent of what was there, two parents, the tree, shards that were there, a new shard, the file, its directory.
  ASSERT_EQ(counted.syncs(), 8);
  for (int sync = 1; sync <= counted.syncs(); ++sync) {
    if (sync == 1 || sync == 5) continue;  // Of what a killed process left: see the next two tests.
    FaultyFileSystem files;
    config_.directory = (directory_.path() / std::to_string(sync) / "node").string();
    files.forget_sync(sync);
    auto faulty = Spool::open(config_, files);
    ASSERT_TRUE(faulty.ok());
    const auto stored = (*faulty)->store(bytes_, uid_);
    ASSERT_TRUE(stored.ok());
    files.lose_power();
    EXPECT_FALSE((*faulty)->verify(*stored).ok()) << "nothing is lost without sync " << sync;
  }
}

TEST_F(SpoolTest, AShardThatAKilledProcessLeftUnsyncedIsSyncedBeforeItIsUsed) {
  auto killed = open();
  files_.forget_sync(files_.syncs() + 1);  // Killed between making the shard and syncing it.
  ASSERT_TRUE(killed->store(bytes_, uid_).ok());
  const auto stored = open()->store(bytes_, uid_);
  ASSERT_TRUE(stored.ok());
  files_.lose_power();
  EXPECT_TRUE(open()->verify(*stored).ok());
}

TEST_F(SpoolTest, ADirectoryThatAKilledProcessLeftUnsyncedIsSyncedBeforeItIsUsed) {
  files_.fail(3, data_loss("Input/output error"));  // The first parent is made, its name is not synced.
  ASSERT_FALSE(Spool::open(config_, files_).ok());
  const auto stored = open()->store(bytes_, uid_);
  ASSERT_TRUE(stored.ok());
  files_.lose_power();
  EXPECT_TRUE(open()->verify(*stored).ok());
}

TEST_F(SpoolTest, APowerLossBeforeAnyCallLosesNothingThatWasCommitted) {
  const auto script = [&](FaultyFileSystem& files, std::vector<StoredFile>& committed) {
    auto spool = Spool::open(config_, files);
    if (!spool.ok()) return;
    for (int i = 0; i < 2; ++i) {
      if (auto stored = (*spool)->store(bytes_, uid_); stored.ok()) committed.push_back(*stored);
    }
    if (!committed.empty() && (*spool)->remove(committed.front().key).ok()) committed.erase(committed.begin());
  };
  std::vector<StoredFile> all;
  script(files_, all);
  ASSERT_EQ(all.size(), 1u);
  const int calls = files_.calls();
  for (const Loss loss : {Loss::kNamesAndContents, Loss::kContents, Loss::kNames}) {
    for (int call = 1; call <= calls; ++call) {
      TemporaryDirectory directory;
      config_.directory = (directory.path() / "node").string();
      FaultyFileSystem files;
      files.lose_power_before(call);
      std::vector<StoredFile> committed;
      script(files, committed);
      files.lose_power(loss);
      auto spool = Spool::open(config_, files);
      ASSERT_TRUE(spool.ok()) << spool.status().message();
      for (const auto& stored : committed) {
        EXPECT_TRUE((*spool)->verify(stored).ok()) << "call " << call << ", loss " << static_cast<int>(loss);
      }
      EXPECT_TRUE(incoming_is_empty());
    }
  }
}

TEST_F(SpoolTest, AFailureOfAnyCallKeepsNothingAndSaysSo) {
  const auto spool = open();
  ASSERT_TRUE(spool->store(bytes_, uid_).ok());
  const int before = files_.calls();
  const auto kept = spool->store(bytes_, uid_);
  ASSERT_TRUE(kept.ok());
  const int calls = files_.calls() - before;
  ASSERT_EQ(calls, 5);  // create, append, sync, rename, sync.
  const auto keys_before = keys(*spool);
  for (int call = 1; call <= calls; ++call) {
    files_.fail(files_.calls() + call, resource_exhausted("No space left on device"));
    const auto stored = spool->store(bytes_, uid_);
    ASSERT_FALSE(stored.ok());
    EXPECT_EQ(stored.status().code(), StatusCode::kResourceExhausted);
    EXPECT_THAT(stored.status().message(), testing::EndsWith("No space left on device"));
    EXPECT_EQ(keys(*spool), keys_before);
    EXPECT_TRUE(incoming_is_empty());
  }
  EXPECT_TRUE(spool->verify(*kept).ok());
}

TEST_F(SpoolTest, EveryCommitIsAFileOfItsOwn) {
  const auto spool = open();
  const auto first = spool->store(bytes_, uid_);
  const auto again = spool->store(bytes_, uid_);
  ASSERT_TRUE(first.ok() && again.ok());
  EXPECT_NE(first->key, again->key);
  ASSERT_TRUE(spool->remove(again->key).ok());
  EXPECT_TRUE(spool->verify(*first).ok()) << "the loser of two equal arrivals takes nothing with it";
}

TEST_F(SpoolTest, AnObjectIsInMemoryUntilItIsWritten) {
  const auto spool = open();
  for (const std::size_t size : {std::size_t{1}, std::size_t{1} << 20, (std::size_t{1} << 20) + 1}) {
    const std::string bytes(size, 'x');
    auto file = spool->begin();
    ASSERT_TRUE(file.ok() && file->append(bytes.data(), bytes.size()).ok());
    EXPECT_EQ(file->bytes().has_value(), size <= 1 << 20) << "a piece was written";
    EXPECT_TRUE(file->bytes().value_or(bytes) == bytes);
    ASSERT_TRUE(file->flush().ok());
    EXPECT_FALSE(file->bytes());
    EXPECT_EQ(std::filesystem::file_size(file->path()), size);
    const auto stored = spool->commit(*std::move(file), uid_);
    ASSERT_TRUE(stored.ok());
    EXPECT_TRUE(spool->verify(*stored).ok());
  }
}

TEST_F(SpoolTest, AnUncommittedFileIsDeleted) {
  const auto spool = open();
  {
    auto first = spool->begin();
    auto second = spool->begin();
    ASSERT_TRUE(first.ok() && second.ok());
    IncomingFile moved = std::move(*first);
    moved = std::move(*second);
    EXPECT_FALSE(incoming_is_empty());
  }
  EXPECT_TRUE(incoming_is_empty());
}

TEST_F(SpoolTest, OpenDeletesWhatACrashLeftBehind) {
  open();
  std::ofstream(std::filesystem::path(config_.directory) / "incoming" / "7.part") << "half";
  open();
  EXPECT_TRUE(incoming_is_empty());
}

TEST_F(SpoolTest, OtherNamesBesideItsOwnAreLeftAlone) {
  const std::filesystem::path root = config_.directory;
  std::filesystem::create_directories(root / "incoming" / "x");
  std::filesystem::create_directories(root / "objects" / "lost+found");
  std::ofstream(root / "objects" / "zz") << "?";
  const auto spool = open();
  ASSERT_TRUE(spool);
  EXPECT_THAT(keys(*spool), IsEmpty());
  EXPECT_TRUE(spool->store(bytes_, uid_).ok());
  EXPECT_TRUE(std::filesystem::exists(root / "incoming" / "x"));
}

TEST_F(SpoolTest, AShardThatSomebodyTidiedAwayIsMadeAgain) {
  const auto spool = open();
  const auto first = spool->store(bytes_, uid_);
  ASSERT_TRUE(first.ok());
  std::filesystem::remove_all(spool->path(first->key).parent_path());
  const auto again = spool->store(bytes_, uid_);
  ASSERT_TRUE(again.ok()) << again.status().message();
  files_.lose_power(Loss::kNamesAndContents);
  EXPECT_TRUE(open()->verify(*again).ok());
}

TEST_F(SpoolTest, APipeInTheWayIsALossAndNobodyWaitsForIt) {
  const auto spool = open();
  const auto stored = spool->store(bytes_, uid_);
  ASSERT_TRUE(stored.ok());
  std::filesystem::remove(spool->path(stored->key));
  ASSERT_EQ(::mkfifo(spool->path(stored->key).c_str(), 0600), 0);
  EXPECT_EQ(spool->verify(*stored).code(), StatusCode::kDataLoss);
}

TEST_F(SpoolTest, BelowTheReserveNothingBegins) {
  config_.free_bytes_min = 1000;
  const auto spool = open();
  files_.set_free_bytes(999);
  EXPECT_EQ(spool->begin().status().code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(spool->store(bytes_, uid_).ok()) << "a result of what was accepted may use the reserve";
  files_.set_free_bytes(1000);
  EXPECT_TRUE(spool->begin().ok());
}

TEST_F(SpoolTest, VerifyNoticesOtherBytesAndAMissingFile) {
  const auto spool = open();
  const auto stored = spool->store(bytes_, uid_);
  ASSERT_TRUE(stored.ok());
  std::string other = bytes_;
  other[5] = 'y';
  std::ofstream(spool->path(stored->key), std::ios::binary) << other;
  EXPECT_EQ(spool->verify(*stored).code(), StatusCode::kDataLoss);
  std::ofstream(spool->path(stored->key), std::ios::binary) << "short";
  EXPECT_EQ(spool->verify(*stored).code(), StatusCode::kDataLoss);
  ASSERT_TRUE(spool->remove(stored->key).ok());
  EXPECT_EQ(spool->verify(*stored).code(), StatusCode::kDataLoss);
  EXPECT_TRUE(spool->remove(stored->key).ok()) << "gone already";
}

// A file that is lost, flipped, cut or gone with its directory, also after a power loss.
class SpoolLoss : public SpoolTest, public testing::WithParamInterface<const char*> {
 protected:
  StoredFile lose(Spool& spool, FaultyFileSystem& files) {
    const StoredFile stored = spool.store(bytes_, uid_).value();
    const std::filesystem::path path = spool.path(stored.key);
    std::string other = bytes_;
    if (GetParam() == std::string("flipped")) other[5] = 'y';
    if (GetParam() == std::string("truncated")) other.resize(100);
    if (GetParam() == std::string("deleted")) {
      EXPECT_TRUE(files.remove(path).ok() && files.sync_directory(path.parent_path()).ok());
      std::filesystem::remove(path.parent_path());
    } else {
      std::ofstream(path, std::ios::binary) << other;
      EXPECT_TRUE(files.sync_file(path).ok());
    }
    EXPECT_EQ(spool.compare(stored).code(), StatusCode::kDataLoss);
    return stored;
  }
  static IncomingFile arrived(Spool& spool, const std::string& bytes) {
    auto incoming = spool.begin();
    EXPECT_TRUE(incoming.ok());
    if (incoming.ok()) static_cast<void>(incoming->append(bytes.data(), bytes.size()).ok());
    return std::move(incoming).value();
  }
};

TEST_P(SpoolLoss, IsMadeGoodByTheSameBytesAndByNoOthers) {
  const auto spool = open();
  const StoredFile lost = lose(*spool, files_);
  const Status refused = spool->restore(arrived(*spool, "other bytes"), lost);
  EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(spool->compare(lost).code(), StatusCode::kDataLoss);
  const Status restored = spool->restore(arrived(*spool, bytes_), lost);
  EXPECT_TRUE(restored.ok()) << restored.message();
  EXPECT_TRUE(spool->verify(lost).ok());
  EXPECT_TRUE(spool->restore(arrived(*spool, bytes_), lost).ok()) << "it is intact: nothing changes";
  EXPECT_THAT(keys(*spool), ElementsAre(lost.key));
  EXPECT_TRUE(incoming_is_empty());
  files_.lose_power();
  EXPECT_TRUE(open()->verify(lost).ok());
}

TEST_P(SpoolLoss, IsTheLossOrTheWholeFileAfterAPowerLossBeforeAnyCall) {
  for (const Loss loss : {Loss::kNamesAndContents, Loss::kContents, Loss::kNames}) {
    bool restored = false;
    for (int call = 1; !restored && call < 20; ++call) {
      TemporaryDirectory directory;
      config_.directory = (directory.path() / "node").string();
      FaultyFileSystem files;
      auto spool = Spool::open(config_, files).value();
      const StoredFile lost = lose(*spool, files);
      IncomingFile again = arrived(*spool, bytes_);
      files.lose_power_before(files.calls() + call);
      restored = spool->restore(std::move(again), lost).ok();
      files.lose_power(loss);
      spool = Spool::open(config_, files).value();
      const Status now = spool->compare(lost);
      EXPECT_TRUE(now.ok() || !restored) << "call " << call << ", loss " << static_cast<int>(loss);
      EXPECT_TRUE(spool->restore(arrived(*spool, bytes_), lost).ok()) << "call " << call;
      EXPECT_TRUE(spool->compare(lost).ok());
      EXPECT_THAT(keys(*spool), ElementsAre(lost.key));
    }
    EXPECT_TRUE(restored);
  }
}

TEST_P(SpoolLoss, ThatCannotBeMadeGoodNowStaysALossAndIsSaid) {
  const auto spool = open();
  const StoredFile lost = lose(*spool, files_);
  bool restored = false;
  int failures = 0;
  for (int call = 1; !restored && call < 20; ++call) {
    IncomingFile again = arrived(*spool, bytes_);
    files_.fail(files_.calls() + call, resource_exhausted("No space left on device"));
    const Status status = spool->restore(std::move(again), lost);
    restored = status.ok();
    if (restored) break;
    ++failures;
    EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
    EXPECT_EQ(spool->compare(lost).code(), StatusCode::kDataLoss) << "a name that is not synced counts for nothing";
    EXPECT_TRUE(incoming_is_empty());
  }
  EXPECT_GE(failures, 4);  // append, sync, rename, sync, and those of the directory.
  EXPECT_TRUE(spool->compare(lost).ok());
}

INSTANTIATE_TEST_SUITE_P(Kinds, SpoolLoss, testing::Values("flipped", "truncated", "deleted"),
                         [](const auto& kind) { return std::string(kind.param); });

TEST_F(SpoolTest, WhatIsLostIsRememberedUntilItIsBackOrRemoved) {
  const auto spool = open();
  for (const bool back : {true, false}) {
    const auto stored = spool->store(bytes_, uid_);
    ASSERT_TRUE(stored.ok());
    std::filesystem::remove(spool->path(stored->key));
    for (int look = 0; look < 2; ++look) EXPECT_EQ(spool->verify(*stored).code(), StatusCode::kDataLoss);
    ASSERT_EQ(spool->lost().size(), 1u);
    EXPECT_EQ(spool->lost()[0].sha256_hex, stored->sha256_hex);
    if (back) {
      auto again = spool->begin();
      ASSERT_TRUE(again->append(bytes_.data(), bytes_.size()).ok());
      ASSERT_TRUE(spool->restore(std::move(again).value(), *stored).ok());
    } else {
      ASSERT_TRUE(spool->remove(stored->key).ok());
    }
    EXPECT_EQ(spool->lost().size(), 0u);
  }
}

TEST_F(SpoolTest, WhatCannotBeOpenedForAnotherReasonIsNotLost) {
  const auto spool = open();
  const auto stored = spool->store(bytes_, uid_);
  ASSERT_TRUE(stored.ok());
  const auto path = spool->path(stored->key);
  std::filesystem::rename(path, path.string() + ".aside");
  std::filesystem::create_symlink(path, path);  // ELOOP.
  EXPECT_EQ(spool->verify(*stored).code(), StatusCode::kUnavailable);
  EXPECT_EQ(spool->lost().size(), 0u);
}

TEST_F(SpoolTest, HealthIsWhetherAFileCanBeWrittenNow) {
  auto spool = Spool::open(config_, posix_file_system());
  ASSERT_TRUE(spool.ok());
  EXPECT_TRUE((*spool)->health().ok());
  const auto incoming = std::filesystem::path(config_.directory) / "incoming";
  EXPECT_TRUE(std::filesystem::is_empty(incoming)) << "the probe is gone again";
  std::filesystem::rename(incoming, incoming.string() + ".aside");
  EXPECT_FALSE((*spool)->health().ok());
  std::filesystem::rename(incoming.string() + ".aside", incoming);
  EXPECT_TRUE((*spool)->health().ok());
}

TEST_F(SpoolTest, AKeyNeverLeadsOutOfTheSpool) {
  const auto spool = open();
  const auto outside = std::filesystem::path(config_.directory) / "precious.dcm";
  std::ofstream(outside) << "precious";
  for (const char* key : {"../precious.dcm", "ab/../../precious.dcm", "ab/..", "", "ab/.dcm", "zz/x.dcm", "ab/x"}) {
    EXPECT_EQ(spool->remove(key).code(), StatusCode::kInvalidArgument) << key;
    EXPECT_EQ(spool->verify({key, 8, ""}).code(), StatusCode::kDataLoss) << key;
  }
  EXPECT_TRUE(std::filesystem::exists(outside));
}

}  // namespace
}  // namespace node::storage
