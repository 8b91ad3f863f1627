#include "dicom_node/object/pending_route.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "config/base/rounding.h"

namespace node::object {
namespace {

using inference::Prediction;
using nlohmann::json;
using storage::RouteDecision;

using Words = std::vector<std::string>;

json encode(const RouteDecision& route) {
  return {{"rule", route.rule},     {"body_part", route.body_part}, {"tasks", route.tasks},
          {"reason", route.reason}, {"priority", route.priority},   {"results_to", route.results_to},
          {"shadow", route.shadow}};
}

RouteDecision decode(const json& from) {
  RouteDecision route;
  route.rule = from.at("rule").get<std::string>();
  route.body_part = from.at("body_part").get<std::string>();
  route.tasks = from.at("tasks").get<Words>();
  route.reason = from.at("reason").get<std::string>();
  route.priority = from.at("priority").get<int>();
  route.results_to = from.at("results_to").get<Words>();
  route.shadow = from.at("shadow").get<bool>();
  return route;
}

Result<PendingRoute> decode_pending_route(const std::string& text) {
  try {
    const json content = json::parse(text);
    PendingRoute pending;
    pending.task = content.at("task").get<std::string>();
    pending.probability_min = content.at("probability_min").get<double>();
    pending.tasks = content.at("tasks").get<Words>();
    for (const json& route : content.at("routes")) pending.routes.push_back(decode(route));
    pending.by_label = content.at("by_label").get<std::map<std::string, std::size_t>>();
    pending.without_answer = content.at("without_answer").get<std::size_t>();
    const auto outside = [&pending](std::size_t index) { return index >= pending.routes.size(); };
    if (outside(pending.without_answer) || std::any_of(pending.by_label.begin(), pending.by_label.end(),
                                                       [&](const auto& entry) { return outside(entry.second); })) {
      return data_loss("pending route: an index outside its list");
    }
    return pending;
  } catch (const std::exception&) {  // What nlohmann-json throws; its texts repeat the input.
    return data_loss("pending route: not what was stored");
  }
}

const inference::Score* likeliest(const Prediction& prediction) {
  const auto best = std::max_element(prediction.scores.begin(), prediction.scores.end(),
                                     [](const auto& a, const auto& b) { return a.value < b.value; });
  return best == prediction.scores.end() ? nullptr : &*best;
}

// "region: hand 0.93"
std::string answer_text(const PendingRoute& pending, const inference::Score& score) {
  return fmt::format("{}: {} {}", pending.task, score.label,
                     fixed_text(score.value, digits_beside(score.value, 2, {pending.probability_min})));
}

}  // namespace

std::string encode_pending_route(const PendingRoute& pending) {
  json content{{"task", pending.task},         {"probability_min", pending.probability_min},
               {"tasks", pending.tasks},       {"routes", json::array()},
               {"by_label", pending.by_label}, {"without_answer", pending.without_answer}};
  for (const RouteDecision& route : pending.routes) content["routes"].push_back(encode(route));
  // Names come from the configuration; one that is no UTF-8 is stored with replacement characters.
  return content.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<Words> tasks_to_ask_first(const RouteDecision& route, const std::vector<inference::TaskInfo>& tasks) {
  if (route.pending.empty()) return route.tasks;
  NODE_ASSIGN_OR_RETURN(const PendingRoute pending, decode_pending_route(route.pending));
  inference::TaskInfo unknown;
  unknown.pass = -1;
  const auto info_of = [&](const std::string& name) -> const inference::TaskInfo& {
    const auto info = std::find_if(tasks.begin(), tasks.end(), [&](const auto& task) { return task.task == name; });
    return info == tasks.end() ? unknown : *info;
  };
  Words first{pending.task};
  for (const std::string& task : pending.tasks) {
    if (task != pending.task && info_of(task).pass == info_of(pending.task).pass) first.push_back(task);
  }
  // What waits for a task that is not asked yet is not asked yet either.
  for (Words all = first; true; all = first) {
    std::erase_if(first, [&](const std::string& task) {
      const std::string& gate = info_of(task).waits_for;
      return !gate.empty() && std::find(all.begin(), all.end(), gate) == all.end();
    });
    if (first.size() == all.size()) return first;
  }
}

Result<SettledRoute> settle_route(const RouteDecision& route, const std::vector<FindingRecord>& findings) {
  NODE_ASSIGN_OR_RETURN(const PendingRoute pending, decode_pending_route(route.pending));
  const auto of_task = [&findings](const std::string& task) {
    return std::find_if(findings.begin(), findings.end(), [&](const auto& f) { return f.prediction.task == task; });
  };
  const auto head = of_task(pending.task);
  const inference::Score* best = head == findings.end() ? nullptr : likeliest(head->prediction);
  if (best == nullptr) return internal_error("settle route: no answer to task " + pending.task);

  const auto label = pending.by_label.find(best->label);
  const bool answered = label != pending.by_label.end() && best->value >= pending.probability_min;
  SettledRoute settled{pending.routes[answered ? label->second : pending.without_answer], {}};
  const std::string evidence = answer_text(pending, *best);
  if (answered) {
    settled.route.body_part_evidence = "the pixels (" + evidence + ")";
  } else {
    if (!settled.route.reason.empty()) settled.route.reason += "; ";
    settled.route.reason += "the pixels do not say the body part (" + evidence + ")";
  }
  settled.route.forward_to = route.forward_to;
  settled.route.pending = route.pending;
  for (const std::string& task : settled.route.tasks) {
    if (of_task(task) == findings.end()) settled.still_to_ask.push_back(task);
  }
  return settled;
}

std::vector<FindingRecord> findings_in_order(const RouteDecision& route, std::vector<FindingRecord> findings) {
  const auto place = [&route](const FindingRecord& finding) {
    return std::find(route.tasks.begin(), route.tasks.end(), finding.prediction.task);
  };
  std::erase_if(findings, [&](const FindingRecord& finding) { return place(finding) == route.tasks.end(); });
  std::stable_sort(findings.begin(), findings.end(), [&](const FindingRecord& a, const FindingRecord& b) {
    return a.frame != b.frame ? a.frame < b.frame : place(a) < place(b);
  });
  return findings;
}

}  // namespace node::object
