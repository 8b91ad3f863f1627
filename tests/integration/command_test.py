"""The command line: what it says of mistakes, and `predict` over files."""
import json
import os
import pathlib
import re
import socket
import subprocess
import time

import pydicom
import pytest
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, StoragePresentationContexts, evt
from pynetdicom.pdu import A_ASSOCIATE_RJ

from harness import BIN, DEMO, RADIOGRAPHS, SOURCE, Node, Pacs, SANITIZED_FACTOR, frames_each, free_port, send, small_image, wait_until


def run(*arguments):
    return subprocess.run([BIN / "skelex-node", *map(str, arguments)], capture_output=True, text=True)


def test_an_unknown_key_names_file_line_and_key(tmp_path):
    config = tmp_path / "node.yaml"
    config.write_text(DEMO.read_text() + "\nnode_typo: {a: 1}\n")
    done = run("check", "--config", config)
    assert done.returncode == 2
    line = len(config.read_text().splitlines())
    assert f"node.yaml:{line}" in done.stderr and "node_typo" in done.stderr


@pytest.mark.parametrize("arguments", [["serve"], ["nonsense"], ["predict", "--config", "x"],
                                       ["check", "--config", "/no/such/node.yaml"]])
def test_a_wrong_call_exits_2(arguments):
    assert run(*arguments).returncode == 2


def test_a_transfer_syntax_that_can_never_come_is_named_by_check_and_by_serve(tmp_path):
    arguments = Node(tmp_path).arguments() + ["--set", "node.transfer_syntaxes=1.2.3"]
    checked, served = run("check", *arguments), run("serve", *arguments)
    assert checked.returncode == 1 and "FAIL  node.transfer_syntaxes: 1.2.3" in checked.stdout
    assert served.returncode == 2 and "node.transfer_syntaxes: 1.2.3" in served.stderr


def test_a_missing_and_a_truncated_checkpoint_are_named(tmp_path):
    missing = run("models", "--config", DEMO, "--set", f"models.demo-fracture.path={tmp_path}/nowhere")
    assert missing.returncode != 0 and f"{tmp_path}/nowhere" in missing.stderr
    broken = tmp_path / "broken"
    subprocess.run(["cp", "-r", SOURCE / "config/demo/demo-fracture", broken], check=True)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    truncated = run("models", "--config", DEMO, "--set", f"models.demo-fracture.path={broken}")
    assert truncated.returncode != 0 and "broken" in truncated.stderr


def test_a_label_list_of_the_wrong_length_is_named():
    done = run("models", "--config", DEMO, "--set", "tasks.fracture.labels=[A, B, C]")
    assert done.returncode != 0 and "fracture" in done.stderr


def test_check_finds_the_peer_that_is_down_and_changes_nothing(tmp_path):
    with Pacs() as pacs:
        up = run("check", *Node(tmp_path, pacs_port=pacs.port).arguments())
        assert up.returncode == 0, up.stdout + up.stderr
        assert "answers C-ECHO" in up.stdout
        assert re.search(r"^(ok  |note)  device cpu: \d+ of \d+ MiB of memory are free with every model loaded", up.stdout, re.M)
    down = run("check", *Node(tmp_path, pacs_port=pacs.port).arguments())
    assert down.returncode == 1 and "FAIL  peer pacs" in down.stdout
    assert not (tmp_path / "store").exists()


def test_check_says_which_forms_of_results_a_peer_would_not_take(tmp_path):
    comprehensive_sr, key_objects = "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.88.59"
    with Pacs(refused_classes=[comprehensive_sr, key_objects]) as pacs:
        default = run("check", *Node(tmp_path, pacs_port=pacs.port).arguments())
        other = run("check", *Node(tmp_path, pacs_port=pacs.port).arguments(), "--set", "results.forms.pacs=[sc, sr-text, kos]")
        none = run("check", *Node(tmp_path, pacs_port=pacs.port).arguments(), "--set", "results.forms.pacs=[sc, sr-text]")
    assert default.returncode == 1 and f"FAIL  peer pacs: takes no sr (SOP class {comprehensive_sr})" in default.stdout
    assert "takes sc\n" in default.stdout
    assert other.returncode == 1 and "FAIL  peer pacs: takes no kos" in other.stdout
    assert none.returncode == 0 and "answers C-ECHO, takes sc, sr-text" in none.stdout, none.stdout


