// RouterConfig: the `routes:` and `forward:` of node.yaml, with the body part aliases.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace node::config {

struct RouteMatch {  // Every list that is not empty must hold the image's value; compared in upper case.
  std::vector<std::string> modality;    // Modality (0008,0060)
  std::vector<std::string> body_part;   // Terms of PS3.16 Annex L, after the aliases.
  std::vector<std::string> laterality;  // R, L, B, U
  std::vector<std::string> view;        // View Position (0018,5101)
  std::vector<std::string> from;        // Names of peers.
};

enum class ForProcessing { kSkip, kRender };

struct RouteRule {
  std::string name;
  RouteMatch match;
  std::vector<std::string> tasks;
  int priority = 0;
  std::vector<std::string> send_to;  // Names of peers.
  bool shadow = false;               // mode: shadow
  ForProcessing for_processing = ForProcessing::kSkip;
};

struct ForwardRule {
  RouteMatch match;
  std::vector<std::string> send_to;
};

struct BodyPartTable {
  std::map<std::string, std::string> terms;            // Alias in upper case -> term: "KNIE" -> "KNEE".
  std::map<std::string, std::string> codes;            // "SCHEME|VALUE" -> term: "SCT|72696002" -> "KNEE".
  std::map<std::string, std::string> procedure_codes;  // The same, of procedure codes (LOINC and the site's own).
  std::vector<std::pair<std::string, std::string>> description_patterns;  // ECMAScript regex, any case -> term.
  // Term -> what it shows a part of: "WRIST" -> hand, forearm. Two terms that share none contradict each other.
  std::map<std::string, std::vector<std::string>> groups;
};

struct TaskScope {  // The images that a task is meant for; on others it is not run, and the record says so.
  std::vector<std::string> views;                   // View Position (0018,5101); empty: any.
  std::optional<int> age_years_min, age_years_max;  // Inclusive; where one is set an unknown age is outside.
};

struct RouterConfig {
  std::vector<RouteRule> routes;
  std::vector<ForwardRule> forward;
  BodyPartTable body_parts;
  std::map<std::string, TaskScope> scopes;  // By task; a task that is not named is for any image.
};

}  // namespace node::config
