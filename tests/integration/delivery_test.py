"""Deliveries against destinations that refuse, break off, hang or are not there; and what a person may do about them."""
import collections
import contextlib
import json
import re
import socket
import subprocess
import threading
import urllib.error
import urllib.request

import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import evt

from harness import DEMO, Node, Pacs, free_port, fresh_uid, send, small_image, wait_until

TOKEN = "integration-token"


@pytest.fixture
def settings(tmp_path):
    """Originals are forwarded as they come, so that each image is one delivery; failures are retried soon."""
    (tmp_path / "token").write_text(TOKEN + "\n")
    return {"forward": "[{match: {from: xray1}, send_to: [pacs]}]", "delivery.retry_first": "200 ms",
            "delivery.retry_max": "1 s", "delivery.connect_timeout": "2 s", "delivery.dimse_timeout": "2 s",
            "http.token_file": tmp_path / "token"}


def images(count):
    """Of a body part without a route: stored and forwarded, not analysed."""
    study = fresh_uid()
    return [small_image("CHEST", study, seed, side=64) for seed in range(count)]


def answered(status, comment=None):
    dataset = Dataset()
    dataset.Status = status
    if comment:
        dataset.ErrorComment = comment
    return dataset


def by_object(node):
    return {d["sop_instance_uid"]: d for d in node.deliveries()}


def delivered(node, count):
    return sum(d["state"] == "delivered" for d in node.deliveries()) >= count


def command(node, *words, check=True, **changed):
    arguments = [*node.arguments()]
    for key, value in changed.items():
        arguments += ["--set", f"{key.replace('__', '.')}={value}"]
    return node.run(*words[:1], *arguments, *words[1:], check=check)


