// SqliteStudyStore: the StudyStore of one process, on one SQLite file; for the .cpp files of storage/ only.
//
// One writer (GroupCommit) makes every change and every claim; what is claimed lives in Claims; a claim that finds
// nothing sleeps in Wakeups. Opening, claiming and what operate asks for are in sqlite_study_store.cpp, report and
// deliver in sqlite_study_store_results.cpp, receive, analyze, retention and storage commitment in files of their
// names.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/claims.h"
#include "storage/directory_lock.h"
#include "storage/group_commit.h"
#include "storage/rest_clock.h"
#include "storage/sqlite_study_reader.h"
#include "storage/sqlite_study_store.h"
#include "storage/wakeups.h"

namespace node::storage {

// Channels of Wakeups.
inline const std::string kInstances = "instances";
inline const std::string kStudies = "studies";
inline std::string deliveries_at(const std::string& destination) { return "deliveries " + destination; }

inline Status no_longer_held(const char* operation) {
  return not_found(std::string(operation) + ": the claim is no longer held");
}

// What one look for work found.
struct Look {
  bool found = false;
  std::optional<std::int64_t> next_due;  // When there may be work without a signal.
};

class SqliteStudyStore : public SqliteStudyReader {
 public:
  static Result<std::unique_ptr<StudyStore>> open(const config::StorageConfig& config, Clock& clock,
                                                  FileSystem& file_system);
  ~SqliteStudyStore() override { stop(); }

  Result<AddResult> add_instance(const NewInstance& instance, Arrival arrival, int seen_version) override;
  Status end_association(std::uint64_t association, bool whole_study) override;
  Result<std::vector<ClaimedInstance>> claim_instances(int max, std::chrono::milliseconds wait_max) override;
  Status settle_route(ClaimToken token, const RouteDecision& route) override;
  Status finish_instance(ClaimToken token, const std::vector<StoredPrediction>& predictions,
                         const std::string& urgent) override;
  Status end_instance(ClaimToken token, InstanceState state, const std::string& reason) override;
  Status release_instance(ClaimToken token) override;
  Result<std::optional<ReadyStudy>> claim_ready_study(std::chrono::milliseconds wait_max) override;
  Status finish_study(ClaimToken token, const std::vector<ResultRecord>& results,
                      const std::vector<NewDelivery>& deliveries) override;
  Status fail_study(ClaimToken token, const std::string& reason) override;
  Status release_study(ClaimToken token, std::chrono::milliseconds retry_in) override;
  Result<std::vector<ClaimedDelivery>> claim_due_deliveries(const std::string& destination, int max,
                                                            std::chrono::milliseconds wait_max) override;
  Status finish_delivery(ClaimToken token, const DeliveryOutcome& outcome) override;
  Status postpone_deliveries(const std::string& destination, const std::vector<ClaimToken>& tokens,
                             std::chrono::milliseconds retry_in, const std::string& text) override;
  Result<BegunCommitment> begin_commitment(const std::string& destination, int max,
                                           std::chrono::milliseconds answer_within,
                                           std::chrono::milliseconds give_up_after) override;
  Result<int> release_commitment(const std::string& transaction_uid, std::chrono::milliseconds retry_in,
                                 std::optional<std::chrono::milliseconds> give_up_after,
                                 const std::string& text) override;
  Result<bool> end_commitment(const std::string& destination, const std::string& transaction_uid,
                              const std::vector<SopReference>& committed,
                              const std::vector<CommitmentFailure>& failed) override;
  Status add_commitment_request(const std::string& peer, const std::string& transaction_uid,
                                const std::vector<SopReference>& references) override;
  Result<std::vector<CommitmentRequest>> due_commitment_requests(const std::string& peer, int max) override;
  Status end_commitment_request(std::int64_t id, std::optional<std::chrono::milliseconds> retry_in,
                                const std::string& text) override;
  Result<Safekeeping> safety_of(const SopReference& reference, bool after_delivery) override;
  Result<std::map<std::string, int>> set_destinations(const std::vector<std::string>& names) override;
  Result<std::map<std::string, int>> set_commitment_peers(const std::vector<std::string>& committing,
                                                          const std::vector<std::string>& callable) override;
  Result<DeliveryState> release_delivery(std::int64_t id) override;
  Status give_up_delivery(std::int64_t id) override;
  Result<bool> retry_study(const Uid& study_instance_uid, std::optional<int> seen_revision) override;
  Status set_accepted_losses(const std::vector<std::string>& keys) override;
  Result<PurgedFiles> purge(const PurgeLimits& limits, int files_max) override;
  StoreStats stats() override;
  Status health() override { return writer_.health(); }
  void stop() override { wakeups_.stop(); }

