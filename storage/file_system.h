// FileSystem: the few calls that touch the disk, so that tests can fail them or forget unsynced writes.
//
// Threads: every method may be called from any thread.
// Errors:  kResourceExhausted (ENOSPC, EDQUOT, EMFILE), kNotFound (ENOENT), kDataLoss (EIO, EROFS), kInternal.
//          Messages end in the operating system's own words: "fsync: No space left on device".
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "config/base/status.h"

namespace node::storage {

class FileSystem {
 public:
  static constexpr std::size_t kBlockBytes = 4096;  // What disks ask for, or a multiple of it: open(2), O_DIRECT.

  virtual ~FileSystem() = default;
  // One level; OK if it is there. Survives power loss once its parent is synced.
  virtual Status create_directory(const std::filesystem::path& path) = 0;
  virtual Status create_file(const std::filesystem::path& path) = 0;  // Empty; fails if it is there.
  // Written past the page cache, so that nothing is copied and a sync finds it on the disk or in the disk's own cache,
  // is what of `data` fills whole blocks of kBlockBytes: if it is more than 64 KiB, begins at a multiple of a block in
  // memory and in the file, and the file system can.
  virtual Status append(const std::filesystem::path& path, const void* data, std::size_t size_bytes) = 0;
  virtual Status sync_file(const std::filesystem::path& path) = 0;  // fsync
  virtual Status rename(const std::filesystem::path& from, const std::filesystem::path& to) = 0;
  virtual Status sync_directory(const std::filesystem::path& path) = 0;  // fsync of the directory
  virtual Status remove(const std::filesystem::path& path) = 0;          // kNotFound if it is not there.
  virtual Result<std::vector<std::filesystem::path>> list(const std::filesystem::path& directory) = 0;
  virtual Result<std::uint64_t> free_bytes(const std::filesystem::path& path) = 0;

  // `path` with all its parents, each new one's parent synced. That of one which was there is synced too, because a
  // process that was stopped, or a sync that failed, may have left it so.
  Status create_directories(const std::filesystem::path& path);
};

// A command that root runs leaves what it makes in `directory` to the user that the directory belongs to: else the
// node, which runs as that user, could not write it. `made`: a descriptor of what this process has just made there.
void give_to_owner(const std::filesystem::path& directory, int made);
void give_to_owner(const std::filesystem::path& directory, const std::filesystem::path& made);

// The real one. Lives as long as the process.
FileSystem& posix_file_system();

}  // namespace node::storage
