"""A day in a hospital, with real parts: an X-ray room, the node, Orthanc as the archive, tools/hostile_pacs as the PACS, a
RIS over MLLP and a webhook. All misbehave for a while and the node is killed; nothing is lost or doubled, by the receivers'
own append-only logs."""
import collections
import json
import subprocess

from harness import SOURCE, Node, free_port, fresh_uid, send, small_image, wait_until
from message_test import Ris, Webhook, ack, configured
from recipes_test import Orthanc

SR_CLASS = "1.2.840.10008.5.1.4.1.1.88.33"
STUDIES, IMAGES = 4, 2


class HostilePacs:
    def __init__(self, directory, *programme):
        self.port, self.log_file, self.programme = free_port(), directory / "pacs.log", programme

    def __enter__(self):
        self.process = subprocess.Popen([SOURCE / "tools/hostile_pacs", "--port", str(self.port), "--log", self.log_file,
                                         "--delay", "0.5", "--no-sr", *self.programme],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def events(self):
        return [json.loads(line) for line in self.log_file.read_text().splitlines()] if self.log_file.exists() else []


def test_nothing_is_lost_or_doubled_and_the_record_says_why(tmp_path):
    unwilling = {1: None, 2: "AE", 3: "AR"}  # The RIS: silence, an error, a rejection, then all is well.

    def answer(control, number):
        code = unwilling.get(number, "AA")
        return code and ack(code, control, "" if code == "AA" else "207", "not now")

    pacs = HostilePacs(tmp_path, "busy:3", "break:2", "reject:2", "slow:2", "fine")
    with Ris(answer) as ris, Webhook(lambda number: 503 if number <= 2 else 200) as hook:
        config = configured(tmp_path, {
            "ris": {"kind": "oru", "host": "127.0.0.1", "port": ris.port, "answer_timeout": "1 s"},
            "board": {"kind": "webhook", "url": f"http://127.0.0.1:{hook.port}/", "answer_timeout": "2 s"}})
        config.write_text(config.read_text().replace("send_to: [pacs, ", "send_to: [pacs, archive, ")
                          .replace("\npeers:\n", "\npeers:\n  archive: {ae_title: ARCHIVE, host: 127.0.0.1, port: 104}\n"))
        node = Node(tmp_path / "node", {
            "forward": "[{match: {from: xray1}, send_to: [pacs, archive]}]", "delivery.retry_first": "100 ms",
            "delivery.retry_max": "1 s", "delivery.connect_timeout": "2 s", "delivery.dimse_timeout": "5 s",
            "peers.archive.commitment": "true"}, pacs_port=pacs.port, config=config)
        orthanc = Orthanc(tmp_path / "orthanc", node.port)
        settings = json.loads((tmp_path / "orthanc/orthanc.json").read_text())
        settings |= {"DicomAet": "ARCHIVE", "LuaScripts": []}
        (tmp_path / "orthanc/orthanc.json").write_text(json.dumps(settings))
        node.settings["peers.archive.port"] = orthanc.port

        studies = [[small_image("HAND", study, 10 * s + i) for i in range(IMAGES)]
                   for s, study in enumerate(fresh_uid() for _ in range(STUDIES))]
        originals = {str(image.SOPInstanceUID) for study in studies for image in study}
        with orthanc:
            node.start()
            try:
                for study in studies:  # The PACS is down. The room has its Success all the same.
                    assert send(node, study) == [0] * IMAGES
                wait_until(lambda: "event=destination_down destination=pacs" in node.log(), "it is said to be down")
                with pacs:
                    wait_until(lambda: any(e["event"] == "broken" for e in pacs.events()), "it breaks off")
                    node.kill()
                    node.start()
                    wait_until(lambda: node.at_rest() and len(node.studies()) == STUDIES, "everything has its end", 180)
                    wait_until(lambda: {d["commitment"] for d in node.deliveries() if d["destination"] == "archive"} ==
                               {"committed"}, "the archive has committed", 120)
                    deliveries = node.deliveries()
                    archived = orthanc.modalities()
            finally:
                node.stop()

    # The PACS: all it takes, each once; a kill may send once more what was in flight.
    events = pacs.events()
    assert {"busy", "broken", "rejected", "stored"} <= {e["event"] for e in events}
    stored = [e for e in events if e["event"] == "stored"]
    contents = collections.defaultdict(set)
    for event in stored:
        contents[event["sop"]].add(event["sha256"])
    assert all(len(found) == 1 for found in contents.values()), "one UID, one content"
    assert originals <= set(contents) and len(contents) == 2 * STUDIES * IMAGES, "each original and an overlay of each"
    assert len(stored) <= len(contents) + 1
    # Its reports: refused, and the record says so.
    parked = [d for d in deliveries if d["state"] == "parked"]
    assert {(d["destination"], d["kind"]) for d in parked} == {("pacs", "sr")} and len(parked) == STUDIES
    assert all(f"no presentation context for SOP class {SR_CLASS}" in d["text"] for d in parked)
    # The archive: everything, once.
    assert collections.Counter(archived) == {"CR": STUDIES * IMAGES, "OT": STUDIES * IMAGES, "SR": STUDIES}
    # RIS and board: one message a study; what was sent again is the same.
    said = collections.defaultdict(set)
    for control, message in ris.log:
        said[control].add(message)
    assert len(said) == STUDIES and all(len(found) == 1 for found in said.values())
    posted = collections.defaultdict(set)
    for headers, body in hook.log:
        posted[headers["Idempotency-Key"]].add(body)
    assert len(posted) == STUDIES and all(len(found) == 1 for found in posted.values())
    assert len(ris.log) <= STUDIES + 4 and len(hook.log) <= STUDIES + 3
