// tls: the one place that decides how this program speaks TLS, for every role: DICOM, HL7, HTTP, as server and as
// client.
//
// Guarantee: TLS 1.2 and 1.3 alone, with DCMTK's cipher suites for the non-downgrading BCP 195 profile; a server that
//            has a ca_file takes no connection without a certificate of it; a client always checks the server's.
// Threads:   reentrant; a Context may be shared, a connection is of one thread.
// Source:    PS3.15 B.10 (non-downgrading BCP 195 TLS profile), RFC 9325 (BCP 195), RFC 6125 (names), RFC 8446.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/base/mutex.h"
#include "config/base/status.h"
#include "config/tls_config.h"

struct ssl_st;  // OpenSSL.
struct ssl_ctx_st;

namespace node::tls {

using Context = std::shared_ptr<ssl_ctx_st>;
enum class Role { kClient, kServer };

// Reads the files. Errors: kInvalidArgument: "tls.key_file FILE: does not belong to certificate_file", each with its
// way out.
Result<Context> make_context(const config::TlsConfig& config, Role role);

struct Certificate {
  std::string common_name;  // Of the subject; as it stands, so not fit for a log.
  std::string sha256;       // Of the whole, 64 hex digits.
  std::chrono::system_clock::time_point valid_from{}, valid_until{};

  // `one`: "sha256:64 hex digits" or "CN=name", as PeerConfig::certificates has it.
  bool is(const std::string& one) const;
  bool is_any(const std::vector<std::string>& of) const;
};

// What the other side has shown; of one that has been verified.
std::optional<Certificate> certificate_of_peer(const ssl_st* connection);

// Before a client's handshake: whom it must reach. With `pinned` the certificate must be one of these, which
// is_expected() looks at afterwards, else it must name `host`, a name or an address.
Status expect(ssl_st* connection, const std::string& host, const std::vector<std::string>& pinned);
Status is_expected(const ssl_st* connection, const std::vector<std::string>& pinned);

// Why the handshake, or what came after it, failed: what is wrong with the certificate, else `error` (of OpenSSL's
// queue; 0: the last of this thread) in words. Nothing of it was written by the peer.
std::string words(const ssl_st* connection, unsigned long error = 0);
std::string words(unsigned long error);  // Without a look at the certificate.

// The certificates that a configuration names, read from its files: the first of certificate_file, every one of
// ca_file.
struct FileCertificate {
  std::string key;  // "certificate_file"
  std::string file;
  Certificate certificate;
};
Result<std::vector<FileCertificate>> certificates_of_files(const config::TlsConfig& config);

// What a server speaks now. Threads: any.
class ServerContext {
 public:
  // Errors: as make_context().
  static Result<std::shared_ptr<ServerContext>> open(const config::TlsConfig& config);

  Context current() const;
  bool names(const std::string& host) const;          // Whether the certificate is for this name or address.
  std::vector<FileCertificate> certificates() const;  // Of the files as they were read.
  // From the next connection on. Errors: as make_context(), and what was spoken stays.
  Status reload(const config::TlsConfig& config);

 private:
  mutable Mutex mutex_;
  Context context_ GUARDED_BY(mutex_);
  std::vector<FileCertificate> certificates_ GUARDED_BY(mutex_);
};

}  // namespace node::tls
