"""The DICOM audit trail: who sent, what left, who looked, who was refused; to a file and to syslog over TLS."""
import base64
import http.client
import pwd
import re
import signal
import socket
import threading
import urllib.error
import urllib.request
import xml.etree.ElementTree as xml

import pytest
from pynetdicom import AE

from certificates import Authority
from harness import Node, Pacs, free_port, fresh_uid, send, small_image, wait_until
from tls_test import FORWARD

NAME, IDENTITY = "AUDIT^SECRET", "PID-4711"


def images(count):
    study = fresh_uid()
    found = [small_image("CHEST", study=study, side=64) for _ in range(count)]
    for image in found:
        image.PatientName, image.PatientID, image.PatientBirthDate = NAME, IDENTITY, "19010203"
    return study, found


class Message:
    def __init__(self, text):
        self.text, self.root = text, xml.fromstring(text)
        event = self.root.find("EventIdentification")
        self.code = event.find("EventID").get("csd-code")
        kind = event.find("EventTypeCode")
        self.kind = kind.get("csd-code") if kind is not None else None
        self.action, self.outcome = event.get("EventActionCode"), event.get("EventOutcomeIndicator")
        self.participants = {p.get("UserID"): p for p in self.root.findall("ActiveParticipant")}
        self.objects = {o.get("ParticipantObjectID"): o for o in self.root.findall("ParticipantObjectIdentification")}
        self.order = [child.tag for child in self.root]


def find(messages, code, action=None, kind=None, **more):
    return [m for m in messages if m.code == code and (action is None or m.action == action) and (kind is None or m.kind == kind)]


def check_schema(message):
    """The order and the attributes that PS3.15 A.5.2 wants."""
    ranks = ["EventIdentification", "ActiveParticipant", "AuditSourceIdentification", "ParticipantObjectIdentification"]
    assert message.order == sorted(message.order, key=ranks.index) and message.order.count("AuditSourceIdentification") == 1
    assert message.root.find("AuditSourceIdentification").get("AuditSourceID") == "SKELEX"
    assert message.root.find("EventIdentification").get("EventDateTime").endswith("Z")
    for participant in message.participants.values():
        assert participant.get("UserIsRequestor") in ("true", "false")
    for code in message.root.iter():
        if code.get("csd-code"):
            assert code.get("codeSystemName") and code.get("originalText")


