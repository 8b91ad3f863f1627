#include "dicom_node/operate/http_query.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "dicom_node/operate/listing_json.h"

namespace node::operate {
namespace {

constexpr int kPageDefault = 100, kPageMax = 1000, kFrameMax = 1'000'000;

struct Parameter {
  std::string_view key, value;  // As sent.
};

std::vector<Parameter> parameters(std::string_view query) {
  std::vector<Parameter> found;
  for (const std::string_view pair : split(query, '&')) {
    if (pair.empty()) continue;
    const std::size_t equals = std::min(pair.find('='), pair.size());
    found.push_back({pair.substr(0, equals), pair.substr(std::min(equals + 1, pair.size()))});
  }
  return found;
}

Result<std::int64_t> number(const Parameter& parameter, std::int64_t max) {
  std::int64_t value = 0;
  const char* const end = parameter.value.data() + parameter.value.size();
  const auto parsed = std::from_chars(parameter.value.data(), end, value);
  if (parsed.ec == std::errc() && parsed.ptr == end && value >= 1 && value <= max) return value;
  return invalid_argument(fmt::format("{} is a number from 1 to {}", parameter.key, max));
}

// Takes `before` and `limit` of either filter; false: `parameter` is neither.
template <typename Filter>
Result<bool> take_paging(const Parameter& parameter, Filter& filter) {
  if (parameter.key == "limit") {
    NODE_ASSIGN_OR_RETURN(const std::int64_t limit, number(parameter, kPageMax));
    filter.limit = static_cast<int>(limit);
    return true;
  }
  if (parameter.key != "before") return false;
  NODE_ASSIGN_OR_RETURN(filter.before, number(parameter, std::numeric_limits<std::int64_t>::max()));
  return true;
}

}  // namespace

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (std::size_t begin = 0;;) {
    const std::size_t end = text.find(separator, begin);
    parts.push_back(text.substr(begin, end == std::string_view::npos ? end : end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

Result<std::string> decode_percent(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i] == '+' ? ' ' : text[i];
      continue;
    }
    unsigned value = 0;
    const char* const digits = text.data() + i + 1;
    const bool both = text.size() - i > 2 && std::from_chars(digits, digits + 2, value, 16).ptr == digits + 2;
    if (!both || value == 0) return invalid_argument("after a % come two hexadecimal digits, but not 00");
    out += static_cast<char>(value);
    i += 2;
  }
  return out;
}

Result<storage::StudyFilter> parse_study_query(std::string_view query) {
  storage::StudyFilter filter{.limit = kPageDefault};
  for (const Parameter& parameter : parameters(query)) {
    if (parameter.key == "state") {
      if (parameter.value.empty() || set_study_state(filter, parameter.value)) continue;
      return invalid_argument(fmt::format("state is one of {}", kStudyStates));
    }
    if (parameter.key == "search") {
      NODE_ASSIGN_OR_RETURN(filter.search, decode_percent(parameter.value));
      continue;
    }
    NODE_ASSIGN_OR_RETURN(const bool taken, take_paging(parameter, filter));
    if (!taken) return invalid_argument("an unknown parameter: there is before, limit, search, state");
  }
  return filter;
}

Result<storage::DeliveryFilter> parse_delivery_query(std::string_view query) {
  storage::DeliveryFilter filter{.limit = kPageDefault};
  for (const Parameter& parameter : parameters(query)) {
    if (parameter.key == "state") {
      filter.state = parse_delivery_state(parameter.value);
      if (parameter.value.empty() || filter.state) continue;
      return invalid_argument("state is one of pending, delivered, parked, given_up");
    }
    if (parameter.key == "study") {
      NODE_ASSIGN_OR_RETURN(filter.study, storage::Uid::parse(std::string(parameter.value)));
      continue;
    }
    NODE_ASSIGN_OR_RETURN(const bool taken, take_paging(parameter, filter));
    if (!taken) return invalid_argument("an unknown parameter: there is before, limit, state, study");
  }
  return filter;
}

Result<int> parse_frame_query(std::string_view query) {
  int frame = 1;
  for (const Parameter& parameter : parameters(query)) {
    if (parameter.key == "v") continue;
    if (parameter.key != "frame") return invalid_argument("an unknown parameter: there is frame");
    NODE_ASSIGN_OR_RETURN(const std::int64_t named, number(parameter, kFrameMax));
    frame = static_cast<int>(named);
  }
  return frame;
}

Result<std::optional<int>> parse_revision_query(std::string_view query) {
  std::optional<int> revision;
  for (const Parameter& parameter : parameters(query)) {
    if (parameter.key != "revision") return invalid_argument("an unknown parameter: there is revision");
    NODE_ASSIGN_OR_RETURN(const std::int64_t named, number(parameter, std::numeric_limits<int>::max()));
    revision = static_cast<int>(named);
  }
  return revision;
}

Result<std::string> parse_body_part_query(std::string_view query) {
  std::string body_part;
  for (const Parameter& parameter : parameters(query)) {
    if (parameter.key != "body_part") return invalid_argument("an unknown parameter: there is body_part");
    NODE_ASSIGN_OR_RETURN(body_part, decode_percent(parameter.value));
  }
  // A Code String: PS3.5 6.2.
  const bool code_string = std::all_of(body_part.begin(), body_part.end(), [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == ' ';
  });
  if (!code_string || body_part.size() > 16) return invalid_argument("body_part is up to 16 of A-Z, 0-9, _ and space");
  return body_part;
}

std::string next_page(std::string_view path, std::string_view query, std::int64_t last, int limit) {
  std::string next = fmt::format("{}?before={}&limit={}", path, last, limit);
  for (const Parameter& parameter : parameters(query)) {
    if (parameter.key == "before" || parameter.key == "limit") continue;
    next += fmt::format("&{}={}", parameter.key, parameter.value);
  }
  return next;
}

}  // namespace node::operate
