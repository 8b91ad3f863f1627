// DeliveryWorker: sends what is due at one destination and records each attempt.
//
// Guarantee: what the peer answered is in the store before the next object is sent; an attempt whose outcome is unknown
//            is made again with the same bytes, so nothing is lost and no object changes under its UID.
//            A refusal that cannot succeed is parked at once with the peer's status and words; one that may is tried
//            again with a doubling, jittered delay, and parked once it was pending for longer than give_up_after.
//            An object that the peer refuses or breaks off at holds up no other; a destination that is down is asked
//            as one, not once an object, and said to be down, and up again, in one line each.
//            One stuck destination delays no other: each has its own worker.
// Threads:   one thread of its own, from start() to stop(). Spool and store must outlive the worker.
// Source:    README.md beside this file; PS3.4 Table B.2-1.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/base/status.h"
#include "config/peer_config.h"
#include "dicom_node/deliver/sender.h"
#include "storage/spool.h"
#include "storage/study_store.h"

namespace node::deliver {

struct DeliveryStats {
  std::uint64_t delivered = 0, warnings = 0, retries = 0, parked = 0;
  std::uint64_t associations = 0;  // Asked for.
  std::uint64_t losses = 0;        // Objects whose file is gone or has other bytes.
  bool reachable = true;           // Not down: see README.md.
};

class DeliveryWorker {
 public:
  static std::unique_ptr<DeliveryWorker> start(config::DeliveryConfig config, config::PeerConfig destination,
                                               storage::Spool& spool, storage::StudyStore& store);
  // Over what `open` connects: another way out, or what a test puts in its place. `to_be_committed`: what was delivered
  // is, see DeliveryOutcome.
  static std::unique_ptr<DeliveryWorker> start(config::DeliveryConfig config, std::string destination, OpenSender open,
                                               storage::Spool& spool, storage::StudyStore& store,
                                               bool to_be_committed = false);
  ~DeliveryWorker();  // As stop().

  // Finishes the object in flight, releases the association, joins. May be called twice. StudyStore::stop() comes
  // first where the worker should not wait for its next claim to time out.
  void stop();
  DeliveryStats stats() const;
  const std::string& destination() const;

 private:
  struct Impl;
  explicit DeliveryWorker(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// What a C-STORE status means for a delivery: DELIVERED (success, warnings, a duplicate that is there already), PENDING
// (out of resources, processing failure), or PARKED (everything that cannot succeed).
storage::DeliveryState judge(std::uint16_t status);

// What a C-STORE status means, for the record of a peer that says no more; empty of 0000 and of what the standard does
// not know. Source: PS3.4 Table B.2-1, PS3.7 Annex C.
std::string_view meaning(std::uint16_t status);

// Delay after the failure number `failures` (from 1): doubles from retry_first up to retry_max, times a jitter in
// [0.5, 1).
std::chrono::milliseconds backoff(const config::DeliveryConfig& config, int failures, double jitter);

}  // namespace node::deliver
