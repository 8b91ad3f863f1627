// Value: a configuration file as a tree, each value with where it comes from, so that every mistake names file and
// line.
//
// Guarantee: a tree is bounded: kValuesMax values however aliases unfold, kDepthMax levels; a key given twice, a second
//            document and text that is no YAML are mistakes, never a crash.
// Threads:   values; not shared while they are changed.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/base/status.h"
#include "config/config_text.h"

namespace node::config {

struct Origin {
  std::string name;  // A file, or an override as the user wrote it.
  int line = 0;      // 0: no file.

  std::string text() const { return line == 0 ? name : name + ":" + std::to_string(line); }
};

// All that is wrong with a configuration, gathered so that one run names everything.
class Mistakes {
 public:
  explicit Mistakes(std::string file) : file_(std::move(file)) {}

  void add(const Origin& origin, const std::string& path, const std::string& what);
  bool any() const { return !mistakes_.empty(); }
  // A line each, in the order of the file, then those of other files, then those of overrides. Only if any().
  Status status();

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

  // Not by the compiler: clang 14 would look into a pair of a Value that is not complete yet.
  Value();
  Value(Kind kind, std::string scalar, std::vector<std::pair<std::string, Value>> entries, Origin origin);

  const Value* find(std::string_view key) const;
};

std::string kind_text(const Value& value);  // "a list", for a mistake.

// `origin.line`: 1 for a file; 0 for an override, whose values have no lines. Nothing if `mistakes` got one.
std::optional<Value> parse_yaml(const std::string& text, const Origin& origin, Mistakes& mistakes);

// Of a file of at most 1 MiB. Errors: kNotFound, kInvalidArgument (larger).
Result<std::string> read_text_file(const std::string& file);

struct Override {
  std::string origin;  // "--set node.port=1" or "SKELEX_NODE__PORT"
  Words path;
  std::string value;
  bool any_case = false;  // Of the environment: in any case, "_" also for "-".
};

// Those of the environment (SKELEX_NODE__PORT=1) first, then `settings` (node.port, 1).
std::vector<Override> collect_overrides(const std::vector<std::pair<std::string, std::string>>& settings,
                                        const std::vector<std::string>& environment);
void apply(const Override& override, Value& root, Mistakes& mistakes);

}  // namespace node::config
