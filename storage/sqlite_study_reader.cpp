#include "storage/sqlite_study_reader.h"

#include "storage/sqlite_schema.h"
#include "storage/sqlite_study_store.h"

namespace node::storage {

Result<SqliteStudyReader::Connections> SqliteStudyReader::connect(const std::filesystem::path& path) {
  NODE_ASSIGN_OR_RETURN(auto lookups, Database::open(path, Database::Mode::kReadOnly));
  NODE_ASSIGN_OR_RETURN(auto listings, Database::open(path, Database::Mode::kReadOnly));
  NODE_RETURN_IF_ERROR(check_schema(*lookups).within("open " + path.string()));
  NODE_ASSIGN_OR_RETURN(Uid node_uid, read_node_uid(*lookups));
  return Connections{std::move(lookups), std::move(listings), std::move(node_uid)};
}

SqliteStudyReader::SqliteStudyReader(Connections connections)
    : lookups_(std::move(connections.lookups)),
      listings_(std::move(connections.listings)),
      node_uid_(std::move(connections.node_uid)) {}

Result<std::optional<HeldInstance>> SqliteStudyReader::find_instance(const Uid& sop_instance_uid) {
  MutexLock lock(lookups_mutex_);
  return queries::find_instance(*lookups_, sop_instance_uid);
}

Result<bool> SqliteStudyReader::is_own_result(const Uid& sop_instance_uid) {
  MutexLock lock(lookups_mutex_);
  return queries::is_own_result(*lookups_, sop_instance_uid);
}

Result<std::optional<HeldInstance>> SqliteStudyReader::find_bytes(const Uid& sop_instance_uid,
                                                                  const std::string& sha256_hex) {
  MutexLock lock(lookups_mutex_);
  return queries::find_bytes(*lookups_, sop_instance_uid, sha256_hex);
}

Result<std::vector<StudySummary>> SqliteStudyReader::list_studies(const StudyFilter& filter) {
  MutexLock lock(listings_mutex_);
  return queries::list_studies(*listings_, filter);
}

Result<StudySummary> SqliteStudyReader::find_study(const Uid& study_instance_uid) {
  MutexLock lock(listings_mutex_);
  return queries::find_study(*listings_, study_instance_uid);
}

Result<std::vector<InstanceRecord>> SqliteStudyReader::list_instances(const Uid& study_instance_uid) {
  MutexLock lock(listings_mutex_);
  return queries::list_instances(*listings_, study_instance_uid, false);
}

Result<InstanceRecord> SqliteStudyReader::show_instance(const Uid& sop_instance_uid) {
  MutexLock lock(listings_mutex_);
  return queries::show_instance(*listings_, sop_instance_uid);
}

Result<std::vector<DeliveryRecord>> SqliteStudyReader::list_deliveries(const DeliveryFilter& filter) {
  MutexLock lock(listings_mutex_);
  return queries::list_deliveries(*listings_, filter);
}

Result<std::int64_t> SqliteStudyReader::data_version() {
  MutexLock lock(listings_mutex_);
  Query query(*listings_, "PRAGMA data_version");
  if (query.next()) return query.integer();
  return query.status().ok() ? internal_error("PRAGMA data_version: no answer") : query.status();
}

Result<std::vector<StoredFile>> SqliteStudyReader::known_files() {
  MutexLock lock(listings_mutex_);
  return queries::known_files(*listings_);
}

Result<std::vector<std::string>> SqliteStudyReader::accepted_losses() {
  MutexLock lock(listings_mutex_);
  Query rows(*listings_, "SELECT file_key FROM accepted_loss ORDER BY file_key");
  std::vector<std::string> keys;
  while (rows.next()) keys.push_back(rows.text());
  NODE_RETURN_IF_ERROR(rows.status());
  return keys;
}

StoreStats SqliteStudyReader::stats() {
  MutexLock lock(listings_mutex_);
  return queries::stats(*listings_);
}

namespace {

class ReadOnlyStudyStore : public SqliteStudyReader {
 public:
  static Result<std::unique_ptr<StudyStore>> open(const std::filesystem::path& path) {
    NODE_ASSIGN_OR_RETURN(Connections connections, connect(path));
    return std::unique_ptr<StudyStore>(new ReadOnlyStudyStore(std::move(connections)));
  }

