// What the router decided of an image and why, and the rules that it goes through: one JSON object on one line each,
// for `skelex-node route --json` and for the HTTP API. Nothing of a patient is in it but UIDs.
#pragma once

#include <string>

#include "config/router_config.h"
#include "dicom_node/object/instance_header.h"
#include "dicom_node/route/router.h"

namespace node::operate {

// `path`: of a file that was named; else empty, and left out.
std::string route_json(const std::string& path, const object::InstanceHeader& header,
                       const route::RouteDecision& decision, const route::Explanation& explanation);
// Of the criteria those that are set.
std::string rule_json(const config::RouteRule& rule);

}  // namespace node::operate
