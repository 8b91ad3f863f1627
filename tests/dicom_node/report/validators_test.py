"""Results of made-up findings, in every form, judged by others' tools: dciodvfy, dcentvfy, dsrdump, highdicom, pydicom.

The findings are drawn here (seed printed; NODE_SEED draws others), written by report_tool from the radiographs of
tests/data, and must come back to the same values.
"""
import json
import os
import random
import re
import subprocess

import highdicom as hd
import numpy as np
import pydicom
import pytest
from PIL import Image

import judges
from highdicom_results import map_of, patch_errors
from made_study import FORMS, SOURCE, TASKS, TOOL, make, make_of, radiographs_by_study

SEED = int(os.environ.get("NODE_SEED", 1))
PRESENT, ABSENT, UNDETERMINED = "52101004", "272519000", "373068000"


@pytest.fixture(scope="module", params=range(len(radiographs_by_study())))
def made(request, tmp_path_factory):
    print("seed", SEED)
    files = radiographs_by_study()[request.param]
    folder = tmp_path_factory.mktemp("study")
    study = make(folder, files, random.Random(SEED + request.param))
    return folder, files, study


def source_of(result, files):
    """The image that a result speaks of; of a study's result the one whose patient and study it copies."""
    uids = {pydicom.dcmread(f, stop_before_pixels=True).SOPInstanceUID: f for f in files}
    dataset = pydicom.dcmread(result, stop_before_pixels=True)
    if dataset.Modality == "OT":
        return files[0] if result.stem in ("summary", "sc-multiframe") else uids[dataset.SourceImageSequence[0].ReferencedSOPInstanceUID]
    if dataset.Modality == "SEG":
        return uids[dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID]
    if dataset.Modality == "PR":
        return uids[dataset.ReferencedSeriesSequence[0].ReferencedImageSequence[0].ReferencedSOPInstanceUID]
    if number := re.search(r"-per-image-([0-9]+)", result.stem):
        return files[int(number[1]) - 1]
    if dataset.Modality == "KO":
        return uids[next(i for i in dataset.ContentSequence if i.ValueType == "IMAGE").ReferencedSOPSequence[0].ReferencedSOPInstanceUID]
    return files[0]


def test_no_judge_complains_about_any_form(made):
    folder, files, _ = made
    for file in sorted(folder.glob("*.dcm")):
        verdicts = judges.all_of(file, source_of(file, files))
        assert not any(verdicts.values()), f"{file.name}: {verdicts}"


@pytest.fixture(scope="module")
def foot(tmp_path_factory):
    """One study of several images, with each form of its results."""
    files = next(s for s in radiographs_by_study() if len(s) > 2)
    folder = tmp_path_factory.mktemp("foot")
    make(folder, files, random.Random(3))
    return folder, files


TUMOUR = {"name": "bone-tumour-regions", "output": "sigmoid", "labels": ["Bone tumour", "Malignant"],
          "label_codes": [["126537000", "SCT", "Neoplasm of bone"], ["SKX-MALIGNANT", "99SKELEX", "Malignant"]]}


def of_regions(boxes, **more):
    """What a region task found: each score the greatest of its regions, the whole image first, of which it is."""
    regions = [{"label": label, "box": box, "bone": label, "bone_probability": 0.75, "values": values} |
               ({} if label == "whole image" else {"detector_score": 0.875}) for label, box, values in boxes]
    scores = []
    for index, label in enumerate(TUMOUR["labels"]):
        greatest = max(range(len(regions)), key=lambda r: regions[r]["values"][index])
        scores.append([label, regions[greatest]["values"][index], "1", greatest])
    return {"task": TUMOUR["name"], "model": "multihead", "digest": "sha256:" + "ab" * 32, "rendering": ["voi=window 1"],
            "scores": scores, "regions": regions, **more}