def post(node, path, token=TOKEN):
    request = urllib.request.Request(f"http://127.0.0.1:{node.page}{path}", method="POST",
                                     headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_each_answer_decides_and_a_person_releases_what_was_parked(tmp_path, settings):
    sent = images(5)
    fine, coerced, later, refused, unsupported = [str(d.SOPInstanceUID) for d in sent]
    answers = {coerced: [0xB000], later: [0xA700, 0xA700, 0x0000], refused: [answered(0xC000, "no such order")],
               unsupported: [0x0122]}

    def answer(dataset):
        queue = answers.get(str(dataset.SOPInstanceUID), [0x0000])
        return queue.pop(0) if len(queue) > 1 else queue[0]

    with Pacs(answer=answer) as pacs:
        node = Node(tmp_path / "node", settings, pacs_port=pacs.port).start()
        try:
            assert send(node, sent) == [0] * 5
            wait_until(lambda: all(d["state"] != "pending" for d in node.deliveries()), "every delivery at an end")
            found = by_object(node)
            outcome = {uid: (d["state"], d["peer_status"], d["text"], d["attempts"]) for uid, d in found.items()}
            assert outcome == {fine: ("delivered", "0000", "", 1), coerced: ("delivered", "B000", "coercion of data elements", 1),
                               later: ("delivered", "0000", "", 3), refused: ("parked", "C000", "no such order", 1),
                               unsupported: ("parked", "0122", "SOP class not supported", 1)}
            parked = command(node, "deliveries", "--parked", "--json").stdout.splitlines()
            assert {json.loads(line)["sop_instance_uid"] for line in parked} == {refused, unsupported}
            line, = [line for line in command(node, "deliveries", "--parked").stdout.splitlines() if "no such order" in line]
            assert re.search(r"due since \d{4}-\d\d-\d\dT[\d:]+Z, tried \d{4}-\d\d-\d\dT[\d:]+Z  C000H", line), line
            assert "no such order" not in node.log(), "a peer's words may name a patient"

            # Mistakes, each in words.
            number = str(found[refused]["id"])
            wrong = command(node, "deliveries", "release", str(found[fine]["id"]), check=False)
            assert wrong.returncode == 1 and "not parked" in wrong.stderr
            unknown = command(node, "deliveries", "release", "4711", check=False)
            assert unknown.returncode == 1 and "no such delivery" in unknown.stderr
            assert command(node, "deliveries", "release", "soon", check=False).returncode == 2
            (tmp_path / "other").write_text("another\n")
            other = command(node, "deliveries", "release", number, check=False, http__token_file=tmp_path / "other")
            assert other.returncode == 1 and "refuses the token" in other.stderr
            none = command(node, "deliveries", "release", number, check=False, http__token_file="")
            assert none.returncode == 1 and "http.token_file" in none.stderr
            elsewhere = command(node, "deliveries", "release", number, check=False, http__bind="127.0.0.1:1")
            assert elsewhere.returncode == 1 and "in use" in elsewhere.stderr and "no node answers" in elsewhere.stderr
            assert by_object(node)[refused]["state"] == "parked"

            # While the node runs, by command.
            answers.clear()
            said = json.loads(command(node, "deliveries", "release", number, "--json").stdout)
            assert said == {"id": int(number), "state": "pending"}
            wait_until(lambda: by_object(node)[refused]["state"] == "delivered", "the released one is delivered")

            # While it is stopped, directly.
            assert node.stop() == 0
            done = command(node, "deliveries", "release", str(found[unsupported]["id"]))
            assert "will be sent again" in done.stdout
            again = command(node, "deliveries", "release", str(found[unsupported]["id"]))
            assert "is due already" in again.stdout, "asked for by somebody who has not heard the answer"
            assert by_object(node)[unsupported]["state"] == "pending"
            node.start()
            wait_until(lambda: by_object(node)[unsupported]["state"] == "delivered", "and after a start")
            again = command(node, "deliveries", "release", str(found[unsupported]["id"]))
            assert "was released before, and sent since" in again.stdout
        finally:
            node.stop()


def test_all_that_is_parked_for_one_destination_is_released_at_once(tmp_path, settings):
    refusing = {"on": True}
    sent = images(1) + images(1) + images(1)
    with Pacs(answer=lambda dataset: 0xC000 if refusing["on"] else 0x0000) as pacs:
        with Node(tmp_path / "node", settings, pacs_port=pacs.port) as node:
            assert send(node, sent) == [0, 0, 0]
            wait_until(lambda: [d["state"] for d in node.deliveries()] == ["parked"] * 3, "all are parked")
            nobody = command(node, "deliveries", "release", "--destination", "archive", check=False)
            assert nobody.returncode == 1 and "nothing is parked for archive" in nobody.stderr
            both = command(node, "deliveries", "release", "1", "--destination", "pacs", check=False)
            neither = command(node, "deliveries", "release", check=False)
            assert both.returncode == neither.returncode == 2
            refusing["on"] = False
            said = command(node, "deliveries", "release", "--destination", "pacs", "--json").stdout.splitlines()
            assert [json.loads(line)["id"] for line in said] == sorted(d["id"] for d in node.deliveries()), "the oldest first"
            wait_until(lambda: [d["state"] for d in node.deliveries()] == ["delivered"] * 3, "all have left")


def test_what_a_person_gives_up_is_sent_never_and_retention_may_have_it(tmp_path, settings):
    kept, gone = images(1) + images(1)
    wanted = {**settings, "storage.retention.free_bytes_low": "1000 TiB", "audit.file": tmp_path / "audit.xml"}
    answers = {str(kept.SOPInstanceUID): 0xC000, str(gone.SOPInstanceUID): 0xC000}
    with Pacs(answer=lambda dataset: answers[str(dataset.SOPInstanceUID)]) as pacs:
        node = Node(tmp_path / "node", wanted, pacs_port=pacs.port).start()
        try:
            assert send(node, [kept, gone]) == [0, 0]
            wait_until(lambda: [d["state"] for d in node.deliveries()] == ["parked"] * 2, "both are parked")
            numbers = {uid: str(d["id"]) for uid, d in by_object(node).items()}
            objects = tmp_path / "node/store/objects"
            held = lambda image: any(objects.glob(f"*/{image.SOPInstanceUID}.*"))
            assert held(kept) and held(gone)

            assert post(node, f"/api/deliveries/{numbers[str(gone.SOPInstanceUID)]}/give-up", token="")[0] == 401
            said = json.loads(command(node, "deliveries", "give-up", numbers[str(gone.SOPInstanceUID)], "--json").stdout)
            assert said == {"id": int(numbers[str(gone.SOPInstanceUID)]), "state": "given_up"}
            assert "skelex_deliveries_given_up 1" in node.get("/metrics")[1]
            wait_until(lambda: f"/api/deliveries/{said['id']}/give-up" in (tmp_path / "audit.xml").read_text(), "the trail has it", 20)
            wait_until(lambda: not held(gone), "retention has what was given up", 60)
            assert held(kept), "what waits for a person stays"
            answers[str(gone.SOPInstanceUID)] = 0x0000
            assert send(node, [gone]) == [0], "a resend of the same bytes is known"
            again = command(node, "deliveries", "release", numbers[str(gone.SOPInstanceUID)], check=False)
            assert again.returncode == 1 and "nothing to send" in again.stderr

            # While it is stopped, directly; a start changes nothing.
            assert node.stop() == 0
            done = command(node, "deliveries", "give-up", numbers[str(kept.SOPInstanceUID)])
            assert "given up" in done.stdout
            node.start()
            wait_until(lambda: not held(kept), "retention has that, too", 60)
            wrong = command(node, "deliveries", "give-up", "4711", check=False)
            assert wrong.returncode == 1 and "no such delivery" in wrong.stderr
            assert command(node, "deliveries", "give-up", "soon", check=False).returncode == 2
            assert {d["state"] for d in node.deliveries()} == {"given_up"}
            assert "2 given up" not in command(node, "studies").stdout and command(node, "studies").stdout.count("1 given up") == 2
            assert len(pacs.log) == 2, "each was offered once"
        finally:
            node.stop()


class Hostile(Pacs):
    """Breaks the first `times` objects it is sent, as `how` says; keeps what it acknowledged."""

    def __init__(self, how, times):
        super().__init__()
        self.how, self.left, self.release = how, times, threading.Event()

    def start(self):
        handlers = [(evt.EVT_C_STORE, self._store)]
        if self.how == "close":
            handlers.append((evt.EVT_PDU_RECV, self._close_in_mid_object))
        self._server = self._ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        return self

    def _close_in_mid_object(self, event):
        if self.left == 0 or type(event.pdu).__name__ != "P_DATA_TF":
            return
        of_command = event.pdu.presentation_data_value_items[0].presentation_data_value[0] & 1
        if not of_command:
            self.left -= 1
            event.assoc.dul.socket.close()

    def _store(self, event):
        if self.how != "close" and self.left > 0:
            self.left -= 1
            if self.how == "abort":
                event.assoc.abort()
            else:
                self.release.wait(60)  # Longer than the node waits.
            return 0x0000
        return super()._store(event)


def test_stored_bytes_that_changed_are_sent_to_nobody_and_the_node_is_not_ready(tmp_path, settings):
    [damaged] = images(1)
    with Node(tmp_path / "node", settings) as node:  # Its PACS is not there yet.
        assert send(node, [damaged]) == [0]
        wait_until(lambda: "event=destination_down" in node.log(), "the PACS was asked for")
        assert node.get("/readyz")[0] == 200
        [path] = (tmp_path / "node" / "store" / "objects").rglob("*.dcm")
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        with Pacs(port=node.settings["peers.pacs.port"]) as pacs:
            wait_until(lambda: by_object(node)[str(damaged.SOPInstanceUID)]["state"] == "parked", "the delivery is parked")
            assert not pacs.log
        status, reason = node.get("/readyz")
        assert status == 503 and "not as they were stored" in reason and "skelex-node losses" in reason
        assert "event=data_loss" in node.log()
        node.stop()
        assert "(the SHA-256 differs)" in command(node, "check", check=False).stdout
        node.start()
        assert node.get("/readyz")[0] == 503, "other bytes stay known"

        # Nothing will bring it back: a person says so, and the node goes on without it.
        study = str(damaged.StudyInstanceUID)
        listed = command(node, "losses").stdout
        assert listed == f"{path.parent.name}/{path.name}  lost  an image of study {study}\n"
        assert command(node, "losses", "accept").stdout == listed.replace("lost", "accepted")
        assert node.get("/readyz")[0] == 200
        metrics = node.get("/metrics")[1]
        assert "\nskelex_data_losses 0\n" in metrics and "\nskelex_data_losses_accepted 1\n" in metrics
        node.stop()
        assert command(node, "losses").stdout == listed.replace("lost", "accepted"), "also of a node that is stopped"
        path.unlink()
        assert "1 objects are gone or not as they were stored" in command(node, "check", check=False).stdout
        node.start()
        assert node.get("/readyz")[0] == 200, "what was accepted stays so"
        assert json.loads(command(node, "losses", "--json").stdout)["losses"][0]["accepted"] is True


def test_stored_bytes_that_changed_come_back_when_their_image_is_sent_again(tmp_path, settings):
    [image] = images(1)
    with Node(tmp_path / "node", settings) as node:  # Its PACS is not there yet.
        assert send(node, [image]) == [0]
        [path] = (tmp_path / "node" / "store" / "objects").rglob(f"{image.SOPInstanceUID}.*.dcm")
        whole = path.read_bytes()
        for lost in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:-100], None):
            path.unlink() if lost is None else path.write_bytes(lost)
            assert send(node, [image]) == [0]
            assert path.read_bytes() == whole
            assert node.get("/readyz")[0] == 200, "nothing is lost any more"
        assert node.log().count("event=data_loss") == node.log().count("event=lost_file_restored") == 3
        assert "outcome=conflict" not in node.log()
        with Pacs(port=node.settings["peers.pacs.port"]):
            wait_until(lambda: delivered(node, 1), "what was put back is delivered")


