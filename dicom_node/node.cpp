#include "dicom_node/node.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <thread>

#include "config/base/replaceable.h"
#include "dicom_node/analyze/analysis_worker.h"
#include "dicom_node/destinations.h"
#include "dicom_node/operate/certificates.h"
#include "dicom_node/operate/http_server.h"
#include "dicom_node/operate/listing_json.h"
#include "dicom_node/operate/reloadable.h"
#include "dicom_node/operate/retention_worker.h"
#include "dicom_node/operate/service_manager.h"
#include "dicom_node/operate/try_image.h"
#include "dicom_node/receive/orphans.h"
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

constexpr std::chrono::seconds kPatience{20};
constexpr std::chrono::minutes kReportPatience{30};  // 200 images of a study take one.
constexpr std::chrono::minutes kAnalysisPatience{
    30};  // A batch of many rows of a great model on a slow CPU takes some.

analyze::UrgentWhen urgent_when(const config::NodeConfig& config) {
  analyze::UrgentWhen by_route;
  for (const config::RouteRule& rule : config.router.routes) by_route[rule.name] = rule.urgent_when;
  return by_route;
}

Destinations::Config destinations_of(const config::NodeConfig& config) {
  return {config.delivery, config.messages, config.dicomweb};
}

// A signal that the process blocks until it has started.
bool is_told_to_stop() {
  sigset_t pending;
  return sigpending(&pending) == 0 && (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
}

}  // namespace

struct Node::Impl {
  Impl(const config::NodeConfig& config_in, inference::Predictor& predictor_in)
      : config(config_in), predictor(predictor_in) {}

  Replaceable<config::NodeConfig> config;  // In force.
  inference::Predictor& predictor;
  std::atomic<bool> reloaded{true};  // False: the last attempt was refused.
  receive::Orphans orphans;          // Of the start.
  // In the order of the flow, so that they are destroyed from the last to the first: each outlives its users.
  std::unique_ptr<storage::Spool> spool;
  std::unique_ptr<storage::StudyStore> store;
  std::unique_ptr<route::Router> router;
  std::unique_ptr<operate::TryImage> tries;
  std::unique_ptr<operate::HttpServer> http;
  std::unique_ptr<operate::RetentionWorker> retention;
  std::unique_ptr<Destinations> destinations;
  std::unique_ptr<report::ReportWorker> reports;
  std::unique_ptr<analyze::AnalysisWorker> analysis;
  std::unique_ptr<receive::StoreScp> scp;
  std::atomic<bool> started{false};  // Every stage is there: until then the pages show the store alone.
  bool stopped = false;

  Status check_invariants(storage::FileSystem& file_system);
  // Those that nobody has moved away.
  std::vector<std::string> kept_orphans() const;
  Status ready() const;
  operate::NodeStats stats() const;
  Status reload(const config::NodeConfig& fresh);
};

// A file without a row is taken in as if it came again. A row without its file is data loss. A file with other bytes
// than its row says is found where it is read, before each delivery.
Status Node::Impl::check_invariants(storage::FileSystem& file_system) {
  NODE_ASSIGN_OR_RETURN(const storage::SpoolCheck check,
                        storage::check_spool(config.get()->storage.directory, file_system, *store));
  for (const storage::StoredFile& file : check.lost) {
    spdlog::error("event=data_loss file={} reason=\"{}\"", file.key, spool->compare(file).message());
  }
  NODE_RETURN_IF_ERROR(storage::remember_losses(check, *spool, *store));
  if (!check.strays.empty()) {
    spdlog::warn(
        "event=strays_found count={} first={} reason=\"below objects/, with no name of an object: left alone\"",
        check.strays.size(), check.strays.front());
  }
  const auto in_force = config.get();
  receive::Intake intake(in_force->receive, *spool, *store, *router);
  const std::size_t found = check.orphans.size();
  if (found > 0)
    spdlog::warn("event=orphans_found count={} reason=\"files without a row are taken in before any sender is\"",
                 found);
  const auto go_on = [&](int done) {
    operate::tell_service_manager(
        fmt::format("EXTEND_TIMEOUT_USEC=120000000\nSTATUS=taking in files that the database does not know: {} of {}",
                    done, found));
    return !is_told_to_stop();
  };
  NODE_ASSIGN_OR_RETURN(orphans,
                        receive::take_in_orphans(check.orphans, in_force->receive, *spool, *store, intake, go_on));
  if (orphans.taken_in > in_force->receive.associations_max) {  // A crash leaves one of each at most.
    spdlog::error(
        "event=orphans_taken_in count={} reason=\"more than a crash leaves: the database has lost its last "
        "transactions, as without its -wal; what was reported and sent since is made and sent again\"",
        orphans.taken_in);
  }
  return ok_status();
}

