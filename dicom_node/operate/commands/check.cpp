#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <set>

#include "dicom_node/node.h"
#include "dicom_node/operate/certificates.h"
#include "dicom_node/operate/commands/check_peers.h"
#include "dicom_node/operate/commands/commands.h"
#include "dicom_node/operate/http_server.h"
#include "dicom_node/receive/presentation_contexts.h"
#include "dicom_node/report/canvas.h"
#include "dicom_node/route/router.h"
#include "storage/file_system.h"
#include "storage/spool_check.h"
#include "storage/sqlite_study_store.h"

namespace node::operate {
namespace {

// The nearest folder of `path` that exists: where the store would be made.
std::filesystem::path nearest(std::filesystem::path path) {
  std::error_code error;
  path = std::filesystem::absolute(path, error);
  while (!std::filesystem::exists(path, error) && path.has_relative_path()) path = path.parent_path();
  return path;
}

// Times of studies and objects come from the clock; a wrong one also closes studies early.
void check_clock(storage::StudyStore* store, Findings& findings) {
  constexpr std::chrono::minutes kTolerance{5};
  constexpr std::chrono::year_month_day kWritten{std::chrono::year(2026) / 1 / 1};  // No clock is right before this.
  const WallTime now = SystemClock().now();
  const auto seconds = [](WallTime time) {
    return std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
  };
  if (now < std::chrono::sys_days(kWritten)) {
    return findings.bad(fmt::format(
        "clock: it says {} s since 1970, before this program was written: set it, and let NTP keep it", seconds(now)));
  }
  if (store != nullptr) {
    const auto newest = store->list_studies({.limit = 1});
    if (newest.ok() && !newest->empty() && newest->front().last_instance_at > now + kTolerance) {
      return findings.bad(fmt::format(
          "clock: the store's newest study arrived {} s from now: the clock was set back, or was wrong then; "
          "set it, and let NTP keep it",
          seconds(newest->front().last_instance_at) - seconds(now)));
    }
  }
  timex state{};
  if (adjtimex(&state) == TIME_ERROR || (state.status & STA_UNSYNC) != 0) {
    findings.note("clock: nothing keeps it right (no NTP): install systemd-timesyncd or chrony");
  }
}

// Whoever reads a token may change what the node does.
void check_token(const config::HttpConfig& http, Findings& findings) {
  if (http.token_file.empty()) {
    findings.note(
        http.tokens_file.empty()
            ? "http.token_file is not set: nothing can be released or repeated from the page"
            : "http.token_file is not set: the commands change nothing while the node runs, only the page does");
  }
  if (const auto tokens = read_tokens(http); !tokens.ok()) {
    return findings.bad(tokens.status().message() + ": openssl rand -hex 32 makes one");
  }
  for (const auto& [key, file] :
       {std::pair("http.token_file", http.token_file), {"http.tokens_file", http.tokens_file}}) {
    std::error_code error;
    const auto rights = std::filesystem::status(file, error).permissions();
    if (!file.empty() && (rights & std::filesystem::perms::others_read) != std::filesystem::perms::none) {
      findings.bad(fmt::format("{} {}: every user of this machine can read it: chmod o-r", key, file));
    }
  }
}

// Without its trail the node does not start. Nothing is written here: `check` changes nothing.
void check_audit(const config::AuditConfig& audit, Findings& findings) {
  if (audit.file.empty()) return;
  std::error_code error;
  const bool there = std::filesystem::exists(audit.file, error);
  const std::filesystem::path folder = std::filesystem::absolute(audit.file, error).parent_path();
  if (::access(there ? audit.file.c_str() : folder.c_str(), W_OK) == 0)
    return findings.good(fmt::format("audit.file {}: can be written", audit.file));
  findings.bad(
      fmt::format("audit.file {}: {}: the node does not start; give a file in a folder that its user may write "
                  "to",
                  audit.file, std::generic_category().message(errno)));
}

// Whoever reads a key may pass for the node; what has ended is refused by everybody.
void check_certificates(const config::NodeConfig& config, Findings& findings) {
  constexpr double kSoonDays = 30;
  for (const TlsUse& use : tls_uses(config)) {
    const auto context = tls::make_context(use.config, use.role);
    const auto found = tls::certificates_of_files(use.config);
    if (!context.ok() || !found.ok()) {
      findings.bad(fmt::format("{}: {}", use.key, (context.ok() ? found.status() : context.status()).message()));
      continue;
    }
    for (const tls::FileCertificate& one : *found) {
      const double left = days_left(one.certificate);
      const std::string what = fmt::format("{}.{} {}", use.key, one.key, one.file);
      if (left < 0) {
        findings.bad(
            fmt::format("{}: has expired {:.0f} days ago: peers refuse it; have a new one issued, put it there and "
                        "send SIGHUP",
                        what, -left));
      } else if (one.certificate.valid_from > std::chrono::system_clock::now()) {
        findings.bad(fmt::format("{}: is not valid yet: is the clock right?", what));
      } else if (left < kSoonDays) {
        findings.note(fmt::format("{}: expires in {:.0f} days: have a new one issued", what, left));
      } else {
        findings.good(fmt::format("{}: {:.0f} days left, sha256:{}", what, left, one.certificate.sha256));
      }
    }
    std::error_code error;
    const auto rights = std::filesystem::status(use.config.key_file, error).permissions();
    if (!use.config.key_file.empty() && !error &&
        (rights & std::filesystem::perms::others_read) != std::filesystem::perms::none) {
      findings.bad(fmt::format("{}.key_file {}: every user of this machine can read it: chmod o-r", use.key,
                               use.config.key_file));
    }
  }
}

void check_spool(const std::string& directory, storage::StudyStore& store, Findings& findings) {
  const auto check = storage::check_spool(directory, storage::posix_file_system(), store);
  if (!check.ok()) return findings.bad(fmt::format("store {}: {}", directory, check.status().message()));
  if (!check->lost.empty()) {
    const auto accepted = store.accepted_losses();
    const auto waiting = std::count_if(check->lost.begin(), check->lost.end(), [&](const storage::StoredFile& file) {
      return !accepted.ok() || !std::binary_search(accepted->begin(), accepted->end(), file.key);
    });
    const storage::StoredFile& first = check->lost.front();
    const std::string line =
        fmt::format("store {}: {} objects are gone or not as they were stored, the first {} ({})", directory,
                    check->lost.size(), first.key, storage::compare_file(directory, first).message());
    if (waiting > 0) {
      findings.bad(line + ": put them back from a backup, have them sent again, or accept it (`losses accept`)");
    } else {
      findings.note(line + ": accepted by a person");
    }
  }
  if (!check->orphans.empty()) {
    findings.note(fmt::format(
        "store {}: {} files without a row, the first {}: arriving now, or left by a crash, or their rows "
        "are lost, as with the database's -wal: the next start takes them in again, and its log and /readyz "
        "name those that it cannot",
        directory, check->orphans.size(), check->orphans.front()));
  }
  if (!check->strays.empty()) {
    const auto first = storage::objects_directory(directory) / check->strays.front();
    std::error_code unknown;
    const bool leads_nowhere = std::filesystem::is_symlink(first, unknown) && !std::filesystem::exists(first, unknown);
    findings.note(fmt::format(
        "store {}: {} things lie among its objects that no node has put there, the first {}{}: nobody reads, sends or "
        "deletes them; move them away",
        directory, check->strays.size(), first.string(), leads_nowhere ? " (a link that leads nowhere)" : ""));
  }
}

void check_free_space(const config::StorageConfig& storage, std::uint64_t free, Findings& findings) {
  const std::string& directory = storage.directory;
  if (free < storage.free_bytes_min) {
    findings.bad(
        fmt::format("store {}: {} MiB free, below the reserve of {} MiB: every image would be answered 0xA700; "
                    "free the disk or lower storage.free_bytes_min",
                    directory, free >> 20, storage.free_bytes_min >> 20));
  } else if (free < 2 * storage.free_bytes_min) {
    findings.note(fmt::format("store {}: less than twice the reserve of {} MiB is free: it will soon take no image",
                              directory, storage.free_bytes_min >> 20));
  }
}

// Who may write what is asked of this process; root always may, the node's user perhaps not.
void check_user(const std::filesystem::path& there, Findings& findings) {
  struct stat of {};
  if (::geteuid() != 0 || ::stat(there.c_str(), &of) != 0 || of.st_uid == 0) return;
  const passwd* const owner = ::getpwuid(of.st_uid);
  findings.note(
      fmt::format("run by root: what the node's user may not read or write is not found; ask as that user: "
                  "sudo -u {} skelex-node check ...",
                  owner != nullptr ? owner->pw_name : "#" + std::to_string(of.st_uid)));
}

void check_store(const config::NodeConfig& config, Findings& findings) {
  const std::string& directory = config.storage.directory;
  const std::filesystem::path there = nearest(directory);
  check_user(there, findings);
  if (access(there.c_str(), R_OK | W_OK | X_OK) != 0) {
    findings.bad(fmt::format("store {}: {} cannot be written by this user: give it to the node's user", directory,
                             there.string()));
  }
  const auto free = storage::posix_file_system().free_bytes(there);
  if (!free.ok()) return findings.bad(fmt::format("store {}: {}", directory, free.status().message()));
  check_free_space(config.storage, *free, findings);
  SystemClock clock;
  auto store = storage::open_sqlite_study_store_read_only(config.storage, clock);
  check_clock(store.ok() ? store->get() : nullptr, findings);
  if (store.ok()) {
    const storage::StoreStats stats = (*store)->stats();
    findings.good(fmt::format("store {}: {} instances, {} deliveries due, {} parked; {} MiB free", directory,
                              stats.instances_received, stats.deliveries_pending, stats.deliveries_parked,
                              *free >> 20));
    check_spool(directory, **store, findings);
  } else if (store.status().code() == StatusCode::kNotFound) {
    findings.good(fmt::format("store {}: not there yet, made at first start; {} MiB free", directory, *free >> 20));
  } else {
    findings.bad(fmt::format("store {}: {}", directory, store.status().message()));
  }
}

// What is drawn has to be in some font of this machine.
void check_fonts(const config::ReportConfig& report, Findings& findings) {
  const auto look = [&](const std::string& what, const std::string& text) {
    const std::string missing = report::missing_characters(text);
    if (missing.empty()) return;
    findings.bad(
        fmt::format("{}: no font here has {}: pictures would show ? instead; install one, for Chinese, "
                    "Japanese and Korean the Debian package fonts-wqy-microhei",
                    what, missing));
  };
  look("results.disclaimer", report.disclaimer);
  for (const config::TaskConfig& task : report.tasks) {
    std::string drawn = task.name + task.model;
    for (const std::string& label : task.labels) drawn += label;
    look("tasks." + task.name, drawn);
  }
}

void check_routes(const config::NodeConfig& config, Findings& findings) {
  auto router = route::Router::create(config.router, task_names(config.inference));
  if (!router.ok()) return findings.bad(router.status().message());
  std::set<std::string> used;
  for (const config::RouteRule& rule : config.router.routes) used.insert(rule.tasks.begin(), rule.tasks.end());
  for (const route::UnreachableRoute& route : router->unreachable()) {
    findings.bad(fmt::format("{}: route {} can never match: {}", route.origin, route.rule, route.why));
  }
  findings.good(fmt::format("routes: {} rules", config.router.routes.size()));
  for (const config::TaskConfig& task : config.inference.tasks) {
    if (task.half == config::Half::kNone && !used.contains(task.name))
      findings.note(fmt::format("task {}: no route uses it", task.name));
  }
}

// Labels that only a checkpoint knows; all else about `when` was checked when the file was read. Whether they are
// right.
bool check_conditions(const std::vector<config::TaskConfig>& tasks,
                      const std::map<std::string, std::vector<std::string>>& labels, Findings& findings) {
  bool right = true;
  for (const config::TaskConfig& task : tasks) {
    const auto of_gate = task.when ? labels.find(task.when->task) : labels.end();
    if (of_gate == labels.end()) continue;
    const std::string problem = config::label_problem(*task.when, of_gate->second);
    if (problem.empty()) continue;
    right = false;
    findings.bad(fmt::format("{}: when.label: {}", task.where(), problem));
  }
  return right;
}

// Each was loaded alone, so that each had its own line; a device has to hold them all at once, and a batch beside them.
void check_together(const config::InferenceConfig& config, const PredictorFactory& open_predictor, Findings& findings) {
  const auto predictor = open_predictor(config);
  if (!predictor.ok()) return findings.bad(fmt::format("models together: {}", predictor.status().message()));
  for (const inference::DeviceMemory& memory : (*predictor)->stats().memory) {
    const std::string line = fmt::format("device {}: {} of {} MiB of memory are free with every model loaded",
                                         memory.device, memory.free_bytes >> 20, memory.total_bytes >> 20);
    if (memory.free_bytes >= memory.total_bytes / 10) {
      findings.good(line);
    } else {
      findings.note(line + ": a batch may not fit; lower inference.batch_rows_max, or give models precision: bfloat16");
    }
  }
}

void check_models(const config::InferenceConfig& config, const PredictorFactory& open_predictor, Findings& findings) {
  std::map<std::string, std::vector<std::string>> labels;  // By task.
  bool loaded = !config.models.empty();
  // One model at a time, so that each that cannot be loaded gets its own line.
  for (const config::ModelConfig& model : config.models) {
    config::InferenceConfig alone = config;
    std::erase_if(alone.models, [&](const auto& other) { return other.name != model.name; });
    std::erase_if(alone.tasks, [&](const auto& task) { return task.model != model.name; });
    for (config::TaskConfig& task : alone.tasks) {
      task.when.reset();  // Of tasks of other models: all together below.
      task.region_selection.detector.clear();
    }
    for (const config::TaskConfig& task : config.tasks) {
      if (!task.regions || task.region_selection.detector != model.name) continue;
      config::TaskConfig boxes;
      boxes.name = task.name + " boxes";
      boxes.origin = task.origin;
      boxes.model = model.name;
      boxes.detects = true;
      alone.tasks.push_back(std::move(boxes));
    }
    auto predictor = open_predictor(alone);
    if (!predictor.ok()) {
      findings.bad(fmt::format("model {}: {}", model.name, predictor.status().message()));
      loaded = false;
    } else if ((*predictor)->tasks().empty()) {
      findings.note(fmt::format("model {}: no task uses it", model.name));
    } else {
      for (const inference::TaskInfo& task : (*predictor)->tasks()) labels[task.task] = task.labels;
      const inference::TaskInfo info = (*predictor)->tasks().front();
      findings.good(fmt::format("model {}: {:.1f} M parameters, {} on {}, {}", model.name, info.parameters / 1e6,
                                info.precision, info.device, info.model_digest));
      if (!info.note.empty()) findings.note(fmt::format("model {} {}", model.name, info.note));
    }
  }
  for (const config::TaskConfig& task : config.tasks) {
    if (task.regions && task.region_selection.detector.empty())
      findings.note(fmt::format("task {}: has no detector, its regions are fixed tiles", task.name));
  }
  const bool possible = check_conditions(config.tasks, labels, findings);
  if (loaded && possible) check_together(config, open_predictor, findings);
}

}  // namespace

int check(const config::NodeConfig& config, const PredictorFactory& open_predictor, bool with_models) {
  Findings findings;
  const Status syntaxes = receive::check_preferred_syntaxes(config.receive);
  syntaxes.ok() ? findings.good("configuration") : findings.bad(syntaxes.message());
  check_routes(config, findings);
  check_fonts(config.report, findings);
  with_models ? check_models(config.inference, open_predictor, findings)
              : findings.note("models: not tried, as --without-models asks");
  check_store(config, findings);
  check_token(config.http, findings);
  check_certificates(config, findings);
  check_audit(config.audit, findings);
  check_peers(config, findings);
  check_connections(config, findings);
  return findings.failed() ? 1 : 0;
}

}  // namespace node::operate
