"""Other toolkits send each transfer syntax; the node answers as its conformance statement says and keeps what came."""
import os

import pytest

import interop
from harness import Node


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with Node(tmp_path_factory.mktemp("interop") / "node") as running:
        yield running


@pytest.fixture
def files(tmp_path):
    found = interop.one_of_each_syntax(interop.DATA, tmp_path / "files")
    assert len(found) >= 10, found
    return found


def test_dcmtk_storescu(node, files):
    for syntax, path in files.items():
        if syntax in interop.STORESCU:
            done = interop.storescu(node, path)
            assert done.returncode == 0, (syntax, done.stderr)
            interop.assert_kept(node, path, same_bytes=False)


def test_dcmtk_dcmsend(node, files):
    for syntax, path in files.items():
        done = interop.dcmsend(node, path)
        assert done.returncode == 0, (syntax, done.stderr)
        interop.assert_kept(node, path, same_bytes=False, same_syntax=False)


def test_pynetdicom_bit_for_bit(node, files):
    for syntax, path in files.items():
        assert interop.pynetdicom(node, path) == 0x0000, syntax
        interop.assert_kept(node, path, same_bytes=True)
        assert interop.pynetdicom(node, path) == 0x0000, "a resend"


def test_orthanc(node, files, tmp_path):
    with interop.Orthanc(tmp_path / "orthanc", node) as orthanc:
        for syntax, path in files.items():
            answer = orthanc.send(path)
            assert answer["FailedInstancesCount"] == 0 and answer["InstancesCount"] == 1, (syntax, answer)
            interop.assert_kept(node, path, same_bytes=False)


@pytest.mark.skipif("DCM4CHE_HOME" not in os.environ, reason="DCM4CHE_HOME does not say where dcm4che is")
def test_dcm4che_storescu(node, files):
    for syntax, path in files.items():
        done = interop.dcm4che(node, path)
        assert done.returncode == 0, (syntax, done.stdout + done.stderr)
        interop.assert_kept(node, path, same_bytes=False)


def test_what_is_not_accepted_is_refused_in_negotiation(node):
    dx, ct = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.2"
    association = interop.associate(node, [(dx, "1.2.840.10008.1.2.1"), (ct, "1.2.840.10008.1.2.1"),
                                           (dx, interop.HTJ2K[0]), (dx, "1.2.840.10008.1.2.4.94")])
    assert association.is_established
    assert [c.transfer_syntax[0] for c in association.accepted_contexts] == ["1.2.840.10008.1.2.1"]
    assert sorted(c.result for c in association.rejected_contexts) == [3, 4, 4]
    association.release()
