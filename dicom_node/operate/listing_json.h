// One study, delivery or model as a line of `--json` listings and as the HTTP API shows it: one JSON object on one
// line, without the newline. Nothing of a patient is in it but UIDs.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/inference_config.h"
#include "inference/predictor.h"
#include "storage/study_store.h"

namespace node::operate {

std::string study_json(const storage::StudySummary& study);
std::string delivery_json(const storage::DeliveryRecord& delivery);
// `tasks`: of all models; those of `model` are shown.
std::string model_json(const config::ModelConfig& model, const std::vector<inference::TaskInfo>& tasks);
// {"error": "..."}
std::string error_json(std::string_view message);

// "open" and so on, as to_string() writes them.
std::optional<storage::StudyState> parse_study_state(std::string_view text);
std::optional<storage::DeliveryState> parse_delivery_state(std::string_view text);

}  // namespace node::operate
