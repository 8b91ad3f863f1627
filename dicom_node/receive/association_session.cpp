#include "dicom_node/receive/association_session.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmnet/assoc.h>
#include <dcmtk/dcmnet/dimse.h>
#include <fcntl.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <string_view>
#include <utility>

#include "dicom_node/object/part10.h"
#include "dicom_node/receive/dcmtk_association.h"
#include "dicom_node/receive/message_io.h"
#include "dicom_node/receive/presentation_contexts.h"

namespace node::receive {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kPeerCloses{5'000};
constexpr std::size_t kStudiesOfAMessage = 100;  // Of the audit trail; an association may last for months.
constexpr std::array<unsigned char, 10> kReleaseRp = {0x06, 0, 0, 0, 0, 4};  // DCMTK has not seen the request.
static_assert(kPduBytesMax <= ASC_MAXIMUMPDUSIZE);

std::string trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\0')) text.remove_suffix(1);
  return std::string(text);
}

// What the caller has shown, for the log: "sha256:..."
std::string shown(const Caller& caller) { return caller.certificate ? "sha256:" + caller.certificate->sha256 : "-"; }

// DCMTK's own is of the process: one value for whoever calls and whomever we call.
void bound_writes(int socket, std::chrono::seconds timeout) {
  const timeval time{timeout.count(), 0};
  ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
}

}  // namespace

void Tally::count(const IntakeAnswer& answer) {
  MutexLock lock(mutex_);
  if (answer.status != kSuccess) ++counts_.refused_by_status[answer.status];
  const bool is_new = answer.outcome == Outcome::kStored || answer.outcome == Outcome::kCorrection;
  if (is_new && answer.route.tasks.empty() && answer.route.pending.empty()) ++counts_.not_analysed_total;
  switch (answer.outcome) {
    case Outcome::kStored: ++counts_.received_total; break;
    case Outcome::kResend: ++counts_.resends_total; break;
    case Outcome::kCorrection: ++counts_.corrections_total; break;
    case Outcome::kConflict: ++counts_.conflicts_total; break;
    case Outcome::kOwnResult: ++counts_.own_results_total; break;
    case Outcome::kRefused:
    case Outcome::kStoreFailed: break;
  }
}

StoreScpStats Tally::stats() const {
  MutexLock lock(mutex_);
  StoreScpStats stats = counts_;
  stats.store_seconds = store_seconds_.snapshot();
  return stats;
}

AssociationSession::AssociationSession(Reception& reception, std::uint64_t number, int socket, const Caller& caller)
    : reception_(reception),
      number_(number),
      socket_(socket),
      caller_(caller),
      reader_(socket, reception.stop_event,
              {kPduBytesMax, reception.config.dimse_timeout, reception.config.message_timeout}) {}

AssociationSession::~AssociationSession() {
  if (!accepted_) return;
  reception_.tally.change([this](StoreScpStats& counts) {
    --counts.associations_open;
    if (!released_) ++counts.aborted_total;
  });
}

void AssociationSession::run() {
  DcmtkAssociation dcmtk;
  const int descriptor = ::fcntl(socket_, F_DUPFD_CLOEXEC, 0);
  if (descriptor < 0) return;
  const config::ReceiveConfig& config = reception_.config;
  const OFCondition request = dcmtk.receive_request(descriptor, kPduBytesMax, config.acse_timeout);
  if (request.bad()) {
    spdlog::warn("event=association_rejected association={} host={} reason=\"malformed request\" code={}", number_,
                 caller_.host, code_of(request));
    return reception_.tally.change([](StoreScpStats& counts) { ++counts.rejected_other_total; });
  }
  bound_writes(socket_, std::min(config.dimse_timeout, config.message_timeout));
  association_ = dcmtk.association;
  if (!accept_request()) return await_close();
  finish(answer_requests());
}

// Of an association that was accepted.
void AssociationSession::finish(Ending ending) {
  if (brought_) end(reception_.store, number_, whole_study_ && ending == Ending::kReleased);
  say_received();
  if (ending == Ending::kReleased) {
    ::send(socket_, kReleaseRp.data(), kReleaseRp.size(), MSG_NOSIGNAL);
    await_close();
  } else if (ending != Ending::kPeerAborted && ending != Ending::kPeerGone) {
    // DCMTK would read on for as long as the peer sends; what it has to say is of no interest any more.
    ::shutdown(socket_, SHUT_RD);
    ASC_abortAssociation(association_);
  }
  spdlog::log(ending == Ending::kReleased ? spdlog::level::info : spdlog::level::warn,
              "event=association_end association={} peer={} ending={}", number_, printable(sender_.name),
              to_string(ending));
  released_ = ending == Ending::kReleased;
}

