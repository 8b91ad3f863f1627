#include "storage/sqlite_schema.h"

#include <openssl/rand.h>

#include <array>

namespace node::storage {
namespace {

// Entry i leads from version i to i + 1. Never edit one that was released: add the next.
//
// Numbers of states are those of the enums in study_store.h. Each partial index holds only what one kind of claim looks
// for, in the order in which it is handed out, so that claiming costs the same with a thousand rows and with a million.
// `waits`, `blocked` and `delayed` say what would otherwise be a search: each is kept by one function of the store.
constexpr std::array<const char*, 17> kMigrations = {R"sql(
CREATE TABLE study(
  id INTEGER PRIMARY KEY,
  uid TEXT NOT NULL UNIQUE,
  accession_number TEXT NOT NULL,
  state INTEGER NOT NULL,
  reason TEXT NOT NULL DEFAULT '',
  revision INTEGER NOT NULL DEFAULT 1,
  priority INTEGER NOT NULL,
  waits INTEGER NOT NULL DEFAULT 0,     -- 1: an instance of it is RECEIVED.
  quiet_ms INTEGER NOT NULL,            -- Of the newest instance's peer.
  opened_at INTEGER NOT NULL,           -- All times: milliseconds since 1970, UTC.
  last_instance_at INTEGER NOT NULL,
  close_due_at INTEGER NOT NULL,
  closed_at INTEGER,
  finished_at INTEGER);
CREATE INDEX study_by_state ON study(state);
CREATE INDEX study_to_close ON study(close_due_at) WHERE state = 0;
CREATE INDEX study_ready ON study(priority DESC, closed_at, id) WHERE state = 1 AND waits = 0;

CREATE TABLE instance(
  id INTEGER PRIMARY KEY,
  study_id INTEGER NOT NULL REFERENCES study(id),
  sop_instance_uid TEXT NOT NULL,
  version INTEGER NOT NULL,
  current INTEGER NOT NULL,             -- 1: the newest version that is no conflict.
  series_instance_uid TEXT NOT NULL,
  sop_class_uid TEXT NOT NULL,
  transfer_syntax_uid TEXT NOT NULL,
  modality TEXT NOT NULL,
  accession_number TEXT NOT NULL,
  peer TEXT NOT NULL,
  header_digest TEXT NOT NULL,
  file_key TEXT NOT NULL,
  file_bytes INTEGER NOT NULL,
  file_sha256 TEXT NOT NULL,
  purged_at INTEGER,                    -- NULL: the file is PRESENT.
  rule TEXT NOT NULL,
  body_part TEXT NOT NULL,
  body_part_evidence TEXT NOT NULL,
  tasks TEXT NOT NULL,                  -- Lists: one name a line.
  route_reason TEXT NOT NULL,
  priority INTEGER NOT NULL,
  results_to TEXT NOT NULL,
  shadow INTEGER NOT NULL,
  forward_to TEXT NOT NULL,
  reportable INTEGER NOT NULL,
  state INTEGER NOT NULL,
  reason TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  received_at INTEGER NOT NULL,
  predicted_at INTEGER);
CREATE UNIQUE INDEX instance_current ON instance(sop_instance_uid) WHERE current = 1;
CREATE INDEX instance_by_study ON instance(study_id, state);
CREATE INDEX instance_waiting ON instance(priority DESC, received_at, id) WHERE state = 0;
CREATE INDEX instance_suspect ON instance(attempts, priority DESC, received_at, id) WHERE state = 0 AND attempts > 0;
CREATE INDEX instance_conflict ON instance(sop_instance_uid) WHERE state = 4;

CREATE TABLE prediction(
  instance_id INTEGER NOT NULL REFERENCES instance(id),
  task TEXT NOT NULL,
  model_version TEXT NOT NULL,
  content TEXT NOT NULL,
  blob BLOB NOT NULL,
  PRIMARY KEY(instance_id, task));

CREATE TABLE result(
  id INTEGER PRIMARY KEY,
  study_id INTEGER NOT NULL REFERENCES study(id),
  uid TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  source_uid TEXT NOT NULL,
  task TEXT NOT NULL,
  revision INTEGER NOT NULL,
  sop_class_uid TEXT NOT NULL,
  transfer_syntax_uid TEXT NOT NULL,
  file_key TEXT NOT NULL,
  file_bytes INTEGER NOT NULL,
  file_sha256 TEXT NOT NULL,
  purged_at INTEGER,
  created_at INTEGER NOT NULL);
CREATE INDEX result_by_study ON result(study_id);

CREATE TABLE delivery(
  id INTEGER PRIMARY KEY,
  study_id INTEGER NOT NULL REFERENCES study(id),
  destination TEXT NOT NULL,
  stage INTEGER NOT NULL,
  instance_id INTEGER REFERENCES instance(id),  -- One of the two is NULL.
  result_id INTEGER REFERENCES result(id),
  priority INTEGER NOT NULL,
  state INTEGER NOT NULL DEFAULT 0,
  blocked INTEGER NOT NULL DEFAULT 0,   -- 1: an earlier stage of the study is PENDING at this destination.
  delayed INTEGER NOT NULL DEFAULT 0,   -- 1: due_at was in the future when last looked at.
  delay_ms INTEGER NOT NULL DEFAULT 0,  -- What due_at was set to, counted from that moment.
  attempts INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  due_at INTEGER NOT NULL,
  delivered_at INTEGER,
  peer_status INTEGER,
  text TEXT NOT NULL DEFAULT '');
CREATE UNIQUE INDEX delivery_of_instance ON delivery(instance_id, destination) WHERE instance_id IS NOT NULL;
CREATE UNIQUE INDEX delivery_of_result ON delivery(result_id, destination) WHERE result_id IS NOT NULL;
CREATE INDEX delivery_by_state ON delivery(state);
CREATE INDEX delivery_by_study ON delivery(study_id, destination, state);
CREATE INDEX delivery_due ON delivery(destination, priority DESC, id) WHERE state = 0 AND blocked = 0 AND delayed = 0;
CREATE INDEX delivery_delayed ON delivery(destination, due_at) WHERE state = 0 AND delayed = 1;
)sql",
                                                     R"sql(
ALTER TABLE delivery ADD COLUMN released_at INTEGER;  -- By a person; NULL: never.
DROP INDEX delivery_due;
CREATE INDEX delivery_due ON delivery(destination, attempts > 0, priority DESC, id)
  WHERE state = 0 AND blocked = 0 AND delayed = 0;
)sql",
                                                     // When a study closes and when it may be purged; urgency by
                                                     // waiting: 600000 ms make up for one step of priority.
                                                     R"sql(
ALTER TABLE study ADD COLUMN open_since INTEGER NOT NULL DEFAULT 0;    -- Of this revision.
ALTER TABLE study ADD COLUMN quiet_due_at INTEGER NOT NULL DEFAULT 0;  -- close_due_at, if nothing holds it open.
ALTER TABLE study ADD COLUMN holds INTEGER NOT NULL DEFAULT 0;         -- Associations of this process that carry it.
ALTER TABLE study ADD COLUMN rest_since INTEGER;                       -- Ended, with nothing due or parked. NULL: not.
ALTER TABLE study ADD COLUMN originals INTEGER NOT NULL DEFAULT 1;     -- 1: a file of an instance may be PRESENT.
ALTER TABLE study ADD COLUMN results INTEGER NOT NULL DEFAULT 0;       -- 1: a file of a result may be PRESENT.
UPDATE study SET open_since = opened_at, quiet_due_at = close_due_at,
  results = EXISTS (SELECT 1 FROM result WHERE study_id = study.id);
UPDATE study SET rest_since = max(coalesce(finished_at, closed_at, last_instance_at),
    coalesce((SELECT max(delivered_at) FROM delivery WHERE study_id = study.id), 0))
  WHERE state IN (2, 3, 4) AND NOT EXISTS (SELECT 1 FROM delivery WHERE study_id = study.id AND state IN (0, 2));
CREATE INDEX study_held ON study(id) WHERE holds > 0;
CREATE INDEX study_originals_at_rest ON study(rest_since, id) WHERE originals = 1 AND rest_since IS NOT NULL;
CREATE INDEX study_results_at_rest ON study(rest_since, id) WHERE results = 1 AND rest_since IS NOT NULL;
CREATE INDEX study_with_conflict ON instance(study_id) WHERE state = 4;
DROP INDEX study_ready;
CREATE INDEX study_ready ON study(closed_at - priority * 600000, id) WHERE state = 1 AND waits = 0;
DROP INDEX instance_waiting;
CREATE INDEX instance_waiting ON instance(received_at - priority * 600000, id) WHERE state = 0;
DROP INDEX instance_suspect;
CREATE INDEX instance_suspect ON instance(attempts, received_at - priority * 600000, id)
  WHERE state = 0 AND attempts > 0;
)sql",
                                                     R"sql(
