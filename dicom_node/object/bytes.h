// Bytes: a vector of bytes that resize() leaves as they are, for buffers of many megabytes that are written whole
// anyway: std::vector would write them once more, with zeros.
#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace node::object {

template <typename T>
struct Uninitialised : std::allocator<T> {
  template <typename U>
  struct rebind {
    using other = Uninitialised<U>;
  };
  using std::allocator<T>::allocator;
  template <typename U>
  void construct(U* at) noexcept {
    ::new (static_cast<void*>(at)) U;
  }
  template <typename U, typename... Arguments>
  void construct(U* at, Arguments&&... arguments) {
    ::new (static_cast<void*>(at)) U(std::forward<Arguments>(arguments)...);
  }
};

using Bytes = std::vector<std::uint8_t, Uninitialised<std::uint8_t>>;

}  // namespace node::object
