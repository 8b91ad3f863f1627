#include "dicom_node/deliver/delivery_worker.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <thread>
#include <vector>

#include "config/base/mutex.h"

namespace node::deliver {

using storage::ClaimedDelivery;
using storage::DeliveryOutcome;
using storage::DeliveryState;

storage::DeliveryState judge(std::uint16_t status) {
  if (status == 0x0000 || (status & 0xF000) == 0xB000 || status == 0x0001 || status == 0x0107 || status == 0x0116) {
    return DeliveryState::kDelivered;
  }
  if (status == 0x0111) return DeliveryState::kDelivered;  // Duplicate SOP instance: it is there.
  if ((status & 0xFF00) == 0xA700 || status == 0x0110 || status == 0x0213) return DeliveryState::kPending;
  return DeliveryState::kParked;
}

std::chrono::milliseconds backoff(const config::DeliveryConfig& config, int attempts, double jitter) {
  const double factor = std::pow(2.0, std::clamp(attempts, 0, 30));
  const double delay_ms =
      std::min(static_cast<double>(config.retry_first.count()) * factor, static_cast<double>(config.retry_max.count()));
  return std::chrono::milliseconds(static_cast<std::int64_t>(delay_ms * (0.5 + 0.5 * std::clamp(jitter, 0.0, 1.0))));
}

struct DeliveryWorker::Impl {
  Impl(config::DeliveryConfig config_in, config::PeerConfig destination_in, storage::Spool& spool_in,
       storage::StudyStore& store_in)
      : config(std::move(config_in)), peer(std::move(destination_in)), spool(spool_in), store(store_in) {}

  const config::DeliveryConfig config;
  const config::PeerConfig peer;
  storage::Spool& spool;
  storage::StudyStore& store;
  std::atomic<bool> stopping{false};
  mutable Mutex mutex;
  DeliveryStats stats GUARDED_BY(mutex);
  std::minstd_rand random{std::random_device{}()};
  std::thread thread;

  void run() {
    while (!stopping) {
      auto claims = store.claim_due_deliveries(peer.name, config.objects_per_association_max, std::chrono::seconds(1));
      if (!claims.ok()) {
        if (claims.status().code() == StatusCode::kUnavailable) return;  // The store is stopping.
        spdlog::error("event=delivery_claim_failed destination={} reason=\"{}\"", peer.name, claims.status().message());
        std::this_thread::sleep_for(config.retry_first);
        continue;
      }
      if (!claims->empty()) deliver(*claims);
    }
  }

  // One association for all that is due.
  void deliver(const std::vector<ClaimedDelivery>& claims) {
    std::vector<ObjectKind> kinds;
    for (const ClaimedDelivery& claim : claims) kinds.push_back({claim.sop_class_uid, claim.transfer_syntax_uid});
    auto scu = StoreScu::open(config, peer, kinds);
    set_reachable(scu.ok());
    for (const ClaimedDelivery& claim : claims) {
      if (!scu.ok()) {
        record(claim, retry(claim, scu.status().message()));
      } else if (stopping) {
        record(claim, {.state = DeliveryState::kPending, .text = "the node stopped before it was sent"});
      } else {
        const DeliveryOutcome outcome = attempt(**scu, claim);
        record(claim, outcome);
        // A broken association carries nothing more; the rest is due again at once, on a new one.
        if (outcome.state == DeliveryState::kPending && !outcome.peer_status) {
          scu = unavailable("the association ended before this object was sent: " + outcome.text);
        }
      }
    }
  }

  DeliveryOutcome attempt(StoreScu& scu, const ClaimedDelivery& claim) {
    if (Status intact = spool.verify(claim.file); !intact.ok()) {
      spdlog::error("event=data_loss sop_instance_uid={} reason=\"{}\"", claim.sop_instance_uid.str(),
                    intact.message());
      return {.state = DeliveryState::kParked, .text = intact.message()};
    }
    auto answer = scu.store(spool.path(claim.file.key), {claim.sop_class_uid, claim.transfer_syntax_uid},
                            claim.sop_instance_uid.str());
    if (!answer.ok()) {
      const StatusCode code = answer.status().code();
      if (code == StatusCode::kUnavailable || code == StatusCode::kResourceExhausted) {
        return retry(claim, answer.status().message());
      }
      return {.state = DeliveryState::kParked, .text = answer.status().message()};
    }
    DeliveryOutcome outcome;
    outcome.state = judge(answer->status);
    outcome.peer_status = answer->status;
    outcome.text = answer->error_comment;
    if (outcome.state == DeliveryState::kPending) outcome.retry_in = next_delay(claim);
    return outcome;
  }

  std::chrono::milliseconds next_delay(const ClaimedDelivery& claim) {
    return backoff(config, claim.attempts, std::uniform_real_distribution<double>(0, 1)(random));
  }

  DeliveryOutcome retry(const ClaimedDelivery& claim, std::string text) {
    return {.state = DeliveryState::kPending, .retry_in = next_delay(claim), .text = std::move(text)};
  }

  void record(const ClaimedDelivery& claim, const DeliveryOutcome& outcome) {
    const std::string status = outcome.peer_status ? fmt::format("{:04X}", *outcome.peer_status) : "none";
    const std::string line = fmt::format(
        "event=delivery state={} destination={} study_instance_uid={} sop_instance_uid={} attempt={} peer_status={} "
        "text=\"{}\"",
        storage::to_string(outcome.state), peer.name, claim.study_instance_uid.str(), claim.sop_instance_uid.str(),
        claim.attempts + 1, status, outcome.text);
    {
      MutexLock lock(mutex);
      if (outcome.state == DeliveryState::kDelivered) ++stats.delivered;
      if (outcome.state == DeliveryState::kDelivered && outcome.peer_status.value_or(0) != 0) ++stats.warnings;
      if (outcome.state == DeliveryState::kPending) ++stats.retries;
      if (outcome.state == DeliveryState::kParked) ++stats.parked;
    }
    if (outcome.state == DeliveryState::kDelivered) {
      spdlog::info(line);
    } else {
      spdlog::warn(line);
    }
    if (Status stored = store.finish_delivery(claim.token, outcome); !stored.ok()) {
      // The peer may have the object and we do not know it: it will be sent again, the same bytes under the same UID.
      spdlog::error("event=delivery_not_recorded destination={} sop_instance_uid={} reason=\"{}\"", peer.name,
                    claim.sop_instance_uid.str(), stored.message());
    }
  }

  void set_reachable(bool reachable) {
    MutexLock lock(mutex);
    stats.reachable = reachable;
  }
};

DeliveryWorker::DeliveryWorker(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

std::unique_ptr<DeliveryWorker> DeliveryWorker::start(config::DeliveryConfig config, config::PeerConfig destination,
                                                      storage::Spool& spool, storage::StudyStore& store) {
  auto impl = std::make_unique<Impl>(std::move(config), std::move(destination), spool, store);
  Impl* self = impl.get();
  self->thread = std::thread([self] { self->run(); });
  return std::unique_ptr<DeliveryWorker>(new DeliveryWorker(std::move(impl)));
}

DeliveryWorker::~DeliveryWorker() { stop(); }

void DeliveryWorker::stop() {
  impl_->stopping = true;
  if (impl_->thread.joinable()) impl_->thread.join();
}

DeliveryStats DeliveryWorker::stats() const {
  MutexLock lock(impl_->mutex);
  return impl_->stats;
}

const std::string& DeliveryWorker::destination() const { return impl_->peer.name; }

}  // namespace node::deliver
