#include "storage/sqlite_study_store.h"

#include <algorithm>

#include "storage/spool_check.h"
#include "storage/sqlite_schema.h"
#include "storage/sqlite_study_store_impl.h"

namespace node::storage {

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
  const bool is_new = is_without_database(config.directory);
  NODE_ASSIGN_OR_RETURN(auto database, Database::open(path, Database::Mode::kReadWrite));
  // Before its log is made: SQLite gives that to the owner of the database.
  if (is_new) give_to_owner(config.directory, path);
  const auto prepare = [&]() -> Result<RestClock> {
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
    NODE_RETURN_IF_ERROR(Query(*database,
                               "UPDATE delivery SET due_at = ?1 + delay_ms "
                               "WHERE state = 0 AND delayed = 1 AND due_at > ?1 + delay_ms",
                               now)
                             .run());
    return RestClock::start(*database, clock);
  };
  const Result<RestClock> rest_clock = prepare();
  NODE_RETURN_IF_ERROR(rest_clock.status().within("open " + path.string()));
  NODE_RETURN_IF_ERROR(file_system.sync_directory(config.directory).within("open " + path.string()));
  NODE_ASSIGN_OR_RETURN(Connections readers, connect(path));
  return std::unique_ptr<StudyStore>(
      new SqliteStudyStore(config, clock, *rest_clock, std::move(lock), std::move(database), std::move(readers)));
}

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
    if (looked.next_due) wake = std::min(wake, steady_time_of(*looked.next_due));
    wakeups_.wait(channel, seen, wake);
  }
  return unavailable("the store has stopped");
}

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
  stats.stop_not_counted = rest_clock_.not_counted();
  stats.delivered_after = delivered_after_.snapshot();
  return stats;
}

Result<std::unique_ptr<StudyStore>> open_sqlite_study_store(const config::StorageConfig& config, Clock& clock,
                                                            FileSystem& file_system) {
  return SqliteStudyStore::open(config, clock, file_system);
}

}  // namespace node::storage
