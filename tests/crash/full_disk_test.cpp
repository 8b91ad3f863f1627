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
    return open_sqlite_study_store(config, clock_, files_);
  }
  void TearDown() override { store_.reset(); }  // Before the VFS that it uses.

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

}  // namespace
}  // namespace node::storage
