// HttpRefusalLog: counts who is refused over HTTP for /metrics, and says it in the log without being flooded.
//
// Threads: any.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "config/base/mutex.h"
#include "dicom_node/operate/metrics.h"

namespace node::operate {

class HttpRefusalLog {
 public:
  using Counter = std::uint64_t HttpRefusals::*;

  // A line each. `host`: its address.
  void refuse(Counter counter, const std::string& host, const std::string& reason);
  // Of what may come in floods: a line a minute for each network and reason, with how often it was. Says whether this
  // was one.
  bool refuse_quietly(Counter counter, const std::string& host, const std::string& reason);
  HttpRefusals counts() const;

 private:
  struct Flood {
    std::chrono::steady_clock::time_point quiet_until{};
    std::uint64_t times = 0;  // Not logged yet.
  };
  mutable Mutex mutex_;
  HttpRefusals counts_ GUARDED_BY(mutex_);
  std::map<std::string, Flood> floods_ GUARDED_BY(mutex_);  // By reason and network.
};

}  // namespace node::operate
