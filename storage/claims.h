// Claims: who works on what, in memory: a token for each row that is taken.
//
// Guarantee: what a work of a transaction changes here is put back if the transaction is not committed.
// Threads:   inside works of GroupCommit only.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <unordered_map>

#include "storage/group_commit.h"
#include "storage/study_store.h"

namespace node::storage {

class Claims {
 public:
  bool empty() const { return rows_.empty(); }
  bool holds(std::int64_t row) const { return tokens_.contains(row); }

  ClaimToken take(Transaction& transaction, std::int64_t row) {
    const ClaimToken token = next_++;
    put(token, row);
    transaction.on_rollback([this, token, row] { erase(token, row); });
    return token;
  }

  std::optional<std::int64_t> find(ClaimToken token) const {
    const auto found = rows_.find(token);
    return found == rows_.end() ? std::nullopt : std::optional(found->second);
  }

  // Voids the claim on `row`, if there is one.
  void drop(Transaction& transaction, std::int64_t row) {
    const auto found = tokens_.find(row);
    if (found == tokens_.end()) return;
    const ClaimToken token = found->second;
    erase(token, row);
    transaction.on_rollback([this, token, row] { put(token, row); });
  }

 private:
  void put(ClaimToken token, std::int64_t row) {
    rows_[token] = row;
    tokens_[row] = token;
  }
  void erase(ClaimToken token, std::int64_t row) {
    rows_.erase(token);
    tokens_.erase(row);
  }

  // From a random start, so that a token of an earlier process is not one of this.
  ClaimToken next_ = static_cast<ClaimToken>(std::random_device{}()) << 32 | 1;
  std::unordered_map<ClaimToken, std::int64_t> rows_;
  std::unordered_map<std::int64_t, ClaimToken> tokens_;
};

}  // namespace node::storage
