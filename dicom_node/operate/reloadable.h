// reloadable: which differences between two configurations a running node takes without a restart.
//
// Threads: reentrant.
#pragma once

#include <string>
#include <vector>

#include "config/node_config.h"

namespace node::operate {

// The keys of `fresh` that differ from what is in force and that only a restart takes: "storage", "models", "node".
// Taken while it runs: peers, routes, forward, body_parts, messages, dicomweb, results.forms
// and skipped_to, node.accept_unknown and check_hosts, the files of every tls, and
// the tokens of http.
std::vector<std::string> wanting_a_restart(const config::NodeConfig& in_force, const config::NodeConfig& fresh);

}  // namespace node::operate
