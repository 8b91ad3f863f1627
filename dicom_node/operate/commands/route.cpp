#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "dicom_node/node.h"
#include "dicom_node/operate/commands/commands.h"
#include "dicom_node/route/router.h"

namespace node::operate {

int route(const config::NodeConfig& config, const std::vector<std::string>& paths, bool json) {
  auto router = route::Router::create(config.router, task_names(config.inference));
  if (!router.ok()) {
    fmt::print(stderr, "skelex-node: {}\n", router.status().message());
    return 2;
  }
  auto inputs = expand_paths(paths);
  if (!inputs.ok()) {
    fmt::print(stderr, "skelex-node: {}\n", inputs.status().message());
    return 2;
  }
  bool failed = false;
  for (const InputPath& input : *inputs) {
    auto header = object::read_instance_header(input.path);
    if (!header.ok()) {
      failed |= input.named;
      if (json) {
        fmt::print("{}\n", nlohmann::ordered_json({{"path", input.path}, {"error", header.status().message()}}).dump());
      } else {
        fmt::print("{}: no DICOM image: {}\n", input.path, header.status().message());
      }
      continue;
    }
    const route::RouteDecision decision = router->route(*header, "");
    const std::vector<route::RuleOutcome> outcomes = router->explain(*header, "");
    if (json) {
      nlohmann::ordered_json line = {{"path", input.path},
                                     {"sop_instance_uid", header->sop_instance_uid},
                                     {"rule", decision.rule},
                                     {"body_part", decision.body_part},
                                     {"body_part_from", decision.body_part_evidence},
                                     {"tasks", decision.tasks},
                                     {"reason", decision.reason},
                                     {"priority", decision.priority},
                                     {"send_to", decision.results_to},
                                     {"shadow", decision.shadow},
                                     {"forward_to", decision.forward_to},
                                     {"rules", nlohmann::json::array()}};
      for (const route::RuleOutcome& outcome : outcomes) {
        line["rules"].push_back({{"rule", outcome.rule}, {"matched", outcome.matched}, {"why_not", outcome.why_not}});
      }
      fmt::print("{}\n", line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
      continue;
    }
    fmt::print("{}\n", input.path);
    fmt::print("  body part: {}\n",
               decision.body_part.empty() ? "unknown" : decision.body_part + ", from " + decision.body_part_evidence);
    for (const route::RuleOutcome& outcome : outcomes) {
      fmt::print("  rule {}: {}\n", outcome.rule, outcome.matched ? "matches" : "no, " + outcome.why_not);
    }
    if (decision.tasks.empty()) {
      fmt::print("  not analysed: {}\n", decision.reason);
    } else {
      fmt::print("  tasks {}; priority {}; results to {}{}\n", fmt::join(decision.tasks, ", "), decision.priority,
                 fmt::join(decision.results_to, ", "), decision.shadow ? " (shadow: nothing is sent)" : "");
    }
    if (!decision.forward_to.empty()) fmt::print("  original to {}\n", fmt::join(decision.forward_to, ", "));
  }
  return failed ? 1 : 0;
}

}  // namespace node::operate
