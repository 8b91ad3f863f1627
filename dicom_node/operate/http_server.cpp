#include "dicom_node/operate/http_server.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <spdlog/spdlog.h>

#include <boost/asio.hpp>
#include <boost/beast.hpp>
#include <fstream>
#include <thread>
#include <utility>  // Before Asio 1.74, whose awaitable.hpp forgets it in C++20.

namespace node::operate {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;
using Request = http::request<http::string_body>;
using Response = http::response<http::string_body>;

constexpr int kConnectionsMax = 64;
constexpr std::uint32_t kHeaderBytesMax = 8 * 1024;
constexpr std::uint64_t kBodyBytesMax = 64 * 1024;
constexpr std::chrono::seconds kRequestTimeout{15};
constexpr int kStudiesShown = 200;

std::string escape_html(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '&': out += "&amp;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string utc(WallTime time) {
  return fmt::format("{:%Y-%m-%d %H:%M:%S}Z",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(std::chrono::system_clock::time_point(time))));
}

Response answer(const Request& request, http::status status, std::string_view type, std::string body) {
  Response response(status, request.version());
  response.set(http::field::content_type, std::string(type));
  response.set(http::field::cache_control, "no-store");
  response.set("X-Content-Type-Options", "nosniff");
  response.set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
  response.keep_alive(request.keep_alive());
  response.body() = request.method() == http::verb::head ? std::string() : std::move(body);
  response.prepare_payload();
  return response;
}

std::string studies_page(const NodeView& view) {
  const Status ready = view.ready();
  std::string page = fmt::format(
      "<!doctype html><html lang=en><meta charset=utf-8><title>{0}</title><style>body{{font:16px/1.4 sans-serif;"
      "margin:2em;color-scheme:light dark}}table{{border-collapse:collapse}}td,th{{padding:.25em .8em;text-align:left;"
      "border-bottom:1px solid #8888}}td.uid{{font-family:monospace;font-size:.85em}}</style><h1>{0}</h1>"
      "<p>{1} &middot; version {2}</p>",
      escape_html(view.title), ready.ok() ? "Ready" : "<strong>Not ready:</strong> " + escape_html(ready.message()),
      escape_html(view.version));
  auto studies = view.store->list_studies(std::nullopt, 0, kStudiesShown);
  if (!studies.ok()) return page + "<p>The list of studies cannot be read: " + escape_html(studies.status().message());
  page += fmt::format("<h2>Studies, newest first{}</h2>",
                      studies->size() == kStudiesShown ? fmt::format(" (the last {})", kStudiesShown) : "");
  if (studies->empty()) return page + "<p>No image has been received yet.";
  page +=
      "<table><tr><th>Study<th>State<th>Revision<th>Images<th>Analysed<th>Skipped<th>Failed<th>Conflicts"
      "<th>Delivered<th>Due<th>Parked<th>Last image<th>Reason";
  for (const storage::StudySummary& study : *studies) {
    page += fmt::format("<tr><td class=uid>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}",
                        escape_html(study.study_instance_uid), storage::to_string(study.state), study.revision,
                        study.instances, study.analysed, study.skipped, study.failed, study.conflicts,
                        study.deliveries_done, study.deliveries_pending, study.deliveries_parked,
                        utc(study.last_instance_at), escape_html(study.reason));
  }
  return page + "</table>";
}

}  // namespace

struct HttpServer::Impl {
  Impl(config::HttpConfig config_in, NodeView view_in) : config(std::move(config_in)), view(std::move(view_in)) {}

  const config::HttpConfig config;
  const NodeView view;
  std::string token;
  bool on_loopback = true;
  int connections = 0;  // Touched on the io thread only; outlives the sessions that `io` holds.
  asio::io_context io{1};
  tcp::acceptor acceptor{io};
  std::uint16_t port = 0;
  std::thread thread;

  bool authorised(const Request& request) const {
    if (on_loopback && request.method() != http::verb::post) return true;
    const auto header = request[http::field::authorization];
    const std::string expected = "Bearer " + token;
    return !token.empty() && header.size() == expected.size() &&
           CRYPTO_memcmp(header.data(), expected.data(), expected.size()) == 0;
  }

