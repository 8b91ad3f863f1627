// Storage commitment: what peers ask us, and what we ask peers about deliveries.
#include <algorithm>
#include <limits>
#include <set>
#include <sstream>

#include "storage/sqlite_schema.h"
#include "storage/sqlite_study_store_impl.h"

namespace node::storage {

using std::chrono::milliseconds;
using Durability = GroupCommit::Durability;

namespace {

constexpr int kRefusalsMax = 3;  // Of one delivery, before a person is asked.
constexpr const char* kNoReport = "not committed: no report in time, given up after delivery.give_up_after";
constexpr std::int64_t kAllOfTime = std::numeric_limits<std::int64_t>::max();
constexpr const char* kNotCallable = "the peer has no host and port any more";
constexpr milliseconds kAskAgain{60'000};

// "class instance", one a line.
std::string to_lines(const std::vector<SopReference>& references) {
  std::string text;
  for (const SopReference& one : references) text += one.sop_class_uid + " " + one.sop_instance_uid + "\n";
  return text;
}

std::vector<SopReference> from_lines(const std::string& text) {
  std::istringstream stream(text);
  std::vector<SopReference> references;
  for (SopReference one; stream >> one.sop_class_uid >> one.sop_instance_uid;) references.push_back(one);
  return references;
}

std::string hexadecimal(std::uint16_t reason) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string text;
  for (int shift = 12; shift >= 0; shift -= 4) text += kDigits[reason >> shift & 0xF];
  return text + "H";
}

}  // namespace

// --- asked by peers -----------------------------------------------------------------------------------------------

Status SqliteStudyStore::add_commitment_request(const std::string& peer, const std::string& transaction_uid,
                                                const std::vector<SopReference>& references) {
  return writer_
      .run(Durability::kPower,
           [&](Transaction& transaction) -> Status {
             return Query(transaction.database,
                          "INSERT INTO commitment_request(peer, transaction_uid, sop_references, created_at, due_at) "
                          "VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT(peer, transaction_uid) DO UPDATE SET "
                          "sop_references = excluded.sop_references, ended = 0, attempts = 0, text = '', "
                          "created_at = excluded.created_at, due_at = excluded.due_at",
                          peer, transaction_uid, to_lines(references), due_now())
                 .run();
           })
      .within("add commitment request");
}

Result<std::vector<CommitmentRequest>> SqliteStudyStore::due_commitment_requests(const std::string& peer, int max) {
  std::vector<CommitmentRequest> requests;
  const Status read = writer_.run(Durability::kProcess, [&](Transaction& transaction) -> Status {
    requests.clear();
    Query rows(transaction.database,
               "SELECT id, peer, transaction_uid, sop_references, attempts, created_at FROM commitment_request "
               "WHERE ended = 0 AND peer = ? AND due_at <= ? ORDER BY due_at, id LIMIT ?",
               peer, due_now(), max);
    while (rows.next()) {
      CommitmentRequest request;
      request.id = rows.integer();
      request.peer = rows.text();
      request.transaction_uid = rows.text();
      request.references = from_lines(rows.text());
      request.attempts = rows.small();
      request.pending_for = milliseconds(std::max<std::int64_t>(due_now() - rows.integer(), 0));
      requests.push_back(std::move(request));
    }
    return rows.status();
  });
  if (!read.ok()) return read.within("due commitment requests");
  return requests;
}

Status SqliteStudyStore::end_commitment_request(std::int64_t id, std::optional<milliseconds> retry_in,
                                                const std::string& text) {
  return writer_.run(Durability::kPower, [&](Transaction& transaction) -> Status {
    return Query(transaction.database,
                 "UPDATE commitment_request SET ended = ?2, attempts = attempts + 1, due_at = ?3, text = ?4 "
                 "WHERE id = ?1",
                 id, !retry_in, due_now() + (retry_in ? static_cast<std::int64_t>(retry_in->count()) : 0), text)
        .run();
  });
}

Result<Safekeeping> SqliteStudyStore::safety_of(const SopReference& reference, bool after_delivery) {
  Safekeeping kept;
  const Status read = writer_.run(Durability::kProcess, [&](Transaction& transaction) -> Status {
    kept = {};
    Query held(transaction.database,
               "SELECT id, sop_class_uid, purged_at IS NOT NULL, file_key, file_bytes, file_sha256 FROM instance "
               "WHERE sop_instance_uid = ? AND current = 1",
               reference.sop_instance_uid);
    if (!held.next()) return held.status();
    const std::int64_t row = held.integer();
    if (held.text() != reference.sop_class_uid) {
      kept.safety = Safety::kOtherClass;
      return ok_status();
    }
    const bool purged = held.boolean();
    StoredFile file;
    file.key = held.text();
    file.size_bytes = static_cast<std::uint64_t>(held.integer());
    file.sha256_hex = held.text();
    Query deliveries(transaction.database,
                     "SELECT count(*), count(*) FILTER (WHERE state = 1 AND commitment IN (0, 3)), "
                     "count(*) FILTER (WHERE state = 3) FROM delivery WHERE instance_id = ?",
                     row);
    if (!deliveries.next()) return deliveries.status();
    const int all = deliveries.small(), done = deliveries.small(), given_up = deliveries.small();
    const bool delivered = all > 0 && all == done;
    if (after_delivery) {
      kept.safety = delivered      ? Safety::kSafe
                    : given_up > 0 ? Safety::kGivenUp
                    : all > 0      ? Safety::kWaits
                                   : Safety::kUnknown;
    } else if (!purged || delivered) {  // What was deleted here is safe where it went.
      kept.safety = Safety::kSafe;
      if (!purged) kept.file = std::move(file);
    }
    return ok_status();
  });
  if (!read.ok()) return read.within("safety of an instance");
  return kept;
}

// --- asked by us --------------------------------------------------------------------------------------------------

// delivery.commitment: 0 not wanted, 1 due, 2 asked, 3 given; 4: PARKED because it could not be asked for, or nothing
// came of it.
Result<BegunCommitment> SqliteStudyStore::begin_commitment(const std::string& destination, int max,
                                                           milliseconds answer_within, milliseconds give_up_after) {
  BegunCommitment begun;
  const Status done = writer_.run(Durability::kPower, [&](Transaction& transaction) -> Status {
    begun = {};
    Database& database = transaction.database;
    const auto period = static_cast<std::int64_t>(answer_within.count());
    // Further ahead than its period: from before the clock was set back.
    NODE_RETURN_IF_ERROR(Query(database,
                               "UPDATE delivery SET commitment_due = ?2 WHERE commitment = 2 AND destination = ?1 AND "
                               "commitment_due > ?2",
                               destination, due_now() + period)
                             .run());
    // No answer to an earlier request: it is asked again, under a new Transaction UID, but not for ever. A study with a
    // PARKED delivery is no more at rest than it was.
    NODE_RETURN_IF_ERROR(Query(database,
                               "UPDATE delivery SET state = 2, commitment = 4, text = ?4 WHERE commitment = 2 AND "
                               "destination = ?1 AND commitment_due <= ?2 AND delivered_at <= ?3",
                               destination, due_now(), now() - static_cast<std::int64_t>(give_up_after.count()),
                               kNoReport)
                             .run());
    begun.given_up = static_cast<int>(database.changes());
    NODE_RETURN_IF_ERROR(Query(database,
                               "UPDATE delivery SET commitment = 1 WHERE commitment = 2 AND destination = ? AND "
                               "commitment_due <= ?",
                               destination, due_now())
                             .run());
    std::vector<std::int64_t> ids;
    {
      Query rows(
          database,
          "SELECT d.id, coalesce(r.sop_class_uid, i.sop_class_uid), coalesce(r.uid, i.sop_instance_uid) "
          "FROM delivery d LEFT JOIN instance i ON i.id = d.instance_id LEFT JOIN result r ON r.id = d.result_id "
          "WHERE d.commitment = 1 AND d.destination = ? AND d.commitment_due <= ? ORDER BY d.commitment_due "
          "LIMIT ?",
          destination, due_now(), max);
      while (rows.next()) {
        ids.push_back(rows.integer());
        SopReference reference;
        reference.sop_class_uid = rows.text();
        reference.sop_instance_uid = rows.text();
        begun.references.push_back(std::move(reference));
      }
      NODE_RETURN_IF_ERROR(rows.status());
    }
    if (ids.empty()) return ok_status();
    NODE_ASSIGN_OR_RETURN(const Uid uid, make_uid());
    begun.transaction_uid = uid.str();
    for (const std::int64_t id : ids) {
      NODE_RETURN_IF_ERROR(Query(database,
                                 "UPDATE delivery SET commitment = 2, commitment_uid = ?2, commitment_due = ?3 "
                                 "WHERE id = ?1",
                                 id, begun.transaction_uid, due_now() + period)
                               .run());
    }
    return ok_status();
  });
  if (!done.ok()) return done.within("begin commitment");
  return begun;
}

Result<int> SqliteStudyStore::release_commitment(const std::string& transaction_uid, milliseconds retry_in,
                                                 std::optional<milliseconds> give_up_after, const std::string& text) {
  int given_up = 0;
  const Status done = writer_.run(Durability::kPower, [&](Transaction& transaction) -> Status {
    given_up = 0;
    Database& database = transaction.database;
    if (give_up_after) {
      NODE_RETURN_IF_ERROR(
          Query(database,
                "UPDATE delivery SET state = 2, commitment = 4, text = ?3 WHERE commitment_uid = ?1 "
                "AND commitment = 2 AND delivered_at <= ?2",
                transaction_uid,
                give_up_after->count() == 0 ? kAllOfTime : now() - static_cast<std::int64_t>(give_up_after->count()),
                text)
              .run());
      given_up = static_cast<int>(database.changes());
    }
    return Query(database,
                 "UPDATE delivery SET commitment = 1, commitment_due = ?2, text = ?3 WHERE commitment_uid = ?1 AND "
                 "commitment = 2",
                 transaction_uid, due_now() + static_cast<std::int64_t>(retry_in.count()), text)
        .run();
  });
  if (!done.ok()) return done.within("release commitment");
  return given_up;
}

Result<std::map<std::string, int>> SqliteStudyStore::set_commitment_peers(const std::vector<std::string>& committing,
                                                                          const std::vector<std::string>& callable) {
  std::map<std::string, int> freed;
  const auto list = [](const std::vector<std::string>& names) { return "\n" + queries::join_lines(names) + "\n"; };
  const Status set = writer_.run(Durability::kPower, [&](Transaction& transaction) -> Status {
    freed.clear();
    Database& database = transaction.database;
    std::set<std::int64_t> studies;
    for (const char* const which : {"commitment IN (1, 2)", "state = 2 AND commitment = 4"}) {  // Each has its index.
      Query rows(database,
                 std::string("UPDATE delivery SET state = 1, commitment = 0, text = '' WHERE ") + which +
                     " AND instr(?1, char(10) || destination || char(10)) = 0 RETURNING study_id, destination",
                 list(committing));
      while (rows.next()) {
        studies.insert(rows.integer());
        ++freed[rows.text()];
      }
      NODE_RETURN_IF_ERROR(rows.status());
    }
    for (const std::int64_t study : studies) NODE_RETURN_IF_ERROR(refresh_rest(transaction, study));
    return Query(database,
                 "UPDATE commitment_request SET ended = 1, text = ?2 WHERE ended = 0 AND "
                 "instr(?1, char(10) || peer || char(10)) = 0",
                 list(callable), kNotCallable)
        .run();
  });
  if (!set.ok()) return set.within("set commitment peers");
  return freed;
}

Result<bool> SqliteStudyStore::end_commitment(const std::string& destination, const std::string& transaction_uid,
                                              const std::vector<SopReference>& committed,
                                              const std::vector<CommitmentFailure>& failed) {
  bool known = false;
  const Status done = writer_.run(Durability::kPower, [&](Transaction& transaction) -> Status {
    known = false;
    Database& database = transaction.database;
    // A delivery of that transaction; the same report twice finds none the second time.
    const auto find =
        [&](const SopReference& reference) -> Result<std::optional<std::pair<std::int64_t, std::int64_t>>> {
      Query row(
          database,
          "SELECT d.id, d.study_id FROM delivery d LEFT JOIN instance i ON i.id = d.instance_id LEFT JOIN result r "
          "ON r.id = d.result_id WHERE d.commitment = 2 AND d.destination = ? AND d.commitment_uid = ? AND "
          "coalesce(r.uid, i.sop_instance_uid) = ?",
          destination, transaction_uid, reference.sop_instance_uid);
      if (row.next()) {
        const std::int64_t id = row.integer();
        return std::optional(std::pair(id, row.integer()));
      }
      NODE_RETURN_IF_ERROR(row.status());
      return std::optional<std::pair<std::int64_t, std::int64_t>>();
    };
    Query any(database, "SELECT 1 FROM delivery WHERE commitment_uid = ? AND destination = ?", transaction_uid,
              destination);
    known = any.next();
    NODE_RETURN_IF_ERROR(any.status());
    for (const SopReference& reference : committed) {
      NODE_ASSIGN_OR_RETURN(const auto found, find(reference));
      if (!found) continue;
      NODE_RETURN_IF_ERROR(
          Query(database, "UPDATE delivery SET commitment = 3, text = '' WHERE id = ?", found->first).run());
      NODE_RETURN_IF_ERROR(refresh_rest(transaction, found->second));
    }
    for (const CommitmentFailure& failure : failed) {
      NODE_ASSIGN_OR_RETURN(const auto found, find(failure.reference));
      if (!found) continue;
      // Not there: it is sent again. Not now: it is asked again. After a few times, and for all else, a person decides;
      // a release sends it again.
      const std::string text = "not committed: " + hexadecimal(failure.reason);
      const bool resend = failure.reason == 0x0112;
      const bool later = failure.reason == 0x0110 || failure.reason == 0x0213 || failure.reason == 0x0131;
      Query refusals(database,
                     "UPDATE delivery SET commitment_refusals = commitment_refusals + 1, text = ?2 WHERE id = ?1 "
                     "RETURNING commitment_refusals",
                     found->first, text);
      if (!refusals.next()) return refusals.status();
      const bool again = refusals.integer() < kRefusalsMax && (resend || later);
      NODE_RETURN_IF_ERROR(refusals.run());
      if (again && resend) {
        NODE_RETURN_IF_ERROR(Query(database,
                                   "UPDATE delivery SET state = 0, commitment = 0, delayed = 0, delay_ms = 0, "
                                   "due_at = ?2 WHERE id = ?1",
                                   found->first, due_now())
                                 .run());
        signal_on_commit(transaction, deliveries_at(destination));
      } else if (again) {
        NODE_RETURN_IF_ERROR(Query(database, "UPDATE delivery SET commitment = 1, commitment_due = ?2 WHERE id = ?1",
                                   found->first, due_now() + kAskAgain.count())
                                 .run());
      } else {
        NODE_RETURN_IF_ERROR(
            Query(database, "UPDATE delivery SET state = 2, commitment = 0 WHERE id = ?1", found->first).run());
      }
      NODE_RETURN_IF_ERROR(refresh_blocked(transaction, found->second, destination));
      NODE_RETURN_IF_ERROR(refresh_rest(transaction, found->second));
    }
    return ok_status();
  });
  if (!done.ok()) return done.within("end commitment " + transaction_uid);
  return known;
}

}  // namespace node::storage
