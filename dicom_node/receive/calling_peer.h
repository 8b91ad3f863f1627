// Who calls: the peer of the configuration behind a calling AE title and an address.
//
// Threads: reentrant; may wait for the resolver.
#pragma once

#include <string>
#include <vector>

#include "config/peer_config.h"

namespace node::receive {

// Who may call. Replaced as a whole when the configuration is read again; an association that was accepted goes on.
struct CallerRules {
  std::vector<config::PeerConfig> peers;
  bool accept_unknown = false;  // ReceiveConfig
  bool check_hosts = false;
};

// Whether `name`, an address or a host's name, is the numeric `address`.
bool resolves_to(const std::string& name, const std::string& address);

// Null if the title is no peer's. Where several peers share a title, the one whose host is the caller's.
const config::PeerConfig* find_peer(const std::vector<config::PeerConfig>& peers, const std::string& calling,
                                    const std::string& host);

}  // namespace node::receive
