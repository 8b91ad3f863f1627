"""A full disk, a read-only one, a locked and a damaged database: what the node says, and how it recovers.

A second node on one directory: command_test.py. A clock that jumps: StudyStoreContract and tests/crash.
"""
import contextlib
import os
import shutil
import sqlite3
import subprocess

import numpy
import pytest
from safetensors.numpy import load_file, save_file

from harness import BIN, SOURCE, Node, Pacs, count_doubles, fresh_uid, send, small_image, wait_until


@contextlib.contextmanager
def small_disk(directory, size="36m", options=""):
    """A file system of its own of `size`, in memory."""
    directory.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}{options}", "tmpfs", directory],
                             capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root: " + mounted.stderr.strip())
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", directory], check=True)


def fill(path, leave_bytes=0):
    """Fills the disk of `path` but for `leave_bytes`."""
    with open(path, "wb") as filler, contextlib.suppress(OSError):
        while True:
            free = os.statvfs(path.parent)
            room = free.f_bavail * free.f_frsize - leave_bytes
            if room <= 0:
                break
            filler.write(b"x" * min(room, 1 << 20))
            filler.flush()


def test_below_the_reserve_images_are_refused_until_there_is_space_again(tmp_path):
    with small_disk(tmp_path / "disk") as disk, Pacs() as pacs:
        with Node(disk, {"storage.free_bytes_min": "8 MiB"}, pacs.port) as node:
            assert send(node, [small_image()]) == [0x0000]
            fill(disk / "filler", leave_bytes=4 << 20)
            assert send(node, [small_image()]) == [0xA700]
            status, reason = node.get("/readyz")
            assert status == 503 and "MiB free" in reason and "free_bytes_min" in reason
            (disk / "filler").unlink()
            assert node.get("/readyz")[0] == 200
            assert send(node, [small_image()]) == [0x0000]
            wait_until(node.at_rest, "every study at an end")
            assert len(pacs.reports()) == 2


def test_a_disk_that_fills_up_at_any_moment_costs_nothing_once_there_is_space(tmp_path):
    """Without a reserve: the writes themselves fail, of objects, of the database, of results. The log is elsewhere."""
    with small_disk(tmp_path / "disk") as disk, Pacs() as pacs:
        with Node(tmp_path / "node", {"storage.directory": disk / "store", "storage.free_bytes_min": "1 MiB"},
                  pacs.port) as node:
            images = [small_image(study=fresh_uid(), seed=seed) for seed in range(18)]
            waiting, refused = [], 0
            moments = (0, 1 << 20, (1 << 20) + 20_000, (1 << 20) + 60_000, (1 << 20) + 200_000)
            for moment, leave_bytes in enumerate(moments):
                waiting += images[3 * moment : 3 * moment + 3]  # what is refused is sent again with the next moment's
                fill(disk / "filler", leave_bytes)
                answers = send(node, waiting)
                assert set(answers) <= {0x0000, 0xA700}, [hex(answer) for answer in answers]
                refused += answers.count(0xA700)
                waiting = [image for image, answer in zip(waiting, answers) if answer != 0x0000]
                (disk / "filler").unlink()
            assert refused
            wait_until(lambda: node.get("/readyz")[0] == 200, "ready again by itself")
            assert set(send(node, waiting + images[15:])) == {0x0000}
            wait_until(lambda: node.at_rest() and len(pacs.reports()) == len(images), "every study at an end", 120)
            doubles, _ = count_doubles(pacs.log)
            assert not doubles
            assert "event=data_loss" not in node.log()


def test_a_read_only_disk_is_said_at_start(tmp_path):
    with small_disk(tmp_path / "disk", options=",ro") as disk:
        node = Node(tmp_path / "node", {"storage.directory": disk / "store"})
        done = subprocess.run([BIN / "skelex-node", "serve", *node.arguments()], capture_output=True, text=True)
        assert done.returncode == 1
        assert "Read-only file system" in done.stderr and str(disk) in done.stderr


