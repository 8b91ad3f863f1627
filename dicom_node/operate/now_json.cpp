#include "dicom_node/operate/now_json.h"

#include <map>
#include <nlohmann/json.hpp>
#include <set>

namespace node::operate {

std::string now_json(const std::string& title, const Status& ready, const NodeStats& stats, const RecentFlow& flow) {
  using Json = nlohmann::ordered_json;
  Json now = {{"title", title},
              {"version", stats.version},
              {"ready", ready.ok()},
              {"reason", ready.message()},
              {"waiting", stats.store.instances_waiting},
              {"studies_open", stats.store.studies_open},
              {"conflicts", stats.store.conflicts},
              {"deliveries_pending", stats.store.deliveries_pending},
              {"deliveries_parked", stats.store.deliveries_parked},
              {"associations_open", stats.receive.associations_open},
              {"data_losses", stats.losses},
              {"disk", {{"free_bytes", stats.disk_free_bytes}, {"reserve_bytes", stats.disk_reserve_bytes}}},
              {"inference", {{"in_flight", stats.analysis.in_flight}, {"halved", stats.inference.halved_batches}}},
              {"devices", Json::array()},
              {"destinations", Json::array()}};
  std::map<std::string, std::set<std::string>> models;  // By device.
  for (const inference::TaskInfo& task : stats.tasks) models[task.device].insert(task.model);
  for (const auto& [device, names] : models) now["devices"].push_back({{"device", device}, {"models", names}});
  for (const auto& [name, sent] : stats.deliveries) {
    now["destinations"].push_back(
        {{"name", name}, {"up", sent.reachable}, {"delivered", sent.delivered}, {"parked", sent.parked}});
  }
  Json& minutes =
      now["minutes"] = {{"received", Json::array()}, {"analysed", Json::array()}, {"delivered", Json::array()}};
  for (const RecentFlow::Counts& minute : flow.minutes()) {
    minutes["received"].push_back(minute.received);
    minutes["analysed"].push_back(minute.analysed);
    minutes["delivered"].push_back(minute.delivered);
  }
  return now.dump(-1, ' ', false, Json::error_handler_t::replace);
}

RecentFlow::Counts flow_of(const NodeStats& stats) {
  RecentFlow::Counts counts{.received = stats.receive.received_total, .analysed = stats.analysis.analysed};
  for (const auto& [destination, sent] : stats.deliveries) counts.delivered += sent.delivered;
  return counts;
}

}  // namespace node::operate
