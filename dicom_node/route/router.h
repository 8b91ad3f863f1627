// Router: what becomes of an image: tasks, urgency, destinations. A pure function of header and sender.
//
// Guarantee: same header, sender and rules, same answer; no I/O, no clock.
// Threads:   any; each answer is by the rules of one moment, which an assignment changes as a whole.
// Rules:     in file order, first match wins. The body part comes from the first source that names one:
//            an anatomic region code, Body Part Examined, procedure and protocol codes, then the site's own patterns
//            over descriptions, and last, if configured, the region head on the pixels, whose answers the decision
//            then foresees (`pending`); the answer says which. A code and a Body Part Examined of different groups
//            contradict each other: not analysed. "No rule matches" is an answer, not an error. A Secondary Capture,
//            fluoroscopy, angiography or mammography needs a rule that names its modality. Every forward rule that
//            matches counts, for skipped images too, but nothing goes back to the peer it came from.
// Source:    Modality (0008,0060), Body Part Examined (0018,0015): PS3.3 C.7.3.1; Anatomic Region
//            Sequence (0008,2218): PS3.3 C.8.11.2; their defined terms: PS3.16 Annex L.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/base/mutex.h"
#include "config/base/status.h"
#include "config/router_config.h"
#include "dicom_node/object/instance_header.h"
#include "dicom_node/route/body_parts.h"
#include "storage/route_decision.h"

namespace node::route {

using storage::RouteDecision;

struct RuleOutcome {
  std::string rule;
  bool matched = false;
  std::string why_not;  // Every criterion that failed: "body part is HAND, not KNEE; view is LL, not AP or PA".
};

struct Explanation {                   // For `skelex-node route`.
  std::vector<SourceOutcome> sources;  // Of the body part, in order of trust.
  std::vector<RuleOutcome> rules;      // All, in order; those after the one that matched say so.
};

struct UnreachableRoute {
  std::string origin;  // "node.yaml:93: routes[2]"; empty: in no file.
  std::string rule;
  std::string why;
};

class Router {
 public:
  // Errors: kInvalidArgument if a rule names a task not in `known_tasks`, a name repeats, or a pattern is no regular
  // expression.
  static Result<Router> create(const config::RouterConfig& config, const std::vector<std::string>& known_tasks);

  // `from`: the peer's name; empty for files. Images that no model may read (no or
  // short pixel data, no radiograph) get no tasks and a reason, whatever the rules say; where a rule would have taken
  // them it is named all the same, with its destinations.
  RouteDecision route(const object::InstanceHeader& header, std::string_view from) const;
  Explanation explain(const object::InstanceHeader& header, std::string_view from) const;

  // In their order.
  std::vector<config::RouteRule> routes() const;

  // Routes that can never match, because of their own criteria or of the routes before them.
  std::vector<UnreachableRoute> unreachable() const;

  Router(const Router& other) : rules_(other.rules()) {}
  Router& operator=(const Router& other) {  // NOLINT(bugprone-unhandled-self-assignment): it may be itself.
    std::shared_ptr<const Rules> fresh = other.rules();
    MutexLock lock(mutex_);
    rules_ = std::move(fresh);
    return *this;
  }

 private:
  struct Rules;
  explicit Router(std::shared_ptr<const Rules> rules) : rules_(std::move(rules)) {}
  std::shared_ptr<const Rules> rules() const {
    MutexLock lock(mutex_);
    return rules_;
  }

  mutable Mutex mutex_;
  std::shared_ptr<const Rules> rules_ GUARDED_BY(mutex_);
};

}  // namespace node::route
