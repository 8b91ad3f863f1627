// DirectoryLock: one process owns a storage directory; the operating system lets go of it when the process ends.
#pragma once

#include <filesystem>
#include <memory>

#include "config/base/status.h"

namespace node::storage {

class DirectoryLock {
 public:
  // Errors: kUnavailable (another process holds it; the message names the directory and, if readable, the process),
  //         kDataLoss (the lock file cannot be made).
  static Result<std::unique_ptr<DirectoryLock>> acquire(const std::filesystem::path& directory);
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace node::storage