def test_a_disk_that_becomes_read_only_while_the_node_runs_is_said_and_costs_nothing(tmp_path):
    """As ext4 does by itself after an error of its device: whatever is open can be written no more."""
    image, disk = tmp_path / "ext4", tmp_path / "disk"
    disk.mkdir()
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)

    def mount():
        before = set(os.listdir("/sys/fs/ext4")) if os.path.isdir("/sys/fs/ext4") else set()
        done = subprocess.run(["mount", "-o", "loop,errors=remount-ro", image, disk], capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip("mounting a file system needs root and loop devices: " + done.stderr.strip())
        return (set(os.listdir("/sys/fs/ext4")) - before).pop()

    device = mount()
    node = Node(tmp_path / "node", {"storage.directory": disk / "store"})
    sent = [small_image(seed=seed) for seed in range(4)]
    try:
        with Pacs(int(node.settings["peers.pacs.port"])) as pacs:
            node.start()
            assert send(node, sent[:2]) == [0x0000] * 2
            wait_until(lambda: len(pacs.reports()) == 2, "two reports")
            with open(f"/sys/fs/ext4/{device}/trigger_fs_error", "w") as trigger:
                trigger.write("1")
            assert set(send(node, sent[2:])) <= {0x0110, 0xA700}, "nothing is taken that could not be kept"
            status, reason = node.get("/readyz")
            # Who meets it first says what the system said; behind a failed sync the database refuses of itself.
            assert status == 503 and ("Read-only file system" in reason or "disk I/O error" in reason), reason
            assert node.get("/healthz")[0] == 200 and node.get("/api/studies")[0] == 200, "it goes on, and shows what it has"
            assert "Read-only file system" in node.log() or "disk I/O error" in node.log()
            node.stop()
            subprocess.run(["umount", disk], check=True)
            mount()  # Which repairs it from its journal.
            node.start()
            assert node.get("/readyz")[0] == 200
            assert send(node, sent[2:]) == [0x0000] * 2
            wait_until(lambda: node.at_rest() and len(node.studies()) == 4, "every study at an end")
            assert len(pacs.reports()) == 4 and not count_doubles(pacs.log)[0]
    finally:
        node.stop()
        subprocess.run(["umount", "-l", disk])


def test_retention_makes_room_and_intake_goes_on_by_itself_after_a700(tmp_path):
    settings = {"storage.free_bytes_min": "16 MiB", "storage.retention.free_bytes_low": "24 MiB",
                "storage.retention.originals_days": "30", "routes": "[]", "forward": "[{match: {from: xray1}, send_to: [pacs]}]"}
    with small_disk(tmp_path / "disk", size="40m") as disk, Pacs() as pacs:
        with Node(tmp_path / "node", {"storage.directory": disk / "store", **settings}, pacs.port) as node:
            answers, sent = [], []

            def send_one():
                sent.append(small_image("CHEST", seed=len(sent), side=1200))  # 1.44 MB
                answers.extend(send(node, sent[-1:]))
                return answers[-1]

            wait_until(lambda: send_one() == 0xA700, "the reserve is reached")
            wait_until(lambda: send_one() == 0x0000, "there is room again, and nobody did anything", 60)
            assert set(answers) == {0x0000, 0xA700}
            wait_until(lambda: "event=purged reason=disk" in node.log(), "it says what it deleted")
            taken = {str(image.SOPInstanceUID) for image, answer in zip(sent, answers) if answer == 0x0000}
            wait_until(lambda: {entry.sop_instance for entry in pacs.log} == taken, "all that was taken reached the PACS")
            assert node.get("/readyz")[0] == 200 and "event=data_loss" not in node.log()


def test_a_disk_that_another_program_fills_to_the_last_byte_is_recovered_from_by_itself(tmp_path):
    """With a short log, as at a first start or after a restore: what makes room can be recorded all the same."""
    settings = {"storage.free_bytes_min": "4 MiB", "storage.retention.free_bytes_low": "8 MiB",
                "storage.retention.originals_days": "30"}
    with small_disk(tmp_path / "disk", size="40m") as disk, Pacs() as pacs:
        with Node(tmp_path / "node", {"storage.directory": disk / "store", **settings}, pacs.port) as node:
            assert set(send(node, [small_image(seed=seed, side=1200) for seed in range(4)])) == {0x0000}
            wait_until(node.at_rest, "every study at an end")
            node.stop()
            at_rest_in_one_file(disk / "store/studies.sqlite")
            node.start()
            fill(disk / "filler")
            assert send(node, [small_image(seed=9)]) == [0xA700]
            wait_until(lambda: send(node, [small_image(seed=9)]) == [0x0000], "retention has made room", 60)
            wait_until(lambda: node.at_rest() and node.get("/readyz")[0] == 200, "every study at an end")
            said = node.log()
            assert "event=purged reason=disk" in said and "event=data_loss" not in said
            assert said.count("analysis_claim_failed") <= 1 and said.count("report_claim_failed") <= 1, said


def test_a_store_that_is_made_is_said_so_that_a_volume_that_is_not_mounted_is_noticed(tmp_path):
    made = f"event=store_made directory={tmp_path / 'store'}"
    node = Node(tmp_path)
    with node:
        assert node.log().count(made) == 1
    with node:
        assert node.log().count(made) == 1, "the second start finds it"


def test_a_locked_database_is_said_and_waited_for(tmp_path):
    with Pacs() as pacs, Node(tmp_path, pacs_port=pacs.port) as node:
        assert send(node, [small_image()]) == [0x0000]
        wait_until(node.at_rest, "the first study at an end")
        other = sqlite3.connect(tmp_path / "store" / "studies.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        image = small_image(seed=1)
        files = sorted((tmp_path / "store/objects").rglob("*.dcm"))
        assert send(node, [image]) == [0xA700]
        assert sorted((tmp_path / "store/objects").rglob("*.dcm")) == files, "of what is refused nothing is left"
        status, reason = node.get("/readyz")
        assert status == 503 and "locked" in reason
        other.execute("ROLLBACK")
        other.close()
        wait_until(lambda: node.get("/readyz")[0] == 200, "ready again by itself")
        assert send(node, [image]) == [0x0000]
        wait_until(lambda: node.at_rest() and len(pacs.reports()) == 2, "every study at an end", 90)


def at_rest_in_one_file(database):
    """The bytes of a stopped node's database, with all of its write-ahead log copied into it."""
    connection = sqlite3.connect(database)
    assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    connection.close()
    whole = database.read_bytes()
    assert len(whole) > 8192
    return whole


def test_a_damaged_database_is_refused_by_name_and_left_as_it_is(tmp_path):
    with Pacs() as pacs, Node(tmp_path, pacs_port=pacs.port) as node:
        assert send(node, [small_image()]) == [0x0000]
        wait_until(node.at_rest, "the study at an end")
    database = tmp_path / "store" / "studies.sqlite"
    whole = at_rest_in_one_file(database)
    # The header, and the b-tree page of the schema: what SQLite reads first.
    damaged = bytes(b ^ 0xFF for b in whole[:200]) + whole[200:]
    database.write_bytes(damaged)
    for ending in ("-wal", "-shm"):
        (tmp_path / "store" / f"studies.sqlite{ending}").unlink(missing_ok=True)
    done = subprocess.run([BIN / "skelex-node", "serve", *node.arguments()], capture_output=True, text=True)
    assert done.returncode == 1 and str(database) in done.stderr, done.stderr
    assert database.read_bytes() == damaged


def test_a_database_that_is_gone_is_no_reason_to_delete_what_it_knew(tmp_path):
    node = Node(tmp_path / "node", {"routes": "[]"})
    with node:
        assert send(node, [small_image("CHEST", study=fresh_uid()) for _ in range(3)]) == [0, 0, 0]
    store = tmp_path / "node/store"
    objects = sorted((store / "objects").rglob("*.dcm"))
    assert len(objects) == 3
    away = tmp_path / "away"
    away.mkdir()
    for file in store.glob("studies.sqlite*"):
        file.rename(away / file.name)
    done = node.run("serve", *node.arguments(), check=False)
    assert done.returncode == 1 and "holds 3 objects, but no studies.sqlite" in done.stderr, done.stderr
    done = node.run("serve", *node.arguments(), check=False)
    assert done.returncode == 1, "nor the second time"
    (store / "studies.sqlite").touch()
    done = node.run("serve", *node.arguments(), check=False)
    assert done.returncode == 1 and "holds 3 objects, but no studies.sqlite" in done.stderr, "an empty one is none"
    assert sorted((store / "objects").rglob("*.dcm")) == objects
    for file in away.iterdir():
        file.rename(store / file.name)
    with node:
        assert node.get("/readyz")[0] == 200


def test_a_database_without_its_log_loses_nothing_that_was_acknowledged(tmp_path):
    settings = {"forward": "[{match: {from: xray1}, send_to: [pacs]}]", "node.associations_max": 2}
    images = [small_image(seed=seed) for seed in range(3)]
    with Pacs() as pacs:
        node = Node(tmp_path / "node", settings, pacs_port=pacs.port)
        with node:
            assert send(node, images) == [0, 0, 0]
            wait_until(lambda: node.at_rest() and len(pacs.reports()) == 3, "all reported")
            node.kill()
        store = tmp_path / "node/store"
        assert (store / "studies.sqlite-wal").stat().st_size > 0
        for name in ("studies.sqlite-wal", "studies.sqlite-shm"):
            (store / name).unlink()
        checked = node.run("check", *node.arguments(), "--without-models", check=False).stdout
        assert "files without a row" in checked and "takes them in again" in checked, checked
        with node:
            said = node.log()
            assert said.count("event=orphan_taken_in") == 3 and "event=orphan_kept" not in said, said
            assert 'event=orphans_taken_in count=3 reason="more than a crash leaves' in said, said
            wait_until(node.at_rest, "every study at an end again")
            assert {s["study_instance_uid"] for s in node.studies()} == {str(i.StudyInstanceUID) for i in images}
            for image in images:
                held = node.instances(str(image.StudyInstanceUID))
                assert [(i["sop_instance_uid"], i["state"]) for i in held] == [(str(image.SOPInstanceUID), "analysed")]
            assert all(i["peer"] == "xray1" for i in held if "peer" in i)
            assert "\nskelex_orphans_taken_in 3\n" in node.get("/metrics")[1]
            assert node.get("/readyz")[0] == 200
            assert send(node, images) == [0, 0, 0], "known again"
            assert len(node.studies()) == 3
        files = [path for path in (store / "objects").rglob("*.dcm") if path.name.split(".")[-2]]
        sources = {path.name.rsplit(".", 2)[0] for path in files}
        assert {str(i.SOPInstanceUID) for i in images} <= sources

        # What cannot be taken in stays, and is said until somebody has moved it away.
        (store / "objects/ab").mkdir(exist_ok=True)
        unreadable = store / "objects/ab/1.2.3.0123456789abcdef.dcm"
        unreadable.write_bytes(bytes(1000))
        with node:
            status, words = node.get("/readyz")
            assert status == 503 and "ab/1.2.3.0123456789abcdef.dcm" in words and "move them away" in words, words
            assert "event=orphan_kept file=ab/1.2.3.0123456789abcdef.dcm" in node.log()
            assert "\nskelex_orphans_kept 1\n" in node.get("/metrics")[1]
            unreadable.rename(tmp_path / "away.dcm")
            assert node.get("/readyz")[0] == 200


def test_pages_that_go_bad_while_the_node_runs_are_said(tmp_path):
    with Pacs() as pacs, Node(tmp_path, pacs_port=pacs.port) as node:
        assert send(node, [small_image(seed=seed) for seed in range(3)]) == [0x0000] * 3
        wait_until(node.at_rest, "every study at an end")
    database = tmp_path / "store" / "studies.sqlite"
    whole = at_rest_in_one_file(database)
    page = 4096
    damaged = whole[:page] + bytes(b ^ 0xFF for b in whole[page:])  # All but the schema.
    database.write_bytes(damaged)
    node = Node(tmp_path, pacs_port=pacs.port)
    node.start(wait=False)
    try:
        if node.process.poll() is None:
            wait_until(lambda: node.process.poll() is not None or "skelex-node ready" in node.log().rsplit("\n", 3)[-2],
                       "ready or refused")
        if node.process.poll() is None:
            assert send(node, [small_image(seed=9)]) == [0x0110]
            status, reason = node.get("/readyz")
            assert status == 503 and reason
        else:
            assert node.process.returncode == 1
        assert "malformed" in node.log() or "corrupt" in node.log()
    finally:
        if node.process.poll() is None:
            node.kill()


def test_a_model_that_fails_image_after_image_makes_the_node_not_ready(tmp_path):
    broken = tmp_path / "fracture"
    shutil.copytree(SOURCE / "config/demo/demo-fracture", broken)
    tensors = load_file(broken / "model.safetensors")
    tensors["classifier.weight"] = numpy.full(tensors["classifier.weight"].shape, 3e38, numpy.float32)
    save_file(tensors, broken / "model.safetensors")  # Finite, as the loader asks; what it makes is not.
    with Node(tmp_path / "node", {"models.demo-fracture.path": broken}) as node:
        assert node.get("/readyz")[0] == 200
        assert send(node, [small_image(seed=seed, study=fresh_uid()) for seed in range(5)]) == [0x0000] * 5
        wait_until(lambda: node.get("/readyz")[0] == 503, "it is not ready")
        reason = node.get("/readyz")[1]
        assert "fracture" in reason and "are not numbers" in reason and "check" in reason
        assert send(node, [small_image(seed=9, study=fresh_uid())]) == [0x0000], "images are taken all the same"
