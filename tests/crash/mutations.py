#!/usr/bin/env python3
"""Breaks one promise of the store at a time, in a copy, and says which named test notices: mutations.py [--work DIR] [WORD]

Each mutation is applied to a scratch copy of what is committed; the quick tests that stand nearest to the file are built
and run first, the crash points where none of them notices, and the power losses among them after every sync removed.
WORD picks mutations by name. Exit status 0: every one was noticed. The table it prints is in README.md.
"""
import argparse
import dataclasses
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[2]
CRASH = "crash_points_test"
STORE = "storage/sqlite_study_store.cpp"
RESULTS = "storage/sqlite_study_store_results.cpp"
RETENTION = "storage/sqlite_study_store_retention.cpp"
SPOOL = "storage/spool.cpp"
COMMIT = "storage/group_commit.cpp"
CLAIMS = "storage/claims.h"
INTAKE = "dicom_node/receive/intake.cpp"
WORKER = "dicom_node/deliver/delivery_worker.cpp"
BACKUP = "storage/backup.cpp"
FILES = "storage/file_system.cpp"


# The quick tests that stand nearest to a file, in the order in which they are asked.
NEAREST = {SPOOL: ("spool_test",), INTAKE: ("intake_test",), WORKER: ("delivery_worker_test",),
           COMMIT: ("group_commit_test",), BACKUP: ("backup_test",), FILES: ("file_system_test", "spool_test"),
           RETENTION: ("retention_worker_test",)}
STORE_TESTS = ("sqlite_study_store_test", "study_store_test")


@dataclasses.dataclass
class Mutation:
    name: str
    path: str
    old: str
    new: str
    occurrence: int = 0
    sync: bool = False


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
        Mutation("the same conflict kept twice", STORE, "if (result.known_conflict) return ok_status();", ""),
        Mutation("a seen version that is older is taken", STORE,
                 "if (version != seen_version || (arrival == Arrival::kFirst) == is_held) return ok_status();",
                 "if ((arrival == Arrival::kFirst) == is_held) return ok_status();"),
        Mutation("a correction leaves the older version to be analysed", STORE,
                 "state = CASE state WHEN 0 THEN 2 ELSE state END",
                 "state = state"),
        Mutation("a retry keeps the version", STORE, "attempts = 0, version = version + 1 ", "attempts = 0 "),
        Mutation("a stale token accepted", CLAIMS,
                 "    erase(token, row);\n    transaction.on_rollback([this, token, row] { put",
                 "    tokens_.erase(row);\n    transaction.on_rollback([this, token, row] { put"),
        Mutation("a token of an earlier process accepted", CLAIMS,
                 "static_cast<ClaimToken>(std::random_device{}()) << 32 | 1", "1"),
        Mutation("a claim kept though its commit failed", CLAIMS,
                 "transaction.on_rollback([this, token, row] { erase(token, row); });", ""),
        Mutation("a claim lost though the call that ends it failed", CLAIMS,
                 "transaction.on_rollback([this, token, row] { put(token, row); });", ""),
        Mutation("claimed instances are offered again", STORE, "if (!instance_claims_.holds(row)) rows_to_take",
                 "rows_to_take"),
        Mutation("an attempt is not counted", STORE, "SET attempts = attempts + 1 WHERE", "SET attempts = attempts WHERE"),
        Mutation("an image that took the process down is tried for ever", STORE, "if (attempts.small() >= attempts_max_) {",
                 "if (false) {"),
        Mutation("a released image keeps its claim", STORE, "drop_instance_claim(transaction, *row);\n    signal", "signal"),
        Mutation("a released study keeps its claim", RESULTS,
                 "study_claims_.drop(transaction, *study);\n    signal", "signal"),
        Mutation("a delivery that failed keeps its claim", RESULTS,
                 "    delivery_claims_.drop(transaction, *id);\n    if (pending)",
                 "    if (pending)"),
        Mutation("postponed deliveries keep their claims", RESULTS,
                 "      delivery_claims_.drop(transaction, *id);\n    }", "    }"),
        Mutation("a late image keeps the revision", STORE, "revision = revision + (state IN (2, 4))", "revision = revision"),
        Mutation("a late image leaves the claim on the report", STORE,
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
        Mutation("a retry comes at once", RESULTS, "\"d.delayed = 0 AND", "\""),
        Mutation("sent without a look at the digest", WORKER,
                 "Status intact = spool.verify(claim.file);", "Status intact = ok_status();"),
        Mutation("purged before all is delivered", RETENTION, "AND state IN (0, 2))", "AND state IN (2))"),
        Mutation("purged while a delivery waits for a person", RETENTION, "AND state IN (0, 2))", "AND state IN (0))"),
        Mutation("purged before its time", RETENTION, "due_now() - static_cast<std::int64_t>(kept->count())", "due_now()"),
        Mutation("purged in any order", RETENTION, "ORDER BY rest_since, id LIMIT 1\",\n"
                 "                                            limits.originals_kept",
                 "ORDER BY rest_since DESC, id LIMIT 1\",\n"
                 "                                            limits.originals_kept"),
    ]
    for path in (STORE, RESULTS, RETENTION):
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


