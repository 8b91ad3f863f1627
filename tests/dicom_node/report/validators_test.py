"""SR and SC of made-up findings, judged by others' tools: dciodvfy, dcentvfy, dsrdump, highdicom, pydicom.

The findings are drawn here (seed printed; NODE_TEST_SEED repeats one), written by report_tool from the radiographs of
tests/data, and must come back to the same values.
"""
import csv
import hashlib
import json
import os
import pathlib
import random
import re
import subprocess

import highdicom as hd
import numpy as np
import pydicom
import pytest

SOURCE = pathlib.Path(os.environ["NODE_SOURCE_DIR"])
TOOL = pathlib.Path(os.environ["NODE_BIN"]) / "report_tool"
DATA = SOURCE / "tests" / "data"
SEED = int(os.environ.get("NODE_TEST_SEED", random.randrange(1 << 30)))
FORMS = re.findall(r'"([a-z0-9-]+)"', (SOURCE / "config/result_forms.h").read_text().split("kResultForms{")[1].split("}")[0])
NODE_UID = "2.25.134532011558794181833216965492102009321"

PRESENT, ABSENT, UNDETERMINED = "52101004", "272519000", "373068000"
TASKS = [
    {"name": "fracture", "output": "sigmoid", "labels": ["Fracture"], "code": ["125605004", "SCT", "Fracture of bone"],
     "doubtful": 0.3, "certain": 0.7},
    {"name": "finds", "output": "sigmoid", "labels": ["Implant", "Tumour"],
     "label_codes": [["40388003", "SCT", "Implant"], ["126537000", "SCT", "Neoplasm of bone"]]},
    {"name": "knee-oa", "output": "softmax", "labels": [f"KL {i}" for i in range(5)],
     "code": ["SKX-KL", "99SKELEX", "Kellgren-Lawrence grade"]},
    {"name": "bone-age", "output": "regression", "labels": ["Bone age"], "unit": "mo",
     "code": ["SKX-BONEAGE", "99SKELEX", "Bone age"]},
    {"name": "anomaly", "output": "anomaly_map"},
]


def radiographs_by_study():
    studies = {}
    with open(DATA / "radiographs.csv", newline="") as table:
        for row in csv.DictReader(table):
            studies.setdefault(row["study_uid"], []).append(DATA / row["file"])
    return list(studies.values())


def finding(rng, task):
    digest = "sha256:" + hashlib.sha256(rng.randbytes(8)).hexdigest()
    record = {"task": task["name"], "model": "demo-" + task["name"], "digest": digest, "rendering": ["voi=window 1"]}
    if task["output"] == "anomaly_map":
        record["map"] = {"mode": "partition", "passes": 8, "seed": rng.randrange(1 << 48), "peak": rng.uniform(0.02, 0.15),
                         "y": rng.uniform(40, 180), "x": rng.uniform(40, 180), "score": rng.uniform(0.001, 0.05)}
        if rng.random() < 0.5:
            record["map"]["reference"] = {"digest": digest, "body_part": "KNEE", "images": 214, "levels": [0, 90, 99.9, 100],
                                          "patch_error": [0, 0.004, 0.02, 0.2], "image_score": [0, 0.01, 0.04, 0.1]}
    elif task["output"] == "regression":
        record["scores"] = [["Bone age", round(rng.uniform(1, 228), 4), "mo"]]
    else:
        values = [rng.random() for _ in task["labels"]]
        if task["output"] == "softmax":
            values = [v / sum(values) for v in values]
        record["scores"] = [[label, value, "1"] for label, value in zip(task["labels"], values)]
    return record


def make(folder, files, rng, **more):
    study = {"node_uid": NODE_UID, "revision": 1, "closed_at_ms": 1793607600123, "tasks": TASKS, "forms": FORMS,
             "images": [], **more}
    for index, file in enumerate(files):
        image = {"file": str(file), "predicted_at_ms": 1793607500000 + index}
        if index == 2:
            image["reason"] = "no rule for DX, FOOT"  # One image is not analysed.
        else:
            image["findings"] = [finding(rng, task) for task in TASKS]
        study["images"].append(image)
    (folder / "study.json").write_text(json.dumps(study))
    subprocess.run([TOOL, folder / "study.json", folder], check=True)
    return study


