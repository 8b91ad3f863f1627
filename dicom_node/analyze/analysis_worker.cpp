#include "dicom_node/analyze/analysis_worker.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "config/base/mutex.h"
#include "config/base/replaceable.h"
#include "dicom_node/object/analyse_image.h"
#include "dicom_node/object/crash_point.h"
#include "dicom_node/object/pending_route.h"
#include "dicom_node/object/said_once.h"
#include "storage/until_recorded.h"

namespace node::analyze {

using storage::ClaimedInstance;
using storage::InstanceState;

namespace {
constexpr int kFinishers = 2;
constexpr std::chrono::milliseconds kClaimWait{1'000};
}  // namespace

struct AnalysisWorker::Impl {
  Impl(const AnalysisOptions& options_in, storage::Spool& spool_in, storage::StudyStore& store_in,
       inference::Predictor& predictor_in)
      : options(options_in), spool(spool_in), store(store_in), predictor(predictor_in) {}

  struct Answer {
    ClaimedInstance claim;
    Result<std::vector<object::FindingRecord>> findings;
    std::vector<object::FindingRecord> earlier{};  // Of a route that these settled.
    bool route_settled = false;
  };

  const AnalysisOptions options;
  storage::Spool& spool;
  storage::StudyStore& store;
  inference::Predictor& predictor;
  const std::vector<inference::TaskInfo> task_infos = predictor.tasks();
  Replaceable<UrgentWhen> urgent_when{options.urgent_when};
  object::SaidOnce claiming{"analysis_claim"};

  mutable Mutex mutex;
  ConditionVariable changed;
  bool stopping GUARDED_BY(mutex) = false;
  int slots_taken GUARDED_BY(mutex) = 0;         // Claimed or about to be, not yet ended.
  std::deque<Answer> answers GUARDED_BY(mutex);  // At most in_flight_max.
  bool loaders_done GUARDED_BY(mutex) = false;
  AnalysisStats stats GUARDED_BY(mutex);
  std::chrono::steady_clock::time_point came_back GUARDED_BY(mutex);  // The last, or something was sent after a rest.
  std::vector<std::thread> loaders, finishers;

  bool take_slot() {
    MutexLock lock(mutex);
    while (!stopping && slots_taken >= options.in_flight_max) changed.wait(lock);
    if (stopping) return false;
    ++slots_taken;
    return true;
  }

  void free_slot() {
    MutexLock lock(mutex);
    --slots_taken;
    changed.notify_all();
  }

  void load_loop() {
    while (take_slot()) {
      auto claims = store.claim_instances(1, kClaimWait);
      if (!claims.ok() || claims->empty()) {
        free_slot();
        if (claims.ok()) {
          claiming.works();
          continue;
        }
        if (claims.status().code() == StatusCode::kUnavailable) return;  // The store is stopping.
        claiming.failed(claims.status());
        std::this_thread::sleep_for(kClaimWait);
        continue;
      }
      claiming.works();
      ClaimedInstance claim = std::move(claims->front());
      auto tasks = object::tasks_to_ask_first(claim.instance.route, task_infos);
      if (!tasks.ok()) {
        finish({std::move(claim), tasks.status()});
      } else {
        analyze(std::move(claim), *tasks, {}, false);
      }
    }
  }

  // Load, submit; the answer comes back through `answers`.
  void analyze(ClaimedInstance claim, const std::vector<std::string>& tasks, std::vector<object::FindingRecord> earlier,
               bool route_settled) {
    {
      MutexLock lock(mutex);
      if (stats.in_flight++ == 0) came_back = std::chrono::steady_clock::now();
    }
    const std::filesystem::path file = spool.path(claim.instance.file.key);
    const auto held = std::make_shared<Answer>(
        Answer{std::move(claim), unavailable("not answered"), std::move(earlier), route_settled});
    object::analyse_image(file, held->claim.instance, tasks, held->earlier, predictor,
                          [this, held](Result<std::vector<object::FindingRecord>> findings) {
                            held->findings = std::move(findings);
                            MutexLock lock(mutex);
                            --stats.in_flight;
                            came_back = std::chrono::steady_clock::now();
                            answers.push_back(std::move(*held));
                            changed.notify_all();
                          });
  }

  void finish_loop() {
    while (true) {
      std::deque<Answer> taken;
      {
        MutexLock lock(mutex);
        while (answers.empty() && !(loaders_done && slots_taken == 0)) changed.wait(lock);
        if (answers.empty()) return;
        taken.push_back(std::move(answers.front()));
        answers.pop_front();
      }
      finish(std::move(taken.front()));
    }
  }