def test_what_waits_for_a_destination_that_was_taken_out_is_parked_in_words_until_it_is_back(tmp_path, settings):
    node = Node(tmp_path / "node", settings).start()
    try:
        assert send(node, images(1)) == [0]
        wait_until(node.deliveries, "a delivery waits")
        assert node.stop() == 0
        before = node.config, node.settings
        renamed = tmp_path / "renamed.yaml"
        renamed.write_text(DEMO.read_text().replace("pacs", "archive").replace("demo/", f"{DEMO.parent}/demo/"))
        node.config = renamed
        node.settings = {key: value for key, value in node.settings.items() if "pacs" not in f"{key} {value}"}
        node.start()
        [delivery] = node.deliveries()
        assert delivery["state"] == "parked" and delivery["text"] == "its destination is not in the configuration"
        assert "event=deliveries_parked destination=pacs deliveries=1" in node.log()
        assert node.stop() == 0
        node.config, node.settings = before
        with Pacs(port=node.settings["peers.pacs.port"]):
            node.start()
            wait_until(lambda: delivered(node, 1), "and is delivered once it is back")
    finally:
        node.stop()


@pytest.mark.parametrize("how", ["abort", "close", "hang"])
def test_an_object_broken_off_in_the_middle_is_sent_again_and_nothing_is_lost(tmp_path, settings, how):
    sent = images(6)
    with Hostile(how, times=2) as pacs, Node(tmp_path / "node", settings, pacs_port=pacs.port) as node:
        assert send(node, sent) == [0] * 6
        wait_until(lambda: delivered(node, 6), "all delivered")
        pacs.release.set()
        got = collections.Counter(entry.sop_instance for entry in list(pacs.log))
        assert set(got) == {str(d.SOPInstanceUID) for d in sent}
        for entry in list(pacs.log):
            source = next(d for d in sent if d.SOPInstanceUID == entry.sop_instance)
            assert entry.dataset.PixelData == source.PixelData
        assert sum(d["attempts"] for d in node.deliveries()) > 6
        assert node.stop() == 0


