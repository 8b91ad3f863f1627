#include "dicom_node/operate/reloadable.h"

namespace node::operate {
namespace {

// The files of a listener may change; that it speaks TLS may not.
void without_files(config::TlsConfig& tls) {
  const bool on = tls.on;
  tls = {};
  tls.on = on;
}

// Without what a running node takes, and without where in the file it stands.
config::NodeConfig fixed_part(config::NodeConfig config) {
  without_files(config.receive.tls);
  config.receive.peers.clear();
  config.receive.accept_unknown = config.receive.check_hosts = false;
  config.delivery.peers.clear();
  without_files(config.http.tls);
  const bool with_token = !config.http.token_file.empty() || !config.http.tokens_file.empty();
  config.http.token_file = with_token ? "one" : "";  // That there is one may not change.
  config.http.tokens_file.clear();
  for (config::TaskConfig& task : config.inference.tasks) task.origin.clear();
  return config;
}

}  // namespace

std::vector<std::string> wanting_a_restart(const config::NodeConfig& in_force, const config::NodeConfig& fresh) {
  const config::NodeConfig old = fixed_part(in_force), now = fixed_part(fresh);
  std::vector<std::string> keys;
  const auto look = [&keys](bool same, const std::string& key) {
    if (!same) keys.push_back(key);
  };
  look(old.receive.tls == now.receive.tls, "node.tls");
  config::ReceiveConfig receive = now.receive;
  receive.tls = old.receive.tls;
  receive.keep_first_on_conflict = old.receive.keep_first_on_conflict;  // Of storage and of results, named there.
  receive.report_skipped = old.receive.report_skipped;
  look(old.receive == receive, "node");
  look(old.storage == now.storage, "storage");
  look(old.inference.models == now.inference.models, "models");
  look(old.inference.tasks == now.inference.tasks, "tasks");
  config::InferenceConfig inference = now.inference;
  inference.models = old.inference.models;
  inference.tasks = old.inference.tasks;
  look(old.inference == inference, "inference");
  look(old.router.region_head == now.router.region_head, "region_head");
  look(old.report.disclaimer == now.report.disclaimer, "results.disclaimer");
  look(old.report.report_skipped == now.report.report_skipped, "results.report_skipped");
  config::DeliveryConfig delivery = now.delivery;
  delivery.ae_title = old.delivery.ae_title;  // Of node, named there.
  delivery.commit_after_delivery = old.delivery.commit_after_delivery;
  look(old.delivery == delivery, "delivery");
  look(old.http.tls == now.http.tls, "http.tls");
  config::HttpConfig http = now.http;
  http.tls = old.http.tls;
  look(old.http == http, "http");
  look(old.audit == now.audit, "audit");
  look(old.log == now.log, "log");
  return keys;
}

}  // namespace node::operate
