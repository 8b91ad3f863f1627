// A database of schema version 1, the oldest that a node ever made: its tables as they were, and some content.
#pragma once

namespace node::storage {

inline constexpr const char* kSchemaVersion1 = R"sql(
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
)sql";

inline constexpr const char* kContentOfVersion1 = R"sql(
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('node_uid', '2.25.7'), ('schema_version', '1');

INSERT INTO study(id, uid, accession_number, state, reason, revision, priority, waits, quiet_ms, opened_at,
                  last_instance_at, close_due_at, closed_at, finished_at) VALUES
  (1, '1.2.1', 'A1', 2, '', 2, 0, 0, 10000, 1000000, 1002000, 1012000, 1012000, 1013000),  -- Finished, all delivered.
  (2, '1.2.2', 'A2', 2, '', 1, 5, 0, 10000, 2000000, 2000000, 2010000, 2010000, 2013000),  -- Finished, one parked.
  (3, '1.2.3', 'A3', 0, '', 1, 0, 1, 10000, 3000000, 3000000, 3010000, NULL, NULL),        -- Open, one waits.
  (4, '1.2.4', 'A4', 3, '', 1, 0, 0, 10000, 4000000, 4000000, 4010000, 4010000, NULL);     -- Not routed.

INSERT INTO instance(id, study_id, sop_instance_uid, version, current, series_instance_uid, sop_class_uid,
                     transfer_syntax_uid, modality, accession_number, peer, header_digest, file_key, file_bytes,
                     file_sha256, rule, body_part, body_part_evidence, tasks, route_reason, priority, results_to,
                     shadow, forward_to, reportable, state, reason, attempts, received_at, predicted_at) VALUES
  (1, 1, '1.2.1.1', 1, 0, '1.2.1.0', '1.2.840.10008.5.1.4.1.1.1', '1.2.840.10008.1.2.1', 'CR', 'A1', 'xray1', 'd1',
   'aa/1.dcm', 100, 'a1', 'knee', 'KNEE', 'code', 'fracture', '', 0, 'pacs', 0, '', 1, 1, '', 1, 1000000, 1001000),
  (2, 1, '1.2.1.1', 2, 1, '1.2.1.0', '1.2.840.10008.5.1.4.1.1.1', '1.2.840.10008.1.2.1', 'CR', 'A1', 'xray1', 'd2',
   'aa/2.dcm', 100, 'a2', 'knee', 'KNEE', 'code', 'fracture', '', 0, 'pacs', 0, '', 1, 1, '', 1, 1002000, 1003000),
  (3, 1, '1.2.1.1', 2, 0, '1.2.1.0', '1.2.840.10008.5.1.4.1.1.1', '1.2.840.10008.1.2.1', 'CR', 'A1', 'xray1', 'd2',
   'aa/3.dcm', 100, 'a3', 'knee', 'KNEE', 'code', 'fracture', '', 0, 'pacs', 0, '', 1, 4, 'other pixels', 0, 1002500,
   NULL),
  (4, 2, '1.2.2.1', 1, 1, '1.2.2.0', '1.2.840.10008.5.1.4.1.1.1', '1.2.840.10008.1.2.1', 'CR', 'A2', 'xray1', 'd',
   'aa/4.dcm', 100, 'a4', 'knee', 'KNEE', 'code', 'fracture', '', 5, 'pacs', 0, 'archive', 1, 1, '', 1, 2000000, 2001000),
  (5, 3, '1.2.3.1', 1, 1, '1.2.3.0', '1.2.840.10008.5.1.4.1.1.1', '1.2.840.10008.1.2.1', 'DX', 'A3', 'xray2', 'd',
   'aa/5.dcm', 100, 'a5', 'knee', 'KNEE', 'code', 'fracture
anomaly', '', 0, 'pacs
archive', 1, '', 1, 0, '', 0, 3000000, NULL),
  (6, 4, '1.2.4.1', 1, 1, '1.2.4.0', '1.2.840.10008.5.1.4.1.1.104.1', '1.2.840.10008.1.2.1', 'DOC', 'A4', 'xray1', 'd',
   'aa/6.dcm', 100, 'a6', '', '', '', '', 'no rule for DOC', 0, '', 0, '', 0, 2, 'no rule for DOC', 0, 4000000, NULL);

INSERT INTO prediction VALUES (2, 'fracture', 'fracture@1', '{"p":0.7}', x'006d6170');

INSERT INTO result(id, study_id, uid, kind, source_uid, task, revision, sop_class_uid, transfer_syntax_uid, file_key,
                   file_bytes, file_sha256, purged_at, created_at) VALUES
  (1, 1, '1.2.8.1', 'sr', '1.2.1', '', 1, '1.2.840.10008.5.1.4.1.1.88.33', '1.2.840.10008.1.2.1', 'bb/1.dcm', 10, 'b1',
   NULL, 1013000),
  (2, 2, '1.2.8.2', 'sr', '1.2.2', '', 1, '1.2.840.10008.5.1.4.1.1.88.33', '1.2.840.10008.1.2.1', 'bb/2.dcm', 10, 'b2',
   NULL, 2013000);

INSERT INTO delivery(id, study_id, destination, stage, instance_id, result_id, priority, state, attempts, created_at,
                     due_at, delivered_at, peer_status, text) VALUES
  (1, 1, 'pacs', 2, NULL, 1, 0, 1, 1, 1013000, 1013000, 1014000, 0, ''),
  (2, 2, 'pacs', 2, NULL, 2, 5, 2, 3, 2013000, 2013000, NULL, 42752, 'out of resources'),
  (3, 2, 'archive', 0, 4, NULL, 5, 0, 0, 2000000, 2000000, NULL, NULL, '');
)sql";

}  // namespace node::storage
