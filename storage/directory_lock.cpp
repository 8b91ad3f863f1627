#include "storage/directory_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>

#include "storage/file_system.h"

namespace node::storage {

Result<std::unique_ptr<DirectoryLock>> DirectoryLock::acquire(const std::filesystem::path& directory) {
  // The file is never deleted: another process could hold a lock on the deleted one.
  const std::filesystem::path path = directory / "lock";
  int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
  if (fd >= 0) {
    give_to_owner(directory, fd);
  } else if (errno == EEXIST) {
    fd = ::open(path.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  }
  if (fd < 0) {
    return data_loss("lock " + directory.string() + ": open: " + std::generic_category().message(errno));
  }
  auto lock = std::unique_ptr<DirectoryLock>(new DirectoryLock(fd));
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    if (error != EWOULDBLOCK) {
      return data_loss("lock " + directory.string() + ": flock: " + std::generic_category().message(error));
    }
    char text[32] = {};
    const ssize_t count = ::pread(fd, text, sizeof text - 1, 0);
    std::string holder(text, count > 0 ? static_cast<std::size_t>(count) : 0);
    holder.erase(std::min(holder.size(), holder.find_first_not_of("0123456789")));
    return unavailable("storage directory " + directory.string() + " is in use by another node" +
                       (holder.empty() ? "" : " (process " + holder + ")"));
  }
  // Who holds it is only a hint for the other's message, hence neither checked nor synced.
  const std::string own = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, own.data(), own.size(), 0) < 0) errno = 0;
  return lock;
}

DirectoryLock::~DirectoryLock() { ::close(fd_); }

}  // namespace node::storage
