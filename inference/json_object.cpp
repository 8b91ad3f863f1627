#include "inference/json_object.h"

#include <nlohmann/json.hpp>
#include <set>
#include <utility>

namespace node::inference {

using nlohmann::json;

namespace {

constexpr int kDepthMax = 16;
constexpr std::size_t kNameMax = 200;  // Of a key in a message.

// What nlohmann-json accepts and we do not, seen while it parses.
class Strictness {
 public:
  // What is too deep is not kept, nor what comes after: a file of brackets costs no memory.
  bool operator()(int depth, json::parse_event_t event, json& parsed) {
    too_deep_ |= depth > kDepthMax;
    if (too_deep_) return false;
    switch (event) {
      case json::parse_event_t::object_start: keys_.emplace_back(); break;
      case json::parse_event_t::object_end: keys_.pop_back(); break;
      case json::parse_event_t::key:
        if (!keys_.back().insert(parsed.get<std::string>()).second && twice_.empty()) {
          twice_ = "key occurs twice: " + parsed.get<std::string>().substr(0, kNameMax);
        }
        break;
      default: break;
    }
    return true;
  }
  std::string problem() const { return too_deep_ ? "nested too deeply" : twice_; }

 private:
  std::vector<std::set<std::string>> keys_;  // Of the objects that are open.
  std::string twice_;
  bool too_deep_ = false;
};

}  // namespace

struct JsonObject::Impl {
  json object;
  std::string where;
  std::set<std::string> known;

