"""What a service manager asks of the node: that it says when it is ready and alive, and that it reads its routes again."""
import json
import os
import re
import signal
import socket
import time

import pytest
from pynetdicom import AE
from harness import DEMO, SOURCE, Node, Pacs, fresh_uid, send, small_image, wait_until

TEXT = DEMO.read_text().replace("demo/", f"{DEMO.parent}/demo/")


LATE = "  latecomer: {ae_title: LATECOMER, host: 127.0.0.1, port: %d, study_quiet_period: 1 s}\n"


class Manager:
    """The socket that systemd listens at: sd_notify(3)."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(0.1)
        self.said = []

    def hears(self, word, times=1, begins=False):
        def heard():
            try:
                self.said += self.socket.recv(4096).decode().splitlines()
            except TimeoutError:
                pass
            return sum(said.startswith(word) if begins else said == word for said in self.said) >= times
        wait_until(heard, f"{word} is said; so far {self.said}", 30)


@pytest.fixture
def node(tmp_path):
    config = tmp_path / "node.yaml"
    config.write_text(TEXT)
    with Pacs() as pacs, Node(tmp_path / "node", pacs_port=pacs.port, config=config) as node:
        yield node


def test_the_unit_waits_for_the_volume_of_its_store():
    directory = re.search(r"storage: {directory: ([^,}]+)", (SOURCE / "config/package/node.yaml").read_text())[1]
    unit = (SOURCE / "config/package/skelex-node.service").read_text()
    assert f"\nRequiresMountsFor={directory}\n" in unit.split("[Service]")[0]


def echo(node, calling):
    ae = AE(ae_title=calling)
    ae.add_requested_context("1.2.840.10008.1.1")
    association = ae.associate("127.0.0.1", node.port, ae_title="SKELEX")
    if not association.is_established:
        return False
    answered = association.send_c_echo().Status == 0
    association.release()
    return answered


def reload(node, text, event):
    node.config.write_text(text)
    before = node.log().count(event)
    node.process.send_signal(signal.SIGHUP)
    wait_until(lambda: node.log().count(event) > before, f"{event}: {node.log()[-2000:]}", 30)


def routes(node):
    return [route["name"] for route in json.loads(node.get("/api/routes")[1])["routes"]]


def rule_of(node, body_part):
    image = small_image(body_part, study=fresh_uid())
    send(node, [image])
    wait_until(lambda: node.instances(image.StudyInstanceUID), "it is stored")
    return node.instances(image.StudyInstanceUID)[0]["rule"]


@pytest.mark.parametrize("abstract", [False, True])
def test_it_says_when_it_is_ready_alive_and_stopping(tmp_path, abstract):
    name = f"skelex-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    manager = Manager("\0" + name if abstract else name)
    node = Node(tmp_path / "node")
    node.environment = {"NOTIFY_SOCKET": "@" + name if abstract else name, "WATCHDOG_USEC": "400000"}
    with node:
        manager.hears("READY=1")
        manager.hears("WATCHDOG=1", times=3)
        manager.hears("STATUS=ready")
        kept = tmp_path / "store" if (tmp_path / "store").exists() else tmp_path / "node/store"
        (kept / "incoming").rename(kept / "gone")
        manager.hears("STATUS=NOT READY: nothing can be written", begins=True)
        (kept / "gone").rename(kept / "incoming")
        node.process.send_signal(signal.SIGHUP)
        manager.hears("READY=1", times=2)
        assert "RELOADING=1" in manager.said[:-1]
    manager.hears("STOPPING=1")
    assert manager.said[0] == "READY=1", "nothing is said before it is ready"


def test_of_another_process_s_watchdog_it_knows_nothing(tmp_path):
    manager = Manager(str(tmp_path / "notify"))
    node = Node(tmp_path / "node")
    node.environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}
    with node:
        manager.hears("READY=1")
        time.sleep(0.5)  # Ten words, were they said.
    manager.hears("STOPPING=1")
    assert "WATCHDOG=1" not in manager.said


def test_new_routes_are_in_force_from_the_next_image_on(node):
    assert rule_of(node, "KNEE") == "lower-limb"
    reload(node, TEXT.replace("name: lower-limb", "name: legs"), "event=reloaded")
    assert "legs" in routes(node) and "lower-limb" not in routes(node)
    assert rule_of(node, "KNEE") == "legs"
    assert "skelex_config_last_reload_successful 1" in node.get("/metrics")[1]
    wait_until(node.at_rest, "both are reported and sent")
    assert all(delivery["state"] == "delivered" for delivery in node.deliveries())


@pytest.mark.parametrize("change, words", [
    (("name: lower-limb", "name: [lower"), "node.yaml"),
    (("tasks: [anomaly, fracture, implant, region]", "tasks: [anomaly, nosuchtask]"), "nosuchtask"),
    (("send_to: [pacs]", "send_to: [second]"), "second"),
    (("peers:\n", "peers:\n  late: {ae_title: LATE, host: 127.0.0.1, port: 104, tls: {ca_file: node.yaml}}\n"), "peers.late.tls: tls.ca_file"),
    (("storage: {", "storage: {analysis_attempts_max: 7, "), "storage: what it says now needs a restart"),
    (("tasks:\n", "tasks:\n  second: {model: demo-fracture, output: softmax}\n"), "tasks: what it says now needs a restart"),
], ids=["yaml", "task", "no-such-peer", "certificate", "storage", "new-task"])
def test_what_cannot_be_reloaded_is_refused_and_all_that_was_in_force_stays(node, change, words):
    before = node.get("/api/routes")[1]
    text = TEXT.replace(*change)
    assert text != TEXT
    reload(node, text.replace("peers:\n", f"peers:\n{LATE % 11119}", 1), "event=reload_refused")
    log = node.log()
    assert words in log[log.rindex("event=reload_refused"):], log[-2000:]
    assert "skelex_config_last_reload_successful 0" in node.get("/metrics")[1]
    assert node.get("/api/routes")[1] == before
    assert not echo(node, "LATECOMER"), "nothing of a refused file counts"
    assert echo(node, "XRAY1")
    node.config.write_text(TEXT)  # For the commands, which read it too.
    assert rule_of(node, "KNEE") == "lower-limb"


def test_a_new_peer_may_call_after_a_reload_and_one_that_is_gone_may_not(node):
    assert echo(node, "XRAY1") and not echo(node, "LATECOMER")
    reload(node, TEXT.replace("peers:\n", f"peers:\n{LATE % 11119}"), "event=reloaded")
    assert echo(node, "XRAY1") and echo(node, "LATECOMER")
    reload(node, TEXT.replace("ae_title: XRAY1", "ae_title: XRAY2"), "event=reloaded")
    assert echo(node, "XRAY2") and not echo(node, "XRAY1") and not echo(node, "LATECOMER")
    reload(node, TEXT.replace("node: {", "node: {accept_unknown: true, "), "event=reloaded")
    assert echo(node, "NOBODY")
    reload(node, TEXT.replace("node: {", "node: {check_hosts: true, ")
           .replace("ae_title: XRAY1", "ae_title: XRAY1, host: 127.0.0.9"), "event=reloaded")
    assert not echo(node, "XRAY1") and not echo(node, "NOBODY")


def test_destinations_come_move_and_go_with_a_reload(node):
    """Nothing is lost on the way: what waits for one that has gone is parked, and leaves when it is back."""
    with Pacs() as late, Pacs(ae_title="LATECOMER") as moved:
        both = TEXT.replace("send_to: [pacs]", "send_to: [latecomer, pacs]")
        with_late = lambda port: both.replace("peers:\n", f"peers:\n{LATE % port}")
        reload(node, with_late(late.port), "event=reloaded")
        first = small_image("KNEE", study=fresh_uid())
        send(node, [first])
        wait_until(lambda: late.reports() and node.at_rest(), "the new destination gets the report")
        sent = metric(node, "latecomer")
        assert sent > 0

        late.stop()
        send(node, [small_image("KNEE", study=fresh_uid())])
        waiting = lambda state: sum(d["destination"] == "latecomer" and d["state"] == state for d in node.deliveries())
        wait_until(lambda: waiting("pending"), "it waits for who does not answer")
        reload(node, with_late(late.port).replace("send_to: [latecomer, pacs]", "send_to: [pacs]")
               .replace(LATE % late.port, ""), "event=reloaded")
        wait_until(lambda: waiting("parked") and not waiting("pending"), "what waited is parked")
        reload(node, with_late(moved.port), "event=reloaded")
        wait_until(lambda: moved.reports() and not waiting("parked") and not waiting("pending"), "it comes to its new place")
        assert metric(node, "latecomer") >= 1
        reload(node, with_late(moved.port).replace("results: {", "results: {forms: {latecomer: [sr]}, "), "event=reloaded")
        seen = len(moved.log)
        send(node, [small_image("KNEE", study=fresh_uid())])
        wait_until(lambda: len(moved.log) > seen and node.at_rest(), "it gets the report")
        assert [entry.dataset.Modality for entry in moved.log[seen:]] == ["SR"], "in the form that is asked for now"
        late.start()
        seen, there = len(moved.log), len(late.log)
        reload(node, with_late(late.port), "event=reloaded")
        send(node, [small_image("KNEE", study=fresh_uid())])
        wait_until(lambda: len(late.log) > there and node.at_rest(), "what has moved at once is sent to where it is now")
        assert len(moved.log) == seen


def test_what_is_urgent_changes_with_a_reload(node):
    urgent = lambda uid: next(s for s in node.studies() if s["study_instance_uid"] == uid).get("urgent", "")
    before = small_image("KNEE", study=fresh_uid())
    send(node, [before])
    wait_until(node.at_rest, "it is reported")
    reload(node, TEXT.replace("  - name: lower-limb\n", "  - name: lower-limb\n    urgent_when: [{task: fracture, label: Fracture, at_least: 0}]\n"),
           "event=reloaded")
    after = small_image("KNEE", study=fresh_uid())
    send(node, [after])
    wait_until(node.at_rest, "it is reported")
    assert urgent(after.StudyInstanceUID) and not urgent(before.StudyInstanceUID)


def metric(node, destination):
    found = re.search(rf'skelex_deliveries_total{{destination="{destination}",outcome="delivered"}} (\d+)', node.get("/metrics")[1])
    return int(found[1]) if found else 0
