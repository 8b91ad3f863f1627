// TlsConfig: the `tls:` of node.yaml, the same wherever it stands.
#pragma once

#include <string>

namespace node::config {

struct TlsConfig {
  bool on = false;
  std::string ca_file;                     // PEM, one or more; of a client empty: the system's.
  std::string certificate_file, key_file;  // PEM; of a client empty: none is shown.
  bool operator==(const TlsConfig&) const = default;
};

}  // namespace node::config
