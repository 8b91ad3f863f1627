#include "storage/sqlite_study_store.h"

#include <algorithm>
#include <map>

#include "storage/claims.h"
#include "storage/directory_lock.h"
#include "storage/file_system.h"
#include "storage/group_commit.h"
#include "storage/sqlite_schema.h"
#include "storage/sqlite_study_reader.h"
#include "storage/wakeups.h"

namespace node::storage {
namespace {

using queries::from_ms;
using queries::join_lines;
using queries::to_ms;
using std::chrono::milliseconds;
using Durability = GroupCommit::Durability;

const std::string kInstances = "instances";
const std::string kStudies = "studies";
std::string deliveries_at(const std::string& destination) { return "deliveries " + destination; }

Status no_longer_held(const char* operation) {
  return not_found(std::string(operation) + ": the claim is no longer held");
}

// What one look for work found.
struct Look {
  bool found = false;
  std::optional<std::int64_t> next_due;  // When there may be work without a signal.
};

class SqliteStudyStore : public SqliteStudyReader {
 public:
  static Result<std::unique_ptr<StudyStore>> open(const config::StorageConfig& config, Clock& clock);
  ~SqliteStudyStore() override { stop(); }

  Result<AddResult> add_instance(const NewInstance& instance, Arrival arrival, int seen_version) override;
  Result<std::vector<ClaimedInstance>> claim_instances(int max, milliseconds wait_max) override;
  Status finish_instance(ClaimToken token, const std::vector<StoredPrediction>& predictions) override;
  Status end_instance(ClaimToken token, InstanceState state, const std::string& reason) override;
  Status release_instance(ClaimToken token) override;
  Result<std::optional<ReadyStudy>> claim_ready_study(milliseconds wait_max) override;
  Status finish_study(ClaimToken token, const std::vector<ResultRecord>& results,
                      const std::vector<NewDelivery>& deliveries) override;
  Status fail_study(ClaimToken token, const std::string& reason) override;
  Status release_study(ClaimToken token, milliseconds retry_in) override;
  Result<std::vector<ClaimedDelivery>> claim_due_deliveries(const std::string& destination, int max,
                                                            milliseconds wait_max) override;
  Status finish_delivery(ClaimToken token, const DeliveryOutcome& outcome) override;
  Status release_delivery(std::int64_t id) override;
  Status retry_study(const Uid& study_instance_uid) override;
  StoreStats stats() override;
  Status health() override { return writer_.health(); }
  void stop() override { wakeups_.stop(); }

 private:
  SqliteStudyStore(const config::StorageConfig& config, Clock& clock, std::unique_ptr<DirectoryLock> lock,
                   std::unique_ptr<Database> writer, Connections readers)
      : SqliteStudyReader(std::move(readers)),
        clock_(clock),
        attempts_max_(config.analysis_attempts_max),
        due_origin_(to_ms(clock.now())),
        steady_origin_(clock.steady_now()),
        lock_(std::move(lock)),
        wakeups_(clock),
        writer_(std::move(writer)) {}

  std::int64_t now() const { return to_ms(clock_.now()); }

  // What due times are compared with: the wall clock at the start, moved on by the steady one. A wall clock that jumps
  // while the node runs delays nothing; open() brings due times from before a jump into their range.
  std::int64_t due_now() const {
    return due_origin_ + std::chrono::duration_cast<milliseconds>(clock_.steady_now() - steady_origin_).count();
  }

  void signal_on_commit(Transaction& transaction, std::string channel) {
    transaction.on_commit([this, channel = std::move(channel)] { wakeups_.signal(channel); });
  }

  Status claim(const std::string& channel, milliseconds wait_max,
               const std::function<Result<Look>(Transaction&)>& look);

