"""What a service manager asks of the node: that it says when it is ready and alive, and that it reads its routes again."""
import json
import os
import signal
import socket
import time

import pytest
from harness import DEMO, Node, Pacs, fresh_uid, send, small_image, wait_until

TEXT = DEMO.read_text().replace("demo/", f"{DEMO.parent}/demo/")


class Manager:
    """The socket that systemd listens at: sd_notify(3)."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(0.1)
        self.said = []

    def hears(self, word, times=1):
        def heard():
            try:
                self.said.append(self.socket.recv(4096).decode())
            except TimeoutError:
                pass
            return self.said.count(word) >= times
        wait_until(heard, f"{word} is said; so far {self.said}", 30)


@pytest.fixture
def node(tmp_path):
    config = tmp_path / "node.yaml"
    config.write_text(TEXT)
    with Pacs() as pacs, Node(tmp_path / "node", pacs_port=pacs.port, config=config) as node:
        yield node


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
    wait_until(node.at_rest, "both are reported and sent")
    assert all(delivery["state"] == "delivered" for delivery in node.deliveries())


@pytest.mark.parametrize("change, words", [
    (("name: lower-limb", "name: [lower"), "node.yaml"),
    (("tasks: [anomaly, fracture, implant, region]", "tasks: [anomaly, nosuchtask]"), "nosuchtask"),
    (("send_to: [pacs]", "send_to: [second]"), "second"),
    (("  - name: lower-limb\n", "  - name: lower-limb\n    urgent_when: [{task: fracture, at_least: 0.9}]\n"), "urgent_when"),
], ids=["yaml", "task", "new-peer", "urgent-when"])
def test_what_cannot_be_reloaded_is_refused_and_the_old_routes_stay(node, change, words):
    before = node.get("/api/routes")[1]
    text = TEXT.replace(*change).replace(
        "peers:\n", "peers:\n  second: {ae_title: SECOND, host: 127.0.0.1, port: 11119}\n", 1 if words == "second" else 0)
    reload(node, text, "event=reload_refused")
    log = node.log()
    assert words in log[log.rindex("event=reload_refused"):]
    assert node.get("/api/routes")[1] == before
    node.config.write_text(TEXT)  # For the commands, which read it too.
    assert rule_of(node, "KNEE") == "lower-limb"
