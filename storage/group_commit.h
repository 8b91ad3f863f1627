// GroupCommit: the one way to write to a database; callers that come while another commits share the next transaction
//              and its sync. There is no thread of its own: one of those that wait commits for all, so that a caller
//              who is alone is not held up by a change of threads.
//
// Guarantee: run() returns OK only after the transaction that holds its work has committed. The failure of one work
//            undoes that work alone; a failure of the commit fails every work of it.
// Threads:   run() from any thread; works and their on_commit/on_rollback run one at a time, each seeing what earlier
//            ones did, so what only they touch needs no mutex. A work may run on another caller's thread, and must not
//            call run() itself. One that throws is one that failed; elsewhere an exception ends the process.
#pragma once

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "config/base/mutex.h"
#include "config/base/status.h"
#include "storage/sqlite_database.h"

namespace node::storage {

class Transaction {  // What a work sees.
 public:
  explicit Transaction(Database& database) : database(database) {}
  Database& database;
  // What a work did in memory and must be put back if it is not committed; the newest is called first.
  void on_rollback(std::function<void()> undo) { undo_.push_back(std::move(undo)); }
  void on_commit(std::function<void()> then) { then_.push_back(std::move(then)); }

 private:
  friend class GroupCommit;
  void end(bool committed);
  std::vector<std::function<void()>> undo_, then_;
};

class GroupCommit {
 public:
  // kProcess: survives SIGKILL. kPower: also power loss; costs a sync.
  enum class Durability { kProcess, kPower };
  using Work = std::function<Status(Transaction&)>;
  struct Stats {
    std::int64_t works = 0, commits = 0;  // Of the works that asked for kPower.
  };

  // `log_pages_max`: once the write-ahead log has so many pages, the database takes them over between two transactions.
  // `reserve_bytes`: see Database::reserve(). The log should have room for more than `log_pages_max`.
  explicit GroupCommit(std::unique_ptr<Database> database, int log_pages_max = 1000, int reserve_bytes = 0)
      : database_(std::move(database)), log_pages_max_(log_pages_max), reserve_bytes_(reserve_bytes) {
    database_->reserve(reserve_bytes_);
  }

  // Waits until `work` is committed or has failed. Errors: those of `work` and of the database; kInternal: it threw.
  // After an error `undone` says whether nothing of it is left for certain: only a commit that fails may turn out,
  // after a power loss, to have been written.
  Status run(Durability durability, Work work, bool* undone = nullptr);

  // The error of the last transaction that the disk or the database refused, until one succeeds again.
  Status health() const;
  Stats stats() const;
  std::size_t waiting() const;  // Works handed in that are in no transaction yet.

 private:
  struct Request {
    Durability durability;
    Work work;
    Status status;
    bool done = false;
    bool undone = false;
  };
  void commit(const std::vector<Request*>& batch) noexcept;
  Status apply(const std::vector<Request*>& batch, std::vector<Transaction>& transactions);
  Status empty_log();
  void shorten_log();

  // Of whoever commits.
  std::unique_ptr<Database> database_;
  const int log_pages_max_;
  const int reserve_bytes_;
  bool full_sync_ = true;     // As the connection is set.
  bool log_suspect_ = false;  // A sync of the log may have failed.
  bool commits_ = false;      // The transaction has come to its COMMIT.

  mutable Mutex mutex_;
  ConditionVariable committed_;
  bool committing_ GUARDED_BY(mutex_) = false;
  std::vector<Request*> waiting_ GUARDED_BY(mutex_);
  Status health_ GUARDED_BY(mutex_);
  Stats stats_ GUARDED_BY(mutex_);
};

}  // namespace node::storage
