#include "storage/sqlite_study_queries.h"

#include <algorithm>
#include <limits>

namespace node::storage {

std::string_view to_string(InstanceState state) {
  switch (state) {
    case InstanceState::kReceived: return "received";
    case InstanceState::kAnalysed: return "analysed";
    case InstanceState::kSkipped: return "skipped";
    case InstanceState::kFailed: return "failed";
    case InstanceState::kConflict: return "conflict";
  }
  return "unknown";
}

std::string_view to_string(StudyState state) {
  switch (state) {
    case StudyState::kOpen: return "open";
    case StudyState::kClosed: return "closed";
    case StudyState::kFinished: return "finished";
    case StudyState::kNotRouted: return "not_routed";
    case StudyState::kFailed: return "failed";
  }
  return "unknown";
}

std::string_view to_string(DeliveryState state) {
  switch (state) {
    case DeliveryState::kPending: return "pending";
    case DeliveryState::kDelivered: return "delivered";
    case DeliveryState::kParked: return "parked";
    case DeliveryState::kGivenUp: return "given_up";
  }
  return "unknown";
}

namespace queries {
namespace {

// The SQL writes states as numbers, because a partial index is used only where its condition stands as a literal.
static_assert(static_cast<int>(InstanceState::kReceived) == 0 && static_cast<int>(InstanceState::kAnalysed) == 1 &&
              static_cast<int>(InstanceState::kSkipped) == 2 && static_cast<int>(InstanceState::kFailed) == 3 &&
              static_cast<int>(InstanceState::kConflict) == 4);
static_assert(static_cast<int>(StudyState::kOpen) == 0 && static_cast<int>(StudyState::kClosed) == 1 &&
              static_cast<int>(StudyState::kFinished) == 2 && static_cast<int>(StudyState::kNotRouted) == 3 &&
              static_cast<int>(StudyState::kFailed) == 4);
static_assert(static_cast<int>(DeliveryState::kPending) == 0 && static_cast<int>(DeliveryState::kDelivered) == 1 &&
              static_cast<int>(DeliveryState::kParked) == 2 && static_cast<int>(DeliveryState::kGivenUp) == 3);

std::optional<WallTime> optional_time(const std::optional<std::int64_t>& ms) {
  return ms ? std::optional(from_ms(*ms)) : std::nullopt;
}

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

// Not kDataLoss: one damaged row must not stand for a store that takes no writes.
Result<Uid> stored_uid(const std::string& text) {
  Result<Uid> uid = Uid::parse(text);
  if (!uid.ok()) return internal_error("a row of the database holds no " + uid.status().message());
  return uid;
}

StoredFile read_file(Query& row) {
  StoredFile file;
  file.key = row.text();
  file.size_bytes = static_cast<std::uint64_t>(row.integer());
  file.sha256_hex = row.text();
  return file;
}

const std::string kSelectInstance =
    "SELECT i.id, i.sop_instance_uid, i.version, s.uid, i.series_instance_uid, i.sop_class_uid, "
    "i.transfer_syntax_uid, i.modality, i.accession_number, i.peer, i.file_key, i.file_bytes, i.file_sha256, i.rule, "
    "i.body_part, i.body_part_evidence, i.tasks, i.route_reason, i.priority, i.results_to, i.shadow, i.forward_to, "
    "i.pending_route, i.reportable, i.state, i.reason, i.attempts, i.received_at, i.predicted_at, i.purged_at "
    "FROM instance i JOIN study s ON s.id = i.study_id ";

Result<InstanceRecord> read_instance(Query& row) {
  const std::int64_t id = row.integer();
  NODE_ASSIGN_OR_RETURN(Uid sop_instance_uid, stored_uid(row.text()));
  const int version = row.small();
  NODE_ASSIGN_OR_RETURN(Uid study_instance_uid, stored_uid(row.text()));
  InstanceRecord record{.id = id,
                        .sop_instance_uid = std::move(sop_instance_uid),
                        .version = version,
                        .study_instance_uid = std::move(study_instance_uid)};
  record.series_instance_uid = row.text();
  record.sop_class_uid = row.text();
  record.transfer_syntax_uid = row.text();
  record.modality = row.text();
  record.accession_number = row.text();
  record.peer = row.text();
  record.file = read_file(row);
  record.route.rule = row.text();
  record.route.body_part = row.text();
  record.route.body_part_evidence = row.text();
  record.route.tasks = split_lines(row.text());
  record.route.reason = row.text();
  record.route.priority = row.small();
  record.route.results_to = split_lines(row.text());
  record.route.shadow = row.boolean();
  record.route.forward_to = split_lines(row.text());
  record.route.pending = row.text();
  record.reportable = row.boolean();
  record.state = static_cast<InstanceState>(row.integer());
  record.reason = row.text();
  record.attempts = row.small();
  record.received_at = from_ms(row.integer());
  record.predicted_at = optional_time(row.integer_or_null());
  record.purged_at = optional_time(row.integer_or_null());
  return record;
}

Status load_predictions(Database& database, InstanceRecord& record) {
  Query rows(database, "SELECT task, model_version, content, blob FROM prediction WHERE instance_id = ?", record.id);
  while (rows.next()) {
    StoredPrediction prediction;
    prediction.task = rows.text();
    prediction.model_version = rows.text();
    prediction.content = rows.text();
    prediction.blob = rows.text();
    record.predictions.push_back(std::move(prediction));
  }
  const auto place = [&](const StoredPrediction& prediction) {
    return std::find(record.route.tasks.begin(), record.route.tasks.end(), prediction.task);
  };
  std::stable_sort(record.predictions.begin(), record.predictions.end(),
                   [&](const StoredPrediction& a, const StoredPrediction& b) { return place(a) < place(b); });
  return rows.status();
}

const std::string kSelectStudy =
    "SELECT id, uid, accession_number, state, reason, revision, opened_at, "
    "last_instance_at, closed_at, finished_at, urgent FROM study ";

Result<StudySummary> read_study(Database& database, Query& row) {
  StudySummary study;
  const std::int64_t id = study.key = row.integer();
  study.study_instance_uid = row.text();
  study.accession_number = row.text();
  study.state = static_cast<StudyState>(row.integer());
  study.reason = row.text();
  study.revision = row.small();
  study.opened_at = from_ms(row.integer());
  study.last_instance_at = from_ms(row.integer());
  study.closed_at = optional_time(row.integer_or_null());
  study.finished_at = optional_time(row.integer_or_null());
  study.urgent = row.text();

  // Superseded versions are no images of the study any more; conflicts are counted apart.
  Query instances(
      database,
      "SELECT count(*) FILTER (WHERE current = 1), count(*) FILTER (WHERE current = 1 AND state = 0), "
      "count(*) FILTER (WHERE current = 1 AND state = 1), count(*) FILTER (WHERE current = 1 AND state = 2), "
      "count(*) FILTER (WHERE current = 1 AND state = 3), count(*) FILTER (WHERE state = 4) "
      "FROM instance WHERE study_id = ?",
      id);
  if (!instances.next()) return instances.status();
  study.instances = instances.small();
  study.waiting = instances.small();
  study.analysed = instances.small();
  study.skipped = instances.small();
  study.failed = instances.small();
  study.conflicts = instances.small();

  Query reasons(database,
                "SELECT coalesce(group_concat(reason, '; '), '') FROM (SELECT DISTINCT reason FROM instance "
                "WHERE study_id = ? AND state IN (2, 3) AND current = 1 LIMIT 5)",
                id);
  if (!reasons.next()) return reasons.status();
  study.not_analysed = reasons.text();

  Query deliveries(
      database,
      "SELECT count(*) FILTER (WHERE state = 0), count(*) FILTER (WHERE state = 1), "
      "count(*) FILTER (WHERE state = 2), count(*) FILTER (WHERE state = 3) FROM delivery WHERE study_id = ?",
      id);
  if (!deliveries.next()) return deliveries.status();
  study.deliveries_pending = deliveries.small();
  study.deliveries_done = deliveries.small();
  study.deliveries_parked = deliveries.small();
  study.deliveries_given_up = deliveries.small();
  return study;
}

std::int64_t count(Database& database, std::string_view sql) {
  Query query(database, sql);
  return query.next() ? query.integer() : 0;
}

}  // namespace

std::string join_lines(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) {
    if (!text.empty()) text += '\n';
    text += line;
  }
  return text;
}

namespace {

Result<std::optional<HeldInstance>> read_held(Query& row) {
  if (!row.next()) {
    NODE_RETURN_IF_ERROR(row.status());
    return std::optional<HeldInstance>();
  }
  HeldInstance held;
  held.version = row.small();
  held.header_digest = row.text();
  held.file = read_file(row);
  held.purged = row.boolean();
  return std::optional(std::move(held));
}

}  // namespace

Result<std::optional<HeldInstance>> find_instance(Database& database, const Uid& sop_instance_uid) {
  Query row(database,
            "SELECT version, header_digest, file_key, file_bytes, file_sha256, purged_at IS NOT NULL FROM instance "
            "WHERE sop_instance_uid = ? AND current = 1",
            sop_instance_uid.str());
  return read_held(row);
}

// Each part by an index of its own.
Result<std::optional<HeldInstance>> find_bytes(Database& database, const Uid& sop_instance_uid,
                                               const std::string& sha256_hex) {
  const std::string of_instance =
      "SELECT version, header_digest, file_key, file_bytes, file_sha256, purged_at IS NOT NULL AS purged FROM instance "
      "WHERE sop_instance_uid = ?1 AND file_sha256 = ?2 AND ";
  Query row(database,
            of_instance + "current = 1 UNION ALL " + of_instance + "current = 0 AND state != 4 UNION ALL " +
                of_instance +
                "state = 4 UNION ALL SELECT revision, '', file_key, file_bytes, file_sha256, purged_at IS NOT NULL "
                "FROM result WHERE uid = ?1 AND file_sha256 = ?2 ORDER BY purged LIMIT 1",
            sop_instance_uid.str(), sha256_hex);
  return read_held(row);
}

Result<bool> is_own_result(Database& database, const Uid& sop_instance_uid) {
  Query row(database, "SELECT 1 FROM result WHERE uid = ?", sop_instance_uid.str());
  const bool found = row.next();
  NODE_RETURN_IF_ERROR(row.status());
  return found;
}

Result<InstanceRecord> load_instance(Database& database, std::int64_t id) {
  Query row(database, kSelectInstance + "WHERE i.id = ?", id);
  if (row.next()) return read_instance(row);
  return row.status().ok() ? not_found("instance " + std::to_string(id)) : row.status();
}

Result<InstanceRecord> show_instance(Database& database, const Uid& sop_instance_uid) {
  Query row(database, kSelectInstance + "WHERE i.sop_instance_uid = ? AND i.current = 1", sop_instance_uid.str());
  if (!row.next()) return row.status().ok() ? not_found("instance " + sop_instance_uid.str()) : row.status();
  NODE_ASSIGN_OR_RETURN(InstanceRecord record, read_instance(row));
  NODE_RETURN_IF_ERROR(load_predictions(database, record));
  return record;
}

Result<std::vector<InstanceRecord>> list_instances(Database& database, const Uid& study_instance_uid,
                                                   bool current_only) {
  std::vector<InstanceRecord> records;
  Query rows(database, kSelectInstance + "WHERE s.uid = ? AND i.current >= ? ORDER BY i.id", study_instance_uid.str(),
             current_only);
  while (rows.next()) {
    NODE_ASSIGN_OR_RETURN(InstanceRecord record, read_instance(rows));
    NODE_RETURN_IF_ERROR(load_predictions(database, record));
    records.push_back(std::move(record));
  }
  NODE_RETURN_IF_ERROR(rows.status());
  return records;
}

Result<std::vector<ResultRecord>> list_results(Database& database, std::int64_t study_id) {
  std::vector<ResultRecord> records;
  Query rows(database,
             "SELECT uid, kind, source_uid, task, revision, series_instance_uid, sop_class_uid, transfer_syntax_uid, "
             "file_key, file_bytes, "
             "file_sha256 FROM result WHERE study_id = ? ORDER BY id",
             study_id);
  while (rows.next()) {
    NODE_ASSIGN_OR_RETURN(Uid uid, stored_uid(rows.text()));
    ResultRecord record{.sop_instance_uid = std::move(uid)};
    record.kind = rows.text();
    record.source_uid = rows.text();
    record.task = rows.text();
    record.revision = rows.small();
    record.series_instance_uid = rows.text();
    record.sop_class_uid = rows.text();
    record.transfer_syntax_uid = rows.text();
    record.file = read_file(rows);
    records.push_back(std::move(record));
  }
  NODE_RETURN_IF_ERROR(rows.status());
  return records;
}

namespace {

// The ids of the few studies that a filter looks for, to begin with them: SQLite would go through all studies instead.
// ?2: what they begin with, ?3: what comes behind all that do.
std::string few_studies(const StudyFilter& filter) {
  if (!filter.search.empty()) {
    const std::string limit = " LIMIT " + std::to_string(kSearchMax) + ")";
    return "SELECT * FROM (SELECT id AS found FROM study WHERE uid >= ?2 AND uid < ?3" + limit +
           " UNION SELECT * FROM (SELECT id FROM study WHERE accession_number >= ?2 AND accession_number < ?3" + limit +
           " UNION SELECT study_id FROM instance WHERE sop_instance_uid = ?2 AND current = 1";
  }
  if (filter.conflicts) {
    return "SELECT DISTINCT study_id AS found FROM instance INDEXED BY study_with_conflict WHERE state = 4";
  }
  if (filter.failures) {
    return "SELECT id AS found FROM study WHERE state = 4 UNION "
           "SELECT study_id FROM instance INDEXED BY study_with_failure WHERE state = 3 AND current = 1";
  }
  if (filter.parked) return "SELECT DISTINCT study_id AS found FROM delivery WHERE state = 2";
  return "";
}

}  // namespace

Result<std::vector<StudySummary>> list_studies(Database& database, const StudyFilter& filter) {
  const std::string few = few_studies(filter);
  std::string sql = kSelectStudy;
  if (!few.empty())
    sql.replace(sql.rfind("FROM study "), std::string::npos, "FROM (" + few + ") CROSS JOIN study ON id = found ");
  sql += "WHERE id < ?4";
  if (filter.state) sql += " AND state = " + std::to_string(static_cast<int>(*filter.state));
  if (filter.conflicts) sql += " AND EXISTS (SELECT 1 FROM instance WHERE study_id = study.id AND state = 4)";
  if (filter.failures) {
    sql +=
        " AND (state = 4 OR EXISTS (SELECT 1 FROM instance WHERE study_id = study.id AND state = 3 AND current = 1))";
  }
  if (filter.parked) sql += " AND EXISTS (SELECT 1 FROM delivery WHERE study_id = study.id AND state = 2)";
  // The last code point of Unicode: behind every text that begins with `search`.
  Query rows(database, sql + " ORDER BY id DESC LIMIT ?1", filter.limit, filter.search,
             filter.search + "\xf4\x8f\xbf\xbf",
             filter.before > 0 ? filter.before : std::numeric_limits<std::int64_t>::max());
  std::vector<StudySummary> studies;
  while (rows.next()) {
    NODE_ASSIGN_OR_RETURN(StudySummary study, read_study(database, rows));
    studies.push_back(std::move(study));
  }
  NODE_RETURN_IF_ERROR(rows.status());
  return studies;
}

Result<StudySummary> find_study(Database& database, const Uid& study_instance_uid) {
  Query row(database, kSelectStudy + "WHERE uid = ?", study_instance_uid.str());
  if (row.next()) return read_study(database, row);
  return row.status().ok() ? not_found("study " + study_instance_uid.str()) : row.status();
}

Result<std::vector<DeliveryRecord>> list_deliveries(Database& database, const DeliveryFilter& filter) {
  std::vector<DeliveryRecord> records;
  std::string where = "WHERE d.id < ?3";
  if (filter.state) where += " AND d.state = " + std::to_string(static_cast<int>(*filter.state));
  // "+": the few of one study are sorted; SQLite would go through all deliveries in their order instead.
  if (filter.study) where += " AND d.study_id = (SELECT id FROM study WHERE uid = ?1)";
  Query rows(database,
             "SELECT d.id, d.destination, coalesce(r.uid, i.sop_instance_uid), s.uid, coalesce(r.kind, 'original'), "
             "d.state, d.attempts, d.created_at, d.due_at, d.delivered_at, d.peer_status, d.text, d.commitment, "
             "d.given_up_at, d.tried_at, d.released_at FROM delivery d "
             "JOIN study s ON s.id = d.study_id LEFT JOIN instance i ON i.id = d.instance_id "
             "LEFT JOIN result r ON r.id = d.result_id " +
                 where + (filter.study ? " ORDER BY +d.id DESC LIMIT ?2" : " ORDER BY d.id DESC LIMIT ?2"),
             filter.study ? filter.study->str() : "", filter.limit,
             filter.before > 0 ? filter.before : std::numeric_limits<std::int64_t>::max());
  while (rows.next()) {
    DeliveryRecord record;
    record.id = rows.integer();
    record.destination = rows.text();
    record.sop_instance_uid = rows.text();
    record.study_instance_uid = rows.text();
    record.kind = rows.text();
    record.state = static_cast<DeliveryState>(rows.integer());
    record.attempts = rows.small();
    record.created_at = from_ms(rows.integer());
    record.due_at = from_ms(rows.integer());
    record.delivered_at = optional_time(rows.integer_or_null());
    if (const auto status = rows.integer_or_null()) record.peer_status = static_cast<std::uint16_t>(*status);
    record.text = rows.text();
    static constexpr const char* kCommitments[] = {"", "due", "asked", "committed"};
    record.commitment = kCommitments[rows.integer() & 3];
    record.given_up_at = optional_time(rows.integer_or_null());
    record.tried_at = optional_time(rows.integer_or_null());
    record.released_at = optional_time(rows.integer_or_null());
    records.push_back(std::move(record));
  }
  NODE_RETURN_IF_ERROR(rows.status());
  return records;
}

Result<std::vector<StoredFile>> known_files(Database& database) {
  std::vector<StoredFile> files;
  Query rows(database,
             "SELECT file_key, file_bytes, file_sha256 FROM instance WHERE purged_at IS NULL "
             "UNION ALL SELECT file_key, file_bytes, file_sha256 FROM result WHERE purged_at IS NULL");
  while (rows.next()) files.push_back(read_file(rows));
  NODE_RETURN_IF_ERROR(rows.status());
  return files;
}

StoreStats stats(Database& database) {
  StoreStats stats;
  stats.instances_received = count(database, "SELECT coalesce(max(id), 0) FROM instance");  // Rows are never deleted.
  Query waiting(database,
                "SELECT count(*), min(received_at) FROM instance INDEXED BY instance_waiting WHERE state = 0");
  if (waiting.next()) {
    stats.instances_waiting = waiting.integer();
    if (const auto since = waiting.integer_or_null()) stats.waiting_since = from_ms(*since);
  }
  stats.studies_open = count(database, "SELECT count(*) FROM study WHERE state = 0");
  stats.deliveries_pending = count(database, "SELECT count(*) FROM delivery WHERE state = 0");
  stats.deliveries_parked = count(database, "SELECT count(*) FROM delivery WHERE state = 2");
  stats.deliveries_given_up = count(database, "SELECT count(*) FROM delivery WHERE state = 3");
  stats.conflicts = count(database, "SELECT count(*) FROM instance INDEXED BY instance_conflict WHERE state = 4");
  return stats;
}

}  // namespace queries
}  // namespace node::storage
