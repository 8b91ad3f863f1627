// HttpConfig, AuditConfig, LogConfig: the `http:`, `audit:` and `log:` of node.yaml.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "config/tls_config.h"

namespace node::config {

struct HttpConfig {
  std::string bind = "127.0.0.1";
  std::uint16_t port = 8043;
  std::string token_file;   // Holds the bearer token; needed for POST, and for everything off loopback.
  std::string tokens_file;  // Holds further ones, each with a name: who did it, for the audit trail.
  std::chrono::seconds session_max{std::chrono::hours(12)};  // How long a login in the page lasts.
  std::vector<std::string> names;  // How others call this machine, beside its addresses and what its certificate names.
  TlsConfig tls{};                 // With a ca_file clients show a certificate too.
  bool behind_proxy = false;  // A proxy does TLS and authentication: said explicitly to bind elsewhere than loopback.
  bool try_page = false;      // /try: one image dropped by anybody who reaches the page is analysed and shown.
  bool operator==(const HttpConfig&) const = default;
};

struct AuditConfig {  // Of these one, or none.
  std::string file;   // A message a line.
  std::string host;   // Syslog, over TCP.
  std::uint16_t port = 6514;
  TlsConfig tls{};
  bool operator==(const AuditConfig&) const = default;
};

enum class LogLevel { kDebug, kInfo, kWarn, kError };
enum class LogFormat { kText, kJson };

struct LogConfig {
  LogLevel level = LogLevel::kInfo;
  LogFormat format = LogFormat::kText;
  bool operator==(const LogConfig&) const = default;
};

}  // namespace node::config
