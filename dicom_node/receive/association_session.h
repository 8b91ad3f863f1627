// AssociationSession: one association, from its request to its end: whether it is taken, and what each of its requests
// is answered.
//
// Guarantee: as StoreScp: what a peer is told is what Intake decided, after it was durable.
// Threads:   a session is one thread's. What Reception holds is shared by all of them, each part with its own lock.
// Source:    PS3.8 9.3 (association), PS3.7 9.1.1, 9.1.5 (C-STORE, C-ECHO), PS3.4 B (storage service class).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "config/base/histogram.h"
#include "config/base/mutex.h"
#include "config/base/replaceable.h"
#include "config/peer_config.h"
#include "dicom_node/audit/audit.h"
#include "dicom_node/receive/association_acceptor.h"
#include "dicom_node/receive/calling_peer.h"
#include "dicom_node/receive/command_set.h"
#include "dicom_node/receive/commitment.h"
#include "dicom_node/receive/intake.h"
#include "dicom_node/receive/pdu_reader.h"
#include "dicom_node/receive/rejection.h"
#include "dicom_node/receive/store_scp.h"
#include "storage/spool.h"
#include "storage/study_store.h"

struct T_ASC_Association;
struct T_ASC_PresentationContext;

namespace node::receive {

// What the sessions count together.
class Tally {
 public:
  template <typename Change>
  void change(const Change& change) {
    MutexLock lock(mutex_);
    change(counts_);
  }
  void count(const IntakeAnswer& answer);
  void observe_store(double seconds) { store_seconds_.observe(seconds); }
  StoreScpStats stats() const;

 private:
  mutable Mutex mutex_;
  StoreScpStats counts_ GUARDED_BY(mutex_);
  Histogram store_seconds_{store_seconds_bounds()};
};

// What the sessions share.
struct Reception {
  const config::ReceiveConfig& config;
  const Replaceable<CallerRules>& callers;
  storage::Spool& spool;
  storage::StudyStore& store;
  Intake& intake;
  Commitment& commitment;
  Tally& tally;
  int stop_event;  // Readable from StoreScp::stop() on.
  std::function<bool()> is_stopping;
  // Whether the association of this number finds room beside those that its peer has; from then on it is this peer's.
  std::function<bool(std::uint64_t number, const std::string& peer, int associations_max)> has_room_for;
};

class AssociationSession {
 public:
  // `socket` stays the caller's; `reception` must outlive the session.
  AssociationSession(Reception& reception, std::uint64_t number, int socket, const Caller& caller);
  AssociationSession(const AssociationSession&) = delete;
  ~AssociationSession();

  // Returns when the association is over; throws where memory or the like runs out, then end() is the caller's to call.
  void run();
  // Lets the store close what this association held open.
  static void end(storage::StudyStore& store, std::uint64_t number, bool whole_study);

 private:
  bool accept_request();
  bool reject(const Rejection& why, std::uint64_t StoreScpStats::*counter);
  Ending answer_requests();
  std::optional<Command> read_command(std::uint8_t& context);
  bool answer_echo(std::uint8_t context, const Command& command);
  bool answer_store(std::uint8_t context, const Command& command);
  bool receive(const T_ASC_PresentationContext& context, const Command& command, IntakeAnswer& answer);
  void finish(Ending ending);
  void say_received();
  void await_close() const;

  Reception& reception_;
  const std::uint64_t number_;
  const int socket_;
  const Caller caller_;
  T_ASC_Association* association_ = nullptr;  // Of run().
  PduReader reader_;
  std::string calling_, called_;  // AE titles, trimmed.
  Sender sender_{};
  bool whole_study_ = false;  // The peer sends a study in one association.
  bool brought_ = false;      // Something new.
  bool accepted_ = false, released_ = false;
  audit::Studies studies_{};  // What was answered with success and the audit trail does not have yet.
};

}  // namespace node::receive
