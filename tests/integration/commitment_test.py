"""Storage commitment both ways: a modality asks the node; the node asks a PACS that answers late, wrongly, twice, never."""
import json
import os
import shutil
import sqlite3
import subprocess
import threading
import urllib.request

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, StoragePresentationContexts, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

from harness import Node, Pacs, free_port, fresh_uid, send, small_image, wait_until

INSTANCE = "1.2.840.10008.1.20.1.1"
SETTINGS = {"delivery.retry_first": "200 ms", "delivery.retry_max": "1 s", "delivery.connect_timeout": "2 s",
            "routes": "[]", "forward": "[{match: {from: xray1}, send_to: [pacs]}]"}


def images(count):
    study = fresh_uid()
    return [small_image("CHEST", study, seed, side=64) for seed in range(count)]


def request_of(datasets, more=()):
    request = Dataset()
    request.TransactionUID = fresh_uid()
    request.ReferencedSOPSequence = []
    for sop_class, uid in [(d.SOPClassUID, d.SOPInstanceUID) for d in datasets] + list(more):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        request.ReferencedSOPSequence.append(item)
    return request


def named(items):
    return sorted(str(item.ReferencedSOPInstanceUID) for item in items or [])


class Modality:
    """Asks, and listens for the report: on an association of the node's, or on the one over which it asked."""

    def __init__(self, port=None):
        self.port, self.reports = port or free_port(), []
        self.ae = AE(ae_title="XRAY1")
        self.ae.add_requested_context(StorageCommitmentPushModel, ExplicitVRLittleEndian)
        self.ae.add_supported_context(StorageCommitmentPushModel, ExplicitVRLittleEndian, scu_role=False, scp_role=True)
        self.handlers = [(evt.EVT_N_EVENT_REPORT, self._report)]

    def _report(self, event):
        self.reports.append((event.request.EventTypeID, event.event_information))
        return 0x0000, None

    def ask(self, node, request, wait_here=False):
        association = self.ae.associate("127.0.0.1", node.port, ae_title="SKELEX", evt_handlers=self.handlers)
        assert association.is_established
        status, _ = association.send_n_action(request, 1, StorageCommitmentPushModel, INSTANCE)
        if wait_here:
            wait_until(lambda: self.reports, "the report on the same association")
        association.release()
        return status.Status

    def __enter__(self):
        self._server = self.ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=self.handlers)
        return self

    def __exit__(self, *_):
        self._server.shutdown()


def test_a_modality_is_told_what_is_safe_on_an_association_of_ours(tmp_path):
    sent = images(2)
    modality = Modality()
    settings = {**SETTINGS, "peers.xray1.host": "127.0.0.1", "peers.xray1.port": modality.port}
    with Node(tmp_path / "node", settings) as node:
        assert send(node, sent) == [0, 0]
        missing, wrong = fresh_uid(), str(sent[1].SOPInstanceUID)
        request = request_of(sent[:1], [(sent[0].SOPClassUID, missing), ("1.2.840.10008.5.1.4.1.1.7", wrong)])
        assert modality.ask(node, request) == 0x0000
        wait_until(lambda: "event=commitment_reported" in node.log() and "again=true" in node.log(), "it is not there yet")
        node.kill()  # The request is as durable as the images.
        node.start()
        with modality:
            wait_until(lambda: modality.reports, "told")
        (event, report), = modality.reports
        assert event == 2 and report.TransactionUID == request.TransactionUID
        assert named(report.ReferencedSOPSequence) == named(request_of(sent[:1]).ReferencedSOPSequence)
        reasons = {str(item.ReferencedSOPInstanceUID): item.FailureReason for item in report.FailedSOPSequence}
        assert reasons == {missing: 0x0112, wrong: 0x0119}


def test_a_modality_that_waits_is_told_on_its_own_association(tmp_path):
    sent = images(3)
    modality = Modality()
    with Node(tmp_path / "node", SETTINGS) as node:  # xray1 has no port: it cannot be called.
        assert send(node, sent) == [0] * 3
        assert modality.ask(node, request_of(sent), wait_here=True) == 0x0000
        (event, report), = modality.reports
        assert event == 1 and named(report.ReferencedSOPSequence) == named(request_of(sent).ReferencedSOPSequence)
        wait_until(lambda: "event=commitment_reported" in node.log(), "its answer is read")


