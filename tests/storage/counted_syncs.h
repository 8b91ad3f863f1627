// Stands in for fsync() and fdatasync() of this program and of the libraries in it, SQLite among them: counts each call
// by the name of what is synced, then does it. For one source file a program.
#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <mutex>
#include <string>

namespace node::storage {

class CountedSyncs {
 public:
  static void count(int fd) {
    std::error_code ignored;
    const auto path = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), ignored);
    std::lock_guard lock(mutex());
    ++counts()[path.string()];
  }
  static int of(const std::filesystem::path& path) {
    std::lock_guard lock(mutex());
    return counts()[path.string()];
  }

 private:
  static std::mutex& mutex() {
    static std::mutex instance;
    return instance;
  }
  static std::map<std::string, int>& counts() {
    static std::map<std::string, int> instance;
    return instance;
  }
};

}  // namespace node::storage

extern "C" int fsync(int fd) {
  node::storage::CountedSyncs::count(fd);
  return static_cast<int>(syscall(SYS_fsync, fd));
}

extern "C" int fdatasync(int fd) {
  node::storage::CountedSyncs::count(fd);
  return static_cast<int>(syscall(SYS_fdatasync, fd));
}
