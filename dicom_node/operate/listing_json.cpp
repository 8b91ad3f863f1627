#include "dicom_node/operate/listing_json.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace node::operate {
namespace {

using Json = nlohmann::ordered_json;

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace

std::string utc(std::optional<WallTime> time) {
  if (!time) return "";
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(std::chrono::system_clock::time_point(*time))));
}

std::string study_json(const storage::StudySummary& study) {
  return dump({{"study_instance_uid", study.study_instance_uid},
               {"accession_number", study.accession_number},
               {"state", storage::to_string(study.state)},
               {"reason", study.reason},
               {"urgent", study.urgent},
               {"not_analysed", study.not_analysed},
               {"revision", study.revision},
               {"instances", study.instances},
               {"analysed", study.analysed},
               {"skipped", study.skipped},
               {"failed", study.failed},
               {"conflicts", study.conflicts},
               {"waiting", study.waiting},
               {"deliveries_pending", study.deliveries_pending},
               {"deliveries_parked", study.deliveries_parked},
               {"deliveries_done", study.deliveries_done},
               {"deliveries_given_up", study.deliveries_given_up},
               {"opened_at", utc(study.opened_at)},
               {"last_instance_at", utc(study.last_instance_at)},
               {"closed_at", utc(study.closed_at)},
               {"finished_at", utc(study.finished_at)}});
}

std::string delivery_json(const storage::DeliveryRecord& delivery) {
  return dump({{"id", delivery.id},
               {"destination", delivery.destination},
               {"kind", delivery.kind},
               {"sop_instance_uid", delivery.sop_instance_uid},
               {"study_instance_uid", delivery.study_instance_uid},
               {"state", storage::to_string(delivery.state)},
               {"attempts", delivery.attempts},
               {"created_at", utc(delivery.created_at)},
               {"tried_at", utc(delivery.tried_at)},
               {"due_at", utc(delivery.due_at)},
               {"next_try_at", delivery.state == storage::DeliveryState::kPending ? utc(delivery.due_at) : ""},
               {"released_at", utc(delivery.released_at)},
               {"delivered_at", utc(delivery.delivered_at)},
               {"given_up_at", utc(delivery.given_up_at)},
               {"peer_status", delivery.peer_status ? fmt::format("{:04X}", *delivery.peer_status) : ""},
               {"text", delivery.text},
               {"commitment", delivery.commitment}});
}

std::string model_json(const config::ModelConfig& model, const std::vector<inference::TaskInfo>& tasks) {
  Json json = {{"model", model.name}, {"path", model.path}, {"tasks", Json::array()}};
  for (const inference::TaskInfo& task : tasks) {
    if (task.model != model.name) continue;
    json["tasks"].push_back({{"task", task.task}, {"labels", task.labels}, {"unit", task.unit}});
    json["parameters"] = task.parameters;
    json["precision"] = task.precision;
    json["device"] = task.device;
    json["digest"] = task.model_digest;
  }
  return dump(json);
}

std::string text_json(std::string_view text) { return dump(Json(std::string(text))); }

std::string error_json(std::string_view message) {
  Json json;
  json["error"] = std::string(message);
  return dump(json);
}

std::optional<storage::StudyState> parse_study_state(std::string_view text) {
  for (storage::StudyState state :
       {storage::StudyState::kOpen, storage::StudyState::kClosed, storage::StudyState::kFinished,
        storage::StudyState::kNotRouted, storage::StudyState::kFailed}) {
    if (text == storage::to_string(state)) return state;
  }
  return std::nullopt;
}

bool set_study_state(storage::StudyFilter& filter, std::string_view text) {
  filter.failures = text == storage::to_string(storage::StudyState::kFailed);
  if (!filter.failures) filter.state = parse_study_state(text);
  filter.conflicts = text == "conflict";
  filter.parked = text == "parked";
  return filter.failures || filter.state || filter.conflicts || filter.parked;
}

std::optional<storage::DeliveryState> parse_delivery_state(std::string_view text) {
  for (storage::DeliveryState state : {storage::DeliveryState::kPending, storage::DeliveryState::kDelivered,
                                       storage::DeliveryState::kParked, storage::DeliveryState::kGivenUp}) {
    if (text == storage::to_string(state)) return state;
  }
  return std::nullopt;
}

}  // namespace node::operate
