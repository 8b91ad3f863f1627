#include <algorithm>
#include <set>

#include "storage/sqlite_study_store_impl.h"

namespace node::storage {

using queries::from_ms;
using queries::to_ms;
using std::chrono::milliseconds;
using Durability = GroupCommit::Durability;

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
  NODE_RETURN_IF_ERROR(end_unrecorded_holds(transaction));
  std::vector<std::int64_t> not_routed;
  {
    Query closed(
        database,
        "UPDATE study INDEXED BY study_to_close SET closed_at = ?1, state = CASE WHEN EXISTS (SELECT 1 FROM instance "
        "WHERE study_id = study.id AND current = 1 AND reportable = 1) OR EXISTS (SELECT 1 FROM result "
        "WHERE study_id = study.id) THEN 1 ELSE 3 END WHERE state = 0 AND close_due_at <= ?2 RETURNING id, state",
        now(), due_now());
    while (closed.next()) {
      const std::int64_t row = closed.integer();
      if (static_cast<StudyState>(closed.integer()) == StudyState::kNotRouted) not_routed.push_back(row);
    }
    NODE_RETURN_IF_ERROR(closed.status());
  }
  for (const std::int64_t row : not_routed) {
    NODE_RETURN_IF_ERROR(refresh_late_originals(transaction, row));
    NODE_RETURN_IF_ERROR(refresh_rest(transaction, row));
  }
  std::int64_t study = 0;
  {
    Query rows(database,
               "SELECT id FROM study INDEXED BY study_ready WHERE state = 1 AND waits = 0 "
               "ORDER BY closed_at - priority * 600000, id");
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
    Query due(database, "SELECT min(close_due_at) FROM study INDEXED BY study_to_close WHERE state = 0");
    if (due.next()) {
      if (const auto at = due.integer_or_null()) look.next_due = std::min(look.next_due.value_or(*at), *at);
    }
    NODE_RETURN_IF_ERROR(due.status());
    return look;
  }

  Query row(database, "SELECT uid, revision, closed_at, priority, urgent FROM study WHERE id = ?", study);
  if (!row.next()) return row.status();
  NODE_ASSIGN_OR_RETURN(Uid uid, Uid::parse(row.text()));
  ready.emplace(ReadyStudy{.study_instance_uid = std::move(uid)});
  ready->revision = row.small();
  ready->closed_at = from_ms(row.integer());
  ready->priority = row.small();
  ready->urgent = row.text();
  NODE_ASSIGN_OR_RETURN(ready->instances, queries::list_instances(database, ready->study_instance_uid, true));
  NODE_ASSIGN_OR_RETURN(ready->earlier_results, queries::list_results(database, study));
  const bool none_left =
      std::none_of(ready->instances.begin(), ready->instances.end(), [](const auto& one) { return one.reportable; });
  if (none_left || !ready->earlier_results.empty()) {
    Query replaced(
        database,
        "SELECT id FROM instance i WHERE study_id = ?1 AND current = 0 AND state != 4 AND reportable = 1 AND "
        "version = (SELECT max(version) FROM instance WHERE study_id = ?1 AND current = 0 AND state != 4 AND "
        "reportable = 1 AND sop_instance_uid = i.sop_instance_uid) AND (?2 OR ?1 != (SELECT study_id FROM instance c "
        "WHERE c.sop_instance_uid = i.sop_instance_uid AND c.current = 1)) ORDER BY id",
        study, none_left);
    while (replaced.next()) {
      NODE_ASSIGN_OR_RETURN(InstanceRecord record, queries::load_instance(database, replaced.integer()));
      ready->taken_back.push_back(std::move(record));
    }
    NODE_RETURN_IF_ERROR(replaced.status());
  }
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
      NODE_RETURN_IF_ERROR(
          Query(
              database,
              "INSERT INTO result(study_id, uid, kind, source_uid, task, revision, series_instance_uid, sop_class_uid, "
              "transfer_syntax_uid, file_key, file_bytes, file_sha256, created_at) "
              "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(uid) DO NOTHING",
              *study, result.sop_instance_uid.str(), result.kind, result.source_uid, result.task, result.revision,
              result.series_instance_uid, result.sop_class_uid, result.transfer_syntax_uid, result.file.key,
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
                "INSERT INTO delivery(study_id, destination, stage, result_id, priority, created_at, due_at, after) "
                "SELECT id, ?2, ?3, ?4, priority, ?5, ?6, ?7 FROM study WHERE id = ?1 "
                "ON CONFLICT(result_id, destination) WHERE result_id IS NOT NULL DO NOTHING",
                *study, delivery.destination, static_cast<int>(delivery.stage), result.integer(), now(), due_now(),
                delivery.after)
              .run()
              .within("finish study"));
      signal_on_commit(transaction, deliveries_at(delivery.destination));
    }
    NODE_RETURN_IF_ERROR(
        Query(database, "UPDATE study SET state = 2, finished_at = ?2, results = 1 WHERE id = ?1", *study, now())
            .run());
    for (const NewDelivery& delivery : deliveries) {
      NODE_RETURN_IF_ERROR(refresh_blocked(transaction, *study, delivery.destination));
    }
    NODE_RETURN_IF_ERROR(refresh_late_originals(transaction, *study));
    // An image that was routed by an older configuration may name a destination that is gone.
    NODE_RETURN_IF_ERROR(park_elsewhere(transaction, *study).status());
    study_claims_.drop(transaction, *study);
    return refresh_rest(transaction, *study);
  });
}

