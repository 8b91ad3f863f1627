#include "dicom_node/operate/node_client.h"

#include <fmt/format.h>

#include <boost/asio.hpp>
#include <boost/beast.hpp>
#include <nlohmann/json.hpp>
#include <utility>  // Before Asio 1.74, whose awaitable.hpp forgets it in C++20.

#include "dicom_node/operate/http_server.h"

namespace node::operate {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

constexpr std::chrono::seconds kTimeout{30};

// One request over a connection of its own, within kTimeout.
Result<http::response<http::string_body>> exchange(const asio::ip::tcp::endpoint& endpoint,
                                                   const http::request<http::empty_body>& request) {
  asio::io_context io;
  beast::tcp_stream stream(io);
  beast::flat_buffer buffer;
  http::response<http::string_body> response;
  beast::error_code error = asio::error::would_block;
  stream.expires_after(kTimeout);
  stream.async_connect(endpoint, [&](beast::error_code connected) {
    error = connected;
    if (error) return;
    http::async_write(stream, request, [&](beast::error_code written, std::size_t) {
      error = written;
      if (error) return;
      http::async_read(stream, buffer, response, [&](beast::error_code read, std::size_t) { error = read; });
    });
  });
  io.run();
  if (error) return unavailable(error.message());
  return response;
}

// The node's own words of a refusal: {"error": "..."}.
std::string words(const std::string& body) {
  const auto json = nlohmann::json::parse(body, nullptr, false);
  return json.is_object() && json.contains("error") && json["error"].is_string() ? json["error"].get<std::string>()
                                                                                 : body;
}

}  // namespace

Result<std::string> post_to_node(const config::HttpConfig& config, const std::string& target) {
  beast::error_code error;
  auto address = asio::ip::make_address(config.bind, error);
  if (error) return invalid_argument("http.bind " + config.bind + ": not an IP address");
  if (address.is_unspecified()) {
    address = address.is_v4() ? asio::ip::address(asio::ip::address_v4::loopback())
                              : asio::ip::address(asio::ip::address_v6::loopback());
  }
  NODE_ASSIGN_OR_RETURN(const std::string token, read_token(config));
  if (token.empty()) {
    return invalid_argument(
        "a running node is changed over HTTP only with a token: set http.token_file for node and command, or stop the "
        "node");
  }
  http::request<http::empty_body> request(http::verb::post, target, 11);
  request.set(http::field::host, fmt::format("{}:{}", config.bind, config.port));
  request.set(http::field::authorization, "Bearer " + token);
  request.set(http::field::connection, "close");
  request.prepare_payload();
  const auto answer = exchange({address, config.port}, request);
  const std::string where = fmt::format("http://{}:{}", config.bind, config.port);
  if (!answer.ok()) return unavailable("no node answers at " + where + ": " + answer.status().message());
  if (answer->result_int() / 100 == 2) return answer->body();
  if (answer->result_int() == 401) {
    return invalid_argument("the node at " + where + " refuses the token of " + config.token_file +
                            ": it was started with another one");
  }
  return invalid_argument(words(answer->body()));
}

}  // namespace node::operate
