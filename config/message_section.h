// What of node.yaml is `messages:` and `dicomweb:`, with every mistake noted.
//
// Threads: one at a time.
#pragma once

#include <vector>

#include "config/message_config.h"
#include "config/router_section.h"

namespace node::config {

// Adds their names to `names`, as destinations of results only.
void read_messages(Section& root, const Context& context, Names& names, std::vector<MessageConfig>& messages);

// Adds their names to `names`, as destinations of results and originals.
void read_dicomweb(Section& root, const Context& context, Names& names, std::vector<DicomWebConfig>& servers);

}  // namespace node::config
