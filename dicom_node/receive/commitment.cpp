#include "dicom_node/receive/commitment.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmnet/assoc.h>
#include <dcmtk/dcmnet/dimse.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>

#include "dicom_node/object/commitment_verdict.h"
#include "dicom_node/object/part10.h"
#include "dicom_node/receive/intake.h"
#include "dicom_node/receive/message_io.h"

namespace node::receive {

struct Commitment::Answer {
  std::uint16_t status = kSuccess;
  std::string reason{};                                 // For the log.
  std::optional<object::CommitmentData> report_here{};  // To be reported on over the same association.
};

namespace {

constexpr std::uint64_t kDataSetBytesMax = 4 * 1024 * 1024;  // Ten thousand references have some two.

// What the store or the spool say.
std::uint16_t status_of(const Status& failure) {
  return failure.code() == StatusCode::kResourceExhausted ? kResourceLimitation : kProcessingFailure;
}

bool is_commitment(const Command& command) {
  return command.sop_class_uid == UID_StorageCommitmentPushModelSOPClass &&
         command.sop_instance_uid == UID_StorageCommitmentPushModelSOPInstance;
}

}  // namespace

bool Commitment::answer(CommitmentChannel& channel, std::uint8_t context, const Command& command) {
  const bool action = command.field == DIMSE_N_ACTION_RQ;
  DcmFileFormat received;
  Status problem;
  if (!receive(channel, context, received, problem)) return false;
  const Answer answer = !problem.ok() && problem.code() == StatusCode::kInvalidArgument
                            ? Answer{kInvalidArgumentValue, problem.message()}
                        : !problem.ok() ? Answer{status_of(problem), problem.message()}
                        : action        ? request(command, *received.getDataset(), channel.peer)
                                        : report(command, *received.getDataset(), channel.peer);
  spdlog::log(answer.status == kSuccess ? spdlog::level::info : spdlog::level::warn,
              "event={} association={} peer={} status={:#06x} reason=\"{}\"",
              action ? "commitment_request" : "commitment_report", channel.number, printable(channel.peer),
              answer.status, answer.reason);
  T_DIMSE_Message response{};
  if (action) {
    response.CommandField = DIMSE_N_ACTION_RSP;
    T_DIMSE_N_ActionRSP& reply = response.msg.NActionRSP;
    reply.MessageIDBeingRespondedTo = command.message_id;
    reply.DimseStatus = answer.status;
    reply.DataSetType = DIMSE_DATASET_NULL;
  } else {
    response.CommandField = DIMSE_N_EVENT_REPORT_RSP;
    T_DIMSE_N_EventReportRSP& reply = response.msg.NEventReportRSP;
    reply.MessageIDBeingRespondedTo = command.message_id;
    reply.DimseStatus = answer.status;
    reply.DataSetType = DIMSE_DATASET_NULL;
  }
  if (!check_sent(channel.reader, channel.number,
                  DIMSE_sendMessageUsingMemoryData(channel.association, context, &response, nullptr, nullptr, nullptr,
                                                   nullptr))) {
    return false;
  }
  return !answer.report_here || report_here(channel, context, *answer.report_here);
}

// Through a file, so that it is walked with our own bounds before DCMTK parses it. False: the association is over.
bool Commitment::receive(CommitmentChannel& channel, std::uint8_t context_id, DcmFileFormat& into, Status& problem) {
  T_ASC_PresentationContext context{};
  if (ASC_findAcceptedPresentationContext(channel.association->params, context_id, &context).bad()) {
    return channel.reader.fail("a context that was not accepted");
  }
  auto file = spool_.begin_in_reserve();
  if (file.ok()) {
    const std::string meta =
        object::encode_meta_header(context.abstractSyntax, "1.2.3", context.acceptedTransferSyntax, "");
    if (Status written = file->append(meta.data(), meta.size()); !written.ok()) file = written;
  }
  DataSetWriter writer(file.ok() ? &*file : nullptr, kDataSetBytesMax);
  if (!read_data_set(channel.reader, context_id, writer)) return false;
  problem = !file.ok()               ? file.status()
            : writer.too_large()     ? resource_exhausted("a data set of unlikely length")
            : !writer.written().ok() ? writer.written()
                                     : file->flush();
  if (problem.ok()) problem = object::load_dataset(file->path(), into, object::Extent::kWithPixelData);
  return true;
}

Commitment::Answer Commitment::request(const Command& command, DcmItem& data_set, const std::string& peer) {
  if (!is_commitment(command)) return {kNoSuchInstanceStatus, "not of the push model's instance"};
  if (command.type_id != object::kActionRequestCommitment) return {kNoSuchAction, "another action"};
  auto data = object::decode_commitment(data_set);
  if (!data.ok()) return {kInvalidArgumentValue, data.status().message()};

  const auto callers = callers_.get();
  const auto known = std::find_if(callers->peers.begin(), callers->peers.end(),
                                  [&](const config::PeerConfig& one) { return one.name == peer; });
  const bool callable = known != callers->peers.end() && known->port != 0;
  if (!callable || known->commitment_same_association) return {kSuccess, "", *std::move(data)};
  const Status added = store_.add_commitment_request(peer, data->transaction_uid, data->referenced);
  return added.ok() ? Answer() : Answer{status_of(added), added.message()};
}

Commitment::Answer Commitment::report(const Command& command, DcmItem& data_set, const std::string& peer) {
  if (!is_commitment(command)) return {kNoSuchInstanceStatus, "not of the push model's instance"};
  if (command.type_id != object::kEventAllCommitted && command.type_id != object::kEventFailuresExist) {
    return {kNoSuchEvent, "another event"};
  }
  auto data = object::decode_commitment(data_set);
  if (!data.ok()) return {kInvalidArgumentValue, data.status().message()};
  const auto known = store_.end_commitment(peer, data->transaction_uid, data->referenced, data->failed);
  if (!known.ok()) return {status_of(known.status()), known.status().message()};
  return {kSuccess, fmt::format("{} committed, {} not{}", data->referenced.size(), data->failed.size(),
                                *known ? "" : "; of no transaction that is open")};
}

bool Commitment::report_here(CommitmentChannel& channel, std::uint8_t context, const object::CommitmentData& request) {
  const auto verdict = judge_commitment(request, store_, spool_, config_.commit_after_delivery, stopping_);
  object::CommitmentData report{request.transaction_uid, {}};
  if (verdict.ok()) {
    report = verdict->report;
  } else {  // Nobody knows: the peer keeps what it has.
    for (const auto& reference : request.referenced) report.failed.push_back({reference, object::kNotSafeYet});
  }
  spdlog::log(report.failed.empty() ? spdlog::level::info : spdlog::level::warn,
              "event=commitment_reporting association={} peer={} transaction_uid={} safe={} not_safe={} reason=\"{}\"",
              channel.number, printable(channel.peer), request.transaction_uid, report.referenced.size(),
              report.failed.size(), verdict.status().message());
  DcmDataset data_set;
  object::encode_commitment(report, data_set);
  T_DIMSE_Message message{};
  message.CommandField = DIMSE_N_EVENT_REPORT_RQ;
  T_DIMSE_N_EventReportRQ& event = message.msg.NEventReportRQ;
  event.MessageID = channel.next_message_id++;
  OFStandard::strlcpy(event.AffectedSOPClassUID, UID_StorageCommitmentPushModelSOPClass,
                      sizeof event.AffectedSOPClassUID);
  OFStandard::strlcpy(event.AffectedSOPInstanceUID, UID_StorageCommitmentPushModelSOPInstance,
                      sizeof event.AffectedSOPInstanceUID);
  event.EventTypeID = report.failed.empty() ? object::kEventAllCommitted : object::kEventFailuresExist;
  event.DataSetType = DIMSE_DATASET_PRESENT;
  ++channel.reports_out;
  return check_sent(
      channel.reader, channel.number,
      DIMSE_sendMessageUsingMemoryData(channel.association, context, &message, nullptr, &data_set, nullptr, nullptr));
}

}  // namespace node::receive
