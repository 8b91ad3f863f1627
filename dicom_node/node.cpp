#include "dicom_node/node.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <thread>

#include "dicom_node/analyze/analysis_worker.h"
#include "dicom_node/deliver/commitment_worker.h"
#include "dicom_node/deliver/delivery_worker.h"
#include "dicom_node/deliver/message_sender.h"
#include "dicom_node/deliver/stow_sender.h"
#include "dicom_node/operate/certificates.h"
#include "dicom_node/operate/http_server.h"
#include "dicom_node/operate/listing_json.h"
#include "dicom_node/operate/retention_worker.h"
#include "dicom_node/operate/try_image.h"
#include "dicom_node/receive/store_scp.h"
#include "dicom_node/report/report_worker.h"
#include "dicom_node/route/router.h"
#include "storage/spool.h"
#include "storage/spool_check.h"
#include "storage/sqlite_study_store.h"

namespace node {

std::vector<std::string> task_names(const config::InferenceConfig& config) {
  std::vector<std::string> names;
  for (const config::TaskConfig& task : config.tasks) names.push_back(task.name);
  return names;
}

namespace {

// Whether a rule that is read again raises the urgency as the one of its name in force, where there is one.
bool same_urgency(const std::vector<config::RouteRule>& in_force, const config::RouteRule& rule) {
  const auto old =
      std::find_if(in_force.begin(), in_force.end(), [&](const auto& one) { return one.name == rule.name; });
  const std::vector<config::TaskCondition> none;
  const auto& before = old == in_force.end() ? none : old->urgent_when;
  return std::equal(before.begin(), before.end(), rule.urgent_when.begin(), rule.urgent_when.end(),
                    [](const config::TaskCondition& a, const config::TaskCondition& b) {
                      return a.task == b.task && a.label == b.label && a.at_least == b.at_least;
                    });
}

}  // namespace

struct Node::Impl {
  Impl(const config::NodeConfig& config_in, inference::Predictor& predictor_in)
      : config(config_in), predictor(predictor_in) {}

  const config::NodeConfig config;
  inference::Predictor& predictor;
  std::int64_t losses = 0;   // Rows whose file is gone; found at start.
  std::int64_t orphans = 0;  // Files without a row; found and deleted at start.
  // In the order of the flow, so that they are destroyed from the last to the first: each outlives its users.
  std::unique_ptr<storage::Spool> spool;
  std::unique_ptr<storage::StudyStore> store;
  std::unique_ptr<route::Router> router;
  std::unique_ptr<operate::TryImage> tries;
  std::unique_ptr<operate::HttpServer> http;
  std::unique_ptr<operate::RetentionWorker> retention;
  std::vector<std::unique_ptr<deliver::DeliveryWorker>> deliveries;
  std::vector<std::unique_ptr<deliver::CommitmentWorker>> commitments;
  std::unique_ptr<report::ReportWorker> reports;
  std::unique_ptr<analyze::AnalysisWorker> analysis;
  std::unique_ptr<receive::StoreScp> scp;
  std::atomic<bool> started{false};  // Every stage is there: until then the pages show the store alone.
  bool stopped = false;

