#include "dicom_node/operate/http_connection.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <array>
#include <boost/asio.hpp>
#include <boost/beast.hpp>
#include <chrono>
#include <optional>
#include <utility>  // Before Asio 1.74, whose awaitable.hpp forgets it in C++20.

#include "dicom_node/audit/audit.h"
#include "dicom_node/operate/http_host.h"
#include "dicom_node/operate/listing_json.h"
#include "dicom_node/operate/local_user.h"
#include "dicom_node/operate/try_image.h"

namespace node::operate {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;

constexpr int kConnectionsMax = 64;
constexpr std::uint32_t kHeaderBytesMax = 8 * 1024;
constexpr std::uint64_t kBodyBytesMax = 64 * 1024;
constexpr std::chrono::seconds kRequestTimeout{15};
constexpr std::chrono::seconds kDrainTimeout{2};
constexpr std::uint64_t kImageBytesMax = kTryBytesMax;  // Of a request that brings an image.
constexpr std::chrono::seconds kImageTimeout{60};
constexpr int kImagesMax = 4;    // In memory at once.
constexpr int kStreamsMax = 24;  // Of /api/events: pages that are open somewhere.
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

std::string_view view_of(beast::string_view text) { return {text.data(), text.size()}; }

class Connection final : public HttpConnection, public std::enable_shared_from_this<Connection> {
 public:
  Connection(HttpConnections& all, tcp::socket socket, std::string host, std::string came_to)
      : all_(all), host_(std::move(host)), came_to_(std::move(came_to)), stream_(std::move(socket)) {
    ++all_.open;
    beast::error_code ignored;
    stream_.socket().set_option(tcp::no_delay(true), ignored);
  }
  ~Connection() override {
    if (counted_) --all_.open;
    image_done();
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void read() {
    parser_.emplace();
    parser_->header_limit(kHeaderBytesMax);
    parser_->body_limit(kImageBytesMax);  // Beast holds the announced length against it; read_body() is stricter.
    stream_.expires_after(kRequestTimeout);
    await();
    http::async_read_header(stream_, buffer_, *parser_,
                            [self = shared_from_this()](beast::error_code error, std::size_t) {
                              self->no_longer_await();
                              error ? self->refuse(error) : self->read_body();
                            });
  }

  void make_room() override {
    no_longer_await();
    counted_ = false;
    --all_.open;
    refuse_quietly(&HttpRefusals::no_room, "it waited longest for its client, closed to make room for another");
    stream_.close();
  }

  // What comes while the last event is still on its way is left out: the next one says all of it.
  void tell(const std::string& event) override {
    if (!sending_.empty() || event.empty()) return;
    sending_ = event;
    stream_.expires_after(kRequestTimeout);
    asio::async_write(stream_, asio::buffer(sending_),
                      [self = shared_from_this()](beast::error_code error, std::size_t) {
                        self->sending_.clear();
                        self->stream_.expires_never();
                        if (error) self->all_.following.remove(self);
                      });
  }

  void end_unless_it_may_follow() override {
    if (all_.api.may_follow(request())) return;
    all_.following.remove(shared_from_this());
    stream_.close();
  }

 private:
  HttpConnections& all_;
  const std::string host_, came_to_;
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_{kHeaderBytesMax + kBodyBytesMax};
  std::array<char, 4096> scratch_{};
  std::optional<http::request_parser<http::string_body>> parser_;
  http::response<http::string_body> response_;
  bool brings_image_ = false;
  bool answered_ = false;  // A request before.
  std::string sending_;    // Of an answer that goes on.
  std::optional<std::list<HttpConnection*>::iterator> place_;
  bool counted_ = true;  // Among HttpConnections::open.

  void await() { place_ = all_.waiting.insert(all_.waiting.end(), this); }
  void no_longer_await() {
    if (place_) all_.waiting.erase(*place_);
    place_.reset();
  }
  void image_done() {
    if (std::exchange(brings_image_, false)) --all_.images;
  }
  bool refuse_quietly(HttpRefusalLog::Counter counter, const std::string& reason) {
    return all_.refusals.refuse_quietly(counter, host_, reason);
  }

  void read_body() {
    const auto& request = parser_->get();
    if (auto refused = wrong_host()) return respond(std::move(*refused), false);
    if (all_.api.takes_image(view_of(request.method_string()), view_of(request.target()))) {
      if (all_.images >= kImagesMax) {
        HttpAnswer later{503, error_json("others are being analysed: try again in a moment") + "\n"};
        later.refused = "more images to try than are held at once";
        return respond(std::move(later), false);
      }
      ++all_.images;
      brings_image_ = true;
      stream_.expires_after(kImageTimeout);
    } else {
      if (parser_->content_length().value_or(0) > kBodyBytesMax) return refuse(http::error::body_limit);
      parser_->body_limit(kBodyBytesMax);
    }
    await();
    http::async_read(stream_, buffer_, *parser_, [self = shared_from_this()](beast::error_code error, std::size_t) {
      self->no_longer_await();
      error ? self->refuse(error) : self->handle();
    });
  }

  // RFC 9112 3.2: one of them. Another's name, though it leads here, is not this node's.
  std::optional<HttpAnswer> wrong_host() {
    const auto& request = parser_->get();
    const auto hosts = request.count(http::field::host);
    if (hosts > 1 || (hosts == 0 && request.version() >= 11)) {
      const char* const wrong = hosts > 1 ? "more than one Host" : "no Host";
      refuse_quietly(&HttpRefusals::malformed, wrong);
      return HttpAnswer{400, error_json(std::string("no HTTP request: ") + wrong) + "\n"};
    }
    const std::string name = name_of_host(view_of(request[http::field::host]));
    if (hosts == 0 || names_this_node(name, came_to_, all_.names)) return {};
    if (all_.tls != nullptr && all_.tls->names(name)) return {};
    refuse_quietly(&HttpRefusals::host, "a Host that is not this node's");
    return HttpAnswer{421, error_json(not_called(name)) + "\n"};
  }

  // What is no request of HTTP, or too long for one.
  void refuse(beast::error_code error) {
    if (error == beast::error::timeout) {
      // One that is kept open after an answer is none that stalls.
      if (!answered_ || parser_->got_some()) refuse_quietly(&HttpRefusals::late, "no whole request in time");
      return;
    }
    if (error == http::error::body_limit || error == http::error::header_limit ||
        error == http::error::buffer_overflow) {
      refuse_quietly(&HttpRefusals::malformed, "a request that is too long");
    }
    if (error == http::error::body_limit) return respond({413, error_json("the body is too long") + "\n"}, false);
    if (error == http::error::header_limit || error == http::error::buffer_overflow) {
      const bool in_address = parser_->get().target().empty();  // The first line was not read to its end.
      return respond(in_address ? HttpAnswer{414, error_json("the address is too long") + "\n"}
                                : HttpAnswer{431, error_json("the header is too long") + "\n"},
                     false);
    }
    const bool malformed = error.category() == http::make_error_code(http::error::bad_method).category() &&
                           error != http::error::end_of_stream && error != http::error::partial_message;
    if (!malformed) return;
    refuse_quietly(&HttpRefusals::malformed, "no HTTP request: " + error.message());
    respond({400, error_json("no HTTP request: " + error.message()) + "\n"}, false);
  }

  void handle() {
    const bool keep_alive = parser_->get().keep_alive();
    const std::string_view target = view_of(parser_->get().target());
    // Alone in not waiting for the store: a node whose disk hangs still says that it lives.
    if (target == "/healthz") return respond(answer(), keep_alive);
    asio::thread_pool& pool = brings_image_ ? all_.tries : HttpApi::takes_long(target) ? all_.pictures : all_.pages;
    asio::post(pool, [self = shared_from_this(), keep_alive]() mutable {
      HttpAnswer answer = self->answer();
      auto& io = self->all_.io;
      asio::post(io, [self = std::move(self), answer = std::move(answer), keep_alive]() mutable {
        self->respond(std::move(answer), keep_alive);
      });
    });
  }

  HttpRequest request() const {
    const auto& request = parser_->get();
    return {.method = view_of(request.method_string()),
            .target = view_of(request.target()),
            .authorization = view_of(request[http::field::authorization]),
            .cookie = view_of(request[http::field::cookie]),
            .origin = view_of(request[http::field::origin]),
            .sec_fetch_site = view_of(request["Sec-Fetch-Site"]),
            .named = view_of(request[http::field::host]),
            // From another machine nobody speaks for a user of this one.
            .local_user = host_ == came_to_ ? view_of(request[kLocalUserHeader]) : std::string_view(),
            .body = request.body(),
            .host = host_};
  }

  HttpAnswer answer() const {
    try {
      return all_.api.answer(request());
    } catch (const std::exception& error) {  // One request that throws must not take the node down.
      spdlog::error("event=http_failed reason=\"{}\"", error.what());
      return {500, error_json("this request failed: see event=http_failed in the log") + "\n"};
    }
  }

  void respond(HttpAnswer answer, bool keep_alive) {
    image_done();
    const bool head = parser_->is_header_done() && parser_->get().method() == http::verb::head;
    if (answer.status == 200 && answer.type == kEventsType && !head) {
      if (std::ssize(all_.following) < kStreamsMax) return follow(answer.body);
      answer = {503, error_json("too many pages follow the events") + "\n"};
      answer.refused = "more pages that follow the events than there may be";
    }
    response_ = {};
    response_.result(static_cast<unsigned>(answer.status));
    response_.version(11);
    response_.set(http::field::content_type, answer.type);
    response_.set(http::field::cache_control, "no-store");
    response_.set("X-Content-Type-Options", "nosniff");
    response_.set("Content-Security-Policy", kPolicy);
    response_.set("Referrer-Policy", "no-referrer");
    if (!answer.allow.empty()) response_.set(http::field::allow, answer.allow);
    if (!answer.cookie.empty()) response_.set(http::field::set_cookie, answer.cookie);
    if (answer.status == 401) response_.set(http::field::www_authenticate, "Bearer");
    if (answer.status == 429) response_.set(http::field::retry_after, "60");
    if (!answer.refused.empty()) {
      if (answer.status == 401 && answer.wrong_token) {  // So many of an address as HttpAccess lets through.
        audit::refused_login({kNobodyName, host_});
        all_.refusals.refuse(&HttpRefusals::token, host_, answer.refused);
      } else {
        refuse_quietly(answer.status == 503 ? &HttpRefusals::busy
                       : answer.wrong_token ? &HttpRefusals::token
                                            : &HttpRefusals::no_token,
                       answer.refused);
      }
    }
    response_.keep_alive(keep_alive);
    response_.body() = std::move(answer.body);
    response_.prepare_payload();
    if (head) response_.body().clear();  // Its length stays said.
    stream_.expires_after(kRequestTimeout);
    await();
    http::async_write(stream_, response_, [self = shared_from_this()](beast::error_code error, std::size_t) {
      self->no_longer_await();
      if (error) return;
      self->answered_ = true;
      if (self->response_.keep_alive()) return self->read();
      self->stream_.socket().shutdown(tcp::socket::shutdown_send, error);
      self->stream_.expires_after(kDrainTimeout);
      self->drain();
    });
  }

  // The answer goes on: one event after the other, until the client is gone.
  void follow(const std::string& first) {
    tell("HTTP/1.1 200 OK\r\nContent-Type: " + std::string(kEventsType) +
         "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n" + first);
    all_.following.push_back(shared_from_this());
  }

  // Takes what the client still sends, so that closing does not take the answer from it.
  void drain() {
    await();
    stream_.async_read_some(asio::buffer(scratch_), [self = shared_from_this()](beast::error_code error, std::size_t) {
      self->no_longer_await();
      if (!error) self->drain();
    });
  }
};

}  // namespace

void HttpConnection::begin(HttpConnections& all, int descriptor, const std::string& host, const std::string& came_to) {
  tcp::socket socket(all.io);
  beast::error_code error;
  socket.assign(tcp::v4(), descriptor, error);  // Whichever: its addresses are known.
  if (error) {
    ::close(descriptor);
    return;
  }
  if (all.open >= kConnectionsMax && !all.waiting.empty()) all.waiting.front()->make_room();
  // With none that waits the new one closes here: no answer is kinder than a queue without end.
  if (all.open >= kConnectionsMax) {
    all.refusals.refuse_quietly(&HttpRefusals::no_room, host, "too many connections");
    return;
  }
  std::make_shared<Connection>(all, std::move(socket), host, came_to)->read();
}

}  // namespace node::operate
