#include "dicom_node/tls/tls_context.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmtls/tlsciphr.h>
#include <dcmtk/dcmtls/tlslayer.h>
#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <fstream>
#include <iterator>
#include <string_view>
#include <utility>

namespace node::tls {
namespace {

using std::chrono::system_clock;

struct Free {
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(BIO* bio) const { BIO_free(bio); }
};

std::string last_error() {
  const unsigned long error = ERR_get_error();
  const char* reason = ERR_reason_error_string(error);
  ERR_clear_error();
  return reason != nullptr ? reason : fmt::format("OpenSSL error {:#x}", error);
}

Status wrong(const char* key, const std::string& file, const std::string& why) {
  return invalid_argument(fmt::format("tls.{} {}: {}", key, file, why));
}

// What can be said before OpenSSL, whose words for it are poor.
Status check_readable(const char* key, const std::string& file) {
  std::ifstream stream(file);
  if (!stream) return wrong(key, file, "cannot be opened: does it exist, and may this user read it?");
  const std::string text(std::istreambuf_iterator<char>(stream), {});
  if (text.find("-----BEGIN ") == std::string::npos) {
    return wrong(key, file, "holds no PEM: -----BEGIN ... is wanted; openssl x509 -inform DER converts a certificate");
  }
  if (std::string_view(key) == "key_file" && text.find("ENCRYPTED") != std::string::npos) {
    return wrong(key, file, "wants a passphrase, which nobody can type here: openssl pkey -in FILE -out NEW");
  }
  return ok_status();
}

// The profile, in the words of DCMTK's own table of cipher suites.
const std::string& cipher_suites() {
  static const std::string suites = [] {
    DcmTLSTransportLayer::initializeOpenSSL();
    DcmTLSCiphersuiteHandler handler;
    OFString list;
    if (handler.setTLSProfile(TSP_Profile_BCP195_ND).good()) handler.getListOfCipherSuitesForOpenSSL(list, OFTrue);
    return std::string(list.c_str());
  }();
  return suites;
}

Status use_certificate(SSL_CTX* context, const config::TlsConfig& config) {
  const char *certificate = "certificate_file", *key = "key_file";
  SSL_CTX_set_default_passwd_cb(context, [](char*, int, int, void*) { return 0; });  // Else it asks at the terminal.
  NODE_RETURN_IF_ERROR(check_readable(certificate, config.certificate_file));
  NODE_RETURN_IF_ERROR(check_readable(key, config.key_file));
  if (SSL_CTX_use_certificate_chain_file(context, config.certificate_file.c_str()) != 1) {
    return wrong(certificate, config.certificate_file, "holds no certificate that can be used: " + last_error());
  }
  ERR_clear_error();
  if (SSL_CTX_use_PrivateKey_file(context, config.key_file.c_str(), SSL_FILETYPE_PEM) == 1 &&
      SSL_CTX_check_private_key(context) == 1) {
    return ok_status();
  }
  const int reason = ERR_GET_REASON(ERR_peek_last_error());
  const bool of_another = reason == X509_R_KEY_VALUES_MISMATCH || reason == X509_R_KEY_TYPE_MISMATCH;
  return wrong(key, config.key_file,
               of_another ? "does not belong to certificate_file " + config.certificate_file +
                                ": openssl x509 -noout -pubkey and openssl pkey -pubout must print the same"
                          : "holds no private key that can be used: " + last_error());
}

Certificate certificate_of(X509* x509) {
  Certificate certificate;
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  if (X509_digest(x509, EVP_sha256(), digest.data(), &size) == 1) {
    for (unsigned int i = 0; i < size; ++i) certificate.sha256 += fmt::format("{:02x}", digest[i]);
  }
  X509_NAME* const subject = X509_get_subject_name(x509);
  if (const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1); at >= 0) {
    unsigned char* text = nullptr;
    const int length = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (length > 0)
      certificate.common_name.assign(reinterpret_cast<const char*>(text), static_cast<std::size_t>(length));
    OPENSSL_free(text);
  }
  const auto time = [](const ASN1_TIME* from) {
    std::tm parts{};
    return ASN1_TIME_to_tm(from, &parts) == 1 ? system_clock::from_time_t(timegm(&parts)) : system_clock::time_point{};
  };
  certificate.valid_from = time(X509_get0_notBefore(x509));
  certificate.valid_until = time(X509_get0_notAfter(x509));
  return certificate;
}

Status read_certificates(const char* key, const std::string& file, int most, std::vector<FileCertificate>& found) {
  NODE_RETURN_IF_ERROR(check_readable(key, file));
  const std::unique_ptr<BIO, Free> bio(BIO_new_file(file.c_str(), "r"));
  int count = 0;
  while (bio && count < most) {
    const std::unique_ptr<X509, Free> x509(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (!x509) break;
    ++count;
    found.push_back({key, file, certificate_of(x509.get())});
  }
  ERR_clear_error();
  return count > 0 ? ok_status() : wrong(key, file, "holds no certificate: -----BEGIN CERTIFICATE----- is wanted");
}

}  // namespace

Result<Context> make_context(const config::TlsConfig& config, Role role) {
  const std::string& suites = cipher_suites();
  ERR_clear_error();
  const bool server = role == Role::kServer;
  const Context context(SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()), SSL_CTX_free);
  if (!context || suites.empty()) return internal_error("TLS: " + last_error());
  SSL_CTX* const raw = context.get();
  SSL_CTX_set_options(raw, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_dh_auto(raw, 1);
  // What asio sets too; without the first a write that is tried again from another buffer fails.
  SSL_CTX_set_mode(raw, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS);
  if (SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION) != 1 || SSL_CTX_set_cipher_list(raw, suites.c_str()) != 1) {
    return internal_error("TLS: " + last_error());
  }
  if (!config.ca_file.empty()) {
    NODE_RETURN_IF_ERROR(check_readable("ca_file", config.ca_file));
    if (SSL_CTX_load_verify_locations(raw, config.ca_file.c_str(), nullptr) != 1) {
      return wrong("ca_file", config.ca_file, "holds no certificate that can be used: " + last_error());
    }
    // A certificate that stands in the file itself is trusted, its issuer need not.
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(raw), X509_V_FLAG_PARTIAL_CHAIN);
    if (server) SSL_CTX_set_client_CA_list(raw, SSL_load_client_CA_file(config.ca_file.c_str()));
  } else if (!server) {
    SSL_CTX_set_default_verify_paths(raw);
  }
  if (!server || !config.ca_file.empty()) {
    SSL_CTX_set_verify(raw, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  if (!config.certificate_file.empty()) NODE_RETURN_IF_ERROR(use_certificate(raw, config));
  if (server) {
    // A session taken up again would bring back a certificate that has expired or been struck off since.
    SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(raw, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(raw, 0);
  }
  return context;
}

bool Certificate::is(const std::string& one) const {
  return one == "sha256:" + sha256 || (!common_name.empty() && one == "CN=" + common_name);
}

bool Certificate::is_any(const std::vector<std::string>& of) const {
  return std::any_of(of.begin(), of.end(), [this](const std::string& one) { return is(one); });
}

std::optional<Certificate> certificate_of_peer(const ssl_st* connection) {
  const std::unique_ptr<X509, Free> x509(SSL_get1_peer_certificate(connection));
  if (!x509) return std::nullopt;
  return certificate_of(x509.get());
}

Status expect(ssl_st* connection, const std::string& host, const std::vector<std::string>& pinned) {
  X509_VERIFY_PARAM* const parameters = SSL_get0_param(connection);
  const bool is_address = X509_VERIFY_PARAM_set1_ip_asc(parameters, host.c_str()) == 1;
  bool done = is_address;
  if (!is_address) {
    done = SSL_set1_host(connection, host.c_str()) == 1 && SSL_set_tlsext_host_name(connection, host.c_str()) == 1;
  }
  if (!pinned.empty()) {  // Whatever name it bears.
    X509_VERIFY_PARAM_set1_ip(parameters, nullptr, 0);
    X509_VERIFY_PARAM_set1_host(parameters, nullptr, 0);
    done = true;
  }
  ERR_clear_error();
  return done ? ok_status() : invalid_argument("TLS: " + host + " can stand in no certificate");
}

Status is_expected(const ssl_st* connection, const std::vector<std::string>& pinned) {
  if (pinned.empty()) return ok_status();
  const auto shown = certificate_of_peer(connection);
  if (shown && shown->is_any(pinned)) return ok_status();
  return unavailable("its certificate sha256:" + (shown ? shown->sha256 : "none") +
                     " is none of the peer's `certificate`");
}

std::string words(const ssl_st* connection, unsigned long error) {
  if (error == 0) error = ERR_peek_last_error();
  const long verified = SSL_get_verify_result(connection);
  if (verified != X509_V_OK &&
      (ERR_GET_LIB(error) != ERR_LIB_SSL || ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED)) {
    return fmt::format("its certificate is refused: {}", X509_verify_cert_error_string(verified));
  }
  return words(error);
}

std::string words(unsigned long error) {
  const int reason = ERR_GET_REASON(error);
  if (ERR_GET_LIB(error) != ERR_LIB_SSL) {
    const char* text = ERR_reason_error_string(error);
    return text != nullptr ? text : "it has closed the connection";
  }
  switch (reason) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_PACKET_LENGTH_TOO_LONG: return "what it sends is no TLS";
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW: return "it speaks only a version of TLS older than 1.2";
    case SSL_R_NO_SHARED_CIPHER: return "it has no cipher suite of the BCP 195 profile";
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: return "it shows no certificate";
    case SSL_R_UNEXPECTED_EOF_WHILE_READING: return "it has closed the connection in the handshake";
    default: break;
  }
  const char* text = ERR_reason_error_string(error);
  const bool alert = reason >= SSL_AD_REASON_OFFSET;
  return fmt::format("{}{}", alert ? "it refuses us: " : "", text != nullptr ? text : "no agreement on TLS");
}

Result<std::vector<FileCertificate>> certificates_of_files(const config::TlsConfig& config) {
  constexpr int kCaMax = 1000;
  std::vector<FileCertificate> found;
  if (!config.certificate_file.empty()) {
    NODE_RETURN_IF_ERROR(read_certificates("certificate_file", config.certificate_file, 1, found));
  }
  if (!config.ca_file.empty()) NODE_RETURN_IF_ERROR(read_certificates("ca_file", config.ca_file, kCaMax, found));
  return found;
}

Result<std::shared_ptr<ServerContext>> ServerContext::open(const config::TlsConfig& config) {
  auto opened = std::make_shared<ServerContext>();
  NODE_RETURN_IF_ERROR(opened->reload(config));
  return opened;
}

Context ServerContext::current() const {
  MutexLock lock(mutex_);
  return context_;
}

bool ServerContext::names(const std::string& host) const {
  const Context context = current();
  X509* const certificate = SSL_CTX_get0_certificate(context.get());
  return certificate != nullptr && (X509_check_host(certificate, host.data(), host.size(), 0, nullptr) == 1 ||
                                    X509_check_ip_asc(certificate, host.c_str(), 0) == 1);
}

std::vector<FileCertificate> ServerContext::certificates() const {
  MutexLock lock(mutex_);
  return certificates_;
}

Status ServerContext::reload(const config::TlsConfig& config) {
  NODE_ASSIGN_OR_RETURN(Context fresh, make_context(config, Role::kServer));
  NODE_ASSIGN_OR_RETURN(auto certificates, certificates_of_files(config));
  MutexLock lock(mutex_);
  context_ = std::move(fresh);
  certificates_ = std::move(certificates);
  return ok_status();
}

}  // namespace node::tls
