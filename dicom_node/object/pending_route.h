// PendingRoute: the routes among which the region head on the pixels chooses, for an image whose header names no body
// part. Made on receipt by the router, which so stays a function of the header; kept with the instance as text; settled
// by whoever has the head's answer.
//
// Guarantee: the same text and the same answer, the same route: nothing of the configuration is asked again.
// Threads:   reentrant.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "config/base/status.h"
#include "dicom_node/object/finding_record.h"
#include "inference/predictor.h"
#include "storage/route_decision.h"

namespace node::object {

struct PendingRoute {
  std::string task;                             // Of the region head.
  double probability_min = 0;                   // Below it the head has no answer.
  std::vector<std::string> tasks;               // All that may come to be asked for, the head's first.
  std::vector<storage::RouteDecision> routes;   // Without forward_to: originals go out on receipt.
  std::map<std::string, std::size_t> by_label;  // Label -> index in `routes`.
  std::size_t without_answer = 0;               // Index in `routes`.
};

std::string encode_pending_route(const PendingRoute& pending);

// The tasks to ask for at first: of a pending route those that share the encoder pass of the region head, so that its
// answer costs no pass of its own; of another all. Errors: kDataLoss: `route.pending` is not what
// encode_pending_route() writes.
Result<std::vector<std::string>> tasks_to_ask_first(const storage::RouteDecision& route,
                                                    const std::vector<inference::TaskInfo>& tasks);

struct SettledRoute {
  storage::RouteDecision route;  // With the head's answer and its probability as evidence.
  std::vector<std::string> still_to_ask;
};

// `findings`: of tasks_to_ask_first(); of several frames the first decides. Errors: kDataLoss: `route.pending` is not
// what encode_pending_route() writes;
//            kInternal: the region head is not among the answers.
Result<SettledRoute> settle_route(const storage::RouteDecision& route, const std::vector<FindingRecord>& findings);

// The findings of a route's tasks, frame after frame, in the tasks' order; those that another route would have asked
// for are dropped.
std::vector<FindingRecord> findings_in_order(const storage::RouteDecision& route, std::vector<FindingRecord> findings);

}  // namespace node::object
