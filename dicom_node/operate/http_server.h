// HttpServer: health, readiness and the list of studies, for a person and for a supervisor.
//
// Guarantee: bounded in everything a client can choose: connections, header and body size, and the time of a request; a
//            client that stalls costs one connection and not for ever. Nothing of a patient is shown.
// Threads:   one thread of its own; handlers run on it, so they only read. What `NodeView` calls must outlive the
// server.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "config/base/status.h"
#include "config/operate_config.h"
#include "storage/study_store.h"

namespace node::operate {

// What the pages show, handed in as functions so that the server knows no stage.
struct NodeView {
  std::function<Status()> ready;  // OK, or the reason why the node takes no images or makes no results.
  storage::StudyStore* store = nullptr;
  std::string title;  // "SKELEX on port 11112"
  std::string version;
};

class HttpServer {
 public:
  // Binds and starts. Errors: kUnavailable (the address is taken, or is none of ours); kInvalidArgument (the token file
  // cannot be read or is empty, or another address than loopback is bound without a token).
  static Result<std::unique_ptr<HttpServer>> open(const config::HttpConfig& config, NodeView view);
  ~HttpServer();  // As stop().

  std::uint16_t port() const;  // The one bound, also where the configuration said 0.
  void stop();                 // Closes every connection, joins. May be called twice.

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace node::operate
