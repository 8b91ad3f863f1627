"""What the integration tests share: the real node as a process, a stand-in PACS with an append-only log, and studies.

Everything listens on loopback and on ports found free; a test that loses the race for a port fails in words. No sleeping
to wait: wait_until() polls a condition and names it when it does not come.
"""
import collections
import functools
import hashlib
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
import uuid

import pydicom
from pydicom.uid import generate_uid
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, StoragePresentationContexts, evt

SOURCE = pathlib.Path(os.environ["NODE_SOURCE_DIR"])
BIN = pathlib.Path(os.environ["NODE_BIN"])
RADIOGRAPHS = SOURCE / "tests/data/radiographs"
DEMO = SOURCE / "config/demo.yaml"
SC_CLASS = "1.2.840.10008.5.1.4.1.1.7"
SANITIZED_FACTOR = 4 if "dev" in BIN.parts else 1  # Time allowed in a build with sanitizers.


PORTS_OF_OURS = []  # A name each, by which no other test of this machine takes the port before its server has it.


def free_port():
    """Below those that the kernel gives to whoever calls: one of these is taken before a server has it. Of all addresses:
    one that is free on loopback alone may have ended connections of 127.0.0.2, and Orthanc is refused it for a minute.
    The caller's until its process ends."""
    while True:
        port = random.SystemRandom().randrange(12000, 32000)
        name = socket.socket(socket.AF_UNIX)
        with socket.socket() as probe:
            try:
                name.bind(f"\0skelex-node test port {port}")  # Of no file: it goes with the process.
                probe.bind(("", port))
            except OSError:
                name.close()
                continue  # Taken.
        PORTS_OF_OURS.append(name)
        return port


def wait_until(condition, what, seconds=60, process=None):
    """Returns condition()'s first true value. Fails at once where the process that is waited for has ended."""
    end = time.monotonic() + seconds * SANITIZED_FACTOR
    while True:
        value = condition()
        if value:
            return value
        assert process is None or process.poll() is None, f"ended with {process.returncode}, before: {what}"
        assert time.monotonic() < end, f"after {seconds * SANITIZED_FACTOR} s still not: {what}"
        time.sleep(0.05)