def test_a_day_in_a_file(tmp_path):
    file, token = tmp_path / "audit.xml", tmp_path / "token"
    token.write_text("0123456789abcdef")
    study, sent = images(2)
    settings = {**FORWARD, "audit.file": file, "http.token_file": token}
    with Pacs(answer=lambda dataset: 0x0000) as pacs, Node(tmp_path / "node", settings, pacs.port) as node:
        def messages():
            return [Message(line) for line in file.read_text().split("\n")[:-1]]  # Whole ones: the node may be writing.
        assert send(node, sent) == [0, 0]
        wait_until(lambda: sum(int(o.find(".//SOPClass").get("NumberOfInstances")) for m in find(messages(), "110104", "R")
                               for o in m.objects.values()) == 2, "both have left", 30)
        stranger = AE(ae_title='A<B"&')
        stranger.add_requested_context("1.2.840.10008.1.1")
        assert not stranger.associate("127.0.0.1", node.port, ae_title="SKELEX").is_established
        node.get("/api/studies?search=4711")
        node.get(f"/api/studies/{study}")
        urllib.request.urlopen(f"http://127.0.0.1:{node.page}/api/instances/{sent[0].SOPInstanceUID}/preview.png").read()
        node.get(f"/api/studies/{fresh_uid()}")
        def post(word):
            request = urllib.request.Request(f"http://127.0.0.1:{node.page}/api/studies/{study}/retry", method="POST",
                                             headers={"Authorization": f"Bearer {word}"})
            try:
                return urllib.request.urlopen(request, timeout=10).status
            except urllib.error.HTTPError as error:
                return error.code
        assert post("wrong") == 401
        repeated = post("0123456789abcdef")
        node.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "event=reloaded" in node.log(), "the configuration is read again", 20)
        assert node.stop() == 0
        found = messages()
    for message in found:
        check_schema(message)
    assert (found[0].code, found[0].kind) == ("110100", "110120") and (found[-1].code, found[-1].kind) == ("110100", "110121")
    received, = find(found, "110104", "C")
    assert set(received.participants) == {"xray1", "SKELEX"}
    assert received.participants["xray1"].get("NetworkAccessPointID") == "127.0.0.1"
    assert received.objects[study].find(".//SOPClass").get("NumberOfInstances") == "2"
    assert find(found, "110102", "E")[0].participants.keys() == {"SKELEX", "pacs"}
    left = find(found, "110104", "R")
    assert all(m.outcome == "0" and set(m.participants) == {"SKELEX", "pacs"} and set(m.objects) == {study} for m in left)
    assert [set(m.objects) for m in find(found, "110103", "R")] == [{study}], "one look, though the picture was asked for too; what is not there nobody has seen"
    query, = find(found, "110112")
    assert base64.b64decode(query.root.find(".//ParticipantObjectQuery").text) == b"/api/studies?search=4711"
    assert len(find(found, "110103", "U")) == (repeated == 202)
    login, = find(found, "110114", kind="110122")
    assert login.outcome == "4"
    alert, = find(found, "110113", kind="110126")
    assert 'A<B"&' in alert.participants and "calling AE title is no peer's" in alert.objects
    configured, = find(found, "110113", kind="110131")
    assert configured.outcome == "0" and "SIGHUP" in configured.participants
    text = file.read_text()
    assert NAME not in text and "SECRET" not in text and IDENTITY not in text and "19010203" not in text
    assert file.stat().st_mode & 0o007 == 0, "nobody else reads it"


def test_an_association_of_many_studies_is_several_messages(tmp_path):
    """None is longer than a collector takes, and the first is there while the association goes on."""
    trail = tmp_path / "audit.xml"
    with Node(tmp_path / "node", {"audit.file": trail, "models": "{}", "tasks": "{}", "routes": "[{name: nothing, tasks: []}]"}) as node:
        sent = [images(1) for _ in range(205)]
        ae = AE("XRAY1")
        ae.add_requested_context(sent[0][1][0].SOPClassUID, sent[0][1][0].file_meta.TransferSyntaxUID)
        association = ae.associate("127.0.0.1", node.port, ae_title="SKELEX")
        assert all(association.send_c_store(image).Status == 0 for _, (image,) in sent)

        def received():
            return find([Message(line) for line in trail.read_text().split("\n")[:-1]], "110104", "C")
        wait_until(lambda: [len(set(m.objects) & {study for study, _ in sent}) for m in received()] == [100, 100], "two messages", 10)
        association.release()
        wait_until(lambda: len(received()) == 3, "the rest", 10)
        assert {study for m in received() for study in m.objects} >= {study for study, _ in sent}


def test_a_file_that_is_moved_away_is_opened_anew(tmp_path):
    file = tmp_path / "audit.xml"
    with Node(tmp_path / "node", {"audit.file": file}) as node:
        wait_until(file.exists, "the start is in it")
        file.rename(tmp_path / "audit.xml.1")
        before = (tmp_path / "audit.xml.1").read_text()
        node.get("/api/studies?search=4711")
        wait_until(lambda: file.exists() and "110112" in file.read_text(), "the search is in a new one")
    assert (tmp_path / "audit.xml.1").read_text() == before
    assert [Message(line).code for line in file.read_text().splitlines()] == ["110112", "110100"]


def frames(connection):
    """RFC 5425: the length in octets, a space, the message."""
    buffer = b""
    while part := connection.recv(65536):
        buffer += part
        while b" " in buffer:
            length, rest = buffer.split(b" ", 1)
            if len(rest) < int(length):
                break
            yield rest[:int(length)].decode()
            buffer = rest[int(length):]


