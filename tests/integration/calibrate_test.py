"""`calibrate` on real radiographs, and what `predict` then says: in its lines, in the report, in the overlay."""
import collections
import csv
import json
import pathlib
import shutil
import subprocess

import numpy
import pydicom
import pytest

from harness import BIN, DEMO, RADIOGRAPHS, SOURCE

IMAGES_MIN = 3


def run(*arguments):
    return subprocess.run([BIN / "skelex-node", *map(str, arguments)], capture_output=True, text=True)


def predict(out, *settings):
    done = run("predict", "--config", DEMO, "--out", out, *settings, RADIOGRAPHS)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def calibration(tmp_path_factory):
    """The file, and what the command printed."""
    file = tmp_path_factory.mktemp("calibration") / "normal.json"
    done = run("calibrate", "--config", DEMO, "--out", file, "--images-min", IMAGES_MIN, RADIOGRAPHS)
    assert done.returncode == 0, done.stderr
    return file, done.stdout


@pytest.fixture(scope="module")
def calibrated(calibration, tmp_path_factory):
    return predict(tmp_path_factory.mktemp("calibrated"), "--set", f"tasks.anomaly.calibration={calibration[0]}")


@pytest.fixture(scope="module")
def uncalibrated(tmp_path_factory):
    return predict(tmp_path_factory.mktemp("uncalibrated"))


def by_part(lines):
    parts = collections.defaultdict(list)
    for line in lines:
        parts[line["body_part"]].append(line)
    return parts


