// AssociationAcceptor: accepts connections and waits until each one's whole association request is there.
//
// Guarantee: a peer that is silent, or sends half a request, or garbage, costs a descriptor until its deadline and
//            nobody else anything: no thread ever waits for it. When one host (of IPv6 one /64), or all together, hold
//            too many such connections, the one that has waited longest is closed for the new one. Nothing is read: the
//            request still lies in the socket when it is handed on. TCP_NODELAY is set on every connection. With TLS
//            the same holds from the handshake on; one that fails is logged with its reason.
// Threads:   one of its own, which calls `on_request`, and with TLS moves what associations send and get until the
//            destructor; open(), stop() and the destructor from one thread.
// Source:    PS3.8 9.3.1 (PDU header), 9.3.2 (A-ASSOCIATE-RQ), 9.3.4 (A-ASSOCIATE-RJ).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "config/base/status.h"
#include "dicom_node/tls/tls_context.h"

namespace node::receive {

struct AcceptorLimits {
  std::chrono::milliseconds request_timeout{30'000};  // From the connection to its whole request.
  std::size_t waiting_per_host_max = 64;
  std::size_t waiting_max = 512;
  std::chrono::milliseconds write_timeout{60'000};  // With TLS: for what the peer does not take.
  std::size_t request_bytes_max = 128 * 1024;       // 128 contexts with 20 transfer syntaxes each have 80 KiB.
};

struct Caller {
  std::string host;  // Its address.
  bool tls = false;
  std::optional<tls::Certificate> certificate;  // With TLS.
};

struct AcceptorStats {
  std::uint64_t connections_total = 0;
  std::uint64_t expired_total = 0;     // No whole request before the deadline.
  std::uint64_t garbage_total = 0;     // No association request, or one over the limit.
  std::uint64_t tls_total = 0;         // No agreement on TLS.
  std::uint64_t evicted_total = 0;     // Closed for a newer connection.
  std::uint64_t over_limit_total = 0;  // Rejected: on_request said no.
  std::size_t waiting = 0;
};

class AssociationAcceptor {
 public:
  // A connection with its whole request in the socket; `socket` is blocking. true: the callee owns it now. false: too
  // many associations; the peer is answered A-ASSOCIATE-RJ "local limit exceeded" (transient). Must not block.
  using OnRequest = std::function<bool(int socket, const Caller& caller)>;

  // `port` 0: a free one, see port(). `tls`: what is spoken there; null: no TLS. Errors: kInvalidArgument (`bind` is no
  // address), kUnavailable (in use, no right to it: "listen on 0.0.0.0:104: Permission denied").
  static Result<std::unique_ptr<AssociationAcceptor>> open(const std::string& bind, std::uint16_t port,
                                                           const AcceptorLimits& limits, OnRequest on_request,
                                                           std::shared_ptr<tls::ServerContext> tls = nullptr);
  ~AssociationAcceptor();

  std::uint16_t port() const;
  AcceptorStats stats() const;
  bool turns(std::chrono::milliseconds patience) const;  // Whether its thread is there for the next connection by then.
  void stop();  // Closes what waits; on_request is not called afterwards. What was handed on goes on.

 private:
  struct Impl;
  explicit AssociationAcceptor(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace node::receive
