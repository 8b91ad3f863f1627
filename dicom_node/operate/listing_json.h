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

// "2026-07-01T12:00:00Z"; nothing: empty.
std::string utc(std::optional<WallTime> time);

std::string study_json(const storage::StudySummary& study);
std::string delivery_json(const storage::DeliveryRecord& delivery);
// `tasks`: of all models; those of `model` are shown.
std::string model_json(const config::ModelConfig& model, const std::vector<inference::TaskInfo>& tasks);
// "..."
std::string text_json(std::string_view text);
// {"error": "..."}
std::string error_json(std::string_view message);

// "open" and so on, as to_string() writes them.
std::optional<storage::StudyState> parse_study_state(std::string_view text);
// And more than a state of a study: "failed", of an image too, "conflict", "parked". False: `text` is none of kStudyStates.
bool set_study_state(storage::StudyFilter& filter, std::string_view text);
inline constexpr std::string_view kStudyStates = "open, closed, finished, not_routed, failed, conflict, parked";
std::optional<storage::DeliveryState> parse_delivery_state(std::string_view text);

}  // namespace node::operate