void AssociationSession::say_received() {
  if (!studies_.empty()) audit::received({sender_.name, caller_.host}, studies_);
  studies_.clear();
}

void AssociationSession::end(storage::StudyStore& store, std::uint64_t number, bool whole_study) {
  const Status ended = store.end_association(number, whole_study);
  if (ended.ok()) return;
  spdlog::warn(
      "event=association_end_not_recorded association={} reason=\"{}: its study closes once the store works again\"",
      number, ended.message());
}

// After a rejection or a release the peer closes, PS3.8 state 13: a connection closed from here may lose the answer.
void AssociationSession::await_close() const {
  pollfd descriptors[2] = {{socket_, POLLIN, 0}, {reception_.stop_event, POLLIN, 0}};
  ::poll(descriptors, 2, static_cast<int>(kPeerCloses.count()));
}

bool AssociationSession::accept_request() {
  T_ASC_Parameters& parameters = *association_->params;
  char calling_text[DUL_LEN_TITLE + 1] = {}, called_text[DUL_LEN_TITLE + 1] = {}, context_text[DUL_LEN_NAME + 1] = {};
  ASC_getAPTitles(&parameters, calling_text, sizeof calling_text, called_text, sizeof called_text, nullptr, 0);
  ASC_getApplicationContextName(&parameters, context_text, sizeof context_text);
  calling_ = trimmed(calling_text);
  called_ = trimmed(called_text);
  const config::ReceiveConfig& config = reception_.config;

  if (context_text != std::string_view(UID_StandardApplicationContext)) {
    return reject(kWrongApplicationContext, &StoreScpStats::rejected_other_total);
  }
  if (called_ != config.ae_title) return reject(kWrongCalledAeTitle, &StoreScpStats::rejected_called_ae_total);
  // Its association could not even be accepted: DCMTK makes no answer without a title.
  if (calling_.empty()) return reject(kNoCallingAeTitle, &StoreScpStats::rejected_calling_ae_total);
  const auto rules = reception_.callers.get();
  const config::PeerConfig* peer = find_peer(rules->peers, calling_, caller_.host);
  // A stranger whose title is a peer's name would pass for it in routes and be spared what its rules ask.
  const bool takes_a_name = std::any_of(rules->peers.begin(), rules->peers.end(),
                                        [this](const config::PeerConfig& known) { return known.name == calling_; });
  if (peer == nullptr && (!rules->accept_unknown || takes_a_name)) {
    return reject(kUnknownCallingAeTitle, &StoreScpStats::rejected_calling_ae_total);
  }
  if (rules->check_hosts && peer != nullptr && !peer->host.empty() && !resolves_to(peer->host, caller_.host)) {
    return reject(kWrongHost, &StoreScpStats::rejected_calling_ae_total);
  }
  if (peer != nullptr && peer->tls.on && !caller_.tls) {
    return reject(kWithoutTls, &StoreScpStats::rejected_certificate_total);
  }
  if (peer != nullptr && !peer->certificates.empty() &&
      !(caller_.certificate && caller_.certificate->is_any(peer->certificates))) {
    return reject(kWrongCertificate, &StoreScpStats::rejected_certificate_total);
  }
  sender_ = peer != nullptr ? Sender{peer->name, peer->study_quiet_period} : Sender{.name = calling_};
  sender_.association = number_;
  whole_study_ = peer != nullptr && peer->whole_study_per_association;
  if (!reception_.has_room_for(number_, sender_.name, peer != nullptr ? peer->associations_max : 0)) {
    return reject(kTooManyAssociations, &StoreScpStats::rejected_limit_total);
  }

  const int contexts = negotiate(parameters, config);
  if (contexts == 0) return reject(kNothingAcceptable, &StoreScpStats::rejected_other_total);
  const OFCondition acknowledged = ASC_acknowledgeAssociation(association_);
  if (acknowledged.bad()) {
    spdlog::warn("event=association_failed association={} host={} code={}", number_, caller_.host,
                 code_of(acknowledged));
    return false;
  }
  spdlog::info("event=association association={} peer={} host={} calling={} certificate={} contexts={}", number_,
               printable(sender_.name), caller_.host, printable(calling_), shown(caller_), contexts);
  reception_.tally.change([](StoreScpStats& counts) {
    ++counts.associations_open;
    ++counts.associations_total;
  });
  return accepted_ = true;
}

