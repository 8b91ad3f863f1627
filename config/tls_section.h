// What of node.yaml is `tls:`, and the certificates that a peer is known by, with every mistake noted.
//
// Threads: one at a time.
#pragma once

#include "config/config_section.h"
#include "config/router_section.h"
#include "config/peer_config.h"
#include "config/tls_config.h"

namespace node::config {

// Of one that connects: any key turns TLS on.
void read_tls(Section& tls, const Context& context, TlsConfig& config);

// Of one that listens: certificate and key are needed; `ca_needed`: and whose certificates callers must have.
void read_server_tls(Section& tls, const Context& context, bool ca_needed, TlsConfig& config);

// `tls` and `certificate` of a peer; what is not given is taken from `node`, the tls of the listener.
void read_peer_tls(Section& section, const Context& context, const TlsConfig& node, PeerConfig& peer);

}  // namespace node::config
