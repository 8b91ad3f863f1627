#include "config/config_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <system_error>
#include <tuple>

namespace node::config {
namespace {

constexpr std::size_t kFileBytesMax = 1024 * 1024;
constexpr int kValuesMax =
    100'000;  // Aliases count as often as they are used: a small file cannot unfold into a big one.
constexpr int kDepthMax = 16;
constexpr std::size_t kMistakesMax = 100;
constexpr std::string_view kEnvironmentPrefix = "SKELEX_";

// Sees where the content of each document begins and nothing else of it.
class Documents : public YAML::EventHandler {
 public:
  YAML::Mark last;

  void OnDocumentStart(const YAML::Mark&) override { begun_ = false; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { see(mark); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { see(mark); }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t, const std::string&) override { see(mark); }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
    see(mark);
  }
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
    see(mark);
  }
  void OnMapEnd() override {}

 private:
  void see(const YAML::Mark& mark) {
    if (!begun_) last = mark;
    begun_ = true;
  }
  bool begun_ = false;
};

// Not YAML::LoadAll: of some broken files yaml-cpp 0.7 makes documents without end.
std::optional<YAML::Mark> second_document(const std::string& text) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  Documents documents;
  if (parser.HandleNextDocument(documents) && parser.HandleNextDocument(documents)) return documents.last;
  return std::nullopt;
}

class TreeBuilder {
 public:
  explicit TreeBuilder(Mistakes& mistakes) : mistakes_(mistakes) {}

  // `origin.line`: 0 for an override, whose values have no lines.
  std::optional<Value> parse(const std::string& text, const Origin& origin) {
    try {
      if (const auto second = second_document(text)) {
        const int line = origin.line == 0 ? 0 : std::max(second->line + 1, 1);
        mistakes_.add({origin.name, line}, "", "a second YAML document; one is wanted");
        return std::nullopt;
      }
      const YAML::Node document = YAML::Load(text);
      return document.IsNull() ? Value{Value::Kind::kNull, "", {}, origin} : convert(document, origin, "", 0);
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

bool same_key(const std::string& key, const std::string& wanted, bool any_case) {
  if (!any_case) return key == wanted;
  std::string a = lower(key), b = lower(wanted);
  std::replace(a.begin(), a.end(), '-', '_');
  std::replace(b.begin(), b.end(), '-', '_');
  return a == b;
}

}  // namespace

void Mistakes::add(const Origin& origin, const std::string& path, const std::string& what) {
  mistakes_.push_back({origin, origin.text() + ": " + (path.empty() ? "" : path + ": ") + what});
}

Status Mistakes::status() {
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

Value::Value() = default;
Value::Value(Kind kind_in, std::string scalar_in, std::vector<std::pair<std::string, Value>> entries_in,
             Origin origin_in)
    : kind(kind_in), scalar(std::move(scalar_in)), entries(std::move(entries_in)), origin(std::move(origin_in)) {}

const Value* Value::find(std::string_view key) const {
  const auto found =
      std::find_if(entries.begin(), entries.end(), [&](const auto& entry) { return entry.first == key; });
  return found == entries.end() || kind != Kind::kMap ? nullptr : &found->second;
}

std::string kind_text(const Value& value) {
  switch (value.kind) {
    case Value::Kind::kNull: return "nothing";
    case Value::Kind::kScalar: return in_quotes(value.scalar);
    case Value::Kind::kList: return "a list";
    case Value::Kind::kMap: return "a group of keys";
  }
  return "";
}

std::optional<Value> parse_yaml(const std::string& text, const Origin& origin, Mistakes& mistakes) {
  return TreeBuilder(mistakes).parse(text, origin);
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
    if (auto parsed = parse_yaml(override.value, origin, mistakes)) *value = std::move(*parsed);
  } else {
    *value = {override.value.empty() ? Value::Kind::kNull : Value::Kind::kScalar, override.value, {}, origin};
  }
}

}  // namespace node::config
