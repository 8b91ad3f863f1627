#include "dicom_node/report/report_worker.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcuid.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "config/base/mutex.h"
#include "config/base/replaceable.h"
#include "dicom_node/object/crash_point.h"
#include "dicom_node/object/finding_record.h"
#include "dicom_node/object/instance_header.h"
#include "dicom_node/object/said_once.h"
#include "dicom_node/report/messages.h"
#include "dicom_node/report/recipients.h"
#include "dicom_node/report/study_objects.h"
#include "storage/until_recorded.h"

namespace node::report {
namespace {

using storage::DeliveryStage;
using storage::InstanceRecord;
using storage::InstanceState;

constexpr std::chrono::milliseconds kClaimWait{500};
constexpr std::chrono::milliseconds kRetryIn{10'000};

// The current images, and those that corrections have moved to another study: said to be gone in the report that takes
// the place of the earlier one.
std::vector<InstanceRecord> spoken_of(const storage::ReadyStudy& ready) {
  std::vector<InstanceRecord> images = ready.instances;
  for (InstanceRecord moved : ready.taken_back) {
    const bool is_here = std::any_of(ready.instances.begin(), ready.instances.end(), [&](const auto& current) {
      return current.sop_instance_uid == moved.sop_instance_uid;
    });
    if (is_here) continue;
    moved.state = InstanceState::kSkipped;
    moved.reason = "withdrawn: image moved to another study by a correction";
    images.push_back(std::move(moved));
  }
  return images;
}

bool routed(const InstanceRecord& instance) { return !instance.route.tasks.empty(); }

// Every image of which anything was asked is in shadow.
bool all_in_shadow(const std::vector<InstanceRecord>& instances) {
  bool any = false;
  for (const InstanceRecord& instance : instances) {
    if (!routed(instance)) continue;
    if (!instance.route.shadow) return false;
    any = true;
  }
  return any;
}

// Who was to have a study object of an earlier revision, unless a person gave it up, whatever the images are routed to
// by now: what it says may hold no more.
Result<std::set<std::string>> told_before(const storage::ReadyStudy& ready, storage::StudyStore& store) {
  std::set<std::string> objects;
  for (const storage::ResultRecord& result : ready.earlier_results)
    if (result.source_uid == ready.study_instance_uid.str()) objects.insert(result.sop_instance_uid.str());
  std::set<std::string> told;
  if (objects.empty()) return told;
  storage::DeliveryFilter all;
  all.study = ready.study_instance_uid;
  all.limit = std::numeric_limits<int>::max();
  NODE_ASSIGN_OR_RETURN(const auto deliveries, store.list_deliveries(all));
  for (const storage::DeliveryRecord& delivery : deliveries)
    if (objects.contains(delivery.sop_instance_uid) && delivery.state != storage::DeliveryState::kGivenUp)
      told.insert(delivery.destination);
  return told;
}

// All is in shadow by now, of which nothing leaves; but what was said of it before has to be taken back.
void say_nothing_of(std::vector<InstanceRecord>& images) {
  for (InstanceRecord& image : images) {
    if (!routed(image)) continue;
    image.state = InstanceState::kSkipped;
    image.reason = "no longer reported on since a correction";
    image.route.tasks.clear();
    image.route.results_to.clear();
    image.predictions.clear();
  }
}

// What the report speaks of: images, analysed or not; no SR, PDF or presentation state that travels with them, and not
// what only bears another image's UID.
bool reported(const InstanceRecord& instance, bool shadow_too) {
  if (instance.state == InstanceState::kConflict) return false;
  if (routed(instance)) return shadow_too || !instance.route.shadow;
  return dcmIsImageStorageSOPClassUID(instance.sop_class_uid.c_str());
}

Result<ReportedImage> to_reported_image(const InstanceRecord& record, const storage::Spool& spool) {
  ReportedImage image{record, spool.path(record.file.key), {}};
  if (record.state == InstanceState::kAnalysed) {
    for (const storage::StoredPrediction& stored : record.predictions) {
      Result<object::FindingRecord> finding = object::decode_finding(stored);
      if (!finding.ok())
        return finding.status().within("finding " + stored.task + " of " + record.sop_instance_uid.str());
      image.findings.push_back(std::move(finding).value());
    }
  }
  image.record.predictions.clear();  // Decoded above; the maps need not be held twice.
  return image;
}

// What of earlier revisions may name patient and study: the newest first, as long as retention leaves them.
std::vector<std::filesystem::path> earlier_objects(const storage::ReadyStudy& ready, const storage::Spool& spool) {
  std::vector<std::filesystem::path> files;
  for (auto result = ready.earlier_results.rbegin(); result != ready.earlier_results.rend(); ++result)
    if (!result->transfer_syntax_uid.empty()) files.push_back(spool.path(result->file.key));  // No message.
  return files;
}

// The newest of each kind and source before this report. Of one made by an early version of this program the series
// stands only in its file; once that was purged the report goes without the reference.
std::vector<Predecessor> predecessors(const storage::ReadyStudy& ready, const storage::Spool& spool) {
  std::vector<Predecessor> found;
  std::set<std::pair<std::string, std::string>> seen;
  for (auto result = ready.earlier_results.rbegin(); result != ready.earlier_results.rend(); ++result) {
    if (!result->task.empty() || !seen.emplace(result->kind, result->source_uid).second) continue;
    std::string series_instance_uid = result->series_instance_uid;
    if (series_instance_uid.empty()) {
      const Result<object::InstanceHeader> header = object::read_instance_header(spool.path(result->file.key));
      if (!header.ok()) continue;
      series_instance_uid = header->series_instance_uid;
    }
    const Result<storage::Uid> series = storage::Uid::parse(series_instance_uid);
    if (!series.ok()) continue;
    found.push_back({result->kind, result->source_uid, result->sop_instance_uid, *series, result->sop_class_uid});
  }
  return found;
}

// Objects of one study on their way into the spool; what is not kept() is removed again.
class SpooledResults {
 public:
  explicit SpooledResults(storage::Spool& spool) : spool_(spool) {}
  ~SpooledResults() {
    if (kept_) return;
    for (const storage::ResultRecord& result : results_) {
      const Status removed = spool_.remove(result.file.key);
      if (!removed.ok()) spdlog::warn("event=spool_remove_failed reason=\"{}\"", removed.message());
    }
  }

  Status add(const ResultObject& object) {
    NODE_ASSIGN_OR_RETURN(storage::StoredFile file, spool_.store(object.bytes, object.sop_instance_uid));
    results_.push_back({object.sop_instance_uid, object.kind, object.source_uid, object.task, object.revision,
                        object.series_instance_uid.str(), object.sop_class_uid, object.transfer_syntax_uid,
                        std::move(file)});
    return ok_status();
  }
  void deliver(const storage::Uid& uid, const std::set<std::string>& destinations, DeliveryStage stage,
               const std::string& after = "") {
    for (const std::string& destination : destinations) deliveries_.push_back({destination, uid, stage, after});
  }
  void keep() { kept_ = true; }
  const std::vector<storage::ResultRecord>& results() const { return results_; }
  const std::vector<storage::NewDelivery>& deliveries() const { return deliveries_; }

 private:
  storage::Spool& spool_;
  std::vector<storage::ResultRecord> results_;
  std::vector<storage::NewDelivery> deliveries_;
  bool kept_ = false;
};

}  // namespace

Result<ReportedStudyCounts> report_study(const storage::ReadyStudy& ready, const config::ReportConfig& config,
                                         storage::Spool& spool, storage::StudyStore& store) {
  std::vector<InstanceRecord> images = spoken_of(ready);
  NODE_ASSIGN_OR_RETURN(std::set<std::string> all_destinations, told_before(ready, store));
  if (!all_destinations.empty() && all_in_shadow(images)) say_nothing_of(images);
  const bool shadow = all_in_shadow(images);
  ResultContext context;
  context.node_uid = store.node_uid().str();
  context.config = config;
  context.kind_prefix = shadow ? "shadow-" : "";
  context.revision = std::to_string(ready.revision);
  context.time = ready.closed_at;

  ReportedStudy study{ready.study_instance_uid,     ready.revision, {}, {}, predecessors(ready, spool),
                      earlier_objects(ready, spool)};
  Recipients recipients;
  std::set<storage::Uid> made_before;
  for (const storage::ResultRecord& result : ready.earlier_results) made_before.insert(result.sop_instance_uid);
  for (const InstanceRecord& record : images) {
    if (!reported(record, shadow)) continue;
    NODE_ASSIGN_OR_RETURN(ReportedImage image, to_reported_image(record, spool));
    const std::vector<std::string>& destinations = record.route.results_to;
    add_recipients(recipients, config, destinations, FormOf::kImage, record.sop_instance_uid.str());
    all_destinations.insert(destinations.begin(), destinations.end());
    study.add(std::move(image));
  }
  const bool any_routed = std::any_of(images.begin(), images.end(), routed);
  if (config.report_skipped && !any_routed && all_destinations.empty())  // Somebody must be told.
    all_destinations.insert(config.skipped_to.begin(), config.skipped_to.end());
  add_recipients(recipients, config, {all_destinations.begin(), all_destinations.end()}, FormOf::kStudy,
                 ready.study_instance_uid.str());
  const std::map<std::string, Recipients> variants = take_out_variants(recipients, config, all_destinations);

  SpooledResults spooled(spool);
  ReportedStudyCounts counts;
  counts.shadow = shadow;
  const auto build = [&](const ReportedStudy& of, const Recipients& readers, const ResultContext& in) {
    const auto take = [&](const Form& form, const ResultReference& reference, const ResultObject& object) -> Status {
      NODE_RETURN_IF_ERROR(spooled.add(object));
      ++(form.illustrates ? counts.overlays : counts.reports);
      if (!shadow)
        spooled.deliver(object.sop_instance_uid, readers.at({reference.form, reference.source_uid}), form.stage);
      return ok_status();
    };
    return build_study_objects(of, wanted(readers), made_before, in, take);
  };
  NODE_RETURN_IF_ERROR(build(study, recipients, context));
  for (const auto& [picture, readers] : variants) {
    ReportedStudy same = study;
    ResultContext other = context;
    other.variant = picture.empty() ? "-plain" : "-" + picture;
    for (const Form& form : forms())
      if (form.word == picture) same.illustrations = pictures_of(study, form, wanted(recipients), made_before, context);
    NODE_RETURN_IF_ERROR(build(same, readers, other));
  }
  for (const config::MessageConfig& message : config.messages) {
    if (shadow || !all_destinations.contains(message.name)) continue;
    NODE_ASSIGN_OR_RETURN(const ResultObject object, make_message(study, ready.urgent, message, context));
    NODE_RETURN_IF_ERROR(spooled.add(object));
    spooled.deliver(object.sop_instance_uid, {message.name}, DeliveryStage::kMessage, message.after);
  }

  // Whatever it answers, the files stay: after an unknown outcome rows may name them.
  spooled.keep();
  object::crash_point("built");
  NODE_RETURN_IF_ERROR(store.finish_study(ready.token, spooled.results(), spooled.deliveries()));
  object::crash_point("finished");
  counts.deliveries = static_cast<int>(spooled.deliveries().size());
  return counts;
}

struct ReportWorker::Impl {
  Replaceable<config::ReportConfig> config;
  storage::Spool& spool;
  storage::StudyStore& store;
  std::thread thread;
  mutable Mutex mutex;
  ConditionVariable wake;
  bool stopping GUARDED_BY(mutex) = false;
  ReportStats stats GUARDED_BY(mutex);
  std::optional<std::chrono::steady_clock::time_point> taken GUARDED_BY(mutex);  // The study in hand.

