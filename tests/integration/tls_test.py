"""DICOM over TLS as peers meet it: both sides show certificates, and whoever is not meant is refused with a reason."""
import os
import re
import socket
import ssl
import subprocess
import threading
import time

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import StorageCommitmentPushModel

from certificates import Authority, fingerprint, openssl
from commitment_test import INSTANCE, Modality, request_of
from harness import Node, Pacs, free_port, fresh_uid, send, small_image, wait_until

FORWARD = {"delivery.retry_first": "200 ms", "delivery.retry_max": "1 s", "delivery.connect_timeout": "2 s",
           "routes": "[]", "forward": "[{match: {from: xray1}, send_to: [pacs]}]"}


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    authority = Authority(tmp_path_factory.mktemp("hospital"))
    authority.node = authority.issue("skelex", alternative="IP:127.0.0.1,DNS:localhost")
    authority.xray1 = authority.issue("xray1")
    authority.pacs = authority.issue("pacs")
    authority.other = authority.issue("other")
    authority.expired = authority.issue("xray1", days=-3, file="expired")
    authority.young = authority.issue("xray1", days=30, file="young")
    stranger = Authority(tmp_path_factory.mktemp("stranger"), "stranger")
    authority.stranger = stranger.issue("xray1")
    return authority


def secure(hospital, **more):
    return {**hospital.settings("node.tls", hospital.node), **FORWARD, **more}


def refusals(node, since=0):
    """The reasons in the log for what was refused."""
    return re.findall(r'event=(?:connection_refused|association_rejected).*?reason="(.*?)"', node.log()[since:])


def refused(node, reason):
    """The last refusal in the log, which is written after the peer was told."""
    wait_until(lambda: refusals(node)[-1:] == [reason], f"{reason}: {refusals(node)}", 5)


def counted(node, reason):
    found = re.search(rf'^skelex_associations_rejected_total{{reason="{reason}"}} (\d+)', node.get("/metrics")[1], re.M)
    return int(found[1]) if found else None


def echo(node, context, calling="XRAY1", port=None):
    """Whether an association came about and C-ECHO was answered."""
    ae = AE(ae_title=calling)
    ae.acse_timeout = ae.network_timeout = ae.connection_timeout = 10
    ae.add_requested_context("1.2.840.10008.1.1")
    association = ae.associate("127.0.0.1", port or node.port, ae_title="SKELEX",
                               tls_args=(context, "localhost") if context else None)
    if not association.is_established:
        return False
    status = association.send_c_echo()
    association.release()
    return status.Status == 0


@pytest.fixture(scope="module")
def node(hospital, tmp_path_factory):
    with Node(tmp_path_factory.mktemp("tls") / "node", secure(hospital)) as node:
        yield node


def test_an_image_comes_and_goes_with_tls_and_both_sides_know_each_other(hospital, tmp_path):
    settings = secure(hospital, **{"peers.pacs.certificate": fingerprint(hospital.pacs[0])})
    with Pacs(tls=hospital.server(hospital.pacs)) as pacs, Node(tmp_path / "node", settings, pacs.port) as node:
        images = [small_image("CHEST", study=fresh_uid(), side=700) for _ in range(3)]
        assert send(node, images, tls=hospital.client(hospital.xray1)) == [0, 0, 0]
        wait_until(lambda: len(pacs.log) == 3, "they are forwarded")
        shown = fingerprint(hospital.xray1[0]).replace(":", "").lower().replace("sha256", "sha256:")
        assert f"certificate={shown}" in node.log()
        assert node.stop() == 0


