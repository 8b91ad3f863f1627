#include "dicom_node/operate/http_host.h"

#include <algorithm>
#include <boost/asio/ip/address.hpp>

namespace node::operate {
namespace {

using boost::asio::ip::address;

// Of an IPv4 address in IPv6's clothes the former; unspecified where the text is none.
address address_of(const std::string& text) {
  boost::system::error_code error;
  const address found = boost::asio::ip::make_address(text, error);
  if (error) return {};
  if (found.is_v6() && found.to_v6().is_v4_mapped()) {
    return boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, found.to_v6());
  }
  return found;
}

}  // namespace

std::string name_of_host(std::string_view host) {
  std::string_view port;
  const std::size_t bracket = host.find(']');
  if (host.starts_with('[') && bracket != std::string_view::npos) {
    port = host.substr(bracket + 1);
    host = host.substr(1, bracket - 1);
  } else if (std::count(host.begin(), host.end(), ':') == 1) {  // More are an address without brackets.
    port = host.substr(host.find(':'));
    host = host.substr(0, host.find(':'));
  }
  if (!port.empty() && (port[0] != ':' || port.find_first_not_of("0123456789", 1) != std::string_view::npos)) return "";
  if (host.ends_with('.')) host.remove_suffix(1);
  std::string name(host);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return name;
}

bool names_this_node(const std::string& name, const std::string& came_to, const std::vector<std::string>& names) {
  if (name == "localhost") return true;
  if (std::any_of(names.begin(), names.end(), [&](const std::string& one) { return name_of_host(one) == name; })) {
    return true;
  }
  const address asked = address_of(name);
  return !asked.is_unspecified() && (asked.is_loopback() || asked == address_of(came_to));
}

std::string not_called(const std::string& name) {
  const bool is_name = !name.empty() && name.size() < 256 &&
                       name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_.:") == std::string::npos;
  if (!is_name) return "this node is not called so: http.names says how it is called beside its own addresses";
  return "this node is not called " + name +
         ": if it is reached so, through a container or a proxy, set http.names: [" + name +
         "] in its configuration and start it again (its own addresses need not stand there)";
}

}  // namespace node::operate
