#include "storage/file_system.h"

#include "tests/storage/counted_syncs.h"
#include "tests/storage/study_store_fixture.h"

namespace node::storage {
namespace {

class PosixFileSystem : public testing::Test {
 protected:
  TemporaryDirectory directory_;
  FileSystem& file_system_ = posix_file_system();
};

TEST_F(PosixFileSystem, SyncsReachTheKernel) {
  const auto file = directory_.path() / "file";
  ASSERT_TRUE(file_system_.create_file(file).ok());
  ASSERT_TRUE(file_system_.sync_file(file).ok());
  EXPECT_EQ(CountedSyncs::of(file), 1);
  ASSERT_TRUE(file_system_.sync_directory(directory_.path()).ok());
  EXPECT_EQ(CountedSyncs::of(directory_.path()), 1);
}

TEST_F(PosixFileSystem, CreateDirectoriesSyncsEachOnesParent) {
  ASSERT_TRUE(file_system_.create_directories(directory_.path() / "a" / "b" / "").ok());
  EXPECT_TRUE(std::filesystem::is_directory(directory_.path() / "a" / "b"));
  EXPECT_EQ(CountedSyncs::of(directory_.path()), 1);
  EXPECT_EQ(CountedSyncs::of(directory_.path() / "a"), 1);
  EXPECT_TRUE(file_system_.create_directories(directory_.path() / "a" / "b").ok());
  EXPECT_EQ(CountedSyncs::of(directory_.path() / "a"), 2) << "whoever made it may have died before its sync";
}

TEST_F(PosixFileSystem, ErrorsHaveTheOperatingSystemsWords) {
  const auto file = directory_.path() / "file";
  EXPECT_EQ(file_system_.remove(file).code(), StatusCode::kNotFound);
  EXPECT_EQ(file_system_.sync_file(file).message(), "open: No such file or directory");
  ASSERT_TRUE(file_system_.create_file(file).ok());
  EXPECT_EQ(file_system_.create_file(file).message(), "create: File exists");
  EXPECT_FALSE(file_system_.create_directory(file).ok());
  EXPECT_EQ(file_system_.append("/dev/full", "x", 1).code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(file_system_.append("/dev/full", "x", 1).message(), "write: No space left on device");
}

}  // namespace
}  // namespace node::storage
