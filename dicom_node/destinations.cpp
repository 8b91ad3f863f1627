#include "dicom_node/destinations.h"

#include <spdlog/spdlog.h>

#include <future>

#include "dicom_node/deliver/message_sender.h"
#include "dicom_node/deliver/stow_sender.h"

namespace node {

std::map<std::string, Destinations::Place> Destinations::places(const Config& config) {
  std::map<std::string, Place> found;
  for (const config::PeerConfig& peer : config.delivery.peers) {
    if (peer.port != 0) found.emplace(peer.name, peer);
  }
  for (const config::MessageConfig& message : config.messages) found.emplace(message.name, message);
  for (const config::DicomWebConfig& server : config.dicomweb) found.emplace(server.name, server);
  return found;
}

Status Destinations::tell_store(const Config& config) {
  std::vector<std::string> names, committing, callable;
  for (const auto& [name, place] : places(config)) {
    names.push_back(name);
    const auto* const peer = std::get_if<config::PeerConfig>(&place);
    if (peer != nullptr) callable.push_back(name);
    if (peer != nullptr && peer->commitment) committing.push_back(name);
  }
  NODE_ASSIGN_OR_RETURN(const auto parked, store_.set_destinations(names));
  for (const auto& [destination, deliveries] : parked) {
    spdlog::warn("event=deliveries_parked destination={} deliveries={} reason=\"{}\"", destination, deliveries,
                 storage::kNoSuchDestination);
  }
  NODE_ASSIGN_OR_RETURN(const auto freed, store_.set_commitment_peers(committing, callable));
  for (const auto& [destination, deliveries] : freed) {
    spdlog::warn(
        "event=commitment_not_wanted destination={} deliveries={} reason=\"commitment is not true for it any "
        "more: what was delivered counts as it is\"",
        destination, deliveries);
  }
  return ok_status();
}

Destinations::Worker Destinations::begin(const Place& place) {
  Worker worker{.place = place};
  const auto send = [&](const std::string& name, deliver::OpenSender sender) {
    worker.delivery = deliver::DeliveryWorker::start(config_.delivery, name, std::move(sender), spool_, store_);
  };
  if (const auto* const peer = std::get_if<config::PeerConfig>(&place)) {
    worker.delivery = deliver::DeliveryWorker::start(config_.delivery, *peer, spool_, store_);
    worker.commitment = deliver::CommitmentWorker::start(config_.delivery, *peer, spool_, store_);
  } else if (const auto* const message = std::get_if<config::MessageConfig>(&place)) {
    send(message->name, deliver::message_sender(config_.delivery, *message));
  } else {
    const auto& server = std::get<config::DicomWebConfig>(place);
    send(server.name, deliver::stow_sender(config_.delivery, server));
  }
  return worker;
}

void Destinations::begin_missing(const Before& before) {
  for (const auto& [name, place] : places(config_)) {
    {
      MutexLock lock(mutex_);
      if (workers_.contains(name)) continue;
    }
    Worker worker = begin(place);
    if (const auto found = before.find(name); found != before.end()) worker.before = found->second;
    MutexLock lock(mutex_);
    workers_.emplace(name, std::move(worker));
  }
}

// All at once: each waits for its own peer's answer.
Destinations::Before Destinations::end_all_but(const std::map<std::string, Place>& wanted) {
  std::map<std::string, Worker> ending;
  {
    MutexLock lock(mutex_);
    for (auto it = workers_.begin(); it != workers_.end();) {
      const auto same = wanted.find(it->first);
      const auto here = it++;
      if (same == wanted.end() || same->second != here->second.place) ending.insert(workers_.extract(here));
    }
  }
  Before before;
  std::vector<std::future<void>> ends;
  ends.reserve(ending.size());
  for (auto& [name, worker] : ending) {
    ends.push_back(std::async(std::launch::async, [&worker = worker] {
      worker.delivery->stop();
      if (worker.commitment) worker.commitment->stop();
    }));
  }
  for (std::future<void>& end : ends) end.wait();
  for (const auto& [name, worker] : ending) before[name] = worker.stats();
  return before;
}

Result<std::unique_ptr<Destinations>> Destinations::start(Config config, storage::Spool& spool,
                                                          storage::StudyStore& store) {
  auto started = std::unique_ptr<Destinations>(new Destinations(std::move(config), spool, store));
  NODE_RETURN_IF_ERROR(started->tell_store(started->config_));
  started->begin_missing({});
  return started;
}

Status Destinations::reload(Config config) {
  const Before before = end_all_but(places(config));
  Status told = tell_store(config);
  if (told.ok()) {
    config_ = std::move(config);
  } else if (const Status again = tell_store(config_); !again.ok()) {
    spdlog::error("event=destinations_not_set reason=\"{}\"", again.message());
  }
  begin_missing(before);
  return told;
}

deliver::DeliveryStats Destinations::Worker::stats() const {
  deliver::DeliveryStats sum = delivery->stats();
  sum.delivered += before.delivered;
  sum.warnings += before.warnings;
  sum.retries += before.retries;
  sum.parked += before.parked;
  sum.associations += before.associations;
  sum.losses += before.losses;
  return sum;
}

std::map<std::string, deliver::DeliveryStats> Destinations::stats() const {
  MutexLock lock(mutex_);
  std::map<std::string, deliver::DeliveryStats> found;
  for (const auto& [name, worker] : workers_) found[name] = worker.stats();
  return found;
}

void Destinations::stop() {
  std::vector<Worker*> ending;  // Whose places only this thread changes.
  {
    MutexLock lock(mutex_);
    for (auto& [name, worker] : workers_) ending.push_back(&worker);
  }
  for (Worker* worker : ending) worker->delivery->stop();
  for (Worker* worker : ending) {
    if (worker->commitment) worker->commitment->stop();
  }
}

}  // namespace node
