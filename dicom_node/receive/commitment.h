// Commitment: the messages of storage commitment that peers send us, from their data set to their answer.
//
// Guarantee: a request is durable before it is answered 0000; so is a report. Neither needs more room than the reserve
//            has: on a disk too full for images what was delivered is still committed to, comes to rest and is deleted.
// Threads:   any; an association is one thread's.
// Source:    PS3.4 J.3.2, J.3.3; PS3.7 10.1.1, 10.1.4, Annex C (status codes).
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "config/base/replaceable.h"
#include "config/base/status.h"
#include "config/peer_config.h"
#include "dicom_node/object/commitment_data.h"
#include "dicom_node/receive/calling_peer.h"
#include "dicom_node/receive/command_set.h"
#include "dicom_node/receive/pdu_reader.h"
#include "storage/spool.h"
#include "storage/study_store.h"

class DcmFileFormat;
class DcmItem;
struct T_ASC_Association;

namespace node::receive {

inline constexpr std::uint16_t kNoSuchInstanceStatus = 0x0112;
inline constexpr std::uint16_t kInvalidArgumentValue = 0x0115;
inline constexpr std::uint16_t kNoSuchAction = 0x0123;
inline constexpr std::uint16_t kNoSuchEvent = 0x0113;
inline constexpr std::uint16_t kResourceLimitation = 0x0213;

// An accepted association, over which a peer asks, reports and is reported to.
struct CommitmentChannel {
  std::uint64_t number;  // For the log.
  std::string peer;      // Its name in the configuration, or its AE title.
  T_ASC_Association* association;
  PduReader& reader;
  int reports_out = 0;                // N-EVENT-REPORTs of ours without an answer yet.
  std::uint16_t next_message_id = 1;  // Of these.
};

class Commitment {
 public:
  // All but `stopping` must outlive it; `stopping` cuts short the reading of what a peer asks for.
  Commitment(const config::ReceiveConfig& config, const Replaceable<CallerRules>& callers, storage::Spool& spool,
             storage::StudyStore& store, std::function<bool()> stopping)
      : config_(config), callers_(callers), spool_(spool), store_(store), stopping_(std::move(stopping)) {}

  // An N-ACTION or N-EVENT-REPORT whose command was read. A request is reported on over an association of ours, or, to
  // a peer that we cannot call or that is configured so, over this one after its answer. False: the association is
  // over.
  bool answer(CommitmentChannel& channel, std::uint8_t context, const Command& command);

 private:
  struct Answer;
  bool receive(CommitmentChannel& channel, std::uint8_t context, DcmFileFormat& into, Status& problem);
  Answer request(const Command& command, DcmItem& data_set, const std::string& peer);
  Answer report(const Command& command, DcmItem& data_set, const std::string& peer);
  bool report_here(CommitmentChannel& channel, std::uint8_t context, const object::CommitmentData& request);

  const config::ReceiveConfig& config_;
  const Replaceable<CallerRules>& callers_;
  storage::Spool& spool_;
  storage::StudyStore& store_;
  const std::function<bool()> stopping_;
};

}  // namespace node::receive
