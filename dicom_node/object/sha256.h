// Sha256: a running digest.
//
// Threads:   one object belongs to one thread.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace node::object {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void update(const void* data, std::size_t size_bytes);
  void update(std::string_view text) { update(text.data(), text.size()); }
  std::string finish();      // 32 bytes. Nothing may be called after it.
  std::string finish_hex();  // 64 lower case hexadecimal digits. Likewise.

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace node::object
