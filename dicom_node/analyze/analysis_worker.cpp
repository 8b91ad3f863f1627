#include "dicom_node/analyze/analysis_worker.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "config/base/mutex.h"
#include "dicom_node/object/crash_point.h"
#include "dicom_node/object/finding_record.h"
#include "dicom_node/object/image_loader.h"
#include "storage/until_recorded.h"

namespace node::analyze {

using inference::Prediction;
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
    std::vector<std::string> rendering;
    Result<std::vector<Prediction>> predictions;
  };

  const AnalysisOptions options;
  storage::Spool& spool;
  storage::StudyStore& store;
  inference::Predictor& predictor;

  mutable Mutex mutex;
  ConditionVariable changed;
  bool stopping GUARDED_BY(mutex) = false;
  int slots_taken GUARDED_BY(mutex) = 0;         // Claimed or about to be, not yet ended.
  std::deque<Answer> answers GUARDED_BY(mutex);  // At most in_flight_max.
  bool loaders_done GUARDED_BY(mutex) = false;
  AnalysisStats stats GUARDED_BY(mutex);
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
        if (claims.ok()) continue;
        if (claims.status().code() == StatusCode::kUnavailable) return;  // The store is stopping.
        spdlog::error("event=analysis_claim_failed reason=\"{}\"", claims.status().message());
        std::this_thread::sleep_for(kClaimWait);
        continue;
      }
      analyze(std::move(claims->front()));
    }
  }

  // Load, submit; the answer comes back through finish().
  void analyze(ClaimedInstance claim) {
    const storage::InstanceRecord& instance = claim.instance;
    // Whether a FOR PROCESSING image is rendered at all was decided by its route.
    auto loaded = object::load_image(spool.path(instance.file.key), {.render_for_processing = true});
    if (!loaded.ok()) return finish({std::move(claim), {}, loaded.status()});

    object::crash_point("loaded");
    inference::AnalysisRequest request;
    request.image = std::move(loaded->radiograph);
    request.tasks = instance.route.tasks;
    request.seed = object::mask_seed(instance.sop_instance_uid.str());
    request.priority = instance.route.priority;
    request.body_part = instance.route.body_part;
    {
      MutexLock lock(mutex);
      ++stats.in_flight;
    }
    predictor.submit(std::move(request), [this, claim = std::move(claim), rendering = std::move(loaded->rendering)](
                                             Result<std::vector<Prediction>> predictions) mutable {
      MutexLock lock(mutex);
      --stats.in_flight;
      answers.push_back({std::move(claim), std::move(rendering), std::move(predictions)});
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

  // Stores what one image's request came to, and frees its slot.
  void finish(Answer answer) {
    const storage::InstanceRecord& instance = answer.claim.instance;
    InstanceState end = InstanceState::kAnalysed;
    std::string reason;
    Status stored;
    if (answer.predictions.ok()) {
      std::vector<storage::StoredPrediction> findings;
      for (Prediction& prediction : *answer.predictions) {
        findings.push_back(object::encode_finding({std::move(prediction), answer.rendering}));
      }
      object::crash_point("predicted");
      stored = record([&] { return store.finish_instance(answer.claim.token, findings); });
      object::crash_point("analysed");
    } else if (not_now(answer.predictions.status())) {
      reason = answer.predictions.status().message();
      end = InstanceState::kReceived;
      stored = record([&] { return store.release_instance(answer.claim.token); });
    } else {
      reason = answer.predictions.status().message();
      end = answer.predictions.status().code() == StatusCode::kUnsupported ? InstanceState::kSkipped
                                                                           : InstanceState::kFailed;
      stored = record([&] { return store.end_instance(answer.claim.token, end, reason); });
    }
    spdlog::info("event=analysis state={} study_instance_uid={} sop_instance_uid={} attempt={} reason=\"{}\"",
                 storage::to_string(end), instance.study_instance_uid.str(), instance.sop_instance_uid.str(),
                 instance.attempts, reason);
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

AnalysisStats AnalysisWorker::stats() const {
  MutexLock lock(impl_->mutex);
  return impl_->stats;
}

}  // namespace node::analyze