  const json* find(const std::string& key) {
    known.insert(key);
    const auto found = object.find(key);
    return found == object.end() || found->is_null() ? nullptr : &*found;
  }
};

JsonObject::JsonObject(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
JsonObject::JsonObject(JsonObject&&) noexcept = default;
JsonObject& JsonObject::operator=(JsonObject&&) noexcept = default;
JsonObject::~JsonObject() = default;

Result<JsonObject> JsonObject::parse(std::string_view text, const std::string& where) {
  Strictness strictness;
  const auto watch = [&strictness](int depth, json::parse_event_t event, json& parsed) {
    return strictness(depth, event, parsed);
  };
  json value = json::parse(text, watch, /*allow_exceptions=*/false);
  if (const std::string problem = strictness.problem(); !problem.empty()) {
    return invalid_argument(where + ": " + problem);
  }
  if (value.is_discarded()) return invalid_argument(where + ": not valid JSON");
  if (!value.is_object()) return invalid_argument(where + ": not a JSON object");
  return JsonObject(std::unique_ptr<Impl>(new Impl{std::move(value), where, {}}));
}

const std::string& JsonObject::where() const { return impl_->where; }

std::vector<std::string> JsonObject::keys() const {
  std::vector<std::string> keys;
  for (const auto& item : impl_->object.items()) keys.push_back(item.key());
  return keys;
}

bool JsonObject::has(const std::string& key) { return impl_->find(key) != nullptr; }

bool JsonObject::is_list(const std::string& key) {
  const json* const found = impl_->find(key);
  return found != nullptr && found->is_array();
}

bool JsonObject::is_object(const std::string& key) {
  const json* const found = impl_->find(key);
  return found != nullptr && found->is_object();
}

Status JsonObject::integer(const std::string& key, std::int64_t min, std::int64_t max, std::int64_t& value) {
  if (is_list(key)) return wrong(key, "one whole number is needed");
  std::vector<std::int64_t> values;
  NODE_RETURN_IF_ERROR(integers(key, min, max, values));
  if (!values.empty()) value = values.front();
  return ok_status();
}

Status JsonObject::number(const std::string& key, double& value) {
  if (is_list(key)) return wrong(key, "one number is needed");
  std::vector<double> values;
  NODE_RETURN_IF_ERROR(numbers(key, values));
  if (!values.empty()) value = values.front();
  return ok_status();
}

Status JsonObject::boolean(const std::string& key, bool& value) {
  const json* const found = impl_->find(key);
  if (found == nullptr) return ok_status();
  if (!found->is_boolean()) return wrong(key, "true or false is needed");
  value = found->get<bool>();
  return ok_status();
}

Status JsonObject::text(const std::string& key, std::string& value) {
  const json* const found = impl_->find(key);
  if (found == nullptr) return ok_status();
  if (!found->is_string()) return wrong(key, "text is needed");
  value = found->get<std::string>();
  return ok_status();
}

Status JsonObject::integers(const std::string& key, std::int64_t min, std::int64_t max,
                            std::vector<std::int64_t>& values) {
  const json* const found = impl_->find(key);
  if (found == nullptr) return ok_status();
  values.clear();
  const json one = json::array({*found});
  for (const json& item : found->is_array() ? *found : one) {
    // A number above 2^63 must not turn negative.
    const bool fits = item.is_number_unsigned()
                          ? max >= 0 && item.get<std::uint64_t>() <= static_cast<std::uint64_t>(max) &&
                                item.get<std::int64_t>() >= min
                          : item.is_number_integer() && item.get<std::int64_t>() >= min;
    if (!fits) {
      return wrong(key, "a whole number from " + std::to_string(min) + " to " + std::to_string(max) + " is needed");
    }
    values.push_back(item.get<std::int64_t>());
  }
  return ok_status();
}

Status JsonObject::numbers(const std::string& key, std::vector<double>& values) {
  const json* const found = impl_->find(key);
  if (found == nullptr) return ok_status();
  values.clear();
  const json one = json::array({*found});
  for (const json& item : found->is_array() ? *found : one) {
    if (!item.is_number()) return wrong(key, "a number is needed");
    values.push_back(item.get<double>());
  }
  return ok_status();
}

Status JsonObject::texts(const std::string& key, std::vector<std::string>& values) {
  const json* const found = impl_->find(key);
  if (found == nullptr) return ok_status();
  if (!found->is_array()) return wrong(key, "a list is needed");
  values.clear();
  for (const json& item : *found) {
    if (!item.is_string()) return wrong(key, "a list of texts is needed");
    values.push_back(item.get<std::string>());
  }
  return ok_status();
}

Status JsonObject::text_map(const std::string& key, std::map<std::string, std::string>& values) {
  const json* const found = impl_->find(key);
  if (found == nullptr) return ok_status();
  if (!found->is_object()) return wrong(key, "an object is needed");
  values.clear();
  for (const auto& item : found->items()) {
    if (!item.value().is_string()) return wrong(key, "\"" + item.key().substr(0, kNameMax) + "\": text is needed");
    values[item.key()] = item.value().get<std::string>();
  }
  return ok_status();
}

Result<JsonObject> JsonObject::object(const std::string& key, std::string where) {
  const json* const found = impl_->find(key);
  if (where.empty()) where = impl_->where + ": " + key.substr(0, kNameMax);
  if (found == nullptr || !found->is_object()) return invalid_argument(where + ": an object is needed");
  return JsonObject(std::unique_ptr<Impl>(new Impl{*found, std::move(where), {}}));
}

void JsonObject::without_effect(std::initializer_list<const char*> keys) {
  impl_->known.insert(keys.begin(), keys.end());
}

Status JsonObject::refuse_unknown() const {
  for (const auto& item : impl_->object.items()) {
    if (impl_->known.count(item.key()) == 0) {
      return unsupported(impl_->where + ": key not understood: " + item.key().substr(0, kNameMax));
    }
  }
  return ok_status();
}

Status JsonObject::wrong(const std::string& key, const std::string& why) const {
  return invalid_argument(impl_->where + ": " + key.substr(0, kNameMax) + ": " + why);
}

Status JsonObject::not_supported(const std::string& key, const std::string& why) const {
  return unsupported(impl_->where + ": " + key.substr(0, kNameMax) + ": " + why);
}

}  // namespace node::inference
