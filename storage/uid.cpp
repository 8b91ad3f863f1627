#include "storage/uid.h"

namespace node::storage {
namespace {

constexpr std::size_t kLengthMax = 64;

Status refused(std::string_view text, std::string_view why) {
  std::string shown;
  for (char c : text.substr(0, kLengthMax)) shown += c >= ' ' && c <= '~' ? c : '?';
  return invalid_argument("UID '" + shown + "': " + std::string(why));
}

}  // namespace

Result<Uid> Uid::parse(std::string_view text) {
  if (text.empty()) return refused(text, "empty");
  if (text.size() > kLengthMax) return refused(text, "longer than 64 characters");
  std::size_t component = 0;  // Where the component began.
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i == text.size() || text[i] == '.') {
      if (i == component) return refused(text, "empty component");
      component = i + 1;
    } else if (text[i] < '0' || text[i] > '9') {
      return refused(text, "other characters than digits and dots");
    }
  }
  return Uid(std::string(text));
}

}  // namespace node::storage