std::vector<std::string> Node::Impl::kept_orphans() const {
  std::vector<std::string> kept;
  std::ranges::copy_if(orphans.kept, std::back_inserter(kept), [&](const std::string& key) {
    std::error_code unknown;  // The name itself: a link that leads nowhere is there.
    return std::filesystem::exists(std::filesystem::symlink_status(spool->path(key), unknown));
  });
  return kept;
}

Status Node::Impl::ready() const {
  const auto in_force = config.get();
  const config::StorageConfig& storage = in_force->storage;
  NODE_RETURN_IF_ERROR(store->health());
  if (const Status written = spool->health(); !written.ok()) {
    return unavailable(fmt::format("nothing can be written to {}: {}", storage.directory, written.message()));
  }
  NODE_ASSIGN_OR_RETURN(const std::uint64_t free, spool->free_bytes());
  if (free < storage.free_bytes_min) {
    return resource_exhausted(fmt::format("{} MiB free in {}, below the reserve of {} MiB (storage.free_bytes_min)",
                                          free >> 20, storage.directory, storage.free_bytes_min >> 20));
  }
  if (const auto failing = predictor.stats().failing; !failing.empty()) {
    return internal_error(
        fmt::format("of the last {} images a model was given none could be analysed: {}; images are taken, and wait or "
                    "fail: `skelex-node check` tries each model, a start of the node begins anew on its device",
                    inference::kFailuresInARow, failing.front()));
  }
  // Last: what else is wrong can be mended at once.
  NODE_ASSIGN_OR_RETURN(const auto losses, storage::known_losses(*spool, *store));
  if (const auto lost = std::ranges::count(losses, false, &storage::Loss::accepted); lost > 0) {
    return data_loss(
        fmt::format("{} stored objects are gone from {}, or not as they were stored: `skelex-node losses` lists them",
                    lost, storage.directory));
  }
  if (const auto kept = kept_orphans(); !kept.empty()) {
    return data_loss(
        fmt::format("{} files in {}, the first {}, that the database does not know could not be taken in at the start: "
                    "the log says why (event=orphan_kept); move them away, and send again what is wanted of them",
                    kept.size(), storage::objects_directory(storage.directory).string(), kept.front()));
  }
  if (orphans.left > 0) {
    return unavailable(fmt::format(
        "{} files in {} that the database does not know were not taken in at the start ({}): start the node "
        "again once that is mended",
        orphans.left, storage::objects_directory(storage.directory).string(), orphans.left_because));
  }
  return ok_status();
}

operate::NodeStats Node::Impl::stats() const {
  const auto in_force = config.get();
  operate::NodeStats stats;
  stats.version = in_force->report.node_version;
  stats.ready = ready().ok();
  stats.reloaded = reloaded;
  stats.store = store->stats();
  stats.tasks = predictor.tasks();
  if (const auto free = spool->free_bytes(); free.ok()) stats.disk_free_bytes = *free;
  stats.disk_reserve_bytes = in_force->storage.free_bytes_min;
  if (const auto losses = storage::known_losses(*spool, *store); losses.ok()) {
    stats.losses_accepted = std::ranges::count(*losses, true, &storage::Loss::accepted);
    stats.losses = std::ssize(*losses) - stats.losses_accepted;
  }
  stats.orphans_deleted = orphans.deleted;
  stats.orphans_taken_in = orphans.taken_in;
  stats.orphans_kept = std::ssize(kept_orphans()) + orphans.left;
  stats.certificate_days = operate::client_certificate_days(*in_force);
  if (!started) return stats;
  stats.http = http->refusals();
  for (const auto& [key, tls] : {std::pair{"http.tls", http->tls()}, std::pair{"node.tls", scp->tls()}}) {
    if (tls != nullptr) operate::add_certificate_days(key, tls->certificates(), stats.certificate_days);
  }
  stats.receive = scp->stats();
  stats.analysis = analysis->stats();
  stats.inference = predictor.stats();
  stats.report = reports->stats();
  stats.deliveries = destinations->stats();
  stats.retention = retention->stats();
  return stats;
}