def test_a_destination_that_accepts_and_says_nothing_costs_its_timeout_and_no_other_destination(tmp_path, settings):
    sent = images(3)
    with socket.socket() as silent, Pacs(ae_title="ARCHIVE") as archive:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        settings["peers.archive"] = f"{{ae_title: ARCHIVE, host: 127.0.0.1, port: {archive.port}}}"
        settings["forward"] = "[{match: {from: xray1}, send_to: [pacs, archive]}]"
        with Node(tmp_path / "node", settings, pacs_port=silent.getsockname()[1]) as node:
            assert send(node, sent) == [0] * 3
            wait_until(lambda: len(archive.log) == 3, "the other destination has everything")
            wait_until(lambda: "event=destination_down destination=pacs" in node.log(), "the silent one is down")
            assert {d["state"] for d in node.deliveries() if d["destination"] == "pacs"} == {"pending"}
            assert "event=destination_down destination=archive" not in node.log()
            assert node.stop() == 0


def test_a_destination_that_is_down_is_said_once_and_gets_everything_later(tmp_path, settings):
    settings["log.level"] = "debug"
    sent = images(12)
    pacs = Pacs()
    with Node(tmp_path / "node", settings, pacs_port=pacs.port) as node:
        assert send(node, sent) == [0] * 12
        wait_until(lambda: node.log().count("event=destination_tried") >= 4, "it was tried some times")
        log = node.log()
        assert log.count("event=destination_down") == 1 and "event=destination_up" not in log
        assert "event=delivery " not in log, "not a line an object and attempt"
        assert {d["attempts"] for d in node.deliveries()} == {0}
        assert any(f"127.0.0.1:{pacs.port}" in d["text"] for d in node.deliveries())
        with pacs:
            wait_until(lambda: delivered(node, 12), "all delivered")
        assert node.log().count("event=destination_up") == 1
        assert len(pacs.log) == 12, "none twice"


def test_what_is_pending_for_too_long_is_parked_with_the_reason(tmp_path, settings):
    settings["delivery.give_up_after"] = "3 s"
    with Node(tmp_path / "node", settings) as node:
        assert send(node, images(1)) == [0]
        parked = wait_until(lambda: [d for d in node.deliveries() if d["state"] == "parked"], "given up")
        assert parked[0]["text"].startswith("given up after 3 s (delivery.give_up_after): associate with PACS")


