#include "dicom_node/deliver/commitment_worker.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <string>
#include <thread>

#include "config/base/mutex.h"
#include "dicom_node/deliver/commitment_scu.h"
#include "dicom_node/deliver/delivery_worker.h"
#include "dicom_node/object/commitment_verdict.h"
#include "dicom_node/object/crash_point.h"
#include "storage/until_recorded.h"

namespace node::deliver {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using storage::CommitmentRequest;

namespace {
constexpr milliseconds kLook{500};
constexpr std::chrono::seconds kSameAssociation{1};  // A peer that reports at once does so within it.
constexpr int kReferencesMax = 500;                  // Of one request.
constexpr int kRequestsMax = 100;
constexpr int kRefusedMax = 10;  // Requests in a row, before a person is asked; with the default delays nine minutes.
}  // namespace

struct CommitmentWorker::Impl {
  Impl(config::DeliveryConfig config_in, config::PeerConfig peer_in, const storage::Spool& spool_in,
       storage::StudyStore& store_in)
      : config(std::move(config_in)), peer(std::move(peer_in)), spool(spool_in), store(store_in) {}

  const config::DeliveryConfig config;
  const config::PeerConfig peer;
  const storage::Spool& spool;
  storage::StudyStore& store;
  mutable Mutex mutex;
  ConditionVariable wake;
  bool stopping GUARDED_BY(mutex) = false;
  CommitmentStats stats GUARDED_BY(mutex);
  // The thread's own.
  int unreachable_in_a_row = 0, refused_in_a_row = 0;
  steady_clock::time_point call_from{}, ask_from{};  // Until then the peer is not called; not asked.
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

  bool may_call() const { return !is_stopping() && steady_clock::now() >= call_from; }

  void run() {
    while (wait()) {
      if (peer.commitment && may_call() && steady_clock::now() >= ask_from) ask();
      if (!may_call()) continue;
      const auto requests = store.due_commitment_requests(peer.name, kRequestsMax);
      if (!requests.ok()) continue;  // health() says so to whoever asks.
      for (const CommitmentRequest& request : *requests) {
        if (may_call()) answer(request);
      }
    }
  }

  milliseconds pause_after(int failures_in_a_row) const { return backoff(config, failures_in_a_row, 1.0); }

  // No association, or no answer: the peer is left alone for as long.
  milliseconds unreachable() {
    const milliseconds pause = pause_after(++unreachable_in_a_row);
    call_from = steady_clock::now() + pause;
    return pause;
  }

  // Until it is recorded: what a full disk refuses now it takes later.
  void record(const std::string& transaction_uid, const std::function<Status()>& call) {
    const Status recorded = storage::until_recorded(call, [this] { return is_stopping(); });
    if (recorded.ok()) return;
    spdlog::error("event=commitment_not_recorded peer={} transaction_uid={} reason=\"{}\"", peer.name, transaction_uid,
                  recorded.message());
  }

  void ask() {
    const auto begun =
        store.begin_commitment(peer.name, kReferencesMax, config.commitment_answer_within, config.give_up_after);
    if (!begun.ok()) return;
    if (begun->given_up > 0) log_given_up(begun->given_up, "no report");
    if (begun->references.empty()) return;
    const object::CommitmentData request{begun->transaction_uid, begun->references};
    count(&CommitmentStats::asked);
    const Status asked =
        ask_for_commitment(config, peer, request, kSameAssociation, [this](const object::CommitmentData& report) {
          return store.end_commitment(peer.name, report.transaction_uid, report.referenced, report.failed).status();
        });
    if (!asked.ok()) return not_asked(request, asked);
    unreachable_in_a_row = refused_in_a_row = 0;
    spdlog::info("event=commitment_asked destination={} transaction_uid={} objects={}", peer.name,
                 request.transaction_uid, request.referenced.size());
  }

  // What the peer refuses, it may take once it was configured to: it is asked a few times more, then a person. What it
  // was not reached for waits as long as a delivery does.
  void not_asked(const object::CommitmentData& request, const Status& why) {
    count(&CommitmentStats::ask_failures);
    std::optional<milliseconds> give_up_after;
    std::string text = why.message();
    milliseconds pause;
    if (why.code() == StatusCode::kUnsupported) {
      pause = pause_after(++refused_in_a_row);
      ask_from = steady_clock::now() + pause;
      if (refused_in_a_row >= kRefusedMax) {
        give_up_after = milliseconds(0);
        text = fmt::format(
            "not committed, refused {} times in a row: {}; let {} take storage commitment from this node and release "
            "the delivery, or set peers.{}.commitment: false and restart",
            refused_in_a_row, why.message(), peer.ae_title, peer.name);
      }
    } else {
      pause = unreachable();
      if (pause >= config.retry_max) give_up_after = config.give_up_after;
    }
    spdlog::warn("event=commitment_not_asked destination={} transaction_uid={} objects={} retry_in_ms={} reason=\"{}\"",
                 peer.name, request.transaction_uid, request.referenced.size(), pause.count(), why.message());
    record(request.transaction_uid, [&]() -> Status {
      NODE_ASSIGN_OR_RETURN(const int given_up,
                            store.release_commitment(request.transaction_uid, pause, give_up_after, text));
      if (given_up > 0) log_given_up(given_up, why.message());
      return ok_status();
    });
  }

  void log_given_up(int deliveries, const std::string& why) {
    spdlog::warn("event=commitment_given_up destination={} parked={} reason=\"{}\"", peer.name, deliveries, why);
  }

  // Safe here, for which every file is read, so not before the peer can be told; or, where so configured, at every
  // destination, as the store's rows say; what can become so is waited for.
  void answer(const CommitmentRequest& request) {
    const milliseconds pause = pause_after(request.attempts + 1);
    const bool over = request.pending_for >= config.give_up_after;
    const bool reads = !config.commit_after_delivery;
    object::CommitmentData report{request.transaction_uid, {}};
    Status sent = reads && request.attempts > 0 ? takes_reports(config, peer) : ok_status();
    if (sent.ok()) {
      const auto verdict = object::judge_commitment({request.transaction_uid, request.references}, store, spool,
                                                    config.commit_after_delivery, [this] { return is_stopping(); });
      if (!verdict.ok()) return;
      if (verdict->waits && !over) {
        return record(request.transaction_uid, [&] { return store.end_commitment_request(request.id, pause, ""); });
      }
      report = verdict->report;
      sent = report_commitment(config, peer, report);
    }
    count(sent.ok() ? &CommitmentStats::reported : &CommitmentStats::report_failures);
    if (sent.ok()) unreachable_in_a_row = 0;
    if (sent.code() == StatusCode::kUnavailable) unreachable();
    const auto retry = sent.ok() || over ? std::nullopt : std::optional(pause);
    spdlog::log(sent.ok() ? spdlog::level::info : spdlog::level::warn,
                "event=commitment_reported peer={} transaction_uid={} safe={} not_safe={} again={} reason=\"{}\"",
                request.peer, request.transaction_uid, report.referenced.size(), report.failed.size(),
                retry.has_value(), sent.message());
    record(request.transaction_uid, [&] { return store.end_commitment_request(request.id, retry, sent.message()); });
  }
};

CommitmentWorker::CommitmentWorker(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

std::unique_ptr<CommitmentWorker> CommitmentWorker::start(config::DeliveryConfig config, config::PeerConfig peer,
                                                          const storage::Spool& spool, storage::StudyStore& store) {
  auto impl = std::make_unique<Impl>(std::move(config), std::move(peer), spool, store);
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
