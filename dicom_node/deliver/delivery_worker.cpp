#include "dicom_node/deliver/delivery_worker.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <span>
#include <thread>

#include "config/base/mutex.h"
#include "dicom_node/audit/audit.h"
#include "dicom_node/deliver/store_scu.h"
#include "dicom_node/object/crash_point.h"
#include "dicom_node/object/said_once.h"

namespace node::deliver {

using std::chrono::milliseconds;
using storage::ClaimedDelivery;
using storage::ClaimToken;
using storage::DeliveryOutcome;
using storage::DeliveryState;

namespace {

constexpr std::chrono::seconds kClaimWait{1};
constexpr int kBrokenMax = 2;  // Associations in a row that broke having ended nothing, before the destination is down.
constexpr int kRefusedMax = 3;  // Objects in a row that one association refuses for now, until the destination is down.

ObjectKind kind_of(const ClaimedDelivery& claim) { return {claim.sop_class_uid, claim.transfer_syntax_uid}; }

// "7 d", "90 s"
std::string in_words(milliseconds time) {
  constexpr std::pair<std::int64_t, const char*> kUnits[] = {{86'400'000, "d"}, {3'600'000, "h"}, {60'000, "min"}};
  for (const auto& [unit_ms, name] : kUnits) {
    if (time.count() >= unit_ms && time.count() % unit_ms == 0)
      return fmt::format("{} {}", time.count() / unit_ms, name);
  }
  return fmt::format("{} s", static_cast<double>(time.count()) / 1000);
}

std::string status_words(const DeliveryOutcome& outcome) {
  if (!outcome.peer_status) return outcome.text;  // The peer's own words may name a patient.
  return fmt::format("{:04X}H, {}", *outcome.peer_status, meaning(*outcome.peer_status));
}

}  // namespace

storage::DeliveryState judge(std::uint16_t status) {
  if (status == 0x0000 || (status & 0xF000) == 0xB000 || status == 0x0001 || status == 0x0107 || status == 0x0116) {
    return DeliveryState::kDelivered;
  }
  if (status == 0x0111) return DeliveryState::kDelivered;  // Duplicate SOP instance: it is there.
  if ((status & 0xFF00) == 0xA700 || status == 0x0110 || status == 0x0213) return DeliveryState::kPending;
  return DeliveryState::kParked;
}

std::string_view meaning(std::uint16_t status) {
  switch (status) {
    case 0x0110: return "processing failure";
    case 0x0111: return "duplicate: it is there already";
    case 0x0117: return "invalid SOP Instance UID";
    case 0x0119: return "class and instance do not belong together";
    case 0x0122: return "SOP class not supported";
    case 0x0124: return "not authorised: may this node store there?";
    case 0x0210: return "duplicate invocation";
    case 0x0211: return "unrecognized operation";
    case 0x0212: return "mistyped argument";
    case 0x0213: return "resource limitation";
    case 0xB000: return "coercion of data elements";
    case 0xB006: return "elements discarded";
    case 0xB007: return "data set does not match SOP class";
    default: break;
  }
  if ((status & 0xFF00) == 0xA700) return "out of resources: is its disk full?";
  if ((status & 0xFF00) == 0xA900) return "data set does not match SOP class";
  if ((status & 0xF000) == 0xC000) return "cannot understand";
  return "";
}

milliseconds backoff(const config::DeliveryConfig& config, int failures, double jitter) {
  const double factor = std::pow(2.0, std::clamp(failures - 1, 0, 30));
  const double delay_ms =
      std::min(static_cast<double>(config.retry_first.count()) * factor, static_cast<double>(config.retry_max.count()));
  return milliseconds(static_cast<std::int64_t>(delay_ms * (0.5 + 0.5 * std::clamp(jitter, 0.0, 1.0))));
}

struct DeliveryWorker::Impl {
  Impl(config::DeliveryConfig config_in, std::string destination_in, OpenSender open_in, storage::Spool& spool_in,
       storage::StudyStore& store_in)
      : config(std::move(config_in)),
        destination(std::move(destination_in)),
        open(std::move(open_in)),
        spool(spool_in),
        store(store_in) {}

  const config::DeliveryConfig config;
  const std::string destination;
  const OpenSender open;
  bool to_be_committed = false;  // PeerConfig::commitment
  storage::Spool& spool;
  storage::StudyStore& store;
  mutable Mutex mutex;
  ConditionVariable stopped;
  bool stopping GUARDED_BY(mutex) = false;
  DeliveryStats stats GUARDED_BY(mutex);

  // The thread's own.
  std::minstd_rand random{std::random_device{}()};
  std::vector<ObjectKind> kinds;  // Proposed in every association, the newest first: so that one carries a whole study.
  std::unique_ptr<Sender> scu;    // Kept while something is due.
  int room = 0;                   // Objects that it may still carry.
  bool progress = false;          // It has ended an object, either way.
  audit::Studies taken, refused;  // Since the audit trail was told.
  int failures = 0;               // Associations in a row that could not be made or ended no object.
  bool down = false;
  std::thread thread;

  bool is_stopping() const {
    MutexLock lock(mutex);
    return stopping;
  }

  void run() {
    object::SaidOnce claiming("delivery_claim", fmt::format(" destination={}", destination));
    while (!is_stopping()) {
      auto claims = store.claim_due_deliveries(destination, scu ? room : config.objects_per_association_max,
                                               scu ? milliseconds(0) : kClaimWait);
      if (!claims.ok()) {
        if (claims.status().code() == StatusCode::kUnavailable) break;  // The store has stopped.
        claiming.failed(claims.status());
        MutexLock lock(mutex);
        if (!stopping) stopped.wait_for(lock, config.retry_first);
        continue;
      }
      claiming.works();
      if (claims->empty()) {
        scu.reset();
      } else {
        deliver(*claims);
        if (!taken.empty()) audit::sent({destination, ""}, std::exchange(taken, {}), true);
        if (!refused.empty()) audit::sent({destination, ""}, std::exchange(refused, {}), false);
      }
    }
    scu.reset();
  }

  // Sends what one association carries and gives the rest back.
  void deliver(std::span<const ClaimedDelivery> claims) {
    const std::size_t carried = propose(claims);
    if (!scu) {
      count(&DeliveryStats::associations);
      auto opened = open(kinds);
      if (!opened.ok()) return unreachable(claims, opened.status().message());
      scu = std::move(opened).value();
      audit::Studies studies;
      for (const ClaimedDelivery& claim : claims) ++studies[claim.study_instance_uid.str()];
      audit::sending({destination, ""}, studies);
      room = config.objects_per_association_max;
      progress = false;
    }
    int refused_in_a_row = 0;
    for (std::size_t i = 0; i < claims.size(); ++i) {
      if (i == carried || is_stopping()) return give_back(claims.subspan(i), milliseconds(0), "");
      --room;
      const ClaimedDelivery& claim = claims[i];
      const std::span<const ClaimedDelivery> rest = claims.subspan(i + 1);
      const auto answer = send(claim);
      object::crash_point("sent");
      DeliveryOutcome outcome = judged(claim, answer);
      if (!answer.ok() && answer.status().code() == StatusCode::kUnavailable) return broke(claim, outcome, rest);
      finish(claim, outcome);
      if (outcome.state != DeliveryState::kPending) {
        progress = true;
        refused_in_a_row = 0;
        reached();
      } else if (++refused_in_a_row == kRefusedMax) {
        scu.reset();
        return give_back(rest,
                         failed(fmt::format("{} objects in a row are refused for now, the last with {}", kRefusedMax,
                                            status_words(outcome)),
                                0),
                         "");
      }
    }
    if (room <= 0) scu.reset();
  }

  // Sees to it that the association proposes the kinds of as many of `claims` as it can; returns how many, from the
  // first. One that lacks a kind is released for another.
  std::size_t propose(std::span<const ClaimedDelivery> claims) {
    std::vector<ObjectKind> wanted;
    std::size_t carried = 0;
    for (; carried < claims.size(); ++carried) {
      const ObjectKind kind = kind_of(claims[carried]);
      if (std::find(wanted.begin(), wanted.end(), kind) != wanted.end()) continue;
      if (wanted.size() == StoreScu::kKindsMax) break;
      wanted.push_back(kind);
    }
    const auto proposed = [this](const ObjectKind& kind) {
      return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
    };
    if (std::all_of(wanted.begin(), wanted.end(), proposed)) return carried;
    scu.reset();
    for (const ObjectKind& kind : kinds) {
      if (wanted.size() == StoreScu::kKindsMax) break;
      if (std::find(wanted.begin(), wanted.end(), kind) == wanted.end()) wanted.push_back(kind);
    }
    kinds = std::move(wanted);
    return carried;
  }

  // kUnavailable: the association broke; kDataLoss: there is nothing to send.
  Result<Answer> send(const ClaimedDelivery& claim) {
    if (Status intact = spool.verify(claim.file); !intact.ok()) {
      if (intact.code() != StatusCode::kDataLoss) return resource_exhausted(intact.message());  // Later, perhaps.
      spdlog::error("event=data_loss sop_instance_uid={} reason=\"{}\"", claim.sop_instance_uid.str(),
                    intact.message());
      count(&DeliveryStats::losses);
      return data_loss(intact.message());
    }
    object::crash_point("sending");
    return scu->send(spool.path(claim.file.key), kind_of(claim), claim.sop_instance_uid.str());
  }

  // What an answer, or that there is none, comes to.
  DeliveryOutcome judged(const ClaimedDelivery& claim, const Result<Answer>& answer) {
    DeliveryOutcome outcome;
    if (answer.ok()) {
      outcome.state = answer->state ? *answer->state : judge(answer->status);
      if (!answer->state) outcome.peer_status = answer->status;
      outcome.text = answer->words;
      if (!answer->state && outcome.text.empty()) outcome.text = meaning(answer->status);
      if (answer->offers_max > 0 && claim.attempts + 1 >= answer->offers_max) outcome.state = DeliveryState::kParked;
    } else {
      const StatusCode code = answer.status().code();
      const bool later = code == StatusCode::kUnavailable || code == StatusCode::kResourceExhausted;
      outcome.state = later ? DeliveryState::kPending : DeliveryState::kParked;
      outcome.text = answer.status().message();
    }
    outcome.to_be_committed = to_be_committed;
    if (outcome.state == DeliveryState::kPending) outcome.retry_in = jittered(claim.attempts + 1);
    return outcome;
  }

  // No association: all that was claimed waits with the destination.
  void unreachable(std::span<const ClaimedDelivery> claims, const std::string& why) {
    const milliseconds pause = failed(why, 0);
    std::vector<ClaimedDelivery> waiting;
    for (const ClaimedDelivery& claim : claims) {
      if (is_over(claim, failures)) {
        finish(claim, given_up({.text = why}));
      } else {
        waiting.push_back(claim);
      }
    }
    give_back(waiting, pause, why);
  }

  // The association broke at `claim`, which is an attempt of that object. Where it had ended nothing before, nobody
  // knows whose fault it was: the others have their turn before it, and if they fare no better, the destination pauses.
  void broke(const ClaimedDelivery& claim, DeliveryOutcome outcome, std::span<const ClaimedDelivery> rest) {
    scu.reset();
    const milliseconds pause = progress ? milliseconds(0) : failed(outcome.text, kBrokenMax);
    outcome.retry_in += pause;
    finish(claim, outcome);
    give_back(rest, pause, "");
  }

  void give_back(std::span<const ClaimedDelivery> claims, milliseconds pause, const std::string& why) {
    std::vector<ClaimToken> tokens;
    for (const ClaimedDelivery& claim : claims) tokens.push_back(claim.token);
    if (tokens.empty() && pause.count() == 0) return;
    record("delivery_not_given_back", [&] { return store.postpone_deliveries(destination, tokens, pause, why); });
  }

  milliseconds jittered(int failed_attempts) {
    return backoff(config, failed_attempts, std::uniform_real_distribution<double>(0, 1)(random));
  }

  // Pending for too long, and tried until the delay is at its longest: a destination that comes up after the node, when
  // both were off for longer than give_up_after, still gets everything.
  bool is_over(const ClaimedDelivery& claim, int failed_attempts) const {
    return claim.pending_for >= config.give_up_after && backoff(config, failed_attempts, 1.0) >= config.retry_max;
  }

  DeliveryOutcome given_up(DeliveryOutcome outcome) const {
    outcome.state = DeliveryState::kParked;
    outcome.text = fmt::format("given up after {} (delivery.give_up_after){}{}", in_words(config.give_up_after),
                               outcome.text.empty() ? "" : ": ", outcome.text);
    return outcome;
  }

  // One more failure of the destination; returns how long it is left alone. After more than `tolerated` it is down.
  milliseconds failed(const std::string& why, int tolerated) {
    count(&DeliveryStats::retries);
    if (++failures <= tolerated) return milliseconds(0);
    const milliseconds pause = jittered(failures - tolerated);
    if (!std::exchange(down, true)) {
      spdlog::warn("event=destination_down destination={} retry_in_ms={} reason=\"{}\"", destination, pause.count(),
                   why);
      set_reachable(false);
    } else {
      spdlog::debug("event=destination_tried destination={} failures={} retry_in_ms={} reason=\"{}\"", destination,
                    failures, pause.count(), why);
    }
    return pause;
  }

  void reached() {
    const int before = std::exchange(failures, 0);
    if (!std::exchange(down, false)) return;
    spdlog::info("event=destination_up destination={} failures={}", destination, before);
    set_reachable(true);
  }

  void finish(const ClaimedDelivery& claim, DeliveryOutcome outcome) {
    if (outcome.state == DeliveryState::kPending && is_over(claim, claim.attempts + 1)) outcome = given_up(outcome);
    // Until it is recorded the peer may have the object and we do not know it: after a crash it would be sent again,
    // the same bytes under the same UID.
    record("delivery_not_recorded", [&] { return store.finish_delivery(claim.token, outcome); });
    object::crash_point("delivered");
    if (outcome.state == DeliveryState::kDelivered) count(&DeliveryStats::delivered);
    if (outcome.state == DeliveryState::kDelivered) ++taken[claim.study_instance_uid.str()];
    if (outcome.state == DeliveryState::kParked) ++refused[claim.study_instance_uid.str()];
    if (outcome.state == DeliveryState::kDelivered && outcome.peer_status.value_or(0) != 0) {
      count(&DeliveryStats::warnings);
    }
    if (outcome.state == DeliveryState::kPending) count(&DeliveryStats::retries);
    if (outcome.state == DeliveryState::kParked) count(&DeliveryStats::parked);

    // The peer's own words may name a patient: they stay in the store. Only the first of an object's retries is news.
    auto level = spdlog::level::warn;
    if (outcome.state == DeliveryState::kDelivered) level = spdlog::level::info;
    if (outcome.state == DeliveryState::kPending && claim.attempts > 0) level = spdlog::level::debug;
    spdlog::log(level,
                "event=delivery state={} destination={} study_instance_uid={} sop_instance_uid={} attempt={} "
                "peer_status={} text=\"{}\"",
                storage::to_string(outcome.state), destination, claim.study_instance_uid.str(),
                claim.sop_instance_uid.str(), claim.attempts + 1,
                outcome.peer_status ? fmt::format("{:04X}", *outcome.peer_status) : "none",
                outcome.peer_status ? "" : outcome.text);
  }

  // Calls until the store has taken it: a disk that is full now may not be later, and a claim that is kept for ever
  // would be a delivery that never leaves.
  void record(const char* event, const std::function<Status()>& call) {
    for (bool said = false;;) {
      const Status done = call();
      if (done.ok()) return;
      if (!std::exchange(said, true)) {
        spdlog::error("event={} destination={} reason=\"{}\"", event, destination, done.message());
      }
      if (done.code() == StatusCode::kNotFound) return;  // The claim is void.
      MutexLock lock(mutex);
      if (stopping) return;
      stopped.wait_for(lock, config.retry_first);
    }
  }

  void count(std::uint64_t DeliveryStats::*counter) {
    MutexLock lock(mutex);
    ++(stats.*counter);
  }
  void set_reachable(bool reachable) {
    MutexLock lock(mutex);
    stats.reachable = reachable;
  }
};

DeliveryWorker::DeliveryWorker(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

std::unique_ptr<DeliveryWorker> DeliveryWorker::start(config::DeliveryConfig config, config::PeerConfig destination,
                                                      storage::Spool& spool, storage::StudyStore& store) {
  const std::string name = destination.name;
  const bool commitment = destination.commitment;
  OpenSender open = [config, destination = std::move(destination)](
                        const std::vector<ObjectKind>& kinds) -> Result<std::unique_ptr<Sender>> {
    auto scu = StoreScu::open(config, destination, kinds);
    if (!scu.ok()) return scu.status();
    return std::unique_ptr<Sender>(*std::move(scu));
  };
  return start(std::move(config), name, std::move(open), spool, store, commitment);
}

std::unique_ptr<DeliveryWorker> DeliveryWorker::start(config::DeliveryConfig config, std::string destination,
                                                      OpenSender open, storage::Spool& spool,
                                                      storage::StudyStore& store, bool to_be_committed) {
  auto impl = std::make_unique<Impl>(std::move(config), std::move(destination), std::move(open), spool, store);
  Impl* self = impl.get();
  self->to_be_committed = to_be_committed;
  self->thread = std::thread([self] { self->run(); });
  return std::unique_ptr<DeliveryWorker>(new DeliveryWorker(std::move(impl)));
}

DeliveryWorker::~DeliveryWorker() { stop(); }

void DeliveryWorker::stop() {
  {
    MutexLock lock(impl_->mutex);
    impl_->stopping = true;
    impl_->stopped.notify_all();
  }
  if (impl_->thread.joinable()) impl_->thread.join();
}

DeliveryStats DeliveryWorker::stats() const {
  MutexLock lock(impl_->mutex);
  return impl_->stats;
}

const std::string& DeliveryWorker::destination() const { return impl_->destination; }

}  // namespace node::deliver
