// The network that an address stands for where callers are limited one by one.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <string>

namespace node {

// Of an IPv6 address its /64, "2001:db8::/64": whoever has one address there has all of them. An IPv4 address stands
// for itself, also in IPv6's clothes; what is no address too. Source: RFC 4291 2.5.4, 2.5.5.2; RFC 6177.
inline std::string network_of(const std::string& host) {
  in6_addr address{};
  if (inet_pton(AF_INET6, host.substr(0, host.find('%')).c_str(), &address) != 1) return host;
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (IN6_IS_ADDR_V4MAPPED(&address)) return inet_ntop(AF_INET, &address.s6_addr[12], text.data(), text.size());
  std::fill(address.s6_addr + 8, address.s6_addr + 16, 0);
  return std::string(inet_ntop(AF_INET6, &address, text.data(), text.size())) + "/64";
}

}  // namespace node
