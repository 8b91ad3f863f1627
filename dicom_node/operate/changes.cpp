#include "dicom_node/operate/changes.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <charconv>

#include "dicom_node/operate/listing_json.h"
#include "storage/spool_check.h"

namespace node::operate {

Result<std::string> retry_study(storage::StudyStore& store, const storage::Uid& study_instance_uid,
                                std::optional<int> seen_revision) {
  NODE_ASSIGN_OR_RETURN(const bool retried, store.retry_study(study_instance_uid, seen_revision));
  NODE_ASSIGN_OR_RETURN(const storage::StudySummary study, store.find_study(study_instance_uid));
  if (retried)
    spdlog::info("event=study_retried study_instance_uid={} revision={}", study.study_instance_uid, study.revision);
  std::string json = study_json(study);
  if (!retried) json.insert(json.size() - 1, R"(,"already":true)");
  return json;
}

Result<std::string> release_delivery(storage::StudyStore& store, std::int64_t id) {
  using storage::DeliveryState;
  NODE_ASSIGN_OR_RETURN(const DeliveryState was, store.release_delivery(id));
  const bool sent_since = was == DeliveryState::kDelivered;
  const bool already = sent_since || was == DeliveryState::kPending;
  if (!already) spdlog::info("event=delivery_released id={}", id);
  return fmt::format(R"({{"id":{},"state":"{}"{}}})", id, to_string(sent_since ? was : DeliveryState::kPending),
                     already ? R"(,"already":true)" : "");
}

Result<std::string> give_up_delivery(storage::StudyStore& store, std::int64_t id) {
  NODE_RETURN_IF_ERROR(store.give_up_delivery(id));
  spdlog::info("event=delivery_given_up id={}", id);
  return fmt::format(R"({{"id":{},"state":"{}"}})", id, storage::to_string(storage::DeliveryState::kGivenUp));
}

Result<std::string> review_losses(storage::StudyStore& store, const storage::Spool& spool, bool accept) {
  NODE_ASSIGN_OR_RETURN(const std::vector<storage::Loss> losses, storage::review_losses(spool, store, accept));
  if (accept) spdlog::warn("event=losses_accepted count={}", losses.size());
  std::vector<std::string> entries;
  for (const storage::Loss& loss : losses) {
    const std::string& key = loss.file.key;
    const auto uid = storage::uid_of_key(key);
    const std::string sop = uid.ok() ? uid->str() : "";
    const auto image = uid.ok() ? store.show_instance(*uid) : uid.status();  // Else a result of ours.
    entries.push_back(
        fmt::format(R"({{"file":{},"sop_instance_uid":{},{}"accepted":{}}})", text_json(key), text_json(sop),
                    image.ok() ? fmt::format(R"("study_instance_uid":"{}",)", image->study_instance_uid.str()) : "",
                    loss.accepted));
  }
  return fmt::format(R"({{"losses":[{}]}})", fmt::join(entries, ","));
}

Result<std::int64_t> parse_delivery_id(std::string_view text) {
  std::int64_t id = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), id);
  if (parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() && id > 0) return id;
  return invalid_argument("a delivery's ID is a number, as `deliveries` lists it");
}

}  // namespace node::operate
