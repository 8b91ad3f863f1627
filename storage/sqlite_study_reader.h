// SqliteStudyReader: the reading half of a StudyStore on SQLite; for the .cpp files of storage/ only.
//
// Threads: two read-only connections, each under its own mutex, so that a long listing never holds up a lookup that a
//          C-STORE waits for.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/base/mutex.h"
#include "storage/sqlite_database.h"
#include "storage/sqlite_study_queries.h"
#include "storage/study_store.h"

namespace node::storage {

// The database below StorageConfig::directory.
inline std::filesystem::path database_path(const std::string& directory) {
  return std::filesystem::path(directory) / "studies.sqlite";
}

class SqliteStudyReader : public StudyStore {
 public:
  Uid node_uid() const override { return node_uid_; }
  Result<std::optional<HeldInstance>> find_instance(const Uid& sop_instance_uid) override;
  Result<bool> is_own_result(const Uid& sop_instance_uid) override;
  Result<std::optional<HeldInstance>> find_bytes(const Uid& sop_instance_uid, const std::string& sha256_hex) override;
  Result<std::vector<StudySummary>> list_studies(const StudyFilter& filter) override;
  Result<StudySummary> find_study(const Uid& study_instance_uid) override;
  Result<std::vector<InstanceRecord>> list_instances(const Uid& study_instance_uid) override;
  Result<InstanceRecord> show_instance(const Uid& sop_instance_uid) override;
  Result<std::vector<DeliveryRecord>> list_deliveries(const DeliveryFilter& filter) override;
  Result<std::int64_t> data_version() override;
  Result<std::vector<StoredFile>> known_files() override;
  Result<std::vector<std::string>> accepted_losses() override;
  StoreStats stats() override;

 protected:
  struct Connections {
    std::unique_ptr<Database> lookups, listings;
    Uid node_uid;
  };
  static Result<Connections> connect(const std::filesystem::path& path);
  explicit SqliteStudyReader(Connections connections);

 private:
  Mutex lookups_mutex_, listings_mutex_;
  std::unique_ptr<Database> lookups_ GUARDED_BY(lookups_mutex_), listings_ GUARDED_BY(listings_mutex_);
  const Uid node_uid_;
};

}  // namespace node::storage
