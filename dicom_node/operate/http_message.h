// What a request says and what is answered, as far as the paths care: no socket, no parser.
#pragma once

#include <string>
#include <string_view>

namespace node::operate {

struct HttpRequest {
  std::string_view method = "GET";
  std::string_view target{};  // Path and query, as sent.
  std::string_view authorization{};
  std::string_view cookie{};
  std::string_view origin{};          // Of the page that asks, as its browser says it: "https://node:8043".
  std::string_view sec_fetch_site{};  // What the browser thinks of it: "same-origin".
  std::string_view named{};           // The Host that was asked for: "node:8043".
  std::string_view local_user{};      // On whose behalf a command of this very machine asks, as it says itself.
  std::string_view body{};
  std::string_view host{};  // Whose: its address, for the audit trail.
};

struct HttpAnswer {
  int status = 200;
  std::string body{};
  std::string type = "application/json";
  std::string allow{};       // Of a 405: the methods that would do.
  std::string cookie{};      // Set-Cookie.
  std::string refused{};     // Of a 401, 429 or 503: why, for the log.
  bool wrong_token = false;  // Of a 401 or 429: one was shown.
};

}  // namespace node::operate
