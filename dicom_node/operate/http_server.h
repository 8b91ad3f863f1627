// HttpServer: the sockets under HttpApi: health, readiness, the list of studies, the API.
//
// Guarantee: bounded in everything a client can choose: connections, header and body size, and the time of a request; a
//            client that stalls costs one connection and not for ever, and the connection that waits longest for its
//            client, that it writes or reads, makes room for a new one. With TLS the same holds of handshakes. Who is
//            refused is counted, and logged: a wrong token each, all else once a minute for each address and reason.
//            /healthz answers also while the store does not. Nothing of a patient is shown.
// Threads:   three of its own: one for the sockets, one for HttpApi, one for its pictures. What `NodeView` calls must
// outlive the server.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "config/base/status.h"
#include "config/operate_config.h"
#include "dicom_node/operate/http_api.h"
#include "dicom_node/operate/http_tokens.h"
#include "dicom_node/tls/tls_context.h"

namespace node::operate {

class HttpServer {
 public:
  // Binds and starts. Errors: kUnavailable (the address is taken, or is none of ours); kInvalidArgument (a token file
  // is not as read_tokens() wants it, another address than loopback is bound without a token and TLS or a
  // proxy, or a certificate or key is not good).
  static Result<std::unique_ptr<HttpServer>> open(const config::HttpConfig& config, NodeView view);
  ~HttpServer();  // As stop().

  std::uint16_t port() const;  // The one bound, also where the configuration said 0.
  HttpRefusals refusals() const;
  bool turns(std::chrono::milliseconds patience) const;  // Whether it is there for the next request by then.
  tls::ServerContext* tls() const;                       // Null: no TLS is spoken.
  // In force from now on, as HttpAccess::set_tokens() has it.
  void set_tokens(std::vector<NamedToken> tokens);
  void stop();  // Closes every connection, joins. May be called twice.

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace node::operate
