#include "dicom_node/receive/commitment.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcuid.h>
#include <fmt/format.h>

#include <algorithm>

#include "dicom_node/receive/intake.h"

namespace node::receive {
namespace {

CommitmentAnswer refused(std::uint16_t status, const std::string& reason) {
  CommitmentAnswer answer;
  answer.status = status;
  answer.reason = reason;
  return answer;
}

bool is_commitment(const Command& command) {
  return command.sop_class_uid == UID_StorageCommitmentPushModelSOPClass &&
         command.sop_instance_uid == UID_StorageCommitmentPushModelSOPInstance;
}

}  // namespace

CommitmentAnswer Commitment::request(const Command& command, DcmItem& data_set, const std::string& peer) {
  if (!is_commitment(command)) return refused(kNoSuchInstanceStatus, "not of the push model's instance");
  if (command.type_id != object::kActionRequestCommitment) return refused(kNoSuchAction, "another action");
  auto data = object::decode_commitment(data_set);
  if (!data.ok()) return refused(kInvalidArgumentValue, data.status().message());

  CommitmentAnswer answer;
  const auto known = std::find_if(config_.peers.begin(), config_.peers.end(),
                                  [&](const config::PeerConfig& one) { return one.name == peer; });
  const bool callable = known != config_.peers.end() && known->port != 0;
  if (callable && !known->commitment_same_association) {
    const Status added = store_.add_commitment_request(peer, data->transaction_uid, data->referenced);
    return added.ok() ? answer : refused(kProcessingFailure, added.message());
  }
  answer.report_here = true;
  answer.report.transaction_uid = data->transaction_uid;
  for (const storage::SopReference& reference : data->referenced) {
    const auto safety = store_.safety_of(reference, config_.commit_after_delivery);
    if (!safety.ok()) return refused(kProcessingFailure, safety.status().message());
    switch (*safety) {
      case storage::Safety::kSafe: answer.report.referenced.push_back(reference); break;
      case storage::Safety::kOtherClass:
        answer.report.failed.push_back({reference, object::kClassInstanceConflict});
        break;
      case storage::Safety::kWaits: answer.report.failed.push_back({reference, kProcessingFailure}); break;
      case storage::Safety::kUnknown: answer.report.failed.push_back({reference, object::kNoSuchInstance}); break;
    }
  }
  return answer;
}

CommitmentAnswer Commitment::report(const Command& command, DcmItem& data_set, const std::string& peer) {
  if (!is_commitment(command)) return refused(kNoSuchInstanceStatus, "not of the push model's instance");
  if (command.type_id != object::kEventAllCommitted && command.type_id != object::kEventFailuresExist) {
    return refused(kNoSuchEvent, "another event");
  }
  auto data = object::decode_commitment(data_set);
  if (!data.ok()) return refused(kInvalidArgumentValue, data.status().message());
  const auto known = store_.end_commitment(peer, data->transaction_uid, data->referenced, data->failed);
  if (!known.ok()) return refused(kProcessingFailure, known.status().message());
  CommitmentAnswer answer;
  answer.reason = fmt::format("{} committed, {} not{}", data->referenced.size(), data->failed.size(),
                              *known ? "" : "; of no transaction that is open");
  return answer;
}

}  // namespace node::receive
