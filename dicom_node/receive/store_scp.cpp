#include "dicom_node/receive/store_scp.h"

#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <list>
#include <string>
#include <thread>
#include <utility>

#include "config/base/mutex.h"
#include "config/base/replaceable.h"
#include "dicom_node/object/inflation.h"
#include "dicom_node/receive/association_acceptor.h"
#include "dicom_node/receive/association_session.h"
#include "dicom_node/receive/calling_peer.h"
#include "dicom_node/receive/commitment.h"
#include "dicom_node/receive/intake.h"
#include "dicom_node/receive/presentation_contexts.h"

namespace node::receive {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

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

  Impl(const config::ReceiveConfig& config_in, storage::Spool& spool_in, storage::StudyStore& store_in,
       const route::Router& router)
      : config(config_in),
        callers(caller_rules(config_in)),
        intake(config, spool_in, store_in, router),
        commitment(config, callers, spool_in, store_in, [this] { return is_stopping(); }),
        stop_event(::eventfd(0, EFD_CLOEXEC)),
        reception{
            .config = config,
            .callers = callers,
            .spool = spool_in,
            .store = store_in,
            .intake = intake,
            .commitment = commitment,
            .tally = tally,
            .stop_event = stop_event,
            .is_stopping = [this] { return is_stopping(); },
            .has_room_for = [this](std::uint64_t number, const std::string& peer,
                                   int associations_max) { return has_room_for(number, peer, associations_max); }} {}
  ~Impl() { ::close(stop_event); }

  const config::ReceiveConfig config;
  Replaceable<CallerRules> callers;
  Intake intake;
  Commitment commitment;
  Tally tally;
  const int stop_event;                                         // Readable from stop() on.
  Reception reception;                                          // Of all the above, for the sessions.
  std::shared_ptr<tls::ServerContext> tls;                      // Null: nobody calls with TLS.
  std::vector<std::unique_ptr<AssociationAcceptor>> acceptors;  // The first is that of ReceiveConfig::port.

  mutable Mutex mutex;
  ConditionVariable ended;
  std::list<Association> associations GUARDED_BY(mutex);
  std::uint64_t next_number GUARDED_BY(mutex) = 1;
  bool stopping GUARDED_BY(mutex) = false;

  Status listen(std::uint16_t port, bool with_tls);
  bool admit(int socket, const Caller& caller);
  void serve(Association& own, std::uint64_t number, const Caller& caller, int socket);
  bool has_room_for(std::uint64_t number, const std::string& peer, int associations_max);
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
    AssociationSession(reception, number, socket, caller).run();
  } catch (const std::exception& error) {
    spdlog::error("event=association_failed association={} host={} reason=\"{}\"", number, caller.host, error.what());
    AssociationSession::end(reception.store, number, /*whole_study=*/false);
  }
  MutexLock lock(mutex);
  ::close(std::exchange(own.socket, -1));
  own.done = true;
  ended.notify_all();
}

// Called by the association's own thread.
bool StoreScp::Impl::has_room_for(std::uint64_t number, const std::string& peer, int associations_max) {
  MutexLock lock(mutex);
  std::int64_t of_peer = 0;
  Association* own = nullptr;
  for (Association& association : associations) {
    if (association.number == number) own = &association;
    if (!association.done && association.peer == peer) ++of_peer;
  }
  if (associations_max > 0 && of_peer >= associations_max) return false;
  own->peer = peer;
  return true;
}

StoreScp::StoreScp(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
StoreScp::~StoreScp() { stop(); }

Result<std::unique_ptr<StoreScp>> StoreScp::open(const config::ReceiveConfig& config, storage::Spool& spool,
                                                 storage::StudyStore& store, const route::Router& router) {
  NODE_RETURN_IF_ERROR(check_preferred_syntaxes(config));
  object::set_inflated_bytes_max(config.object_bytes_max);
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
  NODE_ASSIGN_OR_RETURN(auto acceptor, AssociationAcceptor::open(
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
  StoreScpStats stats = impl_->tally.stats();
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
