// now_json: what is happening now, for the operator's page: one JSON object on one line.
#pragma once

#include <string>

#include "config/base/status.h"
#include "dicom_node/operate/metrics.h"
#include "dicom_node/operate/recent_flow.h"

namespace node::operate {

// `title`: of the node; `ready`: OK, or why not.
std::string now_json(const std::string& title, const Status& ready, const NodeStats& stats, const RecentFlow& flow);

// What RecentFlow watches.
RecentFlow::Counts flow_of(const NodeStats& stats);

}  // namespace node::operate
