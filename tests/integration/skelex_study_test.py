"""A study of real radiographs through C-STORE and config/skelex.example.yaml on stand-ins: all tasks and the region path.

The report and the pictures are judged by dciodvfy and highdicom; what they say is held against the node's own record.
NODE_KEEP=<folder> keeps the pictures as PNG, to be looked at.
"""
import json
import os
import pathlib
import subprocess

import highdicom
import numpy
import pydicom
import pytest
from PIL import Image

from example_config_test import EXAMPLES, items, task_of
from harness import Node, Pacs, fresh_uid, radiograph, send, wait_until

EXAMPLE = EXAMPLES["skelex.example.yaml"]
DECIDING, OTHERS, DECIDING_ROW = (255, 191, 0), (90, 200, 250), (66, 52, 12)
# Of one patient of 9 years: what no person has, but every task.
VIEWS = {"13_1_knee_ap": dict(BodyPartExamined="KNEE", ViewPosition="AP", ImageLaterality="R"),
         "01_1_hand_pa": dict(BodyPartExamined="HAND", ViewPosition="PA", ImageLaterality="L"),
         "02_1_foot_ap": dict(BodyPartExamined="FOOT", ViewPosition="LL", ImageLaterality="L"),
         "08_1_forearm_ap": dict(BodyPartExamined="WRIST", ViewPosition="AP", ImageLaterality="R")}
BOTH_KNEES = dict(BodyPartExamined="KNEE", ViewPosition="AP", ImageLaterality="B", PatientOrientation=["L", "F"])


@pytest.fixture(scope="module", params=["skelex.example.yaml"])
def example(request):
    return EXAMPLES[request.param]


from example_config_test import models  # noqa: E402, F401: a fixture, which asks for `example` above.


@pytest.fixture(scope="module")
def delivered(models, tmp_path_factory):  # noqa: F811
    folder = tmp_path_factory.mktemp("study")
    settings = dict(setting.split("=", 1) for setting in models if setting != "--set")
    settings["tasks.knee-oa.age"] = "{years_min: 0}"  # The patient is a child, for bone age and wrist.
    settings["peers.pacs.host"] = "127.0.0.1"
    study = fresh_uid()
    with Pacs() as pacs, Node(folder, settings, pacs.port, config=EXAMPLE.path) as node:
        images = {}
        for name, attributes in [*VIEWS.items(), ("13_1_knee_ap", BOTH_KNEES)]:
            image = radiograph(name, StudyInstanceUID=study, SOPInstanceUID=fresh_uid(), PatientAge="009Y",
                               PatientID="MADE-UP", PatientBirthDate="", StudyID="1", StudyDate="20260101", **attributes)
            for keyword in ("AnatomicRegionSequence", "ProcedureCodeSequence", "RequestAttributesSequence"):
                if keyword in image:
                    delattr(image, keyword)
            if attributes is BOTH_KNEES:  # The knee and its mirror image on one film.
                pixels = numpy.hstack([image.pixel_array, image.pixel_array[:, ::-1]])
                image.Columns, image.PixelData = pixels.shape[1], pixels.tobytes()
            images[str(image.SOPInstanceUID)] = image
        assert set(send(node, images.values())) == {0}
        wait_until(node.at_rest, "the study at an end", 240)
        yield images, {line["sop_instance_uid"]: line for line in node.instances(study)}, pacs


def by_kind(pacs, kind):
    return [dataset for dataset in pacs.overlays() if dataset.ImageType[3] == kind]


def test_every_task_has_an_answer(delivered):
    _, lines, _ = delivered
    found = {task_of(finding["task"]) for line in lines.values() for finding in line["findings"]}
    assert found | {"anomaly"} == set(EXAMPLE.tasks)
    assert all(line["state"] == "analysed" for line in lines.values())


def test_each_image_has_a_map_and_its_regions(delivered):
    images, lines, pacs = delivered
    for kind in ("ANOMALY_MAP", "REGIONS"):
        sources = [str(d.SourceImageSequence[0].ReferencedSOPInstanceUID) for d in by_kind(pacs, kind)]
        assert sorted(sources) == sorted(images)
    assert any(len(finding["regions"]) > 2 for line in lines.values() for finding in line["findings"]
               if finding["task"] == "bone-tumour-regions"), "the stand-in detector finds too little to show anything"


def test_boxes_are_drawn_where_they_are(delivered):
    images, lines, pacs = delivered
    for overlay in by_kind(pacs, "REGIONS"):
        source = str(overlay.SourceImageSequence[0].ReferencedSOPInstanceUID)
        [finding] = [f for f in lines[source]["findings"] if f["task"] == "bone-tumour-regions"]
        picture = overlay.pixel_array
        if "NODE_KEEP" in os.environ:
            of = images[source]
            Image.fromarray(picture).save(pathlib.Path(os.environ["NODE_KEEP"]) / f"{of.BodyPartExamined}-{of.ImageLaterality}.png")
        rows, columns = images[source].Rows, images[source].Columns
        scale = min(1, 1536 / max(rows, columns))
        deciding = finding["deciding_regions"]["Bone tumour"]
        for region in finding["regions"][1:]:
            left, top, right, bottom = (int(round(value * scale)) for value in region["box"])
            wanted = DECIDING if region["number"] == deciding else OTHERS
            edge = picture[max(top - 1, 0):bottom + 1, max(right - 4, 0):right + 1].reshape(-1, 3)
            assert (edge == wanted).all(1).any() or (edge == DECIDING).all(1).any(), region
        whole = (picture[:int(rows * scale), 0] == DECIDING).all(1).mean()
        assert whole > 0.8 if deciding == 0 else whole < 0.8  # Framed where the whole image decides.


