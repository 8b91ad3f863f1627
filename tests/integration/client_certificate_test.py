"""The node as a client of HL7, webhooks and STOW-RS that shows a certificate of its own to a server that demands one."""
import pytest

from certificates import Authority
from harness import Node, send, small_image, wait_until
from message_test import SETTINGS, Ris, an_order, configured
from stow_test import Server

KINDS = ("oru", "webhook", "stow")


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    authority = Authority(tmp_path_factory.mktemp("hospital"))
    authority.server_files = authority.issue("receiver")
    stranger = Authority(tmp_path_factory.mktemp("stranger"), "stranger")
    authority.certificates = {"of the hospital": authority.issue("skelex"), "of a stranger": stranger.issue("skelex")}
    return authority


def tls_group(hospital, shown):
    group = {"ca_file": str(hospital.file)}
    if shown:
        certificate, key = hospital.certificates[shown]
        group |= {"certificate_file": str(certificate), "key_file": str(key)}
    return group


def node_for(kind, tmp_path, port, tls):
    """A node with one destination beside the PACS, and that one's name."""
    if kind == "stow":
        settings = {"routes": "[]", "forward": "[{match: {from: xray1}, send_to: [there]}]",
                    "dicomweb.there.url": f"https://127.0.0.1:{port}/studies"}
        return Node(tmp_path / "node", SETTINGS | settings | {f"dicomweb.there.tls.{k}": v for k, v in tls.items()})
    message = ({"kind": "oru", "host": "127.0.0.1", "port": port} if kind == "oru" else
               {"kind": "webhook", "url": f"https://127.0.0.1:{port}/"})
    return Node(tmp_path / "node", SETTINGS, config=configured(tmp_path, {"there": message | {"tls": tls}}))


def receiver(kind, context):
    return Ris(context=context) if kind == "oru" else Server([(200, "{}")], context)


def record(node):
    return [d for d in node.deliveries() if d["destination"] == "there"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_demands_a_certificate_is_shown_it(hospital, tmp_path, kind):
    with receiver(kind, hospital.server(hospital.server_files)) as there:
        with node_for(kind, tmp_path, there.port, tls_group(hospital, "of the hospital")) as node:
            assert send(node, [an_order()]) == [0]
            wait_until(lambda: [d["state"] for d in record(node)] == ["delivered"], "delivered")
            checked = node.run("check", *node.arguments(), check=False).stdout
        assert len(there.log) == 1 and "there: 127.0.0.1:" in checked and "takes connections, with TLS" in checked


@pytest.mark.parametrize("shown, said", [(None, "certificate required"), ("of a stranger", "unknown ca")])
@pytest.mark.parametrize("kind", ["oru", "stow"])
def test_without_the_right_one_nothing_is_sent_and_record_and_check_say_why(hospital, tmp_path, kind, shown, said):
    with receiver(kind, hospital.server(hospital.server_files)) as there:
        node = node_for(kind, tmp_path, there.port, tls_group(hospital, shown))
        with node:
            image = an_order() if kind != "stow" else small_image("HAND", side=2000)  # It closes while we write.
            assert send(node, [image]) == [0]
            wait_until(lambda: [d for d in record(node) if d["attempts"] > 1], "tried again")
            (delivery,) = record(node)
            assert delivery["state"] == "pending" and "TLS: it refuses us: " in delivery["text"], delivery
            assert said in delivery["text"]
            checked = node.run("check", *node.arguments(), check=False)
            assert checked.returncode == 1 and said in checked.stdout, checked.stdout
        assert not there.log
        # The administrator gives it one; what waited is sent.
        if kind == "stow":
            node.settings |= {f"dicomweb.there.tls.{k}": v for k, v in tls_group(hospital, "of the hospital").items()}
        else:
            node = node_for(kind, tmp_path, there.port, tls_group(hospital, "of the hospital"))
        with node:
            wait_until(lambda: [d["state"] for d in record(node)] == ["delivered"], "delivered")
        assert len(there.log) == 1
