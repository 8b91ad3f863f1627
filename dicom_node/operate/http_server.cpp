#include "dicom_node/operate/http_server.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <array>
#include <atomic>
#include <boost/asio.hpp>
#include <boost/beast.hpp>
#include <fstream>
#include <future>
#include <list>
#include <map>
#include <optional>
#include <thread>
#include <utility>  // Before Asio 1.74, whose awaitable.hpp forgets it in C++20.

#include "config/base/network.h"
#include "dicom_node/audit/audit.h"
#include "dicom_node/operate/http_host.h"
#include "dicom_node/operate/listing_json.h"
#include "dicom_node/operate/local_user.h"
#include "dicom_node/operate/try_image.h"
#include "dicom_node/tls/tls_connection.h"

namespace node::operate {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;

constexpr int kConnectionsMax = 64;
constexpr std::size_t kHandshakesMax = 64;
constexpr std::uint32_t kHeaderBytesMax = 8 * 1024;
constexpr std::uint64_t kBodyBytesMax = 64 * 1024;
constexpr std::chrono::seconds kRequestTimeout{15};
constexpr std::chrono::seconds kDrainTimeout{2};
constexpr std::uint64_t kImageBytesMax = kTryBytesMax;  // Of a request that brings an image.
constexpr std::chrono::seconds kImageTimeout{60};
constexpr int kImagesMax = 4;  // In memory at once.
constexpr std::size_t kFloodsMax = 1000;
constexpr int kStreamsMax = 24;  // Of /api/events: pages that are open somewhere.
constexpr std::chrono::seconds kLookEvery{1};
constexpr int kLooksWithoutChange = 5;  // So often what has not changed is said all the same.
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

std::string_view view_of(beast::string_view text) { return {text.data(), text.size()}; }

}  // namespace

struct HttpServer::Impl {
  struct Session;

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
  // Counted for /metrics.
  std::atomic<std::uint64_t> refused_tls{0}, refused_token{0}, refused_no_token{0}, refused_malformed{0},
      refused_late{0}, refused_host{0}, no_room{0}, busy{0};
  // Touched on the io thread only; they outlive the sessions, which `io` and `pages` hold.
  int connections = 0;
  int images = 0;  // Requests that bring one.
  struct Flood {
    std::chrono::steady_clock::time_point quiet_until{};
    std::uint64_t times = 0;  // Not logged yet.
  };
  std::map<std::string, Flood> floods;  // By reason and network.
  std::list<Session*> waiting;          // For their client, that it writes or reads: the one that waits longest first.
  asio::io_context io{1};
  std::list<std::shared_ptr<tls::TlsConnection>> handshakes;  // The oldest first.
  asio::thread_pool pages{1};                                 // Where answers may wait for the store.
  asio::thread_pool tries{1};                                 // Where they wait for an analysis.
  asio::thread_pool pictures{1};  // Where they wait for an image: one at a time, because one may be large.
  std::list<std::shared_ptr<Session>> streams;
  asio::steady_timer look_again{io};
  int looks = 0;
  std::int64_t seen_version = -1;  // Touched by `pages` alone.
  tcp::acceptor acceptor{io};
  std::uint16_t port = 0;
  std::thread thread;

  struct Session : std::enable_shared_from_this<Session> {
    Session(Impl& server_in, tcp::socket socket, tcp::endpoint peer_in, std::string came_to_in)
        : server(server_in), peer(std::move(peer_in)), came_to(std::move(came_to_in)), stream(std::move(socket)) {
      ++server.connections;
      beast::error_code ignored;
      stream.socket().set_option(tcp::no_delay(true), ignored);
    }
    ~Session() {
      if (counted) --server.connections;
      image_done();
    }

    void await() { place = server.waiting.insert(server.waiting.end(), this); }
    void no_longer_await() {
      if (place) server.waiting.erase(*place);
      place.reset();
    }

    void read() {
      parser.emplace();
      parser->header_limit(kHeaderBytesMax);
      parser->body_limit(kImageBytesMax);  // Beast holds the announced length against it; read_body() is stricter.
      stream.expires_after(kRequestTimeout);
      await();
      http::async_read_header(stream, buffer, *parser,
                              [self = shared_from_this()](beast::error_code error, std::size_t) {
                                self->no_longer_await();
                                error ? self->refuse(error) : self->read_body();
                              });
    }

