// service_manager: tells systemd how the service is; elsewhere it does nothing.
//
// Threads: any, after main has begun.
// Source:  sd_notify(3), sd_watchdog_enabled(3): one datagram to the socket that NOTIFY_SOCKET names.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

namespace node::operate {

// "READY=1", "RELOADING=1", "STOPPING=1", "WATCHDOG=1", "STATUS=...".
void tell_service_manager(std::string_view state);

// How long the service manager waits for a word before it restarts the service; nothing: it does not.
std::optional<std::chrono::milliseconds> watchdog_patience();

}  // namespace node::operate