def group_of(line):
    """The content items of the anomaly's group in the line's report: {code: [value]}."""
    report = pydicom.dcmread(line["outputs"]["sr"])

    def walk(items):
        for item in items:
            content = item.get("ContentSequence", [])
            values = collections.defaultdict(list)
            for child in content:
                if child.ValueType == "TEXT":
                    values[child.ConceptNameCodeSequence[0].CodeValue].append(child.TextValue)
                elif child.ValueType == "NUM":
                    measured = child.MeasuredValueSequence[0]
                    values[child.ConceptNameCodeSequence[0].CodeValue].append(
                        (float(measured.NumericValue), measured.MeasurementUnitsCodeSequence[0].CodeValue))
                elif child.ValueType == "IMAGE":
                    values["image"].append(child.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
            if "SKX-ANOM" in values and line["sop_instance_uid"] in values["image"]:
                return values
            if found := walk(content):
                return found
        return None

    return walk([report])


def test_the_file_holds_the_quantiles_of_each_body_part_with_enough_images(calibration, uncalibrated):
    file, said = calibration
    content = json.loads(file.read_text())
    levels, parts = content["levels"], by_part(uncalibrated)
    assert content["mode"] == "partition" and content["passes"] == 8
    assert content["model_digest"].startswith("sha256:")
    assert set(content["body_parts"]) == {part for part, lines in parts.items() if len(lines) >= IMAGES_MIN}
    for part, lines in parts.items():
        if len(lines) < IMAGES_MIN:
            assert f"{part}: {len(lines)} images, left out: fewer than {IMAGES_MIN}" in said
            continue
        assert f"{part}: {len(lines)} images\n" in said
        table = content["body_parts"][part]
        assert table["images"] == len(lines)
        scores = [line["anomaly"]["score"] for line in lines]
        assert numpy.allclose(table["image_score"], numpy.percentile(scores, levels), rtol=1e-4, atol=1e-6)
        errors = table["patch_error"]
        assert len(errors) == len(levels) and errors == sorted(errors) and errors[0] < errors[-1]
        assert errors[0] < min(scores) and errors[-1] > max(scores), "patches spread wider than images"


def test_calibrated_images_say_so_with_their_percentile_in_line_report_and_overlay(calibration, calibrated):
    content = json.loads(calibration[0].read_text())
    seen = 0
    for line in calibrated:
        anomaly, group = line["anomaly"], group_of(line)
        overlay = pydicom.dcmread(line["outputs"]["sc"][0], stop_before_pixels=True)
        table = content["body_parts"].get(line["body_part"])
        assert anomaly["calibrated"] == (table is not None)
        if table is None:
            assert "percentile" not in anomaly and "SKX-ANOM-PCT" not in group
            assert any("uncalibrated" in note for note in group["SKX-NOTE"])
            assert "uncalibrated" in overlay.DerivationDescription
            continue
        seen += 1
        expected = numpy.interp(anomaly["score"], table["image_score"], content["levels"])
        assert anomaly["percentile"] == pytest.approx(expected, abs=0.05)
        assert anomaly["calibration_images"] == table["images"]
        assert group["SKX-ANOM-PCT"] == [(pytest.approx(expected, abs=0.1), "%")]
        assert group["SKX-ANOM"][0][0] == pytest.approx(anomaly["score"], abs=1e-6)
        assert not any("score is uncalibrated" in note for note in group["SKX-NOTE"])
        assert f"calibration={anomaly['calibration_digest']}" in group["111002"]
        assert anomaly["calibration_digest"] in overlay.DerivationDescription
        assert "uncalibrated" not in overlay.DerivationDescription
    assert seen >= 2 * IMAGES_MIN, "several body parts are calibrated"
    for part in content["body_parts"]:
        ranked = sorted(by_part(calibrated)[part], key=lambda line: line["anomaly"]["score"])
        percentiles = [line["anomaly"]["percentile"] for line in ranked]
        assert percentiles == sorted(percentiles)
        assert percentiles[0] < 1 and percentiles[-1] > 99, "the images it was made of: their ends are its ends"


def test_without_a_calibration_everything_says_uncalibrated(uncalibrated):
    for line in uncalibrated:
        assert line["anomaly"]["calibrated"] is False and "percentile" not in line["anomaly"]
        assert any("uncalibrated" in note for note in group_of(line)["SKX-NOTE"])
        overlay = pydicom.dcmread(line["outputs"]["sc"][0], stop_before_pixels=True)
        assert "uncalibrated" in overlay.DerivationDescription


@pytest.mark.parametrize("settings, words", [
    ({"passes": 12}, "was made for passes 8, not 12"),
    ({"mode": "random"}, "was made for mode partition, not random"),
])
def test_a_calibration_of_other_maps_is_refused_in_words(calibration, tmp_path, settings, words):
    arguments = ["--set", f"tasks.anomaly.calibration={calibration[0]}"]
    for key, value in settings.items():
        arguments += ["--set", f"tasks.anomaly.{key}={value}"]
    for command in (["predict", "--out", tmp_path / "out", RADIOGRAPHS], ["models"]):
        done = run(command[0], "--config", DEMO, *arguments, *command[1:])
        assert done.returncode == 2 and words in done.stderr and str(calibration[0]) in done.stderr
    checked = run("check", "--config", DEMO, *arguments)
    assert checked.returncode == 1 and words in checked.stdout + checked.stderr


def test_a_calibration_of_another_model_is_refused_in_words(calibration, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(SOURCE / "config/demo/demo-skelex", other)
    settings = json.loads((other / "preprocessor_config.json").read_text())
    settings["image_mean"] = [0.5, 0.5, 0.5]
    (other / "preprocessor_config.json").write_text(json.dumps(settings))
    done = run("models", "--config", DEMO, "--set", f"tasks.anomaly.calibration={calibration[0]}",
               "--set", f"models.demo-skelex.path={other}")
    assert done.returncode == 2 and "was made for model sha256:" in done.stderr
    missing = run("models", "--config", DEMO, "--set", f"tasks.anomaly.calibration={tmp_path}/none.json")
    assert missing.returncode == 2 and f"{tmp_path}/none.json" in missing.stderr


def test_too_few_images_make_no_file(tmp_path):
    out = tmp_path / "normal.json"
    done = run("calibrate", "--config", DEMO, "--out", out, RADIOGRAPHS)
    assert done.returncode == 1 and "no body part has 200 images" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_image_of_the_task_is_counted_and_not_used(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    with open(SOURCE / "tests/data/radiographs.csv", newline="") as table:
        foot = [SOURCE / "tests/data" / row["file"] for row in csv.DictReader(table) if row["body_part"] == "FOOT"][0]
    shutil.copy(foot, folder / "a.dcm")
    shutil.copy(foot, folder / "b.dcm")  # The same instance twice is one image.
    chest = pydicom.dcmread(foot)
    chest.SOPInstanceUID = chest.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    chest.BodyPartExamined = "CHEST"
    del chest.AnatomicRegionSequence
    chest.save_as(folder / "c.dcm")
    (folder / "notes.txt").write_text("no DICOM")
    done = run("calibrate", "--config", DEMO, "--out", tmp_path / "normal.json", "--images-min", 1, folder)
    assert done.returncode == 0, done.stderr
    assert "FOOT: 1 images\n" in done.stdout
    assert "not used: 1: an instance that was there before" in done.stdout
    assert "CHEST" in done.stdout
    assert json.loads((tmp_path / "normal.json").read_text())["body_parts"].keys() == {"FOOT"}
    named = run("calibrate", "--config", DEMO, "--out", tmp_path / "normal.json", "--images-min", 1, foot,
                folder / "notes.txt")
    assert named.returncode == 1 and "notes.txt" in named.stderr, "what was named and is no image is a failure"


def test_a_configuration_without_maps_cannot_be_calibrated(tmp_path):
    done = run("calibrate", "--config", DEMO, "--out", tmp_path / "x.json", "--task", "fracture", RADIOGRAPHS)
    assert done.returncode == 2 and "fracture" in done.stderr
    assert not pathlib.Path(tmp_path / "x.json").exists()
