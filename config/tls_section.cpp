#include "config/tls_section.h"

#include <cctype>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace node::config {
namespace {

constexpr std::string_view kSha256 = "sha256:", kCommonName = "CN=";

// "sha256:" and 64 hex digits, with colons or without, in any case, into small letters without colons; "CN=name" as it
// is. Empty: it is neither.
std::string normalised(const std::string& text) {
  if (text.starts_with(kCommonName)) return text.size() > kCommonName.size() ? text : "";
  std::string small;
  for (const char c : text) small += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (!small.starts_with(kSha256)) return "";
  std::string digits = small.substr(kSha256.size());
  std::erase(digits, ':');
  const bool hex = digits.find_first_not_of("0123456789abcdef") == std::string::npos;
  return hex && digits.size() == 64 ? std::string(kSha256) + digits : "";
}

}  // namespace

void read_tls(Section& tls, const Context& context, TlsConfig& config) {
  for (auto [key, target] : {std::pair{"ca_file", &config.ca_file},
                             {"certificate_file", &config.certificate_file},
                             {"key_file", &config.key_file}}) {
    if (!tls.text(key, *target)) continue;
    *target = context.resolve(*target);
    std::error_code error;
    if (!std::filesystem::exists(*target, error)) {
      tls.wrong(key, "is " + in_quotes(*target) + ", which " +
                         (error ? "cannot be looked at: " + error.message() : "does not exist"));
    }
    config.on = true;
  }
  if (config.certificate_file.empty() != config.key_file.empty()) {
    tls.wrong("certificate_file", "and key_file belong together; one of them is missing");
  }
}

void read_server_tls(Section& tls, const Context& context, bool ca_needed, TlsConfig& config) {
  read_tls(tls, context, config);
  if (!config.on) return;
  if (config.certificate_file.empty() && config.key_file.empty()) {
    tls.wrong("certificate_file",
              "is missing; who listens with TLS shows a certificate: certificate_file and key_file are wanted");
  }
  if (ca_needed && config.ca_file.empty()) {
    tls.wrong("ca_file", "is missing; callers must show a certificate too, and this says whose are good");
  }
}

void read_peer_tls(Section& section, const Context& context, const TlsConfig& node, PeerConfig& peer) {
  {
    Section tls = section.section("tls");
    read_tls(tls, context, peer.tls);
  }
  section.words("certificate", peer.certificates, [](const std::string& text) {
    if (!normalised(text).empty()) return std::string();
    return "is " + in_quotes(text) +
           "; sha256: and the 64 hex digits of `openssl x509 -noout -fingerprint -sha256`, or CN=name, is wanted";
  });
  for (std::string& one : peer.certificates) one = normalised(one);
  peer.tls.on = peer.tls.on || !peer.certificates.empty();
  if (!peer.tls.on) return;
  if (!node.on && peer.port == 0) {
    section.wrong("tls",
                  "or certificate is given, but it only calls, and nobody can call with TLS: node.tls is wanted");
  }
  if (peer.tls.ca_file.empty()) peer.tls.ca_file = node.ca_file;
  if (!peer.tls.certificate_file.empty()) return;
  peer.tls.certificate_file = node.certificate_file;
  peer.tls.key_file = node.key_file;
}

}  // namespace node::config
