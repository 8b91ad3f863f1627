#include "storage/sqlite_database.h"

#include <sqlite3.h>

#include <system_error>

namespace node::storage {
namespace {

StatusCode code_of(int sqlite_code) {
  switch (sqlite_code & 0xff) {
    case SQLITE_FULL:
    case SQLITE_NOMEM: return StatusCode::kResourceExhausted;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return StatusCode::kUnavailable;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY: return StatusCode::kDataLoss;
    default: return StatusCode::kInternal;
  }
}

}  // namespace

Result<std::unique_ptr<Database>> Database::open(const std::filesystem::path& path, Mode mode) {
  std::error_code ignored;
  if (mode == Mode::kReadOnly && !std::filesystem::exists(path, ignored)) {
    return not_found("open " + path.string() + ": there is no such file");
  }
  sqlite3* handle = nullptr;
  const int flags = mode == Mode::kReadOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  const int code = sqlite3_open_v2(path.c_str(), &handle, flags | SQLITE_OPEN_NOMUTEX, nullptr);
  if (handle == nullptr) return resource_exhausted("open " + path.string() + ": out of memory");
  auto database = std::unique_ptr<Database>(new Database(handle));
  sqlite3_extended_result_codes(handle, 1);
  if (code != SQLITE_OK) return database->last_error("open " + path.string());
  sqlite3_busy_timeout(handle, 10'000);
  sqlite3_wal_hook(
      handle,
      [](void* self, sqlite3*, const char*, int pages) {
        static_cast<Database*>(self)->log_pages_ = pages;
        return SQLITE_OK;
      },
      database.get());
  // The -wal file stays after the last close, so that a reader without write permission can open a stopped store.
  int persist = 1;
  sqlite3_file_control(handle, nullptr, SQLITE_FCNTL_PERSIST_WAL, &persist);
  return database;
}

Database::~Database() {
  for (const auto& [sql, statement] : idle_) sqlite3_finalize(statement);
  sqlite3_close(handle_);
}

// By SQLite's own calls: closing a second descriptor of the file would let go of every lock that this process has on
// it. Source: SQLite, "File Locking" (fcntl); SQLITE_FCNTL_CHUNK_SIZE, SQLITE_FCNTL_SIZE_HINT.
void Database::reserve(int bytes) {
  if (bytes == 0) return;
  Query size(*this, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size");
  if (!size.next()) return;
  const auto grow = [&](int which_file, sqlite3_int64 end) {
    sqlite3_file* file = nullptr;
    if (sqlite3_file_control(handle_, "main", which_file, &file) != SQLITE_OK) return;
    if (file == nullptr || file->pMethods == nullptr) return;
    file->pMethods->xFileControl(file, SQLITE_FCNTL_CHUNK_SIZE, &bytes);
    file->pMethods->xFileControl(file, SQLITE_FCNTL_SIZE_HINT, &end);
  };
  grow(SQLITE_FCNTL_FILE_POINTER, size.integer() + bytes);
  grow(SQLITE_FCNTL_JOURNAL_POINTER, 2 * sqlite3_int64{bytes});
}

Status Database::copy_to(const std::filesystem::path& path) {
  sqlite3* target = nullptr;
  const std::string what = "copy to " + path.string();
  int code = sqlite3_open_v2(path.c_str(), &target, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
  if (code == SQLITE_OK) {
    sqlite3_backup* backup = sqlite3_backup_init(target, "main", handle_, "main");
    // All pages in one step are one read transaction, which in a write-ahead log holds up no writer.
    if (backup != nullptr) {
      sqlite3_backup_step(backup, -1);
      sqlite3_backup_finish(backup);
    }
    code = sqlite3_errcode(target);
  }
  const Status status = code == SQLITE_OK ? ok_status() : Status(code_of(code), what + ": " + sqlite3_errmsg(target));
  sqlite3_close(target);
  return status;
}

Status Database::execute(const std::string& sql) {
  if (sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK) return ok_status();
  return last_error(sql.substr(0, sql.find_first_of(" \n")));
}

bool Database::in_transaction() const { return sqlite3_get_autocommit(handle_) == 0; }
std::int64_t Database::last_insert_id() const { return sqlite3_last_insert_rowid(handle_); }
std::int64_t Database::changes() const { return sqlite3_changes64(handle_); }
std::int64_t Database::total_changes() const { return sqlite3_total_changes64(handle_); }

Status Database::last_error(const std::string& what) const {
  const int code = sqlite3_errcode(handle_);
  std::string why = sqlite3_errmsg(handle_);  // "disk I/O error" helps nobody; "Read-only file system" does.
  const int system =
      (code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN ? sqlite3_system_errno(handle_) : 0;
  if (system != 0) why += " (" + std::generic_category().message(system) + ")";
  return {code_of(code), what + ": " + why};
}

Query::Query(Database& database, std::string_view sql, Prepare) : database_(database), sql_(sql) {
  if (const auto found = database_.idle_.find(sql_); found != database_.idle_.end()) {
    statement_ = found->second;
    database_.idle_.erase(found);
    return;
  }
  check(sqlite3_prepare_v3(database_.handle_, sql_.data(), static_cast<int>(sql_.size()), SQLITE_PREPARE_PERSISTENT,
                           &statement_, nullptr));
}

Query::~Query() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
  database_.idle_.emplace(std::move(sql_), statement_);
}

void Query::check(int code) {
  if (code != SQLITE_OK && status_.ok()) status_ = database_.last_error("query");
}

void Query::bind(std::int64_t value) {
  if (statement_ != nullptr) check(sqlite3_bind_int64(statement_, ++parameter_, value));
}

void Query::bind(std::string_view value) {
  // Not a null pointer: that would bind NULL.
  const char* data = value.empty() ? "" : value.data();
  if (statement_ != nullptr) {
    check(sqlite3_bind_text64(statement_, ++parameter_, data, value.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
  }
}

void Query::bind(const std::optional<std::int64_t>& value) {
  if (value) return bind(*value);
  if (statement_ != nullptr) check(sqlite3_bind_null(statement_, ++parameter_));
}

bool Query::next() {
  column_ = 0;
  if (!status_.ok()) return false;
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) check(code);
  return false;
}

Status Query::run() {
  while (next()) {
  }
  return status_;
}

std::int64_t Query::integer() { return sqlite3_column_int64(statement_, column_++); }

std::optional<std::int64_t> Query::integer_or_null() {
  if (sqlite3_column_type(statement_, column_) == SQLITE_NULL) {
    ++column_;
    return std::nullopt;
  }
  return integer();
}

std::string Query::text() {
  const int column = column_++;
  const void* data = sqlite3_column_blob(statement_, column);
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column));
  return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), size);
}

}  // namespace node::storage
