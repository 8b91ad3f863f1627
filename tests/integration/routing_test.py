"""Why an image went where it went: the region head on the pixels, `route` in words, routes that can never match."""
import json
import re
import subprocess

import pydicom
import pytest

from harness import BIN, DEMO, Node, Pacs, fresh_uid, radiograph, send, wait_until

HEAD = ["--set", "region_head={task: region, probability_min: 0}"]
SOURCES = ["Anatomic Region Sequence", "Body Part Examined", "performed protocol code", "procedure code", "Protocol Name", "Series Description",
           "Study Description", "Requested Procedure Description"]


def run(*arguments):
    return subprocess.run([BIN / "skelex-node", *map(str, arguments)], capture_output=True, text=True)


def nameless(**attributes):
    """A knee of which no header says so."""
    image = radiograph("knee_ap", SOPInstanceUID=fresh_uid(), StudyInstanceUID=fresh_uid(), **attributes)
    for keyword in ("AnatomicRegionSequence", "ProcedureCodeSequence", "RequestedProcedureCodeSequence",
                    "PerformedProtocolCodeSequence", "StudyDescription", "SeriesDescription", "ProtocolName",
                    "RequestedProcedureDescription"):
        if keyword in image:
            delattr(image, keyword)
    if "BodyPartExamined" not in attributes:
        image.BodyPartExamined = ""
    return image


def predict(folder, image, *settings):
    folder.mkdir()
    image.save_as(folder / "image.dcm", enforce_file_format=True)
    done = run("predict", "--config", DEMO, *settings, "--out", folder / "out", folder / "image.dcm")
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


def notes_of(report):
    """The texts of the report's notes, at any depth."""
    found = []
    for item in report.get("ContentSequence", []):
        if "ConceptNameCodeSequence" in item and item.ConceptNameCodeSequence[0].CodeValue == "SKX-NOTE":
            found.append(item.TextValue)
        found += notes_of(item)
    return found


def test_without_a_region_head_an_unnamed_image_is_skipped_with_the_reason(tmp_path):
    line = predict(tmp_path / "a", nameless())
    assert line["state"] == "skipped" and line["reason"].endswith("body part unknown")
    assert "findings" not in line


def test_the_pixels_name_a_body_part_that_no_header_names(tmp_path):
    line = predict(tmp_path / "a", nameless(), *HEAD)
    assert line["state"] == "analysed" and line["rule"] and line["body_part"]
    assert re.fullmatch(r"the pixels \(region: \w+ [01]\.\d\d\)", line["body_part_from"])
    assert {finding["task"] for finding in line["findings"]} == {"fracture", "implant", "region"} and "anomaly" in line
    notes = notes_of(pydicom.dcmread(line["outputs"]["sr"]))
    assert f"Body part {line['body_part']}, taken from {line['body_part_from']}" in notes
    assert "body_part_disagreement" not in line

    unsure = predict(tmp_path / "b", nameless(), "--set", "region_head={task: region, probability_min: 1}")
    assert unsure["state"] == "skipped" and "the pixels do not say the body part (region: " in unsure["reason"]


def test_a_strong_disagreement_of_header_and_pixels_is_in_line_and_report(tmp_path):
    seen = predict(tmp_path / "a", nameless(), *HEAD)["body_part"]
    other = "HAND" if seen in ("LOWERLIMB", "HIP") else "FOOT"  # Has nothing in common with what is seen.
    line = predict(tmp_path / "b", nameless(BodyPartExamined=other), *HEAD)
    assert line["body_part"] == other and line["body_part_from"] == "Body Part Examined"
    said = line["body_part_disagreement"]
    assert said.startswith(f"The header shows {other} (Body Part Examined), the pixels {seen} (region: ")
    assert said in notes_of(pydicom.dcmread(line["outputs"]["sr"]))


def test_a_running_node_settles_routes_by_the_pixels_and_a_retry_asks_again(tmp_path):
    with Pacs() as pacs:
        settings = {"region_head": "{task: region, probability_min: 0}"}
        with Node(tmp_path, settings, pacs_port=pacs.port) as node:
            image = nameless()
            assert send(node, [image]) == [0x0000]
            wait_until(node.at_rest, "the study is reported", 120)
            (instance,) = node.instances(image.StudyInstanceUID)
            assert instance["state"] == "analysed" and instance["body_part_from"].startswith("the pixels (region: ")
            assert len(pacs.reports()) == 1 and len(pacs.overlays()) == 1
            assert f"taken from {instance['body_part_from']}" in " ".join(notes_of(pacs.reports()[0]))
            status, text = node.get(f"/api/studies/{image.StudyInstanceUID}")
            assert status == 200 and json.loads(text)["instances"][0]["body_part_from"] == instance["body_part_from"]
        node.run("studies", *node.arguments(), "retry", image.StudyInstanceUID)
        with node:
            wait_until(lambda: len(pacs.reports()) == 2, "the second revision is delivered", 120)
            assert node.instances(image.StudyInstanceUID)[-1]["body_part_from"] == instance["body_part_from"]


def test_route_explains_every_source_and_every_rule_in_words(tmp_path):
    image = radiograph("hand", BodyPartExamined="Hnad?", SeriesDescription="Hand ap links")
    for keyword in ("AnatomicRegionSequence", "ProtocolName"):
        if keyword in image:
            delattr(image, keyword)
    image.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    done = run("route", "--config", DEMO, tmp_path / "a.dcm")
    assert done.returncode == 0, done.stderr
    said = dict(line.strip().split(": ", 1) for line in done.stdout.splitlines()[1:] if ": " in line)
    assert [key for key in said if key in SOURCES] == SOURCES
    assert said["Body Part Examined"] == '"HNAD" names no body part known here'
    assert said["Series Description"] == "HAND"
    assert said["body part"] == "HAND, from Series Description"
    assert said["rule shoulder"].startswith("no, body part is HAND, not SHOULDER or ")
    assert said["rule upper-limb"] == "matches"
    assert said["rule some-limb"] == "no, not asked, since upper-limb matches"
    line = json.loads(run("route", "--config", DEMO, "--json", tmp_path / "a.dcm").stdout)
    assert [source["attribute"] for source in line["sources"]] == SOURCES
    assert [rule["rule"] for rule in line["rules"]] == ["shoulder", "upper-limb", "hip-pelvis", "lower-limb", "some-limb"]


def test_route_says_that_the_pixels_are_to_decide(tmp_path):
    nameless().save_as(tmp_path / "a.dcm", enforce_file_format=True)
    done = run("route", "--config", DEMO, *HEAD, tmp_path / "a.dcm")
    assert "the region head decides: the body part is to be read from the pixels" in done.stdout


@pytest.mark.parametrize("settings, why", [
    (["routes.lower-limb.match.body_part=[HAND, ELBOW]"], "route lower-limb can never match: all its images are taken "
                                                          "before by upper-limb"),
    (["routes.some-limb.match.modality=SR"], "route some-limb can never match: none of its SOP classes"),
])
def test_check_finds_a_route_that_can_never_match(settings, why, tmp_path):
    with Pacs() as pacs:
        arguments = Node(tmp_path, pacs_port=pacs.port).arguments()
        done = run("check", *arguments, *[part for setting in settings for part in ("--set", setting)])
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert why in line and re.search(r"demo.yaml:\d+: routes\[\d\]", line)
