// ask_node: asks a running node something, or to change something, over its HTTP API: for the commands.
#pragma once

#include <string>

#include "config/base/status.h"
#include "config/operate_config.h"

namespace node::operate {

// GETs or POSTs to `target` at http.bind with the bearer token of http.token_file; tells it the local user for its
// audit trail; returns the body of a 2xx answer.
// Errors: kUnavailable: no node answers there; kInvalidArgument: it refused, with its own words, or there is no token.
enum class Method { kGet, kPost };
Result<std::string> ask_node(const config::HttpConfig& config, Method method, const std::string& target);

}  // namespace node::operate
