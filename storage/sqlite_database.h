// Database, Query: one SQLite connection and one run of a statement, for the .cpp files of storage/ only.
//
// Threads: a connection and its queries are used by one thread at a time.
// Errors:  kResourceExhausted (FULL, NOMEM), kUnavailable (BUSY), kDataLoss (CORRUPT, NOTADB, IOERR, READONLY),
//          kInternal. Messages end in SQLite's own words, which never repeat a bound value.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "config/base/status.h"

struct sqlite3;
struct sqlite3_stmt;

namespace node::storage {

class Database {
 public:
  enum class Mode { kReadWrite, kReadOnly };

  // Nothing is taken over from the write-ahead log but by a checkpoint, or when the last connection closes. Errors
  // also: kNotFound (read-only, and no such file).
  static Result<std::unique_ptr<Database>> open(const std::filesystem::path& path, Mode mode);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Allocates `bytes` behind the end of the database, and a log of at least twice as much, as far as the disk has them:
  // so that both can still be written once another program has filled it to the last byte. A checkpoint that copies
  // the whole log takes back what it did not use of the first.
  void reserve(int bytes);
  // Copies the database as it is at one moment; others may go on writing. Not synced.
  Status copy_to(const std::filesystem::path& path);
  Status execute(const std::string& sql);  // Statements without parameters and rows.
  bool in_transaction() const;
  std::int64_t last_insert_id() const;
  std::int64_t changes() const;                 // Rows changed by the last statement.
  std::int64_t total_changes() const;           // Since open().
  int log_pages() const { return log_pages_; }  // Of the write-ahead log, after the last commit.

 private:
  friend class Query;
  explicit Database(sqlite3* handle) : handle_(handle) {}
  Status last_error(const std::string& what) const;

  sqlite3* handle_;
  int log_pages_ = 0;
  std::unordered_multimap<std::string, sqlite3_stmt*> idle_;  // Prepared statements by their SQL.
};

// One run of a statement with its parameters bound in order. Columns are read in order, from the first after next().
class Query {
 public:
  template <typename... Values>
  Query(Database& database, std::string_view sql, const Values&... values) : Query(database, sql, Prepare{}) {
    (bind(values), ...);
  }
  ~Query();
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  bool next();  // To the next row; false at the end and on failure.
  // Runs it to the end. Errors: as above.
  Status run();
  const Status& status() const { return status_; }

  std::int64_t integer();
  bool boolean() { return integer() != 0; }
  int small() { return static_cast<int>(integer()); }
  std::optional<std::int64_t> integer_or_null();
  std::string text();

 private:
  struct Prepare {};
  Query(Database& database, std::string_view sql, Prepare);
  void bind(std::int64_t value);
  void bind(std::string_view value);  // As text; a blob is read back as the same bytes.
  void bind(const std::optional<std::int64_t>& value);
  void bind(int value) { bind(static_cast<std::int64_t>(value)); }
  void bind(bool value) { bind(static_cast<std::int64_t>(value)); }
  void bind(std::uint64_t value) { bind(static_cast<std::int64_t>(value)); }
  void bind(const std::string& value) { bind(std::string_view(value)); }
  void bind(const char* value) { bind(std::string_view(value)); }
  void check(int code);

  Database& database_;
  std::string sql_;
  sqlite3_stmt* statement_ = nullptr;
  int parameter_ = 0;
  int column_ = 0;
  Status status_;
};

}  // namespace node::storage