    void read_body() {
      const auto& request = parser->get();
      if (auto refused = wrong_host()) return respond(std::move(*refused), false);
      if (server.api.takes_image(view_of(request.method_string()), view_of(request.target()))) {
        if (server.images >= kImagesMax) {
          HttpAnswer later{503, error_json("others are being analysed: try again in a moment") + "\n"};
          later.refused = "more images to try than are held at once";
          return respond(std::move(later), false);
        }
        ++server.images;
        brings_image = true;
        stream.expires_after(kImageTimeout);
      } else {
        if (parser->content_length().value_or(0) > kBodyBytesMax) return refuse(http::error::body_limit);
        parser->body_limit(kBodyBytesMax);
      }
      await();
      http::async_read(stream, buffer, *parser, [self = shared_from_this()](beast::error_code error, std::size_t) {
        self->no_longer_await();
        error ? self->refuse(error) : self->handle();
      });
    }

    // RFC 9112 3.2: one of them. Another's name, though it leads here, is not this node's.
    std::optional<HttpAnswer> wrong_host() const {
      const auto& request = parser->get();
      const auto hosts = request.count(http::field::host);
      if (hosts > 1 || (hosts == 0 && request.version() >= 11)) {
        const char* const wrong = hosts > 1 ? "more than one Host" : "no Host";
        server.refuse_quietly(server.refused_malformed, peer, wrong);
        return HttpAnswer{400, error_json(std::string("no HTTP request: ") + wrong) + "\n"};
      }
      const std::string name = name_of_host(view_of(request[http::field::host]));
      if (hosts == 0 || names_this_node(name, came_to, server.names)) return {};
      if (server.tls && server.tls->names(name)) return {};
      server.refuse_quietly(server.refused_host, peer, "a Host that is not this node's");
      return HttpAnswer{421, error_json(not_called(name)) + "\n"};
    }

    void image_done() {
      if (std::exchange(brings_image, false)) --server.images;
    }

    // What is no request of HTTP, or too long for one.
    void refuse(beast::error_code error) {
      if (error == beast::error::timeout) {
        // One that is kept open after an answer is none that stalls.
        if (!answered || parser->got_some()) {
          server.refuse_quietly(server.refused_late, peer, "no whole request in time");
        }
        return;
      }
      if (error == http::error::body_limit || error == http::error::header_limit ||
          error == http::error::buffer_overflow) {
        server.refuse_quietly(server.refused_malformed, peer, "a request that is too long");
      }
      if (error == http::error::body_limit) return respond({413, error_json("the body is too long") + "\n"}, false);
      if (error == http::error::header_limit || error == http::error::buffer_overflow) {
        const bool in_address = parser->get().target().empty();  // The first line was not read to its end.
        return respond(in_address ? HttpAnswer{414, error_json("the address is too long") + "\n"}
                                  : HttpAnswer{431, error_json("the header is too long") + "\n"},
                       false);
      }
      const bool malformed = error.category() == http::make_error_code(http::error::bad_method).category() &&
                             error != http::error::end_of_stream && error != http::error::partial_message;
      if (!malformed) return;
      server.refuse_quietly(server.refused_malformed, peer, "no HTTP request: " + error.message());
      respond({400, error_json("no HTTP request: " + error.message()) + "\n"}, false);
    }

    void handle() {
      const auto& request = parser->get();
      const bool keep_alive = request.keep_alive();
      // Alone in not waiting for the store: a node whose disk hangs still says that it lives.
      if (request.target() == "/healthz") return respond(answer(), keep_alive);
      auto& pool = brings_image                                     ? server.tries
                   : HttpApi::takes_long(view_of(request.target())) ? server.pictures
                                                                    : server.pages;
      asio::post(pool, [self = shared_from_this(), keep_alive]() mutable {
        HttpAnswer answer = self->answer();
        auto& io = self->server.io;
        asio::post(io, [self = std::move(self), answer = std::move(answer), keep_alive]() mutable {
          self->respond(std::move(answer), keep_alive);
        });
      });
    }

    HttpRequest request_of(std::string_view host) const {
      const auto& request = parser->get();
      return {.method = view_of(request.method_string()),
              .target = view_of(request.target()),
              .authorization = view_of(request[http::field::authorization]),
              .cookie = view_of(request[http::field::cookie]),
              .origin = view_of(request[http::field::origin]),
              .sec_fetch_site = view_of(request["Sec-Fetch-Site"]),
              .named = view_of(request[http::field::host]),
              // From another machine nobody speaks for a user of this one.
              .local_user = host == came_to ? view_of(request[kLocalUserHeader]) : std::string_view(),
              .body = request.body(),
              .host = host};
    }

    HttpAnswer answer() const {
      try {
        return server.api.answer(request_of(peer.address().to_string()));
      } catch (const std::exception& error) {  // One request that throws must not take the node down.
        spdlog::error("event=http_failed reason=\"{}\"", error.what());
        return {500, error_json("this request failed: see event=http_failed in the log") + "\n"};
      }
    }