def test_check_says_which_forms_a_peer_takes_only_decoded_and_asks_whom_skipped_studies_go_to(tmp_path):
    capture, comprehensive_sr = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.88.33"
    pacs = Pacs(refused_classes=[context.abstract_syntax for context in StoragePresentationContexts])
    pacs._ae.add_supported_context(capture, [IMPLICIT, EXPLICIT])
    pacs._ae.add_supported_context(comprehensive_sr, [IMPLICIT])
    forms = ("--set", "results.forms.pacs=[sc, sc-rle, sr]")
    with pacs:
        decoded = run("check", *Node(tmp_path, pacs_port=pacs.port).arguments(), *forms)
        as_it_is = run("check", *Node(tmp_path, pacs_port=pacs.port).arguments(), *forms, "--set", "peers.pacs.transcode=false")
        skipped = run("check", *Node(tmp_path, {"routes": "[]"}, pacs_port=pacs.port).arguments(), "--set", "results.forms.pacs=[kos]",
                      "--set", "results.report_skipped=true", "--set", "results.skipped_to=[pacs]")
    assert "note  peer pacs: takes sc-rle only uncompressed: so it is sent" in decoded.stdout, decoded.stdout
    assert "answers C-ECHO, takes sc, sr\n" in decoded.stdout, decoded.stdout
    assert "FAIL  peer pacs: takes sc-rle only uncompressed, and peers.pacs.transcode is false" in as_it_is.stdout, as_it_is.stdout
    assert "FAIL  peer pacs: takes no sr" in as_it_is.stdout and "answers C-ECHO, takes sc\n" in as_it_is.stdout, as_it_is.stdout
    assert "FAIL  peer pacs: takes no kos" in skipped.stdout, skipped.stdout


CR, DX, PDF = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.104.1"
IMPLICIT, EXPLICIT, JPEG_LOSSLESS = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.70"


@pytest.mark.parametrize("taken, settings, status, said, unsaid", [
    # All of it.
    ({CR: None, DX: None, PDF: None}, {}, 0,
     ["ok    peer pacs: takes originals of Computed Radiography Image Storage, Digital X-Ray Image Storage - For Presentation\n",
      "note  peer pacs: takes none of these, which would be parked if one came"], ["takes no originals", "decoded", "Encapsulated PDF"]),
    ({CR: [IMPLICIT, JPEG_LOSSLESS]}, {}, 1,
     [f"FAIL  peer pacs: takes no originals of SOP class {DX} (Digital X-Ray Image Storage - For Presentation)",
      "gets originals of Computed Radiography Image Storage decoded, uncompressed, where they come in Explicit VR Little Endian, ",
      "Encapsulated PDF Storage"], ["would be parked where"]),
    ({CR: [JPEG_LOSSLESS]}, {"forward": f"[{{match: {{sop_class: ['{CR}']}}, send_to: [pacs]}}]"}, 0,
     ["originals of Computed Radiography Image Storage would be parked where they come in Implicit VR Little Endian, Explicit VR ",
      "it takes none of these, and nothing uncompressed"], ["Digital X-Ray", "Encapsulated PDF", "First-Order Prediction"]),
    ({CR: [IMPLICIT]}, {"forward": "[{match: {modality: [CR]}, send_to: [pacs]}]", "peers.pacs.transcode": "false"}, 0,
     ["would be parked where they come in Explicit VR Little Endian, ", "`transcode` is false for it"], ["takes no originals"]),
])
def test_check_says_which_originals_a_peer_would_not_take(tmp_path, taken, settings, status, said, unsaid):
    pacs = Pacs(refused_classes=[context.abstract_syntax for context in StoragePresentationContexts])
    for sop_class, syntaxes in taken.items():
        pacs._ae.add_supported_context(sop_class, syntaxes or ALL_TRANSFER_SYNTAXES)
    settings = {"routes": "[]", "forward": "[{match: {from: xray1}, send_to: [pacs]}]", **settings}
    with pacs:
        done = run("check", *Node(tmp_path, settings, pacs_port=pacs.port).arguments())
    for words in said:
        assert words in done.stdout, done.stdout
    assert not [words for words in unsaid if words in done.stdout], done.stdout
    assert done.returncode == status and not pacs.log, done.stdout


