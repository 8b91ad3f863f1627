#include "dicom_node/operate/retention_worker.h"

#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <optional>
#include <thread>

#include "config/base/mutex.h"
#include "dicom_node/object/said_once.h"

namespace node::operate {
namespace {

using std::chrono::milliseconds;

constexpr std::chrono::seconds kLookEvery{10};
constexpr std::chrono::minutes kPatience{10};  // With deletions for the disk that freed nothing.
constexpr int kFilesAtOnce = 32;
constexpr int kNiceness = 19;

std::optional<milliseconds> kept_for(int days) {
  return days > 0 ? std::optional<milliseconds>(std::chrono::days(days)) : std::nullopt;  // 0: for ever.
}

}  // namespace

struct RetentionWorker::Impl {
  Impl(const config::StorageConfig& config_in, Clock& clock_in, storage::Spool& spool_in, storage::StudyStore& store_in)
      : config(config_in), clock(clock_in), spool(spool_in), store(store_in) {}

  const config::StorageConfig config;
  Clock& clock;
  storage::Spool& spool;
  storage::StudyStore& store;
  mutable Mutex mutex;
  ConditionVariable wake;
  bool stopping GUARDED_BY(mutex) = false;
  RetentionStats stats GUARDED_BY(mutex);
  // Of the last time that the disk made it delete; of its thread alone.
  std::uint64_t disk_sum = 0, disk_free_before = 0;
  SteadyTime disk_purged_at{};
  std::thread thread;

  bool is_stopping() const {
    MutexLock lock(mutex);
    return stopping;
  }

  void run() {
    ::setpriority(PRIO_PROCESS, 0, kNiceness);  // Of this thread alone, on Linux.
    object::SaidOnce looking("retention");
    while (!is_stopping()) {
      if (const Status looked = look(); looked.ok()) {
        looking.works();
      } else {
        looking.failed(looked);
        MutexLock lock(mutex);
        ++stats.failures;
      }
      MutexLock lock(mutex);
      const SteadyTime next = clock.steady_now() + kLookEvery;
      while (!stopping && clock.steady_now() < next) clock.wait_until(wake, lock, next);
    }
  }

  Status look() {
    const storage::PurgeLimits by_age{kept_for(config.originals_days), kept_for(config.results_days)};
    for (bool more = true; more && !is_stopping();) {
      NODE_ASSIGN_OR_RETURN(const auto deleted, purge(by_age, "age"));
      more = deleted.has_value();
    }
    // What is kept for ever is not for the disk to decide either.
    storage::PurgeLimits by_disk;
    if (by_age.originals_kept) by_disk.originals_kept = milliseconds(0);
    if (by_age.results_kept) by_disk.results_kept = milliseconds(0);
    NODE_ASSIGN_OR_RETURN(const std::uint64_t free_bytes, spool.free_bytes());
    if (free_bytes >= config.free_bytes_low) return ok_status();
    if (const SteadyTime now = clock.steady_now(); disk_sum > 0) {
      // Files with other names, as in a backup on the same volume, free nothing: then all that is at rest would go.
      if (free_bytes < disk_free_before + disk_sum / 2 && now < disk_purged_at + kPatience) return ok_status();
      if (free_bytes < disk_free_before + disk_sum / 2) {
        spdlog::error(
            "event=purge_freed_nothing deleted_bytes={} free_before={} free_bytes={} reason=\"another program fills "
            "the "
            "disk, or the files have other names, as in a backup on the same volume\"",
            disk_sum, disk_free_before, free_bytes);
      }
    }
    // No more than what is missing: a file system may take its time to count what was deleted as free.
    const std::uint64_t missing = config.free_bytes_low - free_bytes;
    disk_sum = 0;
    disk_free_before = free_bytes;
    disk_purged_at = clock.steady_now();
    while (disk_sum < missing && !is_stopping()) {
      NODE_ASSIGN_OR_RETURN(const auto deleted, purge(by_disk, "disk"));
      if (!deleted) break;
      disk_sum += *deleted;
    }
    return ok_status();
  }

  // A few files; their bytes, or nothing if there are no more. Errors also: a file that cannot be deleted.
  Result<std::optional<std::uint64_t>> purge(const storage::PurgeLimits& limits, const char* reason) {
    NODE_ASSIGN_OR_RETURN(const storage::PurgedFiles purged, store.purge(limits, kFilesAtOnce));
    if (purged.originals.empty() && purged.results.empty()) return std::optional<std::uint64_t>();
    std::uint64_t bytes = 0;
    Status failure;
    for (const auto* files : {&purged.originals, &purged.results}) {
      for (const storage::StoredFile& file : *files) {
        bytes += file.size_bytes;
        const Status removed = spool.remove(file.key);
        if (!removed.ok()) failure = removed;  // It has no row any more: the next start deletes it.
      }
    }
    spdlog::info("event=purged reason={} originals={} results={} bytes={}", reason, purged.originals.size(),
                 purged.results.size(), bytes);
    MutexLock lock(mutex);
    stats.originals += purged.originals.size();
    stats.results += purged.results.size();
    stats.bytes += bytes;
    if (!failure.ok()) return failure;
    return std::optional(bytes);
  }
};

RetentionWorker::RetentionWorker(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

std::unique_ptr<RetentionWorker> RetentionWorker::start(const config::StorageConfig& config, Clock& clock,
                                                        storage::Spool& spool, storage::StudyStore& store) {
  auto impl = std::make_unique<Impl>(config, clock, spool, store);
  Impl* self = impl.get();
  self->thread = std::thread([self] { self->run(); });
  return std::unique_ptr<RetentionWorker>(new RetentionWorker(std::move(impl)));
}

RetentionWorker::~RetentionWorker() { stop(); }

void RetentionWorker::stop() {
  {
    MutexLock lock(impl_->mutex);
    impl_->stopping = true;
    impl_->wake.notify_all();
  }
  if (impl_->thread.joinable()) impl_->thread.join();
}

RetentionStats RetentionWorker::stats() const {
  MutexLock lock(impl_->mutex);
  return impl_->stats;
}

}  // namespace node::operate
