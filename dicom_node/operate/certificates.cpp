#include "dicom_node/operate/certificates.h"

#include <algorithm>
#include <chrono>
#include <set>

namespace node::operate {

std::vector<TlsUse> tls_uses(const config::NodeConfig& config) {
  std::vector<TlsUse> uses;
  const auto add = [&uses](const std::string& key, const config::TlsConfig& tls, tls::Role role) {
    if (tls.on) uses.push_back({key, tls, role});
  };
  add("node.tls", config.receive.tls, tls::Role::kServer);
  add("http.tls", config.http.tls, tls::Role::kServer);
  for (const auto& peer : config.delivery.peers) {
    if (peer.port != 0) add("peers." + peer.name + ".tls", peer.tls, tls::Role::kClient);
  }
  for (const auto& message : config.messages) add("messages." + message.name + ".tls", message.tls, tls::Role::kClient);
  add("audit.syslog.tls", config.audit.tls, tls::Role::kClient);
  for (const auto& server : config.dicomweb) add("dicomweb." + server.name + ".tls", server.tls, tls::Role::kClient);
  return uses;
}

Status check_tls(const config::NodeConfig& config) {
  for (const TlsUse& use : tls_uses(config)) {
    const auto context = tls::make_context(use.config, use.role);
    if (!context.ok()) return context.status().within(use.key);
  }
  return ok_status();
}

double days_left(const tls::Certificate& certificate) {
  return std::chrono::duration<double, std::ratio<86'400>>(certificate.valid_until - std::chrono::system_clock::now())
      .count();
}

void add_certificate_days(const std::string& key, const std::vector<tls::FileCertificate>& certificates,
                          std::map<std::string, double>& days) {
  for (const tls::FileCertificate& one : certificates) {
    const double left = days_left(one.certificate);
    const auto [found, fresh] = days.emplace(key + "." + one.key, left);
    if (!fresh) found->second = std::min(found->second, left);
  }
}

std::map<std::string, double> client_certificate_days(const config::NodeConfig& config) {
  std::map<std::string, double> days;
  std::set<std::string> named;
  for (const TlsUse& use : tls_uses(config)) {
    auto certificates = tls::certificates_of_files(use.config);
    if (!certificates.ok()) continue;
    std::erase_if(*certificates, [&](const auto& one) { return named.contains(one.file); });
    for (const auto& one : *certificates) named.insert(one.file);
    if (use.role == tls::Role::kClient) add_certificate_days(use.key, *certificates, days);
  }
  return days;
}

}  // namespace node::operate