def lose(node, dataset):
    """The file of one object is gone from the disk."""
    (path,) = (node.directory / "store" / "objects").glob(f"*/{dataset.SOPInstanceUID}.*.dcm")
    path.unlink()


def rot(node, dataset):
    """One byte of the file is another."""
    (path,) = (node.directory / "store" / "objects").glob(f"*/{dataset.SOPInstanceUID}.*.dcm")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("same_association", [True, False])
def test_what_the_node_has_lost_is_not_committed(tmp_path, same_association):
    sent = images(3)
    modality = Modality()
    settings = {**SETTINGS, "forward": "[]"}
    if not same_association:
        settings.update({"peers.xray1.host": "127.0.0.1", "peers.xray1.port": modality.port})
    with Node(tmp_path / "node", settings) as node, modality:
        assert send(node, sent) == [0] * 3
        lose(node, sent[0])
        rot(node, sent[1])
        assert modality.ask(node, request_of(sent), wait_here=same_association) == 0x0000
        (event, report), = wait_until(lambda: modality.reports, "told")
        assert event == 2 and named(report.ReferencedSOPSequence) == [sent[2].SOPInstanceUID]
        assert {item.FailureReason for item in report.FailedSOPSequence} == {0x0112}
        assert named(report.FailedSOPSequence) == sorted(str(d.SOPInstanceUID) for d in sent[:2])
        for image in sent[:2]:
            assert f"event=data_loss sop_instance_uid={image.SOPInstanceUID}" in node.log()


def test_a_report_that_cannot_be_made_does_not_read_the_files_again_and_again(tmp_path):
    study = fresh_uid()
    sent = [small_image("CHEST", study, seed, side=1500) for seed in range(3)]  # 2.25 MB each.
    modality = Modality()
    settings = {**SETTINGS, "peers.xray1.host": "127.0.0.1", "peers.xray1.port": modality.port, "forward": "[]"}
    with Node(tmp_path / "node", settings) as node:
        def read_bytes():
            return int(open(f"/proc/{node.process.pid}/io").readline().split()[1])

        def attempts():
            with sqlite3.connect(f"file:{node.directory}/store/studies.sqlite?mode=ro", uri=True) as database:
                return database.execute("SELECT attempts FROM commitment_request").fetchone()[0]

        assert send(node, sent) == [0] * 3
        assert modality.ask(node, request_of(sent)) == 0x0000
        wait_until(lambda: attempts() >= 1, "it was looked at once")
        before, first = read_bytes(), attempts()
        wait_until(lambda: attempts() >= first + 4, "four times more")
        per_look = (read_bytes() - before) / 4
        assert per_look < 1_000_000, f"{per_look:.0f} bytes read each time"
        with modality:
            (event, report), = wait_until(lambda: modality.reports, "told")
            assert event == 1 and len(report.ReferencedSOPSequence) == 3


def test_a_request_that_makes_no_sense_is_refused_and_the_association_goes_on(tmp_path):
    modality = Modality()
    with Node(tmp_path / "node", SETTINGS) as node:
        empty = Dataset()
        empty.TransactionUID = fresh_uid()
        assert modality.ask(node, empty) == 0x0115
        association = modality.ae.associate("127.0.0.1", node.port, ae_title="SKELEX")
        request = request_of(images(1))
        assert association.send_n_action(request, 2, StorageCommitmentPushModel, INSTANCE)[0].Status == 0x0123
        assert association.send_n_action(request, 1, StorageCommitmentPushModel, "1.2.3")[0].Status == 0x0112
        association.release()