  // Of a pending route: takes the region head's answer for the route, and true if it calls for tasks not yet asked for;
  // they are asked for here. The image is loaded again: that is rare, and holding it for every request is not cheap.
  bool settle(Answer& answer) {
    storage::InstanceRecord& instance = answer.claim.instance;
    if (!answer.findings.ok()) return false;
    if (!answer.route_settled && !instance.route.pending.empty()) {
      auto settled = object::settle_route(instance.route, *answer.findings);
      const Status stored = settled.ok()
                                ? record([&] { return store.settle_route(answer.claim.token, settled->route); })
                                : settled.status();
      if (!stored.ok()) return answer.findings = stored, false;
      instance.route = std::move(settled->route);
      if (!settled->still_to_ask.empty()) {
        return analyze(std::move(answer.claim), settled->still_to_ask, *std::move(answer.findings), true), true;
      }
    }
    for (object::FindingRecord& finding : answer.earlier) answer.findings->push_back(std::move(finding));
    *answer.findings = object::findings_in_order(instance.route, std::move(*answer.findings));
    return false;
  }

  // Stores what one image's request came to, and frees its slot.
  void finish(Answer answer) {
    if (settle(answer)) return;
    const storage::InstanceRecord& instance = answer.claim.instance;
    InstanceState end = InstanceState::kAnalysed;
    std::string reason, urgent;
    Status stored;
    if (answer.findings.ok() && instance.route.tasks.empty()) {  // The pixels decided so.
      reason = instance.route.reason;
      end = InstanceState::kSkipped;
      stored = record([&] { return store.end_instance(answer.claim.token, end, reason); });
    } else if (answer.findings.ok()) {
      std::vector<storage::StoredPrediction> findings;
      for (const object::FindingRecord& finding : *answer.findings) findings.push_back(object::encode_finding(finding));
      // A trial hurries nobody.
      if (!instance.route.shadow) urgent = why_urgent(*urgent_when.get(), instance.route.rule, *answer.findings);
      object::crash_point("predicted");
      stored = record([&] { return store.finish_instance(answer.claim.token, findings, urgent); });
      object::crash_point("analysed");
    } else if (not_now(answer.findings.status())) {
      reason = answer.findings.status().message();
      end = InstanceState::kReceived;
      stored = record([&] { return store.release_instance(answer.claim.token); });
    } else {
      reason = answer.findings.status().message();
      end = answer.findings.status().code() == StatusCode::kUnsupported ? InstanceState::kSkipped
                                                                        : InstanceState::kFailed;
      stored = record([&] { return store.end_instance(answer.claim.token, end, reason); });
    }
    spdlog::info(
        "event=analysis state={} study_instance_uid={} sop_instance_uid={} attempt={} urgent=\"{}\" "
        "reason=\"{}\"",
        storage::to_string(end), instance.study_instance_uid.str(), instance.sop_instance_uid.str(), instance.attempts,
        urgent, reason);
    if (!stored.ok()) {
      spdlog::error("event=analysis_not_recorded sop_instance_uid={} reason=\"{}\"", instance.sop_instance_uid.str(),
                    stored.message());
    }
    MutexLock lock(mutex);
    if (end == InstanceState::kAnalysed) ++stats.analysed;
    if (end == InstanceState::kSkipped) ++stats.skipped;
    if (end == InstanceState::kFailed) ++stats.failed;
    if (end == InstanceState::kReceived) ++stats.given_back;
    --slots_taken;
    changed.notify_all();
  }

  // While the store fails this waits, so the slots fill and nothing more is claimed: memory stays bounded.
  Status record(const std::function<Status()>& call) {
    return storage::until_recorded(call, [this] {
      MutexLock lock(mutex);
      return stopping;
    });
  }

  static bool not_now(const Status& status) { return status.code() == StatusCode::kUnavailable; }
};

AnalysisWorker::AnalysisWorker(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

std::unique_ptr<AnalysisWorker> AnalysisWorker::start(const AnalysisOptions& options, storage::Spool& spool,
                                                      storage::StudyStore& store, inference::Predictor& predictor) {
  auto impl = std::make_unique<Impl>(options, spool, store, predictor);
  Impl* self = impl.get();
  for (int i = 0; i < options.load_workers; ++i) self->loaders.emplace_back([self] { self->load_loop(); });
  for (int i = 0; i < kFinishers; ++i) self->finishers.emplace_back([self] { self->finish_loop(); });
  return std::unique_ptr<AnalysisWorker>(new AnalysisWorker(std::move(impl)));
}

AnalysisWorker::~AnalysisWorker() { stop(); }

void AnalysisWorker::stop() {
  {
    MutexLock lock(impl_->mutex);
    impl_->stopping = true;
    impl_->changed.notify_all();
  }
  for (std::thread& loader : impl_->loaders) {
    if (loader.joinable()) loader.join();
  }
  {
    MutexLock lock(impl_->mutex);
    impl_->loaders_done = true;
    impl_->changed.notify_all();
  }
  for (std::thread& finisher : impl_->finishers) {
    if (finisher.joinable()) finisher.join();
  }
}

void AnalysisWorker::set_urgent_when(UrgentWhen urgent_when) { impl_->urgent_when.replace(std::move(urgent_when)); }

AnalysisStats AnalysisWorker::stats() const {
  MutexLock lock(impl_->mutex);
  AnalysisStats stats = impl_->stats;
  if (stats.in_flight > 0) stats.stuck = std::chrono::steady_clock::now() - impl_->came_back;
  return stats;
}

}  // namespace node::analyze
