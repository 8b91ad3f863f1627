// JsonObject: one object of a checkpoint's JSON files, of which every key is asked for, said to be without effect, or
// refused.
//
// Guarantee: no key occurs twice, nesting is bounded, text is UTF-8. A getter leaves its target as it is, the default,
//            where the key is absent or null.
// Threads:   one at a time.
// Errors:    kInvalidArgument naming file and key: no JSON, a key twice, a value of another kind or out of range;
//            kUnsupported from refuse_unknown().
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/base/status.h"

namespace node::inference {

class JsonObject {
 public:
  // `where` is what messages begin with: the file, and what of it.
  static Result<JsonObject> parse(std::string_view text, const std::string& where);

  JsonObject(JsonObject&&) noexcept;
  JsonObject& operator=(JsonObject&&) noexcept;
  ~JsonObject();

  const std::string& where() const;
  std::vector<std::string> keys() const;  // Sorted.
  bool has(const std::string& key);       // And is not null.
  bool is_list(const std::string& key);
  bool is_object(const std::string& key);

  Status integer(const std::string& key, std::int64_t min, std::int64_t max, std::int64_t& value);
  Status number(const std::string& key, double& value);
  Status boolean(const std::string& key, bool& value);
  Status text(const std::string& key, std::string& value);
  // Lists; one number alone is a list of one.
  Status integers(const std::string& key, std::int64_t min, std::int64_t max, std::vector<std::int64_t>& values);
  Status numbers(const std::string& key, std::vector<double>& values);
  Status texts(const std::string& key, std::vector<std::string>& values);
  Status text_map(const std::string& key, std::map<std::string, std::string>& values);
  // Its messages begin with `where`; by default with ours and the key. Errors: also where the key is absent.
  Result<JsonObject> object(const std::string& key, std::string where = "");

  void without_effect(std::initializer_list<const char*> keys);
  Status refuse_unknown() const;

  Status wrong(const std::string& key, const std::string& why) const;          // kInvalidArgument
  Status not_supported(const std::string& key, const std::string& why) const;  // kUnsupported

 private:
  struct Impl;
  explicit JsonObject(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace node::inference
