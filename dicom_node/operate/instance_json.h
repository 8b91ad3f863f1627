// instance_json: one instance as the line of `predict` and as the HTTP API shows it.
//
// Source: README.md, "One line of predict". Absent keys are left out; nothing of a patient is in it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "config/router_config.h"
#include "config/task_config.h"
#include "storage/study_store.h"

namespace node::operate {

struct InstanceOutputs {  // Where `predict` wrote what it made; empty elsewhere.
  std::string path;       // Of the image that was read.
  // Form -> the file of the image's study, and the files of the image itself.
  std::map<std::string, std::string> of_study;
  std::map<std::string, std::vector<std::string>> of_image;
};

// One JSON object on one line, without the newline. Findings come from the stored predictions.
std::string instance_json(const storage::InstanceRecord& instance, const std::vector<config::TaskConfig>& tasks,
                          const config::RegionHead& region_head, const InstanceOutputs& outputs);

// The same for a file that is no DICOM instance at all: path, state and reason.
std::string file_json(const std::string& path, const std::string& state, const std::string& reason);

}  // namespace node::operate
