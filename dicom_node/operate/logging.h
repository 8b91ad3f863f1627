// configure_logging: where the node's log goes and how a line looks.
//
// Text: "2026-11-23T10:00:00.123Z info event=... key=value"; JSON: one object a line with time, level, what the message
// says as texts of their own ("event", "reason", ...) and the whole message. Both on standard error, where systemd's
// journal and containers look for it; each line to the journal begins with its priority, which `journalctl -p` asks
// for. Threads: configure_logging() once, before any other thread starts; json_fields() is reentrant. Source:
// sd-daemon(3) and systemd.exec(5), JOURNAL_STREAM.
#pragma once

#include <string>
#include <string_view>

#include "config/operate_config.h"

namespace node::operate {

void configure_logging(const config::LogConfig& config);

// `event=a reason="b c"` as `"event":"a","reason":"b c",`; words that are no pair are left out. A quoted value ends at
// the quote before the next pair, so that one which holds quotes is whole.
std::string json_fields(std::string_view message);

}  // namespace node::operate
