"""A day in a hospital, with real parts: an X-ray room, the node, Orthanc as the archive, tools/hostile_pacs as the PACS, a
RIS over MLLP and a webhook. Each misbehaves in every way for a while, and the node is killed. Nothing is lost or doubled, by
the receivers' own append-only logs, and the record says what happened at each stage."""
import collections
import json
import pathlib
import subprocess
import sys

from harness import SOURCE, Node, free_port, fresh_uid, send, small_image, wait_until
from message_test import Ris, Webhook, ack, configured
from recipes_test import Orthanc

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "crash"))
from archives import Orthanc as LoggingOrthanc

SR_CLASS = "1.2.840.10008.5.1.4.1.1.88.33"
STUDIES, IMAGES = 4, 2


class HostilePacs:
    """One process after another on one port, each with a programme of its own; all append to one log."""

    def __init__(self, directory):
        self.port, self.log_file, self.process = free_port(), directory / "pacs.log", None

    def behave(self, *programme):
        self.stop()
        self.process = subprocess.Popen([SOURCE / "tools/hostile_pacs", "--port", str(self.port), "--log", self.log_file,
                                         "--delay", "1", "--no-sr", *programme],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()

    def events(self):
        return [json.loads(line) for line in self.log_file.read_text().splitlines()] if self.log_file.exists() else []

    def count(self, event):
        return sum(e["event"] == event for e in self.events())


class Archive(Orthanc):
    """The Orthanc of the recipe under another name, with a log to which a Lua hook appends each reception before it is
    stored: class, UID and all tags."""

    def __init__(self, directory, node_port):
        super().__init__(directory, node_port)
        self.received = directory / "received"
        self.received.touch()
        (directory / "log.lua").write_text(LoggingOrthanc.HOOK % json.dumps(str(self.received)))
        settings = json.loads((directory / "orthanc.json").read_text())
        settings |= {"DicomAet": "ARCHIVE", "LuaScripts": ["log.lua"], "OverwriteInstances": True}
        (directory / "orthanc.json").write_text(json.dumps(settings))

    def log(self):
        """(class, UID, tags) of each reception, in order."""
        return [tuple(line.split(" ", 2)) for line in self.received.read_text().splitlines()]


class Unwilling:
    """Gives one answer after another, then the last for ever; before each it notes what the node's record says of the
    destination, which was written before anything was sent again."""

    def __init__(self, destination, *answers):
        self.destination, self.answers, self.said, self.node, self.number = destination, answers, [], None, 0

    def __call__(self, *_):
        if 0 < self.number < len(self.answers):
            record = json.loads(self.node.get("/api/deliveries?limit=500")[1])
            self.said.append(sorted(d["text"] for d in record["deliveries"] if d["destination"] == self.destination and d["text"]))
        self.number += 1
        return self.answers[min(self.number, len(self.answers)) - 1]

    def ever_said(self, words):
        return any(words in text for texts in self.said for text in texts)


def contents_by(pairs):
    found = collections.defaultdict(set)
    for key, content in pairs:
        found[key].add(content)
    return found


def test_nothing_is_lost_or_doubled_and_the_record_says_why(tmp_path):
    ris_says, board_says = Unwilling("ris", None, "AE", "AR", "close", "AA"), Unwilling("board", 503, 429, 200)

    def acknowledge(control, number):
        code = ris_says()
        return code if code in (None, "close") else ack(code, control, "" if code == "AA" else "207", "not now")

    pacs = HostilePacs(tmp_path)
    with Ris(acknowledge) as ris, Webhook(board_says) as board:
        config = configured(tmp_path, {
            "ris": {"kind": "oru", "host": "127.0.0.1", "port": ris.port, "answer_timeout": "1 s"},
            "board": {"kind": "webhook", "url": f"http://127.0.0.1:{board.port}/", "answer_timeout": "5 s"}})
        config.write_text(config.read_text().replace("send_to: [pacs, ", "send_to: [pacs, archive, ")
                          .replace("\npeers:\n", "\npeers:\n  archive: {ae_title: ARCHIVE, host: 127.0.0.1, port: 104}\n"))
        node = Node(tmp_path / "node", {
            "forward": "[{match: {from: xray1}, send_to: [pacs, archive]}]", "delivery.retry_first": "100 ms",
            "delivery.retry_max": "1 s", "delivery.connect_timeout": "2 s", "delivery.dimse_timeout": "5 s",
            "peers.archive.commitment": "true"}, pacs_port=pacs.port, config=config)
        ris_says.node = board_says.node = node
        orthanc = Archive(tmp_path / "orthanc", node.port)
        node.settings["peers.archive.port"] = orthanc.port

        # Larger than a PDU, so that each has a middle to break off in.
        studies = [[small_image("HAND", study, 10 * s + i, side=192) for i in range(IMAGES)]
                   for s, study in enumerate(fresh_uid() for _ in range(STUDIES))]
        originals = {str(image.SOPInstanceUID) for study in studies for image in study}

        def record_says(*words):
            """Of a delivery to the PACS that is still due."""
            def look():
                due = [d for d in node.deliveries() if d["destination"] == "pacs" and d["state"] == "pending"]
                return any(all(word in f'{d["peer_status"]} {d["text"]}' for word in words) for d in due)
            wait_until(look, f"the record says {words}: {node.deliveries()}")

        with orthanc:
            node.start()
            try:
                for study in studies:  # The PACS is down. The room has its Success all the same.
                    assert send(node, study) == [0] * IMAGES
                wait_until(lambda: "event=destination_down destination=pacs" in node.log(), "it is said to be down")
                record_says(f"associate with PACS at 127.0.0.1:{pacs.port}", "refused")
                wait_until(lambda: collections.Counter(d["destination"] for d in node.deliveries() if d["state"] == "delivered"
                                                       and d["destination"] in ("ris", "board")) == {"ris": STUDIES, "board": STUDIES},
                           "RIS and board are told, without waiting for the PACS", 120)
                pacs.behave("busy:100000")
                record_says("A700", "out of resources")
                pacs.behave("break:100000")
                wait_until(lambda: pacs.count("broken") >= 2, "it breaks off, more than once")
                record_says("send ", "Peer aborted Association")
                node.kill()
                node.start()
                pacs.behave("silent:100000")
                record_says("send ", "no answer in time")
                pacs.behave("reject:100000")
                record_says("rejected")
                assert pacs.count("stored") == 0, "until now it had nothing"
                pacs.behave("slow:3", "fine")
                wait_until(lambda: node.at_rest() and len(node.studies()) == STUDIES, "everything has its end", 180)
                wait_until(lambda: {d["commitment"] for d in node.deliveries() if d["destination"] == "archive"} ==
                           {"committed"}, "the archive has committed", 120)
                deliveries = node.deliveries()
                checked = node.run("check", *node.arguments(), check=False)
            finally:
                node.stop()
                pacs.stop()

    # The PACS: each in turn, then all that it takes, once.
    events = pacs.events()
    counts = collections.Counter(e["event"] for e in events)
    assert counts["busy"] >= 3 and counts["broken"] >= 2 and counts["silent"] >= 1 and counts["rejected"] >= 1, counts
    stored = [e for e in events if e["event"] == "stored"]
    assert [e["step"] for e in stored[:4]] == ["slow", "slow", "slow", "fine"]
    contents = contents_by((e["sop"], e["sha256"]) for e in events if "sop" in e)
    assert all(len(found) == 1 for found in contents.values()), "one UID, one content, however often it was offered"
    assert originals <= {e["sop"] for e in stored}
    assert len(stored) == len({e["sop"] for e in stored}) == 2 * STUDIES * IMAGES, "each original and an overlay of each, once"
    # Its reports: refused, and record and check say so.
    parked = [d for d in deliveries if d["state"] == "parked"]
    assert {(d["destination"], d["kind"]) for d in parked} == {("pacs", "sr")} and len(parked) == STUDIES
    assert all(f"no presentation context for SOP class {SR_CLASS}" in d["text"] for d in parked)
    assert f"FAIL  peer pacs: takes no sr (SOP class {SR_CLASS})" in checked.stdout
    # The archive: everything, once; what was in flight at the kill may have come again.
    received = orthanc.log()
    contents = contents_by((uid, tags) for _, uid, tags in received)
    assert all(len(found) == 1 for found in contents.values())
    assert originals <= set(contents) and len(contents) == 2 * STUDIES * IMAGES + STUDIES
    assert len(received) <= len(contents) + 1
    # RIS and board: one message a study; what they did not take came again, the same bytes.
    for log, unwilling in ((ris.log, ris_says), ([(h["Idempotency-Key"], body) for h, body in board.log], board_says)):
        contents = contents_by(log)
        assert len(contents) == STUDIES and all(len(found) == 1 for found in contents.values())
        refused = len(unwilling.answers) - 1
        assert len(log) == STUDIES + refused
    for words in ("no acknowledgement: no answer in time", "AE 207 not now", "AR 207 not now",
                  "no acknowledgement: it has closed the connection"):
        assert ris_says.ever_said(words), (words, ris_says.said)
    for words in ("HTTP 503 Service Unavailable", "HTTP 429 Too Many Requests"):
        assert board_says.ever_said(words), (words, board_says.said)
