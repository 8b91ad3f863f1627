// GroupCommit: the one writer of a database; callers that wait at the same time share one transaction and one sync.
//
// Guarantee: run() returns OK only after the transaction that holds its work has committed. The failure of one work
//            undoes that work alone; a failure of the commit fails every work of it.
// Threads:   run() from any thread; works and their on_commit/on_rollback run on the writer thread, one at a time, so
//            what only they touch needs no mutex.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <thread>
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

  explicit GroupCommit(std::unique_ptr<Database> database);
  ~GroupCommit();  // Finishes what was accepted.

  // Waits until `work` is committed or has failed. Errors: those of `work` and of the database.
  Status run(Durability durability, Work work);

  // The error of the last transaction that the disk or the database refused, until one succeeds again.
  Status health() const;
  Stats stats() const;
  std::size_t waiting() const;  // Works handed in that the writer has not taken up.

 private:
  struct Request {
    Durability durability;
    Work work;
    Status status;
    bool done = false;
  };
  void loop();
  void commit(const std::vector<Request*>& batch);
  Status apply(const std::vector<Request*>& batch, std::vector<Transaction>& transactions);
  Status empty_log();

  std::unique_ptr<Database> database_;  // The writer thread's own.
  bool full_sync_ = true;               // As the connection is set; the writer thread's own.
  bool log_suspect_ = false;            // A sync of the log may have failed; the writer thread's own.
  mutable Mutex mutex_;
  ConditionVariable arrived_, answered_;
  std::deque<Request*> waiting_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  Status health_ GUARDED_BY(mutex_);
  Stats stats_ GUARDED_BY(mutex_);
  std::thread writer_;
};

}  // namespace node::storage
