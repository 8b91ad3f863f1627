#include "storage/backup.h"

#include <cerrno>
#include <cstdio>
#include <map>
#include <memory>
#include <set>
#include <system_error>
#include <vector>

#include "storage/spool.h"
#include "storage/sqlite_schema.h"
#include "storage/sqlite_study_queries.h"
#include "storage/sqlite_study_reader.h"

namespace node::storage {
namespace {

namespace fs = std::filesystem;

// Not std::filesystem::copy_file(): a disk that is full it calls an input/output error, and does not say which.
Status copy_bytes(const fs::path& from, const fs::path& to, FileSystem& file_system) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(from.c_str(), "rbe"), &std::fclose);
  if (!file) {
    const int error = errno;
    const std::string why = "open: " + std::generic_category().message(error);
    return error == ENOENT ? not_found(why) : internal_error(why);
  }
  std::setvbuf(file.get(), nullptr, _IONBF, 0);
  NODE_RETURN_IF_ERROR(file_system.create_file(to));
  std::vector<char> buffer(1 << 20);
  while (const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), file.get())) {
    NODE_RETURN_IF_ERROR(file_system.append(to, buffer.data(), count));
  }
  if (std::ferror(file.get()) != 0) return internal_error("read: " + std::generic_category().message(errno));
  return file_system.sync_file(to);
}

// Errors: kNotFound (the file is gone), ...
Result<bool> link_or_copy(const fs::path& from, const fs::path& to, FileSystem& file_system) {  // true: linked.
  std::error_code error;
  fs::create_hard_link(from, to, error);
  if (!error) return true;
  // Another volume, or one without links.
  NODE_RETURN_IF_ERROR(copy_bytes(from, to, file_system).within("copy " + from.string() + " to " + to.string()));
  return false;
}

// Of `missing` files: those that the live database says are purged, marked so in the copy; the others are returned.
Result<std::vector<std::string>> mark_purged(Database& live, Database& copy, std::set<std::string> missing) {
  for (const std::string table : {"instance", "result"}) {
    std::map<std::int64_t, std::int64_t> purged;  // Row -> when.
    Query rows(live, "SELECT id, purged_at, file_key FROM " + table + " WHERE purged_at IS NOT NULL");
    while (rows.next()) {
      const std::int64_t id = rows.integer(), at = rows.integer();
      if (missing.erase(rows.text()) > 0) purged[id] = at;
    }
    NODE_RETURN_IF_ERROR(rows.status());
    for (const auto& [id, at] : purged) {
      NODE_RETURN_IF_ERROR(Query(copy, "UPDATE " + table + " SET purged_at = ? WHERE id = ?", at, id).run());
    }
  }
  return std::vector<std::string>(missing.begin(), missing.end());
}

// Also where it is not there yet, and over symbolic links.
bool lies_within(const fs::path& path, const fs::path& directory) {
  std::error_code error;
  const fs::path inner = fs::weakly_canonical(fs::absolute(path, error), error);
  const fs::path outer = fs::weakly_canonical(fs::absolute(directory, error), error);
  const fs::path relative = inner.lexically_relative(outer);
  return !relative.empty() && *relative.begin() != "..";
}

Result<BackupReport> copy_files(const std::string& directory, const fs::path& to, const std::vector<StoredFile>& files,
                                FileSystem& file_system,
                                const std::function<void(std::int64_t, std::int64_t)>& progress) {
  BackupReport report;
  std::set<fs::path> shards;
  NODE_RETURN_IF_ERROR(file_system.create_directory(objects_directory(to)));
  for (const StoredFile& file : files) {
    if (progress) progress(report.linked + report.copied, std::ssize(files));
    const fs::path target = objects_directory(to) / file.key;
    if (shards.insert(target.parent_path()).second) {
      NODE_RETURN_IF_ERROR(file_system.create_directory(target.parent_path()));
    }
    const auto linked = link_or_copy(objects_directory(directory) / file.key, target, file_system);
    if (linked.status().code() == StatusCode::kNotFound) {
      report.lost.push_back(file.key);
      continue;
    }
    NODE_RETURN_IF_ERROR(linked.status());
    ++(*linked ? report.linked : report.copied);
  }
  for (const fs::path& shard : shards) NODE_RETURN_IF_ERROR(file_system.sync_directory(shard));
  NODE_RETURN_IF_ERROR(file_system.sync_directory(objects_directory(to)));
  return report;
}

}  // namespace

Result<BackupReport> back_up(const config::StorageConfig& config, const fs::path& to, FileSystem& file_system,
                             const std::function<void(std::int64_t, std::int64_t)>& progress) {
  const std::string what = "back up to " + to.string();
  NODE_ASSIGN_OR_RETURN(auto live, Database::open(database_path(config.directory), Database::Mode::kReadOnly));
  NODE_RETURN_IF_ERROR(check_schema(*live));
  if (lies_within(to, config.directory)) {
    return invalid_argument(what + ": the folder lies within storage.directory (" + config.directory +
                            "), and what takes that takes the backup too; choose one elsewhere");
  }
  if (Status made = file_system.create_directories(to); !made.ok()) return made.within(what);
  NODE_ASSIGN_OR_RETURN(const auto there, file_system.list(to));
  if (!there.empty()) return invalid_argument(what + ": the folder is not empty; a backup wants one of its own");

  const fs::path database = database_path(to.string());
  const fs::path unfinished = database.string() + ".part";
  BackupReport report;
  const auto make = [&]() -> Status {
    NODE_RETURN_IF_ERROR(live->copy_to(unfinished));
    NODE_ASSIGN_OR_RETURN(auto copy, Database::open(unfinished, Database::Mode::kReadWrite));
    // One file without a -wal beside it; the next start makes it a write-ahead log again.
    NODE_RETURN_IF_ERROR(Query(*copy, "PRAGMA journal_mode = DELETE").run());
    NODE_ASSIGN_OR_RETURN(const std::vector<StoredFile> files, queries::known_files(*copy));
    NODE_ASSIGN_OR_RETURN(report, copy_files(config.directory, to, files, file_system, progress));
    if (!report.lost.empty()) {
      NODE_ASSIGN_OR_RETURN(report.lost, mark_purged(*live, *copy, {report.lost.begin(), report.lost.end()}));
    }
    copy.reset();
    for (const char* const left : {"-wal", "-shm"}) {  // Empty; our databases keep them when they are closed.
      const Status removed = file_system.remove(unfinished.string() + left);
      if (!removed.ok() && removed.code() != StatusCode::kNotFound) return removed;
    }
    NODE_RETURN_IF_ERROR(file_system.sync_file(unfinished));
    NODE_RETURN_IF_ERROR(file_system.rename(unfinished, database));
    return file_system.sync_directory(to);
  };
  Status made = make();
  if (made.code() == StatusCode::kResourceExhausted) {  // Nothing is written elsewhere.
    const auto free = file_system.free_bytes(to);
    return resource_exhausted(what + ": the volume of " + to.string() + " is full" +
                              (free.ok() ? " (" + std::to_string(*free >> 20) + " MiB free)" : "") +
                              "; free it, or choose another and delete what is in this folder: " + made.message());
  }
  if (!made.ok()) return made.within(what);
  return report;
}

}  // namespace node::storage