ALTER TABLE result ADD COLUMN series_instance_uid TEXT NOT NULL DEFAULT '';  -- Before version 4 only in its file.
)sql",
                                                     R"sql(
ALTER TABLE instance ADD COLUMN pending_route TEXT NOT NULL DEFAULT '';  -- What the pixels decide; '': nothing.
)sql",
                                                     R"sql(
ALTER TABLE study ADD COLUMN urgent TEXT NOT NULL DEFAULT '';  -- Which finding made it so; '': none.
)sql",
                                                     // Storage commitment.
                                                     R"sql(
ALTER TABLE delivery ADD COLUMN commitment INTEGER NOT NULL DEFAULT 0;  -- 0: not wanted; 1: due; 2: asked; 3: given.
ALTER TABLE delivery ADD COLUMN commitment_uid TEXT;                    -- Transaction UID of the last request.
ALTER TABLE delivery ADD COLUMN commitment_due INTEGER NOT NULL DEFAULT 0;  -- 1: to be asked; 2: to be asked again.
ALTER TABLE delivery ADD COLUMN commitment_refusals INTEGER NOT NULL DEFAULT 0;
CREATE INDEX delivery_to_commit ON delivery(destination, commitment, commitment_due) WHERE commitment IN (1, 2);
CREATE INDEX delivery_by_commitment ON delivery(commitment_uid) WHERE commitment_uid IS NOT NULL;
CREATE TABLE commitment_request(
  id INTEGER PRIMARY KEY,
  peer TEXT NOT NULL,
  transaction_uid TEXT NOT NULL,
  sop_references TEXT NOT NULL,         -- One a line: class, instance.
  ended INTEGER NOT NULL DEFAULT 0,
  attempts INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  due_at INTEGER NOT NULL,
  text TEXT NOT NULL DEFAULT '',
  UNIQUE(peer, transaction_uid));
