#include "storage/spool_check.h"

#include <algorithm>
#include <filesystem>
#include <iterator>

#include "storage/spool.h"
#include "storage/sqlite_study_reader.h"

namespace node::storage {
namespace {

Result<std::vector<std::string>> keys_with_row(StudyStore& store) {
  NODE_ASSIGN_OR_RETURN(const std::vector<StoredFile> files, store.known_files());
  std::vector<std::string> keys;
  keys.reserve(files.size());
  for (const StoredFile& file : files) keys.push_back(file.key);
  std::sort(keys.begin(), keys.end());
  return keys;
}

std::vector<std::string> only_in(const std::vector<std::string>& these, const std::vector<std::string>& those) {
  std::vector<std::string> only;
  std::set_difference(these.begin(), these.end(), those.begin(), those.end(), std::back_inserter(only));
  return only;
}

}  // namespace

Result<SpoolCheck> check_spool(const std::string& directory, FileSystem& file_system, StudyStore& store) {
  // The files first: one that is added meanwhile is then no orphan, because its row is read later.
  NODE_ASSIGN_OR_RETURN(const std::vector<std::string> on_disk, list_keys(directory, file_system));
  NODE_ASSIGN_OR_RETURN(const std::vector<std::string> with_row, keys_with_row(store));
  SpoolCheck check;
  check.orphans = only_in(on_disk, with_row);
  for (std::string& key : only_in(with_row, on_disk)) {
    std::error_code ignored;  // Added after the list was read?
    if (!std::filesystem::exists(objects_directory(directory) / key, ignored)) check.lost.push_back(std::move(key));
  }
  if (check.lost.empty()) return check;
  // Purged meanwhile? It is marked before its file is deleted.
  NODE_ASSIGN_OR_RETURN(const std::vector<std::string> still_with_row, keys_with_row(store));
  std::erase_if(check.lost, [&](const std::string& key) {
    return !std::binary_search(still_with_row.begin(), still_with_row.end(), key);
  });
  return check;
}

Status check_database_is_there(const std::string& directory, FileSystem& file_system) {
  std::error_code ignored;
  const std::filesystem::path database = database_path(directory);
  if (std::filesystem::exists(database, ignored) || !std::filesystem::exists(objects_directory(directory), ignored))
    return ok_status();
  NODE_ASSIGN_OR_RETURN(const std::vector<std::string> objects, list_keys(directory, file_system));
  if (objects.empty()) return ok_status();
  return data_loss(directory + " holds " + std::to_string(objects.size()) + " objects, but no " +
                   database.filename().string() +
                   ": it was lost or moved away, and nothing else knows what they are. Put it back with its -wal, or a "
                   "backup of both; or move objects away to begin anew");
}

}  // namespace node::storage
