#include "dicom_node/deliver/http_exchange.h"

#include <algorithm>
#include <utility>  // Before Asio 1.74, whose awaitable.hpp forgets it in C++20.
// clang-format off
#include <boost/beast/http.hpp>
// clang-format on

namespace node::deliver {

namespace http = boost::beast::http;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

std::string host_header(const std::string& host, std::uint16_t port) {
  const bool is_ipv6 = host.find(':') != std::string::npos;
  return (is_ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<HttpResponse> read_response(Connection& connection, milliseconds timeout) {
  http::response_parser<http::string_body> parser;
  parser.body_limit(1 << 20);
  parser.eager(true);  // The body may come with the header.
  const auto deadline = steady_clock::now() + timeout;
  std::string received;
  while (!parser.is_done()) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now());
    const auto more = left.count() > 0 ? connection.read(left) : Result<std::string>(unavailable("no answer in time"));
    boost::beast::error_code error;
    if (!more.ok()) {
      if (parser.got_some()) parser.put_eof(error);
      if (parser.is_done() && !error) break;  // Its body ends with the connection.
      return more.status();
    }
    received += *more;
    received.erase(0, parser.put(boost::asio::buffer(received), error));
    if (error && error != http::error::need_more) return unavailable("its answer is not HTTP: " + error.message());
  }
  const auto& response = parser.get();
  return HttpResponse{static_cast<int>(response.result_int()),
                      {response.reason().data(), response.reason().size()},
                      response.body(),
                      parser.keep_alive()};
}

}  // namespace node::deliver
