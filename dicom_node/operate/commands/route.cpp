#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "dicom_node/node.h"
#include "dicom_node/operate/commands/commands.h"
#include "dicom_node/operate/route_json.h"
#include "dicom_node/route/router.h"

namespace node::operate {
namespace {

using Json = nlohmann::ordered_json;

void print_words(const std::string& path, const route::RouteDecision& decision, const route::Explanation& explanation) {
  fmt::print("{}\n", path);
  for (const route::SourceOutcome& source : explanation.sources) {
    fmt::print("  {}: {}\n", source.attribute, source.says);
  }
  fmt::print("  body part: {}\n",
             decision.body_part.empty() ? "unknown" : decision.body_part + ", from " + decision.body_part_evidence);
  for (const route::RuleOutcome& outcome : explanation.rules) {
    fmt::print("  rule {}: {}\n", outcome.rule, outcome.matched ? "matches" : "no, " + outcome.why_not);
  }
  if (!decision.pending.empty()) {
    fmt::print("  the region head decides: {}; it may come to the tasks {}\n", decision.reason,
               fmt::join(decision.tasks, ", "));
  } else if (decision.tasks.empty()) {
    fmt::print("  not analysed: {}\n", decision.reason);
  } else {
    fmt::print("  tasks {}; priority {}; results to {}{}\n", fmt::join(decision.tasks, ", "), decision.priority,
               fmt::join(decision.results_to, ", "), decision.shadow ? " (shadow: nothing is sent)" : "");
    if (!decision.reason.empty()) fmt::print("  {}\n", decision.reason);
  }
  if (!decision.forward_to.empty()) fmt::print("  original to {}\n", fmt::join(decision.forward_to, ", "));
}

}  // namespace

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
        fmt::print("{}\n", Json({{"path", input.path}, {"error", header.status().message()}}).dump());
      } else {
        fmt::print("{}: no DICOM image: {}\n", input.path, header.status().message());
      }
      continue;
    }
    const route::RouteDecision decision = router->route(*header, "");
    const route::Explanation explanation = router->explain(*header, "");
    if (json) {
      fmt::print("{}\n", route_json(input.path, *header, decision, explanation));
    } else {
      print_words(input.path, decision, explanation);
    }
  }
  return failed ? 1 : 0;
}

}  // namespace node::operate
