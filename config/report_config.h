// ReportConfig: the `results:` of node.yaml, and what a report says of tasks.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "config/message_config.h"
#include "config/router_config.h"
#include "config/task_config.h"

namespace node::config {

struct ReportConfig {
  std::string ae_title = "SKELEX";  // Device Observer Name, Station Name.
  std::string node_version;         // Software Versions.
  std::string disclaimer = "AI result - not for clinical use";
  bool report_skipped = false;          // Also a study of which nothing was routed gets a report.
  std::vector<std::string> skipped_to;  // Where that goes if no route of its images names a destination.
  std::map<std::string, std::vector<std::string>> forms;  // Peer -> words of kResultForms; else the default ones.
  std::vector<MessageConfig> messages;  // Destinations that get one message a study in place of objects.
  std::vector<TaskConfig> tasks;
  RegionHead region_head;  // Held against what the header says of the body part.
};

}  // namespace node::config
