#include "storage/file_system.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>

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

// Past the page cache or through it, by where they lie in memory and in the file.
TEST_F(PosixFileSystem, AppendsTheBytesWhereverTheyBeginAndEnd) {
  constexpr std::size_t kBlock = FileSystem::kBlockBytes, kLarge = 64 * kBlock;
  const std::unique_ptr<char, decltype(&std::free)> memory(static_cast<char*>(std::aligned_alloc(kBlock, 2 * kLarge)),
                                                           &std::free);
  std::string bytes;
  for (std::size_t i = 0; i < 2 * kLarge; ++i) bytes += memory.get()[i] = static_cast<char>(i * i >> 7);
  int number = 0;
  for (const std::size_t first : {kLarge, kLarge + 1, kLarge + kBlock - 1, kLarge - 7, kBlock, std::size_t{1}}) {
    for (const std::size_t begin : {std::size_t{0}, std::size_t{1}, kBlock / 2, kBlock}) {
      const auto file = directory_.path() / std::to_string(number++);
      ASSERT_TRUE(file_system_.create_file(file).ok());
      ASSERT_TRUE(file_system_.append(file, memory.get(), first).ok());
      ASSERT_TRUE(file_system_.append(file, memory.get() + begin, kLarge + 5).ok());
      ASSERT_TRUE(file_system_.append(file, memory.get(), 3).ok());
      std::ifstream in(file, std::ios::binary);
      const std::string found{std::istreambuf_iterator<char>(in), {}};
      EXPECT_TRUE(found == bytes.substr(0, first) + bytes.substr(begin, kLarge + 5) + bytes.substr(0, 3))
          << first << " bytes, then from " << begin;
    }
  }
}

TEST_F(PosixFileSystem, WholeBlocksOfALargeWriteDoNotStayInMemory) {
  constexpr std::size_t kBlock = FileSystem::kBlockBytes, kBlocks = 64;
  const std::unique_ptr<char, decltype(&std::free)> memory(
      static_cast<char*>(std::aligned_alloc(kBlock, (kBlocks + 1) * kBlock)), &std::free);
  std::memset(memory.get(), 7, (kBlocks + 1) * kBlock);
  const auto file = directory_.path() / "file";
  const int probe = ::open(directory_.path().c_str(), O_TMPFILE | O_WRONLY | O_DIRECT, 0600);
  if (probe < 0 || ::write(probe, memory.get(), kBlock) != static_cast<ssize_t>(kBlock)) {
    GTEST_SKIP() << "the file system of temporary files writes nothing past the page cache";
  }
  ::close(probe);
  ASSERT_TRUE(file_system_.create_file(file).ok());
  ASSERT_TRUE(file_system_.append(file, memory.get(), kBlocks * kBlock + 9).ok());
  const int descriptor = ::open(file.c_str(), O_RDONLY);
  void* mapped = ::mmap(nullptr, kBlocks * kBlock, PROT_READ, MAP_SHARED, descriptor, 0);
  ASSERT_NE(mapped, MAP_FAILED);
  std::vector<unsigned char> resident(kBlocks);
  ASSERT_EQ(::mincore(mapped, kBlocks * kBlock, resident.data()), 0);
  EXPECT_EQ(std::count_if(resident.begin(), resident.end(), [](unsigned char page) { return page & 1; }), 0);
  ::munmap(mapped, kBlocks * kBlock);
  ::close(descriptor);
}

}  // namespace
}  // namespace node::storage