CREATE INDEX commitment_request_due ON commitment_request(due_at, id) WHERE ended = 0;
)sql",
                                                     R"sql(
CREATE INDEX study_by_accession_number ON study(accession_number);
)sql",
                                                     R"sql(
ALTER TABLE delivery ADD COLUMN after TEXT NOT NULL DEFAULT '';  -- Destination that has the results first; '': none.
DROP INDEX delivery_due;  -- What is urgent does not go behind the rest because it failed once.
CREATE INDEX delivery_due ON delivery(destination, attempts > 0 AND priority < 2000, priority DESC, id)
  WHERE state = 0 AND blocked = 0 AND delayed = 0;
)sql",
                                                     // With it came state 3 of a delivery, GIVEN_UP.
                                                     R"sql(
ALTER TABLE delivery ADD COLUMN given_up_at INTEGER;
)sql",
                                                     // What an urgent finding hides in `priority`, for a retry.
                                                     R"sql(
ALTER TABLE instance ADD COLUMN route_priority INTEGER NOT NULL DEFAULT 0;
UPDATE instance SET route_priority = priority WHERE priority != 0 AND priority < 2000;
)sql",
                                                     // For the delivery of its correction, which waits for its own.
                                                     R"sql(
CREATE INDEX instance_superseded ON instance(sop_instance_uid) WHERE current = 0 AND state != 4;
)sql",
                                                     // What a person knows to be lost.
                                                     R"sql(
CREATE TABLE accepted_loss(file_key TEXT PRIMARY KEY, accepted_at INTEGER NOT NULL) WITHOUT ROWID;
)sql",
                                                     R"sql(
CREATE INDEX study_with_failure ON instance(study_id) WHERE state = 3 AND current = 1;
)sql",
                                                     // For a study that loses an image to a correction. Which one had
                                                     // made it urgent was not written down: any that was analysed.
                                                     R"sql(
ALTER TABLE instance ADD COLUMN urgent TEXT NOT NULL DEFAULT '';  -- What in it makes its study urgent; '': nothing.
UPDATE instance SET urgent = (SELECT urgent FROM study WHERE study.id = study_id) WHERE state = 1 AND current = 1 AND
  study_id IN (SELECT id FROM study WHERE urgent != '');
)sql",
                                                     // For who asks for a retry twice.
                                                     R"sql(
