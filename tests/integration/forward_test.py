"""Originals forwarded: the bytes of the data set that came are those that leave, whatever their transfer syntax."""
import hashlib
import shutil
import struct

import pydicom
import pydicom.encaps
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

import interop
from harness import RADIOGRAPHS, Node, Pacs, free_port, send, small_image, wait_until

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
FORWARD = {"forward": "[{match: {from: xray1}, send_to: [pacs]}]", "routes": "[]", "delivery.retry_first": "200 ms"}


def oddly_encoded(path):
    """What every encoder would write otherwise: a sequence of undefined length, a value with spaces to spare, an element
    that nobody knows, and padding behind the last."""
    dataset = small_image("CHEST")
    dataset.StudyDescription = "spaces      "
    item = Dataset()
    item.CodeValue = "T-1"
    dataset.ProcedureCodeSequence = [item]
    dataset["ProcedureCodeSequence"].is_undefined_length = True
    item.is_undefined_length_sequence_item = True
    dataset.add_new(0x00190010, "LO", "HOUSE")
    dataset.add_new(0x00191001, "UN", b"\1\2\3\4")
    dataset.add_new(0xFFFCFFFC, "OB", b"\0" * 12)
    dataset.save_as(path, enforce_file_format=True)
    return path


def rle_with_codes_for_nothing(path):
    """0x80 stands for nothing (PS3.5 G.3.1). DCMTK's decoder makes a run of it."""
    dataset = small_image("CHEST")
    pixels, plane = dataset.pixel_array, b""
    for row in pixels:
        plane += bytes([0x80, len(row) - 1]) + row.tobytes()
    stream = struct.pack("<16I", 1, 64, *[0] * 14) + plane
    dataset.PixelData = pydicom.encaps.encapsulate([stream])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.RLELossless
    dataset.save_as(path, enforce_file_format=True)
    assert (pydicom.dcmread(path).pixel_array == pixels).all()
    return path


@pytest.fixture
def files(tmp_path):
    """Each committed radiograph, and one file of each transfer syntax, by SOP Instance UID."""
    (tmp_path / "files").mkdir()
    paths = [shutil.copy(path, tmp_path / "files" / path.name) for path in sorted(RADIOGRAPHS.rglob("*.dcm"))]
    paths += interop.one_of_each_syntax(interop.DATA, tmp_path / "files").values()
    paths.append(oddly_encoded(tmp_path / "files" / "odd.dcm"))
    paths.append(rle_with_codes_for_nothing(tmp_path / "files" / "nothing.dcm"))
    found = {}
    for path in paths:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        found[str(header.SOPInstanceUID)] = (header, interop.data_set_of(open(path, "rb").read()))
    assert len({header.file_meta.TransferSyntaxUID for header, _ in found.values()}) >= 10
    return found


def send_all(node, files):
    for uid, (header, data_set) in files.items():
        syntax = header.file_meta.TransferSyntaxUID
        assert interop.send_raw(node, header.SOPClassUID, uid, syntax, data_set) == 0x0000, syntax


def delivered(node):
    return all(delivery["state"] == "delivered" for delivery in node.deliveries())


def test_the_receiver_gets_the_bytes_that_came_in_the_syntax_that_they_came_in(tmp_path, files):
    with Pacs() as pacs, Node(tmp_path / "node", FORWARD, pacs_port=pacs.port) as node:
        send_all(node, files)
        wait_until(lambda: delivered(node) and len(pacs.log) >= len(files), "all forwarded")
        got = {entry.sop_instance: entry for entry in pacs.log}
        assert len(got) == len(pacs.log) == len(files)
        for uid, (header, data_set) in files.items():
            syntax = header.file_meta.TransferSyntaxUID
            assert got[uid].dataset.file_meta.TransferSyntaxUID == syntax
            assert got[uid].content_sha256 == hashlib.sha256(data_set).hexdigest(), syntax


class Old:
    """An archive that takes one uncompressed syntax only."""

    def __init__(self, syntax):
        self.port, self.got = free_port(), {}
        self._ae = AE(ae_title="PACS")
        for sop_class in ("1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.7"):
            self._ae.add_supported_context(sop_class, syntax)

    def _store(self, event):
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        self.got[str(dataset.SOPInstanceUID)] = dataset
        return 0x0000

    def __enter__(self):
        self._server = self._ae.start_server(("127.0.0.1", self.port), block=False,
                                             evt_handlers=[(evt.EVT_C_STORE, self._store)])
        return self

    def __exit__(self, *_):
        self._server.shutdown()


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_what_the_receiver_does_not_take_is_sent_with_the_same_pixels(tmp_path, files, syntax):
    with Old(syntax) as old, Node(tmp_path / "node", FORWARD, pacs_port=old.port) as node:
        send_all(node, files)
        wait_until(lambda: not any(d["state"] == "pending" for d in node.deliveries()), "nothing due")
        assert not [d["text"] for d in node.deliveries() if d["state"] == "parked"]
        for uid, (header, _) in files.items():
            own = header.file_meta.TransferSyntaxUID
            assert old.got[uid].file_meta.TransferSyntaxUID == syntax
            kept = pydicom.dcmread(interop.kept(node, uid))
            if own not in ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81"):  # Lossy ones.
                assert (old.got[uid].pixel_array == kept.pixel_array).all(), own


def test_with_transcode_false_it_is_parked_with_the_reason(tmp_path, files):
    settings = {**FORWARD, "peers.pacs.transcode": "false"}
    with Old(EXPLICIT) as old, Node(tmp_path / "node", settings, pacs_port=old.port) as node:
        send_all(node, files)
        wait_until(lambda: not any(d["state"] == "pending" for d in node.deliveries()), "nothing due")
        for delivery in node.deliveries():
            header = files[delivery["sop_instance_uid"]][0]
            if header.file_meta.TransferSyntaxUID == EXPLICIT:
                assert delivery["state"] == "delivered"
            else:
                assert delivery["state"] == "parked" and "transcode is false for it" in delivery["text"]
        assert set(old.got) == {u for u, (h, _) in files.items() if h.file_meta.TransferSyntaxUID == EXPLICIT}


def test_a_receiver_of_one_compressed_syntax_gets_what_is_in_it_and_the_rest_is_parked_in_words(tmp_path, files):
    lossless = "1.2.840.10008.1.2.4.70"
    with Old(lossless) as old, Node(tmp_path / "node", FORWARD, pacs_port=old.port) as node:
        send_all(node, files)
        wait_until(lambda: not any(d["state"] == "pending" for d in node.deliveries()), "nothing due")
        for delivery in node.deliveries():
            header = files[delivery["sop_instance_uid"]][0]
            if header.file_meta.TransferSyntaxUID == lossless:
                assert delivery["state"] == "delivered"
            else:
                assert delivery["state"] == "parked" and "or uncompressed" in delivery["text"], delivery
        assert set(old.got) == {u for u, (h, _) in files.items() if h.file_meta.TransferSyntaxUID == lossless}


def test_originals_after_the_results_come_last(tmp_path):
    settings = {"forward": "[{match: {from: xray1}, send_to: [pacs], when: after_results}]"}
    with Pacs() as pacs, Node(tmp_path / "node", settings, pacs_port=pacs.port) as node:
        assert send(node, [small_image("HAND"), small_image("CHEST")]) == [0, 0]
        wait_until(lambda: len(pacs.log) == 4, "all sent")
        of_hand = [entry.dataset.Modality for entry in pacs.log if entry.dataset.get("BodyPartExamined") != "CHEST"]
        assert of_hand == ["OT", "SR", "CR"]
