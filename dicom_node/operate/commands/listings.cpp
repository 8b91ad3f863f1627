#include <fmt/format.h>

#include "dicom_node/operate/commands/commands.h"
#include "dicom_node/operate/instance_json.h"
#include "dicom_node/operate/listing_json.h"
#include "storage/sqlite_study_store.h"

namespace node::operate {
namespace {

constexpr int kPage = 1000;

int fail(const Status& status) {
  fmt::print(stderr, "skelex-node: {}\n", status.message());
  return 1;
}

// "due since 2026-11-29T03:12:07Z, tried 2026-11-29T07:44:10Z, next 2026-11-29T08:44:10Z"
std::string times(const storage::DeliveryRecord& delivery) {
  std::string words = "due since " + utc(delivery.created_at);
  const auto add = [&words](const char* word, std::optional<WallTime> time) {
    if (time) words += fmt::format(", {} {}", word, utc(time));
  };
  const bool delivered = delivery.state == storage::DeliveryState::kDelivered;
  if (!delivered) add("tried", delivery.tried_at);
  if (delivery.state == storage::DeliveryState::kPending) add("next", delivery.due_at);
  add("released", delivery.released_at);
  add("delivered", delivery.delivered_at);
  add("given up", delivery.given_up_at);
  return words;
}

}  // namespace

int list_studies(const config::NodeConfig& config, const std::string& state, bool json) {
  storage::StudyFilter filter{.limit = kPage};
  if (!state.empty() && !set_study_state(filter, state)) {
    fmt::print(stderr, "skelex-node: --state {}: known are {}\n", state, kStudyStates);
    return 2;
  }
  SystemClock clock;
  auto store = storage::open_sqlite_study_store_read_only(config.storage, clock);
  if (!store.ok()) return fail(store.status());
  for (;;) {
    auto page = (*store)->list_studies(filter);
    if (!page.ok()) return fail(page.status());
    for (const storage::StudySummary& study : *page) {
      if (json) {
        fmt::print("{}\n", study_json(study));
      } else {
        fmt::print(
            "{}  {}  revision {}  {} images: {} analysed, {} skipped, {} failed, {} conflicts, {} waiting; "
            "deliveries: {} done, {} due, {} parked{}{}\n",
            study.study_instance_uid, storage::to_string(study.state), study.revision, study.instances, study.analysed,
            study.skipped, study.failed, study.conflicts, study.waiting, study.deliveries_done,
            study.deliveries_pending, study.deliveries_parked,
            study.deliveries_given_up > 0 ? fmt::format(", {} given up", study.deliveries_given_up) : "",
            study.reason.empty() ? "" : "; " + study.reason);
      }
    }
    if (page->size() < kPage) return 0;
    filter.before = page->back().key;
  }
}

int show_study(const config::NodeConfig& config, const std::string& study_instance_uid) {
  auto uid = storage::Uid::parse(study_instance_uid);
  if (!uid.ok()) {
    fmt::print(stderr, "skelex-node: {}\n", uid.status().message());
    return 2;
  }
  SystemClock clock;
  auto store = storage::open_sqlite_study_store_read_only(config.storage, clock);
  if (!store.ok()) return fail(store.status());
  auto study = (*store)->find_study(*uid);
  if (!study.ok()) return fail(study.status());
  auto instances = (*store)->list_instances(*uid);
  if (!instances.ok()) return fail(instances.status());
  for (const storage::InstanceRecord& instance : *instances) {
    fmt::print("{}\n", instance_json(instance, config.inference.tasks, config.report.region_head, {}));
  }
  return 0;
}

int list_deliveries(const config::NodeConfig& config, bool parked_only, bool json) {
  SystemClock clock;
  auto store = storage::open_sqlite_study_store_read_only(config.storage, clock);
  if (!store.ok()) return fail(store.status());
  storage::DeliveryFilter filter{.limit = kPage};
  if (parked_only) filter.state = storage::DeliveryState::kParked;
  for (;;) {
    auto page = (*store)->list_deliveries(filter);
    if (!page.ok()) return fail(page.status());
    for (const storage::DeliveryRecord& delivery : *page) {
      const std::string peer_status = delivery.peer_status ? fmt::format("{:04X}", *delivery.peer_status) : "";
      if (json) {
        fmt::print("{}\n", delivery_json(delivery));
      } else {
        fmt::print("{}  {}  {} {} to {}  attempts {}  {}  {}{}\n", delivery.id, storage::to_string(delivery.state),
                   delivery.kind, delivery.sop_instance_uid, delivery.destination, delivery.attempts, times(delivery),
                   peer_status.empty() ? "" : peer_status + "H ", delivery.text);
      }
    }
    if (page->size() < kPage) return 0;
    filter.before = page->back().id;
  }
}

}  // namespace node::operate
