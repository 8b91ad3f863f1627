#include "config/node_config.h"

#include <arpa/inet.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <limits>
#include <map>
#include <optional>
#include <regex>
#include <set>
#include <string_view>
#include <system_error>
#include <tuple>

#include "config/body_parts_yaml.h"

namespace node::config {
namespace {

using Words = std::vector<std::string>;

constexpr std::size_t kFileBytesMax = 1024 * 1024;
constexpr int kValuesMax =
    100'000;  // Aliases count as often as they are used: a small file cannot unfold into a big one.
constexpr int kDepthMax = 16;
constexpr std::size_t kMistakesMax = 100;
constexpr std::string_view kEnvironmentPrefix = "SKELEX_";

// --- Text ------------------------------------------------------------------------------------------------------------

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  return text;
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return text;
}

std::string trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return "";
  return std::string(text.substr(begin, text.find_last_not_of(" \t") - begin + 1));
}

std::string in_quotes(std::string_view text) {
  // A mistake is one line, however long the value.
  std::string result = "'";
  for (const char c : text.substr(0, 60)) result += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  return result + (text.size() > 60 ? "...'" : "'");
}

Words split(std::string_view text, std::string_view separator) {
  Words parts;
  for (std::size_t begin = 0;;) {
    const std::size_t end = text.find(separator, begin);
    parts.emplace_back(text.substr(begin, end == std::string_view::npos ? end : end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + separator.size();
  }
}

std::string join(const Words& words, std::string_view separator) {
  std::string text;
  for (const std::string& word : words) {
    if (!text.empty()) text += separator;
    text += word;
  }
  return text;
}

std::size_t characters(std::string_view utf8) {
  return static_cast<std::size_t>(
      std::count_if(utf8.begin(), utf8.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

// Characters to put in, take out, replace, or swap with their neighbour, of short words.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

// "; did you mean 'port'?", else what there is, if that is not much.
std::string suggestion(const std::string& word, const Words& known) {
  std::string best;
  std::size_t best_distance = std::min(word.size(), 1 + std::clamp<std::size_t>(word.size() / 3, 2, 4));
  if (word.size() <= 64) {
    for (const std::string& candidate : known) {
      const std::size_t d = distance(lower(word), lower(candidate));
      if (d < best_distance) std::tie(best, best_distance) = std::tuple(candidate, d);
    }
  }
  if (!best.empty()) return "; did you mean " + in_quotes(best) + "?";
  if (known.empty()) return "; there is none";
  return known.size() <= 24 ? "; there is " + join(known, ", ") : "";
}

std::string range_text(double low, double high, const std::string& unit) {
  const auto plain = [](double value) {
    std::array<char, 32> buffer;
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
    return std::string(buffer.data(), end);
  };
  const std::string suffix = unit.empty() ? "" : " " + unit;
  if (high >= std::numeric_limits<double>::max()) return plain(low) + suffix + " or more";
  return plain(low) + " to " + plain(high) + suffix;
}

// --- The file as a tree, each value with where it comes from ---------------------------------------------------------

struct Origin {
  std::string name;  // A file, or an override as the user wrote it.
  int line = 0;      // 0: no file.

  std::string text() const { return line == 0 ? name : name + ":" + std::to_string(line); }
};

class Mistakes {
 public:
  explicit Mistakes(std::string file) : file_(std::move(file)) {}

  void add(const Origin& origin, const std::string& path, const std::string& what) {
    mistakes_.push_back({origin, origin.text() + ": " + (path.empty() ? "" : path + ": ") + what});
  }
  bool any() const { return !mistakes_.empty(); }

  Status status() {  // In the order of the file, then those of other files, then those of overrides.
    const auto rank = [this](const Origin& o) { return std::tuple(o.line == 0, o.name != file_, o.line); };
    std::stable_sort(mistakes_.begin(), mistakes_.end(),
                     [&](const Mistake& a, const Mistake& b) { return rank(a.origin) < rank(b.origin); });
    std::string message;
    for (std::size_t i = 0; i < std::min(mistakes_.size(), kMistakesMax); ++i) message += mistakes_[i].text + "\n";
    if (mistakes_.size() > kMistakesMax) {
      message += "and " + std::to_string(mistakes_.size() - kMistakesMax) + " more mistakes\n";
    }
    message.pop_back();
    return invalid_argument(std::move(message));
  }

 private:
  struct Mistake {
    Origin origin;
    std::string text;
  };
  std::string file_;
  std::vector<Mistake> mistakes_;
};

struct Value {
  enum class Kind { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  std::string scalar;
  std::vector<std::pair<std::string, Value>> entries;  // Of a map, in the file's order; of a list, without keys.
  Origin origin;

  const Value* find(std::string_view key) const {
    const auto found =
        std::find_if(entries.begin(), entries.end(), [&](const auto& entry) { return entry.first == key; });
    return found == entries.end() || kind != Kind::kMap ? nullptr : &found->second;
  }
};

std::string kind_text(const Value& value) {
  switch (value.kind) {
    case Value::Kind::kNull: return "nothing";
    case Value::Kind::kScalar: return in_quotes(value.scalar);
    case Value::Kind::kList: return "a list";
    case Value::Kind::kMap: return "a group of keys";
  }
  return "";
}

class TreeBuilder {
 public:
  explicit TreeBuilder(Mistakes& mistakes) : mistakes_(mistakes) {}

  // `origin.line`: 0 for an override, whose values have no lines.
  std::optional<Value> parse(const std::string& text, const Origin& origin) {
    try {
      const std::vector<YAML::Node> documents = YAML::LoadAll(text);
      if (documents.size() > 1) {
        mistakes_.add({origin.name, line_of(documents[1], origin)}, "", "a second YAML document; one is wanted");
        return std::nullopt;
      }
      return documents.empty() ? Value{Value::Kind::kNull, "", {}, origin} : convert(documents[0], origin, "", 0);
    } catch (const YAML::Exception& error) {
      const int line = origin.line == 0 ? 0 : std::max(error.mark.line + 1, 1);
      mistakes_.add({origin.name, line}, "", "no YAML: " + error.msg);
    } catch (const TooMuch& too_much) {
      mistakes_.add(too_much.origin, "", too_much.what);
    }
    return std::nullopt;
  }

 private:
  struct TooMuch {
    Origin origin;
    std::string what;
  };

  static int line_of(const YAML::Node& node, const Origin& origin) {
    return origin.line == 0 ? 0 : std::max(node.Mark().line + 1, 1);
  }

  Value convert(const YAML::Node& node, const Origin& parent, const std::string& path, int depth) {
    Value value;
    value.origin = {parent.name, line_of(node, parent)};
    if (++count_ > kValuesMax) {
      throw TooMuch{value.origin, "more than " + std::to_string(kValuesMax) + " values (aliases count where used)"};
    }
    if (depth > kDepthMax) throw TooMuch{value.origin, "nested deeper than " + std::to_string(kDepthMax) + " levels"};
    if (node.IsScalar()) {
      value.kind = Value::Kind::kScalar;
      value.scalar = node.Scalar();
    } else if (node.IsSequence()) {
      value.kind = Value::Kind::kList;
      for (const YAML::Node& item : node) value.entries.emplace_back("", convert(item, value.origin, path, depth + 1));
    } else if (node.IsMap()) {
      value.kind = Value::Kind::kMap;
      std::map<std::string, Origin> seen;
      for (const auto& pair : node) {
        const YAML::Node &key = pair.first, &item = pair.second;
        const Origin origin{parent.name, line_of(key, parent)};
        if (!key.IsScalar()) {
          mistakes_.add(origin, path, "a key must be a word");
          continue;
        }
        const std::string name = key.Scalar();
        const std::string key_path = path.empty() ? name : path + "." + name;
        const auto [first, fresh] = seen.emplace(name, origin);
        if (!fresh) {
          mistakes_.add(origin, key_path, "is given twice, first in line " + std::to_string(first->second.line));
          continue;
        }
        Value converted = convert(item, value.origin, key_path, depth + 1);
        // A nested group is reported where its key stands.
        if (converted.kind != Value::Kind::kScalar) converted.origin = origin;
        value.entries.emplace_back(name, std::move(converted));
      }
    }
    return value;
  }

  Mistakes& mistakes_;
  int count_ = 0;
};

struct Override {
  std::string origin;  // "--set node.port=1" or "SKELEX_NODE__PORT"
  Words path;
  std::string value;
  bool any_case = false;  // Of the environment: in any case, "_" also for "-".
};

bool same_key(const std::string& key, const std::string& wanted, bool any_case) {
  if (!any_case) return key == wanted;
  std::string a = lower(key), b = lower(wanted);
  std::replace(a.begin(), a.end(), '-', '_');
  std::replace(b.begin(), b.end(), '-', '_');
  return a == b;
}

void apply(const Override& override, Value& root, Mistakes& mistakes) {
  const Origin origin{override.origin, 0};
  Value* value = &root;
  std::string path;
  for (const std::string& part : override.path) {
    if (part.empty()) return mistakes.add(origin, "", "an empty key; key.path=value is wanted");
    if (value->kind == Value::Kind::kNull) {
      *value = {Value::Kind::kMap, "", {}, origin};
    }
    if (value->kind == Value::Kind::kScalar) {
      return mistakes.add(origin, path, "is a value, not a group of keys, so it has no " + in_quotes(part));
    }
    auto& entries = value->entries;
    auto found = entries.end();
    if (value->kind == Value::Kind::kList) {
      std::size_t index = 0;
      const auto parsed = std::from_chars(part.data(), part.data() + part.size(), index);
      const bool is_index = parsed.ec == std::errc() && parsed.ptr == part.data() + part.size();
      Words names;
      for (auto entry = entries.begin(); entry != entries.end(); ++entry) {
        const Value* name = entry->second.find("name");
        if (name != nullptr) names.push_back(name->scalar);
        const bool named = name != nullptr && same_key(name->scalar, part, override.any_case);
        if (found == entries.end() && named) found = entry;
      }
      if (found == entries.end() && is_index && index < entries.size()) {
        found = entries.begin() + static_cast<std::ptrdiff_t>(index);
      }
      if (found == entries.end()) {
        return mistakes.add(origin, path, "has no item " + in_quotes(part) + suggestion(part, names));
      }
      path += "[" + std::to_string(found - entries.begin()) + "]";
    } else {
      found = std::find_if(entries.begin(), entries.end(),
                           [&](const auto& entry) { return same_key(entry.first, part, override.any_case); });
      if (found == entries.end()) {
        entries.emplace_back(override.any_case ? lower(part) : part, Value{Value::Kind::kNull, "", {}, origin});
        found = entries.end() - 1;
      }
      path += (path.empty() ? "" : ".") + found->first;
    }
    value = &found->second;
  }
  // Only what looks like YAML is read as such: a path or a title with a colon stays what it is.
  if (!override.value.empty() && std::string_view("[{\"'").find(override.value[0]) != std::string_view::npos) {
    if (auto parsed = TreeBuilder(mistakes).parse(override.value, origin)) *value = std::move(*parsed);
  } else {
    *value = {override.value.empty() ? Value::Kind::kNull : Value::Kind::kScalar, override.value, {}, origin};
  }
}

// --- Reading a group of keys -----------------------------------------------------------------------------------------

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

// One group of keys. A getter leaves its target as it is, the default, where the key is absent, and notes a mistake
// where the value does not fit; the destructor notes every key that no getter asked for.
class Section {
 public:
  Section(Mistakes& mistakes, const Value* value, std::string path, const Origin& parent)
      : mistakes_(mistakes), path_(std::move(path)), origin_(value == nullptr ? parent : value->origin) {
    if (value == nullptr || value->kind == Value::Kind::kNull) return;
    if (value->kind == Value::Kind::kMap) {
      value_ = value;
    } else {
      mistakes_.add(origin_, path_, "is " + kind_text(*value) + "; a group of keys is wanted");
      broken_ = true;
    }
  }
  Section(const Section&) = delete;
  ~Section() {
    if (value_ == nullptr) return;
    for (const auto& [key, value] : value_->entries) {
      if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
      mistakes_.add(value.origin, path_of(key), "unknown key" + suggestion(key, known_));
    }
  }

  bool broken() const { return broken_; }  // Was no group at all, which is said already.
  const std::string& path() const { return path_; }
  std::string path_of(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }

  const Value* get(const std::string& key) {  // Null if absent or empty.
    if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.push_back(key);
    const Value* value = value_ == nullptr ? nullptr : value_->find(key);
    return value == nullptr || value->kind == Value::Kind::kNull ? nullptr : value;
  }
  void wrong(const std::string& key, const std::string& what) {
    const Value* value = value_ == nullptr ? nullptr : value_->find(key);
    mistakes_.add(value == nullptr ? origin_ : value->origin, key.empty() ? path_ : path_of(key), what);
  }
  void require(const std::string& key, const std::string& what) {
    if (!broken_ && get(key) == nullptr) wrong(key, "is missing; " + what);
  }
  // `key` means nothing here, because of `why`.
  void refuse(const std::string& key, const std::string& why) {
    if (get(key) != nullptr) wrong(key, why);
  }

  // The one scalar of `key`; `wanted` says in the mistake what would be right.
  const std::string* scalar(const std::string& key, const std::string& wanted) {
    const Value* value = get(key);
    if (value == nullptr) return nullptr;
    if (value->kind == Value::Kind::kScalar) return &value->scalar;
    wrong(key, "is " + kind_text(*value) + "; " + wanted + " is wanted");
    return nullptr;
  }

  bool text(const std::string& key, std::string& target, std::size_t characters_max = 1024) {
    const std::string* value = scalar(key, "text");
    if (value == nullptr) return false;
    const std::string problem = text_problem(*value, characters_max);
    if (!problem.empty()) return wrong(key, problem), false;
    target = trimmed(*value);
    return true;
  }

  bool ae_title(const std::string& key, std::string& target) {
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

  void boolean(const std::string& key, bool& target) { choice(key, target, {{"true", true}, {"false", false}}); }

  template <typename T>
  void choice(const std::string& key, T& target, std::initializer_list<std::pair<const char*, T>> choices) {
    Words names;
    for (const auto& [name, meaning] : choices) names.emplace_back(name);
    const std::string wanted = join(names, " or ");
    const std::string* value = scalar(key, wanted);
    if (value == nullptr) return;
    for (const auto& [name, meaning] : choices) {
      if (*value == name) {
        target = meaning;
        return;
      }
    }
    wrong(key, "is " + in_quotes(*value) + "; " + wanted + " is wanted");
  }

  template <typename Integer>
  bool integer(const std::string& key, Integer& target, std::int64_t low, std::int64_t high) {
    const std::string wanted = "a whole number from " + std::to_string(low) + " to " + std::to_string(high);
    const std::string* value = scalar(key, wanted);
    if (value == nullptr) return false;
    std::int64_t number = 0;
    const auto parsed = std::from_chars(value->data(), value->data() + value->size(), number);
    if (parsed.ec != std::errc() || parsed.ptr != value->data() + value->size() || number < low || number > high) {
      return wrong(key, "is " + in_quotes(*value) + "; " + wanted + " is wanted"), false;
    }
    target = static_cast<Integer>(number);
    return true;
  }

  // A number of 1 or more, or the word auto, which is 0 in the struct.
  void integer_or_auto(const std::string& key, int& target, int high) {
    const Value* value = get(key);
    if (value != nullptr && value->kind == Value::Kind::kScalar && value->scalar == "auto") {
      target = 0;
    } else {
      integer(key, target, 1, high);
    }
  }

  bool number(const std::string& key, double& target, double low, double high) {
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

  template <typename Duration>
  void duration(const std::string& key, Duration& target, std::chrono::milliseconds low,
                std::chrono::milliseconds high) {
    const std::string wanted = "a time with its unit (ms, s, min, h, d), such as '10 s',";
    const std::string* value = scalar(key, wanted);
    if (value == nullptr) return;
    const auto parsed = quantity_of(*value, std::begin(kTimeUnits), std::end(kTimeUnits));
    if (!parsed) return wrong(key, "is " + in_quotes(*value) + "; " + wanted + " is wanted");
    const double resolution = std::chrono::duration<double, std::milli>(Duration(1)).count();
    const bool fits = std::fmod(*parsed, resolution) == 0;
    if (!fits || *parsed < static_cast<double>(low.count()) || *parsed > static_cast<double>(high.count())) {
      const bool seconds = low.count() % 1000 == 0;
      const double unit = seconds ? 1000 : 1;
      return wrong(key, "is " + in_quotes(*value) + "; " + (fits ? "" : "whole seconds, ") +
                            range_text(static_cast<double>(low.count()) / unit,
                                       static_cast<double>(high.count()) / unit, seconds ? "s" : "ms") +
                            " is wanted");
    }
    target = std::chrono::duration_cast<Duration>(std::chrono::milliseconds(static_cast<std::int64_t>(*parsed)));
  }

  void bytes(const std::string& key, std::uint64_t& target, double low, double high) {
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

  // One word or a list of words. `problem` says what is wrong with a word, or nothing.
  void words(const std::string& key, Words& target,
             const std::function<std::string(const std::string&)>& problem = {}) {
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

  void code(const std::string& key, Code& target) {
    std::string value, problem;
    if (!text(key, value)) return;
    if (auto parsed = code_of(value, problem)) {
      target = std::move(*parsed);
    } else {
      wrong(key, problem);
    }
  }

  void codes(const std::string& key, std::vector<Code>& target) {
    Words values;
    std::vector<Code> result;
    words(key, values, [&result](const std::string& value) {
      std::string problem;
      if (auto parsed = code_of(value, problem)) result.push_back(std::move(*parsed));
      return problem;
    });
    if (!result.empty()) target = std::move(result);
  }

  Section section(const std::string& key) { return Section(mistakes_, get(key), path_of(key), origin_); }

  // Each entry of a group whose keys are names: peers, models, tasks.
  void each(const std::string& key, const std::function<void(const std::string&, Section&)>& read) {
    const Value* value = get(key);
    if (value == nullptr) return;
    if (value->kind != Value::Kind::kMap) {
      return wrong(key,
                   "is " + kind_text(*value) + "; a group of names is wanted, such as '" + key + ": {name: {...}}'");
    }
    for (const auto& [name, item] : value->entries) {
      const std::string path = path_of(key) + "." + name;
      const std::string problem = name_problem(name);
      if (!problem.empty()) mistakes_.add(item.origin, path, problem);
      Section entry(mistakes_, &item, path, item.origin);
      read(name, entry);
    }
  }

  // Each entry of a list: routes, forward.
  void each_item(const std::string& key, const std::function<void(Section&)>& read) {
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

  // Names become parts of file names and of keys of overrides.
  static std::string name_problem(const std::string& name) {
    static const std::string kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    if (!name.empty() && name.size() <= 64 && name.find_first_not_of(kAllowed) == std::string::npos) return "";
    return "the name " + in_quotes(name) + " is wrong; 1 to 64 letters, digits, '-' and '_' are wanted";
  }

 private:
  static std::string text_problem(const std::string& text, std::size_t characters_max) {
    if (trimmed(text).empty()) return "is empty; text is wanted";
    if (std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; })) {
      return "holds control characters";
    }
    if (characters(text) > characters_max) {
      return "has " + std::to_string(characters(text)) + " characters; at most " + std::to_string(characters_max);
    }
    return "";
  }

  Mistakes& mistakes_;
  const Value* value_ = nullptr;
  std::string path_;
  Origin origin_;
  Words known_;
  bool broken_ = false;
};

// --- node.yaml -------------------------------------------------------------------------------------------------------

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr double kMiB = 1024.0 * 1024.0;
constexpr double kPiB = kMiB * 1024 * 1024 * 1024;
constexpr double kAnyNumber = std::numeric_limits<double>::max();

struct Context {
  Mistakes& mistakes;
  std::filesystem::path folder;  // Of the configuration file.

  std::string resolve(const std::string& path) const {
    const std::filesystem::path given(path);
    return given.is_absolute() ? path : (folder / given).lexically_normal().string();
  }
};

bool is_address(const std::string& text) {
  in6_addr scratch{};
  return inet_pton(AF_INET, text.c_str(), &scratch) == 1 || inet_pton(AF_INET6, text.c_str(), &scratch) == 1;
}

void read_node(Section node, ReceiveConfig& receive) {
  node.ae_title("ae_title", receive.ae_title);
  if (node.text("bind", receive.bind) && !is_address(receive.bind)) {
    node.wrong("bind",
               "is " + in_quotes(receive.bind) + "; an IP address of this machine is wanted, or 0.0.0.0 for all");
  }
  node.integer("port", receive.port, 1, 65535);
  node.integer("associations_max", receive.associations_max, 1, 1000);
  node.integer("associations_per_host_max", receive.associations_per_host_max, 1, 1000);
  node.boolean("accept_unknown", receive.accept_unknown);
  node.duration("acse_timeout", receive.acse_timeout, seconds(1), minutes(10));
  node.duration("dimse_timeout", receive.dimse_timeout, seconds(1), hours(1));
  node.duration("stop_grace", receive.stop_grace, seconds(0), minutes(10));
  node.bytes("object_bytes_max", receive.object_bytes_max, kMiB, 64 * 1024 * kMiB);
}

void read_storage(Section storage, const Context& context, StorageConfig& config) {
  storage.require("directory", "the folder of the spool and the database is wanted");
  if (storage.text("directory", config.directory)) config.directory = context.resolve(config.directory);
  storage.bytes("free_bytes_min", config.free_bytes_min, 0, kPiB);
  {
    Section retention = storage.section("retention");
    retention.integer("originals_days", config.originals_days, 0, 36500);
    retention.integer("results_days", config.results_days, 0, 36500);
  }
  storage.choice("conflict", config.keep_first_on_conflict, {{"refuse", false}, {"keep_first", true}});
  storage.integer("analysis_attempts_max", config.analysis_attempts_max, 1, 100);
}

void read_peers(Section& root, std::vector<PeerConfig>& peers) {
  std::map<std::string, std::string> names;  // AE title -> peer
  root.each("peers", [&](const std::string& name, Section& section) {
    PeerConfig peer;
    peer.name = name;
    section.require("ae_title", "the AE title that it calls and is called by");
    if (section.ae_title("ae_title", peer.ae_title)) {
      const auto [first, fresh] = names.emplace(peer.ae_title, name);
      if (!fresh) section.wrong("ae_title", in_quotes(peer.ae_title) + " is also that of peer " + first->second);
    }
    section.text("host", peer.host, 255);
    section.integer("port", peer.port, 1, 65535);
    if (section.get("port") != nullptr && section.get("host") == nullptr) {
      section.wrong("port", "is given without a host; give both to send to it, or neither");
    }
    section.duration("study_quiet_period", peer.study_quiet_period, milliseconds(100), hours(24));
    section.boolean("whole_study_per_association", peer.whole_study_per_association);
    peers.push_back(std::move(peer));
  });
}

void read_delivery(Section delivery, DeliveryConfig& config) {
  delivery.duration("connect_timeout", config.connect_timeout, seconds(1), minutes(10));
  delivery.duration("dimse_timeout", config.dimse_timeout, seconds(1), hours(1));
  delivery.duration("retry_first", config.retry_first, milliseconds(10), hours(1));
  delivery.duration("retry_max", config.retry_max, milliseconds(10), hours(24));
  if (config.retry_max < config.retry_first) delivery.wrong("retry_max", "is less than retry_first");
  delivery.integer("objects_per_association_max", config.objects_per_association_max, 1, 10'000);
}

void read_models(Section& root, const Context& context, std::vector<ModelConfig>& models) {
  root.each("models", [&](const std::string& name, Section& section) {
    ModelConfig model;
    model.name = name;
    section.require("path", "the folder of a HuggingFace checkpoint is wanted");
    if (section.text("path", model.path)) model.path = context.resolve(model.path);
    section.choice("precision", model.precision,
                   {{"auto", Precision::kAuto}, {"float32", Precision::kFloat32}, {"bfloat16", Precision::kBfloat16}});
    models.push_back(std::move(model));
  });
}

void read_threshold(Section& section, TaskConfig& task) {
  const Value* value = section.get("threshold");
  if (value == nullptr) return;
  if (value->kind == Value::Kind::kScalar) {
    section.number("threshold", task.threshold_doubtful, 0, 1);
    task.threshold_certain = task.threshold_doubtful;
    return;
  }
  Section threshold = section.section("threshold");
  if (threshold.broken()) return;
  threshold.require("doubtful", "a probability from 0 to 1");
  threshold.require("certain", "a probability from 0 to 1");
  const bool both = threshold.number("doubtful", task.threshold_doubtful, 0, 1) &&
                    threshold.number("certain", task.threshold_certain, 0, 1);
  if (both && task.threshold_doubtful > task.threshold_certain) {
    threshold.wrong("doubtful", "is above certain; a finding becomes doubtful first, certain later");
  }
}

TaskConfig read_task(const std::string& name, Section& section, const Words& models) {
  TaskConfig task;
  task.name = name;
  section.require("model", "the name of one of models");
  if (section.text("model", task.model) && std::find(models.begin(), models.end(), task.model) == models.end()) {
    section.wrong("model", "no model named " + in_quotes(task.model) + suggestion(task.model, models));
  }
  section.require("output", "sigmoid or softmax or regression or anomaly_map is wanted");
  section.choice("output", task.output,
                 {{"sigmoid", OutputKind::kSigmoid},
                  {"softmax", OutputKind::kSoftmax},
                  {"regression", OutputKind::kRegression},
                  {"anomaly_map", OutputKind::kAnomalyMap}});
  section.code("code", task.code);
  section.words("views", task.views);
  for (std::string& view : task.views) view = upper(view);
  {
    Section age = section.section("age");
    int years = 0;
    if (age.integer("years_min", years, 0, 150)) task.age_years_min = years;
    if (age.integer("years_max", years, 0, 150)) task.age_years_max = years;
    if (task.age_years_min && task.age_years_max && *task.age_years_min > *task.age_years_max) {
      age.wrong("years_min", "is above years_max");
    }
  }

  const bool anomaly_map = task.output == OutputKind::kAnomalyMap;
  if (anomaly_map) {
    for (const char* key : {"labels", "slice"})
      section.refuse(key, "means nothing for an anomaly_map, which has no logits");
    section.integer("passes", task.passes, 1, 64);
    section.choice("mode", task.mode, {{"partition", MaskMode::kPartition}, {"random", MaskMode::kRandom}});
    if (task.mode == MaskMode::kPartition && task.passes % 4 != 0) {
      section.wrong("passes",
                    "is " + std::to_string(task.passes) +
                        "; a multiple of 4 is wanted for mode partition, which hides every patch equally often");
    }
    section.number("map_scale_max", task.map_scale_max, 1e-9, kAnyNumber);
  } else {
    for (const char* key : {"passes", "mode", "map_scale_max"}) section.refuse(key, "is for output anomaly_map only");
    section.words("labels", task.labels, [](const std::string& label) {
      return characters(label) > 64 ? in_quotes(label) + " has more than 64 characters" : std::string();
    });
    Section slice = section.section("slice");
    slice.integer("first", task.logits_first, 0, 100'000);
    slice.integer("count", task.logits_count, 1, 100'000);
    const auto count = static_cast<std::size_t>(task.logits_count);
    if (count != 0 && !task.labels.empty() && task.labels.size() != count) {
      slice.wrong("count",
                  "is " + std::to_string(count) + ", but there are " + std::to_string(task.labels.size()) + " labels");
    }
  }
  if (task.output == OutputKind::kSigmoid) {
    read_threshold(section, task);
  } else {
    section.refuse("threshold", "is for output sigmoid only");
  }
  if (task.output == OutputKind::kSoftmax) {
    section.codes("label_codes", task.label_codes);
    if (!task.label_codes.empty() && task.label_codes.size() != task.labels.size()) {
      section.wrong("label_codes", "holds " + std::to_string(task.label_codes.size()) + " codes for " +
                                       std::to_string(task.labels.size()) + " labels; one for each label is wanted");
    }
  } else {
    section.refuse("label_codes", "is for output softmax only; use code");
  }
  if (task.output == OutputKind::kRegression) {
    section.text("unit", task.unit, 16);
    section.number("scale", task.scale, -kAnyNumber, kAnyNumber);
    if (task.scale == 0) section.wrong("scale", "is 0, which makes every value the same");
    section.number("offset", task.offset, -kAnyNumber, kAnyNumber);
  } else {
    for (const char* key : {"unit", "scale", "offset"}) section.refuse(key, "is for output regression only");
  }
  return task;
}

void read_inference(Section inference, InferenceConfig& config) {
  if (inference.text("device", config.device)) {
    static const std::regex kDevice("auto|cpu|cuda(:[0-9]{1,2})?");
    if (!std::regex_match(config.device, kDevice)) {
      inference.wrong("device", "is " + in_quotes(config.device) + "; auto, cpu, cuda or cuda:1 is wanted");
    }
  }
  inference.integer_or_auto("threads", config.threads, 1024);
  inference.integer("batch_rows_max", config.batch_rows_max, 1, 1024);
  inference.duration("batch_delay", config.batch_delay, milliseconds(0), seconds(10));
  inference.integer_or_auto("in_flight_max", config.in_flight_max, 100'000);
}

// --- Body parts ------------------------------------------------------------------------------------------------------

// The built-in table, or a site's own entries over it: {KNEE: {aliases: [...], codes: [...], ...}}. The term NONE takes
// an alias, code or description away: "{NONE: {aliases: [MAIN]}}".
void merge_body_parts(Mistakes& mistakes, const Value& value, const std::string& path, BodyPartTable& table) {
  if (value.kind != Value::Kind::kMap) {
    return mistakes.add(value.origin, path,
                        "is " + kind_text(value) + "; body parts are wanted: 'KNEE: {aliases: [KN]}'");
  }
  const auto put = [](std::map<std::string, std::string>& map, const std::string& key, const std::string& term) {
    if (term == "NONE") {
      map.erase(key);
    } else {
      map[key] = term;
    }
  };
  const auto code_problem = [](const std::string& code) {
    const Words parts = split(code, "|");
    const bool right =
        (parts.size() == 2 || parts.size() == 3) && !trimmed(parts[0]).empty() && !trimmed(parts[1]).empty();
    return right ? "" : in_quotes(code) + " is no code; value|scheme is wanted, such as '72696002|SCT'";
  };
  const auto code_key = [](const std::string& code) {
    const Words parts = split(code, "|");
    return upper(trimmed(parts[1])) + "|" + upper(trimmed(parts[0]));
  };
  std::vector<std::pair<std::string, std::string>> patterns;
  for (const auto& [written, entry] : value.entries) {
    const std::string term = upper(written);
    const std::string term_path = path.empty() ? written : path + "." + written;
    if (term.size() > 16 || term.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ ") != std::string::npos) {
      mistakes.add(entry.origin, term_path, "is no term for Body Part Examined; 1 to 16 letters and digits are wanted");
    }
    Section section(mistakes, &entry, term_path, entry.origin);
    if (term != "NONE") table.terms[term] = term;
    Words aliases, codes, procedure_codes, descriptions, groups;
    section.words("aliases", aliases);
    section.words("codes", codes, code_problem);
    section.words("procedure_codes", procedure_codes, code_problem);
    section.words("descriptions", descriptions, [](const std::string& pattern) -> std::string {
      try {
        const std::regex compiled(pattern, std::regex::ECMAScript | std::regex::icase);
        return "";
      } catch (const std::regex_error& error) {
        return in_quotes(pattern) + " is no regular expression: " + error.what();
      }
    });
    section.words("groups", groups);
    for (const std::string& alias : aliases) put(table.terms, upper(alias), term);
    for (const std::string& code : codes) put(table.codes, code_key(code), term);
    for (const std::string& code : procedure_codes) put(table.procedure_codes, code_key(code), term);
    for (const std::string& pattern : descriptions) patterns.emplace_back(pattern, term);
    if (!groups.empty()) table.groups[term] = groups;
  }
  // A site's own patterns come before the built-in ones, and replace those of the same text.
  std::vector<std::pair<std::string, std::string>> merged;
  for (const auto& [pattern, term] : patterns) {
    if (term != "NONE") merged.emplace_back(pattern, term);
  }
  for (auto& built_in : table.description_patterns) {
    const bool replaced =
        std::any_of(patterns.begin(), patterns.end(), [&](const auto& p) { return p.first == built_in.first; });
    if (!replaced) merged.push_back(std::move(built_in));
  }
  table.description_patterns = std::move(merged);
}

Result<std::string> read_text_file(const std::string& file) {
  std::error_code error;
  if (std::filesystem::is_directory(file, error)) return not_found(file + ": is a folder; a file is wanted");
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return not_found(file + ": cannot be opened: " + std::strerror(errno == 0 ? EIO : errno));
  std::string text(kFileBytesMax + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  if (stream.bad()) return not_found(file + ": cannot be read");
  if (text.size() > kFileBytesMax) return invalid_argument(file + ": is larger than 1 MiB; this is no configuration");
  return text;
}

void read_body_parts(Section& root, const Context& context, BodyPartTable& table) {
  TreeBuilder builder(context.mistakes);
  const auto built_in = builder.parse(kBodyPartsYaml, {"built-in body_parts.yaml", 1});
  if (built_in) merge_body_parts(context.mistakes, *built_in, "", table);
  const Value* value = root.get("body_parts");
  if (value == nullptr) return;
  if (value->kind != Value::Kind::kScalar) return merge_body_parts(context.mistakes, *value, "body_parts", table);
  const std::string file = context.resolve(value->scalar);
  const auto text = read_text_file(file);
  if (!text.ok()) return root.wrong("body_parts", text.status().message());
  const auto own = TreeBuilder(context.mistakes).parse(*text, {file, 1});
  if (own) merge_body_parts(context.mistakes, *own, "", table);
}

// --- Routes ----------------------------------------------------------------------------------------------------------

struct Names {
  Words tasks, peers, destinations, body_parts;

  std::string task_problem(const std::string& name) const {
    if (std::find(tasks.begin(), tasks.end(), name) != tasks.end()) return "";
    return "no task named " + in_quotes(name) + suggestion(name, tasks);
  }
  std::string peer_problem(const std::string& name) const {
    if (std::find(peers.begin(), peers.end(), name) != peers.end()) return "";
    return "no peer named " + in_quotes(name) + suggestion(name, peers);
  }
  std::string destination_problem(const std::string& name) const {
    const std::string unknown = peer_problem(name);
    if (!unknown.empty()) return unknown;
    if (std::find(destinations.begin(), destinations.end(), name) != destinations.end()) return "";
    return "peer " + in_quotes(name) + " has no host and port, so nothing can be sent to it";
  }
  std::string body_part_problem(const std::string& name) const {
    if (std::binary_search(body_parts.begin(), body_parts.end(), upper(name))) return "";
    const std::string similar = suggestion(upper(name), body_parts);
    return "no body part " + in_quotes(name) +
           (similar.empty() ? "; a term of PS3.16 Annex L, or one of your own under body_parts, is wanted" : similar);
  }
};

RouteMatch read_match(Section match, const Names& names) {
  RouteMatch config;
  const auto upper_all = [](Words& words) {
    for (std::string& word : words) word = upper(word);
  };
  match.words("modality", config.modality);
  match.words("body_part", config.body_part, [&](const std::string& name) { return names.body_part_problem(name); });
  match.words("laterality", config.laterality, [](const std::string& side) {
    static const std::set<std::string> kSides = {"R", "L", "B", "U"};
    return kSides.contains(upper(side)) ? "" : "is " + in_quotes(side) + "; R, L, B or U is wanted";
  });
  match.words("view", config.view);
  match.words("from", config.from, [&](const std::string& name) { return names.peer_problem(name); });
  for (Words* words : {&config.modality, &config.body_part, &config.laterality, &config.view}) upper_all(*words);
  return config;
}

void read_routes(Section& root, const Names& names, RouterConfig& config) {
  const auto destination = [&](const std::string& name) { return names.destination_problem(name); };
  std::set<std::string> seen;
  root.each_item("routes", [&](Section& section) {
    RouteRule rule;
    section.require("name", "a name for logs and reports");
    if (section.text("name", rule.name, 64)) {
      const std::string problem = Section::name_problem(rule.name);
      if (!problem.empty()) section.wrong("name", problem);
      if (!seen.insert(rule.name).second)
        section.wrong("name", in_quotes(rule.name) + " is also the name of an earlier route");
    }
    rule.match = read_match(section.section("match"), names);
    section.require("tasks", "the names of tasks; [] for a rule that leaves images alone");
    section.words("tasks", rule.tasks, [&](const std::string& name) { return names.task_problem(name); });
    section.integer("priority", rule.priority, -1000, 1000);
    section.words("send_to", rule.send_to, destination);
    section.choice("mode", rule.shadow, {{"live", false}, {"shadow", true}});
    section.choice("for_processing", rule.for_processing,
                   {{"skip", ForProcessing::kSkip}, {"render", ForProcessing::kRender}});
    config.routes.push_back(std::move(rule));
  });
  root.each_item("forward", [&](Section& section) {
    ForwardRule rule;
    rule.match = read_match(section.section("match"), names);
    section.require("send_to", "the names of peers");
    section.words("send_to", rule.send_to, destination);
    config.forward.push_back(std::move(rule));
  });
}

void read_results(Section results, const Names& names, ReportConfig& config) {
  results.text("disclaimer", config.disclaimer, 128);
  results.boolean("report_skipped", config.report_skipped);
  const Value* forms = results.get("forms");
  if (forms == nullptr) return;
  Section peers = results.section("forms");
  if (forms->kind != Value::Kind::kMap) return;
  for (const auto& [peer, value] : forms->entries) {
    const std::string problem = names.destination_problem(peer);
    if (!problem.empty()) peers.wrong(peer, problem);
    peers.words(peer, config.forms[peer], [](const std::string& form) {
      return form == "sr" || form == "sc" ? "" : "is " + in_quotes(form) + "; sr or sc is wanted";
    });
    if (config.forms[peer].empty()) config.forms.erase(peer);
  }
}

bool is_loopback(const std::string& address) { return address == "::1" || address.starts_with("127."); }

void read_http(Section http, const Context& context, HttpConfig& config) {
  std::string bind;
  if (http.text("bind", bind, 255)) {
    const std::size_t colon = bind.rfind(':');
    std::string host = colon == std::string::npos ? "" : bind.substr(0, colon);
    const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) host = host.substr(1, host.size() - 2);
    int port = 0;
    if (colon != std::string::npos) {
      const char* end = bind.data() + bind.size();
      const auto parsed = std::from_chars(bind.data() + colon + 1, end, port);
      if (parsed.ec != std::errc() || parsed.ptr != end) port = 0;
    }
    if (!is_address(host) || bracketed != (host.find(':') != std::string::npos) || port < 1 || port > 65535) {
      http.wrong("bind", "is " + in_quotes(bind) +
                             "; an address and a port from 1 to 65535 are wanted: 127.0.0.1:8043, [::1]:8043");
    } else {
      config.bind = host;
      config.port = static_cast<std::uint16_t>(port);
    }
  }
  if (http.text("token_file", config.token_file)) config.token_file = context.resolve(config.token_file);
  http.boolean("behind_proxy", config.behind_proxy);
  if (!is_loopback(config.bind) && (config.token_file.empty() || !config.behind_proxy)) {
    http.wrong("bind",
               "is " + in_quotes(config.bind) +
                   ", which is not this machine alone; that needs token_file, and behind_proxy: true to say that "
                   "a proxy does TLS; else 127.0.0.1");
  }
}

void read_log(Section log, LogConfig& config) {
  log.choice(
      "level", config.level,
      {{"debug", LogLevel::kDebug}, {"info", LogLevel::kInfo}, {"warn", LogLevel::kWarn}, {"error", LogLevel::kError}});
  log.choice("format", config.format, {{"text", LogFormat::kText}, {"json", LogFormat::kJson}});
}

NodeConfig read_root(Section& root, const Context& context) {
  NodeConfig config;
  read_node(root.section("node"), config.receive);
  read_storage(root.section("storage"), context, config.storage);
  read_peers(root, config.receive.peers);
  read_models(root, context, config.inference.models);
  Words models;
  for (const ModelConfig& model : config.inference.models) models.push_back(model.name);
  root.each("tasks", [&](const std::string& name, Section& section) {
    config.inference.tasks.push_back(read_task(name, section, models));
  });
  read_inference(root.section("inference"), config.inference);
  read_body_parts(root, context, config.router.body_parts);

  Names names;
  for (const TaskConfig& task : config.inference.tasks) names.tasks.push_back(task.name);
  for (const PeerConfig& peer : config.receive.peers) {
    names.peers.push_back(peer.name);
    if (!peer.host.empty() && peer.port != 0) names.destinations.push_back(peer.name);
  }
  for (const auto& [alias, term] : config.router.body_parts.terms) names.body_parts.push_back(alias);
  read_routes(root, names, config.router);
  read_results(root.section("results"), names, config.report);
  read_delivery(root.section("delivery"), config.delivery);
  read_http(root.section("http"), context, config.http);
  read_log(root.section("log"), config.log);

  config.receive.keep_first_on_conflict = config.storage.keep_first_on_conflict;
  config.receive.report_skipped = config.report.report_skipped;
  config.delivery.ae_title = config.report.ae_title = config.receive.ae_title;
  config.delivery.peers = config.receive.peers;
  config.report.tasks = config.inference.tasks;
  for (const TaskConfig& task : config.inference.tasks) {
    config.router.scopes[task.name] = {task.views, task.age_years_min, task.age_years_max};
  }
  return config;
}

std::vector<Override> collect_overrides(const std::vector<std::pair<std::string, std::string>>& settings,
                                        const std::vector<std::string>& environment) {
  std::vector<Override> overrides;
  for (const std::string& entry : environment) {
    const std::size_t equals = entry.find('=');
    if (!entry.starts_with(kEnvironmentPrefix) || equals == std::string::npos) continue;
    const std::string name = entry.substr(0, equals);
    const std::string path = name.substr(kEnvironmentPrefix.size());
    if (path.find("__") == std::string::npos) continue;  // Another program's.
    overrides.push_back({name, split(path, "__"), entry.substr(equals + 1), true});
  }
  // Sorted, so that the order of the environment, which nobody chooses, decides nothing.
  std::sort(overrides.begin(), overrides.end(),
            [](const Override& a, const Override& b) { return a.origin < b.origin; });
  for (const auto& [path, value] : settings) {
    overrides.push_back({"--set " + path + "=" + value, split(path, "."), value, false});
  }
  return overrides;
}

}  // namespace

Result<NodeConfig> read_node_config(const std::string& file,
                                    const std::vector<std::pair<std::string, std::string>>& overrides,
                                    const std::vector<std::string>& environment) {
  NODE_ASSIGN_OR_RETURN(const std::string text, read_text_file(file));
  Mistakes mistakes(file);
  auto tree = TreeBuilder(mistakes).parse(text, {file, 1});
  if (!tree) return mistakes.status();
  for (const Override& override : collect_overrides(overrides, environment)) apply(override, *tree, mistakes);
  const Context context{mistakes, std::filesystem::path(file).parent_path()};
  NodeConfig config;
  {
    Section root(mistakes, &*tree, "", {file, 1});
    if (!root.broken()) config = read_root(root, context);
  }
  if (mistakes.any()) return mistakes.status();
  return config;
}

}  // namespace node::config
