#!/usr/bin/env python3
"""Kills and restarts a loaded node and counts what was lost or doubled; see tools/crashtest.

The node runs on the demo models. A simulated X-ray room (skelex-modality) sends and remembers what was answered; DCMTK's
storescp and an Orthanc get the results. Every kill has a batch of its own to disturb: new studies, late images of earlier
ones, images that were sent before. A seed draws images, batches, and for each kill either a moment or a named point
(dicom_node/object/crash_point.h). Last line: the counts. Exit status 0: nothing lost, nothing doubled, every study ended.
"""
import argparse
import collections
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "integration"))
import pydicom

from archives import Orthanc, StoreScp
from harness import BIN, DEMO, SOURCE, Node, count_doubles, small_image, wait_until

POINTS = ("received", "written", "spooled", "recorded", "loaded", "predicted", "analysed", "built", "finished", "sending", "sent",
          "delivered")
POINT_WAIT_S = 10  # For a point to be passed; then the kill is at a moment.

Batch = collections.namedtuple("Batch", "folder images studies")  # Where it lies; how many new images, studies it touches.


def configuration(path, storescp, orthanc):
    """The demo's, with two destinations."""
    text = DEMO.read_text().replace("send_to: [pacs]", "send_to: [pacs, orthanc]").replace("demo/", f"{SOURCE}/config/demo/")
    text = text.replace("peers:\n", "peers:\n  orthanc: {ae_title: ORTHANC, host: 127.0.0.1, port: %d}\n" % orthanc.port)
    path.write_text(text)
    return path


