#include "dicom_node/operate/node_client.h"

#include <fmt/format.h>

#include <boost/asio.hpp>
#include <boost/beast.hpp>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>  // Before Asio 1.74, whose awaitable.hpp forgets it in C++20.

#include "dicom_node/deliver/connection.h"
#include "dicom_node/deliver/http_exchange.h"
#include "dicom_node/operate/http_server.h"
#include "dicom_node/operate/local_user.h"
#include "dicom_node/tls/tls_context.h"

namespace node::operate {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

constexpr std::chrono::seconds kTimeout{30};

// One request over a connection of its own, each step within kTimeout.
Result<deliver::HttpResponse> exchange(const config::HttpConfig& config, const std::string& address,
                                       const http::request<http::empty_body>& request) {
  config::TlsConfig tls;
  std::vector<std::string> pinned;
  if (config.tls.on) {  // It is our own node: its very certificate is known, and shown too where one is asked for.
    NODE_ASSIGN_OR_RETURN(const auto own, tls::certificates_of_files(config.tls));
    pinned = {"sha256:" + own.front().certificate.sha256};
    tls = config.tls;
    tls.ca_file = tls.certificate_file;
  }
  NODE_ASSIGN_OR_RETURN(const auto connection, deliver::Connection::open(address, config.port, tls, kTimeout, pinned));
  std::ostringstream text;
  text << request;
  NODE_RETURN_IF_ERROR(connection->write(text.str(), kTimeout));
  return deliver::read_response(*connection, kTimeout);
}

// The node's own words of a refusal: {"error": "..."}.
std::string words(const std::string& body) {
  const auto json = nlohmann::json::parse(body, nullptr, false);
  return json.is_object() && json.contains("error") && json["error"].is_string() ? json["error"].get<std::string>()
                                                                                 : body;
}

}  // namespace

Result<std::string> ask_node(const config::HttpConfig& config, Method method, const std::string& target) {
  beast::error_code error;
  auto address = asio::ip::make_address(config.bind, error);
  if (error) return invalid_argument("http.bind " + config.bind + ": not an IP address");
  if (address.is_unspecified()) {
    address = address.is_v4() ? asio::ip::address(asio::ip::address_v4::loopback())
                              : asio::ip::address(asio::ip::address_v6::loopback());
  }
  NODE_ASSIGN_OR_RETURN(const std::string token, read_token(config));
  if (token.empty() && method == Method::kPost) {
    return invalid_argument(
        "a running node is changed over HTTP only with a token: set http.token_file for node and command (the command "
        "line takes none of http.tokens_file), or stop the node");
  }
  http::request<http::empty_body> request(method == Method::kPost ? http::verb::post : http::verb::get, target, 11);
  const std::string host = address.is_v6() ? "[" + address.to_string() + "]" : address.to_string();
  request.set(http::field::host, fmt::format("{}:{}", host, config.port));
  if (!token.empty()) request.set(http::field::authorization, "Bearer " + token);
  request.set(kLocalUserHeader, local_user());
  request.set(http::field::connection, "close");
  request.prepare_payload();
  const auto answer = exchange(config, address.to_string(), request);
  const std::string where = fmt::format("{}://{}:{}", config.tls.on ? "https" : "http", config.bind, config.port);
  if (!answer.ok()) return unavailable("no node answers at " + where + ": " + answer.status().message());
  if (answer->status / 100 == 2) return answer->body;
  if (answer->status == 401 && token.empty()) {
    return invalid_argument("the node at " + where +
                            " wants a token, and the command line needs http.token_file for that: set it for node and "
                            "command (the tokens of http.tokens_file are persons'), or stop the node");
  }
  if (answer->status == 401) {
    return invalid_argument("the node at " + where + " refuses the token of " + config.token_file +
                            ": it was started with another one");
  }
  return invalid_argument(words(answer->body));
}

}  // namespace node::operate
