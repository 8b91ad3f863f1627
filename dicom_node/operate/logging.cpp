#include "dicom_node/operate/logging.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

namespace node::operate {
namespace {

std::string quoted(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

// Where the key that begins at `at` ends, which is at its "="; npos: none begins there.
std::size_t end_of_key(std::string_view text, std::size_t at) {
  const std::size_t end = std::min(text.find('=', at), text.size());
  const auto is_part = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
  const bool key = end > at && end < text.size() && std::all_of(text.begin() + at, text.begin() + end, is_part);
  return key ? end : std::string_view::npos;
}

// "reason":"...", and the message itself.
class JsonMessage : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    const std::string_view text(message.payload.data(), message.payload.size());
    const std::string json = json_fields(text) + "\"message\":" + quoted(text);
    out.append(json.data(), json.data() + json.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<JsonMessage>(); }
};

// The level as syslog(3) numbers it.
class Priority : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    switch (message.level) {
      case spdlog::level::critical: return out.push_back('2');
      case spdlog::level::err: return out.push_back('3');
      case spdlog::level::warn: return out.push_back('4');
      case spdlog::level::info: return out.push_back('6');
      default: return out.push_back('7');
    }
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<Priority>(); }
};

// Whether standard error is the journal, and not a file or a pipe that somebody put in its place.
bool to_journal() {
  const char* const stream = std::getenv("JOURNAL_STREAM");
  struct stat error {};
  return stream != nullptr && fstat(STDERR_FILENO, &error) == 0 &&
         std::to_string(error.st_dev) + ":" + std::to_string(error.st_ino) == stream;
}

spdlog::level::level_enum level_of(config::LogLevel level) {
  switch (level) {
    case config::LogLevel::kDebug: return spdlog::level::debug;
    case config::LogLevel::kInfo: return spdlog::level::info;
    case config::LogLevel::kWarn: return spdlog::level::warn;
    case config::LogLevel::kError: return spdlog::level::err;
  }
  return spdlog::level::info;
}

}  // namespace

std::string json_fields(std::string_view message) {
  std::string fields;
  std::set<std::string_view> seen{"time", "level", "message"};
  for (std::size_t at = 0; at < message.size();) {
    const std::size_t equals = end_of_key(message, at);
    std::size_t end = message.find(' ', at);
    if (equals != std::string_view::npos) {
      std::string_view value;
      if (message.substr(equals + 1, 1) == "\"") {
        std::size_t close = message.find('"', equals + 2);
        while (close != std::string_view::npos && close + 1 < message.size() &&
               (message[close + 1] != ' ' || end_of_key(message, close + 2) == std::string_view::npos)) {
          close = message.find('"', close + 1);
        }
        value = message.substr(equals + 2, close == std::string_view::npos ? close : close - equals - 2);
        end = close == std::string_view::npos ? close : close + 1;
      } else {
        value = message.substr(equals + 1, end == std::string_view::npos ? end : end - equals - 1);
      }
      const std::string_view key = message.substr(at, equals - at);
      if (seen.insert(key).second) fields += quoted(key) + ":" + quoted(value) + ",";
    }
    at = end == std::string_view::npos ? message.size() : end + 1;
  }
  return fields;
}

void configure_logging(const config::LogConfig& config) {
  auto logger = std::make_shared<spdlog::logger>("node", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  auto formatter = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
  formatter->add_flag<JsonMessage>('*');
  formatter->add_flag<Priority>('N');
  const std::string line = config.format == config::LogFormat::kJson
                               ? R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%*})"
                               : "%Y-%m-%dT%H:%M:%S.%eZ %l %v";
  formatter->set_pattern(to_journal() ? "<%N>" + line : line);
  logger->set_formatter(std::move(formatter));
  logger->set_level(level_of(config.level));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace node::operate
