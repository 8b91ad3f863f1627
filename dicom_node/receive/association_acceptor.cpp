#include "dicom_node/receive/association_acceptor.h"

// Boost 1.74's Asio uses std::exchange without including its header.
#include <fcntl.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <future>
#include <list>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "config/base/network.h"
#include "dicom_node/audit/audit.h"
#include "dicom_node/receive/rejection.h"
#include "dicom_node/tls/tls_connection.h"

namespace node::receive {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using tcp = asio::ip::tcp;
using std::chrono::milliseconds;

constexpr std::size_t kPduHeaderBytes = 6;
constexpr std::size_t kRequestBytesMin = kPduHeaderBytes + 68;  // Up to the variable items.
constexpr unsigned char kAssociateRq = 0x01;
constexpr std::array<unsigned char, 10> kLocalLimitExceeded = {
    0x03, 0, 0, 0, 0, 4, 0, kTooManyAssociations.result, kTooManyAssociations.source, kTooManyAssociations.reason};
constexpr milliseconds kRejectLinger{2'000};  // For the peer to read the rejection and close.
constexpr milliseconds kLookAgain{20};
constexpr milliseconds kAcceptAgain{100};
constexpr std::chrono::seconds kDrain{6};  // At the end, for what TLS still has to write.
constexpr unsigned char kTlsHandshake = 0x16;

std::string text_of(const asio::ip::address& address) {
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()).to_string();
  }
  return address.to_string();
}