class Pacs:
    """A PACS on pynetdicom. `log` is append-only: one entry for each object it was sent, in order of arrival."""

    Entry = collections.namedtuple("Entry", "sop_class sop_instance content_sha256 dataset")

    def __init__(self, port=None, ae_title="PACS", answer=lambda dataset: 0x0000, on_store=None, refused_classes=(),
                 tls=None):
        self.port = port or free_port()
        self.log = []
        self.answer, self.on_store, self.tls = answer, on_store, tls  # An ssl.SSLContext, of a server.
        self._lock = threading.Lock()
        self._ae = AE(ae_title=ae_title)
        for context in StoragePresentationContexts:
            if context.abstract_syntax not in refused_classes:
                self._ae.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
        self._ae.add_supported_context("1.2.840.10008.1.1")
        self._server = None

    def start(self):
        self._server = self._ae.start_server(("127.0.0.1", self.port), block=False,
                                             ssl_context=self.tls, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        return self

    def stop(self):
        if self._server:
            self._server.shutdown()
            self._server = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def _store(self, event):
        content = event.request.DataSet.getvalue()
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        status = self.answer(dataset)
        with self._lock:
            self.log.append(self.Entry(event.request.AffectedSOPClassUID, str(event.request.AffectedSOPInstanceUID),
                                       hashlib.sha256(content).hexdigest(), dataset))
        if self.on_store:
            self.on_store(dataset)
        return status

    def overlays(self):
        return [entry.dataset for entry in list(self.log) if entry.sop_class == SC_CLASS]

    def reports(self):
        return [entry.dataset for entry in list(self.log) if entry.dataset.Modality == "SR"]


def result_key(dataset):
    """(source UID, kind, task, revision) of a result, read from the object itself."""
    if dataset.SOPClassUID == SC_CLASS:
        return (str(dataset.SourceImageSequence[0].ReferencedSOPInstanceUID), "sc", str(dataset.DerivationDescription), "")
    predecessors = []
    for study in dataset.get("PredecessorDocumentsSequence", []):
        for series in study.ReferencedSeriesSequence:
            predecessors += [str(item.ReferencedSOPInstanceUID) for item in series.ReferencedSOPSequence]
    return (str(dataset.StudyInstanceUID), "sr", "", ",".join(sorted(predecessors)))


def count_doubles(log):
    """(doubles, re-sends) of a PACS's log: two UIDs for one key, or two contents for one UID, are doubles."""
    uids, contents, resends = collections.defaultdict(set), collections.defaultdict(set), 0
    for entry in log:
        resends += entry.content_sha256 in contents[entry.sop_instance]
        contents[entry.sop_instance].add(entry.content_sha256)
        uids[result_key(entry.dataset)].add(entry.sop_instance)
    doubles = [key for key, found in uids.items() if len(found) > 1]
    doubles += [uid for uid, found in contents.items() if len(found) > 1]
    return doubles, resends


class Node:
    """`skelex-node serve` on the demo configuration, changed by `settings` ("key.path": value)."""

    def __init__(self, directory, settings=None, pacs_port=None, config=DEMO):
        self.directory = pathlib.Path(directory)
        self.port, self.page = free_port(), free_port()
        self.config = config
        self.settings = {"node.port": self.port, "node.bind": "127.0.0.1", "http.bind": f"127.0.0.1:{self.page}",
                         "storage.directory": self.directory / "store", "storage.free_bytes_min": "16 MiB",
                         "peers.xray1.study_quiet_period": "1 s", "peers.pacs.study_quiet_period": "1 s",
                         "peers.pacs.port": pacs_port or free_port()}
        self.settings.update(settings or {})
        self.process = None
        self.environment = {}  # Of the next start(), beside this process's own.
        self.log_path = self.directory / "node.log"

    def arguments(self):
        found = ["--config", str(self.config)]
        for key, value in self.settings.items():
            found += ["--set", f"{key}={value}"]
        return found

    def start(self, wait=True):
        self.directory.mkdir(parents=True, exist_ok=True)
        at = self.log_path.stat().st_size if self.log_path.exists() else 0
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([BIN / "skelex-node", "serve", *self.arguments()], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env={**os.environ, **self.environment})
        if wait:
            def ready():
                assert self.process.poll() is None, f"the node ended: {self.log()[-3000:]}"
                return b"skelex-node ready" in self.log_path.read_bytes()[at:]
            wait_until(ready, "the node is ready", 60)
        return self

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """SIGTERM; returns the exit status."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                return self.process.wait(60 * SANITIZED_FACTOR)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise AssertionError(f"the node did not stop on SIGTERM: {self.log()[-3000:]}")
        return self.process.poll() if self.process else None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def run(self, *command, check=True):
        done = subprocess.run([BIN / "skelex-node", *command], capture_output=True, text=True)
        assert not check or done.returncode == 0, done.stderr
        return done

    def studies(self):
        return [json.loads(line) for line in self.run("studies", *self.arguments(), "--json").stdout.splitlines()]

    def deliveries(self):
        return [json.loads(line) for line in self.run("deliveries", *self.arguments(), "--json").stdout.splitlines()]

    def instances(self, study):
        done = self.run("studies", *self.arguments(), "show", study)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def at_rest(self):
        """Every study at an end and nothing due."""
        studies = self.studies()
        return studies and all(s["state"] in ("finished", "not_routed", "failed") and not s["deliveries_pending"]
                               for s in studies)

    def get(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.page}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def modality(node, *paths, associations=1, extra=(), check=True, calling="XRAY1"):
    """skelex-modality as the X-ray room; returns the finished process."""
    done = subprocess.run([BIN / "skelex-modality", "--from", calling, "--to", f"SKELEX@127.0.0.1:{node.port}",
                           "--associations", str(associations), *map(str, extra), *map(str, paths)],
                          capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def store(association, dataset):
    """One C-STORE. pynetdicom 3.0.4 takes its reading thread for paused a moment before it is, and an answer that this
    thread then takes is dropped as "unexpected"; so it is stopped first and given the time to come to rest."""
    association._reactor_checkpoint.clear()
    time.sleep(0.02)
    return association.send_c_store(dataset)


def send(node, datasets, calling="XRAY1", transfer_syntax=None, tls=None, port=None):
    """Sends data sets over one association of pynetdicom; returns their statuses."""
    ae = AE(ae_title=calling)
    for dataset in datasets:
        syntax = transfer_syntax or dataset.file_meta.TransferSyntaxUID
        if (dataset.SOPClassUID, syntax) not in {(c.abstract_syntax, c.transfer_syntax[0]) for c in ae.requested_contexts}:
            ae.add_requested_context(dataset.SOPClassUID, syntax)
    association = ae.associate("127.0.0.1", port or node.port, ae_title="SKELEX", tls_args=(tls, "localhost") if tls else None)
    assert association.is_established, "no association"
    try:
        statuses = [store(association, dataset) for dataset in datasets]
    finally:  # pynetdicom raises for what it cannot encode; an association left open would hold one of the node's slots.
        association.release()
    return [status.Status if "Status" in status else None for status in statuses]


def radiograph(name_part, **attributes):
    """One committed radiograph, changed by `attributes`."""
    path = next(p for p in sorted(RADIOGRAPHS.rglob("*.dcm")) if name_part in p.name)
    dataset = pydicom.dcmread(path)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
        if keyword == "SOPInstanceUID":
            dataset.file_meta.MediaStorageSOPInstanceUID = value
    return dataset


def fresh_uid():
    return f"2.25.{uuid.uuid4().int}"


@functools.cache
def plain_radiograph():
    """The path of a committed CR in Explicit VR Little Endian."""
    for path in sorted(RADIOGRAPHS.rglob("*.dcm")):
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        if dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1" and dataset.Modality == "CR":
            return path


def small_image(body_part="KNEE", study=None, seed=0, side=96):
    """A tiny CR of random pixels, in a study of its own unless one is named: for tests that need many."""
    dataset = pydicom.dcmread(plain_radiograph())
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = fresh_uid()
    dataset.StudyInstanceUID = study or fresh_uid()
    dataset.SeriesInstanceUID = fresh_uid()
    dataset.BodyPartExamined = body_part
    for keyword in ("AnatomicRegionSequence", "ProcedureCodeSequence", "StudyDescription", "SeriesDescription",
                    "ProtocolName", "RequestAttributesSequence", "WindowCenter", "WindowWidth", "VOILUTSequence"):
        if keyword in dataset:
            delattr(dataset, keyword)
    import numpy
    pixels = numpy.random.default_rng(seed).integers(0, 256, (side, side), dtype=numpy.uint8)
    dataset.Rows = dataset.Columns = side
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OB"
    return dataset


def frames_each():
    """The demo configuration with every route reading each frame of several; it may stand in any folder."""
    return (DEMO.read_text().replace("    send_to: [pacs]\n", "    send_to: [pacs]\n    frames: each\n")
            .replace("demo/", f"{DEMO.parent}/demo/"))
