// `studies retry`, `deliveries release`, `deliveries give-up` and `losses`: through the node that holds the directory,
// else directly on the store.
#include "dicom_node/operate/changes.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "dicom_node/audit/audit.h"
#include "dicom_node/operate/audit_sink.h"
#include "dicom_node/operate/commands/commands.h"
#include "dicom_node/operate/local_user.h"
#include "dicom_node/operate/node_client.h"
#include "storage/file_system.h"
#include "storage/spool_check.h"
#include "storage/sqlite_study_store.h"

namespace node::operate {
namespace {

// `apply` where no node holds the directory, else a request to `target`. The JSON of what was changed.
Result<std::string> change(const config::NodeConfig& config, const std::string& target,
                           const std::function<Result<std::string>(storage::StudyStore&)>& apply,
                           Method method = Method::kPost) {
  SystemClock clock;
  // Also says that there is no store, instead of making one.
  NODE_RETURN_IF_ERROR(storage::open_sqlite_study_store_read_only(config.storage, clock).status());
  auto store = storage::open_sqlite_study_store(config.storage, clock);
  if (store.ok()) {
    // First, so that nothing is changed that the trail would not know.
    NODE_ASSIGN_OR_RETURN(const auto trail, AuditSink::open(config.audit, config.receive.ae_title, /*of_node=*/false));
    Result<std::string> done = apply(**store);
    if (done.ok() && method == Method::kPost) audit::changed({local_user(), ""}, target);
    return done;
  }
  if (store.status().code() != StatusCode::kUnavailable) return store.status();
  Result<std::string> answer = ask_node(config.http, method, target);
  if (answer.status().code() == StatusCode::kUnavailable) {
    return unavailable(store.status().message() + ", and " + answer.status().message());
  }
  return answer;
}

int wrong_call(const Status& status) {
  fmt::print(stderr, "skelex-node: {}\n", status.message());
  return 2;
}

int say(const Result<std::string>& done, bool json, const std::function<std::string(const nlohmann::json&)>& words) {
  if (!done.ok()) {
    fmt::print(stderr, "skelex-node: {}\n", done.status().message());
    return 1;
  }
  const auto parsed = nlohmann::json::parse(*done, nullptr, false);
  if (parsed.is_discarded()) {
    fmt::print(stderr, "skelex-node: what answers at http.bind is no node: {}\n", *done);
    return 1;
  }
  fmt::print("{}\n", json ? done->substr(0, done->find('\n')) : words(parsed));
  return 0;
}

}  // namespace

int retry_study(const config::NodeConfig& config, const std::string& study_instance_uid,
                std::optional<int> seen_revision, bool json) {
  const auto uid = storage::Uid::parse(study_instance_uid);
  if (!uid.ok()) return wrong_call(uid.status());
  const std::string query = seen_revision ? fmt::format("?revision={}", *seen_revision) : "";
  return say(change(config, "/api/studies/" + uid->str() + "/retry" + query,
                    [&](storage::StudyStore& store) { return retry_study(store, *uid, seen_revision); }),
             json, [&](const nlohmann::json& study) {
               const int revision = study.value("revision", 0), waiting = study.value("waiting", 0);
               const bool already = study.value("already", false);
               if (already && waiting == 0 && !seen_revision) {
                 return fmt::format(
                     "study {0}: revision {1} is of a retry already, and nothing failed in it; `studies retry {0} "
                     "--revision {1}` makes another",
                     uid->str(), revision);
               }
               return fmt::format("study {}: revision {}, {} of {} images to be analysed again{}", uid->str(), revision,
                                  waiting, study.value("instances", 0), already ? ", as asked before" : "");
             });
}

int release_delivery(const config::NodeConfig& config, const std::string& id_text, bool json) {
  const auto id = parse_delivery_id(id_text);
  if (!id.ok()) return wrong_call(id.status());
  return say(change(config, fmt::format("/api/deliveries/{}/release", *id),
                    [&](storage::StudyStore& store) { return release_delivery(store, *id); }),
             json, [&](const nlohmann::json& delivery) {
               const bool sent = delivery.value("state", "") == "delivered";
               return fmt::format("delivery {}: {}", *id,
                                  sent                               ? "was released before, and sent since"
                                  : delivery.value("already", false) ? "is due already"
                                                                     : "will be sent again");
             });
}

int losses(const config::NodeConfig& config, bool accept, bool json) {
  const auto here = [&](storage::StudyStore& store) -> Result<std::string> {
    storage::FileSystem& file_system = storage::posix_file_system();
    NODE_ASSIGN_OR_RETURN(const auto spool, storage::Spool::open(config.storage, file_system));
    NODE_ASSIGN_OR_RETURN(const auto check, storage::check_spool(config.storage.directory, file_system, store));
    NODE_RETURN_IF_ERROR(storage::remember_losses(check, *spool, store));
    return review_losses(store, *spool, accept);
  };
  const auto found =
      change(config, accept ? "/api/losses/accept" : "/api/losses", here, accept ? Method::kPost : Method::kGet);
  return say(found, json, [](const nlohmann::json& answer) {
    std::string lines;
    for (const auto& loss : answer.value("losses", nlohmann::json::array())) {
      const std::string study = loss.value("study_instance_uid", "");
      lines += fmt::format("{}  {}  {}\n", loss.value("file", ""), loss.value("accepted", false) ? "accepted" : "lost",
                           study.empty() ? "a result" : "an image of study " + study);
    }
    return lines.empty() ? "nothing is lost" : lines.substr(0, lines.size() - 1);
  });
}

int release_parked(const config::NodeConfig& config, const std::string& destination, bool json) {
  SystemClock clock;
  const auto listed = storage::open_sqlite_study_store_read_only(config.storage, clock);
  if (!listed.ok()) return say(listed.status(), json, {});
  std::vector<std::int64_t> ids;
  storage::DeliveryFilter filter{.state = storage::DeliveryState::kParked, .limit = 1000};
  for (bool more = true; more;) {
    const auto page = (*listed)->list_deliveries(filter);
    if (!page.ok()) return say(page.status(), json, {});
    for (const storage::DeliveryRecord& delivery : *page) {
      if (delivery.destination == destination) ids.push_back(delivery.id);
    }
    more = std::ssize(*page) == filter.limit;
    if (more) filter.before = page->back().id;
  }
  if (ids.empty()) {
    fmt::print(stderr, "skelex-node: nothing is parked for {}: `deliveries --parked` lists what is\n", destination);
    return 1;
  }
  int status = 0;
  for (auto id = ids.rbegin(); id != ids.rend(); ++id) {  // The oldest first, as they were due.
    status = std::max(status, release_delivery(config, std::to_string(*id), json));
  }
  return status;
}

int give_up_delivery(const config::NodeConfig& config, const std::string& id_text, bool json) {
  const auto id = parse_delivery_id(id_text);
  if (!id.ok()) return wrong_call(id.status());
  return say(change(config, fmt::format("/api/deliveries/{}/give-up", *id),
                    [&](storage::StudyStore& store) { return give_up_delivery(store, *id); }),
             json, [&](const nlohmann::json&) {
               return fmt::format("delivery {}: given up, it will not be sent; `deliveries release` sends it after all",
                                  *id);
             });
}

}  // namespace node::operate
