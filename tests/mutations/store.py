"""What storage, intake and delivery promise: each sync, the order of file, row and answer, the rules of the store."""
import pathlib
import re

from run import SOURCE, Mutation

OPTIONS = ["-DNODE_INFERENCE=OFF"]
CRASH = "crash_points_test"
STORE = "storage/sqlite_study_store.cpp"
RECEIVE = "storage/sqlite_study_store_receive.cpp"
ANALYZE = "storage/sqlite_study_store_analyze.cpp"
RESULTS = "storage/sqlite_study_store_results.cpp"
RETENTION = "storage/sqlite_study_store_retention.cpp"
COMMITMENT = "storage/sqlite_study_store_commitment.cpp"
SPOOL = "storage/spool.cpp"
COMMIT = "storage/group_commit.cpp"
DATABASE = "storage/sqlite_database.cpp"
REST = "storage/rest_clock.cpp"
CLAIMS = "storage/claims.h"
WAKEUPS = "storage/wakeups.h"
INTAKE = "dicom_node/receive/intake.cpp"
WORKER = "dicom_node/deliver/delivery_worker.cpp"
BACKUP = "storage/backup.cpp"
FILES = "storage/file_system.cpp"
CHECK = "storage/spool_check.cpp"
ORPHANS = "dicom_node/receive/orphans.cpp"


# The quick tests that stand nearest to a file, in the order in which they are asked.
NEAREST = {SPOOL: ("spool_test",), INTAKE: ("intake_test",), WORKER: ("delivery_worker_test",),
           COMMIT: ("group_commit_test", "sqlite_vfs_test"), BACKUP: ("backup_test",), FILES: ("file_system_test", "spool_test"),
           RETENTION: ("retention_worker_test",), CHECK: ("spool_check_test",), ORPHANS: ("orphans_test",),
           WAKEUPS: ("wakeups_test",), STORE: ("sqlite_vfs_test",), DATABASE: ("sqlite_vfs_test",)}
STORE_TESTS = ("sqlite_study_store_test", "study_store_test")


def every(path, pattern, name, new):
    """A mutation for each match of `pattern`: what a sync or a durable commit costs, removed one at a time."""
    text = (SOURCE / path).read_text()
    seen = {}
    for match in re.finditer(pattern, text):
        old = match.group(0)
        occurrence = seen[old] = seen.get(old, -1) + 1
        functions = re.findall(r"^(?:  )?(?:Status|Result<[^(]*>) (?:\w+::)*(\w+)\(", text[:match.start()], re.M)
        yield Mutation(f"{pathlib.Path(path).name}:{text.count(chr(10), 0, match.start()) + 1} {name(old, functions[-1])}",
                       path, old, new(old), occurrence, sync=True)


