#include "dicom_node/operate/reloadable.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <utility>
#include <vector>

namespace node::operate {
namespace {

using config::NodeConfig;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

NodeConfig in_force() {
  NodeConfig config;
  config.receive.peers = {{.name = "xray", .ae_title = "XRAY1", .host = ""}};
  config.delivery.peers = config.receive.peers;
  config.http.token_file = "token";
  config.receive.tls = {true, "ca.pem", "node.pem", "node.key"};
  config.inference.tasks.resize(1);
  config.inference.tasks[0].name = "fracture";
  config.inference.tasks[0].origin = "node.yaml:9";
  config.router.routes.resize(1);
  config.router.routes[0].name = "knee";
  return config;
}

std::vector<std::string> after(const std::function<void(NodeConfig&)>& change) {
  NodeConfig fresh = in_force();
  change(fresh);
  return wanting_a_restart(in_force(), fresh);
}

TEST(Reloadable, WhatARunningNodeTakes) {
  const std::vector<std::function<void(NodeConfig&)>> changes = {
      [](NodeConfig&) {},
      [](NodeConfig& c) { c.receive.peers.clear(), c.delivery.peers.clear(); },
      [](NodeConfig& c) { c.receive.peers[0].certificates = {"CN=xray"}; },
      [](NodeConfig& c) { c.receive.accept_unknown = c.receive.check_hosts = true; },
      [](NodeConfig& c) { c.receive.tls.ca_file = "other.pem"; },
      [](NodeConfig& c) { c.inference.tasks[0].origin = "node.yaml:10"; },  // A line further down.
      [](NodeConfig& c) {
        c.router.routes[0].urgent_when = {{"fracture", "", 0.9}};
      },
      [](NodeConfig& c) { c.router.routes[0].send_to = {"pacs"}; },
      [](NodeConfig& c) { c.router.forward.emplace_back(); },
      [](NodeConfig& c) { c.router.body_parts.terms["KNIE"] = "KNEE"; },
      [](NodeConfig& c) { c.messages.emplace_back(), c.dicomweb.emplace_back(); },
      [](NodeConfig& c) { c.report.forms["pacs"] = {"sr"}; },
      [](NodeConfig& c) { c.report.skipped_to = {"pacs"}; },
      [](NodeConfig& c) { c.http.token_file = "other", c.http.tokens_file = "tokens"; },
  };
  for (std::size_t i = 0; i < changes.size(); ++i) EXPECT_THAT(after(changes[i]), IsEmpty()) << i;
}

TEST(Reloadable, WhatNeedsARestartIsNamed) {
  const std::vector<std::pair<const char*, std::function<void(NodeConfig&)>>> changes = {
      {"node", [](NodeConfig& c) { c.receive.port = 104; }},
      {"http", [](NodeConfig& c) { c.http.token_file.clear(); }},
      {"node", [](NodeConfig& c) { c.receive.ae_title = c.delivery.ae_title = "OTHER"; }},
      {"node", [](NodeConfig& c) { c.receive.commit_after_delivery = c.delivery.commit_after_delivery = true; }},
      {"node", [](NodeConfig& c) { c.receive.tls_port = 2762; }},
      {"node.tls", [](NodeConfig& c) { c.receive.tls = {}; }},
      {"storage", [](NodeConfig& c) { c.storage.directory = "/elsewhere"; }},
      {"storage", [](NodeConfig& c) { c.storage.keep_first_on_conflict = c.receive.keep_first_on_conflict = true; }},
      {"models", [](NodeConfig& c) { c.inference.models.emplace_back(); }},
      {"tasks", [](NodeConfig& c) { c.inference.tasks[0].threshold_doubtful = 0.1; }},
      {"inference", [](NodeConfig& c) { c.inference.device = "cpu"; }},
      {"region_head", [](NodeConfig& c) { c.router.region_head.task = "fracture"; }},
      {"results.disclaimer", [](NodeConfig& c) { c.report.disclaimer = "another"; }},
      {"results.report_skipped", [](NodeConfig& c) { c.report.report_skipped = c.receive.report_skipped = true; }},
      {"delivery", [](NodeConfig& c) { c.delivery.retry_first = std::chrono::seconds(9); }},
      {"http", [](NodeConfig& c) { c.http.port = 80; }},
      {"http.tls", [](NodeConfig& c) { c.http.tls.on = true; }},
      {"audit", [](NodeConfig& c) { c.audit.file = "audit.xml"; }},
      {"log", [](NodeConfig& c) { c.log.level = config::LogLevel::kDebug; }},
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    EXPECT_THAT(after(changes[i].second), ElementsAre(changes[i].first)) << i;
  }
}

}  // namespace
}  // namespace node::operate
