// HttpConnection: one connection of HttpServer: reads requests, has HttpApi answer them, writes the answers.
//
// Guarantee: bounded in all that a client can choose: header and body size, the time of a request and of taking its
//            answer. The connection that waits longest for its client makes room for a new one.
// Threads:   that of `HttpConnections::io`, but for the answers, which are made in its pools.
// Source:    RFC 9110, RFC 9112.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <vector>

#include "dicom_node/operate/http_api.h"
#include "dicom_node/operate/http_refusal_log.h"
#include "dicom_node/tls/tls_context.h"

namespace boost::asio {
class io_context;
class thread_pool;
}  // namespace boost::asio

namespace node::operate {

class HttpConnection;

// What the connections of one server share. It outlives them; `io` and the pools hold them.
struct HttpConnections {
  const HttpApi& api;
  const std::vector<std::string>& names;  // Of this node, beside its addresses.
  tls::ServerContext* tls;                // Whose certificate names this node too; null: no TLS.
  HttpRefusalLog& refusals;
  boost::asio::io_context& io;
  boost::asio::thread_pool& pages;     // Where answers may wait for the store.
  boost::asio::thread_pool& tries;     // Where they wait for an analysis.
  boost::asio::thread_pool& pictures;  // Where they wait for an image.

  // Touched on the io thread only.
  int open = 0;
  int images = 0;                                          // Requests that bring one.
  std::list<HttpConnection*> waiting{};                    // For their client; the one that waits longest first.
  std::list<std::shared_ptr<HttpConnection>> following{};  // GET /api/events.
};

class HttpConnection {
 public:
  // Takes over `descriptor`, a connected TCP socket without TLS; reads from it for as long as there are requests.
  // `host`: the client's address, `came_to`: the address of ours that it asked. With too many, none of which waits for
  // its client, it is closed.
  static void begin(HttpConnections& all, int descriptor, const std::string& host, const std::string& came_to);
  virtual ~HttpConnection() = default;

  // Of one that follows the events: tells it the next, unless the last one is still on its way, or ends it where its
  // session has ended.
  virtual void tell(const std::string& event) = 0;
  virtual void end_unless_it_may_follow() = 0;
  virtual void make_room() = 0;  // Closes it for another.
};

}  // namespace node::operate
