#include "config/config_section.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <limits>
#include <set>

namespace node::config {
namespace {

struct Unit {
  std::string_view name;
  double factor;
};

constexpr Unit kTimeUnits[] = {{"ms", 1}, {"s", 1e3}, {"min", 60e3}, {"h", 3600e3}, {"d", 86400e3}};
constexpr Unit kByteUnits[] = {{"B", 1},           {"KB", 1e3},           {"MB", 1e6},
                               {"GB", 1e9},        {"TB", 1e12},          {"KiB", 1024.0},
                               {"MiB", 1048576.0}, {"GiB", 1073741824.0}, {"TiB", 1099511627776.0}};

std::optional<double> number_of(std::string_view text) {
  double value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

// "180 s" in the smallest of `units`.
std::optional<double> quantity_of(const std::string& text, const Unit* begin, const Unit* end) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  const auto number = number_of(std::string_view(text).substr(0, digits));
  const std::string name = trimmed(std::string_view(text).substr(digits));
  const Unit* unit = std::find_if(begin, end, [&name](const Unit& u) { return u.name == name; });
  if (!number || unit == end) return std::nullopt;
  return *number * unit->factor;
}

// "125605004|SCT|Fracture of bone"; what is wrong with it is said in `problem`.
std::optional<Code> code_of(const std::string& text, std::string& problem) {
  const Words parts = split(text, "|");
  if (parts.size() != 3) {
    problem = in_quotes(text) + " is no code; value|scheme|meaning is wanted, such as '125605004|SCT|Fracture of bone'";
    return std::nullopt;
  }
  Code code{trimmed(parts[0]), trimmed(parts[1]), trimmed(parts[2])};
  if (code.value.empty() || code.value.size() > 16) problem = "a code's value has 1 to 16 characters";
  if (code.scheme.empty() || code.scheme.size() > 16) problem = "a code's scheme has 1 to 16 characters";
  if (code.meaning.empty() || characters(code.meaning) > 64) problem = "a code's meaning has 1 to 64 characters";
  if (text.find('\\') != std::string::npos) problem = "a code holds no backslash";
  if (problem.empty()) return code;
  problem = in_quotes(text) + ": " + problem;
  return std::nullopt;
}

std::string text_problem(const std::string& text, std::size_t characters_max) {
  if (trimmed(text).empty()) return "is empty; text is wanted";
  if (std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; })) {
    return "holds control characters";
  }
  if (characters(text) > characters_max) {
    return "has " + std::to_string(characters(text)) + " characters; at most " + std::to_string(characters_max);
  }
  return "";
}

}  // namespace

std::string name_problem(const std::string& name) {
  static const std::string kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  if (!name.empty() && name.size() <= 64 && name.find_first_not_of(kAllowed) == std::string::npos) return "";
  return "the name " + in_quotes(name) + " is wrong; 1 to 64 letters, digits, '-' and '_' are wanted";
}

Section::Section(Mistakes& mistakes, const Value* value, std::string path, const Origin& parent)
    : mistakes_(mistakes), path_(std::move(path)), origin_(value == nullptr ? parent : value->origin) {
  if (value == nullptr || value->kind == Value::Kind::kNull) return;
  if (value->kind == Value::Kind::kMap) {
    value_ = value;
  } else {
    mistakes_.add(origin_, path_, "is " + kind_text(*value) + "; a group of keys is wanted");
    broken_ = true;
  }
}

Section::~Section() {
  if (value_ == nullptr) return;
  for (const auto& [key, value] : value_->entries) {
    if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
    mistakes_.add(value.origin, path_of(key), "unknown key" + suggestion(key, known_));
  }
}

const Value* Section::get(const std::string& key) {
  if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.push_back(key);
  const Value* value = value_ == nullptr ? nullptr : value_->find(key);
  return value == nullptr || value->kind == Value::Kind::kNull ? nullptr : value;
}

void Section::wrong(const std::string& key, const std::string& what) {
  const Value* value = value_ == nullptr ? nullptr : value_->find(key);
  mistakes_.add(value == nullptr ? origin_ : value->origin, key.empty() ? path_ : path_of(key), what);
}

