// post_to_node: asks a running node, over its HTTP API, to change something: for the commands.
#pragma once

#include <string>

#include "config/base/status.h"
#include "config/operate_config.h"

namespace node::operate {

// POSTs to `target` at http.bind with the bearer token of http.token_file; returns the body of a 2xx answer.
// Errors: kUnavailable: no node answers there; kInvalidArgument: it refused, with its own words, or there is no token.
Result<std::string> post_to_node(const config::HttpConfig& config, const std::string& target);

}  // namespace node::operate
