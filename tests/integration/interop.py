"""Senders of other toolkits, and what the node made of what they sent."""
import io
import json
import os
import pathlib
import shutil
import struct
import subprocess
import urllib.request

import pydicom
from pynetdicom import AE, _config, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import A_ASSOCIATE_RJ

from harness import SOURCE, free_port, fresh_uid, store, wait_until

# Of storescu: which option proposes a syntax; without one it proposes the uncompressed ones.
STORESCU = {"1.2.840.10008.1.2": "-xi", "1.2.840.10008.1.2.1": "-xe", "1.2.840.10008.1.2.2": "-xb",
            "1.2.840.10008.1.2.1.99": "-xd", "1.2.840.10008.1.2.5": "-xr", "1.2.840.10008.1.2.4.50": "-xy",
            "1.2.840.10008.1.2.4.51": "-xx", "1.2.840.10008.1.2.4.70": "-xs", "1.2.840.10008.1.2.4.80": "-xt",
            "1.2.840.10008.1.2.4.81": "-xu", "1.2.840.10008.1.2.4.90": "-xv", "1.2.840.10008.1.2.4.91": "-xw"}
HTJ2K = ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203")


def data_set_of(part10):
    """What follows the meta group; the whole of what has none."""
    if part10[128:132] != b"DICM" or part10[132:136] != b"\x02\0\0\0":
        return part10
    return part10[144 + struct.unpack("<I", part10[140:144])[0]:]


def syntax_of(path):
    return str(pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID)


def one_of_each_syntax(folders, into):
    """Per transfer syntax the smallest file of `folders` in an accepted class, under a UID of its own."""
    smallest = {}
    for path in sorted((p for folder in folders for p in folder.glob("*.dcm")), key=lambda p: p.stat().st_size):
        try:
            dataset = pydicom.dcmread(path, stop_before_pixels=True)
            smallest.setdefault(str(dataset.file_meta.TransferSyntaxUID), path)
        except Exception:  # Of the public files some are no files of PS3.10.
            continue
    found = {}
    for syntax, path in smallest.items():
        if not syntax.startswith("1.2.840.10008.1.2"):
            continue
        found[syntax] = with_fresh_uid(path, into)
    return found


def with_fresh_uid(path, into):
    dataset = pydicom.dcmread(path)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = fresh_uid()
    dataset.StudyInstanceUID = fresh_uid()
    into.mkdir(exist_ok=True)
    target = into / f"{dataset.SOPInstanceUID}.dcm"
    dataset.save_as(target, enforce_file_format=True)
    return target


def kept(node, sop_instance_uid):
    """The node's file of an instance."""
    found = list((node.directory / "store").rglob(f"{sop_instance_uid}.*"))
    assert len(found) == 1, (sop_instance_uid, found)
    return found[0]


def assert_kept(node, path, same_bytes, same_syntax=True):
    """`same_bytes`: the sender sends what is in its file; else the elements must be the same; `same_syntax`: and in the
    same syntax, even if it is uncompressed."""
    sent = pydicom.dcmread(path)
    file = kept(node, sent.SOPInstanceUID)
    if same_bytes:
        assert data_set_of(file.read_bytes()) == data_set_of(path.read_bytes()), path
    received = pydicom.dcmread(file)
    if same_syntax or sent.file_meta.TransferSyntaxUID.is_encapsulated:
        assert received.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID, path
        assert received == sent, path
    else:  # From one uncompressed syntax to another.
        assert not received.file_meta.TransferSyntaxUID.is_encapsulated, path
        assert "PixelData" not in sent or (received.pixel_array == sent.pixel_array).all(), path


def storescu(node, path):
    return subprocess.run(["storescu", "-R", STORESCU[syntax_of(path)], "-aet", "XRAY1", "-aec", "SKELEX", "127.0.0.1",
                           str(node.port), path], capture_output=True, text=True)


def dcmsend(node, path):
    return subprocess.run(["dcmsend", "--decompress-never", "-aet", "XRAY1", "-aec", "SKELEX", "127.0.0.1",
                           str(node.port), path], capture_output=True, text=True)


def dcm4che(node, path):
    """dcm4che's storescu, where DCM4CHE_HOME says that it is installed."""
    return subprocess.run([pathlib.Path(os.environ["DCM4CHE_HOME"]) / "bin/storescu", "-b", "XRAY1", "-c",
                           f"SKELEX@127.0.0.1:{node.port}", path], capture_output=True, text=True)


def associate(node, contexts, handlers=None):
    """`contexts`: (SOP class, transfer syntax) pairs, a context each."""
    ae = AE(ae_title="XRAY1")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 60
    for sop_class, syntax in contexts:
        ae.add_requested_context(sop_class, syntax)
    return ae.associate("127.0.0.1", node.port, ae_title="SKELEX", evt_handlers=handlers or [])


def pynetdicom(node, path):
    """As the file has it: pynetdicom would encode the data set anew."""
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    _config.STORE_SEND_CHUNKED_DATASET = True
    association = associate(node, [(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)])
    assert association.is_established
    status = store(association, path)
    association.release()
    return status.get("Status")


def send_raw(node, sop_class, sop_instance_uid, syntax, data_set):
    """The status; None if the association ended without one, "rejected" if class or syntax is not accepted."""
    answers = []  # Not association.is_rejected: pynetdicom 3.0.4 calls one rejection in fifty an abort.
    association = associate(node, [(sop_class, syntax)], [(evt.EVT_PDU_RECV, lambda event: answers.append(event.pdu))])
    if not association.is_established:
        wait_until(lambda: answers, "an answer to the association request")
        assert isinstance(answers[0], A_ASSOCIATE_RJ)
        return "rejected"
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = sop_class, sop_instance_uid
    request.DataSet = io.BytesIO(data_set)
    association._reactor_checkpoint.clear()  # As its send_c_store() does, or its own thread takes the answer.
    wait_until(lambda: association._is_paused, "pynetdicom's thread pauses")
    association.dimse.send_msg(request, association.accepted_contexts[0].context_id)
    _, response = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    association.release()
    return response.Status if response is not None else None


class Orthanc:
    """Debian's Orthanc, with the node as a modality of its own."""

    def __init__(self, directory, node):
        self.page, self.directory = free_port(), directory
        directory.mkdir()
        (directory / "orthanc.json").write_text(json.dumps({
            "Name": "interop", "StorageDirectory": str(directory / "storage"), "IndexDirectory": str(directory / "storage"),
            "DicomAet": "XRAY1", "DicomPort": free_port(), "HttpPort": self.page, "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False, "Plugins": [],
            "DicomModalities": {"node": {"AET": "SKELEX", "Host": "127.0.0.1", "Port": node.port}}}))

    def __enter__(self):
        program = shutil.which("Orthanc", path="/usr/sbin:/usr/bin:" + os.environ.get("PATH", ""))
        with open(self.directory / "orthanc.log", "ab") as log:
            self.process = subprocess.Popen([program, self.directory / "orthanc.json"], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)
        wait_until(self._answers, "Orthanc answers", process=self.process)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)

    def _answers(self):
        try:
            return self.call("/system")
        except OSError:
            return False

    def call(self, path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.page}{path}", data=body)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def send(self, path):
        """Uploads a file and has Orthanc send it to the node."""
        name = self.call("/instances", path.read_bytes())["ID"]
        return self.call("/modalities/node/store", name.encode())


DATA = [SOURCE / "tests/data/radiographs", SOURCE / "tests/fuzz/corpus/dicom"]
CORPUS = SOURCE.parent / "shared/data/dicom"
