// CommitmentWorker: storage commitment with one peer, both ways: asks it to commit to what was delivered to it, and
// reports to it when it has asked us.
//
// Guarantee: what was asked and answered is in the store before it is acted upon; a request that the peer took and
// never
//            answers is made again after commitment.answer_within, under a new Transaction UID. Until a destination
//            with `commitment: true` has committed, retention deletes nothing of the study. A peer that cannot be
//            reached, or answers slowly, keeps no other waiting; one that refuses to be asked is for a person in the
//            end.
// Threads:   one thread of its own, from start() to stop(). Spool and store must outlive the worker.
// Source:    PS3.4 Annex J; which answer does what: README.md beside this file.
#pragma once

#include <cstdint>
#include <memory>

#include "config/peer_config.h"
#include "storage/spool.h"
#include "storage/study_store.h"

namespace node::deliver {

struct CommitmentStats {
  std::uint64_t asked = 0, ask_failures = 0;        // N-ACTION to the peer.
  std::uint64_t reported = 0, report_failures = 0;  // N-EVENT-REPORT to it.
};

class CommitmentWorker {
 public:
  // `peer`: one with host and port.
  static std::unique_ptr<CommitmentWorker> start(config::DeliveryConfig config, config::PeerConfig peer,
                                                 const storage::Spool& spool, storage::StudyStore& store);
  ~CommitmentWorker();  // As stop().

  // Finishes the association in hand and joins. May be called twice.
  void stop();
  CommitmentStats stats() const;

 private:
  struct Impl;
  explicit CommitmentWorker(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace node::deliver
