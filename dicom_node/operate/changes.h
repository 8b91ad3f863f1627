// What a person may change in the store, for the commands and for the HTTP API. Each answers with the JSON of what it
// changed, on one line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "config/base/status.h"
#include "storage/study_store.h"

namespace node::operate {

// Analyses and reports a study again as a new revision; "already": there is nothing to do again, as
// StudyStore::retry_study() says. Errors: kNotFound; kInvalidArgument (no such revision yet, its images are deleted);
// those of the store.
Result<std::string> retry_study(storage::StudyStore& store, const storage::Uid& study_instance_uid,
                                std::optional<int> seen_revision);

// Sends a delivery again that is parked or was given up; "already": it was due, or has been sent since it was released.
// Errors: kNotFound; kInvalidArgument (delivered at once, its object is deleted); those of the store.
Result<std::string> release_delivery(storage::StudyStore& store, std::int64_t id);

// Sends it never, and lets retention have its object. Errors: kNotFound; kInvalidArgument (not parked); those of the
// store.
Result<std::string> give_up_delivery(storage::StudyStore& store, std::int64_t id);

// {"losses": [...]}: the stored objects that are lost, each looked at again: one whose file was put back is none.
// `accept`: of all of them, so that the node is ready without them. Errors: those of the store.
Result<std::string> review_losses(storage::StudyStore& store, const storage::Spool& spool, bool accept);

// Of a delivery: digits alone. Errors: kInvalidArgument.
Result<std::int64_t> parse_delivery_id(std::string_view text);

}  // namespace node::operate
