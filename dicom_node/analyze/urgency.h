// urgency: whether what was found in an image makes its study urgent, and in which words.
//
// Threads: reentrant.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "config/task_config.h"
#include "dicom_node/object/finding_record.h"

namespace node::analyze {

// `urgent_when` of each route, by the route's name.
using UrgentWhen = std::map<std::string, std::vector<config::TaskCondition>>;

// "fracture 0.91, urgent from 0.7 (route limbs)"; with the label where the task has several. Empty: not urgent. A task
// that was not asked, or has no such label, is never a reason.
std::string why_urgent(const UrgentWhen& urgent_when, const std::string& route,
                       const std::vector<object::FindingRecord>& findings);

}  // namespace node::analyze
