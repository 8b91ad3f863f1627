"""The recipe of the UIDs, done again here: 2.25.<UUID version 5 over kind, source, task, model version, revision>."""
import hashlib
import random
import re
import uuid

import pydicom
import pytest

from made_study import FORMS, NODE_UID, SOURCE, TASKS, make, radiographs_by_study

NAMESPACE = uuid.UUID("6f3c1a52-8a0e-5d5b-9a86-3a1f0c6f7e11")
OBJECT_FORMAT = int(re.search(r"kObjectFormat = (\d+)", (SOURCE / "dicom_node/report/result_object.h").read_text())[1])


def derived(kind, source="", task="", model_version="", revision=""):
    return f"2.25.{uuid.uuid5(NAMESPACE, chr(10).join(['skelex-uid-1', kind, source, task, model_version, revision])).int}"


def version(record):
    return f"{record['model']}@{record['digest'][:15]}"


def models(findings):
    return hashlib.sha256("\n".join(sorted({f"{f['task']}={version(f)}" for f in findings})).encode()).hexdigest()


def overlay_version(findings, disclaimer="AI result - not for clinical use"):
    text = f"format={OBJECT_FORMAT}\ndisclaimer={disclaimer}\nscale=0.1\n"
    for record in findings:
        task = next(t for t in TASKS if t["name"] == record["task"])
        doubtful = task.get("doubtful", 0 if task["output"] == "softmax" else 0.5)
        text += f"{task['name']}={version(record)} {doubtful} {task.get('certain', 0.5)}\n"
    map_version = version(next(f for f in findings if "map" in f))
    return f"{map_version}+{hashlib.sha256(text.encode()).hexdigest()[:16]}"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    files = next(s for s in radiographs_by_study() if len(s) > 2)
    folder = tmp_path_factory.mktemp("uids")
    study = make(folder, files, random.Random(11), revision=3)
    return folder, files, study


OF_AN_IMAGE = [f for f in FORMS if "per-image" in f or f in ("sc", "sc-rle", "sc-jpeg", "seg", "gsps")]


@pytest.mark.parametrize("form", [f for f in FORMS if f not in OF_AN_IMAGE])
def test_objects_of_a_study(results, form):
    folder, files, study = results
    made = pydicom.dcmread(folder / f"{form}.dcm", stop_before_pixels=True)
    of_all = models([f for image in study["images"] for f in image.get("findings", [])])
    assert made.SOPInstanceUID == derived(form, made.StudyInstanceUID, "", of_all, "3")
    assert made.SeriesInstanceUID == derived(f"{form}-series", made.StudyInstanceUID, "", of_all, "3")


@pytest.mark.parametrize("form", OF_AN_IMAGE)
def test_objects_of_an_image(results, form):
    folder, files, study = results
    for number, image in enumerate(study["images"], 1):
        findings = image.get("findings", [])
        if not findings:
            continue
        source = pydicom.dcmread(image["file"], stop_before_pixels=True).SOPInstanceUID
        made = pydicom.dcmread(folder / f"{form}-{number}.dcm", stop_before_pixels=True)
        task, model_version = "", models(findings)
        if form[:2] == "sc":
            task, model_version = "anomaly", overlay_version(findings)
        elif form == "seg":
            anomaly = next(f for f in findings if "map" in f)
            task, model_version = "anomaly", f"{version(anomaly)} format={OBJECT_FORMAT} scale=0.1"
        # The image's own version, 1: the study's third report makes none of these again.
        assert made.SOPInstanceUID == derived(form, source, task, model_version, "1")
        assert made.SeriesInstanceUID == derived(f"{form}-series", source, task, model_version, "1")


def test_what_stays_the_same_from_run_to_run(results):
    folder, files, study = results
    report = pydicom.dcmread(folder / "sr.dcm")
    text = str(report)
    for image in study["images"]:
        source = pydicom.dcmread(image["file"], stop_before_pixels=True).SOPInstanceUID
        for record in image.get("findings", []):
            assert derived("tracking", source, record["task"]) in text, "no model, no revision"
            assert derived("device", NODE_UID, "", version(record)) in text, "a retrained model is another device"
    assert report.InstanceCreatorUID == NODE_UID
