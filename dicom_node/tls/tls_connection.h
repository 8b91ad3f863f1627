// TlsConnection: a connection with TLS as one without, for those who read and write a socket themselves.
//
// What the peer sends comes out of a plain TCP connection on loopback, and the other way round: DCMTK 3.6.7 wants a TCP
// socket, and would wait in the handshake for a peer that stalls while all others wait for it.
//
// Guarantee: no thread waits for a peer; one that does not end its handshake, or takes nothing, is cut off. The end of
// either
//            side is the end of the other, once what was under way has been written.
// Threads:   that of the io_context. The object lives for as long as there is something to move.
// Source:    RFC 8446, RFC 5246.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include "config/base/status.h"
#include "dicom_node/tls/tls_context.h"

namespace boost::asio {
class io_context;
}

namespace node::tls {

struct TlsLimits {
  std::chrono::milliseconds handshake_timeout{30'000};
  std::chrono::milliseconds write_timeout{60'000};  // For what the peer does not take.
};

class TlsConnection {
 public:
  // Nothing: close() was called. Else the descriptor of the plain end, which is the callee's now, or why there is none.
  using Done = std::function<void(Result<int> plain)>;

  // Takes over `descriptor`, a connected TCP socket, and begins the handshake of a server.
  static std::shared_ptr<TlsConnection> begin(boost::asio::io_context& io, int descriptor, const Context& context,
                                              const TlsLimits& limits, Done done);
  virtual ~TlsConnection() = default;

  virtual std::optional<Certificate> certificate() const = 0;  // Of the peer, once `done` was called.
  virtual void close() = 0;                                    // At once.
};

}  // namespace node::tls