def test_dcmtk_sends_and_takes_with_its_own_tls(hospital, tmp_path):
    """Two implementations of DICOM over TLS, not one on both sides: here DCMTK's, with the profile of BCP 195."""
    port, out = free_port(), tmp_path / "out"
    out.mkdir()
    common = ["+cf", str(hospital.file), "--require-peer-cert"]
    pacs = subprocess.Popen(["storescp", "+tls", str(hospital.pacs[1]), str(hospital.pacs[0]), *common, "-aet", "PACS",
                             "-od", str(out), str(port)])
    try:
        settings = secure(hospital, **hospital.settings("peers.pacs.tls", hospital.node))
        with Node(tmp_path / "node", settings, port) as node:
            image = small_image("CHEST", study=fresh_uid())
            image.save_as(tmp_path / "image.dcm", enforce_file_format=True)
            sent = subprocess.run(["storescu", "+tls", str(hospital.xray1[1]), str(hospital.xray1[0]), *common, "-aet",
                                   "XRAY1", "-aec", "SKELEX", "127.0.0.1", str(node.port), str(tmp_path / "image.dcm")],
                                  capture_output=True, text=True)
            assert sent.returncode == 0, sent.stderr
            wait_until(lambda: list(out.iterdir()), "it has arrived at storescp")
    finally:
        pacs.kill()
        pacs.wait()


def test_commitment_goes_with_tls_both_ways(hospital, tmp_path):
    settings = secure(hospital, **hospital.settings("peers.xray1.tls", hospital.node))
    modality = Modality()
    settings |= {"peers.xray1.host": "127.0.0.1", "peers.xray1.port": modality.port}
    context = hospital.client(hospital.xray1)
    modality_server = modality.ae.start_server(("127.0.0.1", modality.port), block=False, evt_handlers=modality.handlers,
                                               ssl_context=hospital.server(hospital.xray1))
    try:
        with Node(tmp_path / "node", settings) as node:
            image = small_image("CHEST", study=fresh_uid())
            assert send(node, [image], tls=context) == [0]
            association = modality.ae.associate("127.0.0.1", node.port, ae_title="SKELEX", tls_args=(context, "localhost"))
            status, _ = association.send_n_action(request_of([image]), 1, StorageCommitmentPushModel, INSTANCE)
            association.release()
            assert status.Status == 0
            wait_until(lambda: modality.reports, "the node reports, over an association of its own")
            assert modality.reports[0][0] == 1, "all is committed"
    finally:
        modality_server.shutdown()


@pytest.mark.parametrize("who, reason", [
    ("stranger", "its certificate is refused: unable to get local issuer certificate"),
    ("expired", "its certificate is refused: certificate has expired"),
    (None, "it shows no certificate"),
])
def test_who_is_not_of_the_hospital_is_refused_and_the_log_says_why(hospital, node, who, reason):
    begun, before = len(node.log()), counted(node, "tls")
    context = hospital.client(getattr(hospital, who) if who else None)
    assert not echo(node, context)
    wait_until(lambda: reason in refusals(node, begun), f"{reason}: {node.log()[begun:]}", 5)
    assert counted(node, "tls") > before
    assert echo(node, hospital.client(hospital.xray1)), "others are served"


def test_old_versions_and_weak_suites_are_refused(hospital, node):
    def view(*options):
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{node.port}", "-CAfile", str(hospital.file),
                               "-cert", str(hospital.xray1[0]), "-key", str(hospital.xray1[1]), *options],
                              input="", capture_output=True, text=True, timeout=30)
        return "Verify return code: 0" in done.stdout and "Cipher is (NONE)" not in done.stdout
    weak = ["-cipher", "DEFAULT:@SECLEVEL=0"]
    assert view("-tls1_3") and view("-tls1_2")
    assert view("-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384")
    begun = len(node.log())
    assert not view("-tls1_1", *weak) and not view("-tls1", *weak)
    wait_until(lambda: refusals(node, begun).count("it speaks only a version of TLS older than 1.2") == 2,
               node.log()[begun:], 5)
    for suite in ("AES256-SHA", "AES128-GCM-SHA256", "ECDHE-RSA-AES256-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"):
        assert not view("-tls1_2", "-cipher", f"{suite}:@SECLEVEL=0"), suite
    assert "it has no cipher suite of the BCP 195 profile" in refusals(node, begun)


