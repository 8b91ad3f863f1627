// AnalysisWorker: one instance from claim to stored prediction.
//
// Guarantee: every claimed instance ends (ANALYSED, SKIPPED or FAILED with a reason) or is given back; its scores and
// map
//            are stored in one transaction.
// Threads:   `load_workers` loaders, each takes a free slot, claims, loads and submits; two finishers store the
// answers,
//            since a loader that waits for work cannot wait for answers too. At most `in_flight_max` requests are out,
//            so memory is bounded and analysis never pushes back on intake. Spool, store and predictor outlive the
//            worker.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "config/base/status.h"
#include "dicom_node/analyze/urgency.h"
#include "inference/predictor.h"
#include "storage/spool.h"
#include "storage/study_store.h"

namespace node::analyze {

struct AnalysisOptions {
  int load_workers = 1;    // One a core.
  int in_flight_max = 32;  // Requests that the predictor has not answered; twice the largest batch.
  UrgentWhen urgent_when = {};
};

struct AnalysisStats {
  std::uint64_t analysed = 0, skipped = 0, failed = 0, given_back = 0;
  std::int64_t in_flight = 0;
  std::chrono::steady_clock::duration stuck{};  // Since something was in flight and nothing came back.
};

class AnalysisWorker {
 public:
  static std::unique_ptr<AnalysisWorker> start(const AnalysisOptions& options, storage::Spool& spool,
                                               storage::StudyStore& store, inference::Predictor& predictor);
  ~AnalysisWorker();  // As stop().

  // Claims nothing more, waits for the answers that are out and stores them, joins. May be called twice.
  // StudyStore::stop() comes first where the worker should not wait for its next claim to time out.
  void stop();
  // From the next answer on. Threads: any.
  void set_urgent_when(UrgentWhen urgent_when);
  AnalysisStats stats() const;

 private:
  struct Impl;
  explicit AnalysisWorker(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace node::analyze