    void respond(HttpAnswer answer, bool keep_alive) {
      image_done();
      const bool head = parser->is_header_done() && parser->get().method() == http::verb::head;
      if (answer.status == 200 && answer.type == kEventsType && !head) {
        if (std::ssize(server.streams) < kStreamsMax) return follow(std::move(answer.body));
        answer = {503, error_json("too many pages follow the events") + "\n"};
        answer.refused = "more pages that follow the events than there may be";
      }
      response = {};
      response.result(static_cast<unsigned>(answer.status));
      response.version(11);
      response.set(http::field::content_type, answer.type);
      response.set(http::field::cache_control, "no-store");
      response.set("X-Content-Type-Options", "nosniff");
      response.set("Content-Security-Policy", kPolicy);
      response.set("Referrer-Policy", "no-referrer");
      if (!answer.allow.empty()) response.set(http::field::allow, answer.allow);
      if (!answer.cookie.empty()) response.set(http::field::set_cookie, answer.cookie);
      if (answer.status == 401) response.set(http::field::www_authenticate, "Bearer");
      if (answer.status == 429) response.set(http::field::retry_after, "60");
      if (!answer.refused.empty()) {
        if (answer.status == 401 && answer.wrong_token) {  // So many of an address as HttpAccess lets through.
          audit::refused_login({kNobodyName, peer.address().to_string()});
          server.refuse(server.refused_token, peer, answer.refused);
        } else {
          server.refuse_quietly(answer.status == 503 ? server.busy
                                : answer.wrong_token ? server.refused_token
                                                     : server.refused_no_token,
                                peer, answer.refused);
        }
      }
      response.keep_alive(keep_alive);
      response.body() = std::move(answer.body);
      response.prepare_payload();
      if (head) response.body().clear();  // Its length stays said.
      stream.expires_after(kRequestTimeout);
      await();
      http::async_write(stream, response, [self = shared_from_this()](beast::error_code error, std::size_t) {
        self->no_longer_await();
        if (error) return;
        self->answered = true;
        if (self->response.keep_alive()) return self->read();
        self->stream.socket().shutdown(tcp::socket::shutdown_send, error);
        self->stream.expires_after(kDrainTimeout);
        self->drain();
      });
    }

    // The answer goes on: one event after the other, until the client is gone.
    void follow(std::string first) {
      send("HTTP/1.1 200 OK\r\nContent-Type: " + std::string(kEventsType) +
           "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n" +
           std::move(first));
      server.streams.push_back(shared_from_this());
    }

    bool may_follow() const { return server.api.may_follow(request_of(peer.address().to_string())); }
    void stop_following() {
      server.streams.remove(shared_from_this());
      stream.close();
    }

    // What comes while the last event is still on its way is left out: the next one says all of it.
    void send(std::string event) {
      if (!sending.empty() || event.empty()) return;
      sending = std::move(event);
      stream.expires_after(kRequestTimeout);
      asio::async_write(stream, asio::buffer(sending),
                        [self = shared_from_this()](beast::error_code error, std::size_t) {
                          self->sending.clear();
                          self->stream.expires_never();
                          if (error) self->server.streams.remove(self);
                        });
    }

    // Takes what the client still sends, so that closing does not take the answer from it.
    void drain() {
      await();
      stream.async_read_some(asio::buffer(scratch), [self = shared_from_this()](beast::error_code error, std::size_t) {
        self->no_longer_await();
        if (!error) self->drain();
      });
    }

    Impl& server;
    const tcp::endpoint peer;
    const std::string came_to;  // The address of ours that it asked.
    beast::tcp_stream stream;
    beast::flat_buffer buffer{kHeaderBytesMax + kBodyBytesMax};
    std::array<char, 4096> scratch{};
    std::optional<http::request_parser<http::string_body>> parser;
    http::response<http::string_body> response;
    bool brings_image = false;
    bool answered = false;  // A request before.
    std::string sending;    // Of an answer that goes on.
    std::optional<std::list<Session*>::iterator> place;
    bool counted = true;  // Among `connections`.
  };

  void accept() {
    acceptor.async_accept([this](beast::error_code error, tcp::socket socket) {
      if (error == asio::error::operation_aborted) return;
      beast::error_code gone;
      const tcp::endpoint peer = error ? tcp::endpoint() : socket.remote_endpoint(gone);
      const tcp::endpoint ours = error || gone ? tcp::endpoint() : socket.local_endpoint(gone);
      const std::string came_to = ours.address().to_string();
      if (!error && !gone)
        tls ? shake_hands(std::move(socket), peer, came_to) : start(std::move(socket), peer, came_to);
      accept();
    });
  }

