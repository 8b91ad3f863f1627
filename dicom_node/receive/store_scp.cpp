#include "dicom_node/receive/store_scp.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmnet/assoc.h>
#include <dcmtk/dcmnet/dimse.h>
#include <fcntl.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <exception>
#include <list>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "config/base/mutex.h"
#include "config/base/replaceable.h"
#include "dicom_node/audit/audit.h"
#include "dicom_node/object/part10.h"
#include "dicom_node/receive/association_acceptor.h"
#include "dicom_node/receive/calling_peer.h"
#include "dicom_node/receive/command_set.h"
#include "dicom_node/receive/commitment.h"
#include "dicom_node/receive/dcmtk_association.h"
#include "dicom_node/receive/intake.h"
#include "dicom_node/receive/message_io.h"
#include "dicom_node/receive/pdu_reader.h"
#include "dicom_node/receive/presentation_contexts.h"
#include "dicom_node/receive/rejection.h"

namespace node::receive {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kPeerCloses{5'000};
constexpr std::array<unsigned char, 10> kReleaseRp = {0x06, 0, 0, 0, 0, 4};  // DCMTK has not seen the request.
static_assert(kPduBytesMax <= ASC_MAXIMUMPDUSIZE);

std::string trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\0')) text.remove_suffix(1);
  return std::string(text);
}

std::string calling_ae_title(const T_ASC_Association& association) {
  return trimmed(association.params->DULparams.callingAPTitle);
}

// What the caller has shown, for the log: "sha256:..."
std::string shown(const Caller& caller) { return caller.certificate ? "sha256:" + caller.certificate->sha256 : "-"; }

CallerRules caller_rules(const config::ReceiveConfig& config) {
  return {config.peers, config.accept_unknown, config.check_hosts};
}

// Ends a connection under whoever reads from it. With a reset: after a plain shutdown the kernel would leave a peer
// that fills the window waiting for minutes.
void cut(int socket) {
  const linger reset{1, 0};
  ::setsockopt(socket, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  ::shutdown(socket, SHUT_RDWR);
}

// DCMTK's own is of the process: one value for whoever calls and whomever we call.
void bound_writes(int socket, std::chrono::seconds timeout) {
  const timeval time{timeout.count(), 0};
  ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
}

}  // namespace

struct StoreScp::Impl {
  struct Association {
    std::uint64_t number = 0;
    std::string host;
    std::string peer;  // Its name in the configuration, once it is known.
    int socket = -1;   // Ours beside DCMTK's own, to wait on and to cut; of the mutex once the thread runs.
    bool done = false;
    std::thread thread;
  };
  // One association at work: what its thread needs and nobody else sees.
  struct Session {
    Association& own;
    std::uint64_t number = 0;
    Sender sender{};
    bool whole_study = false;  // The peer sends a study in one association.
    bool brought = false;      // Something new.
    audit::Studies studies{};  // What was answered with success.
    T_ASC_Association* association = nullptr;
    PduReader reader;
  };

  Impl(const config::ReceiveConfig& config_in, storage::Spool& spool_in, storage::StudyStore& store_in,
       const route::Router& router)
      : config(config_in),
        callers(caller_rules(config_in)),
        spool(spool_in),
        store_(store_in),
        intake(config, spool_in, store_in, router),
        commitment(config, callers, spool_in, store_in, [this] { return is_stopping(); }),
        stop_event(::eventfd(0, EFD_CLOEXEC)) {}
  ~Impl() { ::close(stop_event); }

  const config::ReceiveConfig config;
  Replaceable<CallerRules> callers;
  storage::Spool& spool;
  storage::StudyStore& store_;
  Intake intake;
  Commitment commitment;
  Histogram store_seconds{store_seconds_bounds()};
  const int stop_event;  // Readable from stop() on.
  std::shared_ptr<tls::ServerContext> tls;  // Null: nobody calls with TLS.
  std::vector<std::unique_ptr<AssociationAcceptor>> acceptors;  // The first is that of ReceiveConfig::port.

  mutable Mutex mutex;
  ConditionVariable ended;
  std::list<Association> associations GUARDED_BY(mutex);
  std::uint64_t next_number GUARDED_BY(mutex) = 1;
  bool stopping GUARDED_BY(mutex) = false;
  StoreScpStats counts GUARDED_BY(mutex);

