#include "dicom_node/deliver/commitment_worker.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <map>
#include <string>
#include <thread>

#include "config/base/mutex.h"
#include "dicom_node/deliver/commitment_scu.h"
#include "dicom_node/deliver/delivery_worker.h"
#include "dicom_node/object/commitment_verdict.h"

namespace node::deliver {

using std::chrono::milliseconds;
using storage::CommitmentRequest;

namespace {
constexpr milliseconds kLook{500};
constexpr std::chrono::seconds kSameAssociation{1};  // A peer that reports at once does so within it.
constexpr int kReferencesMax = 500;                  // Of one request.
constexpr int kRequestsMax = 100;
}  // namespace

struct CommitmentWorker::Impl {
  Impl(config::DeliveryConfig config_in, const storage::Spool& spool_in, storage::StudyStore& store_in)
      : config(std::move(config_in)), spool(spool_in), store(store_in) {}

  const config::DeliveryConfig config;
  const storage::Spool& spool;
  storage::StudyStore& store;
  mutable Mutex mutex;
  ConditionVariable wake;
  bool stopping GUARDED_BY(mutex) = false;
  CommitmentStats stats GUARDED_BY(mutex);
  std::map<std::string, int> failures;  // In a row, by peer; the thread's own.
  std::thread thread;

  bool wait() {
    MutexLock lock(mutex);
    if (!stopping) wake.wait_for(lock, kLook);
    return !stopping;
  }
  bool is_stopping() const {
    MutexLock lock(mutex);
    return stopping;
  }
  void count(std::uint64_t CommitmentStats::*counter) {
    MutexLock lock(mutex);
    ++(stats.*counter);
  }

  void run() {
    while (wait()) {
      for (const config::PeerConfig& peer : config.peers) {
        if (peer.commitment && peer.port != 0 && !is_stopping()) ask(peer);
      }
      const auto requests = store.due_commitment_requests(kRequestsMax);
      if (!requests.ok()) continue;  // health() says so to whoever asks.
      for (const CommitmentRequest& request : *requests) {
        if (!is_stopping()) answer(request);
      }
    }
  }

  milliseconds pause_after(int failures_in_a_row) { return backoff(config, failures_in_a_row, 1.0); }

  void log_unrecorded(const Status& recorded, const std::string& transaction_uid) {
    if (recorded.ok()) return;
    spdlog::error("event=commitment_not_recorded transaction_uid={} reason=\"{}\"", transaction_uid,
                  recorded.message());
  }

  void ask(const config::PeerConfig& peer) {
    auto claimed = store.begin_commitment(peer.name, kReferencesMax, config.commitment_answer_within);
    if (!claimed.ok() || claimed->references.empty()) return;
    const object::CommitmentData request{claimed->transaction_uid, claimed->references};
    count(&CommitmentStats::asked);
    const auto report = ask_for_commitment(config, peer, request, kSameAssociation);
    if (!report.ok()) {
      count(&CommitmentStats::ask_failures);
      const milliseconds pause = pause_after(++failures[peer.name]);
      spdlog::warn(
          "event=commitment_not_asked destination={} transaction_uid={} objects={} retry_in_ms={} reason=\"{}\"",
          peer.name, request.transaction_uid, request.referenced.size(), pause.count(), report.status().message());
      return log_unrecorded(store.release_commitment(request.transaction_uid, pause, report.status().message()),
                            request.transaction_uid);
    }
    failures[peer.name] = 0;
    spdlog::info("event=commitment_asked destination={} transaction_uid={} objects={}", peer.name,
                 request.transaction_uid, request.referenced.size());
    if (!*report) return;
    const auto ended =
        store.end_commitment(peer.name, (*report)->transaction_uid, (*report)->referenced, (*report)->failed);
    log_unrecorded(ended.status(), request.transaction_uid);
  }

  // Safe here, or, where so configured, at every destination too; what can become so is waited for.
  void answer(const CommitmentRequest& request) {
    const auto peer = std::find_if(config.peers.begin(), config.peers.end(),
                                   [&](const config::PeerConfig& one) { return one.name == request.peer; });
    if (peer == config.peers.end() || peer->port == 0) {
      return log_unrecorded(
          store.end_commitment_request(request.id, std::nullopt, "the peer has no host and port any more"),
          request.transaction_uid);
    }
    const auto verdict = object::judge_commitment({request.transaction_uid, request.references}, store, spool,
                                          config.commit_after_delivery, [this] { return is_stopping(); });
    if (!verdict.ok()) return;
    if (verdict->waits && request.pending_for < config.give_up_after) {
      return log_unrecorded(store.end_commitment_request(request.id, pause_after(request.attempts + 1), ""),
                            request.transaction_uid);
    }
    const object::CommitmentData& report = verdict->report;
    const Status sent = report_commitment(config, *peer, report);
    count(sent.ok() ? &CommitmentStats::reported : &CommitmentStats::report_failures);
    std::optional<milliseconds> retry;
    if (!sent.ok() && request.pending_for < config.give_up_after) retry = pause_after(request.attempts + 1);
    spdlog::log(sent.ok() ? spdlog::level::info : spdlog::level::warn,
                "event=commitment_reported peer={} transaction_uid={} safe={} not_safe={} again={} reason=\"{}\"",
                request.peer, request.transaction_uid, report.referenced.size(), report.failed.size(),
                retry.has_value(), sent.message());
    log_unrecorded(store.end_commitment_request(request.id, retry, sent.message()), request.transaction_uid);
  }
};

CommitmentWorker::CommitmentWorker(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

std::unique_ptr<CommitmentWorker> CommitmentWorker::start(config::DeliveryConfig config, const storage::Spool& spool,
                                                          storage::StudyStore& store) {
  auto impl = std::make_unique<Impl>(std::move(config), spool, store);
  Impl* self = impl.get();
  self->thread = std::thread([self] { self->run(); });
  return std::unique_ptr<CommitmentWorker>(new CommitmentWorker(std::move(impl)));
}

CommitmentWorker::~CommitmentWorker() { stop(); }

void CommitmentWorker::stop() {
  {
    MutexLock lock(impl_->mutex);
    impl_->stopping = true;
    impl_->wake.notify_all();
  }
  if (impl_->thread.joinable()) impl_->thread.join();
}

CommitmentStats CommitmentWorker::stats() const {
  MutexLock lock(impl_->mutex);
  return impl_->stats;
}

}  // namespace node::deliver
