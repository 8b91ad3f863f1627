#include "dicom_node/object/commitment_verdict.h"

#include <spdlog/spdlog.h>

#include <string>

namespace node::object {
namespace {

using storage::Safekeeping;
using storage::Safety;
using storage::SopReference;

// What the row says is believed of the file once it was read. Nothing: the file is lost.
Result<std::optional<Safety>> safety_of(const SopReference& reference, storage::StudyStore& store,
                                        const storage::Spool& spool, bool after_delivery) {
  for (std::string lost_key;;) {
    NODE_ASSIGN_OR_RETURN(const Safekeeping kept, store.safety_of(reference, after_delivery));
    const Status compared = kept.file ? spool.compare(*kept.file) : ok_status();
    if (compared.ok()) return std::optional(kept.safety);
    if (compared.code() != StatusCode::kDataLoss) return compared;  // Nobody can say now.
    // Meanwhile retention may have deleted it, or another version have come.
    if (kept.file->key != lost_key) {
      lost_key = kept.file->key;
      continue;
    }
    const Status lost = spool.verify(*kept.file);
    if (lost.ok()) return std::optional(kept.safety);
    if (lost.code() != StatusCode::kDataLoss) return lost;
    spdlog::error("event=data_loss sop_instance_uid={} reason=\"{}\"", reference.sop_instance_uid, lost.message());
    return std::optional<Safety>();
  }
}

}  // namespace

Result<CommitmentVerdict> judge_commitment(const CommitmentData& request, storage::StudyStore& store,
                                           const storage::Spool& spool, bool after_delivery,
                                           const std::function<bool()>& stopping) {
  CommitmentVerdict verdict;
  verdict.report.transaction_uid = request.transaction_uid;
  for (const SopReference& reference : request.referenced) {
    if (stopping()) return unavailable("stopping");
    NODE_ASSIGN_OR_RETURN(const auto safety, safety_of(reference, store, spool, after_delivery));
    switch (safety.value_or(Safety::kUnknown)) {
      case Safety::kSafe: verdict.report.referenced.push_back(reference); break;
      case Safety::kOtherClass: verdict.report.failed.push_back({reference, kClassInstanceConflict}); break;
      case Safety::kGivenUp: verdict.report.failed.push_back({reference, kNotSafeYet}); break;
      case Safety::kUnknown: verdict.report.failed.push_back({reference, kNoSuchInstance}); break;
      case Safety::kWaits:
        verdict.waits = true;
        verdict.report.failed.push_back({reference, kNotSafeYet});
        break;
    }
  }
  return verdict;
}

}  // namespace node::object
