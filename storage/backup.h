// back_up: a copy of the store of a node that may be running, from which another node can be started.
//
// Guarantee: what was acknowledged before the call is in the copy. The database is that of one moment; the files are
//            those that its rows name, and what retention deleted since that moment is marked PURGED in the copy too.
//            It is whole, and on the disk, once `to` holds studies.sqlite; before that it is no backup.
// Threads:   any; beside a running node, from the same process or another. Takes no lock and changes nothing in the
//            store. A file is a hard link where `to` lies on the same volume (objects are never changed), else a copy.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "config/base/status.h"
#include "config/storage_config.h"
#include "storage/file_system.h"

namespace node::storage {

struct BackupReport {
  std::int64_t linked = 0, copied = 0;  // Files.
  std::vector<std::string> lost;        // Keys that rows name and the store's own disk does not hold: data loss there.
};

// `progress`: called before each file with the number of files that are done, and of all.
// Errors: kInvalidArgument (`to` is not empty, or within the store), kNotFound (there is no store), kDataLoss (a
// database of another
//         version, or damaged), kResourceExhausted, kInternal.
Result<BackupReport> back_up(const config::StorageConfig& config, const std::filesystem::path& to,
                             FileSystem& file_system,
                             const std::function<void(std::int64_t, std::int64_t)>& progress = {});

}  // namespace node::storage
