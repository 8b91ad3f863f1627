#include "storage/file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace node::storage {
namespace {

// A write takes page-cache memory in blocks as large as itself. In a virtual machine the large ones may be those that
// its host took back: 512 KB at once took 0.70 ms, in parts of this size 0.12; where memory is at hand, 0.11 either
// way. What is no larger gains nothing by going past the page cache.
constexpr std::size_t kWriteBytes = 64 * 1024;

Status errno_status(const char* operation, int error) {
  std::string message = std::string(operation) + ": " + std::generic_category().message(error);
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE: return resource_exhausted(std::move(message));
    case ENOENT: return not_found(std::move(message));
    case EIO:
    case EROFS: return data_loss(std::move(message));
    default: return internal_error(std::move(message));
  }
}

class Descriptor {
 public:
  Descriptor(const std::filesystem::path& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0640)) {
    if (fd_ < 0 && errno == EINVAL && (flags & O_DIRECT) != 0) {  // A file system that cannot.
      fd_ = ::open(path.c_str(), (flags & ~O_DIRECT) | O_CLOEXEC, 0640);
    }
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }

 private:
  int fd_;
};

Status sync(const std::filesystem::path& path, int flags) {
  Descriptor file(path, O_RDONLY | flags);
  if (!file.ok()) return errno_status("open", errno);
  while (::fsync(file.get()) != 0) {
    if (errno != EINTR) return errno_status("fsync", errno);
  }
  return ok_status();
}

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

class PosixFileSystem : public FileSystem {
 public:
  Status create_directory(const std::filesystem::path& path) override {
    if (::mkdir(path.c_str(), 0750) == 0) {
      give_to_owner(folder_of(path), path);
      return ok_status();
    }
    const int error = errno;
    struct stat info {};
    if (error == EEXIST && ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return ok_status();
    return errno_status("mkdir", error);
  }

  Status create_file(const std::filesystem::path& path) override {
    Descriptor file(path, O_WRONLY | O_CREAT | O_EXCL);
    if (!file.ok()) return errno_status("create", errno);
    give_to_owner(folder_of(path), file.get());
    return ok_status();
  }

  Status append(const std::filesystem::path& path, const void* data, std::size_t size_bytes) override {
    const bool aligned = reinterpret_cast<std::uintptr_t>(data) % kBlockBytes == 0;
    bool direct = aligned && size_bytes > kWriteBytes;
    Descriptor file(path, O_WRONLY | O_APPEND | (direct ? O_DIRECT : 0));
    if (!file.ok()) return errno_status("open", errno);
    direct = direct && (::fcntl(file.get(), F_GETFL) & O_DIRECT) != 0;
    const auto go_on_through_the_page_cache = [&] {
      direct = false;
      return ::fcntl(file.get(), F_SETFL, O_APPEND) == 0;
    };
    const char* next = static_cast<const char*>(data);
    while (size_bytes > 0) {
      if (direct && size_bytes < kBlockBytes && !go_on_through_the_page_cache()) return errno_status("fcntl", errno);
      const std::size_t part = direct ? size_bytes / kBlockBytes * kBlockBytes : std::min(size_bytes, kWriteBytes);
      const ssize_t written = ::write(file.get(), next, part);
      if (written < 0) {
        if (errno == EINTR) continue;
        // The file ends within a block, or blocks here are greater.
        if (direct && errno == EINVAL && go_on_through_the_page_cache()) continue;
        return errno_status("write", errno);
      }
      next += written;
      size_bytes -= static_cast<std::size_t>(written);
    }
    // A hint without a promise, for what went through the page cache: the disk begins now, and the sync that follows
    // has less to wait for.
    static_cast<void>(::sync_file_range(file.get(), 0, 0, SYNC_FILE_RANGE_WRITE));
    return ok_status();
  }

  Status sync_file(const std::filesystem::path& path) override { return sync(path, 0); }

  Status rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    return ::rename(from.c_str(), to.c_str()) == 0 ? ok_status() : errno_status("rename", errno);
  }

  Status sync_directory(const std::filesystem::path& path) override { return sync(path, O_DIRECTORY); }

  Status remove(const std::filesystem::path& path) override {
    return ::unlink(path.c_str()) == 0 ? ok_status() : errno_status("remove", errno);
  }

  Result<std::vector<std::filesystem::path>> list(const std::filesystem::path& directory) override {
    DIR* stream = ::opendir(directory.c_str());
    if (stream == nullptr) return errno_status(("list " + directory.string()).c_str(), errno);
    std::vector<std::filesystem::path> paths;
    errno = 0;
    while (const dirent* entry = ::readdir(stream)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") paths.push_back(directory / name);
    }
    const int error = errno;
    ::closedir(stream);
    if (error != 0) return errno_status("list", error);
    return paths;
  }

  Result<std::uint64_t> free_bytes(const std::filesystem::path& path) override {
    struct statvfs info {};
    if (::statvfs(path.c_str(), &info) != 0) return errno_status("statvfs", errno);
    return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
  }
};

}  // namespace

Status FileSystem::create_directories(const std::filesystem::path& path) {
  if (path.empty() || path == path.root_path()) return ok_status();
  if (!path.has_filename()) return create_directories(path.parent_path());
  const std::filesystem::path parent = path.parent_path();
  const auto sync_parent = [&] { return sync_directory(parent.empty() ? std::filesystem::path(".") : parent); };
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    const Status synced = sync_parent();  // kInternal: a parent that we may not read, so it was not us who made this.
    return synced.code() == StatusCode::kInternal ? ok_status() : synced;
  }
  NODE_RETURN_IF_ERROR(create_directories(parent));
  NODE_RETURN_IF_ERROR(create_directory(path));
  return sync_parent();
}

void give_to_owner(const std::filesystem::path& directory, int made) {
  struct stat of {};
  struct stat own {};
  if (::geteuid() != 0 || ::stat(directory.c_str(), &of) != 0 || of.st_uid == 0) return;
  // That user may write there: never a file of root's that also has a name elsewhere.
  if (::fstat(made, &own) != 0 || own.st_uid != 0 || (!S_ISDIR(own.st_mode) && own.st_nlink != 1)) return;
  static_cast<void>(::fchown(made, of.st_uid, of.st_gid) == 0);  // Without the right to, it stays root's.
}

void give_to_owner(const std::filesystem::path& directory, const std::filesystem::path& made) {
  const Descriptor file(made, O_RDONLY | O_NOFOLLOW);
  if (file.ok()) give_to_owner(directory, file.get());
}

FileSystem& posix_file_system() {
  static PosixFileSystem file_system;
  return file_system;
}

}  // namespace node::storage