@pytest.fixture(scope="module", params=range(len(radiographs_by_study())))
def made(request, tmp_path_factory):
    print("seed", SEED)
    files = radiographs_by_study()[request.param]
    folder = tmp_path_factory.mktemp("study")
    study = make(folder, files, random.Random(SEED + request.param))
    return folder, files, study


def run(*command):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True)


def test_dciodvfy_finds_no_error(made):
    folder, _, _ = made
    for file in sorted(folder.glob("*.dcm")):
        out = run("dciodvfy", "-new", file)
        errors = [line for line in (out.stdout + out.stderr).splitlines() if line.startswith("Error")]
        assert not errors and out.returncode == 0, f"{file.name}: {errors}"


# Accession Number is asked for at two levels, which the tool calls a difference between them. Patient Identity Removed
# says how the source was made; a result is not that.
DCENTVFY_FALSE = ("Different information entities", "Element=<PatientIdentityRemoved>", "Element=<DeidentificationMethod>")


def test_dcentvfy_finds_one_patient_and_one_study(made):
    folder, files, _ = made
    # Pairwise: the images of one study here differ in their own Study Description, and a result has that of its source.
    sources = {pydicom.dcmread(f, stop_before_pixels=True).SOPInstanceUID: f for f in files}
    pairs = [(folder / "sr.dcm", files[0])]
    for file in folder.glob("sc-*.dcm"):
        overlay = pydicom.dcmread(file, stop_before_pixels=True)
        pairs.append((file, sources[overlay.SourceImageSequence[0].ReferencedSOPInstanceUID]))
    for result, source in pairs:
        out = run("dcentvfy", source, result)
        complaints = [line for line in (out.stdout + out.stderr).splitlines()
                      if line.strip() and not any(word in line for word in DCENTVFY_FALSE)]
        assert out.returncode == 0 and not complaints, complaints


def test_dsrdump_reads_the_report(made):
    folder, _, _ = made
    out = run("dsrdump", "-q", folder / "sr.dcm")
    assert out.returncode == 0, out.stderr
    assert "AI result - not for clinical use" in run("dsrdump", "+Pl", folder / "sr.dcm").stdout


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
                [c.ConceptCodeSequence[0].CodeMeaning for c in i.get("ContentSequence", [])])
               for i in content if i.ValueType == "NUM"]
    if task["output"] == "anomaly_map":
        expected = [("SKX-ANOM", pytest.approx(record["map"]["score"], abs=5e-7), "1", [])]
        if reference := record["map"].get("reference"):
            percentile = np.interp(record["map"]["score"], reference["image_score"], reference["levels"])
            expected.append(("SKX-ANOM-PCT", pytest.approx(percentile, abs=0.051), "%", []))
        assert numbers == expected
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
    overlays = {pydicom.dcmread(f, stop_before_pixels=True).SOPInstanceUID for f in folder.glob("sc-*.dcm")}
    assert listed == sources | overlays
    skipped = [i.TextValue for c in named(report.ContentSequence, "C0034375") for i in named(c.ContentSequence, "SKX-SKIPPED")]
    assert len(skipped) == max(0, len(files) - 2)


def test_patient_and_study_are_the_sources(made):
    folder, files, _ = made
    source = pydicom.dcmread(files[0], stop_before_pixels=True)
    for file in folder.glob("*.dcm"):
        result = pydicom.dcmread(file, stop_before_pixels=True)
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate",
                        "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID"):
            assert str(result.get(keyword, "")) == str(source.get(keyword, "")), keyword


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
    assert run("dciodvfy", "-new", again / "sr.dcm").returncode == 0
