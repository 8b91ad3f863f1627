// Whether the Host of a request names this node. Where it names another, a page of that other one asks, whose name was
// made to lead here (DNS rebinding); the browser takes it for the same site.
//
// Threads: reentrant.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace node::operate {

// "node:8043" is "node", "[::1]:8043" is "::1"; lower case, without a last dot. Empty where what follows is no port.
std::string name_of_host(std::string_view host);

// A loopback name or address, the address `came_to` that the connection came in on, or one of `names`.
bool names_this_node(const std::string& name, const std::string& came_to, const std::vector<std::string>& names);

// What to tell who asked for another, with the way out: which key wants that name.
std::string not_called(const std::string& name);

}  // namespace node::operate