@contextlib.contextmanager
def storescp(port, folder, *options):
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(["storescp", "-aet", "PACS", "-od", folder, "+xa", *options, str(port)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def listening():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0
        wait_until(listening, "storescp listens")
        yield
    finally:
        process.kill()
        process.wait()


def test_a_storescp_that_refuses_then_aborts_gets_everything_once_it_behaves(tmp_path, settings):
    sent, port = images(8), free_port()
    with Node(tmp_path / "node", settings, pacs_port=port) as node:
        assert send(node, sent) == [0] * 8
        with storescp(port, tmp_path / "refused", "--refuse"):
            wait_until(lambda: any("rejected" in d["text"].lower() for d in node.deliveries()), "its words are kept")
        with storescp(port, tmp_path / "aborted", "--abort-during"):
            wait_until(lambda: any(d["attempts"] > 0 for d in node.deliveries()), "an object was broken off")
        with storescp(port, tmp_path / "kept"):
            wait_until(lambda: delivered(node, 8), "all delivered")
        kept = {str(pydicom.dcmread(p).SOPInstanceUID): pydicom.dcmread(p) for p in (tmp_path / "kept").iterdir()}
        assert set(kept) == {str(d.SOPInstanceUID) for d in sent}
        assert all(kept[str(d.SOPInstanceUID)].PixelData == d.PixelData for d in sent)


def test_a_study_is_run_again_as_a_new_revision_running_and_stopped(tmp_path, settings):
    settings = {**settings, "forward": "[]"}
    image = small_image("KNEE")
    study = str(image.StudyInstanceUID)
    with Pacs() as pacs:
        node = Node(tmp_path / "node", settings, pacs_port=pacs.port).start()
        try:
            assert send(node, [image]) == [0]
            wait_until(lambda: node.at_rest() and len(pacs.reports()) == 1, "the first report")
            assert post(node, f"/api/studies/{study}/retry", token=None)[0] == 401
            assert post(node, f"/api/studies/{study}/retry", token="wrong")[0] == 401
            assert node.studies()[0]["revision"] == 1
            status, body = post(node, f"/api/studies/{study}/retry")
            assert (status, body["revision"]) == (202, 2)
            wait_until(lambda: node.at_rest() and len(pacs.reports()) == 2, "the second report")
            again = command(node, "studies", "retry", study).stdout
            assert "revision 2 is of a retry already" in again and f"studies retry {study} --revision 2" in again
            for _ in range(2):
                assert "revision 3" in command(node, "studies", "retry", study, "--revision", "2").stdout
            wait_until(lambda: node.at_rest() and len(pacs.reports()) == 3, "the third report")
            assert command(node, "studies", "retry", "1.2.3.4", check=False).returncode == 1
            assert command(node, "studies", "retry", "no-uid", check=False).returncode == 2
            assert node.stop() == 0
            assert json.loads(command(node, "studies", "retry", study, "--json").stdout)["already"] is True
            assert command(node, "studies", "retry", study, "--revision", "0", check=False).returncode == 2
            assert json.loads(command(node, "studies", "retry", study, "--revision", "3", "--json").stdout)["revision"] == 4
            node.start()
            wait_until(lambda: node.at_rest() and len(pacs.reports()) == 4, "the fourth report")
            first, *later = pacs.reports()
            assert "PredecessorDocumentsSequence" not in first
            assert all("PredecessorDocumentsSequence" in report for report in later)
            overlays = [str(dataset.SOPInstanceUID) for dataset in pacs.overlays()]
            assert len(set(overlays)) == 4, "a retry changes the time, hence the bytes: so it must change the UID"

            # The API shows what the commands show.
            shown = json.loads(node.get(f"/api/studies/{study}")[1])
            assert shown["study"] == node.studies()[0]
            assert shown["instances"] == node.instances(study)
            assert json.loads(node.get("/api/deliveries?limit=1000")[1])["deliveries"] == node.deliveries()
            models = command(node, "models", "--json").stdout.splitlines()
            assert json.loads(node.get("/api/models")[1])["models"] == [json.loads(line) for line in models]
        finally:
            node.stop()


def test_a_change_without_a_store_makes_none(tmp_path, settings):
    node = Node(tmp_path / "node", settings)
    assert command(node, "deliveries", "release", "1", check=False).returncode == 1
    assert not (tmp_path / "node" / "store").exists()
