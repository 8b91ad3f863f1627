// RouterConfig: the `routes:` and `forward:` of node.yaml, with the body part aliases.
#pragma once

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/task_config.h"

namespace node::config {

struct RouteMatch {  // Every list that is not empty must hold the image's value; what is unknown is in no list.
  std::vector<std::string> modality;                // Modality (0008,0060)
  std::vector<std::string> sop_class;               // SOP Class UID (0008,0016)
  std::vector<std::string> body_part;               // Terms of PS3.16 Annex L, after the aliases.
  std::vector<std::string> laterality;              // R, L, B, U
  std::vector<std::string> view;                    // View Position (0018,5101), or what View Code Sequence says.
  std::vector<std::string> sex;                     // Patient's Sex (0010,0040): M, F, O.
  std::vector<std::string> from;                    // Names of peers.
  std::vector<std::string> ae_title;                // The sender's, also of one that is no peer.
  std::vector<std::string> station;                 // Station Name (0008,1010); compared without case and accents.
  std::vector<std::string> institution;             // Institution Name (0008,0080); likewise.
  std::vector<std::string> procedure_code;          // "SCHEME|VALUE"; one of the image's must be in it.
  std::vector<std::string> description;             // ECMAScript regex, any case; one must be found in a description.
  std::optional<int> age_years_min, age_years_max;  // Inclusive; where one is set an unknown age does not match.
};

enum class ForProcessing { kSkip, kRender };
enum class Frames { kSkip, kEach };  // Of an image of several frames.

struct RouteRule {
  std::string name;
  std::string origin;  // Where it stands, for messages: "node.yaml:93: routes[2]"; empty: in no file.
  RouteMatch match;
  std::vector<std::string> tasks;
  int priority = 0;
  std::vector<std::string> send_to;  // Names of peers.
  bool shadow = false;               // mode: shadow
  ForProcessing for_processing = ForProcessing::kSkip;
  Frames frames = Frames::kSkip;
  std::vector<TaskCondition> urgent_when;  // A finding that meets one makes the study urgent.
};

struct ForwardRule {
  RouteMatch match;
  std::vector<std::string> send_to;
  bool after_results = false;  // Else at once. when: after_results
};

struct BodyPartTable {
  std::map<std::string, std::string> terms;            // Alias in upper case -> term: "KNIE" -> "KNEE".
  std::map<std::string, std::string> bones{};          // Of a detector's classes those that are held elsewhere.
  std::map<std::string, std::string> codes;            // "SCHEME|VALUE" -> term: "SCT|72696002" -> "KNEE".
  std::map<std::string, std::string> procedure_codes;  // The same, of procedure codes (LOINC and the site's own).
  std::vector<std::pair<std::string, std::string>> description_patterns;  // ECMAScript regex, any case -> term.
  // Term -> what it shows a part of: "WRIST" -> hand, forearm. Two terms that share none contradict each other.
  std::map<std::string, std::vector<std::string>> groups;
};

struct TaskScope {  // The images that a task is meant for; on others it is not run, and the record says so.
  std::vector<std::string> views;                   // View Position (0018,5101); empty: any.
  std::optional<int> age_years_min, age_years_max;  // Inclusive; where one is set an unknown age is outside.
  std::string waits_for{};                          // A task whose result decides whether this one is asked, or none.
  std::vector<std::string> body_parts{};            // As RouteMatch has them; empty: any.
  std::vector<std::string> laterality{};            // R, L, B, U; empty: any.
  bool split = false;                               // A film of both sides goes to the tasks of half_name().
};

// The last source of a body part: a softmax task on the pixels, whose labels are body parts. Its answer routes images
// of which no header says anything, and is held against what a header says of the others.
struct RegionHead {
  std::string task;                                        // Empty: none.
  double probability_min = 0.8;                            // Below it the head has no answer.
  std::map<std::string, std::string> terms;                // Label -> term: "carpal bones" -> "WRIST".
  std::map<std::string, std::vector<std::string>> groups;  // BodyPartTable::groups.

  std::map<std::string, std::string>
      aliases{};  // BodyPartTable::bones, else terms: of what a detector finds, with or without a head.

  // The body part that a detector's class is; empty: none that is known.
  std::string term_of(std::string label) const {
    const auto term = terms.find(label);
    for (char& c : label)
      c = c == '_' || c == '-' ? ' ' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    const auto alias = aliases.find(label);
    return alias != aliases.end() ? alias->second : term != terms.end() ? term->second : "";
  }
  // Whether both show parts of the body that have nothing in common.
  bool contradict(const std::string& term, const std::string& other) const {
    const auto a = groups.find(term), b = groups.find(other);
    if (term == other || a == groups.end() || b == groups.end()) return false;
    return std::find_first_of(a->second.begin(), a->second.end(), b->second.begin(), b->second.end()) ==
           a->second.end();
  }
  // What stands in `region_head`: the tables are those of the routes.
  bool operator==(const RegionHead& other) const {
    return task == other.task && probability_min == other.probability_min && terms == other.terms;
  }
};

struct RouterConfig {
  std::vector<RouteRule> routes;
  std::vector<ForwardRule> forward;
  BodyPartTable body_parts;
  RegionHead region_head;
  std::map<std::string, std::string> ae_titles;  // Of peers, by name.
  std::map<std::string, TaskScope> scopes;       // By task; a task that is not named is for any image.
};

}  // namespace node::config
