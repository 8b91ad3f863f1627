// judge_commitment: what is said to a peer that asks whether what it sent is safe.
//
// Guarantee: what is called committed because it lies here was read and has the digest it was stored with; a file that
//            is gone or has other bytes is logged as data_loss, remembered (Spool::lost()) and reported as failed.
// Threads:   reentrant. Reads every file that is asked for: not for a thread that others wait for.
// Source:    PS3.4 J.3.3; PS3.3 C.14 (Failure Reason).
#pragma once

#include <functional>

#include "config/base/status.h"
#include "dicom_node/object/commitment_data.h"
#include "storage/spool.h"
#include "storage/study_store.h"

namespace node::object {

struct CommitmentVerdict {
  CommitmentData report{"", {}};
  bool waits = false;  // Something of report.failed is held and not delivered yet: it may become safe.
};

// Failure Reasons: kNoSuchInstance: not held, or lost; kClassInstanceConflict: held under another SOP class;
// kNotSafeYet: it is held and waits for its delivery, or that was given up. `after_delivery`: as
// StudyStore::safety_of(). Errors: those of the store; kUnavailable once `stopping()` says so.
Result<CommitmentVerdict> judge_commitment(const CommitmentData& request, storage::StudyStore& store,
                                           const storage::Spool& spool, bool after_delivery,
                                           const std::function<bool()>& stopping);

}  // namespace node::object
