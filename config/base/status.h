// Status, Result<T>: the one way a call reports failure.
//
// Guarantee: an expected failure (the network, a disk, a file, a configuration) is a value, never an exception; both
//            types are [[nodiscard]], so it cannot be overlooked. The message names the object and the operation:
//            "commit 1.2.840.1: fsync: No space left on device". It never holds a patient's name, ID or birth date.
// Threads:   values; const access from several threads is safe.
#pragma once

#include <cassert>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace node {

enum class StatusCode {
  kOk,
  kInvalidArgument,    // These bytes or this call will never be right.
  kUnsupported,        // Legal, but nothing here handles it.
  kUnavailable,        // Not now: a peer is down, the node is stopping.
  kResourceExhausted,  // Not now: disk or device memory is full.
  kDataLoss,           // Stored bytes differ from what was stored, or are gone.
  kNotFound,           // No such thing; also a claim that is no longer held.
  kInternal,           // A bug, or an unknown error of a library.
};

inline std::string_view to_string(StatusCode code) {
  switch (code) {
    case StatusCode::kOk: return "ok";
    case StatusCode::kInvalidArgument: return "invalid argument";
    case StatusCode::kUnsupported: return "unsupported";
    case StatusCode::kUnavailable: return "unavailable";
    case StatusCode::kResourceExhausted: return "resource exhausted";
    case StatusCode::kDataLoss: return "data loss";
    case StatusCode::kNotFound: return "not found";
    case StatusCode::kInternal: return "internal";
  }
  return "unknown";
}

class [[nodiscard]] Status {
 public:
  Status() = default;  // OK.
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

  // The same failure seen from one step further out: "outer: inner".
  Status within(std::string_view outer) const {
    return ok() ? *this : Status(code_, std::string(outer) + ": " + message_);
  }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

inline Status ok_status() { return Status(); }
inline Status invalid_argument(std::string message) { return {StatusCode::kInvalidArgument, std::move(message)}; }
inline Status unsupported(std::string message) { return {StatusCode::kUnsupported, std::move(message)}; }
inline Status unavailable(std::string message) { return {StatusCode::kUnavailable, std::move(message)}; }
inline Status resource_exhausted(std::string message) { return {StatusCode::kResourceExhausted, std::move(message)}; }
inline Status data_loss(std::string message) { return {StatusCode::kDataLoss, std::move(message)}; }
inline Status not_found(std::string message) { return {StatusCode::kNotFound, std::move(message)}; }
inline Status internal_error(std::string message) { return {StatusCode::kInternal, std::move(message)}; }

// A value, or the reason why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  Result(Status status) : status_(std::move(status)) { assert(!status_.ok()); }

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }

  T& value() & { assert(ok()); return *value_; }
  const T& value() const& { assert(ok()); return *value_; }
  T&& value() && { assert(ok()); return std::move(*value_); }

  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { assert(ok()); return &*value_; }
  const T* operator->() const { assert(ok()); return &*value_; }

 private:
  Status status_;
  std::optional<T> value_;
};

#define NODE_STATUS_JOIN_(a, b) a##b
#define NODE_STATUS_JOIN(a, b) NODE_STATUS_JOIN_(a, b)

// Returns from the calling function if `expression`, a Status, is a failure.
#define NODE_RETURN_IF_ERROR(expression)                        \
  do {                                                          \
    ::node::Status node_status_ = (expression);                 \
    if (!node_status_.ok()) return node_status_;                \
  } while (false)

// Declares or assigns `left` from the value of `expression`, a Result<T>; returns its status if it is a failure.
#define NODE_ASSIGN_OR_RETURN(left, expression)                                       \
  auto NODE_STATUS_JOIN(node_result_, __LINE__) = (expression);                       \
  if (!NODE_STATUS_JOIN(node_result_, __LINE__).ok())                                 \
    return NODE_STATUS_JOIN(node_result_, __LINE__).status();                         \
  left = std::move(NODE_STATUS_JOIN(node_result_, __LINE__)).value()

}  // namespace node
