// SqliteStudyStore: instances are claimed, and end as analysed, skipped or failed.
#include "storage/sqlite_study_store_impl.h"

namespace node::storage {

using queries::join_lines;
using std::chrono::milliseconds;
using Durability = GroupCommit::Durability;

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

}  // namespace node::storage
