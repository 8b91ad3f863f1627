#include "dicom_node/receive/calling_peer.h"

#include <netdb.h>
#include <sys/socket.h>

namespace node::receive {

bool resolves_to(const std::string& name, const std::string& address) {
  if (name == address) return true;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(name.c_str(), nullptr, &hints, &found) != 0) return false;
  bool same = false;
  for (const addrinfo* entry = found; entry != nullptr && !same; entry = entry->ai_next) {
    char text[NI_MAXHOST];
    same = ::getnameinfo(entry->ai_addr, entry->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0 &&
           address == text;
  }
  ::freeaddrinfo(found);
  return same;
}

const config::PeerConfig* find_peer(const std::vector<config::PeerConfig>& peers, const std::string& calling,
                                    const std::string& host) {
  std::vector<const config::PeerConfig*> found;
  for (const config::PeerConfig& peer : peers) {
    if (peer.ae_title == calling) found.push_back(&peer);
  }
  if (found.empty()) return nullptr;
  if (found.size() == 1) return found.front();
  for (const config::PeerConfig* peer : found) {  // Several share a title: the address tells them apart.
    if (resolves_to(peer->host, host)) return peer;
  }
  return nullptr;
}

}  // namespace node::receive
