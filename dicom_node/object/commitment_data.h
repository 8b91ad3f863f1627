// CommitmentData: what N-ACTION and N-EVENT-REPORT of storage commitment carry, in both directions.
//
// Threads: reentrant.
// Source:  PS3.4 J.3.2 (N-ACTION), J.3.3 (N-EVENT-REPORT); PS3.3 C.14 (Failure Reason).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/base/status.h"
#include "storage/study_store.h"

class DcmItem;

namespace node::object {

inline constexpr std::uint16_t kActionRequestCommitment = 1;  // Action Type ID
inline constexpr std::uint16_t kEventAllCommitted = 1;        // Event Type ID
inline constexpr std::uint16_t kEventFailuresExist = 2;

inline constexpr std::uint16_t kNotSafeYet = 0x0110;      // Failure Reason (0008,1197): processing failure.
inline constexpr std::uint16_t kNoSuchInstance = 0x0112;
inline constexpr std::uint16_t kClassInstanceConflict = 0x0119;
inline constexpr std::size_t kCommitmentReferencesMax = 10'000;

struct CommitmentData {
  std::string transaction_uid;
  std::vector<storage::SopReference> referenced;     // Asked for; in a report: committed.
  std::vector<storage::CommitmentFailure> failed{};  // In a report.
};

// Errors: kInvalidArgument: no or an invalid Transaction UID, a reference without valid UIDs, none at all, too many.
Result<CommitmentData> decode_commitment(DcmItem& data_set);
void encode_commitment(const CommitmentData& data, DcmItem& data_set);

}  // namespace node::object