class Room:
    """The X-ray room: batches in folders, one skelex-modality each, and the log of what was answered 0x0000."""

    def __init__(self, directory, node, draw):
        self.directory, self.node, self.draw = directory, node, draw
        self.acknowledged_path = directory / "acknowledged"
        self.images, self.studies = {}, []  # SOP Instance UID -> file; Study Instance UIDs
        self.sending = []
        self.directory.mkdir()
        self.acknowledged_path.touch()

    def uid(self):
        return f"2.25.{self.draw.getrandbits(122)}"

    def image(self, study):
        part = ("KNEE", "HAND", "HIP", "SHOULDER")[self.studies.index(study) % 4]
        side = self.draw.choice((96, 96, 600, 1700))  # A few are written past the page cache, in one piece and in several.
        dataset = small_image(part, study, seed=self.draw.getrandbits(32), side=side)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = self.uid()
        dataset.SeriesInstanceUID = self.uid()
        return dataset

    def draw_batch(self):
        folder = self.directory / f"batch{len(self.studies)}"
        folder.mkdir()
        again = self.draw.choice(sorted(self.images)) if self.images and self.draw.random() < 0.5 else None
        late = self.draw.choice(self.studies) if self.studies and self.draw.random() < 0.5 else None
        self.studies.append(self.uid())
        studies = [self.studies[-1]] * self.draw.randint(1, 3) + [late] * bool(late)
        for study in studies:
            dataset = self.image(study)
            path = folder / f"{dataset.SOPInstanceUID}.dcm"
            dataset.save_as(path, enforce_file_format=True)
            self.images[str(dataset.SOPInstanceUID)] = path
        if again:
            (folder / "again.dcm").write_bytes(self.images[again].read_bytes())
        return Batch(folder, len(studies), len(set(studies)))

    def send(self, batch):
        self.sending.append(subprocess.Popen(
            [BIN / "skelex-modality", "--from", "XRAY1", "--to", f"SKELEX@127.0.0.1:{self.node.port}", "--associations", "2",
             "--give-up", "1800", "--ack-log", self.acknowledged_path, batch.folder],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def finish(self):
        for process in self.sending:
            assert process.wait(1800) == 0, "the X-ray room gave up"

    def stop(self):
        for process in self.sending:
            process.kill()
            process.wait()

    def acknowledged(self):
        return set(self.acknowledged_path.read_text().split())


def passages(point, batch):
    """How often a node that takes this batch passes `point` for certain."""
    if point in ("built", "finished"):
        return batch.studies
    if point in ("sending", "sent", "delivered"):
        return 2 * (batch.images + batch.studies)  # An overlay for each image, a report for each study, two archives.
    return batch.images


def kill_once(node, room, draw):
    """Starts the node, gives it something to do and kills it; returns where it died."""
    batch = room.draw_batch()
    point = draw.choice(POINTS) if draw.random() < 0.5 else None
    at_start = not point and draw.random() < 0.2
    moment = draw.uniform(0, 2)
    node.environment = {"SKELEX_NODE_CRASH_POINT": f"{point}:{draw.randint(1, passages(point, batch))}"} if point else {}
    logged = len(node.log())
    node.start(wait=False)
    if not at_start:  # The room would find the port closed, and come back late.
        wait_until(lambda: node.process.poll() is not None or "skelex-node ready" in node.log()[logged:], "the node is ready")
    room.send(batch)
    end = time.monotonic() + (POINT_WAIT_S if point else moment)
    while node.process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    if node.process.poll() is not None:
        assert point and node.process.returncode == -9, f"the node ended by itself: {node.log()[-3000:]}"
        return point
    node.kill()
    return "at start" if at_start else "at a moment"


def values(dataset):
    return {element.tag: element.value for element in dataset}


def evidence(reports):
    named = collections.defaultdict(set)
    for report in reports:
        for study in report.CurrentRequestedProcedureEvidenceSequence:
            for series in study.ReferencedSeriesSequence:
                named[str(report.StudyInstanceUID)] |= {str(i.ReferencedSOPInstanceUID) for i in series.ReferencedSOPSequence}
    return set().union(*named.values()) if named else set()


def find_losses(node, room, states, logs):
    """What was acknowledged and is not in the node bit for bit, or not in the reports and overlays of every archive."""
    lost = []
    stored = collections.defaultdict(list)
    for path in (node.directory / "store" / "objects").rglob("*.dcm"):
        stored[path.name.rsplit(".", 2)[0]].append(path)
    for uid in sorted(room.acknowledged()):
        sent = values(pydicom.dcmread(room.images[uid]))
        if not any(values(pydicom.dcmread(path)) == sent for path in stored[uid]):
            lost.append(f"{uid} is not in the node as it was sent")
    for name, log in logs.items():
        reported = evidence([entry.dataset for entry in log if entry.dataset.Modality == "SR"])
        drawn = {str(e.dataset.SourceImageSequence[0].ReferencedSOPInstanceUID) for e in log if e.dataset.Modality != "SR"}
        for uid in sorted(room.acknowledged()):
            if uid not in reported:
                lost.append(f"{uid} is in no report at {name}")
            if states.get(uid) == "analysed" and uid not in drawn:
                lost.append(f"{uid} has no overlay at {name}")
    return lost + [line for line in node.log().splitlines() if "event=data_loss" in line]


def states_of_images(node, room):
    states = {}
    for study in room.studies if node.process.poll() is None else []:
        status, body = node.get(f"/api/studies/{study}")
        for instance in json.loads(body)["instances"] if status == 200 else []:
            states[instance["sop_instance_uid"]] = instance["state"]
    return states


def without_end(node, room):
    studies = {study["study_instance_uid"]: study for study in node.studies()}
    return [uid for uid in room.studies if uid not in studies
            or studies[uid]["state"] != "finished" or studies[uid]["deliveries_pending"]]


def run(directory, kills, seed, say):
    draw = random.Random(seed)
    died = collections.Counter()
    with StoreScp(directory / "storescp", "PACS") as storescp, Orthanc(directory / "orthanc", "ORTHANC") as orthanc:
        node = Node(directory / "node", {"peers.xray1.study_quiet_period": "500 ms", "storage.analysis_attempts_max": 100,
                                         "tasks.anomaly.passes": 4},
                    storescp.port, configuration(directory / "node.yaml", storescp, orthanc))
        room = Room(directory / "room", node, draw)
        try:
            for number in range(1, kills + 1):
                died[kill_once(node, room, draw)] += 1
                storescp.runs() and orthanc.runs()
                say(f"kill {number} of {kills}: {len(room.acknowledged())} of {len(room.images)} images acknowledged, "
                    f"{len(list(storescp.directory.iterdir()))} objects at storescp")
            node.environment = {}
            node.start()
            room.finish()
            wait_until(lambda: storescp.runs() and orthanc.runs() and not without_end(node, room),
                       "every study at an end", 1800)
        except AssertionError as error:
            print(f"crashtest: {error}", file=sys.stderr)
        finally:
            room.stop()
            endless, states = without_end(node, room), states_of_images(node, room)
            stopped = node.stop()
        logs = {"storescp": storescp.log(), "orthanc": orthanc.log()}
        lost = find_losses(node, room, states, logs)
    doubled, resent = [], 0
    for name, log in logs.items():
        doubles, resends = count_doubles(log)
        doubled += [f"{double} at {name}" for double in doubles]
        resent += resends
    for uid, dataset in {e.sop_instance: e.dataset for e in logs["orthanc"]}.items():
        same = [e.dataset for e in logs["storescp"] if e.sop_instance == uid]
        if same and values(dataset) != values(same[0]):
            doubled.append(f"{uid} differs between the archives")
    for line in lost + doubled + endless:
        print(f"crashtest: {line}", file=sys.stderr)
    print("died " + ", ".join(f"{where} {count}" for where, count in sorted(died.items())))
    print(f"kills {sum(died.values())}, seed {seed}: acknowledged {len(room.acknowledged())}, lost {len(lost)}, "
          f"doubled {len(doubled)}, re-sent {resent}, studies {len(room.studies)}, without an end {len(endless)}")
    return sum(died.values()) == kills and not (lost or doubled or endless) and stopped == 0


def main():
    parser = argparse.ArgumentParser(prog="tools/crashtest", description=__doc__.split("\n\n")[0])
    parser.add_argument("--kills", type=int, required=True, help="how often the node is killed")
    parser.add_argument("--seed", type=int, default=None, help="replays a run; drawn and printed if not given")
    parser.add_argument("--keep", metavar="DIR", help="works in DIR, which must not be there, and leaves everything")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().getrandbits(32)
    print(f"seed {seed}", flush=True)
    progress = (lambda line: print(f"\r{line}", end="\n" if not sys.stderr.isatty() else "", file=sys.stderr, flush=True))
    if arguments.keep:
        pathlib.Path(arguments.keep).mkdir(parents=True)
        return 0 if run(pathlib.Path(arguments.keep), arguments.kills, seed, progress) else 1
    with tempfile.TemporaryDirectory(prefix="crashtest-") as directory:
        return 0 if run(pathlib.Path(directory), arguments.kills, seed, progress) else 1


if __name__ == "__main__":
    sys.exit(main())
