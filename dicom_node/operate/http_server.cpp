#include "dicom_node/operate/http_server.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <boost/asio.hpp>
#include <future>
#include <list>
#include <thread>
#include <utility>  // Before Asio 1.74, whose awaitable.hpp forgets it in C++20.

#include "dicom_node/audit/audit.h"
#include "dicom_node/operate/http_connection.h"
#include "dicom_node/operate/http_refusal_log.h"
#include "dicom_node/tls/tls_connection.h"

namespace node::operate {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using tcp = asio::ip::tcp;

constexpr std::size_t kHandshakesMax = 64;
constexpr std::chrono::seconds kHandshakeTimeout{15}, kWriteTimeout{15};
constexpr std::chrono::seconds kLookEvery{1};
constexpr int kLooksWithoutChange = 5;  // So often what has not changed is said all the same.

}  // namespace

struct HttpServer::Impl {
  Impl(std::shared_ptr<HttpAccess> access_in, NodeView view, const config::HttpConfig& config, std::string where_in,
       std::shared_ptr<tls::ServerContext> tls_in)
      : access(std::move(access_in)),
        api(std::move(view), access),
        names(config.names),
        where(std::move(where_in)),
        tls(std::move(tls_in)) {}

  const std::shared_ptr<HttpAccess> access;
  const HttpApi api;
  const std::vector<std::string> names;
  const std::string where;
  const std::shared_ptr<tls::ServerContext> tls;  // Null: no TLS.
  HttpRefusalLog refusals;
  HttpConnections connections{.api = api,
                              .names = names,
                              .tls = tls.get(),
                              .refusals = refusals,
                              .io = io,
                              .pages = pages,
                              .tries = tries,
                              .pictures = pictures};  // Outlives them: `io` and the pools hold them.
  asio::io_context io{1};
  std::list<std::shared_ptr<tls::TlsConnection>> handshakes;  // The oldest first.
  asio::thread_pool pages{1};                                 // Where answers may wait for the store.
  asio::thread_pool tries{1};                                 // Where they wait for an analysis.
  asio::thread_pool pictures{1};  // Where they wait for an image: one at a time, because one may be large.
  asio::steady_timer look_again{io};
  int looks = 0;
  std::int64_t seen_version = -1;  // Touched by `pages` alone.
  tcp::acceptor acceptor{io};
  std::uint16_t port = 0;
  std::thread thread;

  void accept() {
    acceptor.async_accept([this](error_code error, tcp::socket socket) {
      if (error == asio::error::operation_aborted) return;
      if (!error) take(std::move(socket));
      accept();
    });
  }

  void take(tcp::socket socket) {
    error_code gone, ignored;
    const std::string host = socket.remote_endpoint(gone).address().to_string();
    if (gone) return;
    const std::string came_to = socket.local_endpoint(gone).address().to_string();
    if (gone) return;
    socket.set_option(tcp::no_delay(true), ignored);
    const int descriptor = socket.release(gone);
    if (gone) return;
    tls ? shake_hands(descriptor, host, came_to) : HttpConnection::begin(connections, descriptor, host, came_to);
  }

  // Afterwards there is a plain connection like any other.
  void shake_hands(int descriptor, const std::string& host, const std::string& came_to) {
    if (handshakes.size() >= kHandshakesMax) {  // Of those that stall the one that has stalled longest.
      handshakes.front()->close();
      handshakes.pop_front();
      refuse_tls(host, "too many TLS handshakes do not end");
    }
    const auto place = handshakes.insert(handshakes.end(), nullptr);
    *place = tls::TlsConnection::begin(io, descriptor, tls->current(),
                                       {.handshake_timeout = kHandshakeTimeout, .write_timeout = kWriteTimeout},
                                       [this, place, host, came_to](const Result<int>& plain) {
                                         handshakes.erase(place);
                                         if (!plain.ok()) return refuse_tls(host, plain.status().message());
                                         HttpConnection::begin(connections, *plain, host, came_to);
                                       });
  }

  void refuse_tls(const std::string& host, const std::string& reason) {
    if (refusals.refuse_quietly(&HttpRefusals::tls, host, reason)) audit::refused({kNobodyName, host}, reason);
  }

