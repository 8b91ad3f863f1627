#include "dicom_node/operate/http_refusal_log.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "config/base/network.h"

namespace node::operate {
namespace {

constexpr std::size_t kFloodsMax = 1000;

}  // namespace

void HttpRefusalLog::refuse(Counter counter, const std::string& host, const std::string& reason) {
  {
    MutexLock lock(mutex_);
    ++(counts_.*counter);
  }
  spdlog::warn("event=http_refused host={} reason=\"{}\"", host, reason);
}

bool HttpRefusalLog::refuse_quietly(Counter counter, const std::string& host, const std::string& reason) {
  MutexLock lock(mutex_);
  ++(counts_.*counter);
  const auto now = std::chrono::steady_clock::now();
  if (floods_.size() >= kFloodsMax) {
    std::erase_if(floods_, [now](const auto& one) { return one.second.quiet_until <= now; });
  }
  Flood& flood = floods_[floods_.size() < kFloodsMax ? reason + " " + network_of(host) : reason];
  ++flood.times;
  if (now < flood.quiet_until) return false;
  spdlog::warn("event=http_refused host={} reason=\"{}\" times={}", host, reason, std::exchange(flood.times, 0));
  flood.quiet_until = now + std::chrono::minutes(1);
  return true;
}

HttpRefusals HttpRefusalLog::counts() const {
  MutexLock lock(mutex_);
  return counts_;
}

}  // namespace node::operate
