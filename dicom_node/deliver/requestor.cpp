#include "dicom_node/deliver/requestor.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmnet/assoc.h>
#include <dcmtk/dcmnet/dcmlayer.h>
#include <dcmtk/dcmnet/dimse.h>
#include <dcmtk/dcmnet/dul.h>
#include <dcmtk/dcmtls/tlstrans.h>
#include <dcmtk/ofstd/ofstd.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>

#include <chrono>
#include <utility>

#include "dicom_node/tls/tls_context.h"

namespace node::deliver {
namespace {

constexpr long kPduBytesMax = ASC_MAXIMUMPDUSIZE;

std::string rejection_words(T_ASC_Association* association) {
  T_ASC_RejectParameters reject{};
  if (association == nullptr || association->params == nullptr) return "rejected";
  if (ASC_getRejectParameters(association->params, &reject).bad()) return "rejected";
  OFString text;
  ASC_printRejectParameters(text, &reject);
  std::string line;
  for (char c : text) line += c == '\n' ? ' ' : c;
  return line;
}

}  // namespace

std::string words(const OFCondition& condition) {
  if (condition == DIMSE_NODATAAVAILABLE) return "no answer in time";
  std::string text = condition.text();
  return text.substr(0, text.find('\n'));
}

// With TLS 1.3 a server's word on our certificate comes after the handshake.
void hear_alert(const SSL* connection, int where, int alert) {
  if ((where & SSL_CB_READ_ALERT) != SSL_CB_READ_ALERT || alert >> 8 != SSL3_AL_FATAL) return;
  *static_cast<Status*>(SSL_get_app_data(connection)) =
      unavailable(fmt::format("it refuses us: {}", SSL_alert_desc_string_long(alert)));
}

// DCMTK's, which hears that word also where it is writing when the server closes.
class HearingConnection : public DcmTLSConnection {
 public:
  HearingConnection(int socket, SSL* connection) : DcmTLSConnection(socket, connection), connection_(connection) {}

  ssize_t write(void* bytes, size_t size) override {
    const ssize_t written = DcmTLSConnection::write(bytes, size);
    char scratch = 0;
    if (written < 0) SSL_read(connection_, &scratch, 1);
    return written;
  }

 private:
  SSL* const connection_;  // DcmTLSConnection's.
};

// DCMTK's own connection, made from our context, and its handshake done here: DCMTK's would wait for a peer for ever.
class TlsLayer : public DcmTransportLayer {
 public:
  TlsLayer(tls::Context context, const config::PeerConfig& peer, std::chrono::seconds timeout)
      : context_(std::move(context)), host_(peer.host), pinned_(peer.certificates), timeout_(timeout) {}

  DcmTransportConnection* createConnection(DcmNativeSocketType socket, OFBool) override {
    SSL* const connection = SSL_new(context_.get());
    if (connection == nullptr || SSL_set_fd(connection, socket) != 1) {
      problem_ = internal_error("TLS: no connection");
      SSL_free(connection);
      return nullptr;
    }
    SSL_set_app_data(connection, &problem_);
    SSL_set_info_callback(connection, hear_alert);
    problem_ = tls::expect(connection, host_, pinned_);
    if (problem_.ok()) problem_ = handshake(connection, socket);
    if (problem_.ok()) problem_ = tls::is_expected(connection, pinned_);
    if (problem_.ok()) return new HearingConnection(socket, connection);  // Its handshake is done.
    SSL_free(connection);
    return nullptr;  // The socket stays DCMTK's, which closes it.
  }

  // Why there is no association where that is for TLS; OK: it is not.
  const Status& problem() const { return problem_; }

 private:
  Status handshake(SSL* connection, int socket) {
    const auto deadline = std::chrono::steady_clock::now() + timeout_;
    const int flags = ::fcntl(socket, F_GETFL);
    ::fcntl(socket, F_SETFL, flags | O_NONBLOCK);
    ERR_clear_error();
    while (true) {
      const int done = SSL_connect(connection);
      if (done == 1) break;
      const int error = SSL_get_error(connection, done);
      if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
        return unavailable(tls::words(connection));
      }
      pollfd descriptor{socket, static_cast<short>(error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT), 0};
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
      if (left.count() <= 0 || ::poll(&descriptor, 1, static_cast<int>(left.count())) == 0) {
        return unavailable("no answer in time");
      }
    }
    ::fcntl(socket, F_SETFL, flags);
    return ok_status();
  }

  const tls::Context context_;
  const std::string host_;
  const std::vector<std::string> pinned_;
  const std::chrono::seconds timeout_;
  Status problem_;
};

Requestor::Requestor() = default;

Requestor::~Requestor() {
  if (association != nullptr) {
    if (broken) {
      ASC_abortAssociation(association);
    } else {
      ASC_releaseAssociation(association);
    }
    ASC_destroyAssociation(&association);
  }
  if (network != nullptr) ASC_dropNetwork(&network);
}

Status Requestor::associate(const config::DeliveryConfig& config, const config::PeerConfig& peer,
                            const std::function<void(T_ASC_Parameters*)>& propose) {
  dimse_timeout_s = static_cast<int>(config.dimse_timeout.count());
  const int connect_timeout_s = static_cast<int>(config.connect_timeout.count());
  const std::string address = fmt::format("{}:{}", peer.host, peer.port);
  const std::string where = fmt::format("associate with {} at {}", peer.ae_title, address);

  dcmConnectionTimeout.set(static_cast<Sint32>(connect_timeout_s));
  OFCondition condition = ASC_initializeNetwork(NET_REQUESTOR, 0, connect_timeout_s, &network);
  if (condition.bad()) return internal_error(where + ": " + words(condition));

  if (peer.tls.on) {
    auto context = tls::make_context(peer.tls, tls::Role::kClient);
    // Not now: a file may be on its way.
    if (!context.ok()) return unavailable(where + ": " + context.status().message());
    tls = std::make_unique<TlsLayer>(*std::move(context), peer, config.connect_timeout);
    ASC_setTransportLayer(network, tls.get(), /*takeoverOwnership=*/0);
  }

  T_ASC_Parameters* parameters = nullptr;
  condition = ASC_createAssociationParameters(&parameters, kPduBytesMax);
  if (condition.bad()) return internal_error(where + ": " + words(condition));
  ASC_setAPTitles(parameters, config.ae_title.c_str(), peer.ae_title.c_str(), nullptr);
  ASC_setPresentationAddresses(parameters, OFStandard::getHostName().c_str(), address.c_str());
  ASC_setTransportLayerType(parameters, peer.tls.on ? OFTrue : OFFalse);
  propose(parameters);

  // Blocking, which is the default, it would wait for the answer for ever.
  condition =
      ASC_requestAssociation(network, parameters, &association, nullptr, nullptr, DUL_NOBLOCK, connect_timeout_s);
  if (condition.good()) return ok_status();
  const Status of_tls = tls ? tls->problem() : ok_status();
  const std::string why = !of_tls.ok()                           ? "TLS: " + of_tls.message()
                          : condition == DUL_ASSOCIATIONREJECTED ? "rejected: " + rejection_words(association)
                                                                 : words(condition);
  if (association != nullptr) {
    ASC_destroyAssociation(&association);
  } else {
    ASC_destroyAssociationParameters(&parameters);
  }
  return unavailable(where + ": " + why);
}

}  // namespace node::deliver