  Status listen(std::uint16_t port, bool with_tls);
  bool admit(int socket, const Caller& caller);
  void serve(Association& own, std::uint64_t number, const Caller& caller, int socket);
  void run(Association& own, std::uint64_t number, const Caller& caller, int socket);
  void await_close(int socket) const;
  void end(std::uint64_t number, bool whole_study);
  bool has_room_for(Session& session, const config::PeerConfig* peer);
  bool accept_request(Session& session, const Caller& caller);
  Ending answer_requests(Session& session);
  std::optional<Command> read_command(Session& session, std::uint8_t& context);
  bool answer_echo(Session& session, std::uint8_t context, const Command& command);
  bool store(Session& session, std::uint8_t context, const Command& command);
  bool receive(Session& session, const T_ASC_PresentationContext& context, const Command& command,
               IntakeAnswer& answer);
  void count(const IntakeAnswer& answer);
  void end_associations();
  bool is_stopping() const {
    MutexLock lock(mutex);
    return stopping;
  }
};

// On the acceptor's thread.
bool StoreScp::Impl::admit(int socket, const Caller& caller) {
  const std::string& host = caller.host;
  MutexLock lock(mutex);
  for (auto it = associations.begin(); it != associations.end();) {
    if (it->done) {
      it->thread.join();
      it = associations.erase(it);
    } else {
      ++it;
    }
  }
  const auto of_host = std::count_if(associations.begin(), associations.end(),
                                     [&host](const Association& other) { return other.host == host; });
  if (stopping || std::ssize(associations) >= config.associations_max || of_host >= config.associations_per_host_max) {
    spdlog::warn("event=association_rejected host={} reason=\"too many associations\" open={} of_host={}", host,
                 associations.size(), of_host);
    return false;
  }
  Association& own = associations.emplace_back();
  own.number = next_number++;
  own.host = host;
  own.socket = socket;
  try {
    own.thread = std::thread([this, &own, number = own.number, caller, socket] { serve(own, number, caller, socket); });
  } catch (const std::exception& error) {
    spdlog::error("event=association_rejected host={} reason=\"no thread: {}\"", host, error.what());
    associations.pop_back();
    return false;
  }
  return true;
}

void StoreScp::Impl::serve(Association& own, std::uint64_t number, const Caller& caller, int socket) {
  try {
    run(own, number, caller, socket);
  } catch (const std::exception& error) {
    spdlog::error("event=association_failed association={} host={} reason=\"{}\"", number, caller.host, error.what());
    end(number, /*whole_study=*/false);
  }
  MutexLock lock(mutex);
  ::close(std::exchange(own.socket, -1));
  own.done = true;
  ended.notify_all();
}

// Lets the store close what this association held open.
void StoreScp::Impl::end(std::uint64_t number, bool whole_study) {
  const Status ended = store_.end_association(number, whole_study);
  if (ended.ok()) return;
  spdlog::warn(
      "event=association_end_not_recorded association={} reason=\"{}: its study closes once the store works again\"",
      number, ended.message());
}

// After a rejection or a release the peer closes, PS3.8 state 13: a connection closed from here may lose the answer.
void StoreScp::Impl::await_close(int socket) const {
  pollfd descriptors[2] = {{socket, POLLIN, 0}, {stop_event, POLLIN, 0}};
  ::poll(descriptors, 2, static_cast<int>(kPeerCloses.count()));
}

void StoreScp::Impl::run(Association& own, std::uint64_t number, const Caller& caller, int socket) {
  DcmtkAssociation dcmtk;
  const int descriptor = ::fcntl(socket, F_DUPFD_CLOEXEC, 0);
  if (descriptor < 0) return;
  const OFCondition request = dcmtk.receive_request(descriptor, kPduBytesMax, config.acse_timeout);
  if (request.bad()) {
    spdlog::warn("event=association_rejected association={} host={} reason=\"malformed request\" code={}", number,
                 caller.host, code_of(request));
    MutexLock lock(mutex);
    ++counts.rejected_other_total;
    return;
  }
  bound_writes(socket, std::min(config.dimse_timeout, config.message_timeout));
  Session session{.own = own,
                  .number = number,
                  .association = dcmtk.association,
                  .reader = {socket, stop_event, {kPduBytesMax, config.dimse_timeout, config.message_timeout}}};
  if (!accept_request(session, caller)) return await_close(socket);
  const Ending ending = answer_requests(session);
  if (session.brought) end(number, session.whole_study && ending == Ending::kReleased);
  if (!session.studies.empty()) audit::received({session.sender.name, caller.host}, session.studies);
  if (ending == Ending::kReleased) {
    ::send(socket, kReleaseRp.data(), kReleaseRp.size(), MSG_NOSIGNAL);
    await_close(socket);
  } else if (ending != Ending::kPeerAborted && ending != Ending::kPeerGone) {
    // DCMTK would read on for as long as the peer sends; what it has to say is of no interest any more.
    ::shutdown(socket, SHUT_RD);
    ASC_abortAssociation(dcmtk.association);
  }
  spdlog::log(ending == Ending::kReleased ? spdlog::level::info : spdlog::level::warn,
              "event=association_end association={} peer={} ending={}", number, printable(session.sender.name),
              to_string(ending));
  MutexLock lock(mutex);
  --counts.associations_open;
  if (ending != Ending::kReleased) ++counts.aborted_total;
}

// Whether one more association fits beside those that its peer has.
bool StoreScp::Impl::has_room_for(Session& session, const config::PeerConfig* peer) {
  MutexLock lock(mutex);
  const auto of_peer = std::count_if(associations.begin(), associations.end(), [&session](const Association& other) {
    return !other.done && other.peer == session.sender.name;
  });
  if (peer != nullptr && peer->associations_max > 0 && of_peer >= peer->associations_max) return false;
  session.own.peer = session.sender.name;
  return true;
}

bool StoreScp::Impl::accept_request(Session& session, const Caller& caller) {
  const std::string& host = caller.host;
  T_ASC_Parameters& parameters = *session.association->params;
  char calling_text[DUL_LEN_TITLE + 1] = {}, called_text[DUL_LEN_TITLE + 1] = {}, context_text[DUL_LEN_NAME + 1] = {};
  ASC_getAPTitles(&parameters, calling_text, sizeof calling_text, called_text, sizeof called_text, nullptr, 0);
  ASC_getApplicationContextName(&parameters, context_text, sizeof context_text);
  const std::string calling = trimmed(calling_text), called = trimmed(called_text);

  const auto reject = [&](const Rejection& why, std::uint64_t StoreScpStats::*counter) {
    const T_ASC_RejectParameters rejection{static_cast<T_ASC_RejectParametersResult>(why.result),
                                           static_cast<T_ASC_RejectParametersSource>(why.source),
                                           static_cast<T_ASC_RejectParametersReason>(why.source << 8 | why.reason)};
    ASC_rejectAssociation(session.association, &rejection);
    audit::refused({calling, host}, std::string(why.meaning));
    spdlog::warn("event=association_rejected association={} host={} calling={} called={} certificate={} reason=\"{}\"",
                 session.number, host, printable(calling), printable(called), shown(caller), why.meaning);
    MutexLock lock(mutex);
    ++(counts.*counter);
    return false;
  };

  if (context_text != std::string_view(UID_StandardApplicationContext)) {
    return reject(kWrongApplicationContext, &StoreScpStats::rejected_other_total);
  }
  if (called != config.ae_title) return reject(kWrongCalledAeTitle, &StoreScpStats::rejected_called_ae_total);
  const auto rules = callers.get();
  const config::PeerConfig* peer = find_peer(rules->peers, calling, host);
  if (peer == nullptr && !rules->accept_unknown) {
    return reject(kUnknownCallingAeTitle, &StoreScpStats::rejected_calling_ae_total);
  }
  if (rules->check_hosts && peer != nullptr && !peer->host.empty() && !resolves_to(peer->host, host)) {
    return reject(kWrongHost, &StoreScpStats::rejected_calling_ae_total);
  }
  if (peer != nullptr && peer->tls.on && !caller.tls) {
    return reject(kWithoutTls, &StoreScpStats::rejected_certificate_total);
  }
  if (peer != nullptr && !peer->certificates.empty() &&
      !(caller.certificate && caller.certificate->is_any(peer->certificates))) {
    return reject(kWrongCertificate, &StoreScpStats::rejected_certificate_total);
  }
  session.sender = peer != nullptr ? Sender{peer->name, peer->study_quiet_period} : Sender{.name = calling};
  session.sender.association = session.number;
  session.whole_study = peer != nullptr && peer->whole_study_per_association;
  if (!has_room_for(session, peer)) return reject(kTooManyAssociations, &StoreScpStats::rejected_limit_total);

  const int contexts = negotiate(parameters, config);
  if (contexts == 0) return reject(kNothingAcceptable, &StoreScpStats::rejected_other_total);
  const OFCondition acknowledged = ASC_acknowledgeAssociation(session.association);
  if (acknowledged.bad()) {
    spdlog::warn("event=association_failed association={} host={} code={}", session.number, host,
                 code_of(acknowledged));
    return false;
  }
  spdlog::info("event=association association={} peer={} host={} calling={} certificate={} contexts={}",
               session.number, printable(session.sender.name), host, printable(calling), shown(caller), contexts);
  MutexLock lock(mutex);
  ++counts.associations_open;
  ++counts.associations_total;
  return true;
}

// Until the association ends, one way or another.
Ending StoreScp::Impl::answer_requests(Session& session) {
  CommitmentChannel channel{session.number, session.sender.name, session.association, session.reader};
  while (true) {
    std::uint8_t context = 0;
    const std::optional<Command> command = read_command(session, context);
    bool answered = command.has_value();
    if (answered) {
      if (command->field == DIMSE_C_ECHO_RQ && !command->has_data_set) {
        answered = answer_echo(session, context, *command);
      } else if (command->field == DIMSE_C_STORE_RQ && command->has_data_set) {
        answered = store(session, context, *command);
      } else if ((command->field == DIMSE_N_ACTION_RQ || command->field == DIMSE_N_EVENT_REPORT_RQ) &&
                 command->has_data_set) {
        answered = commitment.answer(channel, context, *command);
      } else if (command->field == DIMSE_N_EVENT_REPORT_RSP && !command->has_data_set && channel.reports_out > 0) {
        --channel.reports_out;
        spdlog::info("event=commitment_reported association={} peer={} answer={:#06x}", session.number,
                     printable(session.sender.name), command->status);
      } else if (command->field != DIMSE_C_CANCEL_RQ) {
        answered = session.reader.fail("an unexpected command");
      }
    }
    if (answered) {
      session.reader.end_message();
      continue;
    }
    if (session.reader.ending() == Ending::kProtocol) {
      spdlog::warn("event=protocol_error association={} reason=\"{}\"", session.number, session.reader.problem());
    }
    return session.reader.ending();
  }
}

// Nothing: the association is over.
std::optional<Command> StoreScp::Impl::read_command(Session& session, std::uint8_t& context) {
  std::string bytes;
  PresentationDataValue value;
  for (bool first = true; first || !value.is_last; first = false) {
    if (!session.reader.next(value)) return std::nullopt;
    const char* const problem = !value.is_command                    ? "data without a command"
                                : !first && value.context != context ? "a command in two contexts"
                                : bytes.size() + value.fragment.size() > kCommandBytesMax
                                    ? "a command of unlikely length"
                                    : nullptr;
    if (problem != nullptr) {
      session.reader.fail(problem);
      return std::nullopt;
    }
    context = value.context;
    bytes.append(value.fragment);
  }
  Result<Command> command = parse_command(bytes);
  if (command.ok()) return *std::move(command);
  session.reader.fail("a command set that cannot be read");
  return std::nullopt;
}

bool StoreScp::Impl::answer_echo(Session& session, std::uint8_t context, const Command& command) {
  T_DIMSE_C_EchoRQ request{};
  request.MessageID = command.message_id;
  OFStandard::strlcpy(request.AffectedSOPClassUID, UID_VerificationSOPClass, sizeof request.AffectedSOPClassUID);
  {
    MutexLock lock(mutex);
    ++counts.echoes_total;
  }
  return check_sent(session.reader, session.number,
                    DIMSE_sendEchoResponse(session.association, context, &request, STATUS_Success, nullptr));
}

// False: the association is over.
bool StoreScp::Impl::store(Session& session, std::uint8_t context_id, const Command& command) {
  const auto begun = steady_clock::now();
  T_ASC_PresentationContext context{};
  if (ASC_findAcceptedPresentationContext(session.association->params, context_id, &context).bad()) {
    return session.reader.fail("a context that was not accepted");
  }

  T_DIMSE_C_StoreRQ request{};
  request.MessageID = command.message_id;
  request.DataSetType = DIMSE_DATASET_PRESENT;
  OFStandard::strlcpy(request.AffectedSOPClassUID, command.sop_class_uid.c_str(), sizeof request.AffectedSOPClassUID);
  OFStandard::strlcpy(request.AffectedSOPInstanceUID, command.sop_instance_uid.c_str(),
                      sizeof request.AffectedSOPInstanceUID);

  IntakeAnswer answer;
  if (!receive(session, context, command, answer)) return false;
  count(answer);
  if (answer.status == kSuccess) ++session.studies[answer.study_instance_uid];
  session.brought |= answer.outcome == Outcome::kStored || answer.outcome == Outcome::kCorrection;

  DcmDataset detail;
  if (!answer.error_comment.empty()) detail.putAndInsertString(DCM_ErrorComment, answer.error_comment.c_str());
  T_DIMSE_C_StoreRSP response{};
  response.DimseStatus = answer.status;
  const OFCondition sent = DIMSE_sendStoreResponse(session.association, context_id, &request, &response,
                                                   answer.error_comment.empty() ? nullptr : &detail);

  store_seconds.observe(std::chrono::duration<double>(steady_clock::now() - begun).count());
  const auto level = answer.outcome == Outcome::kStoreFailed ? spdlog::level::err
                     : answer.status != kSuccess             ? spdlog::level::warn
                                                             : spdlog::level::info;
  spdlog::log(level,
              "event=c_store association={} peer={} sop={} study={} status={:#06x} outcome={} rule={} tasks={} ms={} "
              "reason=\"{}\"",
              session.number, printable(session.sender.name), printable(command.sop_instance_uid),
              printable(answer.study_instance_uid), answer.status, to_string(answer.outcome),
              printable(answer.route.rule), answer.route.tasks.size(),
              std::chrono::duration_cast<milliseconds>(steady_clock::now() - begun).count(),
              !answer.detail.ok()             ? answer.detail.message()
              : !answer.error_comment.empty() ? answer.error_comment
                                              : answer.route.reason);
  return check_sent(session.reader, session.number, sent);
}

// Reads the whole data set, whatever becomes of it: only then may the peer be answered. False: the association is over.
bool StoreScp::Impl::receive(Session& session, const T_ASC_PresentationContext& context, const Command& command,
                             IntakeAnswer& answer) {
  auto file = is_stopping() ? Result<storage::IncomingFile>(unavailable("stopping")) : spool.begin();
  if (file.ok()) {
    const std::string meta =
        object::encode_meta_header(command.sop_class_uid, command.sop_instance_uid, context.acceptedTransferSyntax,
                                   calling_ae_title(*session.association));
    if (Status written = file->append(meta.data(), meta.size()); !written.ok()) file = written;
  }

  DataSetWriter writer(file.ok() ? &*file : nullptr, config.object_bytes_max);
  if (!read_data_set(session.reader, context.presentationContextID, writer)) return false;
  {
    MutexLock lock(mutex);
    counts.received_bytes += writer.bytes();
  }
  if (command.sop_class_uid != context.abstractSyntax || !is_storage_class(command.sop_class_uid, config)) {
    answer = refusal(kSopClassNotSupported, "SOP class was not accepted for this context");
  } else if (!file.ok()) {
    answer = refusal(file.status());
  } else if (writer.too_large()) {
    answer = refusal(kOutOfResources, "object larger than this node takes");
  } else if (!writer.written().ok()) {
    answer = refusal(writer.written());
  } else {
    answer = intake.take(*std::move(file), command, session.sender);
  }
  return true;
}

void StoreScp::Impl::count(const IntakeAnswer& answer) {
  MutexLock lock(mutex);
  if (answer.status != kSuccess) ++counts.refused_by_status[answer.status];
  switch (answer.outcome) {
    case Outcome::kStored: ++counts.received_total; break;
    case Outcome::kResend: ++counts.resends_total; break;
    case Outcome::kCorrection: ++counts.corrections_total; break;
    case Outcome::kConflict: ++counts.conflicts_total; break;
    case Outcome::kOwnResult: ++counts.own_results_total; break;
    case Outcome::kRefused:
    case Outcome::kStoreFailed: break;
  }
}

StoreScp::StoreScp(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
StoreScp::~StoreScp() { stop(); }

Result<std::unique_ptr<StoreScp>> StoreScp::open(const config::ReceiveConfig& config, storage::Spool& spool,
                                                 storage::StudyStore& store, const route::Router& router) {
  NODE_RETURN_IF_ERROR(check_preferred_syntaxes(config));
  auto impl = std::make_unique<Impl>(config, spool, store, router);
  if (impl->stop_event < 0) return resource_exhausted("eventfd: no descriptor left");
  if (config.tls.on) {
    NODE_ASSIGN_OR_RETURN(impl->tls, tls::ServerContext::open(config.tls));
  }
  NODE_RETURN_IF_ERROR(impl->listen(config.port, config.tls.on && config.tls_port == 0));
  if (config.tls.on && config.tls_port != 0) NODE_RETURN_IF_ERROR(impl->listen(config.tls_port, true));
  return std::unique_ptr<StoreScp>(new StoreScp(std::move(impl)));
}

Status StoreScp::Impl::listen(std::uint16_t port, bool with_tls) {
  AcceptorLimits limits;
  limits.request_timeout = config.acse_timeout;
  limits.write_timeout = std::min(config.dimse_timeout, config.message_timeout);
  NODE_ASSIGN_OR_RETURN(auto acceptor,
                        AssociationAcceptor::open(
                            config.bind, port, limits,
                            [this](int socket, const Caller& caller) { return admit(socket, caller); },
                            with_tls ? tls : nullptr));
  acceptors.push_back(std::move(acceptor));
  return ok_status();
}

std::uint16_t StoreScp::port() const { return impl_->acceptors.front()->port(); }
std::uint16_t StoreScp::tls_port() const { return impl_->tls ? impl_->acceptors.back()->port() : 0; }

void StoreScp::set_callers(const config::ReceiveConfig& config) { impl_->callers.replace(caller_rules(config)); }
tls::ServerContext* StoreScp::tls() const { return impl_->tls.get(); }

bool StoreScp::turns(milliseconds patience) const {
  return std::all_of(impl_->acceptors.begin(), impl_->acceptors.end(),
                     [&](const auto& acceptor) { return acceptor->turns(patience); });
}

StoreScpStats StoreScp::stats() const {
  MutexLock lock(impl_->mutex);
  StoreScpStats stats = impl_->counts;
  stats.store_seconds = impl_->store_seconds.snapshot();
  for (const auto& acceptor : impl_->acceptors) {
    const AcceptorStats accepted = acceptor->stats();
    stats.rejected_limit_total += accepted.over_limit_total;
    stats.rejected_other_total += accepted.garbage_total;
    stats.tls_failures_total += accepted.tls_total;
    stats.requests_expired_total += accepted.expired_total + accepted.evicted_total;
  }
  return stats;
}

void StoreScp::Impl::end_associations() {
  const auto grace_ends = steady_clock::now() + config.stop_grace;
  MutexLock lock(mutex);
  stopping = true;
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(stop_event, &one, sizeof one);
  const auto all_done = [this]() NO_THREAD_SAFETY_ANALYSIS {
    return std::all_of(associations.begin(), associations.end(), [](const auto& one) { return one.done; });
  };
  if (!ended.wait_until(lock, grace_ends, all_done)) {
    for (const Association& association : associations) {
      if (association.done) continue;
      spdlog::warn("event=association_cut association={} reason=\"still busy after the grace period\"",
                   association.number);
      cut(association.socket);
    }
    ended.wait(lock, all_done);
  }
  for (Association& association : associations) association.thread.join();
  associations.clear();
}

void StoreScp::stop() {
  for (const auto& acceptor : impl_->acceptors) acceptor->stop();
  impl_->end_associations();
}

}  // namespace node::receive
