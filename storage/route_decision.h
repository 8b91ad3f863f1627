// RouteDecision: what becomes of an image: tasks, urgency, destinations, and why.
//
// Made by dicom_node/route/router.h from a header, kept by the store with the instance, read by every later stage.
#pragma once

#include <string>
#include <vector>

namespace node::storage {

struct RouteDecision {
  std::string rule;                     // Empty: no rule matched.
  std::string body_part;                // "KNEE", a term of PS3.16 Annex L; empty: unknown.
  std::string body_part_evidence;       // Which attribute said so: "Anatomic Region Sequence".
  std::vector<std::string> tasks;       // Empty: not analysed, and `reason` says why.
  std::string reason;                   // "no rule for CR, ABDOMEN"; "out of scope: bone-age: age is unknown" (that
                                        // task is left out, others may run).
  int priority = 0;                     // Higher is claimed first, at every stage.
  std::vector<std::string> results_to;  // Names of the destinations of the results.
  bool shadow = false;                  // Analysed, nothing sent.
  std::vector<std::string> forward_to;  // Names of the destinations of the original.
  std::vector<std::string> forward_after_results;  // Of them, those that get it after the results of its study; the
                                                   // store keeps it as the stage of the delivery.
  std::string pending;                             // What the pixels decide, in the words of
                                                   // dicom_node/object/pending_route.h; empty: the header decided all.
};

}  // namespace node::storage
