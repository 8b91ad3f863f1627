// until_recorded(): a finishing call of a StudyStore, made again while it is the store that fails.
//
// Guarantee: returns when the store took the call or refused it for good (kNotFound, kInvalidArgument, kInternal), or
// once
//            `stopping()` says so. So what was worked out or sent while a disk is full is recorded when there is space
//            again; given up, its claim would stay held, and the work undone, until the next start.
// Threads:   the caller's; it waits here.
#pragma once

#include <chrono>
#include <functional>
#include <thread>

#include "config/base/status.h"

namespace node::storage {

inline Status until_recorded(const std::function<Status()>& call, const std::function<bool()>& stopping) {
  while (true) {
    Status recorded = call();
    const StatusCode code = recorded.code();
    const bool store_fails =
        code == StatusCode::kResourceExhausted || code == StatusCode::kDataLoss || code == StatusCode::kUnavailable;
    if (!store_fails || stopping()) return recorded;
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
}

}  // namespace node::storage
