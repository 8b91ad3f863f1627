// MappedFile: a file's bytes, read through a memory map.
//
// Threads:   immutable; the file must not be changed in place while it is mapped.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "config/base/status.h"

namespace node::inference {

class MappedFile {
 public:
  // Errors: kNotFound (no such file), kInvalidArgument (not a regular file), kUnavailable (cannot be opened),
  //         kResourceExhausted (cannot be mapped). All name the file.
  static Result<std::unique_ptr<MappedFile>> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  const std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }

 private:
  explicit MappedFile(std::string path) : path_(std::move(path)) {}

  const std::string path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace node::inference
