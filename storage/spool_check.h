// check_spool: whether every PRESENT row has its file, and every file its row: the two invariants of the store.
//
// Guarantee: changes nothing. Beside a running node no loss is reported that is none; an object that is arriving may be
//            among the orphans.
// Threads:   any.
#pragma once

#include <string>
#include <vector>

#include "config/base/status.h"
#include "storage/file_system.h"
#include "storage/study_store.h"

namespace node::storage {

struct SpoolCheck {
  std::vector<std::string> lost;     // Keys of rows whose file is gone: data loss.
  std::vector<std::string> orphans;  // Keys of files without a row: nobody was told Success, nothing was sent.
};

// Errors: as StudyStore::known_files() and FileSystem::list().
Result<SpoolCheck> check_spool(const std::string& directory, FileSystem& file_system, StudyStore& store);

// Before a database is made: it is there before the first object is, so that objects without one mean that it was lost,
// and to a new one they would all be orphans. Errors: kDataLoss, which says what to do; kInternal.
Status check_database_is_there(const std::string& directory, FileSystem& file_system);

}  // namespace node::storage
