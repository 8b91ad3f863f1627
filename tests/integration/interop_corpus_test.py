"""Each transfer syntax of the corpus, and every broken file that has a data set, sent as it is."""
import csv

import pydicom
import pytest

import interop
from harness import Node

pytestmark = pytest.mark.skipif(not interop.CORPUS.exists(), reason="no shared/data/dicom beside the checkout")


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with Node(tmp_path_factory.mktemp("interop") / "node") as running:
        yield running


def test_each_syntax_by_each_sender(node, tmp_path):
    for sender in (interop.storescu, interop.dcmsend, interop.pynetdicom):
        files = interop.one_of_each_syntax([interop.CORPUS / "made"], tmp_path / sender.__name__)
        assert len(files) >= 15, files
        for syntax, path in files.items():
            if syntax in interop.HTJ2K or (sender is interop.storescu and syntax not in interop.STORESCU):
                continue
            done = sender(node, path)
            assert getattr(done, "returncode", done) == 0, (sender.__name__, syntax, done)
            interop.assert_kept(node, path, same_bytes=sender is interop.pynetdicom,
                                same_syntax=sender is not interop.dcmsend)


def test_broken_data_sets_are_answered(node):
    with open(interop.CORPUS / "corrupt.csv", newline="") as table:
        names = [row["file"] for row in csv.DictReader(table)]
    statuses = {}
    for name in names:
        content = (interop.CORPUS / name).read_bytes()
        data_set = interop.data_set_of(content)
        if len(data_set) < 8:
            continue
        sop_class, sop_instance, syntax = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3", "1.2.840.10008.1.2.1"
        try:
            header = pydicom.dcmread(interop.CORPUS / name, stop_before_pixels=True, force=True)
            syntax = str(header.file_meta.TransferSyntaxUID)
            if header.SOPInstanceUID.is_valid and len(header.SOPInstanceUID) <= 64:
                sop_class, sop_instance = str(header.SOPClassUID), str(header.SOPInstanceUID)
        except Exception:  # Broken, as it should be.
            pass
        data_set += b"\0" * (len(data_set) % 2)
        statuses[name] = interop.send_raw(node, sop_class, sop_instance, syntax, data_set)
        assert node.process.poll() is None, f"the node died of {name}"
    known = {0x0000, 0xC000, 0xA900, 0xA700, 0xC001, "rejected"}
    assert len(statuses) >= 30 and set(statuses.values()) <= known, statuses
    assert sum(status != 0 for status in statuses.values()) >= 10, statuses
    assert interop.associate(node, [("1.2.840.10008.1.1", "1.2.840.10008.1.2")]).is_established
