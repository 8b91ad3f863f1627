"""Nothing is silent: every object of the corpus that a node takes ends analysed, or not, with a reason, wherever one looks.

The corpus lies beside the checkout, in ../shared/data/dicom; without it this says skipped.
"""
import collections
import json
import re
import subprocess

import pydicom
import pytest

from harness import BIN, SOURCE, Node, Pacs, send, wait_until

CORPUS = SOURCE.parent / "shared/data/dicom"
pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus at ../shared/data/dicom")
ENDS = {"analysed", "skipped", "failed", "conflict"}


def offer(node, path):
    """What pynetdicom can send, it sends; the node's log says what was taken."""
    try:
        send(node, [pydicom.dcmread(path)])
    except (AttributeError, AssertionError, ValueError, pydicom.errors.InvalidDicomError):
        return  # No UIDs, no context accepted, no data set that pydicom can write.


def read(node, path):
    status, text = node.get(path)
    assert status == 200, path
    return json.loads(text)


def said_not_analysed(report):
    """SOP Instance UID -> why, from the lines of a report."""
    found = {}
    for item in report.get("ContentSequence", []):
        if "ConceptNameCodeSequence" in item and item.ConceptNameCodeSequence[0].CodeValue == "SKX-SKIPPED":
            name, state, reason = item.TextValue.split(": ", 2)  # "Image 2, KNEE, 1.2.3".
            found[name.rsplit(", ", 1)[1]] = (state, reason)
        found.update(said_not_analysed(item))
    return found


def test_every_received_object_ends_with_its_reason_in_store_log_page_and_report(tmp_path):
    with Pacs() as pacs:
        settings = {"results.report_skipped": "true", "node.accept_unknown": "true"}
        with Node(tmp_path, settings, pacs_port=pacs.port) as node:
            for path in sorted([*(CORPUS / "made").rglob("*.dcm"), *(CORPUS / "public").rglob("*.dcm")]):
                offer(node, path)
            wait_until(node.at_rest, "every study is at an end", 300)

            taken = collections.Counter(re.findall(r"event=c_store .* sop=(\S+) .* outcome=(?:stored|correction|conflict) ",
                                                   node.log()))
            assert len(taken) > 100
            # The page: the counts of every study, and every instance with its reason.
            studies = [read(node, f"/api/studies/{study['study_instance_uid']}")
                       for study in read(node, "/api/studies?limit=1000")["studies"]]
            for study in (found["study"] for found in studies):
                assert study["analysed"] + study["skipped"] + study["failed"] == study["instances"]
                assert bool(study["not_analysed"]) == (study["skipped"] + study["failed"] > 0)
            instances = [instance for found in studies for instance in found["instances"]]
            assert collections.Counter(i["sop_instance_uid"] for i in instances) == taken
            states = collections.Counter(i["state"] for i in instances)
            print(dict(states))
            assert set(states) <= ENDS and states["analysed"] > 30 and states["skipped"] > 20
            quiet = [i for i in instances if i["state"] != "analysed" and not i.get("reason")]
            assert not quiet

            # The log: what was not to be analysed says why when it arrives, the rest when it has ended.
            log = node.log()
            for instance in instances:
                uid, state = re.escape(instance["sop_instance_uid"]), instance["state"]
                if state == "conflict":
                    continue
                analysis = re.search(rf'event=analysis state={state} .*sop_instance_uid={uid} .*reason="(.*)"', log)
                arrival = re.search(rf'event=c_store .* sop={uid} .* tasks=0 .*reason="(.+)"', log)
                assert analysis or arrival, instance
                assert state == "analysed" or (analysis or arrival).group(1), instance

    # The reports: a line for each image that was not analysed.
    said = {}
    for report in pacs.reports():
        said.update(said_not_analysed(report))
    silent = {i["sop_instance_uid"]: (i["state"], i["reason"]) for found in studies if found["study"]["state"] == "finished"
              for i in found["instances"] if i["state"] in ("skipped", "failed")}
    assert len(silent) > 20 and said == silent


def test_predict_names_every_path_and_why(tmp_path):
    done = subprocess.run([BIN / "skelex-node", "predict", "--config", SOURCE / "config/demo.yaml", "--set",
                           "region_head={task: region}", "--out", tmp_path / "out", CORPUS / "made", CORPUS / "corrupt"],
                          capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    files = {str(path) for folder in ("made", "corrupt") for path in (CORPUS / folder).rglob("*") if path.is_file()}
    assert {line["path"] for line in lines} == files and len(lines) == len(files)
    assert {line["state"] for line in lines} <= {"analysed", "skipped", "failed"}
    assert not [line for line in lines if line["state"] != "analysed" and not line["reason"]]
    assert done.returncode == (1 if any(line["state"] == "failed" for line in lines) else 0)
