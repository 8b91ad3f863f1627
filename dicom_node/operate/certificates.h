// certificates: every place of a configuration where TLS is spoken, and how long its certificates last.
//
// Threads: reentrant.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "config/node_config.h"
#include "dicom_node/tls/tls_context.h"

namespace node::operate {

struct TlsUse {
  std::string key;  // "peers.pacs.tls"
  config::TlsConfig config;
  tls::Role role = tls::Role::kClient;
};

// Listeners first; those that have TLS alone.
std::vector<TlsUse> tls_uses(const config::NodeConfig& config);

// Whether the files of every place are good. Errors: kInvalidArgument, of the first that is not.
Status check_tls(const config::NodeConfig& config);

double days_left(const tls::Certificate& certificate);

// Of the files of clients, which are read at each connection: "peers.pacs.tls.ca_file" -> days until the first of its
// certificates ends. Files of another place are not named again, and what cannot be read not at all.
std::map<std::string, double> client_certificate_days(const config::NodeConfig& config);

// The same of what a listener has in force, whose key is `key`.
void add_certificate_days(const std::string& key, const std::vector<tls::FileCertificate>& certificates,
                          std::map<std::string, double>& days);

}  // namespace node::operate
