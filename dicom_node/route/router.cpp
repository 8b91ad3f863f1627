#include "dicom_node/route/router.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "dicom_node/object/pending_route.h"
#include "dicom_node/route/reachability.h"
#include "dicom_node/route/route_match.h"

namespace node::route {
namespace {

using config::ForProcessing;
using config::Frames;
using config::RouteRule;
using object::InstanceHeader;

constexpr const char* kAwaitsThePixels = "the body part is to be read from the pixels";

bool is_radiograph(const Facts& facts) { return image_kind(facts.sop_class, facts.modality) != ImageKind::kOther; }

// For a reason: what is no code string may be anything, a line break or a name.
std::string modality_text(const std::string& modality) {
  if (modality.empty()) return "no modality";
  constexpr std::string_view kCodeString = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ ";
  if (modality.size() > 16 || modality.find_first_not_of(kCodeString) != std::string::npos)
    return "a modality that is none";
  return modality;
}

// Why no model may read the image whatever its rule says; empty if one may.
std::string why_unreadable(const InstanceHeader& header, const Facts& facts) {
  if (!is_radiograph(facts)) {
    return "not a radiograph: " + modality_text(header.modality) + ", SOP class " + header.sop_class_uid.substr(0, 64);
  }
  if (std::string problem = header.pixel_data_problem(); !problem.empty()) return problem;
  constexpr int kSideMin = 16;  // Pixels. A line or a dot shows nothing that a model was made for.
  if (header.rows < kSideMin || header.columns < kSideMin) {
    return "too small to be analysed: " + std::to_string(header.columns) + " x " + std::to_string(header.rows) +
           " pixels, fewer than " + std::to_string(kSideMin) + " on a side";
  }
  return "";
}

std::string no_rule_reason(const Facts& facts) {
  std::string reason = "no rule for " + modality_text(facts.modality);
  if (!facts.part.term.empty()) return reason + ", " + facts.part.term;
  if (facts.part.unrecognised.empty()) return reason + ", body part unknown";
  return reason + ", body part unknown: '" + facts.part.unrecognised + "'";
}

// Empty if the task is meant for this image; else why not: "bone-age: age is unknown". What waits for a task that is
// not asked is never asked either.
std::string why_out_of_scope(const std::string& task, const std::map<std::string, config::TaskScope>& scopes,
                             const Facts& facts) {
  const auto found = scopes.find(task);
  if (found == scopes.end()) return "";
  const config::TaskScope& scope = found->second;
  if (!scope.waits_for.empty() && !why_out_of_scope(scope.waits_for, scopes, facts).empty()) {
    return task + ": " + scope.waits_for + " is out of scope";
  }
  const auto outside = [&](const char* what, const Words& meant_for, const std::string& value) {
    if (meant_for.empty() || contains(meant_for, value)) return std::string();
    constexpr std::size_t kListedMax = 6;  // More is no sentence for a report; the configuration has them.
    return task + ": " + what + " is " + (value.empty() ? "unknown" : value) + ", " +
           (meant_for.size() > kListedMax ? "none of the " + std::to_string(meant_for.size()) + " that it is for"
                                          : "not " + join(meant_for, " or "));
  };
  for (const std::string& why :
       {outside("body part", scope.body_parts, facts.part.term),
        facts.laterality.empty() && contains(scope.laterality, "U")  // Of one side, or none is named.
            ? std::string()
            : outside("laterality", scope.laterality, facts.laterality),
        outside("view", scope.views, facts.view)}) {
    if (!why.empty()) return why;
  }
  if (!scope.age_years_min && !scope.age_years_max) return "";
  if (facts.age_years < 0) return task + ": age is unknown";
  if (facts.age_years < scope.age_years_min.value_or(0) ||
      facts.age_years > scope.age_years_max.value_or(facts.age_years)) {
    return task + ": age is outside its limits";
  }
  return "";
}

// A film of both sides whose halves each show one, the patient's right at the left of the image, as far as a header can
// say so: seen from the front or the back, clearly wider than high, its rows running to the patient's left, its columns
// to the feet: neither mirrored nor upside down, nor oblique. Empty, or what of this is not so.
std::string why_no_halves(const Facts& facts) {
  if (facts.view != "AP" && facts.view != "PA")
    return "view is " + (facts.view.empty() ? "unknown" : facts.view) + ", not AP or PA";
  if (5 * static_cast<std::int64_t>(facts.columns) < 6 * static_cast<std::int64_t>(facts.rows))
    return "the film is not wider than high by a fifth";
  if (facts.orientation != "L\\F")
    return "Patient Orientation is " + (facts.orientation.empty() ? "unknown" : facts.orientation) + ", not L\\F";
  return "";
}

}  // namespace

struct Router::Rules {
  config::RouterConfig config;
  BodyParts body_parts;
  std::vector<Match> routes, forwards;  // Of config.routes and config.forward.

