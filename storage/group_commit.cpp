#include "storage/group_commit.h"

#include <algorithm>
#include <exception>
#include <string>
#include <utility>

namespace node::storage {
namespace {

// Refused by the disk or the database itself, not by the rules of one call.
bool is_store_failure(const Status& status) {
  return status.code() == StatusCode::kResourceExhausted || status.code() == StatusCode::kDataLoss;
}

// Those who wait must not be left waiting because one work throws.
Status run_caught(const GroupCommit::Work& work, Transaction& transaction) {
  try {
    return work(transaction);
  } catch (const std::exception& error) {
    return internal_error(std::string("a work threw: ") + error.what());
  }
}

}  // namespace

void Transaction::end(bool committed) {
  if (committed) {
    for (const auto& then : then_) then();
  } else {
    std::for_each(undo_.rbegin(), undo_.rend(), [](const auto& undo) { undo(); });
  }
  undo_.clear();
  then_.clear();
}

Status GroupCommit::run(Durability durability, Work work, bool* undone) {
  Request request{durability, std::move(work), {}};
  std::vector<Request*> batch;
  {
    MutexLock lock(mutex_);
    waiting_.push_back(&request);
    while (committing_ && !request.done) committed_.wait(lock);
    if (!request.done) {
      committing_ = true;
      batch.swap(waiting_);
    }
  }
  if (!batch.empty()) {
    commit(batch);
    MutexLock lock(mutex_);
    committing_ = false;
    for (Request* one : batch) one->done = true;
    committed_.notify_all();
  }
  if (undone != nullptr) *undone = request.undone;
  return request.status;
}

Status GroupCommit::health() const {
  MutexLock lock(mutex_);
  return health_;
}

GroupCommit::Stats GroupCommit::stats() const {
  MutexLock lock(mutex_);
  return stats_;
}

std::size_t GroupCommit::waiting() const {
  MutexLock lock(mutex_);
  return waiting_.size();
}

void GroupCommit::commit(const std::vector<Request*>& batch) noexcept {
  std::vector<Transaction> transactions(batch.size(), Transaction(*database_));
  const std::int64_t changes_before = database_->total_changes();
  const Status applied = apply(batch, transactions);
  const bool begun_to_commit = std::exchange(commits_, false);
  if (!applied.ok()) {
    log_suspect_ = log_suspect_ || is_store_failure(applied);  // Not where it was merely locked.
    if (database_->in_transaction()) static_cast<void>(database_->execute("ROLLBACK").ok());
    // Undone in the reverse order of the works, because a later one may have built on an earlier one.
    for (std::size_t i = batch.size(); i-- > 0;) {
      batch[i]->undone = !batch[i]->status.ok() || !begun_to_commit;
      batch[i]->status = applied;
      transactions[i].end(false);
    }
  } else {
    for (Transaction& transaction : transactions) transaction.end(true);
    for (Request* request : batch) request->undone = !request->status.ok();
    if (database_->log_pages() >= log_pages_max_) shorten_log();
  }
  const auto synced =
      std::count_if(batch.begin(), batch.end(), [](const Request* r) { return r->durability == Durability::kPower; });
  MutexLock lock(mutex_);
  if (!applied.ok()) {
    health_ = applied;
  } else if (database_->total_changes() != changes_before) {
    health_ = ok_status();
  }
  if (applied.ok() && synced > 0) {
    stats_.works += synced;
    ++stats_.commits;
  }
}

// A sync of the log that failed may have forgotten frames of earlier transactions: the operating system takes their
// pages for clean from then on and no later sync writes them. They are still read, but after a power loss the log would
// end before them, and all that was promised later with them. So the log is copied into the database and begun anew.
// The file keeps its length: on a disk that is full by now the next commit could not get it back.
// Source: fsync(2), EIO (an error is reported once); SQLite, "WAL-mode File Format" (a wrong checksum ends the log).
Status GroupCommit::empty_log() {
  Query checkpoint(*database_, "PRAGMA wal_checkpoint(RESTART)");
  if (!checkpoint.next()) return checkpoint.status();
  if (checkpoint.boolean()) return unavailable("checkpoint: the log is locked by a reader");
  database_->reserve(reserve_bytes_);
  log_suspect_ = false;
  return ok_status();
}

// SQLite would do it by itself, within COMMIT and without a word of what fails: its sync of the log is one like any
// other. What a reader holds up is done after a later transaction.
void GroupCommit::shorten_log() {
  Query checkpoint(*database_, "PRAGMA wal_checkpoint(PASSIVE)");
  if (!checkpoint.next() && checkpoint.status().code() == StatusCode::kDataLoss) log_suspect_ = true;
  database_->reserve(reserve_bytes_);
}

Status GroupCommit::apply(const std::vector<Request*>& batch, std::vector<Transaction>& transactions) {
  // After a failure every transaction writes and syncs, if only a mark, so that the store notices that it works again.
  const bool probe = !health().ok();
  const bool full_sync = probe || std::any_of(batch.begin(), batch.end(),
                                              [](const Request* r) { return r->durability == Durability::kPower; });
  if (log_suspect_) NODE_RETURN_IF_ERROR(empty_log());
  if (full_sync != full_sync_) {  // Only outside a transaction; a full sync covers all earlier commits too.
    NODE_RETURN_IF_ERROR(database_->execute(full_sync ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL"));
    full_sync_ = full_sync;
  }
  NODE_RETURN_IF_ERROR(database_->execute("BEGIN IMMEDIATE"));
  if (probe) {
    NODE_RETURN_IF_ERROR(Query(*database_, "INSERT OR REPLACE INTO meta VALUES ('probe', hex(randomblob(8)))").run());
  }
  for (std::size_t i = 0; i < batch.size(); ++i) {
    NODE_RETURN_IF_ERROR(Query(*database_, "SAVEPOINT work").run());
    batch[i]->status = run_caught(batch[i]->work, transactions[i]);
    if (!batch[i]->status.ok()) {
      // After a full disk or an input/output error SQLite has already undone the whole transaction, or soon must.
      if (!database_->in_transaction() || is_store_failure(batch[i]->status)) return batch[i]->status;
      NODE_RETURN_IF_ERROR(Query(*database_, "ROLLBACK TO work").run());
      transactions[i].end(false);
    }
    NODE_RETURN_IF_ERROR(Query(*database_, "RELEASE work").run());
  }
  commits_ = true;
  return database_->execute("COMMIT");
}

}  // namespace node::storage
