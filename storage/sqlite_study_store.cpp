#include "storage/sqlite_study_store.h"

#include <algorithm>

#include "storage/sqlite_schema.h"
#include "storage/sqlite_study_store_impl.h"

namespace node::storage {

using queries::join_lines;
using queries::to_ms;
using std::chrono::milliseconds;
using Durability = GroupCommit::Durability;

Result<std::unique_ptr<StudyStore>> SqliteStudyStore::open(const config::StorageConfig& config, Clock& clock,
                                                           FileSystem& file_system) {
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
    // What an association of the last process held open gets a quiet period to be sent again.
    NODE_RETURN_IF_ERROR(Query(*database,
                               "UPDATE study SET quiet_due_at = ?1 + quiet_ms "
                               "WHERE state = 0 AND (holds > 0 OR quiet_due_at > ?1 + quiet_ms)",
                               now)
                             .run());
    NODE_RETURN_IF_ERROR(Query(*database, "UPDATE study SET holds = 0 WHERE holds > 0").run());
    NODE_RETURN_IF_ERROR(Query(*database,
                               "UPDATE study SET open_since = min(open_since, ?1), "
                               "close_due_at = min(quiet_due_at, min(open_since, ?1) + ?2) WHERE state = 0",
                               now, static_cast<std::int64_t>(config.study_open_max.count()))
                             .run());
    NODE_RETURN_IF_ERROR(Query(*database, "UPDATE study SET rest_since = ?1 WHERE rest_since > ?1", now).run());
    // What is to be asked or answered by storage commitment is tried at once, and again what no report came for while
    // nobody listened. How long a report is waited for, begin_commitment() knows.
    NODE_RETURN_IF_ERROR(Query(*database,
                               "UPDATE delivery SET commitment = 1, commitment_due = ?1 WHERE commitment IN (1, 2) AND "
                               "iif(commitment = 1, commitment_due > ?1, commitment_due <= ?1)",
                               now)
                             .run());
    NODE_RETURN_IF_ERROR(Query(*database,
                               "UPDATE commitment_request SET due_at = min(due_at, ?1), created_at = "
                               "min(created_at, ?1) WHERE ended = 0 AND (due_at > ?1 OR created_at > ?1)",
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
  const auto record = [&](Transaction& transaction) -> Status {
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

    std::int64_t old_study = 0, old_quiet_ms = 0;
    bool old_reportable = false;
    if (arrival == Arrival::kCorrection) {
      const std::int64_t old_row = held.integer();
      old_study = held.integer();
      old_reportable = held.boolean();
      old_quiet_ms = held.integer();
      NODE_RETURN_IF_ERROR(supersede(transaction, old_row, version + 1));
      NODE_RETURN_IF_ERROR(refresh_waits(transaction, old_study));
      NODE_RETURN_IF_ERROR(refresh_urgent(transaction, old_study));
    }

    // A new study begins OPEN; one that holds no reportable image when its quiet period is over ends as NOT_ROUTED.
    NODE_RETURN_IF_ERROR(Query(database,
                               "INSERT INTO study(uid, accession_number, state, priority, quiet_ms, opened_at, "
                               "last_instance_at, open_since, quiet_due_at, close_due_at) "
                               "VALUES (?1, ?2, 0, ?3, ?4, ?5, ?5, ?6, ?6 + ?4, ?6 + min(?4, ?7)) "
                               "ON CONFLICT(uid) DO UPDATE SET last_instance_at = excluded.last_instance_at, "
                               "priority = max(priority, excluded.priority), originals = 1, rest_since = NULL",
                               instance.study_instance_uid.str(), instance.accession_number, instance.route.priority,
                               static_cast<std::int64_t>(instance.study_quiet_period.count()), now(), due_now(),
                               open_max_ms_)
                             .run());
    Query found(database, "SELECT id FROM study WHERE uid = ?", instance.study_instance_uid.str());
    if (!found.next()) return found.status().ok() ? internal_error("the study has no row") : found.status();
    const std::int64_t study = found.integer();

    bool opens = instance.reportable && arrival != Arrival::kConflict;
    if (arrival == Arrival::kCorrection) {
      // A correction may say that the image belongs to another study, or to no report: what was said is taken back.
      if (old_study == study) {
        opens = opens || old_reportable;
      } else if (old_reportable) {
        NODE_RETURN_IF_ERROR(open_study(transaction, old_study, old_quiet_ms));
      }
    }
    NODE_RETURN_IF_ERROR(
        insert_instance(transaction, instance, arrival, study, arrival == Arrival::kConflict ? version : version + 1));
    if (opens) {
      NODE_RETURN_IF_ERROR(hold_open(transaction, instance.association, study));
      NODE_RETURN_IF_ERROR(open_study(transaction, study, instance.study_quiet_period.count()));
    }
    NODE_RETURN_IF_ERROR(refresh_waits(transaction, study));
    NODE_RETURN_IF_ERROR(refresh_late_originals(transaction, study));
    NODE_RETURN_IF_ERROR(refresh_rest(transaction, study));
    signal_on_commit(transaction, kStudies);
    return ok_status();
  };
  bool undone = false;
  const Status added = writer_.run(Durability::kPower, record, &undone);
  if (added.ok()) return result;
  if (!undone) return added.within("add instance " + uid);
  return AddResult{.refused = added.within("add instance " + uid)};
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
  Query urgent(database, "SELECT urgent != '' FROM study WHERE id = ?", study);
  if (!urgent.next()) return urgent.status();
  const int priority = urgent.boolean() ? kUrgentPriority : route.priority;
  NODE_RETURN_IF_ERROR(
      Query(database,
            "INSERT INTO instance(study_id, sop_instance_uid, version, current, series_instance_uid, sop_class_uid, "
            "transfer_syntax_uid, modality, accession_number, peer, header_digest, file_key, file_bytes, file_sha256, "
            "rule, body_part, body_part_evidence, tasks, route_reason, priority, route_priority, results_to, shadow, "
            "forward_to, pending_route, reportable, state, reason, received_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            study, instance.sop_instance_uid.str(), version, !conflict, instance.series_instance_uid,
            instance.sop_class_uid, instance.transfer_syntax_uid, instance.modality, instance.accession_number,
            instance.peer, instance.header_digest, instance.file.key, instance.file.size_bytes,
            instance.file.sha256_hex, route.rule, route.body_part, route.body_part_evidence, join_lines(route.tasks),
            route.reason, priority, route.priority, join_lines(route.results_to), route.shadow,
            join_lines(route.forward_to), route.pending, instance.reportable, static_cast<int>(state), reason, now())
          .run());
  if (conflict) return ok_status();
  const std::int64_t row = database.last_insert_id();
  const std::vector<std::string>& late = route.forward_after_results;
  for (const std::string& destination : route.forward_to) {
    const bool waits = std::find(late.begin(), late.end(), destination) != late.end();
    const auto stage = waits ? DeliveryStage::kLateOriginal : DeliveryStage::kOriginal;
    NODE_RETURN_IF_ERROR(Query(database,
                               "INSERT OR IGNORE INTO delivery(study_id, destination, stage, instance_id, priority, "
                               "created_at, due_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
                               study, destination, static_cast<int>(stage), row, priority, now(), due_now())
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
// Nor does it begin a new span of study_open_max: a study that never falls quiet is reported all the same.
Status SqliteStudyStore::open_study(Transaction& transaction, std::int64_t study, std::int64_t quiet_ms) {
  study_claims_.drop(transaction, study);
  NODE_RETURN_IF_ERROR(Query(transaction.database,
                             "UPDATE study SET revision = revision + (state IN (2, 4)), "
                             "open_since = CASE WHEN state IN (0, 1) THEN open_since ELSE ?3 END, state = 0, "
                             "reason = '', closed_at = NULL, finished_at = NULL, rest_since = NULL, quiet_ms = ?2, "
                             "quiet_due_at = ?3 + ?2 WHERE id = ?1",
                             study, quiet_ms, due_now())
                           .run());
  return refresh_close_due(transaction, study);
}

// Keeps study.close_due_at.
Status SqliteStudyStore::refresh_close_due(Transaction& transaction, std::int64_t study) {
  return Query(transaction.database,
               "UPDATE study SET close_due_at = CASE WHEN holds > 0 THEN open_since + ?2 "
               "ELSE min(quiet_due_at, open_since + ?2) END WHERE id = ?1",
               study, open_max_ms_)
      .run();
}

// An association holds the study that it brought last: one that goes on to another study, as a PACS that sends its
// whole archive does, lets go of the one before.
Status SqliteStudyStore::hold_open(Transaction& transaction, std::uint64_t association, std::int64_t study) {
  if (association == 0) return ok_status();
  const auto [held, is_new] = associations_.try_emplace(association, study);
  const std::int64_t before = held->second;
  if (is_new) {
    transaction.on_rollback([this, association] { associations_.erase(association); });
  } else {
    if (before == study) return ok_status();
    NODE_RETURN_IF_ERROR(let_go(transaction, before, /*whole_study=*/false));
    held->second = study;
    transaction.on_rollback([this, association, before] { associations_[association] = before; });
  }
  return Query(transaction.database, "UPDATE study SET holds = holds + 1 WHERE id = ?", study).run();
}

Status SqliteStudyStore::let_go(Transaction& transaction, std::int64_t study, bool whole_study) {
  NODE_RETURN_IF_ERROR(Query(transaction.database,
                             "UPDATE study SET holds = max(holds - 1, 0), quiet_due_at = CASE WHEN holds > 1 THEN "
                             "quiet_due_at WHEN ?3 THEN ?2 ELSE ?2 + quiet_ms END WHERE id = ?1",
                             study, due_now(), whole_study)
                           .run());
  signal_on_commit(transaction, kStudies);
  return refresh_close_due(transaction, study);
}

Status SqliteStudyStore::end_association(std::uint64_t association, bool whole_study) {
  Status ended = writer_.run(Durability::kProcess,
                             [&](Transaction& transaction) { return end_hold(transaction, association, whole_study); });
  if (!ended.ok()) {
    MutexLock lock(unrecorded_ends_mutex_);
    unrecorded_ends_.emplace_back(association, whole_study);
  }
  return ended;
}

Status SqliteStudyStore::end_hold(Transaction& transaction, std::uint64_t association, bool whole_study) {
  const auto held = associations_.find(association);
  if (held == associations_.end()) return ok_status();
  const std::int64_t study = held->second;
  associations_.erase(held);
  transaction.on_rollback([this, association, study] { associations_[association] = study; });
  return let_go(transaction, study, whole_study);
}

// Ends that could not be recorded when they came: nobody else would say them again, and their studies would stay open
// for study_open_max.
Status SqliteStudyStore::end_unrecorded_holds(Transaction& transaction) {
  std::vector<std::pair<std::uint64_t, bool>> ends;
  {
    MutexLock lock(unrecorded_ends_mutex_);
    ends = unrecorded_ends_;
  }
  for (const auto& [association, whole_study] : ends) {
    NODE_RETURN_IF_ERROR(end_hold(transaction, association, whole_study));
  }
  if (ends.empty()) return ok_status();
  transaction.on_commit([this, count = static_cast<std::ptrdiff_t>(ends.size())] {
    MutexLock lock(unrecorded_ends_mutex_);
    unrecorded_ends_.erase(unrecorded_ends_.begin(), unrecorded_ends_.begin() + count);
  });
  return ok_status();
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
    Status done = writer_.run(Durability::kProcess, [&](Transaction& transaction) -> Status {
      NODE_ASSIGN_OR_RETURN(looked, look(transaction));
      return ok_status();
    });
    // Of a database that another process locks: a claim answers kUnavailable only to say that the store has stopped.
    if (done.code() == StatusCode::kUnavailable) done = internal_error(done.message());
    NODE_RETURN_IF_ERROR(done);
    if (looked.found || clock_.steady_now() >= deadline) return ok_status();
    SteadyTime wake = deadline;
    if (looked.next_due) wake = std::min(wake, steady_origin_ + milliseconds(*looked.next_due - due_origin_));
    wakeups_.wait(channel, seen, wake);
  }
  return unavailable("the store has stopped");
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
               "ORDER BY attempts, received_at - priority * 600000, id");
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
    Query rows(database, "SELECT id FROM instance WHERE state = 0 ORDER BY received_at - priority * 600000, id");
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

Status SqliteStudyStore::settle_route(ClaimToken token, const RouteDecision& route) {
  return writer_.run(Durability::kProcess, [&](Transaction& transaction) -> Status {
    const auto row = instance_claims_.find(token);
    if (!row) return no_longer_held("settle route");
    return Query(transaction.database,
                 "UPDATE instance SET rule = ?, body_part = ?, body_part_evidence = ?, tasks = ?, route_reason = ?, "
                 "priority = iif(priority = ?, priority, ?), route_priority = ?, results_to = ?, shadow = ? "
                 "WHERE id = ?",
                 route.rule, route.body_part, route.body_part_evidence, join_lines(route.tasks), route.reason,
                 kUrgentPriority, route.priority, route.priority, join_lines(route.results_to), route.shadow, *row)
        .run()
        .within("settle route");
  });
}

// What waits of it is moved up: images, reports, deliveries; what comes later is added so.
Status SqliteStudyStore::make_urgent(Transaction& transaction, std::int64_t study, const std::string& why) {
  Database& database = transaction.database;
  NODE_RETURN_IF_ERROR(Query(database, "UPDATE study SET urgent = ?2, priority = ?3 WHERE id = ?1 AND urgent = ''",
                             study, why, kUrgentPriority)
                           .run());
  if (database.changes() == 0) return ok_status();
  NODE_RETURN_IF_ERROR(
      Query(database, "UPDATE instance SET priority = ?2 WHERE study_id = ?1 AND state = 0", study, kUrgentPriority)
          .run());
  return Query(database, "UPDATE delivery SET priority = ?2 WHERE study_id = ?1 AND state = 0", study, kUrgentPriority)
      .run();
}

// Decides it anew, of a study that was urgent: by what was found in the images that are still of it, in the order in
// which it was found. What earlier revisions have yet to send keeps its place.
Status SqliteStudyStore::refresh_urgent(Transaction& transaction, std::int64_t study) {
  Database& database = transaction.database;
  Query row(
      database,
      "UPDATE study SET urgent = coalesce((SELECT urgent FROM instance WHERE study_id = ?1 AND current = 1 AND "
      "urgent != '' ORDER BY predicted_at, id LIMIT 1), '') WHERE id = ?1 AND urgent != '' RETURNING urgent != ''",
      study);
  if (!row.next()) return row.status();
  const bool urgent = row.boolean();
  NODE_RETURN_IF_ERROR(row.run());
  NODE_RETURN_IF_ERROR(Query(database,
                             "UPDATE study SET priority = iif(?2, ?3, (SELECT max(route_priority) FROM instance WHERE "
                             "study_id = ?1)) WHERE id = ?1",
                             study, urgent, kUrgentPriority)
                           .run());
  return Query(database, "UPDATE instance SET priority = iif(?2, ?3, route_priority) WHERE study_id = ?1 AND state = 0",
               study, urgent, kUrgentPriority)
      .run();
}

Status SqliteStudyStore::finish_instance(ClaimToken token, const std::vector<StoredPrediction>& predictions,
                                         const std::string& urgent) {
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
    Query study(database, "UPDATE instance SET predicted_at = ?, urgent = ? WHERE id = ? RETURNING study_id", now(),
                urgent, *row);
    if (!study.next()) return study.status().ok() ? not_found("finish instance: no such row") : study.status();
    const std::int64_t study_row = study.integer();
    NODE_RETURN_IF_ERROR(study.run());
    if (!urgent.empty()) NODE_RETURN_IF_ERROR(make_urgent(transaction, study_row, urgent));
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

// --- operate ----------------------------------------------------------------------------------------------------

Result<bool> SqliteStudyStore::retry_study(const Uid& study_instance_uid, std::optional<int> seen_revision) {
  bool changed = false;
  const std::string what = "retry study " + study_instance_uid.str();
  Status retried = writer_.run(Durability::kPower, [&](Transaction& transaction) -> Status {
    Database& database = transaction.database;
    Query row(database,
              "SELECT id, state NOT IN (0, 1) OR NOT waits OR EXISTS (SELECT 1 FROM instance WHERE study_id = study.id "
              "AND current = 1 AND (tasks != '' OR pending_route != '') AND purged_at IS NULL AND state != 0), "
              "revision, retried = revision AND state != 4 AND NOT EXISTS (SELECT 1 FROM instance WHERE study_id = "
              "study.id AND current = 1 AND state = 3) FROM study WHERE uid = ?",
              study_instance_uid.str());
    if (!row.next()) {
      NODE_RETURN_IF_ERROR(row.status());
      return not_found(what + ": no such study");
    }
    const std::int64_t study = row.integer();
    // Who names a revision gets a later one, whatever state it is in: so asking twice is asking once.
    changed = row.boolean() || seen_revision.has_value();
    const int revision = row.small();
    const bool was_retried = row.boolean();
    if (seen_revision > revision) return invalid_argument(what + ": its revision is " + std::to_string(revision));
    if (seen_revision ? *seen_revision < revision : was_retried) {
      changed = false;
      return ok_status();
    }
    Query kept(database,
               "SELECT count(*), count(*) FILTER (WHERE purged_at IS NULL) FROM instance "
               "WHERE study_id = ? AND current = 1",
               study);
    if (!kept.next()) return kept.status();
    if (kept.integer() > 0 && kept.integer() == 0) {
      return invalid_argument(what + ": its images were deleted by retention");
    }
    // What waits for its analysis, or is being analysed, needs no other version: so asking twice is asking once.
    NODE_RETURN_IF_ERROR(
        Query(database,
              "UPDATE instance SET state = 0, reason = '', urgent = '', attempts = iif(state = 0, attempts, 0), "
              "version = version + (state != 0) WHERE study_id = ? AND "
              "current = 1 AND (tasks != '' OR pending_route != '') AND purged_at IS NULL",
              study)
            .run());
    // What was found is decided anew, and so is whether it is urgent.
    NODE_RETURN_IF_ERROR(refresh_urgent(transaction, study));
    NODE_RETURN_IF_ERROR(Query(database,
                               "UPDATE study SET retried = revision + ?2, revision = revision + (?2 AND state NOT IN "
                               "(2, 4)) WHERE id = ?1",
                               study, changed)
                             .run());
    NODE_RETURN_IF_ERROR(open_study(transaction, study, 0));  // Nothing more is expected: it closes at once.
    NODE_RETURN_IF_ERROR(refresh_waits(transaction, study));
    signal_on_commit(transaction, kInstances);
    signal_on_commit(transaction, kStudies);
    return ok_status();
  });
  if (!retried.ok()) return retried;
  return changed;
}

Status SqliteStudyStore::set_accepted_losses(const std::vector<std::string>& keys) {
  return writer_.run(Durability::kPower, [&](Transaction& transaction) -> Status {
    NODE_RETURN_IF_ERROR(Query(transaction.database, "DELETE FROM accepted_loss").run());
    for (const std::string& key : keys) {
      NODE_RETURN_IF_ERROR(
          Query(transaction.database, "INSERT OR IGNORE INTO accepted_loss VALUES (?, ?)", key, now()).run());
    }
    return ok_status();
  });
}

StoreStats SqliteStudyStore::stats() {
  StoreStats stats = SqliteStudyReader::stats();
  const GroupCommit::Stats writer = writer_.stats();
  stats.writes = writer.works;
  stats.commits = writer.commits;
  stats.delivered_after = delivered_after_.snapshot();
  return stats;
}

Result<std::unique_ptr<StudyStore>> open_sqlite_study_store(const config::StorageConfig& config, Clock& clock,
                                                            FileSystem& file_system) {
  return SqliteStudyStore::open(config, clock, file_system);
}

}  // namespace node::storage
