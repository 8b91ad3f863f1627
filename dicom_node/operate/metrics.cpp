#include "dicom_node/operate/metrics.h"

#include <dirent.h>
#include <fmt/format.h>
#include <prometheus/text_serializer.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <fstream>
#include <set>
#include <sstream>
#include <tuple>
#include <utility>

#include "config/base/clock.h"
#include "dicom_node/receive/intake.h"

namespace node::operate {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

class Families {
 public:
  // Further metrics go to the family that was named last.
  Families& counter(std::string name, std::string help) { return begin(name, help, MetricType::Counter); }
  Families& gauge(std::string name, std::string help) { return begin(name, help, MetricType::Gauge); }

  template <typename Number>
  Families& add(Number value, Labels labels = {}) {
    ClientMetric metric;
    metric.label = std::move(labels);
    const bool counts = families_.back().type == MetricType::Counter;
    (counts ? metric.counter.value : metric.gauge.value) = static_cast<double>(value);
    families_.back().metric.push_back(std::move(metric));
    return *this;
  }

  void histogram(std::string name, std::string help, const HistogramSnapshot& values) {
    begin(name, help, MetricType::Histogram);
    ClientMetric metric;
    auto& histogram = metric.histogram;
    for (std::size_t i = 0; i < values.counts.size(); ++i) {
      histogram.sample_count += values.counts[i];
      if (i < values.bounds.size()) histogram.bucket.push_back({histogram.sample_count, values.bounds[i]});
    }
    histogram.sample_sum = values.sum;  // The serializer adds the range without end.
    families_.back().metric.push_back(std::move(metric));
  }

  std::string text() const {
    std::ostringstream out;
    prometheus::TextSerializer().Serialize(out, families_);
    return out.str();
  }

