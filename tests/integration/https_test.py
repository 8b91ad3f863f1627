"""HTTP with TLS, what is reloaded without a stop, and what `check` says of certificates."""
import http.client
import os
import re
import signal
import shutil
import socket
import ssl
import subprocess
import time

import pytest

from certificates import Authority, fingerprint
from harness import Node, Pacs, fresh_uid, send, small_image, wait_until
from tls_test import FORWARD, counted, echo

TOKEN = "f00dfacef00dfacef00dfacef00dface"


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    authority = Authority(tmp_path_factory.mktemp("hospital"))
    authority.node = authority.issue("skelex", alternative="IP:127.0.0.1,DNS:localhost")
    authority.renewed = authority.issue("skelex", alternative="IP:127.0.0.1,DNS:localhost", file="renewed")
    authority.person = authority.issue("person")
    authority.stranger = Authority(tmp_path_factory.mktemp("stranger"), "stranger").issue("person")
    return authority


@pytest.fixture
def folder(hospital, tmp_path):
    """The node's own copies: (certificate, key, token)."""
    shutil.copy(hospital.node[0], tmp_path / "node.pem")
    shutil.copy(hospital.node[1], tmp_path / "node.key")
    os.chmod(tmp_path / "node.key", 0o600)
    (tmp_path / "token").write_text(TOKEN + "\n")
    os.chmod(tmp_path / "token", 0o600)
    return tmp_path


def settings(folder, hospital, ask=False, **more):
    found = {"http.tls.certificate_file": folder / "node.pem", "http.tls.key_file": folder / "node.key",
             "http.token_file": folder / "token", **FORWARD, **more}
    if ask:
        found["http.tls.ca_file"] = hospital.file
    return found