  // Afterwards there is a plain connection like any other.
  void shake_hands(tcp::socket socket, const tcp::endpoint& peer, const std::string& came_to) {
    beast::error_code error;
    socket.set_option(tcp::no_delay(true), error);
    const int descriptor = socket.release(error);
    if (error) return;
    if (handshakes.size() >= kHandshakesMax) {  // Of those that stall the one that has stalled longest.
      handshakes.front()->close();
      handshakes.pop_front();
      refuse_tls(peer, "too many TLS handshakes do not end");
    }
    const auto place = handshakes.insert(handshakes.end(), nullptr);
    *place = tls::TlsConnection::begin(io, descriptor, tls->current(),
                                       {.handshake_timeout = kRequestTimeout, .write_timeout = kRequestTimeout},
                                       [this, place, peer, came_to](const Result<int>& plain) {
                                         handshakes.erase(place);
                                         if (!plain.ok()) return refuse_tls(peer, plain.status().message());
                                         tcp::socket inner(io);
                                         beast::error_code failed;
                                         inner.assign(tcp::v4(), *plain, failed);
                                         if (!failed) start(std::move(inner), peer, came_to);
                                       });
  }

  void start(tcp::socket socket, const tcp::endpoint& peer, const std::string& came_to) {
    if (connections >= kConnectionsMax && !waiting.empty()) {
      Session* oldest = waiting.front();
      oldest->no_longer_await();
      oldest->counted = false;
      --connections;
      refuse_quietly(no_room, oldest->peer, "it waited longest for its client, closed to make room for another");
      oldest->stream.close();
    }
    // With none that waits the new one closes here: no answer is kinder than a queue without end.
    if (connections >= kConnectionsMax) {
      refuse_quietly(no_room, peer, "too many connections");
      return;
    }
    std::make_shared<Session>(*this, std::move(socket), peer, came_to)->read();
  }

  void refuse(std::atomic<std::uint64_t>& counter, const tcp::endpoint& peer, std::string_view reason) {
    ++counter;
    spdlog::warn("event=http_refused host={} reason=\"{}\"", peer.address().to_string(), reason);
  }

  // Of what may come in floods: a line a minute for each network, with how often it was. Says whether this was one.
  bool refuse_quietly(std::atomic<std::uint64_t>& counter, const tcp::endpoint& peer, const std::string& reason) {
    ++counter;
    const std::string host = peer.address().to_string();
    const auto now = std::chrono::steady_clock::now();
    if (floods.size() >= kFloodsMax)
      std::erase_if(floods, [now](const auto& one) { return one.second.quiet_until <= now; });
    Flood& flood = floods[floods.size() < kFloodsMax ? reason + " " + network_of(host) : reason];
    ++flood.times;
    if (now < flood.quiet_until) return false;
    spdlog::warn("event=http_refused host={} reason=\"{}\" times={}", host, reason, std::exchange(flood.times, 0));
    flood.quiet_until = now + std::chrono::minutes(1);
    return true;
  }

  void refuse_tls(const tcp::endpoint& peer, const std::string& reason) {
    if (refuse_quietly(refused_tls, peer, reason)) audit::refused({kNobodyName, peer.address().to_string()}, reason);
  }

  // Looks about every second whether something has changed, and tells the pages that are open.
  void look() {
    look_again.expires_after(kLookEvery);
    look_again.async_wait([this](beast::error_code error) {
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
          for (const auto& session : std::list(streams)) {
            if (!session->may_follow()) session->stop_following();
          }
          if (changed || ++looks >= kLooksWithoutChange) {
            looks = 0;
            for (const auto& session : std::list(streams)) session->send(event);
          }
          look();
        });
      });
    });
  }

  Status listen(const asio::ip::address& address, std::uint16_t wanted) {
    beast::error_code error;
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
  beast::error_code error;
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
}

std::uint16_t HttpServer::port() const { return impl_->port; }

bool HttpServer::turns(std::chrono::milliseconds patience) const {
  const auto turned = std::make_shared<std::promise<void>>();
  asio::post(impl_->io, [turned] { turned->set_value(); });
  return turned->get_future().wait_for(patience) == std::future_status::ready;
}

tls::ServerContext* HttpServer::tls() const { return impl_->tls.get(); }

HttpRefusals HttpServer::refusals() const {
  return {.tls = impl_->refused_tls,
          .token = impl_->refused_token,
          .no_token = impl_->refused_no_token,
          .malformed = impl_->refused_malformed,
          .late = impl_->refused_late,
          .host = impl_->refused_host,
          .no_room = impl_->no_room,
          .busy = impl_->busy};
}

}  // namespace node::operate