 private:
  Families& begin(const std::string& name, const std::string& help, MetricType type) {
    families_.push_back({name, help, type, {}});
    return *this;
  }
  std::vector<MetricFamily> families_;
};

void put_receive(const receive::StoreScpStats& stats, Families& out) {
  out.gauge("skelex_associations_open", "Associations with peers that are open now").add(stats.associations_open);
  out.counter("skelex_associations_total", "Associations accepted").add(stats.associations_total);
  out.counter("skelex_associations_aborted_total", "Accepted associations that ended otherwise than by a release")
      .add(stats.aborted_total);
  out.counter("skelex_associations_rejected_total", "Associations refused, by reason")
      .add(stats.rejected_called_ae_total, {{"reason", "called_ae_title"}})
      .add(stats.rejected_calling_ae_total, {{"reason", "calling_ae_title"}})
      .add(stats.rejected_certificate_total, {{"reason", "certificate"}})
      .add(stats.tls_failures_total, {{"reason", "tls"}})
      .add(stats.rejected_limit_total, {{"reason", "limit"}})
      .add(stats.rejected_other_total, {{"reason", "malformed_or_no_context"}})
      .add(stats.requests_expired_total, {{"reason", "no_request_in_time"}});
  out.counter("skelex_echoes_total", "C-ECHO requests answered").add(stats.echoes_total);
  out.counter("skelex_instances_received_total", "Instances stored as new").add(stats.received_total);
  out.counter("skelex_instances_not_analysed_total", "Instances stored, new or corrected, that no task was asked of")
      .add(stats.not_analysed_total);
  out.counter("skelex_instances_repeated_total", "Instances whose UID was held already, by what they were")
      .add(stats.resends_total, {{"kind", "resend"}})
      .add(stats.corrections_total, {{"kind", "correction"}})
      .add(stats.conflicts_total, {{"kind", "conflict"}})
      .add(stats.own_results_total, {{"kind", "own_result"}});
  out.counter("skelex_received_bytes_total", "Bytes of data sets received").add(stats.received_bytes);
  out.counter("skelex_stores_refused_total", "C-STORE requests answered otherwise than with success, by status");
  auto refused = stats.refused_by_status;  // From 0 on, so that the first is an increase too.
  for (const std::uint16_t status : receive::kRefusals) refused.try_emplace(status, 0);
  for (const auto& [status, times] : refused) out.add(times, {{"status", fmt::format("{:04X}", status)}});
  out.histogram("skelex_store_seconds", "From a C-STORE request to its answer", stats.store_seconds);
}

double seconds_since(std::optional<WallTime> time) {
  if (!time) return 0;
  return std::max(0.0, std::chrono::duration<double>(SystemClock().now() - *time).count());
}

void put_store(const storage::StoreStats& stats, Families& out) {
  out.gauge("skelex_instances_waiting", "Instances received and not analysed yet").add(stats.instances_waiting);
  out.gauge("skelex_oldest_waiting_seconds", "Since the instance that waits longest was received; 0: none waits")
      .add(seconds_since(stats.waiting_since));
  out.gauge("skelex_studies_open", "Studies that still take images").add(stats.studies_open);
  out.gauge("skelex_conflicts", "Instances kept aside: a UID that came with other pixels").add(stats.conflicts);
  out.gauge("skelex_deliveries_pending", "Deliveries that are due or wait for their time")
      .add(stats.deliveries_pending);
  out.gauge("skelex_deliveries_parked", "Deliveries that wait for a person").add(stats.deliveries_parked);
  out.gauge("skelex_deliveries_given_up", "Deliveries that a person has given up").add(stats.deliveries_given_up);
  out.counter("skelex_store_writes_total", "Durable writes of the store").add(stats.writes);
  out.counter("skelex_store_commits_total", "Transactions that those writes shared").add(stats.commits);
  out.histogram("skelex_delivered_result_seconds",
                "From a study's last image to each of its results that a destination took", stats.delivered_after);
}

void put_analysis(const NodeStats& stats, Families& out) {
  out.counter("skelex_instances_ended_total", "Instances that analysis was done with, by outcome")
      .add(stats.analysis.analysed, {{"outcome", "analysed"}})
      .add(stats.analysis.skipped, {{"outcome", "skipped"}})
      .add(stats.analysis.failed, {{"outcome", "failed"}});
  out.counter("skelex_instances_given_back_total", "Instances that analysis gave back, to be tried again later")
      .add(stats.analysis.given_back);
  out.gauge("skelex_analyses_in_flight", "Requests that inference has not answered").add(stats.analysis.in_flight);
  out.counter("skelex_inference_requests_total", "Requests to inference").add(stats.inference.requests);
  out.counter("skelex_inference_failures_total", "Requests that inference failed").add(stats.inference.failures);
  out.counter("skelex_inference_backbone_rows_total", "Rows through an encoder").add(stats.inference.backbone_passes);
  out.counter("skelex_inference_halved_batches_total", "Times that a batch was halved: device memory did not suffice")
      .add(stats.inference.halved_batches);
  out.gauge("skelex_inference_waiting", "Items that wait for a batch").add(stats.inference.waiting);
  out.histogram("skelex_inference_batch_rows", "Rows of each batch", stats.inference.batch_rows);
  out.gauge("skelex_device_memory_free_bytes", "Free memory of each device that has models; of the CPU, the machine's");
  for (const auto& memory : stats.inference.memory) out.add(memory.free_bytes, {{"device", memory.device}});
  out.gauge("skelex_device_memory_total_bytes", "Memory of each device that has models");
  for (const auto& memory : stats.inference.memory) out.add(memory.total_bytes, {{"device", memory.device}});
  out.gauge("skelex_model_info", "The models that are loaded, where and how");
  std::set<std::tuple<std::string, std::string, std::string, std::string>> models;
  for (const inference::TaskInfo& task : stats.tasks) {
    models.emplace(task.model, task.device, task.precision, task.model_digest);
  }
  for (const auto& [model, device, precision, digest] : models) {
    out.add(1, {{"model", model}, {"device", device}, {"precision", precision}, {"digest", digest}});
  }
}

void put_results(const NodeStats& stats, Families& out) {
  out.counter("skelex_studies_reported_total", "Studies that were reported").add(stats.report.studies);
  out.counter("skelex_report_failures_total", "Studies that could not be reported").add(stats.report.failures);
  out.counter("skelex_report_retries_total", "Reports put off until later").add(stats.report.retries);
  out.counter("skelex_results_made_total", "Objects made, by whether they show an image or speak of a study")
      .add(stats.report.overlays, {{"of", "image"}})
      .add(stats.report.reports, {{"of", "study"}});

  out.counter("skelex_deliveries_total", "Attempts to deliver, by destination and outcome");
  for (const auto& [destination, sent] : stats.deliveries) {
    const auto outcome = [name = destination](const char* word) {
      return Labels{{"destination", name}, {"outcome", word}};
    };
    out.add(sent.delivered - sent.warnings, outcome("delivered"))
        .add(sent.warnings, outcome("delivered_with_warning"))
        .add(sent.retries, outcome("put_off"))
        .add(sent.parked, outcome("parked"));
  }
  out.gauge("skelex_destination_up", "1: the destination was reached when last tried");
  for (const auto& [destination, sent] : stats.deliveries) out.add(sent.reachable, {{"destination", destination}});
}

void put_disk(const NodeStats& stats, Families& out) {
  out.gauge("skelex_disk_free_bytes", "Free bytes of the store's file system").add(stats.disk_free_bytes);
  out.gauge("skelex_disk_reserve_bytes", "Below so many free bytes no image is taken (storage.free_bytes_min)")
      .add(stats.disk_reserve_bytes);
  out.gauge("skelex_data_losses", "Stored objects that are gone, or not as they were stored").add(stats.losses);
  out.gauge("skelex_data_losses_accepted", "The same, of which a person has accepted the loss")
      .add(stats.losses_accepted);
  out.gauge("skelex_orphans_deleted",
            "Files that no row named, deleted at the last start: the store has had their bytes")
      .add(stats.orphans_deleted);
  out.gauge("skelex_orphans_taken_in", "Files that no row named, taken in at the last start as if they came again")
      .add(stats.orphans_taken_in);
  out.gauge("skelex_orphans_kept", "Files that no row named and that could not be taken in at the last start")
      .add(stats.orphans_kept);
  out.counter("skelex_files_purged_total", "Files that retention deleted")
      .add(stats.retention.originals, {{"of", "original"}})
      .add(stats.retention.results, {{"of", "result"}});
  out.counter("skelex_purged_bytes_total", "Bytes that retention deleted").add(stats.retention.bytes);
  out.counter("skelex_retention_failures_total", "Looks of retention that failed").add(stats.retention.failures);
}

void put_security(const NodeStats& stats, Families& out) {
  out.counter("skelex_http_refused_total", "HTTP connections and requests refused, by reason")
      .add(stats.http.tls, {{"reason", "tls"}})
      .add(stats.http.token, {{"reason", "token"}})
      .add(stats.http.no_token, {{"reason", "no_token"}})
      .add(stats.http.malformed, {{"reason", "malformed"}})
      .add(stats.http.late, {{"reason", "no_request_in_time"}})
      .add(stats.http.host, {{"reason", "host"}})
      .add(stats.http.no_room, {{"reason", "no_room"}})
      .add(stats.http.busy, {{"reason", "busy"}});
  out.gauge("skelex_tls_certificate_left_seconds", "Until the first certificate of a file ends, by the file's key");
  for (const auto& [key, days] : stats.certificate_days) out.add(days * 86'400, {{"certificate", key}});
}

// As Prometheus' own client libraries name them. What /proc does not tell is left out.
void put_process(Families& out) {
  std::ifstream file("/proc/self/stat");
  std::string line;
  std::getline(file, line);
  std::istringstream fields(line.substr(std::min(line.rfind(')') + 2, line.size())));  // From the third on: proc(5).
  std::vector<double> values;
  std::string state;
  fields >> state;
  for (double value; fields >> value;) values.push_back(value);
  if (values.size() < 21) return;
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  out.counter("process_cpu_seconds_total", "CPU time, user and system").add((values[10] + values[11]) / ticks);
  out.gauge("process_virtual_memory_bytes", "Virtual memory").add(values[19]);
  out.gauge("process_resident_memory_bytes", "Resident memory").add(values[20] * sysconf(_SC_PAGESIZE));
  timespec since_boot{}, now{};
  clock_gettime(CLOCK_BOOTTIME, &since_boot);
  clock_gettime(CLOCK_REALTIME, &now);
  const double boot = static_cast<double>(now.tv_sec - since_boot.tv_sec) + (now.tv_nsec - since_boot.tv_nsec) / 1e9;
  out.gauge("process_start_time_seconds", "Start of the process, in seconds since 1970").add(boot + values[18] / ticks);
  int descriptors = 0;
  if (DIR* const directory = opendir("/proc/self/fd")) {
    while (readdir(directory) != nullptr) ++descriptors;
    closedir(directory);
    out.gauge("process_open_fds", "Open file descriptors").add(descriptors - 3);  // ".", "..", and its own.
  }
}

}  // namespace

std::string metrics_text(const NodeStats& stats) {
  Families out;
  out.gauge("skelex_build_info", "The version that runs").add(1, {{"version", stats.version}});
  out.gauge("skelex_config_last_reload_successful",
            "0: the last reload (SIGHUP) was refused, all that was in force stays")
      .add(stats.reloaded);
  out.gauge("skelex_ready", "1: the node takes images and makes results, as /readyz says").add(stats.ready);
  put_receive(stats.receive, out);
  put_store(stats.store, out);
  put_analysis(stats, out);
  put_results(stats, out);
  put_disk(stats, out);
  put_security(stats, out);
  put_process(out);
  return out.text();
}

}  // namespace node::operate