def replace_nth(text, old, new, occurrence):
    at = -1
    for _ in range(occurrence + 1):
        at = text.find(old, at + 1)
        if at < 0:
            return None
    return text[:at] + new + text[at + len(old):]


class Copy:
    def __init__(self, directory):
        self.directory, self.build = directory, directory / "build/mutations"
        if not (directory / "CMakeLists.txt").exists():
            directory.mkdir(parents=True, exist_ok=True)
            archive = subprocess.run(["git", "-C", SOURCE, "archive", "HEAD"], capture_output=True, check=True).stdout
            subprocess.run(["tar", "-x", "-C", directory], input=archive, check=True)
        subprocess.run(["cmake", "-S", directory, "-B", self.build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                        "-DBUILD_TESTING=ON", "-DNODE_INFERENCE=OFF", "-DCMAKE_CXX_FLAGS=-w"],
                       check=True, stdout=subprocess.DEVNULL)


    def failing(self, program, *arguments):
        """Builds and runs `program`; the first test that fails, or None."""
        built = subprocess.run(["cmake", "--build", self.build, "-j", "2", "-t", program, "--", "--quiet"],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if built.returncode != 0:
            sys.exit(f"{program} does not build:\n{built.stdout[-3000:]}")
        environment = {"TMPDIR": "/dev/shm"} if pathlib.Path("/dev/shm").is_dir() else {}
        try:
            done = subprocess.run([self.build / "bin" / program, "--gtest_fail_fast", *arguments],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, errors="replace", timeout=300, env={"PATH": "/usr/bin:/bin", **environment})
            output = done.stdout
            if done.returncode == 0:
                return None
        except subprocess.TimeoutExpired as error:
            output = (error.stdout or b"").decode(errors="replace")
        # Of one that hangs or crashes the last that began.
        return (re.findall(r"\[  FAILED  \] ([\w./]+)", output) or re.findall(r"\[ RUN      \] (\S+)", output)[::-1])[0]

    def noticed_by(self, mutation):
        names = []
        far = mutation.path in (SPOOL, INTAKE, WORKER, BACKUP, FILES)
        for program in (*NEAREST.get(mutation.path, ()), *(() if far else STORE_TESTS)):
            if test := self.failing(program):
                names.append(test)
                break
        if mutation.path != BACKUP and (mutation.sync or not names):
            for points in ["*PowerLoss*"] if mutation.sync else ["-*PowerLoss*", "*PowerLoss*"]:
                if test := self.failing(CRASH, f"--gtest_filter={points}"):
                    names.append(test)
                    break
        return names


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--work", help="the scratch copy; kept, and quick the second time")
    parser.add_argument("words", nargs="*", help="only mutations whose name has one of them")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # The file that is changed is put back.
    chosen = [m for m in mutations() if not arguments.words or any(word in m.name for word in arguments.words)]
    with tempfile.TemporaryDirectory(prefix="mutations-") as scratch:
        copy = Copy(pathlib.Path(arguments.work or scratch) / "source")
        for program in sorted({*STORE_TESTS, *(test for tests in NEAREST.values() for test in tests)}):
            if test := copy.failing(program):
                sys.exit(f"{test} fails as it is")
        unnoticed = 0
        for mutation in chosen:
            path = copy.directory / mutation.path
            text = path.read_text()
            mutated = replace_nth(text, mutation.old, mutation.new, mutation.occurrence)
            if mutated is None:
                sys.exit(f"{mutation.name}: {mutation.path} has changed, the mutation must follow it: {mutation.old}")
            try:
                path.write_text(mutated)
                names = copy.noticed_by(mutation)
            finally:
                path.write_text(text)
            unnoticed += not names
            print(f"| {mutation.name} | {', '.join(names) or '**none**'} |", flush=True)
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