void Section::require(const std::string& key, const std::string& what) {
  if (!broken_ && get(key) == nullptr) wrong(key, "is missing; " + what);
}

void Section::refuse(const std::string& key, const std::string& why) {
  if (get(key) != nullptr) wrong(key, why);
}

const std::string* Section::scalar(const std::string& key, const std::string& wanted) {
  const Value* value = get(key);
  if (value == nullptr) return nullptr;
  if (value->kind == Value::Kind::kScalar) return &value->scalar;
  wrong(key, "is " + kind_text(*value) + "; " + wanted + " is wanted");
  return nullptr;
}

bool Section::text(const std::string& key, std::string& target, std::size_t characters_max) {
  const std::string* value = scalar(key, "text");
  if (value == nullptr) return false;
  const std::string problem = text_problem(*value, characters_max);
  if (!problem.empty()) return wrong(key, problem), false;
  target = trimmed(*value);
  return true;
}

bool Section::ae_title(const std::string& key, std::string& target) {
  std::string title;
  if (!text(key, title)) return false;
  std::string problem;
  if (title.size() > 16) problem = "has " + std::to_string(title.size()) + " characters; an AE title has 1 to 16";
  if (title.find('\\') != std::string::npos) problem = "holds a backslash, which no AE title may";
  if (std::any_of(title.begin(), title.end(), [](unsigned char c) { return c < 0x20 || c > 0x7E; })) {
    problem = "holds characters that are not ASCII, which no AE title may";
  }
  if (!problem.empty()) return wrong(key, in_quotes(title) + " " + problem), false;
  target = title;
  return true;
}

std::optional<std::int64_t> Section::whole_number(const std::string& key, std::int64_t low, std::int64_t high) {
  const std::string wanted = "a whole number from " + std::to_string(low) + " to " + std::to_string(high);
  const std::string* value = scalar(key, wanted);
  if (value == nullptr) return std::nullopt;
  std::int64_t number = 0;
  const auto parsed = std::from_chars(value->data(), value->data() + value->size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != value->data() + value->size() || number < low || number > high) {
    wrong(key, "is " + in_quotes(*value) + "; " + wanted + " is wanted");
    return std::nullopt;
  }
  return number;
}

void Section::integer_or_auto(const std::string& key, int& target, int high) {
  const Value* value = get(key);
  if (value != nullptr && value->kind == Value::Kind::kScalar && value->scalar == "auto") {
    target = 0;
  } else {
    integer(key, target, 1, high);
  }
}

bool Section::number(const std::string& key, double& target, double low, double high) {
  const std::string* value = scalar(key, "a number from " + range_text(low, high, ""));
  if (value == nullptr) return false;
  const auto parsed = number_of(*value);
  if (!parsed || *parsed < low || *parsed > high) {
    wrong(key, "is " + in_quotes(*value) + "; a number from " + range_text(low, high, "") + " is wanted");
    return false;
  }
  target = *parsed;
  return true;
}

std::optional<std::chrono::milliseconds> Section::milliseconds(const std::string& key, double resolution_ms,
                                                               std::chrono::milliseconds low,
                                                               std::chrono::milliseconds high) {
  const std::string wanted = "a time with its unit (ms, s, min, h, d), such as '10 s',";
  const std::string* value = scalar(key, wanted);
  if (value == nullptr) return std::nullopt;
  const auto parsed = quantity_of(*value, std::begin(kTimeUnits), std::end(kTimeUnits));
  if (!parsed) return wrong(key, "is " + in_quotes(*value) + "; " + wanted + " is wanted"), std::nullopt;
  const bool fits = std::fmod(*parsed, resolution_ms) == 0;
  if (!fits || *parsed < static_cast<double>(low.count()) || *parsed > static_cast<double>(high.count())) {
    const bool seconds = low.count() % 1000 == 0;
    const double unit = seconds ? 1000 : 1;
    wrong(key, "is " + in_quotes(*value) + "; " + (fits ? "" : "whole seconds, ") +
                   range_text(static_cast<double>(low.count()) / unit, static_cast<double>(high.count()) / unit,
                              seconds ? "s" : "ms") +
                   " is wanted");
    return std::nullopt;
  }
  return std::chrono::milliseconds(static_cast<std::int64_t>(*parsed));
}

