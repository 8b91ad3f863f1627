#include "storage/spool_check.h"

#include <algorithm>
#include <filesystem>

#include "storage/sqlite_study_reader.h"

namespace node::storage {
namespace {

// What compares files and keys, by key.
struct ByKey {
  static const std::string& key(const std::string& key) { return key; }
  static const std::string& key(const StoredFile& file) { return file.key; }
  template <typename A, typename B>
  bool operator()(const A& a, const B& b) const {
    return key(a) < key(b);
  }
};

Result<std::vector<StoredFile>> files_with_row(StudyStore& store) {
  NODE_ASSIGN_OR_RETURN(std::vector<StoredFile> files, store.known_files());
  std::sort(files.begin(), files.end(), ByKey());
  return files;
}

template <typename A, typename B>
std::vector<A> only_in(const std::vector<A>& these, const std::vector<B>& those) {
  std::vector<A> only;
  for (const A& one : these) {
    if (!std::binary_search(those.begin(), those.end(), one, ByKey())) only.push_back(one);
  }
  return only;
}

}  // namespace

Result<SpoolCheck> check_spool(const std::string& directory, FileSystem& file_system, StudyStore& store) {
  // The files first: one that is added meanwhile is then no orphan, because its row is read later.
  NODE_ASSIGN_OR_RETURN(ObjectNames on_disk, list_objects(directory, file_system));
  NODE_ASSIGN_OR_RETURN(const std::vector<StoredFile> with_row, files_with_row(store));
  SpoolCheck check;
  check.orphans = only_in(on_disk.keys, with_row);
  check.strays = std::move(on_disk.strays);
  NODE_ASSIGN_OR_RETURN(const std::vector<std::string> marked, keys_marked_lost(directory, file_system));
  for (const StoredFile& file : with_row) {  // By name and size: a stat each. Only what was lost before is read.
    std::error_code gone;                    // Not by the list: it may have been added since.
    const std::uintmax_t size_bytes = std::filesystem::file_size(objects_directory(directory) / file.key, gone);
    if (gone || size_bytes != file.size_bytes) {
      check.lost.push_back(file);
    } else if (std::binary_search(marked.begin(), marked.end(), file, ByKey())) {
      (compare_file(directory, file).ok() ? check.restored : check.lost).push_back(file);
    }
  }
  if (check.lost.empty()) return check;
  // Purged meanwhile? It is marked before its file is deleted.
  NODE_ASSIGN_OR_RETURN(const std::vector<StoredFile> still_with_row, files_with_row(store));
  std::erase_if(check.lost, [&](const StoredFile& file) {
    return !std::binary_search(still_with_row.begin(), still_with_row.end(), file, ByKey());
  });
  return check;
}

Status remember_losses(const SpoolCheck& check, const Spool& spool, StudyStore& store) {
  for (const auto* files : {&check.lost, &check.restored})
    for (const StoredFile& file : *files) static_cast<void>(spool.verify(file).ok());
  NODE_ASSIGN_OR_RETURN(const std::vector<std::string> accepted, store.accepted_losses());
  if (accepted.empty()) return ok_status();
  NODE_ASSIGN_OR_RETURN(const std::vector<StoredFile> with_row, files_with_row(store));
  std::vector<std::string> still_lost;
  for (const std::string& key : accepted) {
    const auto file = std::lower_bound(with_row.begin(), with_row.end(), key, ByKey());
    if (file != with_row.end() && file->key == key && !spool.verify(*file).ok()) still_lost.push_back(key);
  }
  return still_lost.size() < accepted.size() ? store.set_accepted_losses(still_lost) : ok_status();
}

Result<std::vector<Loss>> known_losses(const Spool& spool, StudyStore& store) {
  std::vector<Loss> losses;
  for (StoredFile& file : spool.lost()) losses.push_back({std::move(file)});
  if (losses.empty()) return losses;
  NODE_ASSIGN_OR_RETURN(const std::vector<std::string> accepted, store.accepted_losses());
  for (Loss& loss : losses) loss.accepted = std::binary_search(accepted.begin(), accepted.end(), loss.file.key);
  return losses;
}

Status forget_restored(const Spool& spool, StudyStore& store) {
  NODE_ASSIGN_OR_RETURN(const std::vector<std::string> accepted, store.accepted_losses());
  if (accepted.empty()) return ok_status();
  const std::vector<StoredFile> lost = spool.lost();  // By key.
  std::vector<std::string> still_lost;
  for (const std::string& key : accepted)
    if (std::binary_search(lost.begin(), lost.end(), key, ByKey())) still_lost.push_back(key);
  return still_lost.size() < accepted.size() ? store.set_accepted_losses(still_lost) : ok_status();
}

Result<std::vector<Loss>> review_losses(const Spool& spool, StudyStore& store, bool accept) {
  for (const StoredFile& file : spool.lost()) static_cast<void>(spool.verify(file).ok());
  NODE_ASSIGN_OR_RETURN(std::vector<Loss> losses, known_losses(spool, store));
  if (!accept) {
    NODE_RETURN_IF_ERROR(forget_restored(spool, store));
    return losses;
  }
  std::vector<std::string> keys;
  for (Loss& loss : losses) {
    loss.accepted = true;
    keys.push_back(loss.file.key);
  }
  NODE_RETURN_IF_ERROR(store.set_accepted_losses(keys));
  return losses;
}

bool is_without_database(const std::string& directory) {
  std::error_code unknown;
  return !std::filesystem::exists(database_path(directory), unknown) && !unknown;
}

Status check_database_is_there(const std::string& directory, FileSystem& file_system) {
  std::error_code ignored;
  const std::filesystem::path database = database_path(directory);
  const std::uintmax_t size_bytes = std::filesystem::file_size(database, ignored);
  if ((!ignored && size_bytes > 0) || !std::filesystem::exists(objects_directory(directory), ignored))
    return ok_status();
  NODE_ASSIGN_OR_RETURN(const std::vector<std::string> objects, list_keys(directory, file_system));
  if (objects.empty()) return ok_status();
  return data_loss(directory + " holds " + std::to_string(objects.size()) + " objects, but no " +
                   database.filename().string() +
                   ": it was lost or moved away, and nothing else knows what they are. Put it back with its -wal, or a "
                   "backup of both; or move objects away to begin anew");
}

}  // namespace node::storage
