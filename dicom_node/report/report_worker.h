// ReportWorker: one closed study from claim to finished, readable top to bottom in one function, report_study().
//
// Guarantee: before StudyStore::finish_study() nothing has left the node, after it nothing is redone; a study's failure
//            is that study's state and stops no other. What is full or not there now is tried again later.
// Threads:   one thread of its own, from start() to stop(). Spool and store must outlive the worker.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "config/base/status.h"
#include "config/report_config.h"
#include "storage/spool.h"
#include "storage/study_store.h"

namespace node::report {

struct ReportStats {
  std::uint64_t studies = 0, failures = 0, retries = 0, overlays = 0, reports = 0;
  std::chrono::steady_clock::duration stuck{};  // Since the study in hand was taken.
};

class ReportWorker {
 public:
  static std::unique_ptr<ReportWorker> start(config::ReportConfig config, storage::Spool& spool,
                                             storage::StudyStore& store);
  ~ReportWorker();  // As stop().

  // Finishes the study in hand and joins. May be called twice. StudyStore::stop() comes first where the worker should
  // not wait for its next claim to time out.
  void stop();
  void set_config(config::ReportConfig config);  // From the next study on. Threads: any.
  ReportStats stats() const;

 private:
  struct Impl;
  explicit ReportWorker(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

struct ReportedStudyCounts {
  int overlays = 0, reports = 0, deliveries = 0;  // overlays: all objects that show an image.
  bool shadow = false;
};

// Builds and spools the study's objects and finishes it with their deliveries:
// - each form that a destination takes is made once; of an image for the destinations of its own route, and not where
//   an earlier revision made it; of the study for all destinations of its routes;
// - the reports hold all findings that are not in shadow;
// - what has no destination is made in the default forms and kept here;
// - if every routed image is in shadow, all is built, under kinds of its own ("shadow-sr"), and nothing is sent.
// Errors: as build_study_objects(), Spool::store() and StudyStore::finish_study(). After one before finish_study() the
//         spool holds nothing of it.
Result<ReportedStudyCounts> report_study(const storage::ReadyStudy& ready, const config::ReportConfig& config,
                                         storage::Spool& spool, storage::StudyStore& store);

}  // namespace node::report