class CommittingPacs:
    """Stores, and answers each request as `answer(number, request)` says: a list of (seconds until, failure reason)."""

    def __init__(self, node_port, answer, ae_title="PACS"):
        self.port, self.node_port, self.answer = free_port(), node_port, answer
        self.stored, self.requests, self.statuses, self.here = [], [], [], False
        self.ae = AE(ae_title=ae_title)
        for context in StoragePresentationContexts:
            self.ae.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
        self.ae.add_supported_context(StorageCommitmentPushModel)

    def _store(self, event):
        self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    def _action(self, event):
        request = event.action_information
        self.requests.append(request)
        if self.here:  # On the same association, once this request is answered.
            threading.Timer(0.3, self._report_here, (event.assoc, request)).start()
        for seconds, reason in self.answer(len(self.requests), request):
            threading.Timer(seconds, self.report, (request, reason)).start()
        return 0x0000, None

    def _report_here(self, association, request):
        report = Dataset()
        report.TransactionUID, report.ReferencedSOPSequence = request.TransactionUID, request.ReferencedSOPSequence
        status, _ = association.send_n_event_report(report, 1, StorageCommitmentPushModel, INSTANCE)
        self.statuses.append(status.get("Status"))

    def report(self, request, reason, failed=None, foreign=()):
        """`reason` for the UIDs of `failed`, by default all; `foreign`: data sets that nobody asked for."""
        report = Dataset()
        report.TransactionUID = request.TransactionUID
        items = list(request.ReferencedSOPSequence)
        bad = [item for item in items if reason and (failed is None or item.ReferencedSOPInstanceUID in failed)]
        good = [item for item in items if item not in bad] + list(request_of(foreign).ReferencedSOPSequence)
        for item in bad:
            item.FailureReason = reason
        if bad:
            report.FailedSOPSequence = bad
        if good:
            report.ReferencedSOPSequence = good
        ae = AE(ae_title="PACS")
        ae.add_requested_context(StorageCommitmentPushModel)
        association = ae.associate("127.0.0.1", self.node_port, ae_title="SKELEX",
                                   ext_neg=[build_role(StorageCommitmentPushModel, scp_role=True)])
        assert association.is_established
        assert association.accepted_contexts[0].as_scp, "the role is granted"
        status, _ = association.send_n_event_report(report, 2 if reason else 1, StorageCommitmentPushModel, INSTANCE)
        self.statuses.append(status.Status)
        association.release()

    def __enter__(self):
        self._server = self.ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=[
            (evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._action)])
        return self

    def __exit__(self, *_):
        self._server.shutdown()


def commitments(node):
    return [delivery["commitment"] for delivery in node.deliveries()]


@pytest.fixture
def committing(tmp_path):
    def make(answer, **settings):
        node = Node(tmp_path / "node", {**SETTINGS, "peers.pacs.commitment": "true", **settings})
        pacs = CommittingPacs(node.port, answer)
        node.settings["peers.pacs.port"] = pacs.port
        return node, pacs
    return make


def test_a_pacs_that_answers_late_and_twice_on_associations_of_its_own(committing):
    node, pacs = committing(lambda number, request: [])
    with node, pacs:
        assert send(node, images(3)) == [0] * 3
        wait_until(lambda: sum(len(request.ReferencedSOPSequence) for request in pacs.requests) == 3, "asked for each")
        wait_until(lambda: commitments(node) == ["asked"] * 3, "that is recorded")
        for _ in range(2):
            for request in pacs.requests:
                pacs.report(request, 0)
            assert commitments(node) == ["committed"] * 3
        assert len(pacs.statuses) == 2 * len(pacs.requests) and set(pacs.statuses) == {0} and len(pacs.stored) == 3
        assert sum(len(request.ReferencedSOPSequence) for request in pacs.requests) == 3, "asked once for each"


def test_on_a_disk_too_full_for_images_the_pacs_still_commits_and_what_it_has_is_deleted(committing):
    node, pacs = committing(lambda number, request: [], **{"storage.retention.originals_days": "30"})
    sent = images(2)
    with node, pacs:
        assert send(node, sent) == [0] * 2
        wait_until(lambda: commitments(node) == ["asked"] * 2, "asked")
        node.stop()
        node.settings.update({"storage.free_bytes_min": "1000 TiB", "storage.retention.free_bytes_low": "1001 TiB"})
        node.start()
        assert send(node, images(1)) == [0xA700], "nothing new is taken"
        assert Modality().ask(node, request_of(sent)) == 0x0000, "nor is anything kept of who asks"
        pacs.report(pacs.requests[0], 0)
        assert pacs.statuses == [0x0000]
        assert commitments(node) == ["committed"] * 2
        wait_until(lambda: not list((node.directory / "store" / "objects").glob("*/*.dcm")), "retention makes room")


