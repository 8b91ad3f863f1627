// reachability: routes that no image can come to, because of their own criteria or of the routes before them.
//
// Guarantee: what is named can indeed match nothing. A route that patterns or codes keep from matching is not found:
//            that would take knowing all texts.
// Threads:   reentrant.
#pragma once

#include <string>
#include <vector>

#include "dicom_node/route/route_match.h"

namespace node::route {

// Why no image comes to route `index` of `routes`, in words; empty: one may.
std::string why_never(const std::vector<config::RouteRule>& routes, const std::vector<Match>& matches,
                      std::size_t index);

}  // namespace node::route
