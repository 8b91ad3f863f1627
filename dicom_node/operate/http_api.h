// HttpApi: the paths of the HTTP surface and what each answers; knows no socket.
//
// Guarantee: what a client sends is checked here before anything is asked of the store; a POST changes nothing without
// the
//            bearer token, which is compared in constant time.
// Threads:   answer() from one thread at a time; it may wait for the store.
// Source:    README.md, "The HTTP API".
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "config/base/status.h"
#include "config/router_config.h"
#include "config/task_config.h"
#include "storage/study_store.h"

namespace node::operate {

// What the pages show, handed in so that the server knows no stage.
struct NodeView {
  std::function<Status()> ready;  // OK, or the reason why the node takes no images or makes no results.
  storage::StudyStore* store = nullptr;
  std::string title;  // "SKELEX on port 11112"
  std::string version;
  std::vector<config::TaskConfig> tasks{};  // For the levels and labels of findings.
  config::RegionHead region_head{};         // Held against what the header says of the body part.
  std::vector<std::string> models{};        // model_json() of each.
};

struct HttpRequest {
  std::string_view method;  // "GET"
  std::string_view target;  // Path and query, as sent.
  std::string_view authorization{};
};

struct HttpAnswer {
  int status = 200;
  std::string body{};
  std::string type = "application/json";
  std::string allow{};  // Of a 405: the methods that would do.
};

class HttpApi {
 public:
  // `token` empty: none is configured. `token_for_all`: every path but /healthz needs it, not only a POST.
  HttpApi(NodeView view, std::string token, bool token_for_all);

  HttpAnswer answer(const HttpRequest& request) const;

 private:
  const NodeView view_;
  const std::string bearer_;  // "Bearer TOKEN", or empty.
  const bool token_for_all_;

  bool authorised(const HttpRequest& request) const;
  HttpAnswer page(std::string_view path) const;
  HttpAnswer list_studies(std::string_view query) const;
  HttpAnswer list_deliveries(std::string_view query) const;
  HttpAnswer study(std::string_view uid) const;
  HttpAnswer retry_study(std::string_view uid) const;
  HttpAnswer release_delivery(std::string_view id) const;
};

}  // namespace node::operate