Node::Node(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Node::~Node() { stop(); }

Result<std::unique_ptr<Node>> Node::start(const config::NodeConfig& config, Clock& clock,
                                          storage::FileSystem& file_system, inference::Predictor& predictor) {
  auto impl = std::make_unique<Impl>(config, predictor);
  // The store first: its lock says whether this directory is ours, before anything in it is touched.
  NODE_RETURN_IF_ERROR(storage::check_database_is_there(config.storage.directory, file_system));
  const bool first_start = storage::is_without_database(config.storage.directory);
  NODE_ASSIGN_OR_RETURN(impl->store, storage::open_sqlite_study_store(config.storage, clock, file_system));
  if (first_start) {
    spdlog::warn("event=store_made directory={} reason=\"there was none: a first start, or its volume is not mounted\"",
                 config.storage.directory);
  }
  if (const auto stop = impl->store->stats().stop_not_counted; stop.count() > 0) {
    spdlog::warn(
        "event=retention_waits reason=clock not_counted_h={} note=\"by the clock the node stood still for longer than "
        "retention counts as time at rest, which is {} days at most: is the clock right?\"",
        std::chrono::floor<std::chrono::hours>(stop).count(), storage::kStopCountedMax.count());
  }
  NODE_ASSIGN_OR_RETURN(impl->spool, storage::Spool::open(config.storage, file_system));
  NODE_ASSIGN_OR_RETURN(route::Router router, route::Router::create(config.router, task_names(config.inference)));
  impl->router = std::make_unique<route::Router>(std::move(router));
  NODE_RETURN_IF_ERROR(impl->check_invariants(file_system));

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
  NODE_ASSIGN_OR_RETURN(impl->destinations, Destinations::start(destinations_of(config), *impl->spool, *impl->store));
  impl->reports = report::ReportWorker::start(config.report, *impl->spool, *impl->store);
  analyze::AnalysisOptions analysis;
  analysis.load_workers = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  analysis.in_flight_max =
      config.inference.in_flight_max > 0 ? config.inference.in_flight_max : 2 * config.inference.batch_rows_max;
  analysis.urgent_when = urgent_when(config);
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
  if (impl.destinations) impl.destinations->stop();
  if (impl.retention) impl.retention->stop();
  if (impl.http) impl.http->stop();
}

Status Node::reload(const Result<config::NodeConfig>& fresh) {
  const Status done = fresh.ok() ? impl_->reload(*fresh) : fresh.status();
  impl_->reloaded = done.ok();
  return done;
}

Status Node::Impl::reload(const config::NodeConfig& fresh) {
  const std::vector<std::string> fixed = operate::wanting_a_restart(*config.get(), fresh);
  if (!fixed.empty()) {
    return invalid_argument(fmt::format("{}: what it says now needs a restart", fmt::join(fixed, ", ")));
  }
  NODE_RETURN_IF_ERROR(operate::check_tls(fresh));
  NODE_ASSIGN_OR_RETURN(const std::vector<operate::NamedToken> tokens, operate::read_tokens(fresh.http));
  NODE_ASSIGN_OR_RETURN(route::Router fresh_router, route::Router::create(fresh.router, task_names(fresh.inference)));
  // The destinations first, so that nothing is routed to one that is not there; of the rest nothing can fail but a file
  // that was changed since it was checked.
  NODE_RETURN_IF_ERROR(destinations->reload(destinations_of(fresh)));
  if (fresh.receive.tls.on) NODE_RETURN_IF_ERROR(scp->tls()->reload(fresh.receive.tls).within("node"));
  if (fresh.http.tls.on) NODE_RETURN_IF_ERROR(http->tls()->reload(fresh.http.tls).within("http"));
  reports->set_config(fresh.report);
  http->set_tokens(tokens);
  analysis->set_urgent_when(urgent_when(fresh));
  *router = std::move(fresh_router);
  scp->set_callers(fresh.receive);
  config.replace(fresh);
  return ok_status();
}

Status Node::ready() const { return impl_->ready(); }

Status Node::alive() const {
  static_cast<void>(impl_->ready());  // A reason that can be named is none to be restarted for.
  if (!impl_->scp->turns(kPatience)) return unavailable("the thread that accepts associations hangs");
  if (!impl_->http->turns(kPatience)) return unavailable("the thread of the pages hangs");
  const analyze::AnalysisStats analysis = impl_->analysis->stats();
  if (analysis.stuck > kAnalysisPatience) {
    return unavailable(fmt::format("of {} images in analysis none came back in {} min", analysis.in_flight,
                                   std::chrono::floor<std::chrono::minutes>(analysis.stuck).count()));
  }
  if (const auto stuck = impl_->reports->stats().stuck; stuck > kReportPatience) {
    return unavailable(fmt::format("a study's results are not made in {} min",
                                   std::chrono::floor<std::chrono::minutes>(stuck).count()));
  }
  return ok_status();
}

std::uint16_t Node::dicom_port() const { return impl_->scp->port(); }
std::uint16_t Node::http_port() const { return impl_->http->port(); }

}  // namespace node
