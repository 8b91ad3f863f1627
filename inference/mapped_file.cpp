#include "inference/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace node::inference {

Result<std::unique_ptr<MappedFile>> MappedFile::open(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // A pipe must not block us.
  if (descriptor < 0) {
    const int error = errno;
    const std::string message = path + ": open: " + std::strerror(error);
    return error == ENOENT ? not_found(message) : unavailable(message);
  }
  std::unique_ptr<MappedFile> file(new MappedFile(path));
  struct stat information {};
  if (::fstat(descriptor, &information) != 0 || !S_ISREG(information.st_mode)) {
    ::close(descriptor);
    return invalid_argument(path + ": not a regular file");
  }
  file->size_ = static_cast<std::size_t>(information.st_size);
  if (file->size_ > 0) {
    void* const data = ::mmap(nullptr, file->size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (data == MAP_FAILED) {
      const std::string reason = std::strerror(errno);
      ::close(descriptor);
      return resource_exhausted(path + ": mmap: " + reason);
    }
    file->data_ = static_cast<const std::byte*>(data);
  }
  ::close(descriptor);
  return file;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace node::inference