  // Looks about every second whether something has changed, and tells the pages that are open.
  void look() {
    look_again.expires_after(kLookEvery);
    look_again.async_wait([this](error_code error) {
      if (error) return;
      asio::post(pages, [this] {
        const std::int64_t before = seen_version;
        std::string event;
        try {
          event = api.next_event(seen_version);
        } catch (const std::exception& error) {
          spdlog::error("event=http_failed reason=\"{}\"", error.what());
        }
        asio::post(io, [this, event = std::move(event), changed = seen_version != before] {
          for (const auto& one : std::list(connections.following)) one->end_unless_it_may_follow();
          if (changed || ++looks >= kLooksWithoutChange) {
            looks = 0;
            for (const auto& one : std::list(connections.following)) one->tell(event);
          }
          look();
        });
      });
    });
  }

  Status listen(const asio::ip::address& address, std::uint16_t wanted) {
    error_code error;
    acceptor.open(tcp::endpoint(address, wanted).protocol(), error);
    if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
    if (!error) acceptor.bind(tcp::endpoint(address, wanted), error);
    if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (error) return unavailable(where + ": " + error.message());
    port = acceptor.local_endpoint().port();
    return ok_status();
  }
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<HttpServer>> HttpServer::open(const config::HttpConfig& config, NodeView view) {
  const std::string where = fmt::format("http.bind {}:{}", config.bind, config.port);
  error_code error;
  const auto address = asio::ip::make_address(config.bind, error);
  if (error) return invalid_argument(where + ": not an IP address");
  NODE_ASSIGN_OR_RETURN(std::vector<NamedToken> tokens, read_tokens(config));
  if (!address.is_loopback() && (tokens.empty() || !(config.tls.on || config.behind_proxy))) {
    return invalid_argument(where +
                            ": another address than loopback needs http.token_file, and http.tls, or "
                            "http.behind_proxy: true as the word that a proxy does TLS");
  }
  std::shared_ptr<tls::ServerContext> tls;
  if (config.tls.on) {
    NODE_ASSIGN_OR_RETURN(tls, tls::ServerContext::open(config.tls));
  }
  static const SystemClock clock;
  const bool secure = config.tls.on || config.behind_proxy;  // What a browser sees of it.
  const auto access = std::make_shared<HttpAccess>(
      HttpAccessOptions{.needed_by_all = !address.is_loopback() || (config.behind_proxy && !tokens.empty()),
                        .secure = secure,
                        .cookie = fmt::format("{}skelex-{}", secure ? "__Host-" : "", config.port),
                        .session_max = config.session_max},
      std::move(tokens), clock);
  auto impl = std::make_unique<Impl>(access, std::move(view), config, where, std::move(tls));
  NODE_RETURN_IF_ERROR(impl->listen(address, config.port));
  impl->accept();
  impl->look();
  Impl* self = impl.get();
  self->thread = std::thread([self] {
    try {
      self->io.run();
    } catch (const std::exception& thrown) {  // A handler that throws must not take the node down.
      spdlog::error("event=http_stopped reason=\"{}\"", thrown.what());
    }
  });
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::~HttpServer() { stop(); }

void HttpServer::set_tokens(std::vector<NamedToken> tokens) { impl_->access->set_tokens(std::move(tokens)); }

void HttpServer::stop() {
  impl_->io.stop();
  if (impl_->thread.joinable()) impl_->thread.join();
  for (asio::thread_pool* pool : {&impl_->pages, &impl_->tries, &impl_->pictures}) {
    pool->stop();
    pool->join();
  }
  impl_->connections.following.clear();  // Nothing else holds them now; they must not outlive `io`.
}

std::uint16_t HttpServer::port() const { return impl_->port; }

bool HttpServer::turns(std::chrono::milliseconds patience) const {
  const auto turned = std::make_shared<std::promise<void>>();
  asio::post(impl_->io, [turned] { turned->set_value(); });
  return turned->get_future().wait_for(patience) == std::future_status::ready;
}

tls::ServerContext* HttpServer::tls() const { return impl_->tls.get(); }

HttpRefusals HttpServer::refusals() const { return impl_->refusals.counts(); }

}  // namespace node::operate