def test_no_session_is_taken_up_again(hospital, node):
    """It would bring back a certificate that has expired since, or a peer that was struck off."""
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{node.port}", "-CAfile", str(hospital.file),
                           "-cert", str(hospital.xray1[0]), "-key", str(hospital.xray1[1]), "-tls1_2", "-reconnect"],
                          input="", capture_output=True, text=True, timeout=60)
    assert done.stdout.count("New, TLSv1.2") >= 6 and "Reused" not in done.stdout, done.stdout[-2000:]


def test_without_tls_on_its_port_and_with_tls_on_another(hospital, node, tmp_path):
    begun = len(node.log())
    assert not echo(node, None)
    wait_until(lambda: "what it sends is no TLS" in refusals(node, begun), node.log()[begun:], 5)
    with Node(tmp_path / "plain") as plain:
        assert not echo(plain, hospital.client(hospital.xray1))
        wait_until(lambda: "it speaks TLS, which this port does not" in refusals(plain), plain.log(), 5)
        assert echo(plain, None)


def test_a_plain_port_beside_it_is_for_peers_without_tls(hospital, tmp_path):
    port = free_port()
    settings = secure(hospital, **{"node.tls.port": port, "peers.xray1.certificate": "CN=xray1", "peers.pacs.ae_title": "PACS"})
    with Node(tmp_path / "node", settings) as node:
        good = hospital.client(hospital.xray1)
        assert echo(node, None, calling="PACS"), "a peer without TLS, where there is none"
        assert echo(node, good, port=port)
        assert not echo(node, None), "a peer with TLS, without"
        refused(node, "calling AE title is of a peer that calls with TLS only")
        assert not echo(node, hospital.client(hospital.other), port=port), "a certificate of the hospital, of somebody else"
        refused(node, "calling AE title is of a peer with another certificate")
        assert counted(node, "certificate") == 2


def test_a_peer_is_held_to_its_title_its_host_and_its_certificate_together(hospital, tmp_path):
    pinned = f"[{fingerprint(hospital.xray1[0])}, {fingerprint(hospital.young[0])}]"
    settings = secure(hospital, **{"peers.xray1.certificate": pinned, "peers.xray1.host": "127.0.0.1",
                                   "node.check_hosts": "true"})
    with Node(tmp_path / "node", settings) as node:
        assert echo(node, hospital.client(hospital.xray1)) and echo(node, hospital.client(hospital.young))
        assert not echo(node, hospital.client(hospital.xray1), calling="NOBODY")
        refused(node, "calling AE title is no peer's")
        assert not echo(node, hospital.client(hospital.pacs))
        refused(node, "calling AE title is of a peer with another certificate")
    with Node(tmp_path / "node", settings | {"peers.xray1.host": "127.0.0.2"}) as node:
        assert not echo(node, hospital.client(hospital.xray1))
        refused(node, "calling AE title is of a peer with another host")


@pytest.mark.parametrize("pacs, pinned, why", [
    ("stranger", None, "TLS: its certificate is refused: unable to get local issuer certificate"),
    ("expired", None, "TLS: its certificate is refused: certificate has expired"),
    ("elsewhere", None, "TLS: its certificate is refused: IP address mismatch"),
    ("other", "pacs", "is none of the peer's `certificate`"),
    ("plain", None, "TLS: what it sends is no TLS"),
    ("silent", None, "TLS: no answer in time"),
    ("asks", None, "TLS: it refuses us: "),
])
def test_to_whom_is_not_the_pacs_nothing_is_sent_and_it_is_said_why(hospital, tmp_path, pacs, pinned, why):
    if pacs == "elsewhere":
        hospital.elsewhere = hospital.issue("elsewhere", alternative="IP:10.1.2.3,DNS:pacs.example")
    settings = secure(hospital, **hospital.settings("peers.pacs.tls", hospital.node))
    if pinned:
        settings["peers.pacs.certificate"] = fingerprint(getattr(hospital, pinned)[0])
    stranger = Authority(tmp_path / "ca", "who knows")
    context = (None if pacs in ("plain", "silent") else stranger.server(hospital.pacs) if pacs == "asks"
               else hospital.server(getattr(hospital, pacs)))
    silent = socket.create_server(("127.0.0.1", 0)) if pacs == "silent" else None
    server = Pacs(tls=context, port=silent.getsockname()[1] if silent else None)
    if not silent:
        server.start()
    with Node(tmp_path / "node", settings, server.port) as node:
        send(node, [small_image("CHEST", study=fresh_uid())], tls=hospital.client(hospital.xray1))
        wait_until(lambda: why in node.log(), f"{why}: {node.log()[-2000:]}", 20)
        descriptors = lambda: len(os.listdir(f"/proc/{node.process.pid}/fd"))
        at_first, tries = descriptors(), node.log().count(why)
        time.sleep(3)
        assert descriptors() <= at_first + 3, "nothing is left open"
        assert not server.log
        done = node.run("check", *node.arguments(), check=False)
        assert done.returncode == 1 and why in done.stdout, done.stdout
    server.stop()


