// Section: one group of keys of node.yaml, read with every mistake noted.
//
// Guarantee: a getter leaves its target as it is, the default, where the key is absent, and notes a mistake where the
//            value does not fit; the destructor notes every key that no getter asked for, with what may have been
//            meant.
// Threads:   one at a time; `mistakes` and the tree must outlive it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/config_tree.h"
#include "config/task_config.h"

namespace node::config {

// What is wrong with a name, or nothing: names become parts of file names and of keys of overrides.
std::string name_problem(const std::string& name);

class Section {
 public:
  // `value`: null if the group is absent; `parent` is then where it would be.
  Section(Mistakes& mistakes, const Value* value, std::string path, const Origin& parent);
  Section(const Section&) = delete;
  ~Section();

  bool broken() const { return broken_; }  // Was no group at all, which is said already.
  const std::string& path() const { return path_; }
  const Origin& origin() const { return origin_; }
  std::string path_of(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }

  const Value* get(const std::string& key);  // Null if absent or empty.
  void wrong(const std::string& key, const std::string& what);
  void require(const std::string& key, const std::string& what);
  void refuse(const std::string& key, const std::string& why);  // `key` means nothing here, because of `why`.

  // The one scalar of `key`; `wanted` says in the mistake what would be right.
  const std::string* scalar(const std::string& key, const std::string& wanted);

  // True if the target was set.
  bool text(const std::string& key, std::string& target, std::size_t characters_max = 1024);
  bool ae_title(const std::string& key, std::string& target);
  bool number(const std::string& key, double& target, double low, double high);
  void boolean(const std::string& key, bool& target) { choice(key, target, {{"true", true}, {"false", false}}); }
  void bytes(const std::string& key, std::uint64_t& target, double low, double high);
  // A number of 1 or more, or the word auto, which is 0 in the struct.
  void integer_or_auto(const std::string& key, int& target, int high);

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
    const auto number = whole_number(key, low, high);
    if (number) target = static_cast<Integer>(*number);
    return number.has_value();
  }

  template <typename Duration>
  void duration(const std::string& key, Duration& target, std::chrono::milliseconds low,
                std::chrono::milliseconds high) {
    const auto time = milliseconds(key, std::chrono::duration<double, std::milli>(Duration(1)).count(), low, high);
    if (time) target = std::chrono::duration_cast<Duration>(*time);
  }

  // One word or a list of words. `problem` says what is wrong with a word, or nothing.
  void words(const std::string& key, Words& target, const std::function<std::string(const std::string&)>& problem = {});
  void code(const std::string& key, Code& target);
  void codes(const std::string& key, std::vector<Code>& target);

  Section section(const std::string& key) { return Section(mistakes_, get(key), path_of(key), origin_); }
  // Each entry of a group whose keys are names: peers, models, tasks.
  void each(const std::string& key, const std::function<void(const std::string&, Section&)>& read);
  // Each entry of a list: routes, forward.
  void each_item(const std::string& key, const std::function<void(Section&)>& read);

 private:
  std::optional<std::int64_t> whole_number(const std::string& key, std::int64_t low, std::int64_t high);
  std::optional<std::chrono::milliseconds> milliseconds(const std::string& key, double resolution_ms,
                                                        std::chrono::milliseconds low, std::chrono::milliseconds high);

  Mistakes& mistakes_;
  const Value* value_ = nullptr;
  std::string path_;
  Origin origin_;
  Words known_;
  bool broken_ = false;
};

}  // namespace node::config