  Impl(config::ReportConfig config_, storage::Spool& spool_, storage::StudyStore& store_)
      : config(std::move(config_)), spool(spool_), store(store_) {}

  bool is_stopping() const {
    MutexLock lock(mutex);
    return stopping;
  }

  void run() {
    object::SaidOnce claiming("report_claim");
    while (!is_stopping()) {
      const Result<std::optional<storage::ReadyStudy>> ready = store.claim_ready_study(kClaimWait);
      if (!ready.ok()) {
        if (ready.status().code() == StatusCode::kUnavailable) return;  // The store has stopped.
        // The store is in trouble; health() says so to whoever asks. Do not ask it again at once.
        claiming.failed(ready.status());
        pause();
      } else {
        claiming.works();
        if (ready->has_value()) handle(**ready);
      }
    }
  }

  void note_taken(std::optional<std::chrono::steady_clock::time_point> when) {
    MutexLock lock(mutex);
    taken = when;
  }

  void pause() {
    MutexLock lock(mutex);
    if (!stopping) wake.wait_for(lock, std::chrono::seconds(1));
  }

  void handle(const storage::ReadyStudy& ready) {
    const std::string& uid = ready.study_instance_uid.str();
    note_taken(std::chrono::steady_clock::now());
    const Result<ReportedStudyCounts> done = report_study(ready, *config.get(), spool, store);
    note_taken(std::nullopt);  // What it may wait for now, the store, can be named.
    if (done.ok()) {
      spdlog::info(
          "event=study_reported study_instance_uid={} revision={} images={} overlays={} reports={} deliveries={} "
          "shadow={}",
          uid, ready.revision, ready.instances.size(), done->overlays, done->reports, done->deliveries, done->shadow);
      MutexLock lock(mutex);
      ++stats.studies;
      stats.reports += static_cast<std::uint64_t>(done->reports);
      stats.overlays += static_cast<std::uint64_t>(done->overlays);
      return;
    }
    const StatusCode code = done.status().code();
    // A store that fails is no fault of the study.
    const bool later =
        code == StatusCode::kUnavailable || code == StatusCode::kResourceExhausted || !store.health().ok();
    spdlog::error("event=study_report_failed study_instance_uid={} revision={} again={} reason=\"{}\"", uid,
                  ready.revision, later, done.status().message());
    {
      MutexLock lock(mutex);
      ++(later ? stats.retries : stats.failures);
    }
    const Status put_back = storage::until_recorded(
        [&] {
          return later ? store.release_study(ready.token, kRetryIn)
                       : store.fail_study(ready.token, done.status().message());
        },
        [this] {
          MutexLock lock(mutex);
          return stopping;
        });
    if (!put_back.ok())
      spdlog::error("event=report_not_recorded study_instance_uid={} reason=\"{}\"", uid, put_back.message());
  }
};

ReportWorker::ReportWorker(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

std::unique_ptr<ReportWorker> ReportWorker::start(config::ReportConfig config, storage::Spool& spool,
                                                  storage::StudyStore& store) {
  auto impl = std::make_unique<Impl>(std::move(config), spool, store);
  Impl& running = *impl;
  running.thread = std::thread([&running] { running.run(); });
  return std::unique_ptr<ReportWorker>(new ReportWorker(std::move(impl)));
}

ReportWorker::~ReportWorker() { stop(); }

void ReportWorker::stop() {
  {
    MutexLock lock(impl_->mutex);
    impl_->stopping = true;
    impl_->wake.notify_all();
  }
  if (impl_->thread.joinable()) impl_->thread.join();
}

void ReportWorker::set_config(config::ReportConfig config) { impl_->config.replace(std::move(config)); }

ReportStats ReportWorker::stats() const {
  MutexLock lock(impl_->mutex);
  ReportStats stats = impl_->stats;
  if (impl_->taken) stats.stuck = std::chrono::steady_clock::now() - *impl_->taken;
  return stats;
}

}  // namespace node::report
