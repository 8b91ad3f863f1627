// check_spool: whether every PRESENT row has its file, and every file its row: the two invariants of the store; and
// what becomes of a loss: it is remembered (Spool::lost()) until its file is whole again, and a person may accept it.
//
// Guarantee: check_spool() changes nothing. Beside a running node it reports no loss that is none; an object that is
//            arriving may be among the orphans.
// Threads:   any.
#pragma once

#include <string>
#include <vector>

#include "config/base/status.h"
#include "storage/file_system.h"
#include "storage/spool.h"
#include "storage/study_store.h"

namespace node::storage {

struct SpoolCheck {
  std::vector<StoredFile> lost;  // Of rows whose file is gone, cut short, or was found to hold other bytes: data loss.
  std::vector<StoredFile> restored;  // Of rows whose file an earlier process found lost, and that is whole.
  std::vector<std::string> orphans;  // Keys of files without a row: nobody was told Success, nothing was sent.
  std::vector<std::string> strays;   // Below objects/, with no name of an object: not the node's, and left alone.
};

// Errors: as StudyStore::known_files() and FileSystem::list().
Result<SpoolCheck> check_spool(const std::string& directory, FileSystem& file_system, StudyStore& store);

struct Loss {
  StoredFile file;
  bool accepted = false;  // By a person: recorded as lost as before, but nobody is waited for.
};

// Remembers what check_spool() has found, and what was accepted, of which whatever is whole or gone from the store by
// now is forgotten. At start. Errors: those of the store.
Status remember_losses(const SpoolCheck& check, const Spool& spool, StudyStore& store);

// What is remembered, as it is. Errors: those of the store.
Result<std::vector<Loss>> known_losses(const Spool& spool, StudyStore& store);

// What was accepted and is whole again is accepted no more: lost once more it is another loss. Errors: those of the
// store.
Status forget_restored(const Spool& spool, StudyStore& store);

// Looks at each again, so that what was put back counts no more; `accept`: all that is lost is accepted, durably.
// Returns what is lost. Errors: those of the store.
Result<std::vector<Loss>> review_losses(const Spool& spool, StudyStore& store, bool accept);

// Whether open_sqlite_study_store() would make one.
bool is_without_database(const std::string& directory);

// Before a database is made: it is there before the first object is, so that objects without one mean that it was lost,
// and to a new one they would all be orphans. Errors: kDataLoss, which says what to do; kInternal.
Status check_database_is_there(const std::string& directory, FileSystem& file_system);

}  // namespace node::storage