  Result<AddResult> add_instance(const NewInstance&, Arrival, int) override { return AddResult{.refused = refused()}; }
  Status end_association(std::uint64_t, bool) override { return refused(); }
  Result<std::vector<ClaimedInstance>> claim_instances(int, std::chrono::milliseconds) override { return refused(); }
  Status settle_route(ClaimToken, const RouteDecision&) override { return refused(); }
  Status finish_instance(ClaimToken, const std::vector<StoredPrediction>&, const std::string&) override {
    return refused();
  }
  Status end_instance(ClaimToken, InstanceState, const std::string&) override { return refused(); }
  Status release_instance(ClaimToken) override { return refused(); }
  Result<std::optional<ReadyStudy>> claim_ready_study(std::chrono::milliseconds) override { return refused(); }
  Status finish_study(ClaimToken, const std::vector<ResultRecord>&, const std::vector<NewDelivery>&) override {
    return refused();
  }
  Status fail_study(ClaimToken, const std::string&) override { return refused(); }
  Status release_study(ClaimToken, std::chrono::milliseconds) override { return refused(); }
  Result<std::vector<ClaimedDelivery>> claim_due_deliveries(const std::string&, int,
                                                            std::chrono::milliseconds) override {
    return refused();
  }
  Status finish_delivery(ClaimToken, const DeliveryOutcome&) override { return refused(); }
  Status postpone_deliveries(const std::string&, const std::vector<ClaimToken>&, std::chrono::milliseconds,
                             const std::string&) override {
    return refused();
  }
  Result<BegunCommitment> begin_commitment(const std::string&, int, std::chrono::milliseconds,
                                           std::chrono::milliseconds) override {
    return refused();
  }
  Result<int> release_commitment(const std::string&, std::chrono::milliseconds,
                                 std::optional<std::chrono::milliseconds>, const std::string&) override {
    return refused();
  }
  Result<bool> end_commitment(const std::string&, const std::string&, const std::vector<SopReference>&,
                              const std::vector<CommitmentFailure>&) override {
    return refused();
  }
  Status add_commitment_request(const std::string&, const std::string&, const std::vector<SopReference>&) override {
    return refused();
  }
  Result<std::vector<CommitmentRequest>> due_commitment_requests(const std::string&, int) override { return refused(); }
  Status end_commitment_request(std::int64_t, std::optional<std::chrono::milliseconds>, const std::string&) override {
    return refused();
  }
  Result<Safekeeping> safety_of(const SopReference&, bool) override { return refused(); }
  Result<std::map<std::string, int>> set_destinations(const std::vector<std::string>&) override { return refused(); }
  Result<std::map<std::string, int>> set_commitment_peers(const std::vector<std::string>&,
                                                          const std::vector<std::string>&) override {
    return refused();
  }
  Result<DeliveryState> release_delivery(std::int64_t) override { return refused(); }
  Status give_up_delivery(std::int64_t) override { return refused(); }
  Result<bool> retry_study(const Uid&, std::optional<int>) override { return refused(); }
  Status set_accepted_losses(const std::vector<std::string>&) override { return refused(); }
  Result<PurgedFiles> purge(const PurgeLimits&, int) override { return refused(); }
  Status health() override { return refused(); }
  void stop() override {}

 private:
  using SqliteStudyReader::SqliteStudyReader;
  static Status refused() { return unavailable("the store is open for reading only"); }
};

}  // namespace

Result<std::unique_ptr<StudyStore>> open_sqlite_study_store_read_only(const config::StorageConfig& config, Clock&) {
  return ReadOnlyStudyStore::open(database_path(config.directory));
}

}  // namespace node::storage
