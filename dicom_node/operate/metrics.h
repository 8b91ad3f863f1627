// metrics: what the stages count, as Prometheus reads it (`GET /metrics`).
//
// Guarantee: nothing is counted here; each module counts for itself, and a scrape takes one snapshot of each. Names of
//            peers, tasks and models of the configuration are labels; nothing of a patient or a study is.
// Threads:   reentrant.
// Source:    Prometheus text exposition format 0.0.4; README.md, "Metrics", lists the names.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "dicom_node/analyze/analysis_worker.h"
#include "dicom_node/deliver/delivery_worker.h"
#include "dicom_node/operate/retention_worker.h"
#include "dicom_node/receive/store_scp.h"
#include "dicom_node/report/report_worker.h"
#include "inference/predictor.h"
#include "storage/study_store.h"

namespace node::operate {

struct HttpRefusals {
  std::uint64_t tls = 0;        // No agreement on TLS.
  std::uint64_t token = 0;      // A wrong one.
  std::uint64_t no_token = 0;   // Nor a session.
  std::uint64_t malformed = 0;  // No HTTP, or too long.
  std::uint64_t late = 0;       // No whole request in time.
  std::uint64_t host = 0;       // Asked for under a name that is not this node's.
  std::uint64_t no_room =
      0;                   // Connections closed for a new one, as their client waited longest; or with no room for one.
  std::uint64_t busy = 0;  // Answered that too much is asked for at once: images to try, pages that follow.
};

// One snapshot of every stage.
struct NodeStats {
  bool ready = false;
  bool reloaded = true;  // False: the last attempt was refused.
  std::string version;
  receive::StoreScpStats receive{};
  storage::StoreStats store{};
  analyze::AnalysisStats analysis{};
  inference::PredictorStats inference{};
  std::vector<inference::TaskInfo> tasks{};
  report::ReportStats report{};
  std::map<std::string, deliver::DeliveryStats> deliveries{};  // By destination.
  RetentionStats retention{};
  HttpRefusals http{};
  std::map<std::string, double> certificate_days{};  // Until each ends, by "node.tls.certificate_file".
  std::uint64_t disk_free_bytes = 0, disk_reserve_bytes = 0;
  std::int64_t losses = 0;           // Stored objects that are gone or not as they were stored.
  std::int64_t losses_accepted = 0;  // The same, of which a person has said that nothing will bring them back.
  // At the start: files without a row, that were known, that were new, that could not be taken in.
  std::int64_t orphans_deleted = 0, orphans_taken_in = 0, orphans_kept = 0;
};

inline constexpr const char* kMetricsType = "text/plain; version=0.0.4; charset=utf-8";
std::string metrics_text(const NodeStats& stats);

}  // namespace node::operate
