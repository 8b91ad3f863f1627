// SqliteStudyStore: the embedded StudyStore, one SQLite file in WAL mode with synchronous=FULL.
//
// Guarantee: as StudyStore. One process owns the directory (a lock file); concurrent callers share one transaction and
//            one sync (group commit).
// Threads:   any; writers share one connection through GroupCommit, readers use a read-only one.
#pragma once

#include <memory>

#include "config/base/clock.h"
#include "config/storage_config.h"
#include "storage/file_system.h"
#include "storage/study_store.h"

namespace node::storage {

// Errors: kUnavailable: another node holds the directory (the message says so); kDataLoss: damaged, or of a newer
//         schema than this program knows; kResourceExhausted. `clock` must outlive the store. `file_system` makes and
//         syncs the directory; SQLite writes through its own.
Result<std::unique_ptr<StudyStore>> open_sqlite_study_store(const config::StorageConfig& config, Clock& clock,
                                                            FileSystem& file_system = posix_file_system());

// For the listings beside a running node: takes no lock, writes nothing. Errors also: kNotFound (no store there).
Result<std::unique_ptr<StudyStore>> open_sqlite_study_store_read_only(const config::StorageConfig& config,
                                                                      Clock& clock);

}  // namespace node::storage