// Always false.
bool AssociationSession::reject(const Rejection& why, std::uint64_t StoreScpStats::*counter) {
  const T_ASC_RejectParameters rejection{static_cast<T_ASC_RejectParametersResult>(why.result),
                                         static_cast<T_ASC_RejectParametersSource>(why.source),
                                         static_cast<T_ASC_RejectParametersReason>(why.source << 8 | why.reason)};
  ASC_rejectAssociation(association_, &rejection);
  audit::refused({calling_, caller_.host}, std::string(why.meaning));
  spdlog::warn("event=association_rejected association={} host={} calling={} called={} certificate={} reason=\"{}\"",
               number_, caller_.host, printable(calling_), printable(called_), shown(caller_), why.meaning);
  reception_.tally.change([counter](StoreScpStats& counts) { ++(counts.*counter); });
  return false;
}

// Until the association ends, one way or another.
Ending AssociationSession::answer_requests() {
  CommitmentChannel channel{number_, sender_.name, association_, reader_};
  while (true) {
    std::uint8_t context = 0;
    const std::optional<Command> command = read_command(context);
    bool answered = command.has_value();
    if (answered) {
      if (command->field == DIMSE_C_ECHO_RQ && !command->has_data_set) {
        answered = answer_echo(context, *command);
      } else if (command->field == DIMSE_C_STORE_RQ && command->has_data_set) {
        answered = answer_store(context, *command);
      } else if ((command->field == DIMSE_N_ACTION_RQ || command->field == DIMSE_N_EVENT_REPORT_RQ) &&
                 command->has_data_set) {
        answered = reception_.commitment.answer(channel, context, *command);
      } else if (command->field == DIMSE_N_EVENT_REPORT_RSP && !command->has_data_set && channel.reports_out > 0) {
        --channel.reports_out;
        spdlog::info("event=commitment_reported association={} peer={} answer={:#06x}", number_,
                     printable(sender_.name), command->status);
      } else if (command->field != DIMSE_C_CANCEL_RQ) {
        answered = reader_.fail("an unexpected command");
      }
    }
    if (answered) {
      reader_.end_message();
      continue;
    }
    if (reader_.ending() == Ending::kProtocol) {
      spdlog::warn("event=protocol_error association={} reason=\"{}\"", number_, reader_.problem());
    }
    return reader_.ending();
  }
}

// Nothing: the association is over.
std::optional<Command> AssociationSession::read_command(std::uint8_t& context) {
  std::string bytes;
  PresentationDataValue value;
  for (bool first = true; first || !value.is_last; first = false) {
    if (!reader_.next(value)) return std::nullopt;
    const char* const problem = !value.is_command                    ? "data without a command"
                                : !first && value.context != context ? "a command in two contexts"
                                : bytes.size() + value.fragment.size() > kCommandBytesMax
                                    ? "a command of unlikely length"
                                    : nullptr;
    if (problem != nullptr) {
      reader_.fail(problem);
      return std::nullopt;
    }
    context = value.context;
    bytes.append(value.fragment);
  }
  Result<Command> command = parse_command(bytes);
  if (command.ok()) return *std::move(command);
  reader_.fail("a command set that cannot be read");
  return std::nullopt;
}

bool AssociationSession::answer_echo(std::uint8_t context, const Command& command) {
  T_DIMSE_C_EchoRQ request{};
  request.MessageID = command.message_id;
  OFStandard::strlcpy(request.AffectedSOPClassUID, UID_VerificationSOPClass, sizeof request.AffectedSOPClassUID);
  reception_.tally.change([](StoreScpStats& counts) { ++counts.echoes_total; });
  return check_sent(reader_, number_, DIMSE_sendEchoResponse(association_, context, &request, STATUS_Success, nullptr));
}