def test_the_summary_has_a_table_of_regions_for_each_image(delivered):
    images, lines, pacs = delivered
    [summary] = by_kind(pacs, "SUMMARY")
    assert sorted(str(item.ReferencedSOPInstanceUID) for item in summary.SourceImageSequence) == sorted(images)
    page = summary.pixel_array
    if "NODE_KEEP" in os.environ:
        Image.fromarray(page).save(pathlib.Path(os.environ["NODE_KEEP"]) / "summary.png")
    marked = (page == DECIDING_ROW).all(2).sum(1) > 100  # Rows of pixels with the background of a deciding region.
    starts = (marked[1:] & ~marked[:-1]).sum()
    assert starts >= -(-len(images) // 2), "a deciding region in each row of the page, which shows two images"


def test_validators_find_no_error(delivered, tmp_path):
    _, _, pacs = delivered
    for number, dataset in enumerate(pacs.reports() + pacs.overlays()):
        path = tmp_path / f"{number}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        out = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True)
        errors = [line for line in (out.stdout + out.stderr).splitlines() if line.startswith("Error")]
        assert not errors, f"{dataset.SOPClassUID.name}: {errors}"
    for report in pacs.reports():
        highdicom.sr.srread(tmp_path / "0.dcm")


def test_the_report_has_a_group_for_each_region(delivered):
    """TID 1410: outline in pixels of its image, site, scores; read back by highdicom as planar regions of interest."""
    images, lines, pacs = delivered
    [report] = pacs.reports()
    document = highdicom.sr.ComprehensiveSR.from_dataset(report)
    groups = [group for group in document.content.get_planar_roi_measurement_groups()
              if " half " not in group.tracking_identifier]
    expected = {}
    for uid, line in lines.items():
        [finding] = [f for f in line["findings"] if f["task"] == "bone-tumour-regions"]
        for region in finding["regions"][1:]:
            expected[uid, tuple(region["box"])] = region
    assert len(groups) == len(expected) > 0
    for group in groups:
        content = group[0].ContentSequence
        [outline] = items(content, "111030")
        source = str(outline.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        points = numpy.reshape(outline.GraphicData, (-1, 2))
        assert (points[0] == points[-1]).all() and len(points) == 5
        region = expected.pop((source, (*points.min(0).astype(int), *points.max(0).astype(int))))
        assert f"region {region['number']} {region['label']}" in group.tracking_identifier
        [site] = items(content, "363698007")
        assert site.ConceptCodeSequence[0].CodeMeaning.lower() in (region["label"], region["label"].replace("shaft", "diaphysis"))
        numbers = [float(item.MeasuredValueSequence[0].NumericValue) for item in items(content, "SKX-PROB")]
        assert numbers == pytest.approx(list(region["probabilities"].values()), abs=1e-4)
    assert not expected
    wholes = [group for group in document.content.get_image_measurement_groups()
              if group.tracking_identifier.endswith("region 0 whole image")]
    assert len(wholes) == len(lines)
    for group in wholes:
        [source] = items(group[0].ContentSequence, "121112")
        line = lines[str(source.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)]
        [finding] = [f for f in line["findings"] if f["task"] == "bone-tumour-regions"]
        numbers = [float(item.MeasuredValueSequence[0].NumericValue) for item in items(group[0].ContentSequence, "SKX-PROB")]
        assert numbers == pytest.approx(list(finding["regions"][0]["probabilities"].values()), abs=1e-4)


def test_a_film_of_both_knees_has_a_group_for_each(delivered):
    images, lines, pacs = delivered
    [film] = [image for image in images.values() if image.ImageLaterality == "B"]
    halves = [f for f in lines[str(film.SOPInstanceUID)]["findings"] if f["task"].endswith(" half")]
    assert [half["side"] for half in halves] == ["R", "L"]
    document = highdicom.sr.ComprehensiveSR.from_dataset(pacs.reports()[0])
    groups = [group for group in document.content.get_planar_roi_measurement_groups()
              if " half " in group.tracking_identifier]
    assert len(groups) == 2
    for half, group, side in zip(halves, groups, ("Right", "Left")):
        content = group[0].ContentSequence
        [outline] = items(content, "111030")
        points = numpy.reshape(outline.GraphicData, (-1, 2))
        assert [*points.min(0), *points.max(0)] == half["box"]
        assert outline.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == film.SOPInstanceUID
        assert [item.ConceptCodeSequence[0].CodeMeaning for item in items(content, "272741003")] == [side]
        numbers = [float(item.MeasuredValueSequence[0].NumericValue) for item in items(content, "SKX-PROB")]
        assert numbers == pytest.approx(list(half["probabilities"].values()), abs=1e-4)
        assert any(item.TextValue.startswith("split: ") for item in items(content, "SKX-NOTE"))


def test_the_report_says_what_decided(delivered):
    _, lines, pacs = delivered
    [report] = pacs.reports()
    texts = [item.TextValue for item in items(report.ContentSequence, "SKX-NOTE")]
    for line in lines.values():
        [finding] = [f for f in line["findings"] if f["task"] == "bone-tumour-regions"]
        numbers = [float(item.MeasuredValueSequence[0].NumericValue) for item in items(report.ContentSequence, "SKX-PROB")]
        for value in finding["probabilities"].values():
            assert any(abs(value - number) < 1e-4 for number in numbers)
    assert any("Asked because tumour-malignant" in text for text in texts)