ALTER TABLE study ADD COLUMN retried INTEGER NOT NULL DEFAULT 0;  -- The revision that a retry led to; 0: none.
)sql",
                                                     // For whoever is on call. When it was last tried stands in due_at
                                                     // of what was not released since.
                                                     R"sql(
ALTER TABLE delivery ADD COLUMN tried_at INTEGER;  -- NULL: never.
UPDATE delivery SET tried_at = due_at - delay_ms WHERE attempts > 0;
)sql"};

constexpr std::int64_t kKnownVersion = kMigrations.size();

// 0: none yet.
Result<std::int64_t> read_version(Database& database) {
  Query found(database, "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'meta'");
  if (!found.next()) {
    NODE_RETURN_IF_ERROR(found.status());
    return std::int64_t{0};
  }
  Query version(database, "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'schema_version'");
  if (version.next()) return version.integer();
  NODE_RETURN_IF_ERROR(version.status());
  return std::int64_t{0};
}

Status refuse_newer(std::int64_t version) {
  return data_loss("the database has schema version " + std::to_string(version) + ", this program knows up to " +
                   std::to_string(kKnownVersion) + ": start the program that wrote it, or a newer one");
}

}  // namespace

Result<Uid> make_uid() {
  std::array<unsigned char, 16> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) return internal_error("no random numbers");
  bytes[6] = static_cast<unsigned char>((bytes[6] & 0x0f) | 0x40);
  bytes[8] = static_cast<unsigned char>((bytes[8] & 0x3f) | 0x80);
  __uint128_t number = 0;
  for (unsigned char byte : bytes) number = number << 8 | byte;
  std::string digits;
  do {
    digits.insert(digits.begin(), static_cast<char>('0' + static_cast<int>(number % 10)));
    number /= 10;
  } while (number != 0);
  return Uid::parse("2.25." + digits);
}

namespace {

Status migrate_from(Database& database, std::int64_t version) {
  if (version == 0) {
    NODE_RETURN_IF_ERROR(
        database.execute("CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"));
    NODE_ASSIGN_OR_RETURN(const Uid node_uid, make_uid());
    NODE_RETURN_IF_ERROR(Query(database, "INSERT INTO meta VALUES ('node_uid', ?)", node_uid.str()).run());
  }
  for (auto next = static_cast<std::size_t>(version); next < kMigrations.size(); ++next) {
    NODE_RETURN_IF_ERROR(database.execute(kMigrations[next]).within("schema version " + std::to_string(next + 1)));
  }
  return Query(database, "INSERT OR REPLACE INTO meta VALUES ('schema_version', ?)", std::to_string(kKnownVersion))
      .run();
}

}  // namespace

Status migrate_schema(Database& database) {
  NODE_RETURN_IF_ERROR(database.execute("BEGIN IMMEDIATE"));
  const auto migrate = [&]() -> Status {
    NODE_ASSIGN_OR_RETURN(const std::int64_t version, read_version(database));
    if (version > kKnownVersion) return refuse_newer(version);
    if (version == kKnownVersion) return database.execute("COMMIT");
    NODE_RETURN_IF_ERROR(migrate_from(database, version));
    NODE_RETURN_IF_ERROR(database.execute("COMMIT"));
    // Without its log a database still knows its tables and the node's UID.
    Query checkpoint(database, "PRAGMA wal_checkpoint(TRUNCATE)");
    checkpoint.next();
    return checkpoint.status();
  };
  Status migrated = migrate();
  if (!migrated.ok() && database.in_transaction()) static_cast<void>(database.execute("ROLLBACK").ok());
  return migrated;
}

Status check_schema(Database& database) {
  NODE_ASSIGN_OR_RETURN(const std::int64_t version, read_version(database));
  if (version > kKnownVersion) return refuse_newer(version);
  if (version < kKnownVersion) {
    return data_loss("the database has schema version " + std::to_string(version) + ", this program reads " +
                     std::to_string(kKnownVersion) + ": start the node once to bring it up to date");
  }
  return ok_status();
}

Result<Uid> read_node_uid(Database& database) {
  Query query(database, "SELECT value FROM meta WHERE key = 'node_uid'");
  if (!query.next()) return query.status().ok() ? data_loss("the database holds no node UID") : query.status();
  return Uid::parse(query.text());
}

}  // namespace node::storage