  Facts facts_of(const InstanceHeader& header, std::string_view from) const;
  std::string why_not(std::size_t rule, const Facts& facts) const;
  void forward(const Facts& facts, RouteDecision& decision) const;
  // By the rules, of an image whose body part is settled. `unreadable`: why_unreadable().
  RouteDecision decide(const InstanceHeader& header, const Facts& facts, const std::string& unreadable) const;
  // What the region head's answers would decide; nothing if they would make no difference.
  std::string foresee(const InstanceHeader& header, Facts facts, RouteDecision& decision) const;
};

Facts Router::Rules::facts_of(const InstanceHeader& header, std::string_view from) const {
  Facts facts;
  facts.modality = upper(header.modality);
  facts.sop_class = header.sop_class_uid;
  facts.laterality = upper(header.laterality);
  facts.view = upper(header.view_position);
  facts.orientation = upper(header.orientation);
  facts.rows = header.rows;
  facts.columns = header.columns;
  facts.sex = upper(header.patient_sex);
  facts.from = from;
  // A sender that is no peer has only its AE title for a name.
  const auto peer = config.ae_titles.find(facts.from);
  facts.ae_title = from.empty() ? header.source_ae_title : peer == config.ae_titles.end() ? facts.from : peer->second;
  facts.station = fold(header.station_name);
  facts.institution = fold(header.institution_name);
  facts.age_years = header.age_years;
  for (const auto* codes : {&header.performed_codes, &header.procedure_codes}) {
    for (const config::Code& code : *codes) facts.procedure_codes.push_back(code_key(code));
  }
  facts.descriptions = descriptions_of(header);
  facts.part = body_parts.find(header);
  return facts;
}

std::string Router::Rules::why_not(std::size_t rule, const Facts& facts) const {
  if (!facts.part.contradiction.empty()) return "body part contradictory: " + facts.part.contradiction;
  const std::string reason = routes[rule].why_not(facts);
  const bool named = !routes[rule].config().modality.empty();
  if (reason.empty() && !named && image_kind(facts.sop_class, facts.modality) == ImageKind::kOnlyIfNamed) {
    return "an image of its SOP class needs a rule that names its modality";
  }
  return reason;
}

// The first rule that names a destination says when.
void Router::Rules::forward(const Facts& facts, RouteDecision& decision) const {
  for (std::size_t i = 0; i < forwards.size(); ++i) {
    if (!forwards[i].why_not(facts).empty()) continue;
    for (const std::string& peer : config.forward[i].send_to) {
      if (peer == facts.from || contains(decision.forward_to, peer)) continue;
      decision.forward_to.push_back(peer);
      if (config.forward[i].after_results) decision.forward_after_results.push_back(peer);
    }
  }
}

RouteDecision Router::Rules::decide(const InstanceHeader& header, const Facts& facts,
                                    const std::string& unreadable) const {
  RouteDecision decision;
  decision.body_part = facts.part.term;
  decision.body_part_evidence = facts.part.evidence;
  decision.reason = unreadable;
  if (!is_radiograph(facts)) return decision;
  std::size_t index = 0;
  while (index < routes.size() && !why_not(index, facts).empty()) ++index;
  if (index == routes.size()) {
    if (decision.reason.empty()) {
      decision.reason = facts.part.contradiction.empty() ? no_rule_reason(facts)
                                                         : "body part contradictory: " + facts.part.contradiction;
    }
    return decision;
  }
  const RouteRule& rule = config.routes[index];
  decision.rule = rule.name;
  decision.priority = rule.priority;
  decision.results_to = rule.send_to;
  decision.shadow = rule.shadow;
  if (decision.reason.empty() && header.is_for_processing() && rule.for_processing == ForProcessing::kSkip) {
    decision.reason = "FOR PROCESSING";
  }
  if (decision.reason.empty() && header.number_of_frames > 1 && rule.frames == Frames::kSkip) {
    decision.reason = "several frames: " + std::to_string(header.number_of_frames);
  }
  if (decision.reason.empty() && rule.tasks.empty()) decision.reason = "rule " + rule.name + " has no tasks";
  if (!decision.reason.empty()) return decision;
  std::string split;
  for (const std::string& task : rule.tasks) {
    std::string outside = why_out_of_scope(task, config.scopes, facts);
    const auto scope = config.scopes.find(task);
    if (outside.empty()) {
      decision.tasks.push_back(task);
      continue;
    }
    if (facts.laterality == "B" && scope != config.scopes.end() && scope->second.split) {
      Facts half = facts;
      half.laterality = scope->second.laterality.front();
      const std::string otherwise = why_out_of_scope(task, config.scopes, half);  // Than for the side.
      const std::string no_halves = why_no_halves(facts);
      if (otherwise.empty() && no_halves.empty()) {
        for (const config::Half side : {config::Half::kRight, config::Half::kLeft}) {
          if (contains(scope->second.laterality, side == config::Half::kRight ? "R" : "L"))
            decision.tasks.push_back(config::half_name(task, side));
        }
        split += (split.empty() ? "split: " : ", ") + task;
        continue;
      }
      outside = otherwise.empty() ? outside + ", and not split: " + no_halves : otherwise;
    }
    decision.reason += (decision.reason.empty() ? "out of scope: " : "; ") + outside;
  }
  if (!split.empty()) {
    decision.reason += (decision.reason.empty() ? "" : "; ") + split +
                       " read each half of the film by itself, the patient's right at the left of the image";
  }
  return decision;
}

std::string Router::Rules::foresee(const InstanceHeader& header, Facts facts, RouteDecision& decision) const {
  const config::RegionHead& head = config.region_head;
  object::PendingRoute pending{head.task, head.probability_min, {}, {decision}, {}, 0};
  std::map<std::string, std::size_t> by_term;
  bool differs = false;
  for (const auto& [label, term] : head.terms) {
    const auto [found, fresh] = by_term.emplace(term, pending.routes.size());
    pending.by_label[label] = found->second;
    if (!fresh) continue;
    facts.part = {term, "", "", ""};
    RouteDecision& route = pending.routes.emplace_back(decide(header, facts, ""));
    differs = differs || (route.rule != decision.rule && !route.tasks.empty());
  }
  if (!differs) return "";
  // All that may be asked for, the head first: whoever analyses the image asks for no more than its answer calls for.
  decision = {};
  decision.tasks = {head.task};
  decision.reason = kAwaitsThePixels;
  decision.priority = pending.routes.front().priority;
  for (const RouteDecision& route : pending.routes) {
    decision.priority = std::max(decision.priority, route.priority);
    for (const std::string& task : route.tasks) {
      if (!contains(decision.tasks, task)) decision.tasks.push_back(task);
    }
  }
  pending.tasks = decision.tasks;
  return object::encode_pending_route(pending);
}

Result<Router> Router::create(const config::RouterConfig& config, const std::vector<std::string>& known_tasks) {
  auto rules = std::make_shared<Rules>();
  rules->config = config;
  NODE_ASSIGN_OR_RETURN(rules->body_parts, BodyParts::create(config.body_parts));
  std::set<std::string> names;
  for (const RouteRule& rule : config.routes) {
    if (!names.insert(rule.name).second) return invalid_argument("route " + rule.name + ": the name repeats");
    for (const std::string& task : rule.tasks) {
      if (!contains(known_tasks, task)) return invalid_argument("route " + rule.name + ": no task named " + task);
    }
    auto match = Match::create(rule.match, rules->body_parts);
    if (!match.ok()) return match.status().within("route " + rule.name);
    rules->routes.push_back(std::move(match).value());
  }
  for (const config::ForwardRule& rule : config.forward) {
    NODE_ASSIGN_OR_RETURN(Match match, Match::create(rule.match, rules->body_parts));
    rules->forwards.push_back(std::move(match));
  }
  const std::string& head = config.region_head.task;
  if (!head.empty() && !contains(known_tasks, head)) return invalid_argument("region_head: no task named " + head);
  return Router(std::move(rules));
}

RouteDecision Router::route(const InstanceHeader& header, std::string_view from) const {
  const std::shared_ptr<const Rules> rules = this->rules();
  const Facts facts = rules->facts_of(header, from);
  const std::string unreadable = why_unreadable(header, facts);
  RouteDecision decision = rules->decide(header, facts, unreadable);
  if (unreadable.empty() && facts.part.unknown() && !rules->config.region_head.task.empty()) {
    decision.pending = rules->foresee(header, facts, decision);
  }
  rules->forward(facts, decision);
  return decision;
}

Explanation Router::explain(const InstanceHeader& header, std::string_view from) const {
  const std::shared_ptr<const Rules> rules = this->rules();
  const Facts facts = rules->facts_of(header, from);
  Explanation explanation;
  explanation.sources = rules->body_parts.explain(header);
  std::string matched;
  for (std::size_t i = 0; i < rules->routes.size(); ++i) {
    const std::string& name = rules->config.routes[i].name;
    if (!matched.empty()) {
      explanation.rules.push_back({name, false, "not asked, since " + matched + " matches"});
      continue;
    }
    const std::string reason = is_radiograph(facts) ? rules->why_not(i, facts) : why_unreadable(header, facts);
    explanation.rules.push_back({name, reason.empty(), reason});
    if (reason.empty()) matched = name;
  }
  return explanation;
}

std::vector<config::RouteRule> Router::routes() const { return rules()->config.routes; }

std::vector<UnreachableRoute> Router::unreachable() const {
  const std::shared_ptr<const Rules> rules = this->rules();
  std::vector<UnreachableRoute> found;
  for (std::size_t i = 0; i < rules->routes.size(); ++i) {
    const RouteRule& rule = rules->config.routes[i];
    const std::string why = why_never(rules->config.routes, rules->routes, i);
    if (!why.empty()) found.push_back({rule.origin, rule.name, why});
  }
  return found;
}

}  // namespace node::route
