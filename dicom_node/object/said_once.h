// SaidOnce: that the store refuses what a stage does over and over, said once when it begins and once when it is over:
// a disk that is full for a night makes two lines of the log and not a hundred thousand.
//
// Threads: any.
#pragma once

#include <atomic>
#include <string>
#include <utility>

#include "config/base/status.h"

namespace node::object {

class SaidOnce {
 public:
  // "delivery_claim", " destination=pacs": event=delivery_claim_failed destination=pacs reason="...", then
  // event=delivery_claim_works destination=pacs.
  explicit SaidOnce(std::string event, std::string fields = "")
      : event_(std::move(event)), fields_(std::move(fields)) {}

  void failed(const Status& why);
  void works();

 private:
  const std::string event_, fields_;
  std::atomic<bool> failing_{false};
};

}  // namespace node::object