def test_check_says_whether_a_peer_takes_requests_for_storage_commitment(tmp_path):
    arguments = Node(tmp_path, {"peers.pacs.commitment": "true"}, pacs_port=free_port()).arguments()
    pacs = Pacs(int(next(a for a in arguments if a.startswith("peers.pacs.port=")).split("=")[1]))
    with pacs:
        without = run("check", *arguments)
    pacs._ae.add_supported_context("1.2.840.10008.1.20.1")
    with pacs:
        done = run("check", *arguments)
        not_asked = run("check", *arguments, "--set", "peers.pacs.commitment=false")
    assert without.returncode == 1 and "FAIL  peer pacs: PACS accepts no storage commitment: " in without.stdout, without.stdout
    assert "set peers.pacs.commitment: false" in without.stdout
    assert done.returncode == 0 and "ok    peer pacs: takes requests for storage commitment" in done.stdout, done.stdout
    assert "storage commitment" not in not_asked.stdout


def test_check_looks_at_the_audit_trail(tmp_path):
    (tmp_path / "audit.xml").write_text("")
    good = run("check", *Node(tmp_path).arguments(), "--set", f"audit.file={tmp_path}/audit.xml")
    bad = run("check", *Node(tmp_path).arguments(), "--set", f"audit.file={tmp_path}/nowhere/audit.xml")
    away = run("check", *Node(tmp_path).arguments(), "--set", f"audit.syslog.host=127.0.0.1", "--set", f"audit.syslog.port={free_port()}")
    assert f"ok    audit.file {tmp_path}/audit.xml: can be written" in good.stdout
    assert f"FAIL  audit.file {tmp_path}/nowhere/audit.xml: No such file" in bad.stdout and bad.returncode == 1
    assert "FAIL  audit syslog: " in away.stdout and away.returncode == 1
    assert not (tmp_path / "nowhere").exists()


def test_check_tells_the_usual_mistakes_with_a_peer_apart(tmp_path):
    def said(pacs, *extra):
        done = run("check", *Node(tmp_path, pacs_port=pacs.port).arguments(), *extra)
        return done.returncode, next(line for line in done.stdout.splitlines() if "peer pacs" in line)

    pacs = Pacs(ae_title="OTHER")
    pacs._ae.require_called_aet = True
    with pacs:
        status, line = said(pacs)
        assert status == 1 and "is not called PACS: set peers.pacs.ae_title" in line, line
    pacs = Pacs()
    pacs._ae.require_calling_aet = ["SOMEBODY"]
    with pacs:
        status, line = said(pacs)
        assert status == 1 and "does not know us: register SKELEX" in line, line
    status, line = said(pacs)
    assert status == 1 and "nothing listens on port" in line, line
    status, line = said(pacs, "--set", "peers.pacs.host=no-such-host.invalid")
    assert status == 1 and "is peers.pacs.host right" in line, line
    with socket.create_server(("127.0.0.1", pacs.port)):  # Takes the connection, and says nothing.
        status, line = said(pacs, "--set", "delivery.connect_timeout=2 s")
        assert status == 1 and "it does not answer" in line, line
    with Node(tmp_path / "full", {"node.associations_max": 1, "node.accept_unknown": "true"}) as full:
        ae = AE(ae_title="XRAY1")
        ae.add_requested_context("1.2.840.10008.1.1")
        kept = ae.associate("127.0.0.1", full.port, ae_title="SKELEX")
        pacs.port = full.port
        status, line = said(pacs, "--set", "peers.pacs.ae_title=SKELEX")
        kept.release()
        assert status == 1 and "takes no association from us" in line, line


def test_check_names_a_full_disk_a_task_and_a_destination_without_use_and_an_open_token(tmp_path):
    token = tmp_path / "token"
    token.write_text("secret\n")
    token.chmod(0o644)
    config = tmp_path / "node.yaml"
    config.write_text(DEMO.read_text().replace("send_to: [pacs]", "send_to: []").replace("demo/", f"{DEMO.parent}/demo/")
                      .replace("[anomaly, fracture, implant, region]", "[anomaly, fracture, implant]"))
    done = run("check", *Node(tmp_path, {"storage.free_bytes_min": "900 TiB", "http.token_file": token}, config=config).arguments())
    assert done.returncode == 1
    for words in ("below the reserve", "task region: no route uses it", "peer pacs: no route sends anything to it",
                  "every user of this machine can read it"):
        assert words in done.stdout, done.stdout


