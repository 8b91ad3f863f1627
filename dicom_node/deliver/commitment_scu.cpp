#include "dicom_node/deliver/commitment_scu.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmnet/dimse.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <memory>

#include "dicom_node/deliver/requestor.h"
#include "dicom_node/object/crash_point.h"

namespace node::deliver {
namespace {

constexpr const char* kClass = UID_StorageCommitmentPushModelSOPClass;
constexpr const char* kInstance = UID_StorageCommitmentPushModelSOPInstance;

Result<T_ASC_PresentationContextID> associate(Requestor& requestor, const config::DeliveryConfig& config,
                                              const config::PeerConfig& peer, T_ASC_SC_ROLE role) {
  NODE_RETURN_IF_ERROR(requestor.associate(config, peer, [role](T_ASC_Parameters* parameters) {
    const char* syntaxes[] = {UID_LittleEndianExplicitTransferSyntax, UID_LittleEndianImplicitTransferSyntax};
    ASC_addPresentationContext(parameters, 1, kClass, syntaxes, 2, role);
  }));
  const T_ASC_PresentationContextID context = ASC_findAcceptedPresentationContextID(requestor.association, kClass);
  if (context == 0) return unsupported(peer.ae_title + " accepts no storage commitment");
  return context;
}

// One request and its answer's status.
Result<std::uint16_t> exchange(Requestor& requestor, T_ASC_PresentationContextID context, T_DIMSE_Message& request,
                               const object::CommitmentData& data, T_DIMSE_Command expected) {
  DcmDataset data_set;
  object::encode_commitment(data, data_set);
  OFCondition condition =
      DIMSE_sendMessageUsingMemoryData(requestor.association, context, &request, nullptr, &data_set, nullptr, nullptr);
  T_DIMSE_Message response{};
  T_ASC_PresentationContextID answered = 0;
  DcmDataset* detail = nullptr;
  if (condition.good()) {
    condition = DIMSE_receiveCommand(requestor.association, DIMSE_NONBLOCKING, requestor.dimse_timeout_s, &answered,
                                     &response, &detail);
  }
  const std::unique_ptr<DcmDataset> owned(detail);
  if (condition.bad() || response.CommandField != expected) {
    requestor.broken = true;
    return unavailable(condition.bad() ? words(condition) : "an unexpected answer");
  }
  const bool action = expected == DIMSE_N_ACTION_RSP;
  const auto has_data = action ? response.msg.NActionRSP.DataSetType : response.msg.NEventReportRSP.DataSetType;
  if (has_data == DIMSE_DATASET_PRESENT) {  // Nothing that we want to know.
    DcmDataset* reply = nullptr;
    condition = DIMSE_receiveDataSetInMemory(requestor.association, DIMSE_NONBLOCKING, requestor.dimse_timeout_s,
                                             &answered, &reply, nullptr, nullptr);
    delete reply;
    if (condition.bad()) requestor.broken = true;
  }
  return action ? response.msg.NActionRSP.DimseStatus : response.msg.NEventReportRSP.DimseStatus;
}

// A report on the association over which was asked, if one comes in time: recorded, then answered.
void await_report(Requestor& requestor, const std::string& peer, std::chrono::seconds wait,
                  const std::function<Status(const object::CommitmentData&)>& record) {
  T_DIMSE_Message request{};
  T_ASC_PresentationContextID context = 0;
  DcmDataset* detail = nullptr;
  OFCondition condition = DIMSE_receiveCommand(requestor.association, DIMSE_NONBLOCKING, static_cast<int>(wait.count()),
                                               &context, &request, &detail);
  delete detail;
  if (condition == DIMSE_NODATAAVAILABLE) return;
  if (condition.bad() || request.CommandField != DIMSE_N_EVENT_REPORT_RQ ||
      request.msg.NEventReportRQ.DataSetType != DIMSE_DATASET_PRESENT) {
    requestor.broken = true;
    return;
  }
  DcmDataset* received = nullptr;
  condition = DIMSE_receiveDataSetInMemory(requestor.association, DIMSE_NONBLOCKING, requestor.dimse_timeout_s,
                                           &context, &received, nullptr, nullptr);
  const std::unique_ptr<DcmDataset> data_set(received);
  if (condition.bad() || !data_set) {
    requestor.broken = true;
    return;
  }
  const auto report = object::decode_commitment(*data_set);
  const Status recorded = report.ok() ? record(*report) : report.status();
  object::crash_point("commitment_recorded");
  T_DIMSE_Message response{};
  response.CommandField = DIMSE_N_EVENT_REPORT_RSP;
  T_DIMSE_N_EventReportRSP& answer = response.msg.NEventReportRSP;
  answer.MessageIDBeingRespondedTo = request.msg.NEventReportRQ.MessageID;
  answer.DimseStatus = recorded.ok()                                       ? STATUS_Success
                       : !report.ok()                                      ? STATUS_N_InvalidArgumentValue
                       : recorded.code() == StatusCode::kResourceExhausted ? STATUS_N_ResourceLimitation
                                                                           : STATUS_N_ProcessingFailure;
  answer.DataSetType = DIMSE_DATASET_NULL;
  if (DIMSE_sendMessageUsingMemoryData(requestor.association, context, &response, nullptr, nullptr, nullptr, nullptr)
          .bad()) {
    requestor.broken = true;
  }
  object::crash_point("commitment_answered");
  spdlog::log(recorded.ok() ? spdlog::level::info : spdlog::level::warn,
              "event=commitment_report peer={} status={:#06x} same_association=true reason=\"{}\"", peer,
              answer.DimseStatus, recorded.message());
}

}  // namespace

Status ask_for_commitment(const config::DeliveryConfig& config, const config::PeerConfig& peer,
                          const object::CommitmentData& request, std::chrono::seconds same_association,
                          const std::function<Status(const object::CommitmentData&)>& record) {
  Requestor requestor;
  NODE_ASSIGN_OR_RETURN(const auto context, associate(requestor, config, peer, ASC_SC_ROLE_DEFAULT));
  T_DIMSE_Message message{};
  message.CommandField = DIMSE_N_ACTION_RQ;
  T_DIMSE_N_ActionRQ& action = message.msg.NActionRQ;
  action.MessageID = requestor.association->nextMsgID++;
  OFStandard::strlcpy(action.RequestedSOPClassUID, kClass, sizeof action.RequestedSOPClassUID);
  OFStandard::strlcpy(action.RequestedSOPInstanceUID, kInstance, sizeof action.RequestedSOPInstanceUID);
  action.ActionTypeID = object::kActionRequestCommitment;
  action.DataSetType = DIMSE_DATASET_PRESENT;
  NODE_ASSIGN_OR_RETURN(const std::uint16_t status, exchange(requestor, context, message, request, DIMSE_N_ACTION_RSP));
  if (status != STATUS_Success) return unsupported(fmt::format("N-ACTION: answered {:04X}H", status));
  object::crash_point("commitment_asked");
  await_report(requestor, peer.name, same_association, record);
  return ok_status();
}

Status takes_commitment(const config::DeliveryConfig& config, const config::PeerConfig& peer) {
  Requestor requestor;
  return associate(requestor, config, peer, ASC_SC_ROLE_DEFAULT).status();
}

Status takes_reports(const config::DeliveryConfig& config, const config::PeerConfig& peer) {
  Requestor requestor;
  return associate(requestor, config, peer, ASC_SC_ROLE_SCP).status();
}

Status report_commitment(const config::DeliveryConfig& config, const config::PeerConfig& peer,
                         const object::CommitmentData& report) {
  Requestor requestor;
  NODE_ASSIGN_OR_RETURN(const auto context, associate(requestor, config, peer, ASC_SC_ROLE_SCP));
  T_DIMSE_Message message{};
  message.CommandField = DIMSE_N_EVENT_REPORT_RQ;
  T_DIMSE_N_EventReportRQ& event = message.msg.NEventReportRQ;
  event.MessageID = requestor.association->nextMsgID++;
  OFStandard::strlcpy(event.AffectedSOPClassUID, kClass, sizeof event.AffectedSOPClassUID);
  OFStandard::strlcpy(event.AffectedSOPInstanceUID, kInstance, sizeof event.AffectedSOPInstanceUID);
  event.EventTypeID = report.failed.empty() ? object::kEventAllCommitted : object::kEventFailuresExist;
  event.DataSetType = DIMSE_DATASET_PRESENT;
  NODE_ASSIGN_OR_RETURN(const std::uint16_t status,
                        exchange(requestor, context, message, report, DIMSE_N_EVENT_REPORT_RSP));
  if (status != STATUS_Success) return unsupported(fmt::format("N-EVENT-REPORT: answered {:04X}H", status));
  return ok_status();
}

}  // namespace node::deliver
