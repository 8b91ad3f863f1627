#include "dicom_node/deliver/connection.h"

#include <fmt/format.h>

#include <array>
#include <optional>
#include <utility>  // Before Asio 1.74, whose awaitable.hpp forgets it in C++20.
// clang-format off
#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/ssl.hpp>
// clang-format on

#include "dicom_node/tls/tls_context.h"

namespace node::deliver {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace ssl = asio::ssl;
using asio::ip::tcp;
using std::chrono::milliseconds;

struct Connection::Impl {
  asio::io_context io;
  std::optional<ssl::context> context;
  std::unique_ptr<beast::ssl_stream<beast::tcp_stream>> secure;  // One of the two.
  std::unique_ptr<beast::tcp_stream> plain;
  std::array<char, 16 * 1024> buffer{};

  const SSL* tls() const { return secure ? secure->native_handle() : nullptr; }
  beast::tcp_stream& lowest() { return secure ? secure->next_layer() : *plain; }

  // One operation on the socket, from its start to its end or to its deadline.
  template <typename Start>
  beast::error_code within(milliseconds timeout, Start start) {
    beast::error_code result = asio::error::would_block;
    lowest().expires_after(timeout);
    start([&result](beast::error_code error, auto&&...) { result = error; });
    io.restart();
    io.run();
    return result;
  }

  beast::error_code read(milliseconds timeout, std::size_t& size) {
    return within(timeout, [&](auto done) {
      const auto counted = [&size, done](beast::error_code ended, std::size_t read) {
        size = read;
        done(ended);
      };
      if (secure) {
        secure->async_read_some(asio::buffer(buffer), counted);
      } else {
        plain->async_read_some(asio::buffer(buffer), counted);
      }
    });
  }

  // Of what failed once connected.
  std::string why(const beast::error_code& error) const;
};

namespace {

bool is_of_tls(const beast::error_code& error) { return error.category() == asio::error::get_ssl_category(); }

// `connection`: null without TLS.
std::string words(const beast::error_code& error, const SSL* connection) {
  if (error == beast::error::timeout || error == asio::error::would_block) return "no answer in time";
  if (error == asio::error::eof || error == ssl::error::stream_truncated) return "it has closed the connection";
  if (connection == nullptr || !is_of_tls(error)) return error.message();
  return tls::words(connection, static_cast<unsigned int>(error.value()));
}

constexpr milliseconds kLastWord{1'000};

}  // namespace

std::string Connection::Impl::why(const beast::error_code& error) const {
  return (is_of_tls(error) ? "TLS: " : "") + words(error, tls());
}

Connection::Connection(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Connection::~Connection() {
  beast::error_code ignored;
  impl_->lowest().socket().shutdown(tcp::socket::shutdown_both, ignored);
}

Result<std::unique_ptr<Connection>> Connection::open(const std::string& host, std::uint16_t port,
                                                     const config::TlsConfig& tls, milliseconds timeout,
                                                     const std::vector<std::string>& pinned) {
  const std::string where = fmt::format("connect to {}:{}", host, port);
  auto impl = std::make_unique<Impl>();
  if (tls.on) {
    const auto context = tls::make_context(tls, tls::Role::kClient);
    if (!context.ok()) return unavailable(where + ": " + context.status().message());  // A file may be on its way.
    SSL_CTX_up_ref(context->get());  // Of asio's context, which gives it back.
    impl->context.emplace(context->get());
    impl->secure = std::make_unique<beast::ssl_stream<beast::tcp_stream>>(impl->io, *impl->context);
    NODE_RETURN_IF_ERROR(tls::expect(impl->secure->native_handle(), host, pinned).within(where));
  } else {
    impl->plain = std::make_unique<beast::tcp_stream>(impl->io);
  }

  tcp::resolver resolver(impl->io);
  tcp::resolver::results_type addresses;
  beast::error_code error = asio::error::would_block;
  resolver.async_resolve(host, std::to_string(port), [&](beast::error_code resolved, auto found) {
    error = resolved;
    addresses = found;
  });
  impl->io.run_for(timeout);
  if (error) {
    resolver.cancel();
    impl->io.restart();
    impl->io.run();
    return unavailable(where + ": " + words(error, nullptr));
  }
  error = impl->within(timeout, [&](auto done) { impl->lowest().async_connect(addresses, done); });
  if (error) return unavailable(where + ": " + words(error, nullptr));
  beast::error_code ignored;
  impl->lowest().socket().set_option(tcp::no_delay(true), ignored);
  if (tls.on) {
    error = impl->within(timeout, [&](auto done) { impl->secure->async_handshake(ssl::stream_base::client, done); });
    if (error) return unavailable(where + ": TLS: " + words(error, impl->tls()));
    NODE_RETURN_IF_ERROR(tls::is_expected(impl->secure->native_handle(), pinned).within(where + ": TLS"));
  }
  return std::unique_ptr<Connection>(new Connection(std::move(impl)));
}

Status Connection::write(std::string_view bytes, milliseconds timeout) {
  Impl& impl = *impl_;
  const auto buffer = asio::buffer(bytes.data(), bytes.size());
  const auto error = impl.within(timeout, [&](auto done) {
    if (impl.secure) {
      asio::async_write(*impl.secure, buffer, done);
    } else {
      asio::async_write(*impl.plain, buffer, done);
    }
  });
  if (!error) return ok_status();
  // With TLS 1.3 its word on our certificate comes after the handshake: it may wait to be read.
  std::size_t size = 0;
  const auto last_word = impl.secure && error != beast::error::timeout ? impl.read(kLastWord, size) : error;
  return unavailable(impl.why(is_of_tls(last_word) ? last_word : error));
}

Result<std::string> Connection::read(milliseconds timeout) {
  std::size_t size = 0;
  const auto error = impl_->read(timeout, size);
  if (error) return unavailable(impl_->why(error));
  return std::string(impl_->buffer.data(), size);
}

Status Connection::stays_open(milliseconds wait) {
  std::size_t size = 0;
  const auto error = impl_->read(wait, size);
  return !error || error == beast::error::timeout ? ok_status() : unavailable(impl_->why(error));
}

}  // namespace node::deliver