def test_a_pacs_that_has_it_not_gets_it_again_and_one_that_never_answers_is_asked_again(committing):
    answers = {1: [(0, 0x0112)], 2: []}
    node, pacs = committing(lambda number, request: answers.get(number, [(0, 0)]),
                            **{"delivery.commitment_answer_within": "3 s"})
    with node, pacs:
        assert send(node, images(1)) == [0]
        wait_until(lambda: commitments(node) == ["committed"], "committed")
        assert len(pacs.stored) == 2 and len(set(pacs.stored)) == 1, "the same object, sent again"
        assert len({str(request.TransactionUID) for request in pacs.requests}) == 3


def test_a_refusal_is_for_a_person(committing):
    node, pacs = committing(lambda number, request: [(0, 0x0122)])
    with node, pacs:
        assert send(node, images(1)) == [0]
        wait_until(lambda: node.deliveries()[0]["state"] == "parked", "parked")
        assert node.deliveries()[0]["text"] == "not committed: 0122H"


def test_a_report_may_commit_some_fail_some_and_name_what_nobody_asked_for(committing):
    node, pacs = committing(lambda number, request: [])
    sent, foreign = images(3), images(2)
    with node, pacs:
        assert send(node, sent) == [0] * 3
        wait_until(lambda: pacs.requests, "asked")
        failed = str(sent[1].SOPInstanceUID)
        pacs.report(pacs.requests[0], 0x0122, [failed], foreign)
        assert pacs.statuses == [0]
        found = {d["sop_instance_uid"]: (d["state"], d["commitment"], d["text"]) for d in node.deliveries()}
        assert found.pop(failed) == ("parked", "", "not committed: 0122H")
        assert list(found.values()) == [("delivered", "committed", "")] * 2


@pytest.mark.parametrize("point", ["commitment_asked", "commitment_recorded", "commitment_answered"])
def test_a_node_that_dies_around_the_report_loses_none(committing, point):
    node, pacs = committing(lambda number, request: [])
    pacs.here = point != "commitment_asked"
    node.environment = {"SKELEX_NODE_CRASH_POINT": point}
    sent = images(2)
    with pacs:
        node.start()
        try:
            assert send(node, sent) == [0] * 2
            wait_until(lambda: node.process.poll() is not None, "the node has died")
            node.environment = {}
            node.start()
            if pacs.here:  # It was recorded before it was answered: whether the PACS got its answer or not.
                assert commitments(node) == ["committed"] * 2
                assert pacs.statuses == ([0] if point == "commitment_answered" else [None])
            else:
                assert commitments(node) == ["asked"] * 2
                pacs.report(pacs.requests[0], 0)
                assert pacs.statuses == [0] and commitments(node) == ["committed"] * 2
            assert len(pacs.requests) == 1
        finally:
            node.stop()


def test_a_pacs_that_refuses_to_be_asked_is_for_a_person(committing):
    node, committing_pacs = committing(lambda number, request: [(0, 0)])
    with node:
        with Pacs(committing_pacs.port):  # It knows no storage commitment.
            assert send(node, images(1)) == [0]
            wait_until(lambda: node.deliveries()[0]["state"] == "parked", "parked")
        (delivery,) = node.deliveries()
        assert "accepts no storage commitment" in delivery["text"] and "10 times" in delivery["text"]
        assert "peers.pacs.commitment: false" in delivery["text"]
        with committing_pacs:  # It was configured to.
            node.stop()
            node.run("deliveries", *node.arguments(), "release", str(delivery["id"]))
            node.start()
            wait_until(lambda: commitments(node) == ["committed"], "committed")


