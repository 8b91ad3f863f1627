// What each later schema version changed, as it was released, and content that only it could hold; on a database of
// version 1. Add to it, never change it.
#pragma once

#include <array>

namespace node::storage {

struct SchemaStep {
  const char* sql;      // From the version before.
  const char* content;  // Written by a node of this version.
};

// Entry i makes version i + 2.
inline constexpr std::array<SchemaStep, 16> kSchemaSteps = {{
    // 2
    {R"sql(
ALTER TABLE delivery ADD COLUMN released_at INTEGER;  -- By a person; NULL: never.
DROP INDEX delivery_due;
CREATE INDEX delivery_due ON delivery(destination, attempts > 0, priority DESC, id)
  WHERE state = 0 AND blocked = 0 AND delayed = 0;
)sql",
     ""},
    // 3
    {R"sql(
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
UPDATE study SET holds = 1, originals = 0 WHERE id = 4;
)sql"},
    // 4
    {R"sql(
ALTER TABLE result ADD COLUMN series_instance_uid TEXT NOT NULL DEFAULT '';  -- Before version 4 only in its file.
)sql",
     R"sql(
UPDATE result SET series_instance_uid = '1.2.8.1.0' WHERE id = 1;
)sql"},
    // 5
    {R"sql(
ALTER TABLE instance ADD COLUMN pending_route TEXT NOT NULL DEFAULT '';  -- What the pixels decide; '': nothing.
)sql",
     R"sql(
UPDATE instance SET pending_route = 'pending' WHERE id = 5;
)sql"},
    // 6
    {R"sql(
ALTER TABLE study ADD COLUMN urgent TEXT NOT NULL DEFAULT '';  -- Which finding made it so; '': none.
)sql",
     R"sql(
UPDATE study SET urgent = 'fracture', priority = 2000 WHERE id = 3;
UPDATE instance SET priority = 2000 WHERE id = 5;
)sql"},
    // 7
    {R"sql(
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
UPDATE delivery SET commitment = 3, commitment_uid = '2.25.1' WHERE id = 1;
INSERT INTO commitment_request VALUES (1, 'xray1', '2.25.2', '1.2.3 1.2.1.1', 1, 2, 1015000, 1016000, 'gone');
)sql"},
    // 8
    {R"sql(
CREATE INDEX study_by_accession_number ON study(accession_number);
)sql",
     ""},
    // 9
    {R"sql(
ALTER TABLE delivery ADD COLUMN after TEXT NOT NULL DEFAULT '';  -- Destination that has the results first; '': none.
DROP INDEX delivery_due;  -- What is urgent does not go behind the rest because it failed once.
CREATE INDEX delivery_due ON delivery(destination, attempts > 0 AND priority < 2000, priority DESC, id)
  WHERE state = 0 AND blocked = 0 AND delayed = 0;
)sql",
     R"sql(
UPDATE delivery SET after = 'archive' WHERE id = 2;
)sql"},
    // 10
    {R"sql(
ALTER TABLE delivery ADD COLUMN given_up_at INTEGER;
)sql",
     R"sql(
UPDATE delivery SET state = 3, given_up_at = 2015000 WHERE id = 2;
)sql"},
    // 11
    {R"sql(
ALTER TABLE instance ADD COLUMN route_priority INTEGER NOT NULL DEFAULT 0;
UPDATE instance SET route_priority = priority WHERE priority != 0 AND priority < 2000;
)sql",
     R"sql(
UPDATE instance SET route_priority = 3 WHERE id = 5;
)sql"},
    // 12
    {R"sql(
CREATE INDEX instance_superseded ON instance(sop_instance_uid) WHERE current = 0 AND state != 4;
)sql",
     ""},
    // 13
    {R"sql(
CREATE TABLE accepted_loss(file_key TEXT PRIMARY KEY, accepted_at INTEGER NOT NULL) WITHOUT ROWID;
)sql",
     R"sql(
INSERT INTO accepted_loss VALUES ('aa/6.dcm', 4020000);
)sql"},
    // 14
    {R"sql(
CREATE INDEX study_with_failure ON instance(study_id) WHERE state = 3 AND current = 1;
)sql",
     ""},
    // 15
    {R"sql(
ALTER TABLE instance ADD COLUMN urgent TEXT NOT NULL DEFAULT '';  -- What in it makes its study urgent; '': nothing.
UPDATE instance SET urgent = (SELECT urgent FROM study WHERE study.id = study_id) WHERE state = 1 AND current = 1 AND
  study_id IN (SELECT id FROM study WHERE urgent != '');
)sql",
     R"sql(
UPDATE instance SET urgent = 'fracture' WHERE id = 5;
)sql"},
    // 16
    {R"sql(
ALTER TABLE study ADD COLUMN retried INTEGER NOT NULL DEFAULT 0;  -- The revision that a retry led to; 0: none.
)sql",
     R"sql(
UPDATE study SET retried = 1 WHERE id = 1;
)sql"},
    // 17
    {R"sql(
ALTER TABLE delivery ADD COLUMN tried_at INTEGER;  -- NULL: never.
UPDATE delivery SET tried_at = due_at - delay_ms WHERE attempts > 0;
)sql",
     R"sql(
UPDATE delivery SET tried_at = 2016000 WHERE id = 2;
)sql"},
}};

}  // namespace node::storage
