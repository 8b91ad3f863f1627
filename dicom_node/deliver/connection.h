// Connection: a TCP connection to a peer that is no DICOM peer, with TLS where it is configured.
//
// Guarantee: connecting, each write and each read end within their time.
// Threads:   one thread per object.
// Source:    RFC 8446 (TLS 1.3), RFC 5246 (1.2, the least that is accepted); the peer's name is checked (RFC 6125).
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/base/status.h"
#include "config/message_config.h"

namespace node::deliver {

class Connection {
 public:
  // `pinned`: as PeerConfig::certificates; else the certificate must name `host`.
  // Errors: kUnavailable: no such host, no connection, no agreement on TLS, a certificate or key that cannot be read.
  static Result<std::unique_ptr<Connection>> open(const std::string& host, std::uint16_t port,
                                                  const config::TlsConfig& tls, std::chrono::milliseconds timeout,
                                                  const std::vector<std::string>& pinned = {});
  ~Connection();

  Status write(std::string_view bytes, std::chrono::milliseconds timeout);  // Errors: kUnavailable.
  // What there is, at least one byte. Errors: kUnavailable: nothing came in time, or the peer has closed.
  Result<std::string> read(std::chrono::milliseconds timeout);
  // Whether the peer leaves it open for so long: with TLS 1.3 it refuses our certificate once the handshake is over. For
  // who only looks: nothing can be sent afterwards. Errors: kUnavailable, in words.
  Status stays_open(std::chrono::milliseconds wait);

 private:
  struct Impl;
  explicit Connection(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace node::deliver
