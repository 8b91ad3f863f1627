"""Strangers at the ports: what they send is refused, logged and counted, and costs nobody else anything."""
import concurrent.futures
import os
import random
import re
import socket
import threading
import time
import urllib.error
import urllib.request

import pytest

from harness import Node, fresh_uid, send, small_image, wait_until

TOKEN = "f00dfacef00dfacef00dfacef00dface"
MALFORMED = 10_000
SEED = int(os.environ.get("NODE_SEED", "20261128"))


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "token").write_text(TOKEN)
    with Node(folder / "node", {"http.token_file": folder / "token", "routes": "[]", "forward": "[]"}) as node:
        node.image = small_image("CHEST", study=fresh_uid())
        assert send(node, [node.image]) == [0]
        yield node


def counted(node, reason):
    return int(re.search(rf'^skelex_http_refused_total{{reason="{reason}"}} (\d+)', node.get("/metrics")[1], re.M)[1])


def raw(node, content, seconds=20, source="127.0.0.1"):
    """What is answered to these bytes, until the node closes."""
    with socket.create_connection(("127.0.0.1", node.page), timeout=seconds, source_address=(source, 0)) as connection:
        try:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            found = b""
            while part := connection.recv(65536):
                found += part
            return found
        except (ConnectionResetError, BrokenPipeError):
            return b""


def status_of(answer):
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else None