void Section::bytes(const std::string& key, std::uint64_t& target, double low, double high) {
  const std::string wanted = "a size with its unit (B, KiB, MiB, GiB, TiB), such as '10 GiB',";
  const std::string* value = scalar(key, wanted);
  if (value == nullptr) return;
  const auto parsed = quantity_of(*value, std::begin(kByteUnits), std::end(kByteUnits));
  if (!parsed) return wrong(key, "is " + in_quotes(*value) + "; " + wanted + " is wanted");
  if (*parsed < low || *parsed > high) {
    const double mib = 1048576;
    return wrong(key, "is " + in_quotes(*value) + "; " + range_text(low / mib, high / mib, "MiB") + " is wanted");
  }
  target = static_cast<std::uint64_t>(*parsed);
}

void Section::words(const std::string& key, Words& target,
                    const std::function<std::string(const std::string&)>& problem) {
  const Value* value = get(key);
  if (value == nullptr) return;
  if (value->kind == Value::Kind::kMap) return wrong(key, "is a group of keys; a word or a list of words is wanted");
  std::vector<const Value*> items;
  if (value->kind == Value::Kind::kScalar) items.push_back(value);
  for (const auto& [name, item] : value->entries) items.push_back(&item);
  Words result;
  std::set<std::string> seen;
  for (const Value* item : items) {
    std::string what;
    if (item->kind != Value::Kind::kScalar) {
      what = "holds " + kind_text(*item) + "; words are wanted";
    } else {
      what = text_problem(item->scalar, 1024);
      if (what.empty() && problem) what = problem(item->scalar);
      if (what.empty() && !seen.insert(item->scalar).second) what = "names " + in_quotes(item->scalar) + " twice";
    }
    if (!what.empty()) {
      mistakes_.add(item->origin, path_of(key), what);
    } else {
      result.push_back(trimmed(item->scalar));
    }
  }
  target = std::move(result);
}

void Section::code(const std::string& key, Code& target) {
  std::string value, problem;
  if (!text(key, value)) return;
  if (auto parsed = code_of(value, problem)) {
    target = std::move(*parsed);
  } else {
    wrong(key, problem);
  }
}

void Section::codes(const std::string& key, std::vector<Code>& target) {
  Words values;
  std::vector<Code> result;
  words(key, values, [&result](const std::string& value) {
    std::string problem;
    if (auto parsed = code_of(value, problem)) result.push_back(std::move(*parsed));
    return problem;
  });
  if (!result.empty()) target = std::move(result);
}

void Section::each(const std::string& key, const std::function<void(const std::string&, Section&)>& read) {
  const Value* value = get(key);
  if (value == nullptr) return;
  if (value->kind != Value::Kind::kMap) {
    return wrong(key, "is " + kind_text(*value) + "; a group of names is wanted, such as '" + key + ": {name: {...}}'");
  }
  for (const auto& [name, item] : value->entries) {
    const std::string path = path_of(key) + "." + name;
    const std::string problem = name_problem(name);
    if (!problem.empty()) mistakes_.add(item.origin, path, problem);
    Section entry(mistakes_, &item, path, item.origin);
    read(name, entry);
  }
}

void Section::each_item(const std::string& key, const std::function<void(Section&)>& read) {
  const Value* value = get(key);
  if (value == nullptr) return;
  if (value->kind != Value::Kind::kList) {
    return wrong(key, "is " + kind_text(*value) + "; a list is wanted, one '- {...}' a rule");
  }
  for (std::size_t i = 0; i < value->entries.size(); ++i) {
    const Value& item = value->entries[i].second;
    Section entry(mistakes_, &item, path_of(key) + "[" + std::to_string(i) + "]", item.origin);
    if (item.kind == Value::Kind::kNull) entry.wrong("", "is empty; a group of keys is wanted");
    if (item.kind == Value::Kind::kMap) read(entry);
  }
}

}  // namespace node::config
