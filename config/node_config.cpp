#include "config/node_config.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <map>
#include <set>
#include <tuple>

#include "config/config_section.h"
#include "config/config_tree.h"
#include "config/message_section.h"
#include "config/result_forms.h"
#include "config/router_section.h"
#include "config/task_section.h"
#include "config/tls_section.h"

namespace node::config {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr double kMiB = 1024.0 * 1024.0;
constexpr double kPiB = kMiB * 1024 * 1024 * 1024;

bool is_address(const std::string& text) {
  in6_addr scratch{};
  return inet_pton(AF_INET, text.c_str(), &scratch) == 1 || inet_pton(AF_INET6, text.c_str(), &scratch) == 1;
}

void read_node(Section node, const Context& context, ReceiveConfig& receive) {
  node.ae_title("ae_title", receive.ae_title);
  if (node.text("bind", receive.bind) && !is_address(receive.bind)) {
    node.wrong("bind",
               "is " + in_quotes(receive.bind) + "; an IP address of this machine is wanted, or 0.0.0.0 for all");
  }
  node.integer("port", receive.port, 1, 65535);
  {
    Section tls = node.section("tls");
    read_server_tls(tls, context, /*ca_needed=*/true, receive.tls);
    if (tls.integer("port", receive.tls_port, 1, 65535) && receive.tls_port == receive.port) {
      tls.wrong("port", "is node.port too; without it node.port speaks TLS alone");
    }
  }
  node.integer("associations_max", receive.associations_max, 1, 1000);
  node.integer("associations_per_host_max", receive.associations_per_host_max, 1, 1000);
  node.boolean("accept_unknown", receive.accept_unknown);
  node.boolean("check_hosts", receive.check_hosts);
  node.words("more_sop_classes", receive.more_sop_classes, uid_problem);
  node.words("transfer_syntaxes", receive.transfer_syntaxes, uid_problem);
  node.choice("commitment", receive.commit_after_delivery, {{"received", false}, {"delivered", true}});
  node.duration("acse_timeout", receive.acse_timeout, seconds(1), minutes(10));
  node.duration("dimse_timeout", receive.dimse_timeout, seconds(1), hours(1));
  node.duration("message_timeout", receive.message_timeout, seconds(1), hours(24));
  node.duration("stop_grace", receive.stop_grace, seconds(0), minutes(10));
  node.bytes("object_bytes_max", receive.object_bytes_max, kMiB, 64 * 1024 * kMiB);
}

void read_storage(Section storage, const Context& context, StorageConfig& config) {
  storage.require("directory", "the folder of the spool and the database is wanted");
  if (storage.text("directory", config.directory)) config.directory = context.resolve(config.directory);
  storage.bytes("free_bytes_min", config.free_bytes_min, kMiB, kPiB);
  {
    Section retention = storage.section("retention");
    retention.integer("originals_days", config.originals_days, 0, 36500);
    retention.integer("results_days", config.results_days, 0, 36500);
    config.free_bytes_low = 2 * config.free_bytes_min;
    retention.bytes("free_bytes_low", config.free_bytes_low, 0, 2 * kPiB);
    if (config.free_bytes_low != 0 && config.free_bytes_low < config.free_bytes_min) {
      retention.wrong("free_bytes_low",
                      "is less than storage.free_bytes_min, so images would be refused before "
                      "anything is deleted; more is wanted, or 0 B for never");
    }
  }
  storage.choice("conflict", config.keep_first_on_conflict, {{"refuse", false}, {"keep_first", true}});
  storage.integer("analysis_attempts_max", config.analysis_attempts_max, 1, 100);
  storage.duration("study_open_max", config.study_open_max, seconds(1), hours(24));
}

void read_peers(Section& root, const Context& context, const ReceiveConfig& node, std::vector<PeerConfig>& peers) {
  std::map<std::string, std::string> names;  // AE title -> peer
  root.each("peers", [&](const std::string& name, Section& section) {
    PeerConfig peer;
    peer.name = name;
    section.require("ae_title", "the AE title that it calls and is called by");
    if (section.ae_title("ae_title", peer.ae_title)) {
      const auto [first, fresh] = names.emplace(peer.ae_title, name);
      if (!fresh) section.wrong("ae_title", in_quotes(peer.ae_title) + " is also that of peer " + first->second);
    }
    section.text("host", peer.host, 255);
    section.integer("port", peer.port, 1, 65535);
    if (section.get("port") != nullptr && section.get("host") == nullptr) {
      section.wrong("port", "is given without a host; give both to send to it, or neither");
    }
    section.duration("study_quiet_period", peer.study_quiet_period, milliseconds(100), hours(24));
    section.boolean("whole_study_per_association", peer.whole_study_per_association);
    section.boolean("transcode", peer.transcode);
    section.boolean("commitment", peer.commitment);
    section.boolean("commitment_same_association", peer.commitment_same_association);
    if (peer.commitment && peer.port == 0) {
      section.wrong("commitment", "is true, but nothing is sent to it; host and port are wanted");
    }
    section.integer("associations_max", peer.associations_max, 1, 1000);
    read_peer_tls(section, context, node.tls, peer);
    peers.push_back(std::move(peer));
  });
}

void read_delivery(Section delivery, DeliveryConfig& config) {
  delivery.duration("connect_timeout", config.connect_timeout, seconds(1), minutes(10));
  delivery.duration("dimse_timeout", config.dimse_timeout, seconds(1), hours(1));
  delivery.duration("retry_first", config.retry_first, milliseconds(10), hours(1));
  delivery.duration("retry_max", config.retry_max, milliseconds(10), hours(24));
  if (config.retry_max < config.retry_first) delivery.wrong("retry_max", "is less than retry_first");
  delivery.duration("give_up_after", config.give_up_after, seconds(1), hours(24 * 365));
  delivery.duration("commitment_answer_within", config.commitment_answer_within, seconds(1), hours(24 * 30));
  delivery.integer("objects_per_association_max", config.objects_per_association_max, 1, 10'000);
}

void read_inference(Section inference, InferenceConfig& config) {
  if (inference.text("device", config.device)) {
    if (const std::string problem = device_problem(config.device); !problem.empty()) inference.wrong("device", problem);
  }
  inference.integer_or_auto("threads", config.threads, 1024);
  inference.integer("batch_rows_max", config.batch_rows_max, 1, 1024);
  inference.duration("batch_delay", config.batch_delay, milliseconds(0), seconds(10));
  inference.integer_or_auto("in_flight_max", config.in_flight_max, 100'000);
}

std::string form_problem(const std::string& form) {
  std::string known;
  for (const std::string_view word : kResultForms) {
    if (word == form) return "";
    known += (known.empty() ? "" : word == kResultForms.back() ? " or " : ", ") + std::string(word);
  }
  return "is " + in_quotes(form) + "; " + known + " is wanted";
}

void read_results(Section results, const Names& names, ReportConfig& config) {
  results.text("disclaimer", config.disclaimer, 128);
  results.boolean("report_skipped", config.report_skipped);
  results.words("skipped_to", config.skipped_to, [&](const std::string& name) { return names.results_problem(name); });
  const Value* forms = results.get("forms");
  if (forms == nullptr) return;
  Section peers = results.section("forms");
  if (forms->kind != Value::Kind::kMap) return;
  for (const auto& [peer, value] : forms->entries) {
    const std::string problem = names.destination_problem(peer);
    if (!problem.empty()) peers.wrong(peer, problem);
    peers.words(peer, config.forms[peer], [](const std::string& form) { return form_problem(form); });
    if (config.forms[peer].empty()) config.forms.erase(peer);
  }
}

bool is_loopback(const std::string& address) { return address == "::1" || address.starts_with("127."); }

void read_http(Section http, const Context& context, HttpConfig& config) {
  std::string bind;
  if (http.text("bind", bind, 255)) {
    const std::size_t colon = bind.rfind(':');
    std::string host = colon == std::string::npos ? "" : bind.substr(0, colon);
    const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) host = host.substr(1, host.size() - 2);
    int port = 0;
    if (colon != std::string::npos) {
      const char* end = bind.data() + bind.size();
      const auto parsed = std::from_chars(bind.data() + colon + 1, end, port);
      if (parsed.ec != std::errc() || parsed.ptr != end) port = 0;
    }
    if (!is_address(host) || bracketed != (host.find(':') != std::string::npos) || port < 1 || port > 65535) {
      http.wrong("bind", "is " + in_quotes(bind) +
                             "; an address and a port from 1 to 65535 are wanted: 127.0.0.1:8043, [::1]:8043");
    } else {
      config.bind = host;
      config.port = static_cast<std::uint16_t>(port);
    }
  }
  if (http.text("token_file", config.token_file)) config.token_file = context.resolve(config.token_file);
  if (http.text("tokens_file", config.tokens_file)) config.tokens_file = context.resolve(config.tokens_file);
  http.duration("session_max", config.session_max, seconds(1), hours(24 * 30));
  http.words("names", config.names, [](const std::string& name) {
    const bool good = !name.empty() && name.find_first_of("/:@ ") == std::string::npos;
    return good || is_address(name) ? "" : "is " + in_quotes(name) + "; a name or an address without a port is wanted";
  });
  http.boolean("behind_proxy", config.behind_proxy);
  http.boolean("try_page", config.try_page);
  {
    Section tls = http.section("tls");
    read_server_tls(tls, context, /*ca_needed=*/false, config.tls);
  }
  if (!is_loopback(config.bind) &&
      ((config.token_file.empty() && config.tokens_file.empty()) || !(config.tls.on || config.behind_proxy))) {
    http.wrong("bind",
               "is " + in_quotes(config.bind) +
                   ", which is not this machine alone; that needs token_file, and behind_proxy: true to say that "
                   "a proxy does TLS, or tls; else 127.0.0.1");
  }
}

void read_audit(Section audit, const Context& context, AuditConfig& config) {
  if (audit.text("file", config.file)) config.file = context.resolve(config.file);
  const bool given = audit.get("syslog") != nullptr;
  Section syslog = audit.section("syslog");
  syslog.text("host", config.host, 255);
  syslog.integer("port", config.port, 1, 65535);
  Section tls = syslog.section("tls");
  read_tls(tls, context, config.tls);
  if (!given) return;
  syslog.require("host", "where syslog listens");
  if (!config.file.empty()) audit.wrong("file", "and syslog are both given; one of them is wanted");
}

void read_log(Section log, LogConfig& config) {
  log.choice(
      "level", config.level,
      {{"debug", LogLevel::kDebug}, {"info", LogLevel::kInfo}, {"warn", LogLevel::kWarn}, {"error", LogLevel::kError}});
  log.choice("format", config.format, {{"text", LogFormat::kText}, {"json", LogFormat::kJson}});
}

NodeConfig read_root(Section& root, const Context& context) {
  NodeConfig config;
  read_node(root.section("node"), context, config.receive);
  read_storage(root.section("storage"), context, config.storage);
  read_peers(root, context, config.receive, config.receive.peers);
  read_models(root, context, config.inference.models);
  read_body_parts(root, context, config.router.body_parts);
  Names names;
  for (const auto& [alias, term] : config.router.body_parts.terms) names.body_parts.push_back(alias);
  read_tasks(root, context, names, config.inference.models, config.inference.tasks);
  read_inference(root.section("inference"), config.inference);

  for (const TaskConfig& task : config.inference.tasks) {
    names.tasks.push_back(task.name);
    names.task_configs.push_back(task);
    if (task.when) names.waits_for[task.name] = task.when->task;
  }
  for (const PeerConfig& peer : config.receive.peers) {
    names.peers.push_back(peer.name);
    config.router.ae_titles[peer.name] = peer.ae_title;
    if (!peer.host.empty() && peer.port != 0) names.destinations.push_back(peer.name);
  }
  read_dicomweb(root, context, names, config.dicomweb);
  read_messages(root, context, names, config.messages);
  read_routes(root, names, config.router);
  read_region_head(root.section("region_head"), config.inference.tasks, config.router.body_parts,
                   config.router.region_head);
  add_halves(config.inference.tasks, config.router);
  for (const RouteRule& rule : config.router.routes) {  // By default whoever gets results at all.
    for (const std::string& peer : rule.send_to) {
      Words& to = config.report.skipped_to;
      if (!rule.shadow && std::find(to.begin(), to.end(), peer) == to.end()) to.push_back(peer);
    }
  }
  read_results(root.section("results"), names, config.report);
  read_delivery(root.section("delivery"), config.delivery);
  read_http(root.section("http"), context, config.http);
  read_audit(root.section("audit"), context, config.audit);
  read_log(root.section("log"), config.log);

  config.receive.keep_first_on_conflict = config.storage.keep_first_on_conflict;
  config.receive.report_skipped = config.report.report_skipped;
  config.delivery.ae_title = config.report.ae_title = config.receive.ae_title;
  config.delivery.commit_after_delivery = config.receive.commit_after_delivery;
  config.delivery.peers = config.receive.peers;
  config.report.tasks = config.inference.tasks;
  config.report.messages = config.messages;
  config.report.region_head = config.router.region_head;
  for (const TaskConfig& task : config.inference.tasks) {
    config.router.scopes[task.name] = {
        task.views,      task.age_years_min, task.age_years_max, task.when ? task.when->task : "",
        task.body_parts, task.laterality,    task.split};
    for (std::string& part : config.router.scopes[task.name].body_parts) {
      const auto term = config.router.body_parts.terms.find(part);
      if (term != config.router.body_parts.terms.end()) part = term->second;
    }
  }
  return config;
}

}  // namespace

Result<NodeConfig> read_node_config(const std::string& file,
                                    const std::vector<std::pair<std::string, std::string>>& overrides,
                                    const std::vector<std::string>& environment) {
  NODE_ASSIGN_OR_RETURN(const std::string text, read_text_file(file));
  Mistakes mistakes(file);
  auto tree = parse_yaml(text, {file, 1}, mistakes);
  if (!tree) return mistakes.status();
  for (const Override& override : collect_overrides(overrides, environment)) apply(override, *tree, mistakes);
  const Context context{mistakes, std::filesystem::path(file).parent_path()};
  NodeConfig config;
  {
    Section root(mistakes, &*tree, "", {file, 1});
    if (!root.broken()) config = read_root(root, context);
  }
  if (mistakes.any()) return mistakes.status();
  return config;
}

}  // namespace node::config