  Status check_invariants(storage::FileSystem& file_system);
  std::vector<std::string> destinations() const;
  Status set_destinations();
  Status ready() const;
  operate::NodeStats stats() const;
};

// A file without a row: no peer was told Success and nothing was sent, so it is deleted. A row without its file is data
// loss. A file with other bytes than its row says is found where it is read, before each delivery.
Status Node::Impl::check_invariants(storage::FileSystem& file_system) {
  NODE_ASSIGN_OR_RETURN(const storage::SpoolCheck check,
                        storage::check_spool(config.storage.directory, file_system, *store));
  losses = std::ssize(check.lost);
  orphans = std::ssize(check.orphans);
  for (const std::string& key : check.lost) {
    spdlog::error("event=data_loss file={} reason=\"recorded, but not on the disk\"", key);
  }
  for (const std::string& key : check.orphans) {
    spdlog::warn("event=orphan_deleted file={} reason=\"no row: nobody was told Success\"", key);
    NODE_RETURN_IF_ERROR(spool->remove(key));
  }
  return ok_status();
}

std::vector<std::string> Node::Impl::destinations() const {
  std::vector<std::string> names;
  for (const config::PeerConfig& peer : config.delivery.peers) {
    if (peer.port != 0) names.push_back(peer.name);
  }
  for (const config::MessageConfig& message : config.messages) names.push_back(message.name);
  for (const config::DicomWebConfig& server : config.dicomweb) names.push_back(server.name);
  return names;
}

Status Node::Impl::set_destinations() {
  NODE_ASSIGN_OR_RETURN(const auto parked, store->set_destinations(destinations()));
  for (const auto& [destination, deliveries] : parked) {
    spdlog::warn("event=deliveries_parked destination={} deliveries={} reason=\"{}\"", destination, deliveries,
                 storage::kNoSuchDestination);
  }
  std::vector<std::string> committing, callable;
  for (const config::PeerConfig& peer : config.delivery.peers) {
    if (peer.port != 0) callable.push_back(peer.name);
    if (peer.port != 0 && peer.commitment) committing.push_back(peer.name);
  }
  NODE_ASSIGN_OR_RETURN(const auto freed, store->set_commitment_peers(committing, callable));
  for (const auto& [destination, deliveries] : freed) {
    spdlog::warn("event=commitment_not_wanted destination={} deliveries={} reason=\"commitment is not true for it any "
                 "more: what was delivered counts as it is\"",
                 destination, deliveries);
  }
  return ok_status();
}

Status Node::Impl::ready() const {
  NODE_RETURN_IF_ERROR(store->health());
  if (const std::int64_t lost = losses + spool->losses(); lost > 0) {
    return data_loss(
        fmt::format("{} stored objects are gone from {}, or not as they were stored: see event=data_loss "
                    "in the log",
                    lost, config.storage.directory));
  }
  if (const Status written = spool->health(); !written.ok()) {
    return unavailable(fmt::format("nothing can be written to {}: {}", config.storage.directory, written.message()));
  }
  NODE_ASSIGN_OR_RETURN(const std::uint64_t free, spool->free_bytes());
  if (free < config.storage.free_bytes_min) {
    return resource_exhausted(fmt::format("{} MiB free in {}, below the reserve of {} MiB (storage.free_bytes_min)",
                                          free >> 20, config.storage.directory, config.storage.free_bytes_min >> 20));
  }
  return ok_status();
}

operate::NodeStats Node::Impl::stats() const {
  operate::NodeStats stats;
  stats.version = config.report.node_version;
  stats.ready = ready().ok();
  stats.store = store->stats();
  stats.tasks = predictor.tasks();
  if (const auto free = spool->free_bytes(); free.ok()) stats.disk_free_bytes = *free;
  stats.disk_reserve_bytes = config.storage.free_bytes_min;
  stats.losses = losses + spool->losses();
  stats.orphans_deleted = orphans;
  stats.certificate_days = operate::client_certificate_days(config);
  if (!started) return stats;
  stats.http = http->refusals();
  operate::add_certificate_days("http.tls", http->certificates(), stats.certificate_days);
  operate::add_certificate_days("node.tls", scp->certificates(), stats.certificate_days);
  stats.receive = scp->stats();
  stats.analysis = analysis->stats();
  stats.inference = predictor.stats();
  stats.report = reports->stats();
  for (const auto& worker : deliveries) stats.deliveries[worker->destination()] = worker->stats();
  stats.retention = retention->stats();
  return stats;
}

Node::Node(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Node::~Node() { stop(); }

Result<std::unique_ptr<Node>> Node::start(const config::NodeConfig& config, Clock& clock,
                                          storage::FileSystem& file_system, inference::Predictor& predictor) {
  auto impl = std::make_unique<Impl>(config, predictor);
  // The store first: its lock says whether this directory is ours, before anything in it is touched.
  NODE_ASSIGN_OR_RETURN(impl->store, storage::open_sqlite_study_store(config.storage, clock, file_system));
  NODE_ASSIGN_OR_RETURN(impl->spool, storage::Spool::open(config.storage, file_system));
  NODE_RETURN_IF_ERROR(impl->check_invariants(file_system));

  NODE_ASSIGN_OR_RETURN(route::Router router, route::Router::create(config.router, task_names(config.inference)));
  impl->router = std::make_unique<route::Router>(std::move(router));

  Impl* self = impl.get();
  const std::vector<inference::TaskInfo> tasks = predictor.tasks();
  std::vector<std::string> models;
  for (const config::ModelConfig& model : config.inference.models) {
    models.push_back(operate::model_json(model, tasks));
  }
  decltype(operate::NodeView::try_image) try_image;
  if (config.http.try_page) {
    impl->tries = std::make_unique<operate::TryImage>(
        config.report, [self] { return *self->router; }, predictor, clock);
    try_image = [self](std::string_view bytes, const std::string& body_part) {
      return self->tries->analyse(bytes, body_part);
    };
  }
  NODE_ASSIGN_OR_RETURN(
      impl->http, operate::HttpServer::open(
                      config.http, {.ready = [self] { return self->ready(); },
                                    .stats = [self] { return self->stats(); },
                                    .store = impl->store.get(),
                                    .spool = impl->spool.get(),
                                    .router = [self] { return *self->router; },
                                    .title = fmt::format("{} on port {}", config.receive.ae_title, config.receive.port),
                                    .version = config.report.node_version,
                                    .tasks = config.inference.tasks,
                                    .region_head = config.report.region_head,
                                    .models = std::move(models),
                                    .try_image = std::move(try_image)}));
  impl->retention = operate::RetentionWorker::start(config.storage, clock, *impl->spool, *impl->store);
  NODE_RETURN_IF_ERROR(impl->set_destinations());
  for (const config::PeerConfig& peer : config.delivery.peers) {
    if (peer.port == 0) continue;  // It only sends to us.
    impl->deliveries.push_back(deliver::DeliveryWorker::start(config.delivery, peer, *impl->spool, *impl->store));
    impl->commitments.push_back(
        deliver::CommitmentWorker::start(config.delivery, peer, *impl->spool, *impl->store));
  }
  for (const config::MessageConfig& message : config.messages) {
    impl->deliveries.push_back(deliver::DeliveryWorker::start(
        config.delivery, message.name, deliver::message_sender(config.delivery, message), *impl->spool, *impl->store));
  }
  for (const config::DicomWebConfig& server : config.dicomweb) {
    impl->deliveries.push_back(deliver::DeliveryWorker::start(
        config.delivery, server.name, deliver::stow_sender(config.delivery, server), *impl->spool, *impl->store));
  }
  impl->reports = report::ReportWorker::start(config.report, *impl->spool, *impl->store);
  analyze::AnalysisOptions analysis;
  analysis.load_workers = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  analysis.in_flight_max =
      config.inference.in_flight_max > 0 ? config.inference.in_flight_max : 2 * config.inference.batch_rows_max;
  for (const config::RouteRule& rule : config.router.routes) analysis.urgent_when[rule.name] = rule.urgent_when;
  impl->analysis = analyze::AnalysisWorker::start(analysis, *impl->spool, *impl->store, predictor);
  NODE_ASSIGN_OR_RETURN(impl->scp, receive::StoreScp::open(config.receive, *impl->spool, *impl->store, *impl->router));
  impl->started = true;
  return std::unique_ptr<Node>(new Node(std::move(impl)));
}

void Node::stop() {
  Impl& impl = *impl_;
  if (impl.stopped) return;
  impl.stopped = true;
  if (impl.scp) impl.scp->stop();
  impl.store->stop();  // Nothing new is claimed; what is claimed is finished below, in the order of the flow.
  if (impl.analysis) impl.analysis->stop();
  if (impl.reports) impl.reports->stop();
  for (auto& worker : impl.deliveries) worker->stop();
  for (auto& worker : impl.commitments) worker->stop();
  if (impl.retention) impl.retention->stop();
  if (impl.http) impl.http->stop();
}

Status Node::reload(const config::NodeConfig& fresh_config) {
  const config::RouterConfig& config = fresh_config.router;
  config::NodeConfig secure = impl_->config;  // The places that there are, and the files that there now are.
  if (secure.receive.tls.on) secure.receive.tls = fresh_config.receive.tls;
  if (secure.http.tls.on) secure.http.tls = fresh_config.http.tls;
  NODE_RETURN_IF_ERROR(operate::check_tls(secure));
  const std::vector<std::string> known = impl_->destinations();
  const auto check = [&](const std::string& what, const std::vector<std::string>& names) -> Status {
    for (const std::string& name : names) {
      if (std::find(known.begin(), known.end(), name) != known.end()) continue;
      return invalid_argument(what + ": " + name +
                              " is no destination of the node that runs; a new one needs a restart");
    }
    return ok_status();
  };
  for (const config::RouteRule& rule : config.routes) {
    NODE_RETURN_IF_ERROR(check("route " + rule.name, rule.send_to));
    if (!same_urgency(impl_->config.router.routes, rule)) {
      return invalid_argument("route " + rule.name + ": another urgent_when needs a restart");
    }
  }
  for (const config::ForwardRule& rule : config.forward) NODE_RETURN_IF_ERROR(check("forward", rule.send_to));
  config::RouterConfig fresh = impl_->config.router;
  fresh.routes = config.routes;
  fresh.forward = config.forward;
  NODE_ASSIGN_OR_RETURN(const route::Router router, route::Router::create(fresh, task_names(impl_->config.inference)));
  NODE_RETURN_IF_ERROR(impl_->scp->reload_tls(fresh_config.receive.tls));
  NODE_RETURN_IF_ERROR(impl_->http->reload_tls(fresh_config.http.tls));
  *impl_->router = router;
  return ok_status();
}

Status Node::ready() const { return impl_->ready(); }
std::uint16_t Node::dicom_port() const { return impl_->scp->port(); }
std::uint16_t Node::http_port() const { return impl_->http->port(); }

}  // namespace node
