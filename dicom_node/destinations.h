// Destinations: whom originals and results go to, with a worker each; a DICOM peer has a second one for commitment.
//
// Guarantee: the store knows the same destinations as there are workers: what is pending for one that is gone is parked
//            with a reason, and comes due again once it is back. One that stays as it was works on through a reload.
// Threads:   start(), reload() and stop() from one thread; stats() from any. Spool and store must outlive it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "config/base/mutex.h"
#include "config/base/status.h"
#include "config/message_config.h"
#include "config/peer_config.h"
#include "dicom_node/deliver/commitment_worker.h"
#include "dicom_node/deliver/delivery_worker.h"
#include "storage/spool.h"
#include "storage/study_store.h"

namespace node {

class Destinations {
 public:
  struct Config {
    config::DeliveryConfig delivery;  // Peers without a port only send to us.
    std::vector<config::MessageConfig> messages;
    std::vector<config::DicomWebConfig> dicomweb;
  };

  // Errors: of the store.
  static Result<std::unique_ptr<Destinations>> start(Config config, storage::Spool& spool, storage::StudyStore& store);

  // Begins with what is new, ends with what is gone, and anew with what is otherwise than it was; waits for the object
  // that such a one has in hand. Of `config.delivery` its peers alone. Errors: of the store, and all stays as it was.
  Status reload(Config config);

  std::map<std::string, deliver::DeliveryStats> stats() const;
  void stop();  // May be called twice.

 private:
  using Place = std::variant<config::PeerConfig, config::MessageConfig, config::DicomWebConfig>;
  struct Worker {
    Place place;
    deliver::DeliveryStats before{};  // Of earlier workers for the same name.
    std::unique_ptr<deliver::DeliveryWorker> delivery{};
    std::unique_ptr<deliver::CommitmentWorker> commitment{};

    deliver::DeliveryStats stats() const;
  };
  using Before = std::map<std::string, deliver::DeliveryStats>;

  Destinations(Config config, storage::Spool& spool, storage::StudyStore& store)
      : config_(std::move(config)), spool_(spool), store_(store) {}
  static std::map<std::string, Place> places(const Config& config);
  Status tell_store(const Config& config);
  Before end_all_but(const std::map<std::string, Place>& wanted);
  void begin_missing(const Before& before);
  Worker begin(const Place& place);

  Config config_;  // Of the one thread.
  storage::Spool& spool_;
  storage::StudyStore& store_;
  mutable Mutex mutex_;
  std::map<std::string, Worker> workers_ GUARDED_BY(mutex_);
};

}  // namespace node
