// Commitment: what is said to storage commitment messages that peers send us.
//
// Guarantee: a request is durable before it is answered 0000; so is a report.
// Threads:   any.
// Source:    PS3.4 J.3.2, J.3.3; PS3.7 Annex C (status codes).
#pragma once

#include <cstdint>
#include <string>

#include "config/base/status.h"
#include "config/peer_config.h"
#include "dicom_node/object/commitment_data.h"
#include "dicom_node/receive/command_set.h"
#include "storage/study_store.h"

class DcmItem;

namespace node::receive {

inline constexpr std::uint16_t kNoSuchInstanceStatus = 0x0112;
inline constexpr std::uint16_t kInvalidArgumentValue = 0x0115;
inline constexpr std::uint16_t kNoSuchAction = 0x0123;
inline constexpr std::uint16_t kNoSuchEvent = 0x0113;
inline constexpr std::uint16_t kResourceLimitation = 0x0213;

struct CommitmentAnswer {
  std::uint16_t status = 0;
  std::string reason;        // For the log.
  bool report_here = false;  // On the same association: `report` is what to say.
  object::CommitmentData report{"", {}};
};

class Commitment {
 public:
  // Both must outlive it.
  Commitment(const config::ReceiveConfig& config, storage::StudyStore& store) : config_(config), store_(store) {}

  // An N-ACTION of `peer`, its name in the configuration or its AE title. It is reported on an association of ours, or,
  // to a peer that we cannot call or that is configured so, on this one.
  CommitmentAnswer request(const Command& command, DcmItem& data_set, const std::string& peer);
  // An N-EVENT-REPORT about what we asked `peer`.
  CommitmentAnswer report(const Command& command, DcmItem& data_set, const std::string& peer);

 private:
  const config::ReceiveConfig& config_;
  storage::StudyStore& store_;
};

}  // namespace node::receive