def test_without_commitment_what_waited_for_it_is_free_at_the_next_start(committing):
    node, pacs = committing(lambda number, request: [])
    with node, pacs:
        assert send(node, images(2)) == [0] * 2
        wait_until(lambda: commitments(node) == ["asked"] * 2, "asked")
        node.stop()
        node.settings["peers.pacs.commitment"] = "false"
        node.start()
        assert {(d["state"], d["commitment"]) for d in node.deliveries()} == {("delivered", "")}
        assert "event=commitment_not_wanted destination=pacs deliveries=2" in node.log()


def test_a_pacs_that_hangs_keeps_no_other_waiting(committing):
    node, pacs = committing(lambda number, request: [(0, 0)], **{
        "peers.slow.ae_title": "SLOW", "peers.slow.host": "127.0.0.1", "peers.slow.commitment": "true",
        "forward": "[{match: {from: xray1}, send_to: [slow, pacs]}]", "delivery.dimse_timeout": "60 s"})
    let_go = threading.Event()

    def hang(number, request):
        let_go.wait(50)
        return []
    slow = CommittingPacs(node.port, hang, ae_title="SLOW")
    node.settings["peers.slow.port"] = slow.port
    modality = Modality()
    node.settings.update({"peers.xray1.host": "127.0.0.1", "peers.xray1.port": modality.port})
    sent = images(1)
    with node, pacs, slow, modality:
        assert send(node, sent) == [0]
        wait_until(lambda: slow.requests, "the slow one is asked")
        assert modality.ask(node, request_of(sent)) == 0
        wait_until(lambda: modality.reports, "the modality is told", 15)
        wait_until(lambda: "committed" in commitments(node), "the other PACS has committed", 15)
        let_go.set()


def test_a_modality_may_be_told_only_what_the_pacs_has_committed(committing):
    modality = Modality()
    node, pacs = committing(lambda number, request: [(2, 0)], **{
        "node.commitment": "delivered", "peers.xray1.host": "127.0.0.1", "peers.xray1.port": modality.port})
    sent = images(1)
    with node, modality:
        assert send(node, sent) == [0]
        assert modality.ask(node, request_of(sent)) == 0
        with pacs:
            wait_until(lambda: modality.reports, "told")
            assert pacs.statuses == [0], "after the PACS has committed"
            assert modality.reports[0][0] == 1


class Orthanc:
    """Debian's Orthanc as the PACS, with the node as the modality that it reports to."""

    def __init__(self, directory, node_port):
        self.port, self.page = free_port(), free_port()
        directory.mkdir()
        self.file, self.log = directory / "orthanc.json", directory / "orthanc.log"
        self.file.write_text(json.dumps({
            "StorageDirectory": str(directory / "storage"), "IndexDirectory": str(directory / "storage"),
            "DicomAet": "PACS", "DicomPort": self.port, "HttpPort": self.page, "AuthenticationEnabled": False,
            "RemoteAccessAllowed": False, "Plugins": [], "DicomAlwaysAllowStore": True,
            "DicomModalities": {"skelex": {"AET": "SKELEX", "Host": "127.0.0.1", "Port": node_port,
                                           "AllowStorageCommitment": True}}}))

    def __enter__(self):
        program = shutil.which("Orthanc", path="/usr/sbin:/usr/bin:" + os.environ.get("PATH", ""))
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([program, self.file], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(lambda: self.call("/system"), "Orthanc answers", process=self.process)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)

    def call(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.page}{path}", timeout=20) as answer:
                return json.loads(answer.read())
        except OSError:
            return None


def test_orthanc_commits_to_originals_and_results(tmp_path):
    node = Node(tmp_path / "node", {**SETTINGS, "peers.pacs.commitment": "true"})
    del node.settings["routes"]  # The demo's: results go there, too.
    orthanc = Orthanc(tmp_path / "orthanc", node.port)
    node.settings["peers.pacs.port"] = orthanc.port
    with node, orthanc:
        assert send(node, [small_image("HAND")]) == [0]
        wait_until(lambda: commitments(node) == ["committed"] * 3, "original, overlay and report are committed", 90)
        assert len(orthanc.call("/instances")) == 3