def test_check_has_the_remedy_for_each_mistake_with_tls(hospital, tmp_path):
    stranger = Authority(tmp_path / "stranger", "stranger")

    def remedy(port, **settings):
        node = Node(tmp_path / "node", {**FORWARD, **settings}, port)
        done = node.run("check", *node.arguments(), check=False)
        return next(line for line in done.stdout.splitlines() if line.startswith("FAIL  peer pacs"))
    ours = hospital.settings("peers.pacs.tls", hospital.node)
    with Pacs(tls=hospital.server(hospital.pacs)) as pacs:
        assert "does it want TLS" in remedy(pacs.port)
        assert "TLS: are the certificates right" in remedy(pacs.port, **{**ours, "peers.pacs.tls.ca_file": stranger.file})
        assert "TLS: are the certificates right" in remedy(pacs.port, **{**ours, "peers.pacs.host": "localhost"})
    with Pacs() as pacs:
        assert "it may not speak TLS" in remedy(pacs.port, **ours)
    with Node(tmp_path / "other") as other:
        assert "something else than DICOM answers" in remedy(other.page)


def test_handshakes_that_stall_cost_nobody_else_anything(hospital, tmp_path):
    settings = secure(hospital, **{"node.acse_timeout": "3 s", "node.associations_per_host_max": 4})
    with Node(tmp_path / "node", settings) as node:
        before = counted(node, "no_request_in_time")
        stalled = []
        for number in range(60):
            one = socket.create_connection(("127.0.0.1", node.port))
            if number % 3 == 1:
                one.sendall(b"\x16\x03\x01\x02\x00\x01")  # The begin of a ClientHello.
            if number % 3 == 2:  # A whole handshake, and then nothing.
                context = hospital.client(hospital.xray1)
                one = context.wrap_socket(one, server_hostname="localhost")
                one.sendall(b"\x01\x00")
            stalled.append(one)
        begun = time.monotonic()
        assert send(node, [small_image("CHEST", study=fresh_uid())], tls=hospital.client(hospital.xray1)) == [0]
        assert time.monotonic() - begun < 2
        wait_until(lambda: counted(node, "no_request_in_time") >= before + 60, "all are closed", 10)
        assert {"a TLS handshake that does not end", "no association request in time"} <= set(refusals(node))
        for one in stalled:
            one.close()
        assert echo(node, hospital.client(hospital.xray1))


def test_a_peer_that_takes_no_answer_or_goes_away_leaves_nothing_behind(hospital, tmp_path):
    with Node(tmp_path / "node", secure(hospital, **{"node.dimse_timeout": "2 s"})) as node:
        context = hospital.client(hospital.xray1)
        assert echo(node, context)
        descriptors = lambda: len(os.listdir(f"/proc/{node.process.pid}/fd"))
        at_rest = descriptors()
        for _ in range(20):  # Gone in the middle of an association, without a word.
            ae = AE(ae_title="XRAY1")
            ae.add_requested_context("1.2.840.10008.1.1")
            association = ae.associate("127.0.0.1", node.port, ae_title="SKELEX", tls_args=(context, "localhost"))
            assert association.is_established
            association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
            association.abort()
        wait_until(lambda: descriptors() <= at_rest, f"{descriptors()} descriptors, {at_rest} before", 20)
        assert echo(node, context)