def test_syslog_over_tls_that_comes_late_gets_all_of_it(tmp_path):
    authority, port, got = Authority(tmp_path / "ca"), free_port(), []
    files = authority.issue("syslog")
    study, sent = images(1)
    settings = {**FORWARD, "audit.syslog.host": "127.0.0.1", "audit.syslog.port": port,
                **authority.settings("audit.syslog.tls", authority.issue("skelex"))}
    with Node(tmp_path / "node", settings) as node:
        assert send(node, sent) == [0]
        wait_until(lambda: "event=audit_failed" in node.log(), "it is said that nobody takes the trail", 20)
        with socket.create_server(("127.0.0.1", port)) as server:
            def take():
                try:
                    secure = authority.server(files).wrap_socket(server.accept()[0], server_side=True)
                    got.extend(frames(secure))
                except OSError:
                    pass
            thread = threading.Thread(target=take)
            thread.start()
            wait_until(lambda: "event=audit_works_again" in node.log(), "it works again", 30)
            assert node.stop() == 0
            thread.join(10)
    heads = [line.split(" ", 7) for line in got]
    assert all(head[0] == "<85>1" and head[3] == "skelex-node" and head[5:7] == ["DICOM+RFC3881", "-"] for head in heads)
    messages = [Message(head[7]) for head in heads]
    assert messages[0].kind == "110120" and messages[-1].kind == "110121"
    assert study in find(messages, "110104", "C")[0].objects


def test_one_place_is_named_or_it_is_a_mistake(tmp_path):
    node = Node(tmp_path / "node", {"audit.file": "x", "audit.syslog.host": "127.0.0.1"})
    done = node.run("check", *node.arguments(), check=False)
    assert done.returncode == 2 and "audit.file: and syslog are both given" in done.stderr


def test_persons_are_named_and_one_look_is_one_message(tmp_path):
    file, tokens = tmp_path / "audit.xml", tmp_path / "tokens"
    tokens.write_text("anna: anna-0123456789abcdef\nben: ben-0123456789abcdef\n")
    study, sent = images(1)
    settings = {**FORWARD, "audit.file": file, "http.tokens_file": tokens}
    with Pacs(answer=lambda dataset: 0xA900) as pacs, Node(tmp_path / "node", settings, pacs.port) as node:
        assert send(node, sent) == [0]
        parked = wait_until(lambda: [d for d in node.deliveries() if d["state"] == "parked"], "it is parked", 30)[0]["id"]

        def ask(path, who, method="GET"):
            request = urllib.request.Request(f"http://127.0.0.1:{node.page}{path}", method=method,
                                             headers={"Authorization": f"Bearer {who}-0123456789abcdef"} if who else {})
            return urllib.request.urlopen(request, timeout=10).status
        for _ in range(5):  # As a page that is open does.
            for who in ("anna", "ben", ""):
                assert ask("/api/studies?limit=50", who) == ask(f"/api/studies/{study}", who) == 200
        assert ask("/api/deliveries?limit=50", "anna") == 200
        assert ask(f"/api/deliveries/{parked}/release", "anna", "POST") == 202
        tokens.write_text("ben: ben-0123456789abcdef\ncarl: carl-0123456789abcdef\n")
        node.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "event=reloaded" in node.log(), "the tokens are read again", 20)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            ask(f"/api/deliveries/{parked}/release", "anna", "POST")
        tokens.write_text("ben: short\n")
        node.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "event=reload_refused" in node.log(), "a mistake is refused", 20)
        assert "tokens:1: a token has at least 16 characters" in node.log() and "anna-0123" not in node.log()
        wait_until(lambda: [d for d in node.deliveries() if d["id"] == parked and d["state"] == "parked"], "it is parked again", 30)
        assert ask(f"/api/deliveries/{parked}/release", "carl", "POST") == 202, "what was in force stays"
        wait_until(lambda: [d for d in node.deliveries() if d["id"] == parked and d["state"] == "parked"], "and again", 30)
        tokens.write_text("ben: ben-0123456789abcdef\n")
        assert node.stop() == 0
        before = len(file.read_text().splitlines())
        node.run("deliveries", *node.arguments(), "give-up", str(parked))
    lines = file.read_text().splitlines()
    found = [Message(line) for line in lines]
    who = lambda message: next(name for name, p in message.participants.items() if p.get("UserIsRequestor") == "true")
    assert sorted(who(m) for m in find(found, "110103", "R")) == ["anna", "anonymous", "ben"]
    assert sorted(who(m) for m in find(found, "110112")) == ["anna", "anna", "anonymous", "ben"], "studies each, and deliveries"
    assert [(who(m), *m.objects) for m in find(found, "110103", "U")][:2] == [
        ("anna", f"/api/deliveries/{parked}/release"), ("carl", f"/api/deliveries/{parked}/release")]
    by_command, = found[before:]
    check_schema(by_command)
    assert (by_command.code, by_command.action, *by_command.objects) == ("110103", "U", f"/api/deliveries/{parked}/give-up")
    assert who(by_command) in {user.pw_name for user in pwd.getpwall()}