  Response handle(const Request& request) const {
    const std::string_view path(request.target().data(), request.target().size());
    const auto text = "text/plain; charset=utf-8";
    if (request.method() != http::verb::get && request.method() != http::verb::head) {
      return answer(request, http::status::method_not_allowed, text, "only GET is answered here\n");
    }
    if (path == "/healthz") return answer(request, http::status::ok, text, "ok\n");
    if (!authorised(request)) {
      return answer(request, http::status::unauthorized, text, "needs the bearer token of http.token_file\n");
    }
    if (path == "/readyz") {
      const Status ready = view.ready();
      return ready.ok() ? answer(request, http::status::ok, text, "ready\n")
                        : answer(request, http::status::service_unavailable, text, ready.message() + "\n");
    }
    if (path == "/") return answer(request, http::status::ok, "text/html; charset=utf-8", studies_page(view));
    return answer(request, http::status::not_found, text, "no such page\n");
  }

  struct Session : std::enable_shared_from_this<Session> {
    Session(Impl& server_in, tcp::socket socket) : server(server_in), stream(std::move(socket)) {
      ++server.connections;
      stream.socket().set_option(tcp::no_delay(true));
    }
    ~Session() { --server.connections; }

    void read() {
      parser.emplace();
      parser->header_limit(kHeaderBytesMax);
      parser->body_limit(kBodyBytesMax);
      stream.expires_after(kRequestTimeout);
      http::async_read(stream, buffer, *parser, [self = shared_from_this()](beast::error_code error, std::size_t) {
        if (!error) self->write();
      });
    }

    void write() {
      response = server.handle(parser->get());
      stream.expires_after(kRequestTimeout);
      http::async_write(stream, response, [self = shared_from_this()](beast::error_code error, std::size_t) {
        if (error) return;
        if (self->response.keep_alive()) return self->read();
        self->stream.socket().shutdown(tcp::socket::shutdown_send, error);
      });
    }

    Impl& server;
    beast::tcp_stream stream;
    beast::flat_buffer buffer{kHeaderBytesMax + kBodyBytesMax};
    std::optional<http::request_parser<http::string_body>> parser;
    Response response;
  };

  void accept() {
    acceptor.async_accept([this](beast::error_code error, tcp::socket socket) {
      if (error == asio::error::operation_aborted) return;
      if (!error && connections < kConnectionsMax) std::make_shared<Session>(*this, std::move(socket))->read();
      accept();  // Over the limit the socket closes here: no answer is kinder than a queue without end.
    });
  }

  Status listen() {
    beast::error_code error;
    const auto address = asio::ip::make_address(config.bind, error);
    const std::string where = fmt::format("http.bind {}:{}", config.bind, config.port);
    if (error) return invalid_argument(where + ": not an IP address");
    on_loopback = address.is_loopback();
    if (!config.token_file.empty()) {
      std::ifstream file(config.token_file);
      if (!std::getline(file, token) || token.empty()) {
        return invalid_argument("http.token_file " + config.token_file + ": cannot be read, or is empty");
      }
    }
    if (!on_loopback && (token.empty() || !config.behind_proxy)) {
      return invalid_argument(where +
                              ": another address than loopback needs http.token_file, and http.behind_proxy: true "
                              "as the word that a proxy does TLS");
    }
    acceptor.open(tcp::endpoint(address, config.port).protocol(), error);
    if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
    if (!error) acceptor.bind(tcp::endpoint(address, config.port), error);
    if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (error) return unavailable(where + ": " + error.message());
    port = acceptor.local_endpoint().port();
    return ok_status();
  }
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<HttpServer>> HttpServer::open(const config::HttpConfig& config, NodeView view) {
  auto impl = std::make_unique<Impl>(config, std::move(view));
  NODE_RETURN_IF_ERROR(impl->listen());
  impl->accept();
  Impl* self = impl.get();
  self->thread = std::thread([self] {
    try {
      self->io.run();
    } catch (const std::exception& error) {  // A handler that throws must not take the node down.
      spdlog::error("event=http_stopped reason=\"{}\"", error.what());
    }
  });
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::~HttpServer() { stop(); }

void HttpServer::stop() {
  impl_->io.stop();
  if (impl_->thread.joinable()) impl_->thread.join();
}

std::uint16_t HttpServer::port() const { return impl_->port; }

}  // namespace node::operate