 private:
  SqliteStudyStore(const config::StorageConfig& config, Clock& clock, const RestClock& rest_clock,
                   std::unique_ptr<DirectoryLock> lock, std::unique_ptr<Database> writer, Connections readers)
      : SqliteStudyReader(std::move(readers)),
        clock_(clock),
        attempts_max_(config.analysis_attempts_max),
        open_max_ms_(config.study_open_max.count()),
        due_origin_(queries::to_ms(clock.now())),
        steady_origin_(clock.steady_now()),
        rest_clock_(rest_clock),
        lock_(std::move(lock)),
        wakeups_(clock),
        writer_(std::move(writer), config.log_pages_max, config.database_reserve_bytes) {}

  std::int64_t now() const { return queries::to_ms(clock_.now()); }

  // What due times are compared with: the wall clock at the start, moved on by the steady one. A wall clock that jumps
  // while the node runs delays nothing; open() brings due times from before a jump into their range.
  std::int64_t due_now() const {
    return due_origin_ +
           std::chrono::duration_cast<std::chrono::milliseconds>(clock_.steady_now() - steady_origin_).count();
  }

  SteadyTime steady_time_of(std::int64_t due_ms) const {
    return steady_origin_ + std::chrono::milliseconds(due_ms - due_origin_);
  }

  void signal_on_commit(Transaction& transaction, std::string channel) {
    transaction.on_commit([this, channel = std::move(channel)] { wakeups_.signal(channel); });
  }

  void signal_on_commit_at(Transaction& transaction, std::string channel, std::int64_t due_ms) {
    transaction.on_commit(
        [this, channel = std::move(channel), due_ms] { wakeups_.signal_at(channel, steady_time_of(due_ms)); });
  }

  Status claim(const std::string& channel, std::chrono::milliseconds wait_max,
               const std::function<Result<Look>(Transaction&)>& look);

  Status insert_instance(Transaction& transaction, const NewInstance& instance, Arrival arrival, std::int64_t study,
                         int version);
  Status supersede(Transaction& transaction, std::int64_t row, int version);
  Status open_study(Transaction& transaction, std::int64_t study, std::int64_t quiet_ms);
  Status refresh_close_due(Transaction& transaction, std::int64_t study);
  Status let_go(Transaction& transaction, std::int64_t study, bool whole_study);
  Status hold_open(Transaction& transaction, std::uint64_t association, std::int64_t study);
  Status end_hold(Transaction& transaction, std::uint64_t association, bool whole_study);
  Status end_unrecorded_holds(Transaction& transaction);
  Status time_delivery(Transaction& transaction, std::int64_t study);
  Status refresh_waits(Transaction& transaction, std::int64_t study);
  Status refresh_rest(Transaction& transaction, std::int64_t study);
  Result<std::vector<StoredFile>> purge_study(Transaction& transaction, bool originals, std::int64_t study,
                                              int files_max);
  Result<std::map<std::string, int>> park_elsewhere(Transaction& transaction, std::optional<std::int64_t> study);
  Status release_parked_elsewhere(Transaction& transaction);
  Status refresh_blocked(Transaction& transaction, std::int64_t study, const std::string& destination);
  Status refresh_late_originals(Transaction& transaction, std::int64_t study);
  Status make_urgent(Transaction& transaction, std::int64_t study, const std::string& why);
  Status refresh_urgent(Transaction& transaction, std::int64_t study);
  Result<Look> look_for_instances(Transaction& transaction, int max, std::vector<ClaimedInstance>& claimed);
  Result<Look> look_for_study(Transaction& transaction, std::optional<ReadyStudy>& ready);
  Result<Look> look_for_deliveries(Transaction& transaction, const std::string& destination, int max,
                                   std::vector<ClaimedDelivery>& claimed);
  Status take_instance(Transaction& transaction, std::int64_t row, std::vector<ClaimedInstance>& claimed);
  Status end_claimed_instance(Transaction& transaction, std::int64_t row, InstanceState state,
                              const std::string& reason);
  void drop_instance_claim(Transaction& transaction, std::int64_t row);

  Clock& clock_;
  const int attempts_max_;
  const std::int64_t open_max_ms_;
  const std::int64_t due_origin_;
  const SteadyTime steady_origin_;
  RestClock rest_clock_;
  const std::unique_ptr<DirectoryLock> lock_;
  Wakeups wakeups_;
  // Touched inside works of the writer only.
  Claims instance_claims_, study_claims_, delivery_claims_;
  std::map<std::uint64_t, std::int64_t> associations_;          // The study that each holds open.
  std::map<std::int64_t, std::int64_t> study_not_before_;       // From release_study(): study -> due.
  std::map<std::string, std::int64_t> destination_not_before_;  // From postpone_deliveries(): destination -> due.
  std::optional<std::string> destinations_;                     // From set_destinations(): "\npacs\narchive\n".
  std::optional<std::int64_t> suspect_;                         // Last instance that was claimed to be alone.
  bool others_wait_ = false;                                    // For all instance claims to end, for its sake.
  Histogram delivered_after_{delivery_seconds_bounds()};
  GroupCommit writer_;

  Mutex unrecorded_ends_mutex_;
  std::vector<std::pair<std::uint64_t, bool>> unrecorded_ends_
      GUARDED_BY(unrecorded_ends_mutex_);  // Calls that failed.
};

}  // namespace node::storage