Status SqliteStudyStore::fail_study(ClaimToken token, const std::string& reason) {
  return writer_.run(Durability::kPower, [&](Transaction& transaction) -> Status {
    const auto study = study_claims_.find(token);
    if (!study) return no_longer_held("fail study");
    NODE_RETURN_IF_ERROR(
        Query(transaction.database, "UPDATE study SET state = 4, reason = ?2 WHERE id = ?1", *study, reason).run());
    NODE_RETURN_IF_ERROR(refresh_late_originals(transaction, *study));
    study_claims_.drop(transaction, *study);
    return refresh_rest(transaction, *study);
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

// Keeps delivery.blocked of what goes to this destination or waits for it: whether an object of an earlier stage of the
// study is PENDING where it goes, any result of the study where it waits for, or, of a late original (stage 4), the
// study has not ended; a message (stage 5) and a report wait for those of earlier revisions, lest an old one be the
// last that a worklist hears or a viewer gets. Originals (stage 0) neither wait nor are waited for here.
Status SqliteStudyStore::refresh_blocked(Transaction& transaction, std::int64_t study, const std::string& destination) {
  Query changed(transaction.database,
                "UPDATE delivery SET blocked = 1 - blocked WHERE study_id = ?1 AND (destination = ?2 OR after = ?2) "
                "AND state = 0 AND stage > 1 AND blocked != (EXISTS (SELECT 1 FROM delivery e "
                "WHERE e.study_id = ?1 AND e.destination = delivery.destination AND e.state = 0 AND e.stage > 0 "
                "AND e.stage < delivery.stage) OR (after != '' AND EXISTS (SELECT 1 FROM delivery e WHERE "
                "e.study_id = ?1 AND e.destination = delivery.after AND e.state = 0 AND e.result_id IS NOT NULL)) OR "
                "(stage = 5 AND EXISTS (SELECT 1 FROM delivery e WHERE e.study_id = ?1 AND e.destination = "
                "delivery.destination AND e.state = 0 AND e.stage = 5 AND e.id < delivery.id)) OR "
                "EXISTS (SELECT 1 FROM result r JOIN delivery e ON e.study_id = ?1 AND e.destination = "
                "delivery.destination AND e.state = 0 AND e.stage = delivery.stage JOIN result old ON "
                "old.id = e.result_id AND old.revision < r.revision WHERE r.id = delivery.result_id) OR "
                "(stage = 4 AND EXISTS (SELECT 1 FROM study s WHERE s.id = ?1 AND s.state IN (0, 1)))) "
                "RETURNING destination",
                study, destination);
  while (changed.next()) signal_on_commit(transaction, deliveries_at(changed.text()));
  return changed.status();
}

// Wherever late originals of the study wait: it has opened or ended.
Status SqliteStudyStore::refresh_late_originals(Transaction& transaction, std::int64_t study) {
  std::vector<std::string> destinations;
  {
    Query rows(transaction.database,
               "SELECT DISTINCT destination FROM delivery WHERE study_id = ? AND state = 0 AND stage = 4", study);
    while (rows.next()) destinations.push_back(rows.text());
    NODE_RETURN_IF_ERROR(rows.status());
  }
  for (const std::string& destination : destinations) {
    NODE_RETURN_IF_ERROR(refresh_blocked(transaction, study, destination));
  }
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
  if (const auto pause = destination_not_before_.find(destination); pause != destination_not_before_.end()) {
    if (pause->second > due_now()) return Look{.found = false, .next_due = pause->second};
    destination_not_before_.erase(pause);
  }
  NODE_RETURN_IF_ERROR(Query(database,
                             "UPDATE delivery SET delayed = 0 WHERE state = 0 AND delayed = 1 AND destination = ? "
                             "AND due_at <= ?",
                             destination, due_now())
                           .run());
  Query rows(database,
             "SELECT d.id, d.stage, s.uid, coalesce(r.uid, i.sop_instance_uid), coalesce(r.sop_class_uid, "
             "i.sop_class_uid), coalesce(r.transfer_syntax_uid, i.transfer_syntax_uid), coalesce(r.file_key, "
             "i.file_key), coalesce(r.file_bytes, i.file_bytes), coalesce(r.file_sha256, i.file_sha256), d.attempts, "
             "d.priority, coalesce(d.released_at, d.created_at) FROM delivery d JOIN study s ON s.id = d.study_id LEFT "
             "JOIN instance i ON i.id = "
             "d.instance_id LEFT JOIN result r ON r.id = d.result_id WHERE d.state = 0 AND d.blocked = 0 AND "
             "d.delayed = 0 AND d.destination = ? AND "
             // A corrected image waits for the version that it replaces: what comes last is what an archive keeps.
             "NOT EXISTS (SELECT 1 FROM instance v JOIN delivery e ON e.instance_id = v.id WHERE "
             "v.sop_instance_uid = i.sop_instance_uid AND v.current = 0 AND v.state != 4 AND v.version < i.version "
             "AND e.destination = d.destination AND e.state = 0) ORDER BY d.attempts > 0 AND d.priority < 2000, "
             "d.priority DESC, d.id",
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
    delivery.pending_for = milliseconds(std::max<std::int64_t>(due_now() - rows.integer(), 0));
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

// So that one request speaks of a whole study.
constexpr std::int64_t kAskForCommitmentAfterMs = 2'000;

Status SqliteStudyStore::finish_delivery(ClaimToken token, const DeliveryOutcome& outcome) {
  return writer_.run(Durability::kPower, [&](Transaction& transaction) -> Status {
    const auto id = delivery_claims_.find(token);
    if (!id) return no_longer_held("finish delivery");
    const std::int64_t delay_ms = std::max<std::int64_t>(outcome.retry_in.count(), 0);
    const bool pending = outcome.state == DeliveryState::kPending;
    Query row(transaction.database,
              "UPDATE delivery SET state = ?2, attempts = attempts + 1, delayed = ?3, delay_ms = ?4, due_at = ?5, "
              "delivered_at = ?6, peer_status = ?7, text = ?8, commitment = ?9, commitment_due = ?10, tried_at = ?11 "
              "WHERE id = ?1 "
              "RETURNING study_id, destination, "
              "result_id IS NOT NULL",
              *id, static_cast<int>(outcome.state), pending && delay_ms > 0, delay_ms, due_now() + delay_ms,
              outcome.state == DeliveryState::kDelivered ? std::optional(now()) : std::nullopt,
              outcome.peer_status ? std::optional<std::int64_t>(*outcome.peer_status) : std::nullopt, outcome.text,
              outcome.state == DeliveryState::kDelivered && outcome.to_be_committed,
              due_now() + kAskForCommitmentAfterMs, now());
    if (!row.next()) return row.status().ok() ? not_found("finish delivery: no such row") : row.status();
    const std::int64_t study = row.integer();
    const std::string destination = row.text();
    const bool is_result = row.boolean();
    NODE_RETURN_IF_ERROR(row.run());
    delivery_claims_.drop(transaction, *id);
    if (is_result && outcome.state == DeliveryState::kDelivered) {
      NODE_RETURN_IF_ERROR(time_delivery(transaction, study));
    }
    // Of an original a later version may have waited for it.
    if (pending || !is_result) signal_on_commit(transaction, deliveries_at(destination));
    NODE_RETURN_IF_ERROR(refresh_rest(transaction, study));
    return refresh_blocked(transaction, study, destination);
  });
}

// Counts how long a result took that a peer has now.
Status SqliteStudyStore::time_delivery(Transaction& transaction, std::int64_t study) {
  Query row(transaction.database, "SELECT max(last_instance_at, open_since) FROM study WHERE id = ?", study);
  if (!row.next()) return row.status();
  const double seconds = static_cast<double>(std::max<std::int64_t>(now() - row.integer(), 0)) / 1000;
  transaction.on_commit([this, seconds] { delivered_after_.observe(seconds); });
  return ok_status();
}

Status SqliteStudyStore::postpone_deliveries(const std::string& destination, const std::vector<ClaimToken>& tokens,
                                             milliseconds retry_in, const std::string& text) {
  return writer_.run(Durability::kProcess, [&](Transaction& transaction) -> Status {
    for (const ClaimToken token : tokens) {
      const auto id = delivery_claims_.find(token);
      if (!id) continue;
      if (!text.empty()) {
        // `due_at` for a person: what is not `delayed` is offered without a look at it, here once the pause is over.
        NODE_RETURN_IF_ERROR(
            Query(transaction.database,
                  "UPDATE delivery SET peer_status = NULL, text = ?2, tried_at = ?3, due_at = ?4 WHERE id = ?1", *id,
                  text, now(), due_now() + retry_in.count())
                .run());
      }
      delivery_claims_.drop(transaction, *id);
    }
    destination_not_before_[destination] = due_now() + retry_in.count();  // Needs no undoing: it costs time only.
    signal_on_commit(transaction, deliveries_at(destination));
    return ok_status();
  });
}

Result<std::map<std::string, int>> SqliteStudyStore::set_destinations(const std::vector<std::string>& names) {
  std::map<std::string, int> parked;
  Status set = writer_.run(Durability::kPower, [&](Transaction& transaction) -> Status {
    destinations_ = "\n" + queries::join_lines(names) + "\n";  // Needs no undoing: the caller does not go on.
    NODE_ASSIGN_OR_RETURN(parked, park_elsewhere(transaction, std::nullopt));
    return release_parked_elsewhere(transaction);
  });
  if (!set.ok()) return set.within("set destinations");
  return parked;
}

// PARKED holds a study back from retention as PENDING does, so rest_since stays as it is.
Result<std::map<std::string, int>> SqliteStudyStore::park_elsewhere(Transaction& transaction,
                                                                    std::optional<std::int64_t> study) {
  std::map<std::string, int> parked;
  if (!destinations_) return parked;
  Query rows(transaction.database,
             "UPDATE delivery SET state = 2, peer_status = NULL, text = ?2 WHERE state = 0 AND "
             "(?3 IS NULL OR study_id = ?3) AND instr(?1, char(10) || destination || char(10)) = 0 "
             "RETURNING study_id, destination",
             *destinations_, kNoSuchDestination, study);
  std::set<std::pair<std::int64_t, std::string>> gone;
  while (rows.next()) {
    const std::int64_t of = rows.integer();
    const std::string destination = rows.text();
    ++parked[destination];
    gone.emplace(of, destination);
  }
  NODE_RETURN_IF_ERROR(rows.status());
  for (const auto& [of, destination] : gone) NODE_RETURN_IF_ERROR(refresh_blocked(transaction, of, destination));
  return parked;
}

Status SqliteStudyStore::release_parked_elsewhere(Transaction& transaction) {
  std::set<std::pair<std::int64_t, std::string>> released;  // Study and destination.
  Query rows(transaction.database,
             "UPDATE delivery SET state = 0, attempts = 0, delayed = 0, delay_ms = 0, due_at = ?3, released_at = ?3, "
             "text = '' WHERE state = 2 AND text = ?2 AND instr(?1, char(10) || destination || char(10)) > 0 "
             "RETURNING study_id, destination",
             *destinations_, kNoSuchDestination, due_now());
  while (rows.next()) {
    const std::int64_t study = rows.integer();
    released.emplace(study, rows.text());
  }
  NODE_RETURN_IF_ERROR(rows.status());
  for (const auto& [study, destination] : released) {
    NODE_RETURN_IF_ERROR(refresh_blocked(transaction, study, destination));
    signal_on_commit(transaction, deliveries_at(destination));
  }
  return ok_status();
}

Result<DeliveryState> SqliteStudyStore::release_delivery(std::int64_t id) {
  DeliveryState was{};
  Status released = writer_.run(Durability::kPower, [&](Transaction& transaction) -> Status {
    const std::string name = "release delivery " + std::to_string(id);
    Query row(transaction.database,
              "SELECT d.state, d.released_at IS NOT NULL, d.study_id, d.destination, coalesce(r.purged_at, "
              "i.purged_at), coalesce(i.current, 1) FROM delivery d LEFT JOIN instance i ON i.id = d.instance_id LEFT "
              "JOIN result r ON r.id = d.result_id WHERE d.id = ?",
              id);
    if (!row.next()) return row.status().ok() ? not_found(name + ": no such delivery") : row.status();
    was = static_cast<DeliveryState>(row.integer());
    const bool released_before = row.boolean();
    // Who has asked, but has not heard, may ask again.
    if (was == DeliveryState::kDelivered && released_before) return ok_status();
    if (was == DeliveryState::kDelivered) return invalid_argument(name + ": it is not parked, but delivered");
    const std::int64_t study = row.integer();
    const std::string destination = row.text();
    if (was == DeliveryState::kPending) {  // Only its wait for the next attempt, and its destination's, ends.
      destination_not_before_.erase(destination);
      signal_on_commit(transaction, deliveries_at(destination));
      return Query(transaction.database,
                   "UPDATE delivery SET delayed = 0, delay_ms = 0, due_at = ?2 WHERE id = ?1 AND due_at > ?2", id,
                   due_now())
          .run();
    }
    if (row.integer_or_null()) return invalid_argument(name + ": its object was deleted, there is nothing to send");
    if (!row.boolean()) return invalid_argument(name + ": a corrected version of the image is there; give this one up");
    if (destinations_ && destinations_->find('\n' + destination + '\n') == std::string::npos) {
      return invalid_argument(name + ": its destination " + destination +
                              " is not in the configuration; bring it back there, or give the delivery up");
    }
    NODE_RETURN_IF_ERROR(Query(transaction.database,
                               "UPDATE delivery SET state = 0, attempts = 0, delayed = 0, delay_ms = 0, due_at = ?2, "
                               "released_at = ?2, given_up_at = NULL, commitment_refusals = 0 WHERE id = ?1",
                               id, due_now())
                             .run());
    destination_not_before_.erase(destination);  // A person asks for it now; without a commit it costs an attempt only.
    signal_on_commit(transaction, deliveries_at(destination));
    NODE_RETURN_IF_ERROR(refresh_rest(transaction, study));  // One that was given up had let it come to rest.
    return refresh_blocked(transaction, study, destination);
  });
  if (!released.ok()) return released;
  return was;
}

// Nothing waited for it: PARKED blocks no more than GIVEN_UP.
Status SqliteStudyStore::give_up_delivery(std::int64_t id) {
  return writer_.run(Durability::kPower, [&](Transaction& transaction) -> Status {
    const std::string name = "give up delivery " + std::to_string(id);
    Query row(transaction.database, "SELECT state, study_id FROM delivery WHERE id = ?", id);
    if (!row.next()) return row.status().ok() ? not_found(name + ": no such delivery") : row.status();
    const auto state = static_cast<DeliveryState>(row.integer());
    const std::int64_t study = row.integer();
    if (state == DeliveryState::kGivenUp) return ok_status();
    if (state != DeliveryState::kParked) return invalid_argument(name + ": it is not parked");
    NODE_RETURN_IF_ERROR(
        Query(transaction.database, "UPDATE delivery SET state = 3, given_up_at = ?2 WHERE id = ?1", id, now()).run());
    return refresh_rest(transaction, study);
  });
}

}  // namespace node::storage