def test_check_looks_at_the_tokens_of_persons_and_shows_none(tmp_path):
    tokens = tmp_path / "tokens"

    def said(text, mode):
        tokens.write_text(text)
        tokens.chmod(mode)
        done = run("check", "--without-models", *Node(tmp_path, {"http.tokens_file": tokens}).arguments())
        assert "0123456789" not in done.stdout + done.stderr
        return done.stdout
    assert "tokens:2: a token has at least 16 characters: openssl" in said("# us\nanna: 0123456789\n", 0o600)
    assert "http.tokens_file" in said("anna: 0123456789abcdef\n", 0o644) and "every user of this machine can read it" in said(
        "anna: 0123456789abcdef\n", 0o644)
    good = said("anna: 0123456789abcdef\n", 0o600)
    assert "FAIL  http.token" not in good and "the commands change nothing while the node runs" in good


def test_check_goes_on_behind_a_full_disk_and_without_models_is_quick(tmp_path):
    with Node(tmp_path) as node:
        send(node, [small_image("CHEST")])
    next((tmp_path / "store/objects").rglob("*.dcm")).unlink()
    done = run("check", "--without-models", *Node(tmp_path, {"storage.free_bytes_min": "900 TiB"}).arguments())
    assert done.returncode == 1
    assert "below the reserve" in done.stdout and "1 objects are gone or not as they were stored" in done.stdout, done.stdout
    assert "models: not tried" in done.stdout and "M parameters" not in done.stdout


def test_root_is_told_whom_to_ask_as(tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    try:
        os.chown(store, 1, 1)
    except PermissionError:
        pytest.skip("only root can give a folder to another user")
    done = run("check", "--without-models", *Node(tmp_path).arguments())
    assert "run by root" in done.stdout and "sudo -u daemon" in done.stdout, done.stdout


def test_the_version_names_the_commit():
    said = run("--version").stdout.strip()
    commit = subprocess.run(["git", "log", "-1", "--format=%h"], cwd=SOURCE, capture_output=True, text=True).stdout.strip()
    assert re.fullmatch(r"\d+\.\d+\.\d+" + (r" \(commit [0-9a-f]+\)" if commit else ""), said), said


def test_check_finds_a_clock_that_was_set_back(tmp_path):
    with Node(tmp_path) as node:
        send(node, [small_image("CHEST")])
    import sqlite3
    with sqlite3.connect(tmp_path / "store/studies.sqlite") as database:
        database.execute("UPDATE study SET last_instance_at = last_instance_at + 86400000")
    done = run("check", *Node(tmp_path).arguments())
    assert done.returncode == 1 and "FAIL  clock: the store's newest study arrived" in done.stdout, done.stdout


def test_predict_writes_a_line_and_objects_for_every_image(tmp_path):
    text = tmp_path / "in" / "notes.txt"
    text.parent.mkdir()
    text.write_text("no DICOM")
    done = run("predict", "--config", DEMO, "--out", tmp_path / "out", RADIOGRAPHS, tmp_path / "in")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    files = sorted(str(p) for p in RADIOGRAPHS.rglob("*") if p.is_file())
    assert sorted(line["path"] for line in lines) == sorted([*files, str(text)])
    for line in lines:
        if line["path"] == str(text):
            assert line["state"] == "skipped"
        else:
            assert line["state"] == "analysed" and line["findings"] and line["anomaly"]["passes"] == 8
            assert (tmp_path / "out") in pathlib.Path(line["outputs"]["sr"]).parents
            assert all(pathlib.Path(p).is_file() for p in [line["outputs"]["sr"], *line["outputs"]["sc"]])
    named = run("predict", "--config", DEMO, "--out", tmp_path / "out2", text)
    assert named.returncode == 1 and json.loads(named.stdout)["state"] == "failed"


def test_predict_fails_for_a_damaged_dicom_file_in_a_folder(tmp_path):
    whole = sorted(p for p in RADIOGRAPHS.rglob("*.dcm"))[0].read_bytes()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "cut.dcm").write_bytes(whole[:400])
    done = run("predict", "--config", DEMO, "--out", tmp_path / "out", tmp_path / "in")
    assert done.returncode == 1
    line = json.loads(done.stdout)
    assert line["state"] == "failed" and line["reason"]