// False: the association is over.
bool AssociationSession::answer_store(std::uint8_t context_id, const Command& command) {
  const auto begun = steady_clock::now();
  T_ASC_PresentationContext context{};
  if (ASC_findAcceptedPresentationContext(association_->params, context_id, &context).bad()) {
    return reader_.fail("a context that was not accepted");
  }

  IntakeAnswer answer;
  if (!receive(context, command, answer)) return false;
  reception_.tally.count(answer);
  if (answer.status == kSuccess) ++studies_[answer.study_instance_uid];
  if (studies_.size() >= kStudiesOfAMessage) say_received();
  brought_ |= answer.outcome == Outcome::kStored || answer.outcome == Outcome::kCorrection;

  DcmDataset detail;
  if (!answer.error_comment.empty()) detail.putAndInsertString(DCM_ErrorComment, answer.error_comment.c_str());
  // Not by DIMSE_sendStoreResponse(), which sends nothing where the request lacks one of the two UIDs.
  T_DIMSE_Message message{};
  message.CommandField = DIMSE_C_STORE_RSP;
  T_DIMSE_C_StoreRSP& response = message.msg.CStoreRSP;
  response.MessageIDBeingRespondedTo = command.message_id;
  response.DataSetType = DIMSE_DATASET_NULL;
  response.DimseStatus = answer.status;
  if (!command.sop_class_uid.empty()) response.opts |= O_STORE_AFFECTEDSOPCLASSUID;
  if (!command.sop_instance_uid.empty()) response.opts |= O_STORE_AFFECTEDSOPINSTANCEUID;
  OFStandard::strlcpy(response.AffectedSOPClassUID, command.sop_class_uid.c_str(), sizeof response.AffectedSOPClassUID);
  OFStandard::strlcpy(response.AffectedSOPInstanceUID, command.sop_instance_uid.c_str(),
                      sizeof response.AffectedSOPInstanceUID);
  const OFCondition sent = DIMSE_sendMessageUsingMemoryData(
      association_, context_id, &message, answer.error_comment.empty() ? nullptr : &detail, nullptr, nullptr, nullptr);

  reception_.tally.observe_store(std::chrono::duration<double>(steady_clock::now() - begun).count());
  const auto level = answer.outcome == Outcome::kStoreFailed ? spdlog::level::err
                     : answer.status != kSuccess             ? spdlog::level::warn
                                                             : spdlog::level::info;
  spdlog::log(level,
              "event=c_store association={} peer={} sop={} study={} status={:#06x} outcome={} rule={} tasks={} ms={} "
              "reason=\"{}\"",
              number_, printable(sender_.name), printable(command.sop_instance_uid),
              printable(answer.study_instance_uid), answer.status, to_string(answer.outcome),
              printable(answer.route.rule), answer.route.tasks.size(),
              std::chrono::duration_cast<milliseconds>(steady_clock::now() - begun).count(),
              !answer.detail.ok()             ? answer.detail.message()
              : !answer.error_comment.empty() ? answer.error_comment
                                              : answer.route.reason);
  return check_sent(reader_, number_, sent);
}

// Reads the whole data set, whatever becomes of it: only then may the peer be answered. False: the association is over.
bool AssociationSession::receive(const T_ASC_PresentationContext& context, const Command& command,
                                 IntakeAnswer& answer) {
  auto file =
      reception_.is_stopping() ? Result<storage::IncomingFile>(unavailable("stopping")) : reception_.spool.begin();
  if (file.ok()) {
    const std::string meta = object::encode_meta_header(command.sop_class_uid, command.sop_instance_uid,
                                                        context.acceptedTransferSyntax, calling_);
    if (Status written = file->append(meta.data(), meta.size()); !written.ok()) file = written;
  }

  DataSetWriter writer(file.ok() ? &*file : nullptr, reception_.config.object_bytes_max);
  if (!read_data_set(reader_, context.presentationContextID, writer)) return false;
  reception_.tally.change([&writer](StoreScpStats& counts) { counts.received_bytes += writer.bytes(); });
  if (command.sop_class_uid != context.abstractSyntax || !is_storage_class(command.sop_class_uid, reception_.config)) {
    answer = refusal(kSopClassNotSupported, "SOP class was not accepted for this context");
  } else if (command.sop_instance_uid.empty()) {
    answer = refusal(kDataSetMismatch, "no Affected SOP Instance UID in the request");
  } else if (!file.ok()) {
    answer = refusal(file.status());
  } else if (writer.too_large()) {
    answer = refusal(kOutOfResources, "object larger than this node takes");
  } else if (!writer.written().ok()) {
    answer = refusal(writer.written());
  } else {
    answer = reception_.intake.take(*std::move(file), command, sender_);
  }
  return true;
}

}  // namespace node::receive
