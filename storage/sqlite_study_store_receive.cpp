// SqliteStudyStore: an instance arrives; studies open, are held and let go.
#include <algorithm>

#include "storage/sqlite_study_store_impl.h"

namespace node::storage {

using queries::join_lines;
using Durability = GroupCommit::Durability;

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
    std::int64_t study = 0;
    std::optional<std::int64_t> close_due_at;
    {
      Query found(database,
                  "INSERT INTO study(uid, accession_number, state, priority, quiet_ms, opened_at, "
                  "last_instance_at, open_since, quiet_due_at, close_due_at) "
                  "VALUES (?1, ?2, 0, ?3, ?4, ?5, ?5, ?6, ?6 + ?4, ?6 + min(?4, ?7)) "
                  "ON CONFLICT(uid) DO UPDATE SET last_instance_at = excluded.last_instance_at, "
                  "priority = max(priority, excluded.priority), originals = 1, rest_since = NULL "
                  "RETURNING id, state, close_due_at",
                  instance.study_instance_uid.str(), instance.accession_number, instance.route.priority,
                  static_cast<std::int64_t>(instance.study_quiet_period.count()), now(), due_now(), open_max_ms_);
      if (!found.next()) return found.status().ok() ? internal_error("the study has no row") : found.status();
      study = found.integer();
      if (static_cast<StudyState>(found.integer()) == StudyState::kOpen) close_due_at = found.integer();
      NODE_RETURN_IF_ERROR(found.run());
    }

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
    } else if (close_due_at) {
      signal_on_commit_at(transaction, kStudies, *close_due_at);
    }
    NODE_RETURN_IF_ERROR(refresh_waits(transaction, study));
    NODE_RETURN_IF_ERROR(refresh_late_originals(transaction, study));
    return refresh_rest(transaction, study);
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

// Keeps study.close_due_at, and wakes then whoever closes studies.
Status SqliteStudyStore::refresh_close_due(Transaction& transaction, std::int64_t study) {
  Query due(transaction.database,
            "UPDATE study SET close_due_at = CASE WHEN holds > 0 THEN open_since + ?2 "
            "ELSE min(quiet_due_at, open_since + ?2) END WHERE id = ?1 RETURNING state, close_due_at",
            study, open_max_ms_);
  if (due.next() && static_cast<StudyState>(due.integer()) == StudyState::kOpen) {
    signal_on_commit_at(transaction, kStudies, due.integer());
  }
  return due.run();
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
  Query changed(transaction.database,
                "UPDATE study SET waits = 1 - waits WHERE id = ?1 AND waits != "
                "EXISTS (SELECT 1 FROM instance WHERE study_id = ?1 AND state = 0) RETURNING waits",
                study);
  if (changed.next() && !changed.boolean()) signal_on_commit(transaction, kStudies);
  return changed.run();
}

}  // namespace node::storage