def test_each_frame_is_analysed_and_reported_where_the_route_says_so(tmp_path):
    image = small_image("HAND")
    image.NumberOfFrames, image.PixelData = 3, b"".join(small_image(seed=n).PixelData for n in range(3))
    image.save_as(tmp_path / "run.dcm", enforce_file_format=True)
    skipped = run("predict", "--config", DEMO, "--out", tmp_path / "skipped", tmp_path / "run.dcm")
    assert skipped.returncode == 0 and json.loads(skipped.stdout)["reason"] == "several frames: 3"

    config = tmp_path / "node.yaml"
    config.write_text(frames_each())
    done = run("predict", "--config", config, "--out", tmp_path / "out", tmp_path / "run.dcm")
    assert done.returncode == 0, done.stdout + done.stderr
    line = json.loads(done.stdout)
    assert [frame["frame"] for frame in line["frames"]] == [1, 2, 3] and "anomaly" not in line
    assert all(frame["findings"] for frame in line["frames"])
    assert len({frame["anomaly"]["seed"] for frame in line["frames"]}) == 3
    assert len({frame["anomaly"]["score"] for frame in line["frames"]}) == 3
    overlays = [pydicom.dcmread(path) for path in line["outputs"]["sc"]]
    assert len({overlay.SOPInstanceUID for overlay in overlays}) == 3
    assert [overlay.SourceImageSequence[0].ReferencedFrameNumber for overlay in overlays] == [1, 2, 3]
    frames = []

    def collect(item):
        if item.ValueType == "IMAGE" and "ReferencedFrameNumber" in item.ReferencedSOPSequence[0]:
            frames.append(item.ReferencedSOPSequence[0].ReferencedFrameNumber)
        for child in item.get("ContentSequence", []):
            collect(child)
    collect(pydicom.dcmread(line["outputs"]["sr"]))
    # Of each frame every finding, its map, and where that is highest.
    assert set(frames) == {1, 2, 3} and len(frames) == 3 * (len(line["frames"][0]["findings"]) + 2)


def test_predict_makes_the_same_bytes_twice(tmp_path):
    image = sorted(p for p in RADIOGRAPHS.rglob("*.dcm"))[0]
    outputs = []
    for name in ("a", "b"):
        done = subprocess.run([BIN / "skelex-node", "predict", "--config", DEMO, "--out", tmp_path / name, image],
                              capture_output=True, env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"})
        assert done.returncode == 0, done.stderr
        outputs.append([p.read_bytes() for p in sorted((tmp_path / name).rglob("*.dcm"))])
    assert outputs[0] == outputs[1] and len(outputs[0]) == 2


def test_a_second_node_on_one_directory_says_so_and_exits_1(tmp_path):
    with Node(tmp_path) as node:
        second = Node(tmp_path)
        done = run("serve", *second.arguments())
        assert done.returncode == 1 and str(tmp_path / "store") in done.stderr
        assert node.get("/healthz")[0] == 200


def test_the_process_bears_its_name(tmp_path):
    with Node(tmp_path) as node:
        assert pathlib.Path(f"/proc/{node.process.pid}/comm").read_text().strip() == "skelex-node"


def test_sigterm_exits_0(tmp_path):
    node = Node(tmp_path).start()
    assert node.stop() == 0


def test_twenty_silent_connections_cost_an_echo_nothing(tmp_path):
    with Node(tmp_path) as node:
        silent = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(20)]
        began = time.monotonic()
        ae = AE(ae_title="XRAY1")
        ae.add_requested_context("1.2.840.10008.1.1")
        association = ae.associate("127.0.0.1", node.port, ae_title="SKELEX")
        assert association.is_established and association.send_c_echo().Status == 0
        assert time.monotonic() - began < 1 * SANITIZED_FACTOR
        association.release()
        for connection in silent:
            connection.close()


def test_an_unknown_calling_ae_title_is_rejected(tmp_path):
    # What came over the wire, not association.is_rejected: pynetdicom 3.0.4 sometimes takes a rejection that comes and
    # is closed at once for a connection that failed.
    answers = []
    with Node(tmp_path) as node:
        ae = AE(ae_title="STRANGER")
        ae.add_requested_context("1.2.840.10008.1.1")
        association = ae.associate("127.0.0.1", node.port, ae_title="SKELEX",
                                   evt_handlers=[(evt.EVT_PDU_RECV, lambda event: answers.append(event.pdu))])
        assert not association.is_established
        wait_until(lambda: answers, "an answer to the association request")
    assert isinstance(answers[0], A_ASSOCIATE_RJ)
    assert (answers[0].result, answers[0].source, answers[0].reason_diagnostic) == (1, 1, 3)