def malformed(random):
    """A request that is none, each in its own way."""
    good = b"GET /api/studies HTTP/1.1\r\nHost: node\r\nContent-Length: 3\r\n\r\nabc"
    kind = random.randrange(8)
    if kind == 0:
        return random.randbytes(random.randrange(1, 300))
    if kind == 1:  # Bytes of a good one changed.
        changed = bytearray(good)
        for _ in range(random.randrange(1, 6)):
            changed[random.randrange(len(changed))] = random.randrange(256)
        return bytes(changed)
    if kind == 2:
        return good[:random.randrange(1, len(good))]
    if kind == 3:
        return b"GET /" + b"a" * random.randrange(8_000, 20_000) + b" HTTP/1.1\r\n\r\n"
    if kind == 4:
        return b"GET / HTTP/1.1\r\n" + b"X: " + random.randbytes(9_000) + b"\r\n\r\n"
    if kind == 5:
        return b"POST /api/studies/1/retry HTTP/1.1\r\nContent-Length: " + random.choice(
            [b"-1", b"99999999999999999999", b"3, 4", b"0x10", b"\xff"]) + b"\r\n\r\n"
    if kind == 6:
        return (b"POST /api/studies/1/retry HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" +
                random.choice([b"ffffffffffffffffff\r\n", b"-1\r\n", b"zz\r\n", b"5;" + b"x" * 5000 + b"\r\n"]))
    return random.choice([b"\r\n" * 100, b"\x00" * 50, b"GET / HTTP/9.9\r\n\r\n", b"GET  / HTTP/1.1\r\n\r\n", b"G\x00T / HTTP/1.1\r\n\r\n",
                          b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\nHost: a\n\n", b"\x16\x03\x01\x00\x05hello"])


def test_ten_thousand_malformed_requests_change_nothing_while_a_good_peer_is_served(node):
    draw = random.Random(SEED)
    requests = [malformed(draw) for _ in range(MALFORMED)]
    before, served, done = counted(node, "malformed"), [], threading.Event()

    def good_peer():
        while not done.is_set():
            begun = time.monotonic()
            served.append((send(node, [small_image("CHEST", study=fresh_uid(), side=32)]), node.get("/healthz")[0],
                           time.monotonic() - begun))

    peer = threading.Thread(target=good_peer)
    peer.start()
    try:
        with concurrent.futures.ThreadPoolExecutor(8) as strangers:
            answers = list(strangers.map(lambda content: raw(node, content), requests))
    finally:
        done.set()
        peer.join()
    statuses = [status_of(answer) for answer in answers]
    assert not [s for s in statuses if s not in (None, 400, 401, 404, 403, 405, 413, 414, 421, 431, 200)], set(statuses)
    assert statuses.count(400) > MALFORMED / 4
    assert counted(node, "malformed") - before > MALFORMED / 4
    assert len(served) >= 3 and all(answer == ([0], 200, took) for answer in served for took in [answer[2]])
    assert node.get("/readyz")[0] == 200
    assert [s["study_instance_uid"] for s in node.studies()].count(node.image.StudyInstanceUID) == 1


def test_a_guessed_token_opens_nothing_and_the_right_one_still_does(node):
    draw, before, without = random.Random(SEED), counted(node, "token"), counted(node, "no_token")
    path = f"/api/studies/{node.image.StudyInstanceUID}/retry"
    guesses = [f"Bearer {TOKEN[:n]}" for n in range(len(TOKEN))] + [f"Bearer {TOKEN}x", f"bearer {TOKEN}", TOKEN, "Basic x",
               f"Bearer  {TOKEN}", f"Bearer {TOKEN.upper()}"] + [f"Bearer {draw.randbytes(16).hex()}" for _ in range(500)]

    def post(authorization, source):
        return status_of(raw(node, f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\nContent-Length: 0\r\n"
                                   "Connection: close\r\n\r\n".encode(), source=source))

    for number, guess in enumerate(guesses):
        assert post(guess, f"127.0.1.{1 + number // 20}") == 401, guess
    assert post("", "127.0.0.1") == 401
    assert (counted(node, "token"), counted(node, "no_token")) == (before + len(guesses), without + 1)
    assert node.log().count('reason="a wrong bearer token"') >= len(guesses) and TOKEN not in node.log()
    assert post(f"Bearer {draw.randbytes(16).hex()}", "127.0.1.1") == 429, "twenty in a minute are enough"
    assert counted(node, "token") == before + len(guesses) + 1
    assert post(f"Bearer {TOKEN}", "127.0.1.1") in (202, 409, 400), "the study may have nothing to repeat"


TRICKS = ["..", "../..", "%2e%2e", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "../../../../etc/passwd", "..%5c..%5cwindows", "%00", "a%00.png",
          "....//", "/etc/passwd", "%252e%252e", "1.2.3/../../metrics", "1.2.3;a", "1.2.3%20", "'", "' OR '1'='1", "\"", "<script>",
          "*", "-1", "9" * 400, "1." * 400, "%ff%fe", "\u00e9", "{uid}", "${jndi:x}", "%n%n%n", "store.db", "token", "."]
PLACES = ["/{}", "//{}", "/api/{}", "/api/studies/{}", "/api/studies/{}/retry", "/api/studies/{}/route", "/api/instances/{}/preview.png",
          "/api/instances/{}/overlay.png", "/api/instances/{}", "/api/deliveries/{}/release", "/api/deliveries/{}/give-up",
          "/api/studies?state={}", "/api/studies?before={}", "/api/studies?limit={}", "/api/studies?search={}", "/api/deliveries?state={}",
          "/api/instances/1.2.3/preview.png?frame={}", "/try?{}", "/static/{}", "/page/{}"]


def test_no_address_leads_out_of_the_pages_or_into_the_store(node):
    secrets = [b"root:", TOKEN.encode(), b"SQLite format", b"PatientName"]
    harmless = re.compile(rb"^/(api/(studies|deliveries)|try)\?")  # Listings, and a page, with a question that says nothing.
    for place in PLACES:
        for trick in TRICKS:
            for method in ("GET", "POST", "DELETE"):
                target = place.format(trick).encode("utf-8", "surrogateescape")
                answer = raw(node, method.encode() + b" " + target + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                where = (method, target)
                assert status_of(answer) in (200, 400, 401, 403, 404, 405, 414), (where, answer[:200])
                assert not any(secret in answer for secret in secrets), where
                if status_of(answer) == 200:
                    assert method == "GET" and (harmless.match(target) or target in (b"/.", b"//.")), where
    assert node.get("/readyz")[0] == 200


def test_clients_that_send_a_byte_now_and_then_are_closed_and_others_served(node):
    before, slow, stop = counted(node, "no_request_in_time"), [], threading.Event()
    for _ in range(64):
        slow.append(socket.create_connection(("127.0.0.1", node.page)))

    def drip():
        while not stop.wait(1):
            for one in slow:
                try:
                    one.sendall(b"G")
                except OSError:
                    pass

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        for _ in range(10):
            begun = time.monotonic()
            assert node.get("/healthz")[0] == 200
            assert time.monotonic() - begun < 2
        wait_until(lambda: counted(node, "no_request_in_time") >= before + 40, "they are closed", 40)
    finally:
        stop.set()
        dripping.join()
        for one in slow:
            one.close()
