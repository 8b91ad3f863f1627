#include <algorithm>
#include <limits>

#include "storage/sqlite_study_store_impl.h"

namespace node::storage {

using Durability = GroupCommit::Durability;

// Keeps study.rest_since: since when the study is at an end and no delivery of it is PENDING, PARKED or to be
// committed.
Status SqliteStudyStore::refresh_rest(Transaction& transaction, std::int64_t study) {
  return Query(transaction.database,
               "UPDATE study SET rest_since = iif(rest_since IS NULL, ?2, NULL) WHERE id = ?1 AND "
               "(rest_since IS NULL) = (state IN (2, 3, 4) AND waits = 0 AND NOT EXISTS "
               "(SELECT 1 FROM delivery WHERE study_id = ?1 AND (state IN (0, 2) OR commitment IN (1, 2))))",
               study, rest_clock_.now())
      .run();
}

Result<PurgedFiles> SqliteStudyStore::purge(const PurgeLimits& limits, int files_max) {
  PurgedFiles purged;
  const auto longest_at_rest = [&](Database& database, const char* sql, const auto& kept)
      -> Result<std::optional<std::pair<std::int64_t, std::int64_t>>> {  // Since when, and the study.
    if (!kept) return std::optional<std::pair<std::int64_t, std::int64_t>>();
    // What nobody keeps goes whatever a clock that was wrong once has written.
    Query row(database, sql,
              kept->count() == 0 ? std::numeric_limits<std::int64_t>::max()
                                 : rest_clock_.now() - static_cast<std::int64_t>(kept->count()));
    if (!row.next()) {
      NODE_RETURN_IF_ERROR(row.status());
      return std::optional<std::pair<std::int64_t, std::int64_t>>();
    }
    const std::int64_t since = row.integer();
    return std::optional(std::pair(since, row.integer()));
  };
  Status marked = writer_.run(Durability::kPower, [&](Transaction& transaction) -> Status {
    purged = {};
    Database& database = transaction.database;
    transaction.on_rollback([this, before = rest_clock_] { rest_clock_ = before; });
    NODE_RETURN_IF_ERROR(rest_clock_.keep(database));
    for (int left = files_max; left > 0;) {
      NODE_ASSIGN_OR_RETURN(const auto originals_of,
                            longest_at_rest(database,
                                            "SELECT rest_since, id FROM study WHERE originals = 1 AND rest_since IS "
                                            "NOT NULL AND rest_since <= ? ORDER BY rest_since, id LIMIT 1",
                                            limits.originals_kept));
      NODE_ASSIGN_OR_RETURN(const auto results_of,
                            longest_at_rest(database,
                                            "SELECT rest_since, id FROM study WHERE results = 1 AND rest_since IS "
                                            "NOT NULL AND rest_since <= ? ORDER BY rest_since, id LIMIT 1",
                                            limits.results_kept));
      if (!originals_of && !results_of) break;
      const bool originals = originals_of && (!results_of || *originals_of <= *results_of);
      const std::int64_t study = originals ? originals_of->second : results_of->second;
      NODE_ASSIGN_OR_RETURN(const auto files, purge_study(transaction, originals, study, left));
      left -= static_cast<int>(files.size());
      auto& kind = originals ? purged.originals : purged.results;
      kind.insert(kind.end(), files.begin(), files.end());
    }
    return ok_status();
  });
  if (!marked.ok()) return marked.within("purge");
  return purged;
}

Result<std::vector<StoredFile>> SqliteStudyStore::purge_study(Transaction& transaction, bool originals,
                                                              std::int64_t study, int files_max) {
  const std::string table = originals ? "instance" : "result";
  std::vector<StoredFile> files;
  {
    Query rows(transaction.database,
               "UPDATE " + table + " SET purged_at = ?2 WHERE id IN (SELECT id FROM " + table +
                   " WHERE study_id = ?1 AND purged_at IS NULL LIMIT ?3) RETURNING file_key, file_bytes, file_sha256",
               study, now(), files_max);
    while (rows.next()) {
      StoredFile file;
      file.key = rows.text();
      file.size_bytes = static_cast<std::uint64_t>(rows.integer());
      file.sha256_hex = rows.text();
      files.push_back(std::move(file));
    }
    NODE_RETURN_IF_ERROR(rows.status());
  }
  if (static_cast<int>(files.size()) < files_max) {
    const std::string column = originals ? "originals" : "results";
    NODE_RETURN_IF_ERROR(Query(transaction.database, "UPDATE study SET " + column + " = 0 WHERE id = ?", study).run());
  }
  return files;
}

}  // namespace node::storage