// The peer will send no more, whatever still lies in the socket.
bool half_closed(int descriptor) {
  pollfd descriptors{descriptor, POLLRDHUP, 0};
  return ::poll(&descriptors, 1, 0) > 0 && (descriptors.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

}  // namespace

struct AssociationAcceptor::Impl {
  struct Waiting {
    Waiting(tcp::socket socket_in, std::string host)
        : socket(std::move(socket_in)), deadline(socket.get_executor()), look_again(socket.get_executor()) {
      caller.host = std::move(host);
      network = network_of(caller.host);
    }
    tcp::socket socket;
    Caller caller;
    std::string network;                         // Of its host, for limits.
    std::shared_ptr<tls::TlsConnection> secure;  // Of which `socket`, once it is there, is the plain end.
    asio::steady_timer deadline, look_again;
    std::size_t bytes_wanted = 0;  // What the kernel was last asked to wait for.
    std::list<std::shared_ptr<Waiting>>::iterator position;
    bool gone = false;
  };
  using Connection = std::shared_ptr<Waiting>;

  Impl(const AcceptorLimits& limits_in, OnRequest on_request_in, std::shared_ptr<tls::ServerContext> tls_in)
      : limits(limits_in), on_request(std::move(on_request_in)), tls(std::move(tls_in)) {}

  const AcceptorLimits limits;
  const OnRequest on_request;
  const std::shared_ptr<tls::ServerContext> tls;
  asio::io_context io{1};
  tcp::acceptor acceptor{io};
  asio::steady_timer accept_again{io};
  std::list<Connection> waiting;  // Oldest first. Of the thread alone, like all above.
  std::thread thread;
  std::uint16_t port = 0;
  std::promise<void> thread_done;
  std::atomic<bool> acceptor_open{true};
  std::atomic<std::uint64_t> connections{0}, expired{0}, garbage{0}, tls_failed{0}, evicted{0}, over_limit{0};
  std::atomic<std::size_t> waiting_count{0};

  Status listen(const std::string& bind, std::uint16_t port_wanted);
  void accept();
  void start(tcp::socket socket);
  void secure(const Connection& connection);
  void make_room_for(const std::string& network);
  void await(const Connection& connection, std::size_t bytes);
  void look(const Connection& connection);
  void hand_over(const Connection& connection, std::size_t request_bytes);
  void reject(const Connection& connection, std::size_t request_bytes);
  void await_close(const Connection& connection);
  void drop(const Connection& connection, std::atomic<std::uint64_t>* counter = nullptr, std::string_view reason = {});
};

Status AssociationAcceptor::Impl::listen(const std::string& bind, std::uint16_t port_wanted) {
  const std::string where = "listen on " + bind + ":" + std::to_string(port_wanted);
  error_code error;
  const asio::ip::address address = asio::ip::make_address(bind, error);
  if (error) return invalid_argument(where + ": no address");
  const tcp::endpoint endpoint(address, port_wanted);
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (!error) acceptor.non_blocking(true, error);
  if (!error) port = acceptor.local_endpoint(error).port();
  if (error) return unavailable(where + ": " + error.message());
  return ok_status();
}

void AssociationAcceptor::Impl::accept() {
  acceptor.async_accept([this](const error_code& error, tcp::socket socket) {
    if (error == asio::error::operation_aborted || !acceptor.is_open()) return;
    if (!error) {
      start(std::move(socket));
      accept();
      return;
    }
    // Out of descriptors, or a connection that was gone already: never in a tight loop.
    accept_again.expires_after(kAcceptAgain);
    accept_again.async_wait([this](const error_code& stopped) {
      if (!stopped) accept();
    });
  });
}

void AssociationAcceptor::Impl::start(tcp::socket socket) {
  ++connections;
  error_code error;
  const tcp::endpoint peer = socket.remote_endpoint(error);
  if (error) return;  // Gone again.
  socket.set_option(tcp::no_delay(true), error);
  socket.set_option(asio::socket_base::keep_alive(true), error);
  socket.non_blocking(true, error);
  if (error) return;
  std::string host = text_of(peer.address());
  make_room_for(network_of(host));
  auto connection = std::make_shared<Waiting>(std::move(socket), std::move(host));
  connection->position = waiting.insert(waiting.end(), connection);
  waiting_count = waiting.size();
  connection->deadline.expires_after(limits.request_timeout);
  connection->deadline.async_wait([this, connection](const error_code& cancelled) {
    if (!cancelled)
      drop(connection, &expired,
           tls && !connection->socket.is_open() ? "a TLS handshake that does not end"
                                                : "no association request in time");
  });
  if (tls) return secure(connection);
  await(connection, kPduHeaderBytes);
}

// What goes on from there is a plain connection again.
void AssociationAcceptor::Impl::secure(const Connection& connection) {
  error_code error;
  connection->socket.non_blocking(false, error);
  const int descriptor = connection->socket.release(error);
  if (error) return drop(connection);
  connection->secure =
      tls::TlsConnection::begin(io, descriptor, tls->current(), {2 * limits.request_timeout, limits.write_timeout},
                                [this, connection](const Result<int>& plain) {
                                  if (connection->gone) {
                                    if (plain.ok()) ::close(*plain);
                                    return;
                                  }
                                  if (!plain.ok()) return drop(connection, &tls_failed, plain.status().message());
                                  connection->caller.tls = true;
                                  connection->caller.certificate = connection->secure->certificate();
                                  error_code failed;
                                  connection->socket.assign(tcp::v4(), *plain, failed);
                                  if (!failed) connection->socket.non_blocking(true, failed);
                                  failed ? drop(connection) : await(connection, kPduHeaderBytes);
                                });
}

void AssociationAcceptor::Impl::make_room_for(const std::string& network) {
  const auto is_near = [&network](const Connection& other) { return other->network == network; };
  if (static_cast<std::size_t>(std::count_if(waiting.begin(), waiting.end(), is_near)) >= limits.waiting_per_host_max) {
    drop(Connection(*std::find_if(waiting.begin(), waiting.end(), is_near)), &evicted,
         "too many connections of its host ask for nothing");
  }
  if (waiting.size() >= limits.waiting_max) {
    drop(Connection(waiting.front()), &evicted, "too many connections ask for nothing");
  }
}

// The kernel is asked to report the socket readable no sooner than `bytes` lie in it: what is only peeked at stays
// readable, and the thread would spin.
void AssociationAcceptor::Impl::await(const Connection& connection, std::size_t bytes) {
  connection->bytes_wanted = bytes;
  const int low_water = static_cast<int>(bytes);
  ::setsockopt(connection->socket.native_handle(), SOL_SOCKET, SO_RCVLOWAT, &low_water, sizeof low_water);
  connection->socket.async_wait(tcp::socket::wait_read, [this, connection](const error_code& error) {
    if (error == asio::error::operation_aborted) return;
    if (error) {
      drop(connection);
    } else {
      look(connection);
    }
  });
}

void AssociationAcceptor::Impl::look(const Connection& connection) {
  if (connection->gone) return;
  std::array<unsigned char, kPduHeaderBytes> header{};
  error_code error;
  const std::size_t available = connection->socket.available(error);
  if (!error && available >= kPduHeaderBytes) {
    connection->socket.receive(asio::buffer(header), tcp::socket::message_peek, error);
  }
  if (error && error != asio::error::would_block) return drop(connection);

  std::size_t wanted = kPduHeaderBytes;
  if (available >= kPduHeaderBytes) {
    const std::size_t length = std::size_t{header[2]} << 24 | std::size_t{header[3]} << 16 |
                               std::size_t{header[4]} << 8 | std::size_t{header[5]};
    wanted = kPduHeaderBytes + length;
    if (header[0] != kAssociateRq || wanted < kRequestBytesMin || wanted > limits.request_bytes_max) {
      return drop(connection, &garbage,
                  header[0] == kTlsHandshake ? "it speaks TLS, which this port does not" : "no association request");
    }
    if (available >= wanted) return hand_over(connection, wanted);
  }
  if (half_closed(connection->socket.native_handle())) return drop(connection);
  if (wanted != connection->bytes_wanted) return await(connection, wanted);
  // Woken early all the same (a kernel short of memory may do so): look again a little later.
  connection->look_again.expires_after(kLookAgain);
  connection->look_again.async_wait([this, connection, wanted](const error_code& cancelled) {
    if (!cancelled && !connection->gone) await(connection, wanted);
  });
}

void AssociationAcceptor::Impl::hand_over(const Connection& connection, std::size_t request_bytes) {
  error_code error;
  const int low_water = 1;
  ::setsockopt(connection->socket.native_handle(), SOL_SOCKET, SO_RCVLOWAT, &low_water, sizeof low_water);
  // DCMTK wants a blocking descriptor; ours goes back to it only if the request is refused. A descriptor of its own
  // leaves no doubt about who closes which.
  const int descriptor = ::fcntl(connection->socket.native_handle(), F_DUPFD_CLOEXEC, 0);
  if (descriptor < 0) return reject(connection, request_bytes);
  connection->socket.non_blocking(false, error);
  if (!error && on_request(descriptor, connection->caller)) return drop(connection);
  ::close(descriptor);
  connection->socket.non_blocking(true, error);
  if (error) return drop(connection);
  reject(connection, request_bytes);
}

// Takes the request out of the socket first: closing it with unread bytes would send a reset, which may overtake the
// rejection. Then waits for the peer to close, as PS3.8 has it (state 13).
void AssociationAcceptor::Impl::reject(const Connection& connection, std::size_t request_bytes) {
  ++over_limit;
  error_code error;
  std::vector<unsigned char> request(request_bytes);
  asio::read(connection->socket, asio::buffer(request), error);
  if (!error) asio::write(connection->socket, asio::buffer(kLocalLimitExceeded), error);
  if (!error) connection->socket.shutdown(tcp::socket::shutdown_send, error);
  if (error) return drop(connection);
  connection->deadline.expires_after(kRejectLinger);
  connection->deadline.async_wait([this, connection](const error_code& cancelled) {
    if (!cancelled) drop(connection);
  });
  await_close(connection);
}

void AssociationAcceptor::Impl::await_close(const Connection& connection) {
  auto scratch = std::make_shared<std::array<char, 512>>();
  connection->socket.async_receive(asio::buffer(*scratch),
                                   [this, connection, scratch](const error_code& error, std::size_t) {
                                     if (connection->gone) return;
                                     if (error) {
                                       drop(connection);
                                     } else {
                                       await_close(connection);
                                     }
                                   });
}

void AssociationAcceptor::Impl::drop(const Connection& connection, std::atomic<std::uint64_t>* counter,
                                     std::string_view reason) {
  if (std::exchange(connection->gone, true)) return;
  if (counter != nullptr) ++*counter;
  if (!reason.empty()) {
    audit::refused({.name = "unknown", .host = connection->caller.host}, std::string(reason));
    spdlog::warn("event=connection_refused host={} port={} reason=\"{}\"", connection->caller.host, port, reason);
  }
  if (connection->secure && !connection->socket.is_open())
    connection->secure->close();  // Else the plain end's ends it.
  error_code ignored;
  connection->deadline.cancel();
  connection->look_again.cancel();
  connection->socket.close(ignored);
  waiting.erase(connection->position);
  waiting_count = waiting.size();
}

AssociationAcceptor::AssociationAcceptor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

AssociationAcceptor::~AssociationAcceptor() {
  if (!impl_->thread.joinable()) return;
  stop();
  impl_->thread_done.get_future().wait_for(kDrain);  // It ends by itself once nothing is to be moved.
  impl_->io.stop();
  impl_->thread.join();
}

Result<std::unique_ptr<AssociationAcceptor>> AssociationAcceptor::open(const std::string& bind, std::uint16_t port,
                                                                       const AcceptorLimits& limits,
                                                                       OnRequest on_request,
                                                                       std::shared_ptr<tls::ServerContext> tls) {
  auto impl = std::make_unique<Impl>(limits, std::move(on_request), std::move(tls));
  NODE_RETURN_IF_ERROR(impl->listen(bind, port));
  impl->accept();
  impl->thread = std::thread([self = impl.get()] {
    self->io.run();
    self->thread_done.set_value();
  });
  return std::unique_ptr<AssociationAcceptor>(new AssociationAcceptor(std::move(impl)));
}

std::uint16_t AssociationAcceptor::port() const { return impl_->port; }

AcceptorStats AssociationAcceptor::stats() const {
  const Impl& impl = *impl_;
  return {impl.connections, impl.expired,    impl.garbage,      impl.tls_failed,
          impl.evicted,     impl.over_limit, impl.waiting_count};
}

bool AssociationAcceptor::turns(std::chrono::milliseconds patience) const {
  const auto turned = std::make_shared<std::promise<void>>();
  asio::post(impl_->io, [turned] { turned->set_value(); });
  return turned->get_future().wait_for(patience) == std::future_status::ready;
}

void AssociationAcceptor::stop() {
  if (!impl_->acceptor_open.exchange(false)) return;
  std::promise<void> closed;
  asio::post(impl_->io, [&] {
    error_code ignored;
    impl_->acceptor.close(ignored);
    impl_->accept_again.cancel();
    while (!impl_->waiting.empty()) impl_->drop(Impl::Connection(impl_->waiting.front()));
    closed.set_value();
  });
  closed.get_future().wait();
}

}  // namespace node::receive
