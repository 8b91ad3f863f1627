// RetentionWorker: deletes the files of studies at rest, by age and when the disk runs low.
//
// Guarantee: only what StudyStore::purge() marks is deleted, and only after it is marked durably: a crash in between
//            leaves a file without a row that names it, which the next start deletes. Intake never waits for it: the
//            lowest priority, few files at a time, no lock held while a file is deleted.
// Threads:   one thread of its own, from start() to stop(). All arguments outlive the worker.
#pragma once

#include <cstdint>
#include <memory>

#include "config/base/clock.h"
#include "config/storage_config.h"
#include "storage/spool.h"
#include "storage/study_store.h"

namespace node::operate {

struct RetentionStats {
  std::uint64_t originals = 0, results = 0;  // Files deleted.
  std::uint64_t bytes = 0;
  std::uint64_t failures = 0;  // Looks that failed: at the store, or to delete a file.
};

class RetentionWorker {
 public:
  // Looks at once, then every ten seconds.
  static std::unique_ptr<RetentionWorker> start(const config::StorageConfig& config, Clock& clock,
                                                storage::Spool& spool, storage::StudyStore& store);
  ~RetentionWorker();  // As stop().

  void stop();  // Finishes the files in hand and joins. May be called twice.
  RetentionStats stats() const;

 private:
  struct Impl;
  explicit RetentionWorker(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace node::operate
