// What the writing store and the read-only one read alike; for the .cpp files of storage/ only.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "storage/sqlite_database.h"
#include "storage/study_store.h"

namespace node::storage::queries {

inline std::int64_t to_ms(WallTime time) { return time.time_since_epoch().count(); }
inline WallTime from_ms(std::int64_t ms) { return WallTime(std::chrono::milliseconds(ms)); }

std::string join_lines(const std::vector<std::string>& lines);

Result<std::optional<HeldInstance>> find_instance(Database& database, const Uid& sop_instance_uid);
Result<bool> is_own_result(Database& database, const Uid& sop_instance_uid);
Result<std::optional<HeldInstance>> find_bytes(Database& database, const Uid& sop_instance_uid,
                                               const std::string& sha256_hex);
// Errors: kNotFound.
Result<InstanceRecord> load_instance(Database& database, std::int64_t id);
// In order of arrival, with predictions. `current_only`: newest versions that are no conflict.
Result<std::vector<InstanceRecord>> list_instances(Database& database, const Uid& study_instance_uid,
                                                   bool current_only);
Result<std::vector<ResultRecord>> list_results(Database& database, std::int64_t study_id);
Result<InstanceRecord> show_instance(Database& database, const Uid& sop_instance_uid);
Result<std::vector<StudySummary>> list_studies(Database& database, const StudyFilter& filter);
Result<StudySummary> find_study(Database& database, const Uid& study_instance_uid);
Result<std::vector<DeliveryRecord>> list_deliveries(Database& database, const DeliveryFilter& filter);
Result<std::vector<StoredFile>> known_files(Database& database);
StoreStats stats(Database& database);

}  // namespace node::storage::queries
