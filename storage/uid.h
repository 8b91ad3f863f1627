// Uid: a checked DICOM UID, hence safe as a file name.
//
// Guarantee: 1 to 64 characters, digits and single dots, no component empty. A leading zero ("1.2.03"), which PS3.5 9.1
//            forbids and old devices write, is kept as it is: "1.2.03" and "1.2.3" are two UIDs. Ours have none.
// Source:    PS3.5 9.1.
#pragma once

#include <compare>
#include <functional>
#include <string>
#include <string_view>

#include "config/base/status.h"

namespace node::storage {

class Uid {
 public:
  // `text` without DICOM's trailing padding (NUL or space). Errors: kInvalidArgument; the message does not repeat a
  // text that may be hostile beyond its first 64 printable characters.
  static Result<Uid> parse(std::string_view text);

  const std::string& str() const { return text_; }
  friend auto operator<=>(const Uid&, const Uid&) = default;

 private:
  explicit Uid(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

}  // namespace node::storage

template <>
struct std::hash<node::storage::Uid> {
  std::size_t operator()(const node::storage::Uid& uid) const { return std::hash<std::string>()(uid.str()); }
};
