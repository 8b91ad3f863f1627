#include "dicom_node/tls/tls_connection.h"

#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <utility>  // Before Asio 1.74, whose awaitable.hpp forgets it in C++20.
// clang-format off
#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
// clang-format on
#include <vector>

namespace node::tls {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using tcp = asio::ip::tcp;
using std::chrono::milliseconds;

constexpr std::size_t kFirstBytes = 6;  // The least that is worth looking at: the header of a PDU.
constexpr std::size_t kBufferBytes = 64 * 1024;
constexpr int kBacklog = 16;  // One is ours.
constexpr milliseconds kCloseTimeout{5'000};

// Two ends of a connection within this machine. One that somebody else has slipped in is not taken.
Status connect_pair(asio::io_context& io, tcp::socket& ours, tcp::socket& plain) {
  error_code error;
  tcp::acceptor acceptor(io);
  const tcp::endpoint loopback(asio::ip::address_v4::loopback(), 0);
  acceptor.open(tcp::v4(), error);
  if (!error) acceptor.bind(loopback, error);
  if (!error) acceptor.listen(kBacklog, error);
  if (!error) ours.connect(acceptor.local_endpoint(error), error);
  while (!error) {
    acceptor.accept(plain, error);
    if (!error && plain.remote_endpoint(error) == ours.local_endpoint(error)) break;
    plain.close(error);
  }
  if (!error) ours.set_option(tcp::no_delay(true), error);
  return error ? unavailable("no connection on loopback: " + error.message()) : ok_status();
}

class Pump : public TlsConnection, public std::enable_shared_from_this<Pump> {
 public:
  Pump(asio::io_context& io, tcp::socket socket, asio::ssl::context context, const TlsLimits& limits)
      : io_(io),
        context_(std::move(context)),
        secure_(std::move(socket), context_),
        plain_(io),
        stalled_(io),
        limits_(limits) {}

  void handshake(Done done) {
    done_ = std::move(done);
    watch(limits_.handshake_timeout, [this] { fail("a TLS handshake that does not end"); });
    secure_.async_handshake(asio::ssl::stream_base::server, [self = shared_from_this()](const error_code& error) {
      if (self->closed_) return;
      self->stalled_.cancel();
      if (!error) return std::exchange(self->done_, {})(self->start());
      if (error.category() == asio::error::get_ssl_category()) {
        return self->fail(words(self->secure_.native_handle(), static_cast<unsigned int>(error.value())));
      }
      const bool gone = error == asio::error::eof || error == asio::ssl::error::stream_truncated;
      self->fail(gone ? "it has closed the connection in the handshake" : error.message());
    });
  }

  std::optional<Certificate> certificate() const override {
    return certificate_of_peer(const_cast<Pump*>(this)->secure_.native_handle());
  }

  void close() override {
    closed_ = true;
    done_ = {};
    error_code ignored;
    stalled_.cancel();
    secure_.next_layer().close(ignored);
    plain_.close(ignored);
  }

 private:
  void fail(const std::string& why) {
    const Done done = std::exchange(done_, {});
    close();
    if (done) done(unavailable(why));
  }

  // Moves bytes from now on, and gives the other end.
  Result<int> start() {
    tcp::socket other(io_);
    NODE_RETURN_IF_ERROR(connect_pair(io_, plain_, other));
    inward_.resize(kBufferBytes);
    outward_.resize(kBufferBytes);
    asio::async_read(secure_, asio::buffer(inward_), asio::transfer_at_least(kFirstBytes), came_in());
    read_outward();
    return other.release();
  }

  void read_inward() { secure_.async_read_some(asio::buffer(inward_), came_in()); }

  std::function<void(const error_code&, std::size_t)> came_in() {
    return [self = shared_from_this()](const error_code& error, std::size_t size) { self->move_inward(error, size); };
  }

  void move_inward(const error_code& ended, std::size_t size) {
    if (closed_) return;
    if (size == 0) return end_inward();
    asio::async_write(plain_, asio::buffer(inward_, size),
                      [self = shared_from_this(), ended](const error_code& error, std::size_t) {
                        if (self->closed_) return;
                        error ? self->close() : ended ? self->end_inward() : self->read_inward();
                      });
  }

  // The peer sends no more. Whoever has the other end learns it, and says when it is done.
  void end_inward() {
    error_code ignored;
    plain_.shutdown(tcp::socket::shutdown_send, ignored);
  }

  void read_outward() {
    plain_.async_read_some(asio::buffer(outward_),
                           [self = shared_from_this()](const error_code& error, std::size_t size) {
                             if (self->closed_) return;
                             if (error) return self->end_outward();
                             self->watch(self->limits_.write_timeout, [pump = self.get()] { pump->close(); });
                             asio::async_write(self->secure_, asio::buffer(self->outward_, size),
                                               [self](const error_code& failed, std::size_t) {
                                                 self->stalled_.cancel();
                                                 if (self->closed_) return;
                                                 failed ? self->close() : self->read_outward();
                                               });
                           });
  }

  // Whoever has the other end is done.
  void end_outward() {
    watch(kCloseTimeout, [this] { close(); });
    secure_.async_shutdown([self = shared_from_this()](const error_code&) {
      if (!self->closed_) self->close();
    });
  }

  void watch(milliseconds timeout, std::function<void()> then) {
    stalled_.expires_after(timeout);
    stalled_.async_wait([self = shared_from_this(), then = std::move(then)](const error_code& cancelled) {
      if (!cancelled && !self->closed_) then();
    });
  }

  asio::io_context& io_;
  asio::ssl::context context_;
  asio::ssl::stream<tcp::socket> secure_;
  tcp::socket plain_;
  asio::steady_timer stalled_;
  const TlsLimits limits_;
  Done done_;
  std::vector<char> inward_, outward_;
  bool closed_ = false;
};

}  // namespace

std::shared_ptr<TlsConnection> TlsConnection::begin(asio::io_context& io, int descriptor, const Context& context,
                                                    const TlsLimits& limits, Done done) {
  error_code error;
  tcp::socket socket(io);
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  const bool known = ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  socket.assign(known && address.ss_family == AF_INET6 ? tcp::v6() : tcp::v4(), descriptor, error);
  SSL_CTX_up_ref(context.get());  // Of asio's context, which gives it back.
  auto pump = std::make_shared<Pump>(io, std::move(socket), asio::ssl::context(context.get()), limits);
  pump->handshake(std::move(done));
  return pump;
}

}  // namespace node::tls
