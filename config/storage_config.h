// StorageConfig: the `storage:` of node.yaml.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace node::config {

struct StorageConfig {
  std::string directory;                                      // Holds the spool and the database.
  std::uint64_t free_bytes_min = 10ull * 1024 * 1024 * 1024;  // Below this the node answers 0xA700.
  int originals_days = 7;                                     // Kept after everything due was delivered. 0: for ever.
  int results_days = 30;
  std::uint64_t free_bytes_low = 0;  // Below this they go before their days are over, the oldest first. 0: never.
  std::chrono::milliseconds study_open_max{std::chrono::hours(1)};  // A study is closed after so long at the latest.
  bool keep_first_on_conflict = false;  // `conflict: keep_first` answers 0x0000 to other pixels under a known UID.
  int analysis_attempts_max = 3;        // An image that took the process down so often is FAILED.
  int log_pages_max = 1000;             // The database takes over what its write-ahead log holds once it has so many.
  int database_reserve_bytes = 4 << 20;  // Allocated behind the database, twice that for its log. 0: none, for tests.
  bool operator==(const StorageConfig&) const = default;
};

}  // namespace node::config