def mutations():
    found = [
        Mutation("0x0000 although the row was refused", INTAKE, "if (!added.ok()) return failed(added.status());",
                 "if (!added.ok()) return answer;"),
        Mutation("0x0000 before the commit: the row is written with the next image", INTAKE,
                 "const auto added = store_.add_instance(instance, arrival, held->has_value() ? (*held)->version : 0);",
                 "static const Intake* owner = nullptr; static std::vector<std::function<void()>> later;\n"
                 "if (owner == this) for (const auto& add : later) add();\n"
                 "owner = this; later.clear();\n"
                 "later.push_back([this, instance, arrival, v = held->has_value() ? (*held)->version : 0] {\n"
                 "static_cast<void>(store_.add_instance(instance, arrival, v).ok()); });\n"
                 "const Result<storage::AddResult> added = [] { storage::AddResult r; r.added = true; return r; }();"),
        Mutation("synchronous = OFF for what is promised", COMMIT,
                 '"PRAGMA synchronous = FULL"', '"PRAGMA synchronous = OFF"'),
        Mutation("synchronous = OFF from the start", STORE, '"PRAGMA synchronous = FULL"', '"PRAGMA synchronous = OFF"'),
        Mutation("synchronous = NORMAL for what is promised", COMMIT, '"PRAGMA synchronous = FULL"',
                 '"PRAGMA synchronous = NORMAL"'),
        Mutation("the log is not begun anew after a failed sync", COMMIT,
                 "if (log_suspect_) NODE_RETURN_IF_ERROR(empty_log());",
                 ""),
        Mutation("keep_first ignored", INTAKE, "if (!config_.keep_first_on_conflict) {", "{"),
        Mutation("the same conflict kept twice", RECEIVE, "if (result.known_conflict) return ok_status();", ""),
        Mutation("a seen version that is older is taken", RECEIVE,
                 "if (version != seen_version || (arrival == Arrival::kFirst) == is_held) return ok_status();",
                 "if ((arrival == Arrival::kFirst) == is_held) return ok_status();"),
        Mutation("a correction leaves the older version to be analysed", RECEIVE,
                 "state = CASE state WHEN 0 THEN 2 ELSE state END",
                 "state = state"),
        Mutation("a retry keeps the version", STORE, "version = version + (state != 0) WHERE", "version = version WHERE"),
        Mutation("a retry that is repeated once its study is finished makes another", STORE,
                 "if (seen_revision ? *seen_revision < revision : was_retried) {", "if (seen_revision && *seen_revision < revision) {"),
        Mutation("a retry of a named revision is made as often as it is asked", STORE,
                 "if (seen_revision ? *seen_revision < revision : was_retried) {", "if (!seen_revision && was_retried) {"),
        Mutation("what failed once more cannot be retried once more", STORE, "retried = revision AND state != 4 AND NOT EXISTS",
                 "retried = revision OR false AND NOT EXISTS"),
        Mutation("a retry of what is open keeps the revision", STORE, "revision = revision + (?2 AND state NOT IN \"", "revision = revision + (0 AND state NOT IN \""),
        Mutation("a retry keeps the urgency of its images", ANALYZE, "priority = iif(?2, ?3, route_priority) WHERE", "priority = priority WHERE"),
        Mutation("a retry keeps the urgency of the study", STORE, "reason = '', urgent = '', attempts", "reason = '', attempts"),
        Mutation("an image that is moved leaves its urgency behind", RECEIVE,
                 "NODE_RETURN_IF_ERROR(refresh_urgent(transaction, old_study));", ""),
        Mutation("a stale token accepted", CLAIMS,
                 "    erase(token, row);\n    transaction.on_rollback([this, token, row] { put",
                 "    tokens_.erase(row);\n    transaction.on_rollback([this, token, row] { put"),
        Mutation("a token of an earlier process accepted", CLAIMS,
                 "static_cast<ClaimToken>(std::random_device{}()) << 32 | 1", "1"),
        Mutation("a claim kept though its commit failed", CLAIMS,
                 "transaction.on_rollback([this, token, row] { erase(token, row); });", ""),
        Mutation("a claim lost though the call that ends it failed", CLAIMS,
                 "transaction.on_rollback([this, token, row] { put(token, row); });", ""),
        Mutation("claimed instances are offered again", ANALYZE, "if (!instance_claims_.holds(row)) rows_to_take",
                 "rows_to_take"),
        Mutation("an attempt is not counted", ANALYZE, "SET attempts = attempts + 1 WHERE", "SET attempts = attempts WHERE"),
        Mutation("an image that took the process down is tried for ever", ANALYZE, "if (attempts.small() >= attempts_max_) {",
                 "if (false) {"),
        Mutation("a released image keeps its claim", ANALYZE, "drop_instance_claim(transaction, *row);\n    signal", "signal"),
        Mutation("a released study keeps its claim", RESULTS,
                 "study_claims_.drop(transaction, *study);\n    signal", "signal"),
        Mutation("a delivery that failed keeps its claim", RESULTS,
                 "    delivery_claims_.drop(transaction, *id);\n    if (is_result",
                 "    if (is_result"),
        Mutation("postponed deliveries keep their claims", RESULTS,
                 "      delivery_claims_.drop(transaction, *id);\n    }", "    }"),
        Mutation("a late image keeps the revision", RECEIVE, "revision = revision + (state IN (2, 4))", "revision = revision"),
        Mutation("a late image leaves the claim on the report", RECEIVE,
                 "  study_claims_.drop(transaction, study);\n  NODE_RETURN_IF_ERROR(Query(transaction.database,\n"
                 "                             \"UPDATE study SET revision",
                 "  NODE_RETURN_IF_ERROR(Query(transaction.database,\n                             \"UPDATE study SET revision"),
        Mutation("a report does not wait for its images", RESULTS, " INDEXED BY study_ready WHERE state = 1 AND waits = 0 ", " WHERE state = 1 "),
        Mutation("a finished study is offered again", RESULTS, "SET state = 2, finished_at", "SET state = 1, finished_at"),
        Mutation("a known result is written over", RESULTS, "ON CONFLICT(uid) DO NOTHING\"",
                 "ON CONFLICT(uid) DO UPDATE SET file_key = excluded.file_key, file_sha256 = excluded.file_sha256\""),
        Mutation("a delivery of a result for each report", RESULTS,
                 '"ON CONFLICT(result_id, destination) WHERE result_id IS NOT NULL DO NOTHING"',
                 '"ON CONFLICT(result_id, destination) WHERE result_id IS NOT NULL DO UPDATE SET state = 0"'),
        Mutation("a claimed delivery is offered again", RESULTS, "if (delivery_claims_.holds(id)) continue;", ""),
        Mutation("what was delivered is sent again", RESULTS,
                 "d.instance_id LEFT JOIN result r ON r.id = d.result_id WHERE d.state = 0",
                 "d.instance_id LEFT JOIN result r ON r.id = d.result_id WHERE d.state <= 1"),
        Mutation("a report does not wait for its overlays at a destination", RESULTS, "AND d.blocked = 0 AND \"", "AND \""),
        Mutation("a message does not wait for the destination that it names", RESULTS, "(after != '' AND EXISTS", "(false AND EXISTS"),
        Mutation("a message does not wait for its elder", RESULTS, "(stage = 5 AND EXISTS", "(false AND EXISTS"),
        Mutation("what is urgent goes behind the rest once it failed", RESULTS,
                 "ORDER BY d.attempts > 0 AND d.priority < 2000, ", "ORDER BY d.attempts > 0, "),
        Mutation("what waits for a destination that is gone waits for ever", RESULTS,
                 "for (const auto& [of, destination] : gone) NODE_RETURN_IF_ERROR(refresh_blocked(transaction, of, destination));", ""),
        Mutation("a retry comes at once", RESULTS, "\"d.delayed = 0 AND", "\""),
        Mutation("sent without a look at the digest", WORKER,
                 "Status intact = spool.verify(claim.file);", "Status intact = ok_status();"),
        Mutation("purged before all is delivered", RETENTION, "AND (state IN (0, 2) OR", "AND (state IN (2) OR"),
        Mutation("purged while a delivery waits for a person", RETENTION, "AND (state IN (0, 2) OR", "AND (state IN (0) OR"),
        Mutation("what was given up keeps its study from retention", RESULTS,
                 "id, now()).run());\n    return refresh_rest(transaction, study);", "id, now()).run());\n    return ok_status();"),
        Mutation("what was given up and released does not keep it again", RESULTS,
                 "    NODE_RETURN_IF_ERROR(refresh_rest(transaction, study));  // One that was given up had let it come to rest.\n", ""),
        Mutation("what was given up comes due when its destination is back", RESULTS, "WHERE state = 2 AND text = ?2",
                 "WHERE state IN (2, 3) AND text = ?2"),
        Mutation("a peer waits for what was given up", COMMITMENT, ": given_up > 0 ? Safety::kGivenUp", ": given_up < 0 ? Safety::kGivenUp"),
        Mutation("purged before the peer has committed it", RETENTION, "OR commitment IN (1, 2))", "OR false)"),
        Mutation("one that is asked to commit no more keeps its studies", COMMITMENT,
                 "for (const std::int64_t study : studies) NODE_RETURN_IF_ERROR(refresh_rest(transaction, study));", ""),
        Mutation("a request that is never answered is made for ever", COMMITMENT,
                 "commitment_due <= ?2 AND delivered_at <= ?3", "commitment_due <= ?2 AND false AND ?3 > 0"),
        Mutation("an answer is waited for as long as the clock was set back", COMMITMENT, "commitment_due > ?2\",",
                 "commitment_due > ?2 AND false\","),
        Mutation("purged before its time", RETENTION, "rest_clock_.now() - static_cast<std::int64_t>(kept->count())",
                 "rest_clock_.now()"),
        Mutation("a stop counts as time at rest however long it is by the clock", REST,
                 "std::min<std::int64_t>(stop, milliseconds(kStopCountedMax).count())", "stop"),
        Mutation("that a clock has jumped is not written down", REST,
                 " && std::abs(wall() - kept_wall_ - passed) < kSlewed.count()", ""),
        Mutation("the log gives its space back when it is begun anew", COMMIT, "wal_checkpoint(RESTART)", "wal_checkpoint(TRUNCATE)"),
        Mutation("nothing is allocated behind the database and its log", DATABASE, "if (bytes == 0) return;", "return;"),
        Mutation("what root makes stays root's", FILES, "::fchown(made, of.st_uid, of.st_gid) == 0", "true"),
        Mutation("what lies among the objects is not looked at", SPOOL, "names.strays.push_back(shard.filename().string());", ""),
        Mutation("which volume is full is not said", BACKUP, "if (made.code() == StatusCode::kResourceExhausted) {", "if (false) {"),
        Mutation("the delays do not grow", WORKER, "std::pow(2.0, std::clamp(failures - 1, 0, 30))", "1.0"),
        Mutation("the delays have no end", WORKER, "static_cast<double>(config.retry_max.count()));", "1e15);"),
        Mutation("nothing is given up, however long it waits", WORKER, "return claim.pending_for >= config.give_up_after && ",
                 "return false && "),
        Mutation("what is to be given up is given up at its first failure", WORKER,
                 "return claim.pending_for >= config.give_up_after && backoff(config, failed_attempts, 1.0) >= config.retry_max;",
                 "return claim.pending_for >= config.give_up_after;"),
        Mutation("a refusal that cannot succeed is tried again", WORKER,
                 "return DeliveryState::kParked;\n}\n\nstd::string_view meaning", "return DeliveryState::kPending;\n}\n\nstd::string_view meaning"),
        Mutation("a warning is a refusal", WORKER, "(status & 0xF000) == 0xB000 || ", ""),
        Mutation("a warning is not recorded", WORKER, "if (!answer->state) outcome.peer_status = answer->status;", ""),
        Mutation("one destination is served at a time", WORKER,
                 "void deliver(std::span<const ClaimedDelivery> claims) {",
                 "void deliver(std::span<const ClaimedDelivery> claims) {\nstatic Mutex all; MutexLock one_at_a_time(all);"),
        Mutation("the pause of one destination is that of all", RESULTS,
                 "destination_not_before_.find(destination); pause !=", "destination_not_before_.begin(); pause !="),
        Mutation("images are taken below the reserve", SPOOL, "if (available < impl_->free_bytes_min) {", "if (false) {"),
        Mutation("below the reserve the answer is a failure for good", INTAKE,
                 "case StatusCode::kResourceExhausted: return refusal(kOutOfResources,",
                 "case StatusCode::kResourceExhausted: return refusal(kProcessingFailure,"),
        Mutation("a study that never falls quiet never closes", RECEIVE, "ELSE min(quiet_due_at, open_since + ?2) END",
                 "ELSE quiet_due_at + 0 * ?2 END"),
        Mutation("a study that is held never closes", RECEIVE, "CASE WHEN holds > 0 THEN open_since + ?2 ",
                 "CASE WHEN holds > 0 THEN open_since + 100000 * ?2 "),
        Mutation("associations hold nothing open", RECEIVE, "if (association == 0) return ok_status();", "return ok_status();"),
        Mutation("an association that ends lets nothing go", RECEIVE, "return let_go(transaction, study, whole_study);",
                 "return ok_status();"),
        Mutation("the first association that ends lets the study go", RECEIVE, "SET holds = max(holds - 1, 0)", "SET holds = 0"),
        Mutation("an association that goes on to another study keeps the one before", RECEIVE,
                 "NODE_RETURN_IF_ERROR(let_go(transaction, before, /*whole_study=*/false));", ""),
        Mutation("a refused image leaves its file", INTAKE, "      discard(stored);\n      return failed(added->refused);",
                 "      return failed(added->refused);"),
        Mutation("what failed in its commit counts as refused for certain", COMMIT,
                 "batch[i]->undone = !batch[i]->status.ok() || !begun_to_commit;", "batch[i]->undone = true;"),
        Mutation("a sync that fails as the log is taken over is ignored", COMMIT,
                 "if (!checkpoint.next() && checkpoint.status().code() == StatusCode::kDataLoss) log_suspect_ = true;", "checkpoint.next();"),
        Mutation("the log grows for ever", COMMIT, "if (database_->log_pages() >= log_pages_max_) shorten_log();", ""),
        Mutation("a study without its images takes nothing back", RESULTS,
                 " OR EXISTS (SELECT 1 FROM result ", " OR 2 = EXISTS (SELECT 1 FROM result "),
        Mutation("what waits is another version when it is asked for again", STORE, "version = version + (state != 0)",
                 "version = version + 1"),
        Mutation("what was moved out of a study is not withdrawn", RESULTS, "if (none_left || !ready->earlier_results.empty()) {", "if (none_left) {"),
        Mutation("what was corrected in its study is withdrawn", RESULTS, "AND (?2 OR ?1 != (SELECT", "AND (?2 OR 0 != (SELECT"),
        Mutation("a release that is asked for twice begins anew", RESULTS, "if (was == DeliveryState::kPending) {", "if (false) {"),
        Mutation("a release leaves the wait for the next attempt", RESULTS,
                 '"UPDATE delivery SET delayed = 0, delay_ms = 0, due_at = ?2 WHERE id = ?1 AND due_at > ?2"',
                 '"UPDATE delivery SET delayed = 0, delay_ms = 0, due_at = ?2 WHERE id = ?1 AND due_at < 0"'),
        Mutation("who asks is not told when a destination was called", RESULTS, "text = ?2, tried_at = ?3, due_at = ?4 WHERE", "text = ?2, due_at = max(?3, ?4) WHERE"),
        Mutation("a release leaves the time of the next try", RESULTS, "due_at = ?2 WHERE id = ?1 AND due_at > ?2", "due_at = ?2 WHERE id = ?1 AND delayed = 1"),
        Mutation("other bytes are forgotten at the next start", SPOOL, "if (!marked.contains(file.key) && mark(file.key).ok())", "if (false)"),
        Mutation("what came back is read again at each start", CHECK, "{&check.lost, &check.restored}", "{&check.lost}"),
        Mutation("a file that came back stays lost", SPOOL, "    impl_->note(lost, false);\n    return restored;", "    return restored;"),
        Mutation("an accepted loss is forgotten at the next start", CHECK, "!spool.verify(*file).ok()) still_lost", "false) still_lost"),
        Mutation("an accepted loss hides the next of its file", CHECK, "!spool.verify(*file).ok()) still_lost", "true) still_lost"),
        Mutation("a file without a row is deleted", ORPHANS, "auto again = spool_.begin_again(key);\n    if (!again.ok()) return",
                 "return Found{End::kDeleted, \"\"};\n    auto again = spool_.begin_again(key);\n    if (!again.ok()) return"),
        Mutation("a file without a row that cannot be read is deleted", ORPHANS, "orphans.kept.push_back(key);\n      continue;",
                 "orphans.kept.push_back(key);"),
        Mutation("an earlier version that is found undoes the later one", ORPHANS, "if (known) return had_before(key, *known);", ""),
        Mutation("of two versions without a row any stands", ORPHANS, "std::sort(dated.begin(), dated.end());",
                 "std::sort(dated.rbegin(), dated.rend());"),
        Mutation("a lost file is not put back by one without a row", ORPHANS, "known.purged || spool_.verify(known.file).ok()", "true"),
        Mutation("an older file without a row undoes what is held", ORPHANS, "if (!objection.empty()) return", "if (false) return"),
        Mutation("the copy is as young as the start", ORPHANS, "date_back(*uid, file->sha256_hex, written_at(path));", ""),
        Mutation("a damaged file without a row is taken in", ORPHANS, "!key.starts_with(file->sha256_hex.substr(0, 2))", "false"),
        Mutation("a failure of the disk is held against the file", ORPHANS, "if (!again.ok()) return Found{End::kLeft, again.status().message()};\n    const",
                 "if (!again.ok()) return Found{End::kKept, again.status().message()};\n    const"),
        Mutation("a node that is told to stop takes the rest in", ORPHANS, "if (!go_on(done)) {", "if (go_on(done), false) {"),
        Mutation("one start with a wrong clock makes all that is kept look old", STORE,
                 "    NODE_RETURN_IF_ERROR(Query(*database, \"UPDATE study SET holds = 0 WHERE holds > 0\").run());\n",
                 "    NODE_RETURN_IF_ERROR(Query(*database, \"UPDATE study SET holds = 0 WHERE holds > 0\").run());\n"
                 "    NODE_RETURN_IF_ERROR(Query(*database, \"UPDATE study SET rest_since = ?1 WHERE rest_since > ?1\", now).run());\n"),
        Mutation("a clock that was wrong ahead keeps what the disk needs", RETENTION, "kept->count() == 0 ?", "false ?"),
        Mutation("what comes due wakes nobody who waits already", WAKEUPS, "own.due = due;\n    own.changed.notify_all();",
                 "own.due = due;"),
        Mutation("what came due is due for ever", WAKEUPS, "own.due.reset();", ""),
        Mutation("a later time takes the place of an earlier one", WAKEUPS, "if (own.due && *own.due <= due) return;", ""),
        Mutation("a study of which nothing is analysed closes when somebody looks", RECEIVE,
                 "signal_on_commit_at(transaction, kStudies, *close_due_at);", ""),
        Mutation("who waits for a study is not told that it was let go", RECEIVE,
                 "signal_on_commit_at(transaction, kStudies, due.integer());", "static_cast<void>(due.integer());"),
        Mutation("an object of two pieces passes for a whole one", SPOOL, "content.is_whole = false;", ""),
        Mutation("what fills no block is forgotten", FILES, "size_bytes -= static_cast<std::size_t>(written);",
                 "size_bytes = direct ? 0 : size_bytes - static_cast<std::size_t>(written);"),
        Mutation("what begins within a block is an error", FILES,
                 "if (direct && errno == EINVAL && go_on_through_the_page_cache()) continue;", ""),
        Mutation("a shard that vanished stays away", SPOOL, "impl_->forget_shard(shard);", ""),
        Mutation("a pipe is waited for", SPOOL, "O_RDONLY | O_NONBLOCK | O_CLOEXEC", "O_RDONLY | O_CLOEXEC"),
        Mutation("purged in any order", RETENTION, "ORDER BY rest_since, id LIMIT 1\",\n"
                 "                                            limits.originals_kept",
                 "ORDER BY rest_since DESC, id LIMIT 1\",\n"
                 "                                            limits.originals_kept"),
    ]
    for path in (STORE, RECEIVE, ANALYZE, RESULTS, RETENTION, COMMITMENT):
        found += every(path, r"Durability::kPower", lambda _, within: f"{within}: commits without a sync",
                       lambda _: "Durability::kProcess")
    for path in (SPOOL, STORE, BACKUP):
        found += every(path, r"(?:NODE_RETURN_IF_ERROR\(|return )(?:\w+\.)?sync_(?:file|directory)\([^;]*;",
                       lambda old, within: f"{within}: without {re.search('sync_.*', old)[0].rstrip(';')}",
                       lambda old: "return ok_status();" if old.startswith("return") else ";")
    found += [Mutation("file_system.cpp: no fsync", FILES, "while (::fsync(file.get()) != 0) {",
                       "while (false) {", sync=True),
              Mutation("file_system.cpp: new directories without a sync of their parents", "storage/file_system.cpp",
                       "const auto sync_parent = [&] { return sync_directory(parent.empty() ? std::filesystem::path(\".\") : parent); };",
                       "const auto sync_parent = [&] { return ok_status(); };", sync=True)]
    return found


def tests(mutation):
    """Groups of test programs: one of each group must notice. The crash points are slow: asked only where they must be."""
    far = mutation.path in (SPOOL, CHECK, ORPHANS, INTAKE, WORKER, BACKUP, FILES)
    near = [*NEAREST.get(mutation.path, ()), *(() if far else STORE_TESTS)]
    losses, others = f"{CRASH} --gtest_filter=*PowerLoss*", f"{CRASH} --gtest_filter=-*PowerLoss*"
    if mutation.path == BACKUP:
        return [near]
    return [near, [losses]] if mutation.sync else [[*near, others, losses]]
