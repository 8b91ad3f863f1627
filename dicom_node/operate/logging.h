// configure_logging: where the node's log goes and how a line looks.
//
// Text: "2026-11-23T10:00:00.123Z info event=... key=value"; JSON: one object a line with time, level and the same
// message. Both on standard error, where systemd's journal and containers look for it.
// Threads: once, before any other thread starts.
#pragma once

#include "config/operate_config.h"

namespace node::operate {

void configure_logging(const config::LogConfig& config);

}  // namespace node::operate