def get(node, context, path="/healthz", token=None):
    connection = http.client.HTTPSConnection("localhost", node.page, context=context, timeout=10)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def shown_by(port, context):
    """The SHA-256 of the certificate that a server shows."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as secure:
            return ssl.DER_cert_to_PEM_cert(secure.getpeercert(True))


def refusals(node):
    return re.findall(r'event=http_refused.*?reason="(.*?)"', node.log())


def test_the_page_speaks_tls_and_the_commands_do(hospital, folder):
    with Node(folder / "node", settings(folder, hospital)) as node:
        context = hospital.client()
        assert f"page https://127.0.0.1:{node.page}/" in node.log()
        assert get(node, context) == (200, "ok\n")
        assert get(node, context, "/")[0] == 200
        assert get(node, context, "/metrics")[0] == 200
        big = get(node, context, "/api/studies")
        assert big[0] == 200
        done = node.run("studies", *node.arguments(), "retry", "1.2.3", check=False)
        assert done.returncode != 0 and "1.2.3" in done.stderr and "TLS" not in done.stderr, done.stderr
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            node.get("/healthz")
        wait_until(lambda: "what it sends is no TLS" in refusals(node), node.log(), 5)
        old = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{node.page}", "-tls1_1", "-cipher",
                              "DEFAULT:@SECLEVEL=0"], input="", capture_output=True, text=True)
        assert "Cipher is (NONE)" in old.stdout
        assert 'skelex_http_refused_total{reason="tls"} 2' in get(node, context, "/metrics")[1]


def test_who_looks_shows_a_certificate_where_one_is_asked_for(hospital, folder):
    with Node(folder / "node", settings(folder, hospital, ask=True)) as node:
        assert get(node, hospital.client(hospital.person))[0] == 200
        for wrong in (None, hospital.stranger):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                get(node, hospital.client(wrong))
        wait_until(lambda: {"it shows no certificate",
                            "its certificate is refused: unable to get local issuer certificate"} <= set(refusals(node)),
                   node.log(), 5)
        done = node.run("studies", *node.arguments(), "retry", "1.2.3", check=False)
        assert "TLS" not in done.stderr, done.stderr


def test_elsewhere_than_on_loopback_it_takes_token_and_tls(hospital, folder):
    node = Node(folder / "node", {**settings(folder, hospital), "http.bind": None})
    node.settings["http.bind"] = f"0.0.0.0:{node.page}"
    without = {key: value for key, value in node.settings.items() if not key.startswith("http.tls")}
    refused = subprocess.run([*node_command("check"), *arguments(node, without)], capture_output=True, text=True)
    assert refused.returncode == 2 and "token_file" in refused.stderr and "tls" in refused.stderr
    with node:
        context = hospital.client()
        assert get(node, context)[0] == 200, "whether it lives may be asked by anybody"
        assert get(node, context, "/metrics")[0] == 401
        assert get(node, context, "/metrics", "wrong")[0] == 401
        assert get(node, context, "/metrics", TOKEN)[0] == 200
        assert {"no bearer token", "a wrong bearer token"} <= set(refusals(node))
        assert TOKEN not in node.log() and "wrong\"" not in node.log()


def node_command(name):
    from harness import BIN
    return [BIN / "skelex-node", name]


def arguments(node, settings):
    found = ["--config", str(node.config)]
    for key, value in settings.items():
        found += ["--set", f"{key}={value}"]
    return found


def test_certificates_are_renewed_without_a_stop_or_stay_as_they_are(hospital, folder):
    tls = {"node.tls.ca_file": hospital.file, "node.tls.certificate_file": folder / "node.pem",
           "node.tls.key_file": folder / "node.key"}
    with Node(folder / "node", settings(folder, hospital, **tls)) as node:
        context, caller = hospital.client(), hospital.client(hospital.person)
        old = shown_by(node.page, context)
        assert shown_by(node.port, caller) == old

        def hang_up(event):
            before = node.log().count(event)
            node.process.send_signal(signal.SIGHUP)
            wait_until(lambda: node.log().count(event) > before, f"{event}: {node.log()[-2000:]}", 30)

        shutil.copy(hospital.renewed[0], folder / "node.pem")  # Its key is not there yet.
        hang_up("event=reload_refused")
        assert "does not belong to certificate_file" in node.log()
        assert shown_by(node.page, context) == shown_by(node.port, caller) == old
        shutil.copy(hospital.renewed[1], folder / "node.key")
        hang_up("event=reloaded")
        assert shown_by(node.page, context) == shown_by(node.port, caller) == hospital.renewed[0].read_text()
        assert echo(node, caller)


@pytest.mark.parametrize("change, said", [
    ("nothing", r"ok    http\.tls\.certificate_file \S+: 36\d days left, sha256:[0-9a-f]{64}"),
    ("expired", r"FAIL  http\.tls\.certificate_file \S+: has expired 3 days ago: .*SIGHUP"),
    ("soon", r"note  http\.tls\.certificate_file \S+: expires in 10 days"),
    ("another key", r"FAIL  http\.tls: tls\.key_file \S+: does not belong to certificate_file .*openssl"),
    ("no PEM", r"FAIL  http\.tls: tls\.certificate_file \S+: holds no PEM.*openssl"),
    ("no key", r"FAIL  http\.tls: tls\.key_file \S+: holds no private key"),
    ("passphrase", r"FAIL  http\.tls: tls\.key_file \S+: wants a passphrase.*openssl pkey"),
    ("open key", r"FAIL  http\.tls\.key_file \S+: every user of this machine can read it: chmod"),
])
def test_check_names_what_is_wrong_with_a_certificate_and_the_way_out(hospital, folder, change, said):
    certificate, key = folder / "node.pem", folder / "node.key"
    if change in ("expired", "soon"):
        fresh = hospital.issue("skelex", days=-3 if change == "expired" else 10, file=change)
        shutil.copy(fresh[0], certificate)
        shutil.copy(fresh[1], key)
    if change == "another key":
        shutil.copy(hospital.person[1], key)
    if change == "no PEM":
        certificate.write_bytes(b"\x30\x82")
    if change == "no key":
        shutil.copy(certificate, key)
    if change == "passphrase":
        subprocess.run(["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", folder / "x"], check=True)
        shutil.move(folder / "x", key)
    os.chmod(key, 0o644 if change == "open key" else 0o600)
    node = Node(folder / "node", settings(folder, hospital))
    done = node.run("check", *node.arguments(), check=False)
    assert re.search(said, done.stdout), done.stdout + done.stderr


def test_handshakes_and_requests_that_stall_leave_room_for_others(hospital, folder):
    with Node(folder / "node", settings(folder, hospital)) as node:
        context = hospital.client()
        stalled = [socket.create_connection(("127.0.0.1", node.page)) for _ in range(150)]
        for one in stalled[::2]:
            one.sendall(b"\x16\x03\x01\x02\x00\x01")
        begun = time.monotonic()
        for _ in range(5):
            assert get(node, context)[0] == 200
        assert time.monotonic() - begun < 5
        for number in range(70):  # Whole handshakes, half requests.
            secure = context.wrap_socket(socket.create_connection(("127.0.0.1", node.page)), server_hostname="localhost")
            secure.sendall(b"GET /healthz HT")
            stalled.append(secure)
        assert get(node, context)[0] == 200
        for one in stalled:
            one.close()
