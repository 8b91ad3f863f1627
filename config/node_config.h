// NodeConfig: reads and checks node.yaml, naming file, line, key and reason of every mistake it finds.
//
// Guarantee: what comes out is complete and consistent: names refer to things that exist, numbers are in range. Paths
//            of models and files are taken relative to the folder of the configuration file.
// Source:    shared surface of the project, described in README.md and config/node.example.yaml.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "config/base/status.h"
#include "config/inference_config.h"
#include "config/message_config.h"
#include "config/operate_config.h"
#include "config/peer_config.h"
#include "config/report_config.h"
#include "config/router_config.h"
#include "config/storage_config.h"

namespace node::config {

struct NodeConfig {
  ReceiveConfig receive;
  DeliveryConfig delivery;
  StorageConfig storage;
  InferenceConfig inference;
  RouterConfig router;
  ReportConfig report;
  std::vector<MessageConfig> messages;
  std::vector<DicomWebConfig> dicomweb;
  HttpConfig http;
  AuditConfig audit;
  LogConfig log;
};

// `file` with `overrides` ("key.path", "value": --set) and, before those, the environment's SKELEX_A__B for a.b: two
// underscores between levels, any case, "_" also for "-". `environment` holds NAME=value strings as `environ` does. A
// list's item is named by its number or, where it has one, its `name`. Body parts: the built-in table, then the file's.
// Errors: kInvalidArgument, a message of one or more lines, each "node.yaml:12: routes[0].tasks: no task named ...";
//         kNotFound if the file cannot be read.
Result<NodeConfig> read_node_config(const std::string& file,
                                    const std::vector<std::pair<std::string, std::string>>& overrides,
                                    const std::vector<std::string>& environment);

}  // namespace node::config