  Status insert_instance(Transaction& transaction, const NewInstance& instance, Arrival arrival, std::int64_t study,
                         int version);
  Status supersede(Transaction& transaction, std::int64_t row, int version);
  Status open_study(Transaction& transaction, std::int64_t study, std::int64_t quiet_ms);
  Status refresh_waits(Transaction& transaction, std::int64_t study);
  Status refresh_blocked(Transaction& transaction, std::int64_t study, const std::string& destination);
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
  const std::int64_t due_origin_;
  const SteadyTime steady_origin_;
  const std::unique_ptr<DirectoryLock> lock_;
  Wakeups wakeups_;
  // Touched by the writer thread only.
  Claims instance_claims_, study_claims_, delivery_claims_;
  std::map<std::int64_t, std::int64_t> study_not_before_;  // From release_study(): study -> due.
  std::optional<std::int64_t> suspect_;                    // Last instance that was claimed to be alone.
  bool others_wait_ = false;                               // For all instance claims to end, for its sake.
  GroupCommit writer_;                                     // Last: its thread ends before what it uses.
};

Result<std::unique_ptr<StudyStore>> SqliteStudyStore::open(const config::StorageConfig& config, Clock& clock) {
  FileSystem& file_system = posix_file_system();
  if (Status made = file_system.create_directories(config.directory); !made.ok()) {
    return made.within("create " + config.directory);
  }
  NODE_ASSIGN_OR_RETURN(auto lock, DirectoryLock::acquire(config.directory));
  const std::filesystem::path path = database_path(config.directory);
  NODE_ASSIGN_OR_RETURN(auto database, Database::open(path, Database::Mode::kReadWrite));
  const auto prepare = [&]() -> Status {
    NODE_RETURN_IF_ERROR(Query(*database, "PRAGMA journal_mode = WAL").run());
    NODE_RETURN_IF_ERROR(Query(*database, "PRAGMA foreign_keys = ON").run());
    NODE_RETURN_IF_ERROR(Query(*database, "PRAGMA journal_size_limit = 67108864").run());
    NODE_RETURN_IF_ERROR(Query(*database, "PRAGMA synchronous = FULL").run());
    NODE_RETURN_IF_ERROR(migrate_schema(*database));
    const std::int64_t now = to_ms(clock.now());
    NODE_RETURN_IF_ERROR(Query(*database,
                               "UPDATE study SET close_due_at = ?1 + quiet_ms "
                               "WHERE state = 0 AND close_due_at > ?1 + quiet_ms",
                               now)
                             .run());
    return Query(*database,
                 "UPDATE delivery SET due_at = ?1 + delay_ms "
                 "WHERE state = 0 AND delayed = 1 AND due_at > ?1 + delay_ms",
                 now)
        .run();
  };
  NODE_RETURN_IF_ERROR(prepare().within("open " + path.string()));
  NODE_RETURN_IF_ERROR(file_system.sync_directory(config.directory).within("open " + path.string()));
  NODE_ASSIGN_OR_RETURN(Connections readers, connect(path));
  return std::unique_ptr<StudyStore>(
      new SqliteStudyStore(config, clock, std::move(lock), std::move(database), std::move(readers)));
}

// --- receive ----------------------------------------------------------------------------------------------------

Result<AddResult> SqliteStudyStore::add_instance(const NewInstance& instance, Arrival arrival, int seen_version) {
  AddResult result;
  const std::string& uid = instance.sop_instance_uid.str();
  Status added = writer_.run(Durability::kPower, [&](Transaction& transaction) -> Status {
    result = {};
    Database& database = transaction.database;
    Query held(database,
               "SELECT i.version, i.id, i.study_id, i.reportable, s.quiet_ms FROM instance i JOIN study s "
               "ON s.id = i.study_id WHERE i.sop_instance_uid = ? AND i.current = 1",
               uid);
    const bool is_held = held.next();
    NODE_RETURN_IF_ERROR(held.status());
    const int version = is_held ? held.small() : 0;
    if (version != seen_version || (arrival == Arrival::kFirst) == is_held) return ok_status();
    result.added = true;

    if (arrival == Arrival::kConflict) {
      Query known(database, "SELECT 1 FROM instance WHERE state = 4 AND sop_instance_uid = ? AND file_sha256 = ?", uid,
                  instance.file.sha256_hex);
      result.known_conflict = known.next();
      NODE_RETURN_IF_ERROR(known.status());
      if (result.known_conflict) return ok_status();
    }

    // A new study begins OPEN; one that holds no reportable image when its quiet period is over ends as NOT_ROUTED.
    NODE_RETURN_IF_ERROR(Query(database,
                               "INSERT INTO study(uid, accession_number, state, priority, quiet_ms, opened_at, "
                               "last_instance_at, close_due_at) VALUES (?1, ?2, 0, ?3, ?4, ?5, ?5, ?6) "
                               "ON CONFLICT(uid) DO UPDATE SET last_instance_at = excluded.last_instance_at, "
                               "priority = max(priority, excluded.priority)",
                               instance.study_instance_uid.str(), instance.accession_number, instance.route.priority,
                               static_cast<std::int64_t>(instance.study_quiet_period.count()), now(),
                               due_now() + instance.study_quiet_period.count())
                             .run());
    Query found(database, "SELECT id FROM study WHERE uid = ?", instance.study_instance_uid.str());
    if (!found.next()) return found.status().ok() ? internal_error("the study has no row") : found.status();
    const std::int64_t study = found.integer();

    bool opens = instance.reportable && arrival != Arrival::kConflict;
    if (arrival == Arrival::kCorrection) {
      const std::int64_t old_row = held.integer(), old_study = held.integer();
      const bool old_reportable = held.boolean();
      const std::int64_t old_quiet_ms = held.integer();
      NODE_RETURN_IF_ERROR(supersede(transaction, old_row, version + 1));
      NODE_RETURN_IF_ERROR(refresh_waits(transaction, old_study));
      // A correction may say that the image belongs to another study, or to no report: what was said is taken back.
      if (old_study == study) {
        opens = opens || old_reportable;
      } else if (old_reportable) {
        NODE_RETURN_IF_ERROR(open_study(transaction, old_study, old_quiet_ms));
      }
    }
    NODE_RETURN_IF_ERROR(
        insert_instance(transaction, instance, arrival, study, arrival == Arrival::kConflict ? version : version + 1));
    if (opens) NODE_RETURN_IF_ERROR(open_study(transaction, study, instance.study_quiet_period.count()));
    NODE_RETURN_IF_ERROR(refresh_waits(transaction, study));
    signal_on_commit(transaction, kStudies);
    return ok_status();
  });
  if (!added.ok()) return added.within("add instance " + uid);
  return result;
}

Status SqliteStudyStore::insert_instance(Transaction& transaction, const NewInstance& instance, Arrival arrival,
                                         std::int64_t study, int version) {
  Database& database = transaction.database;
  const RouteDecision& route = instance.route;
  const bool conflict = arrival == Arrival::kConflict;
  const InstanceState state = conflict              ? InstanceState::kConflict
                              : route.tasks.empty() ? InstanceState::kSkipped
                                                    : InstanceState::kReceived;
  const std::string reason = conflict ? "other pixels under a known UID" : route.tasks.empty() ? route.reason : "";
  NODE_RETURN_IF_ERROR(
      Query(database,
            "INSERT INTO instance(study_id, sop_instance_uid, version, current, series_instance_uid, sop_class_uid, "
            "transfer_syntax_uid, modality, accession_number, peer, header_digest, file_key, file_bytes, file_sha256, "
            "rule, body_part, body_part_evidence, tasks, route_reason, priority, results_to, shadow, forward_to, "
            "reportable, state, reason, received_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            study, instance.sop_instance_uid.str(), version, !conflict, instance.series_instance_uid,
            instance.sop_class_uid, instance.transfer_syntax_uid, instance.modality, instance.accession_number,
            instance.peer, instance.header_digest, instance.file.key, instance.file.size_bytes,
            instance.file.sha256_hex, route.rule, route.body_part, route.body_part_evidence, join_lines(route.tasks),
            route.reason, route.priority, join_lines(route.results_to), route.shadow, join_lines(route.forward_to),
            instance.reportable, static_cast<int>(state), reason, now())
          .run());
  if (conflict) return ok_status();
  const std::int64_t row = database.last_insert_id();
  for (const std::string& destination : route.forward_to) {
    NODE_RETURN_IF_ERROR(Query(database,
                               "INSERT OR IGNORE INTO delivery(study_id, destination, stage, instance_id, priority, "
                               "created_at, due_at) VALUES (?, ?, 0, ?, ?, ?, ?)",
                               study, destination, row, route.priority, now(), due_now())
                             .run());
    signal_on_commit(transaction, deliveries_at(destination));
  }
  if (state == InstanceState::kReceived) signal_on_commit(transaction, kInstances);
  return ok_status();
}

Status SqliteStudyStore::supersede(Transaction& transaction, std::int64_t row, int version) {
  drop_instance_claim(transaction, row);
  return Query(transaction.database,
               "UPDATE instance SET current = 0, reason = CASE state WHEN 0 THEN ?2 ELSE reason END, "
               "state = CASE state WHEN 0 THEN 2 ELSE state END WHERE id = ?1",
               row, "superseded by version " + std::to_string(version))
      .run();
}

// Makes a study take instances (again) until `quiet_ms` from now. What ended is not taken up again: it gets the next
// revision. What is CLOSED keeps its revision, because nothing of it has left the node; a report being made is void.
Status SqliteStudyStore::open_study(Transaction& transaction, std::int64_t study, std::int64_t quiet_ms) {
  study_claims_.drop(transaction, study);
  return Query(transaction.database,
               "UPDATE study SET revision = revision + (state IN (2, 4)), state = 0, reason = '', closed_at = NULL, "
               "finished_at = NULL, quiet_ms = ?2, close_due_at = ?3 WHERE id = ?1",
               study, quiet_ms, due_now() + quiet_ms)
      .run();
}

// Keeps study.waits: whether an instance of the study is RECEIVED.
Status SqliteStudyStore::refresh_waits(Transaction& transaction, std::int64_t study) {
  Database& database = transaction.database;
  NODE_RETURN_IF_ERROR(Query(database,
                             "UPDATE study SET waits = 1 - waits WHERE id = ?1 AND waits != "
                             "EXISTS (SELECT 1 FROM instance WHERE study_id = ?1 AND state = 0)",
                             study)
                           .run());
  if (database.changes() > 0) signal_on_commit(transaction, kStudies);
  return ok_status();
}

// --- claims -----------------------------------------------------------------------------------------------------

Status SqliteStudyStore::claim(const std::string& channel, milliseconds wait_max,
                               const std::function<Result<Look>(Transaction&)>& look) {
  const SteadyTime deadline = clock_.steady_now() + std::min<milliseconds>(wait_max, std::chrono::hours(24));
  while (!wakeups_.stopped()) {
    const std::uint64_t seen = wakeups_.counter(channel);
    Look looked;
    NODE_RETURN_IF_ERROR(writer_.run(Durability::kProcess, [&](Transaction& transaction) -> Status {
      NODE_ASSIGN_OR_RETURN(looked, look(transaction));
      return ok_status();
    }));
    if (looked.found || clock_.steady_now() >= deadline) break;
    SteadyTime wake = deadline;
    if (looked.next_due) {
      wake =
          std::min(wake, clock_.steady_now() + milliseconds(std::max<std::int64_t>(*looked.next_due - due_now(), 1)));
    }
    wakeups_.wait(channel, seen, wake);
  }
  return ok_status();
}

// --- analyze ----------------------------------------------------------------------------------------------------

Result<std::vector<ClaimedInstance>> SqliteStudyStore::claim_instances(int max, milliseconds wait_max) {
  std::vector<ClaimedInstance> claimed;
  NODE_RETURN_IF_ERROR(claim(kInstances, wait_max, [&](Transaction& transaction) {
                         claimed.clear();
                         return look_for_instances(transaction, max, claimed);
                       }).within("claim instances"));
  return claimed;
}

Result<Look> SqliteStudyStore::look_for_instances(Transaction& transaction, int max,
                                                  std::vector<ClaimedInstance>& claimed) {
  Database& database = transaction.database;
  // Suspects first: instances that were being worked on when a process ended without a word. Each is tried alone, those
  // with the fewest attempts first, so that an image that takes the process down cannot take innocent ones with it.
  if (suspect_ && instance_claims_.holds(*suspect_)) {
    others_wait_ = true;
    return Look{};
  }
  std::vector<std::int64_t> suspects;
  {
    Query rows(database,
               "SELECT id, attempts FROM instance WHERE state = 0 AND attempts > 0 "
               "ORDER BY attempts, priority DESC, received_at, id");
    while (rows.next()) {
      const std::int64_t row = rows.integer();
      if (!instance_claims_.holds(row)) suspects.push_back(row);
    }
    NODE_RETURN_IF_ERROR(rows.status());
  }
  for (const std::int64_t row : suspects) {
    Query attempts(database, "SELECT attempts FROM instance WHERE id = ?", row);
    if (!attempts.next()) return attempts.status();
    if (attempts.small() >= attempts_max_) {
      NODE_RETURN_IF_ERROR(end_claimed_instance(transaction, row, InstanceState::kFailed,
                                                "took the process down " + std::to_string(attempts_max_) + " times"));
      continue;
    }
    if (instance_claims_.empty()) {
      NODE_RETURN_IF_ERROR(take_instance(transaction, row, claimed));
      suspect_ = row;
    } else {
      others_wait_ = true;
    }
    return Look{.found = !claimed.empty(), .next_due = {}};
  }

  std::vector<std::int64_t> rows_to_take;
  {
    Query rows(database, "SELECT id FROM instance WHERE state = 0 ORDER BY priority DESC, received_at, id");
    while (static_cast<int>(rows_to_take.size()) < max && rows.next()) {
      const std::int64_t row = rows.integer();
      if (!instance_claims_.holds(row)) rows_to_take.push_back(row);
    }
    NODE_RETURN_IF_ERROR(rows.status());
  }
  for (const std::int64_t row : rows_to_take) NODE_RETURN_IF_ERROR(take_instance(transaction, row, claimed));
  return Look{.found = !claimed.empty(), .next_due = {}};
}

Status SqliteStudyStore::take_instance(Transaction& transaction, std::int64_t row,
                                       std::vector<ClaimedInstance>& claimed) {
  NODE_RETURN_IF_ERROR(
      Query(transaction.database, "UPDATE instance SET attempts = attempts + 1 WHERE id = ?", row).run());
  NODE_ASSIGN_OR_RETURN(InstanceRecord record, queries::load_instance(transaction.database, row));
  claimed.push_back({instance_claims_.take(transaction, row), std::move(record)});
  return ok_status();
}

void SqliteStudyStore::drop_instance_claim(Transaction& transaction, std::int64_t row) {
  instance_claims_.drop(transaction, row);
  if (others_wait_ && instance_claims_.empty()) {
    others_wait_ = false;
    transaction.on_commit([this] { wakeups_.signal(kInstances); });
    transaction.on_rollback([this] { others_wait_ = true; });
  }
}

Status SqliteStudyStore::end_claimed_instance(Transaction& transaction, std::int64_t row, InstanceState state,
                                              const std::string& reason) {
  Query study(transaction.database, "UPDATE instance SET state = ?, reason = ? WHERE id = ? RETURNING study_id",
              static_cast<int>(state), reason, row);
  if (!study.next()) return study.status().ok() ? not_found("end instance: no such row") : study.status();
  const std::int64_t study_row = study.integer();
  NODE_RETURN_IF_ERROR(study.run());
  drop_instance_claim(transaction, row);
  return refresh_waits(transaction, study_row);
}

Status SqliteStudyStore::finish_instance(ClaimToken token, const std::vector<StoredPrediction>& predictions) {
  return writer_.run(Durability::kPower, [&](Transaction& transaction) -> Status {
    const auto row = instance_claims_.find(token);
    if (!row) return no_longer_held("finish instance");
    Database& database = transaction.database;
    NODE_RETURN_IF_ERROR(Query(database, "DELETE FROM prediction WHERE instance_id = ?", *row).run());
    for (const StoredPrediction& prediction : predictions) {
      NODE_RETURN_IF_ERROR(Query(database, "INSERT INTO prediction VALUES (?, ?, ?, ?, ?)", *row, prediction.task,
                                 prediction.model_version, prediction.content, prediction.blob)
                               .run()
                               .within("finish instance"));
    }
    NODE_RETURN_IF_ERROR(Query(database, "UPDATE instance SET predicted_at = ? WHERE id = ?", now(), *row).run());
    return end_claimed_instance(transaction, *row, InstanceState::kAnalysed, "");
  });
}

Status SqliteStudyStore::end_instance(ClaimToken token, InstanceState state, const std::string& reason) {
  if (state != InstanceState::kSkipped && state != InstanceState::kFailed) {
    return invalid_argument("end instance: neither SKIPPED nor FAILED");
  }
  return writer_.run(Durability::kPower, [&](Transaction& transaction) -> Status {
    const auto row = instance_claims_.find(token);
    if (!row) return no_longer_held("end instance");
    return end_claimed_instance(transaction, *row, state, reason);
  });
}

Status SqliteStudyStore::release_instance(ClaimToken token) {
  return writer_.run(Durability::kProcess, [&](Transaction& transaction) -> Status {
    const auto row = instance_claims_.find(token);
    if (!row) return no_longer_held("release instance");
    NODE_RETURN_IF_ERROR(
        Query(transaction.database, "UPDATE instance SET attempts = max(attempts - 1, 0) WHERE id = ?", *row).run());
    drop_instance_claim(transaction, *row);
    signal_on_commit(transaction, kInstances);
    return ok_status();
  });
}

// --- report -----------------------------------------------------------------------------------------------------

Result<std::optional<ReadyStudy>> SqliteStudyStore::claim_ready_study(milliseconds wait_max) {
  std::optional<ReadyStudy> ready;
  NODE_RETURN_IF_ERROR(claim(kStudies, wait_max, [&](Transaction& transaction) {
                         ready.reset();
                         return look_for_study(transaction, ready);
                       }).within("claim study"));
  return ready;
}

Result<Look> SqliteStudyStore::look_for_study(Transaction& transaction, std::optional<ReadyStudy>& ready) {
  Database& database = transaction.database;
  Look look;
  NODE_RETURN_IF_ERROR(Query(database,
                             "UPDATE study SET closed_at = ?1, state = CASE WHEN EXISTS (SELECT 1 FROM instance "
                             "WHERE study_id = study.id AND current = 1 AND reportable = 1) THEN 1 ELSE 3 END "
                             "WHERE state = 0 AND close_due_at <= ?2",
                             now(), due_now())
                           .run());
  std::int64_t study = 0;
  {
    Query rows(database,
               "SELECT id FROM study INDEXED BY study_ready WHERE state = 1 AND waits = 0 ORDER BY priority DESC, "
               "closed_at, id");
    while (study == 0 && rows.next()) {
      const std::int64_t row = rows.integer();
      if (study_claims_.holds(row)) continue;
      if (const auto pause = study_not_before_.find(row); pause != study_not_before_.end()) {
        if (pause->second > due_now()) {
          look.next_due = std::min(look.next_due.value_or(pause->second), pause->second);
          continue;
        }
        study_not_before_.erase(pause);
      }
      study = row;
    }
    NODE_RETURN_IF_ERROR(rows.status());
  }
  if (study == 0) {
    Query due(database, "SELECT min(close_due_at) FROM study WHERE state = 0");
    if (due.next()) {
      if (const auto at = due.integer_or_null()) look.next_due = std::min(look.next_due.value_or(*at), *at);
    }
    NODE_RETURN_IF_ERROR(due.status());
    return look;
  }

  Query row(database, "SELECT uid, revision, closed_at, priority FROM study WHERE id = ?", study);
  if (!row.next()) return row.status();
  NODE_ASSIGN_OR_RETURN(Uid uid, Uid::parse(row.text()));
  ready.emplace(ReadyStudy{.study_instance_uid = std::move(uid)});
  ready->revision = row.small();
  ready->closed_at = from_ms(row.integer());
  ready->priority = row.small();
  NODE_ASSIGN_OR_RETURN(ready->instances, queries::list_instances(database, ready->study_instance_uid, true));
  NODE_ASSIGN_OR_RETURN(ready->earlier_results, queries::list_results(database, study));
  ready->token = study_claims_.take(transaction, study);
  look.found = true;
  return look;
}

Status SqliteStudyStore::finish_study(ClaimToken token, const std::vector<ResultRecord>& results,
                                      const std::vector<NewDelivery>& deliveries) {
  return writer_.run(Durability::kPower, [&](Transaction& transaction) -> Status {
    const auto study = study_claims_.find(token);
    if (!study) return no_longer_held("finish study");
    Database& database = transaction.database;
    for (const ResultRecord& result : results) {
      NODE_RETURN_IF_ERROR(Query(database,
                                 "INSERT INTO result(study_id, uid, kind, source_uid, task, revision, sop_class_uid, "
                                 "transfer_syntax_uid, file_key, file_bytes, file_sha256, created_at) "
                                 "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(uid) DO NOTHING",
                                 *study, result.sop_instance_uid.str(), result.kind, result.source_uid, result.task,
                                 result.revision, result.sop_class_uid, result.transfer_syntax_uid, result.file.key,
                                 result.file.size_bytes, result.file.sha256_hex, now())
                               .run()
                               .within("finish study"));
    }
    for (const NewDelivery& delivery : deliveries) {
      Query result(database, "SELECT id FROM result WHERE uid = ?", delivery.sop_instance_uid.str());
      if (!result.next()) {
        NODE_RETURN_IF_ERROR(result.status());
        return invalid_argument("finish study: delivery of " + delivery.sop_instance_uid.str() +
                                ", which is no result of this store");
      }
      NODE_RETURN_IF_ERROR(
          Query(database,
                "INSERT INTO delivery(study_id, destination, stage, result_id, priority, created_at, due_at) "
                "SELECT id, ?2, ?3, ?4, priority, ?5, ?6 FROM study WHERE id = ?1 "
                "ON CONFLICT(result_id, destination) WHERE result_id IS NOT NULL DO NOTHING",
                *study, delivery.destination, static_cast<int>(delivery.stage), result.integer(), now(), due_now())
              .run()
              .within("finish study"));
      signal_on_commit(transaction, deliveries_at(delivery.destination));
    }
    for (const NewDelivery& delivery : deliveries) {
      NODE_RETURN_IF_ERROR(refresh_blocked(transaction, *study, delivery.destination));
    }
    NODE_RETURN_IF_ERROR(
        Query(database, "UPDATE study SET state = 2, finished_at = ?2 WHERE id = ?1", *study, now()).run());
    study_claims_.drop(transaction, *study);
    return ok_status();
  });
}

Status SqliteStudyStore::fail_study(ClaimToken token, const std::string& reason) {
  return writer_.run(Durability::kPower, [&](Transaction& transaction) -> Status {
    const auto study = study_claims_.find(token);
    if (!study) return no_longer_held("fail study");
    NODE_RETURN_IF_ERROR(
        Query(transaction.database, "UPDATE study SET state = 4, reason = ?2 WHERE id = ?1", *study, reason).run());
    study_claims_.drop(transaction, *study);
    return ok_status();
  });
}

Status SqliteStudyStore::release_study(ClaimToken token, milliseconds retry_in) {
  return writer_.run(Durability::kProcess, [&](Transaction& transaction) -> Status {
    const auto study = study_claims_.find(token);
    if (!study) return no_longer_held("release study");
    study_not_before_[*study] = due_now() + retry_in.count();  // Needs no undoing: a pause costs time only.
    study_claims_.drop(transaction, *study);
    signal_on_commit(transaction, kStudies);
    return ok_status();
  });
}

// --- deliver ----------------------------------------------------------------------------------------------------

// Keeps delivery.blocked: whether an object of an earlier stage of the study is PENDING at this destination. Originals
// (stage 0) neither wait nor are waited for.
Status SqliteStudyStore::refresh_blocked(Transaction& transaction, std::int64_t study, const std::string& destination) {
  Database& database = transaction.database;
  NODE_RETURN_IF_ERROR(Query(database,
                             "UPDATE delivery SET blocked = 1 - blocked WHERE study_id = ?1 AND destination = ?2 "
                             "AND state = 0 AND stage > 1 AND blocked != EXISTS (SELECT 1 FROM delivery e "
                             "WHERE e.study_id = ?1 AND e.destination = ?2 AND e.state = 0 AND e.stage > 0 "
                             "AND e.stage < delivery.stage)",
                             study, destination)
                           .run());
  if (database.changes() > 0) signal_on_commit(transaction, deliveries_at(destination));
  return ok_status();
}

Result<std::vector<ClaimedDelivery>> SqliteStudyStore::claim_due_deliveries(const std::string& destination, int max,
                                                                            milliseconds wait_max) {
  std::vector<ClaimedDelivery> claimed;
  NODE_RETURN_IF_ERROR(claim(deliveries_at(destination), wait_max, [&](Transaction& transaction) {
                         claimed.clear();
                         return look_for_deliveries(transaction, destination, max, claimed);
                       }).within("claim deliveries"));
  return claimed;
}

Result<Look> SqliteStudyStore::look_for_deliveries(Transaction& transaction, const std::string& destination, int max,
                                                   std::vector<ClaimedDelivery>& claimed) {
  Database& database = transaction.database;
  NODE_RETURN_IF_ERROR(Query(database,
                             "UPDATE delivery SET delayed = 0 WHERE state = 0 AND delayed = 1 AND destination = ? "
                             "AND due_at <= ?",
                             destination, due_now())
                           .run());
  Query rows(database,
             "SELECT d.id, d.stage, s.uid, coalesce(r.uid, i.sop_instance_uid), coalesce(r.sop_class_uid, "
             "i.sop_class_uid), coalesce(r.transfer_syntax_uid, i.transfer_syntax_uid), coalesce(r.file_key, "
             "i.file_key), coalesce(r.file_bytes, i.file_bytes), coalesce(r.file_sha256, i.file_sha256), d.attempts, "
             "d.priority FROM delivery d JOIN study s ON s.id = d.study_id LEFT JOIN instance i ON i.id = "
             "d.instance_id LEFT JOIN result r ON r.id = d.result_id WHERE d.state = 0 AND d.blocked = 0 AND "
             "d.delayed = 0 AND d.destination = ? ORDER BY d.priority DESC, d.id",
             destination);
  while (static_cast<int>(claimed.size()) < max && rows.next()) {
    const std::int64_t id = rows.integer();
    if (delivery_claims_.holds(id)) continue;
    const auto stage = static_cast<DeliveryStage>(rows.integer());
    NODE_ASSIGN_OR_RETURN(Uid study, Uid::parse(rows.text()));
    NODE_ASSIGN_OR_RETURN(Uid object, Uid::parse(rows.text()));
    ClaimedDelivery delivery{.id = id,
                             .destination = destination,
                             .stage = stage,
                             .study_instance_uid = std::move(study),
                             .sop_instance_uid = std::move(object)};
    delivery.sop_class_uid = rows.text();
    delivery.transfer_syntax_uid = rows.text();
    delivery.file.key = rows.text();
    delivery.file.size_bytes = static_cast<std::uint64_t>(rows.integer());
    delivery.file.sha256_hex = rows.text();
    delivery.attempts = rows.small();
    delivery.priority = rows.small();
    delivery.token = delivery_claims_.take(transaction, id);
    claimed.push_back(std::move(delivery));
  }
  NODE_RETURN_IF_ERROR(rows.status());
  Look look{.found = !claimed.empty(), .next_due = {}};
  if (!look.found) {
    Query due(database, "SELECT min(due_at) FROM delivery WHERE state = 0 AND delayed = 1 AND destination = ?",
              destination);
    if (due.next()) look.next_due = due.integer_or_null();
    NODE_RETURN_IF_ERROR(due.status());
  }
  return look;
}

Status SqliteStudyStore::finish_delivery(ClaimToken token, const DeliveryOutcome& outcome) {
  return writer_.run(Durability::kPower, [&](Transaction& transaction) -> Status {
    const auto id = delivery_claims_.find(token);
    if (!id) return no_longer_held("finish delivery");
    const std::int64_t delay_ms = std::max<std::int64_t>(outcome.retry_in.count(), 0);
    const bool pending = outcome.state == DeliveryState::kPending;
    Query row(transaction.database,
              "UPDATE delivery SET state = ?2, attempts = attempts + 1, delayed = ?3, delay_ms = ?4, due_at = ?5, "
              "delivered_at = ?6, peer_status = ?7, text = ?8 WHERE id = ?1 RETURNING study_id, destination",
              *id, static_cast<int>(outcome.state), pending && delay_ms > 0, delay_ms, due_now() + delay_ms,
              outcome.state == DeliveryState::kDelivered ? std::optional(now()) : std::nullopt,
              outcome.peer_status ? std::optional<std::int64_t>(*outcome.peer_status) : std::nullopt, outcome.text);
    if (!row.next()) return row.status().ok() ? not_found("finish delivery: no such row") : row.status();
    const std::int64_t study = row.integer();
    const std::string destination = row.text();
    NODE_RETURN_IF_ERROR(row.run());
    delivery_claims_.drop(transaction, *id);
    if (pending) signal_on_commit(transaction, deliveries_at(destination));
    return refresh_blocked(transaction, study, destination);
  });
}

Status SqliteStudyStore::release_delivery(std::int64_t id) {
  return writer_.run(Durability::kPower, [&](Transaction& transaction) -> Status {
    const std::string name = "release delivery " + std::to_string(id);
    Query row(transaction.database, "SELECT state, study_id, destination FROM delivery WHERE id = ?", id);
    if (!row.next()) return row.status().ok() ? not_found(name + ": no such delivery") : row.status();
    if (static_cast<DeliveryState>(row.integer()) != DeliveryState::kParked) {
      return invalid_argument(name + ": it is not parked");
    }
    const std::int64_t study = row.integer();
    const std::string destination = row.text();
    NODE_RETURN_IF_ERROR(Query(transaction.database,
                               "UPDATE delivery SET state = 0, attempts = 0, delayed = 0, delay_ms = 0, due_at = ?2 "
                               "WHERE id = ?1",
                               id, due_now())
                             .run());
    signal_on_commit(transaction, deliveries_at(destination));
    return refresh_blocked(transaction, study, destination);
  });
}

// --- operate ----------------------------------------------------------------------------------------------------

Status SqliteStudyStore::retry_study(const Uid& study_instance_uid) {
  return writer_.run(Durability::kPower, [&](Transaction& transaction) -> Status {
    Database& database = transaction.database;
    Query row(database, "SELECT id FROM study WHERE uid = ?", study_instance_uid.str());
    if (!row.next()) {
      NODE_RETURN_IF_ERROR(row.status());
      return not_found("retry study " + study_instance_uid.str() + ": no such study");
    }
    const std::int64_t study = row.integer();
    Query instances(database,
                    "UPDATE instance SET state = 0, reason = '', attempts = 0, version = version + 1 "
                    "WHERE study_id = ? AND current = 1 AND tasks != '' RETURNING id",
                    study);
    while (instances.next()) drop_instance_claim(transaction, instances.integer());
    NODE_RETURN_IF_ERROR(instances.status());
    NODE_RETURN_IF_ERROR(open_study(transaction, study, 0));  // Nothing more is expected: it closes at once.
    NODE_RETURN_IF_ERROR(refresh_waits(transaction, study));
    signal_on_commit(transaction, kInstances);
    signal_on_commit(transaction, kStudies);
    return ok_status();
  });
}

StoreStats SqliteStudyStore::stats() {
  StoreStats stats = SqliteStudyReader::stats();
  const GroupCommit::Stats writer = writer_.stats();
  stats.writes = writer.works;
  stats.commits = writer.commits;
  return stats;
}

}  // namespace

Result<std::unique_ptr<StudyStore>> open_sqlite_study_store(const config::StorageConfig& config, Clock& clock) {
  return SqliteStudyStore::open(config, clock);
}

}  // namespace node::storage