def test_a_command_says_who_gives_it_and_nobody_else_may(tmp_path):
    file, token, tokens = tmp_path / "audit.xml", tmp_path / "token", tmp_path / "tokens"
    token.write_text("http-0123456789abcdef")
    tokens.write_text("anna: anna-0123456789abcdef\n")
    settings = {"audit.file": file, "http.token_file": token, "http.tokens_file": tokens}
    with Node(tmp_path / "node", settings) as node:
        node.run("losses", *node.arguments(), "accept")
        for source, word in (("127.0.0.1", "http"), ("127.0.0.1", "anna"), ("127.0.0.2", "http")):
            connection = http.client.HTTPConnection("127.0.0.1", node.page, timeout=10, source_address=(source, 0))
            connection.request("POST", "/api/losses/accept", headers={
                "Authorization": f"Bearer {word}-0123456789abcdef", "Skelex-User": 'ben"<'})
            assert connection.getresponse().status == 202
            connection.close()
        assert node.stop() == 0
    changes = find([Message(line) for line in file.read_text().splitlines()], "110103", "U")
    requestors = [next(p for p in m.participants.values() if p.get("UserIsRequestor") == "true") for m in changes]
    by_command, *others = [(p.get("UserID"), p.get("NetworkAccessPointID"), p.get("UserName")) for p in requestors]
    assert by_command[:2] == ("http", "127.0.0.1")
    assert by_command[2] in {f"{user.pw_name} (claimed)" for user in pwd.getpwall()}
    assert others == [("http", "127.0.0.1", 'ben"< (claimed)'), ("anna", "127.0.0.1", None), ("http", "127.0.0.2", None)], (
        "a person's token is that person's, and another machine knows no user of this one")


def test_who_shows_nothing_or_guesses_does_not_fill_trail_and_log(tmp_path):
    file, token = tmp_path / "audit.xml", tmp_path / "token"
    token.write_text("0123456789abcdef")
    with Node(tmp_path / "node", {**FORWARD, "audit.file": file, "http.token_file": token, "http.behind_proxy": "true"}) as node:
        def pump(count, header=""):
            """The statuses of `count` requests over one connection."""
            with socket.create_connection(("127.0.0.1", node.page), timeout=30) as connection:
                connection.sendall(f"GET /api/studies HTTP/1.1\r\nHost: localhost\r\n{header}\r\n".encode() * count)
                connection.shutdown(socket.SHUT_WR)
                return re.findall(r"HTTP/1.1 (\d+)", b"".join(iter(lambda: connection.recv(65536), b"")).decode())
        assert pump(100) == ["401"] * 100
        assert pump(40, "Authorization: Bearer wrong-0123456789\r\n") == ["401"] * 20 + ["429"] * 20
        log = node.log()
        assert node.stop() == 0
    assert log.count('reason="no bearer token"') == 1, "once a minute"
    assert log.count('reason="a wrong bearer token"') == 20 and log.count('reason="a wrong token after too many"') == 1
    assert len(find([Message(line) for line in file.read_text().splitlines()], "110114")) == 20