def make_regions(folder, quiet=False):
    """A study of which one image has regions, of which two decide, and one none but the whole image: (files, findings)."""
    files = next(s for s in radiographs_by_study() if len(s) > 1)[:2]
    headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in files]
    wholes = [("whole image", [0, 0, header.Columns, header.Rows]) for header in headers]
    found = [of_regions([(*wholes[0], [0.2, 0.6]), ("distal femur", [10, 20, 200, 220], [0.9, 0.1])]),
             of_regions([(*wholes[1], [0.3, 0.25])], regions_note="no regions found, whole image only")]
    images = [{"file": str(file), "predicted_at_ms": 1793607500000, "findings": [finding]} for file, finding in zip(files, found)]
    make_of(folder, {"tasks": [TUMOUR], "forms": FORMS, "images": images}, quiet)
    return files, found


@pytest.fixture(scope="module")
def regions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("regions")
    return folder, *make_regions(folder)


def test_no_judge_complains_about_regions(regions):
    folder, files, _ = regions
    for file in sorted(folder.glob("*.dcm")):
        verdicts = judges.all_of(file, source_of(file, files))
        assert not any(verdicts.values()), f"{file.name}: {verdicts}"


def test_each_score_is_inferred_from_the_region_that_decided(regions):
    folder, files, found = regions
    content = hd.sr.srread(folder / "sr.dcm").content
    groups = content.get_image_measurement_groups()
    uids = [pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID for file in files]
    for uid, finding in zip(uids, found):
        of_image = {" region 0 " in g.tracking_identifier: g for g in groups
                    if named(g[0].ContentSequence, "121112")[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == uid}
        numbers = named(of_image[False][0].ContentSequence, "SKX-PROB")
        assert len(numbers) == len(finding["scores"])
        for number, (_, value, _, region) in zip(numbers, finding["scores"]):
            assert float(number.MeasuredValueSequence[0].NumericValue) == pytest.approx(value)
            source, = named(number.ContentSequence, "121112")
            assert source.RelationshipType == "INFERRED FROM"
            left, top, right, bottom = finding["regions"][region]["box"]
            if region > 0:
                assert list(source.GraphicData) == [left, top, right, top, right, bottom, left, bottom, left, top]
                source, = source.ContentSequence
            assert source.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == uid
        whole = [float(n.MeasuredValueSequence[0].NumericValue) for n in named(of_image[True][0].ContentSequence, "SKX-PROB")]
        assert whole == finding["regions"][0]["values"]
    assert len(groups) == 4 and len(content.get_planar_roi_measurement_groups()) == 1


needs_pixelmed = pytest.mark.skipif(not judges.PIXELMED.exists(), reason="no PixelMed: apt-get install libpixelmed-java")


@needs_pixelmed
@pytest.mark.parametrize("form", ["sr", "sr-text", "kos"])
def test_pixelmed_accepts_templates_and_codes(foot, form):
    assert judges.pixelmed(foot[0] / f"{form}.dcm") == []


@needs_pixelmed
def test_pixelmed_accepts_regions(regions):
    file = regions[0] / "sr.dcm"
    assert judges.group_templates(file) == ["1501", "1501", "1410", "1501", "1501"]
    assert judges.pixelmed(file) == []


@pytest.mark.parametrize("how, form, breaking, judge", judges.BROKEN, ids=[b[0] for b in judges.BROKEN])
def test_a_broken_object_is_found(foot, tmp_path, how, form, breaking, judge):
    folder, files = foot
    if judge == "PixelMed" and not judges.PIXELMED.exists():
        pytest.skip("no PixelMed: apt-get install libpixelmed-java")
    good = folder / f"{form}.dcm"
    bad = judges.break_one(good, breaking, tmp_path / good.name)
    assert judges.all_of(bad, source_of(good, files), with_pixelmed=judge == "PixelMed")[judge], how


def test_dsrdump_reads_the_report(made):
    folder, _, _ = made
    out = judges.run("dsrdump", "-q", folder / "sr.dcm")
    assert out.returncode == 0, out.stderr
    assert "AI result - not for clinical use" in judges.run("dsrdump", "+Pl", folder / "sr.dcm").stdout


def code_values(items):
    return [item.ConceptCodeSequence[0].CodeValue for item in items]


def named(content, value):
    return [item for item in content if item.ConceptNameCodeSequence[0].CodeValue == value]


def test_highdicom_reads_back_what_went_in(made):
    folder, _, study = made
    report = hd.sr.srread(folder / "sr.dcm").content
    groups = report.get_image_measurement_groups()
    by_key = {}
    for group in groups:
        source = [i for i in group[0].ContentSequence if i.ValueType == "IMAGE"
                  and i.ConceptNameCodeSequence[0].CodeValue == "121112"]
        assert len(source) == 1
        uid = source[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        by_key[uid, group.tracking_identifier.split()[0]] = group
    expected = 0
    for image in study["images"]:
        header = pydicom.dcmread(image["file"], stop_before_pixels=True)
        for record in image.get("findings", []):
            expected += 1
            task = next(t for t in TASKS if t["name"] == record["task"])
            group = by_key[header.SOPInstanceUID, record["task"]]
            check_group(group, task, record, header)
    assert len(groups) == expected


def check_peak(number, errors, header):
    """The region from which the highest patch error is inferred is that patch, in pixels of the source."""
    region, = number.ContentSequence
    assert (region.ValueType, region.RelationshipType, region.GraphicType) == ("SCOORD", "INFERRED FROM", "POLYLINE")
    row, column = np.unravel_index(errors.argmax(), errors.shape)
    left, right = (column * header.Columns / 14, (column + 1) * header.Columns / 14)
    top, bottom = (row * header.Rows / 14, (row + 1) * header.Rows / 14)
    assert region.GraphicData == pytest.approx([left, top, right, top, right, bottom, left, bottom, left, top], rel=1e-6)
    image, = region.ContentSequence
    assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == header.SOPInstanceUID


def check_group(group, task, record, header):
    content = list(group[0].ContentSequence)
    version = f"{record['model']}@{record['digest'][:15]}"
    assert [i.TextValue for i in named(content, "111001")] == [record["model"]]
    assert [i.TextValue for i in named(content, "111003")] == [version]
    if header.BodyPartExamined in ("KNEE", "HAND", "FOOT"):
        assert code_values(named(content, "363698007")) == [
            {"KNEE": "72696002", "HAND": "85562004", "FOOT": "56459004"}[header.BodyPartExamined]]
    numbers = [(i.ConceptNameCodeSequence[0].CodeValue, float(i.MeasuredValueSequence[0].NumericValue),
                i.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue,
                [c.ConceptCodeSequence[0].CodeMeaning for c in i.get("ContentSequence", []) if c.ValueType == "CODE"])
               for i in content if i.ValueType == "NUM"]
    if task["output"] == "anomaly_map":
        expected = [("SKX-ANOM", pytest.approx(record["map"]["score"], abs=5e-7), "1", [])]
        if reference := record["map"].get("reference"):
            percentile = np.interp(record["map"]["score"], reference["image_score"], reference["levels"])
            expected.append(("SKX-ANOM-PCT", pytest.approx(percentile, abs=0.051), "%", []))
        errors = map_of(record["map"]).reshape(14, 16, 14, 16).mean(axis=(1, 3))
        expected.append(("SKX-ANOM-PEAK", pytest.approx(errors.max(), abs=2e-6), "1", []))
        assert numbers == expected
        check_peak(named(content, "SKX-ANOM-PEAK")[0], errors, header)
        assert len(named(content, "121080")) == 1
        assert f"seed={record['map']['seed']}" in [i.TextValue for i in named(content, "111002")]
        return
    if task["output"] == "regression":
        assert numbers == [("SKX-BONEAGE", pytest.approx(record["scores"][0][1], abs=5e-5), "mo", [])]
        return
    meanings = [c[2] for c in task.get("label_codes", [])] or task["labels"]
    assert len(numbers) == len(record["scores"])
    for (label, value, _), meaning, number in zip(record["scores"], meanings, numbers):
        assert number[:3] == ("SKX-PROB", pytest.approx(value, abs=5e-5), "1"), label
        assert number[3] == ([meaning] if len(meanings) > 1 else [])
    if task["output"] == "softmax":
        best = max(range(len(meanings)), key=lambda i: record["scores"][i][1])
        assert [i.ConceptCodeSequence[0].CodeMeaning for i in named(content, "SKX-KL")] == [meanings[best]]
        return
    codes = [c[0] for c in task.get("label_codes", [])] or [task["code"][0]]
    for code, (_, value, _) in zip(codes, record["scores"]):
        certain, doubtful = task.get("certain", 0.5), task.get("doubtful", 0.5)
        decision = PRESENT if value >= certain else UNDETERMINED if value >= doubtful else ABSENT
        assert code_values(named(content, code)) == [decision]


def test_evidence_holds_everything_the_tree_refers_to(made):
    folder, files, _ = made
    report = pydicom.dcmread(folder / "sr.dcm")
    listed = {instance.ReferencedSOPInstanceUID for study in report.CurrentRequestedProcedureEvidenceSequence
              for series in study.ReferencedSeriesSequence for instance in series.ReferencedSOPSequence}
    sources = {pydicom.dcmread(f, stop_before_pixels=True).SOPInstanceUID for f in files}
    overlays = {pydicom.dcmread(f, stop_before_pixels=True).SOPInstanceUID for f in folder.glob("sc-[0-9]*.dcm")}
    assert listed == sources | overlays
    skipped = [i.TextValue for c in named(report.ContentSequence, "C0034375") for i in named(c.ContentSequence, "SKX-SKIPPED")]
    assert len(skipped) == max(0, len(files) - 2)


def test_overlay_pixels_show_the_peak_where_it_was_planted(made):
    folder, _, study = made
    images = [i for i in study["images"] if "findings" in i]
    for index, image in enumerate(images, 1):
        overlay = pydicom.dcmread(folder / f"sc-{index}.dcm")
        header = pydicom.dcmread(image["file"], stop_before_pixels=True)
        assert overlay.SourceImageSequence[0].ReferencedSOPInstanceUID == header.SOPInstanceUID
        pixels = overlay.pixel_array
        assert pixels.shape == (overlay.Rows, overlay.Columns, 3) and pixels.dtype == np.uint8
        columns, rows = map(int, re.search(r"with (\d+) columns and (\d+) rows", overlay.DerivationDescription).groups())
        assert abs(columns / rows - header.Columns / header.Rows) < 0.01
        picture = pixels[:rows, :columns].astype(float)
        colour = picture.max(axis=2) - picture.min(axis=2)  # The radiograph is grey: colour is the map.
        planted = next(f["map"] for f in image["findings"] if "map" in f)
        y, x = planted["y"] / 224 * rows, planted["x"] / 224 * columns
        grid_y, grid_x = np.mgrid[:rows, :columns]
        near = ((grid_y - y) / rows) ** 2 + ((grid_x - x) / columns) ** 2 < 0.12 ** 2
        far = ((grid_y - y) / rows) ** 2 + ((grid_x - x) / columns) ** 2 > 0.3 ** 2
        second_y, second_x = planted["x"] / 224 * rows, planted["y"] / 224 * columns  # The weaker spot, mirrored.
        far &= ((grid_y - second_y) / rows) ** 2 + ((grid_x - second_x) / columns) ** 2 > 0.3 ** 2
        assert colour[near].max() > colour[far].max() + 5


def test_highdicom_reads_the_map_out_of_the_segmentation(made):
    folder, _, study = made
    for index, image in enumerate([i for i in study["images"] if "findings" in i], 1):
        header = pydicom.dcmread(image["file"], stop_before_pixels=True)
        planted = next(f["map"] for f in image["findings"] if "map" in f)
        segmentation = hd.seg.segread(folder / f"seg-{index}.dcm")
        assert segmentation.segmentation_type == hd.seg.SegmentationTypeValues.FRACTIONAL
        assert segmentation.segmentation_fractional_type == hd.seg.SegmentationFractionalTypeValues.PROBABILITY
        values = segmentation.get_pixels_by_source_instance([header.SOPInstanceUID])
        assert values.shape == (1, header.Rows, header.Columns, 1)
        shares = np.clip(map_of(planted) / 0.1, 0, 1)
        if reference := planted.get("reference"):
            percentiles = np.interp(patch_errors(map_of(planted)), reference["patch_error"], reference["levels"])
            with np.errstate(divide="ignore"):
                shares = np.clip(-np.log10(1 - percentiles / 100) / 3, 0, 1)
        expected = Image.fromarray(shares.astype(np.float32)).resize((header.Columns, header.Rows), Image.Resampling.BILINEAR)
        assert np.abs(values[0, :, :, 0] - np.asarray(expected)).max() < 1.5 / 255
        description = segmentation.get_segment_description(1)
        report = hd.sr.srread(folder / "sr.dcm").content
        assert description.tracking_uid in [g.tracking_uid for g in report.get_image_measurement_groups()]
        assert segmentation.get_source_image_uids()[0][2] == header.SOPInstanceUID


def test_second_run_is_byte_identical_and_a_revision_names_the_first(made, tmp_path):
    folder, files, study = made
    subprocess.run([TOOL, folder / "study.json", tmp_path], check=True)
    for file in folder.glob("*.dcm"):
        assert file.read_bytes() == (tmp_path / file.name).read_bytes(), file.name
    again = tmp_path / "again"
    again.mkdir()
    (again / "study.json").write_text(json.dumps({**study, "revision": 2, "predecessor": str(folder / "sr.dcm")}))
    subprocess.run([TOOL, again / "study.json", again], check=True)
    first, second = (pydicom.dcmread(f / "sr.dcm") for f in (folder, again))
    assert first.SOPInstanceUID != second.SOPInstanceUID
    before = second.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    assert before.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert before.SeriesInstanceUID == first.SeriesInstanceUID
    assert judges.run("dciodvfy", "-new", again / "sr.dcm").returncode == 0


def codes_of(dataset):
    """(value, scheme) of every code in it, sequences included."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from codes_of(item)
    if "CodeValue" in dataset and "CodingSchemeDesignator" in dataset:
        yield dataset.CodeValue, dataset.CodingSchemeDesignator


def test_every_code_in_a_result_stands_in_the_conformance_statement(foot, regions):
    """But those of the configured tasks and those that the source gives."""
    statement = (SOURCE / "dicom_node/CONFORMANCE.md").read_text().split("<!-- table: codes -->")[1]
    table = {tuple(cell.strip() for cell in line.split("|")[1:3]) for line in statement.splitlines() if line.startswith("|")}
    own = set()
    for folder, files, *_ in (foot, regions):
        given = set().union(*(codes_of(pydicom.dcmread(file, stop_before_pixels=True)) for file in files))
        for file in folder.glob("*.dcm"):
            own |= set(codes_of(pydicom.dcmread(file, stop_before_pixels=True))) - given
    configured = {tuple(code[:2]) for task in [*TASKS, TUMOUR] for code in [task.get("code", ["", ""]), *task.get("label_codes", [])]}
    made_of_names = {code for code in own if code[1] == "99SKELEX" and code not in table}  # SKX- and a task's or label's name.
    assert len(own) > 50
    missing = sorted(own - configured - table - made_of_names)
    assert not missing, f"{missing}"
