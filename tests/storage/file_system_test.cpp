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

// Of the first `size_bytes` of a file.
long pages_in_memory(const std::filesystem::path& file, std::size_t size_bytes) {
  const int descriptor = ::open(file.c_str(), O_RDONLY);
  void* mapped = ::mmap(nullptr, size_bytes, PROT_READ, MAP_SHARED, descriptor, 0);
  ::close(descriptor);
  if (mapped == MAP_FAILED) return -1;
  std::vector<unsigned char> pages((size_bytes + FileSystem::kBlockBytes - 1) / FileSystem::kBlockBytes);
  const int looked = ::mincore(mapped, size_bytes, pages.data());
  ::munmap(mapped, size_bytes);
  return looked == 0 ? std::count_if(pages.begin(), pages.end(), [](unsigned char page) { return page & 1; }) : -1;
}

TEST_F(PosixFileSystem, WholeBlocksOfALargeWriteDoNotStayInMemory) {
  constexpr std::size_t kBytes = 64 * FileSystem::kBlockBytes, kTail = 9;
  const std::unique_ptr<char, decltype(&std::free)> memory(
      static_cast<char*>(std::aligned_alloc(FileSystem::kBlockBytes, 2 * kBytes)), &std::free);
  std::memset(memory.get(), 7, 2 * kBytes);
  const auto probe = directory_.path() / "probe", file = directory_.path() / "file";
  const int direct = ::open(probe.c_str(), O_CREAT | O_WRONLY | O_DIRECT, 0600);
  const bool written = direct >= 0 && ::write(direct, memory.get(), kBytes) == static_cast<ssize_t>(kBytes);
  ::close(direct);
  if (!written || pages_in_memory(probe, kBytes) != 0) {
    GTEST_SKIP() << "the file system of temporary files writes nothing past the page cache";
  }
  ASSERT_TRUE(file_system_.create_file(file).ok());
  ASSERT_TRUE(file_system_.append(file, memory.get(), kBytes + kTail).ok());
  EXPECT_EQ(pages_in_memory(file, kBytes), 0);
}

}  // namespace
}  // namespace node::storage
