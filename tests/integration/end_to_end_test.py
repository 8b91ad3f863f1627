"""The main job on real radiographs: C-STORE in, SR and SC out, validated by tools that are not ours."""
import collections
import pathlib
import re
import subprocess
import sys

import highdicom
import numpy as np
import pydicom
import pytest
import yaml
from PIL import Image
from pydicom.pixels import apply_modality_lut, apply_voi_lut

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "dicom_node/report"))
import judges
from harness import DEMO, RADIOGRAPHS, SOURCE, Node, Pacs, fresh_uid, modality, radiograph, send, small_image, wait_until


@pytest.fixture(scope="module")
def delivered(tmp_path_factory):
    """(node, PACS) after all committed radiographs went through."""
    directory = tmp_path_factory.mktemp("node")
    with Pacs() as pacs, Node(directory, pacs_port=pacs.port) as node:
        modality(node, RADIOGRAPHS, associations=2)
        wait_until(node.at_rest, "every study at an end", 240)
        yield node, pacs


@pytest.fixture(scope="module")
def sources():
    return {str(d.SOPInstanceUID): d for d in
            (pydicom.dcmread(p, stop_before_pixels=True) for p in sorted(RADIOGRAPHS.rglob("*.dcm")))}


def test_every_radiograph_has_one_overlay_and_a_place_in_one_report(delivered, sources):
    node, pacs = delivered
    overlay_sources = [str(d.SourceImageSequence[0].ReferencedSOPInstanceUID) for d in pacs.overlays()]
    assert sorted(overlay_sources) == sorted(sources)
    studies = {str(d.StudyInstanceUID) for d in sources.values()}
    assert sorted(str(d.StudyInstanceUID) for d in pacs.reports()) == sorted(studies)
    evidence = set()
    for report in pacs.reports():
        for study in report.CurrentRequestedProcedureEvidenceSequence:
            for series in study.ReferencedSeriesSequence:
                evidence |= {str(item.ReferencedSOPInstanceUID) for item in series.ReferencedSOPSequence}
    assert evidence == set(sources) | {str(d.SOPInstanceUID) for d in pacs.overlays()}


def likeness(overlay, source):
    """Correlation of an overlay's picture with a radiograph, both made small; the map over it changes colours, not shapes."""
    shown = apply_voi_lut(apply_modality_lut(source.pixel_array, source), source).astype(float)
    if source.PhotometricInterpretation == "MONOCHROME1":
        shown = -shown
    scale = min(1, 2048 / max(shown.shape))
    rows, columns = (max(1, round(side * scale)) for side in shown.shape)
    if overlay.Rows < rows or overlay.Columns < columns:
        return -1  # No place for it.
    picture = overlay.pixel_array[:rows, :columns].astype(float).sum(2)
    small = [np.asarray(Image.fromarray(image.astype(np.float32)).resize((48, 48), Image.Resampling.BOX))
             for image in (picture, shown)]
    return np.corrcoef(small[0].ravel(), small[1].ravel())[0, 1]


def test_an_overlay_shows_the_image_that_it_names(delivered, tmp_path):
    """Among the images of its study, the overlay is most like the one in its Source Image Sequence."""
    _, pacs = delivered
    images = []
    for path in sorted(RADIOGRAPHS.rglob("*.dcm")):
        subprocess.run(["dcmdjpeg", path, tmp_path / path.name], check=True)  # Leaves what is not compressed as it is.
        images.append(pydicom.dcmread(tmp_path / path.name))
    told_apart = 0
    for overlay in pacs.overlays():
        study = [d for d in images if d.StudyInstanceUID == overlay.StudyInstanceUID]
        if len(study) < 2:
            continue
        named = str(overlay.SourceImageSequence[0].ReferencedSOPInstanceUID)
        likest = max(study, key=lambda source: likeness(overlay, source))
        assert str(likest.SOPInstanceUID) == named
        told_apart += 1
    assert told_apart >= 11


def test_overlays_are_delivered_before_the_report_of_their_study(delivered):
    _, pacs = delivered
    seen_report = set()
    for entry in pacs.log:
        study = str(entry.dataset.StudyInstanceUID)
        if entry.dataset.Modality == "SR":
            seen_report.add(study)
        else:
            assert study not in seen_report, f"an overlay of {study} came after its report"


def judge(log, folder):
    """dciodvfy, dcentvfy, dsrdump, highdicom, pydicom; patient and study as in the source; evidence and tree the same.

    What is of a whole study says what its first image received says, and several associations decide which that is:
    16_1 and 16_2 are one study with two descriptions. It has to agree with one of them in everything.
    """
    sources = collections.defaultdict(list)
    for path in sorted(RADIOGRAPHS.rglob("*.dcm")):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        sources[str(header.SOPInstanceUID)].append(path)
        sources[str(header.StudyInstanceUID)].append(path)
    for number, entry in enumerate(log):
        path, dataset = folder / f"{number}.dcm", entry.dataset
        dataset.save_as(path, enforce_file_format=True)
        images = dataset.get("SourceImageSequence") or [None]
        of = dataset.StudyInstanceUID if images[0] is None else images[0].ReferencedSOPInstanceUID
        complaints = []
        for source in sources[str(of)]:
            verdicts = judges.all_of(path, source)
            if not any(verdicts.values()):
                break
            complaints.append(verdicts)
        else:
            pytest.fail(f"{entry.sop_class}: {complaints}")


def test_no_judge_complains_about_any_object(delivered, tmp_path):
    _, pacs = delivered
    judge(pacs.log, tmp_path)
    for number, entry in enumerate(pacs.log):
        if entry.dataset.Modality == "SR":
            assert highdicom.sr.srread(tmp_path / f"{number}.dcm").content.get_image_measurement_groups()


def test_no_judge_complains_about_any_form(tmp_path):
    forms = re.findall(r'"([a-z0-9-]+)"', re.search(r"kResultForms\{([^}]*)", (SOURCE / "config/result_forms.h").read_text())[1])
    with Pacs() as pacs, Node(tmp_path / "node", {"results.forms.pacs": f"[{', '.join(forms)}]"}, pacs.port) as node:
        assert send(node, [radiograph("02_1_foot_ap.dcm"), radiograph("02_2_foot_obl.dcm")]) == [0, 0]
        wait_until(node.at_rest, "at rest", 240)
        judge(pacs.log, tmp_path)
        per_image = [f for f in forms if "per-image" in f or f in ("sc", "sc-rle", "sc-jpeg", "seg", "gsps")]
        without_kos = len(forms) - len(per_image) - 1 + 2 * len(per_image)  # kos: if the demonstration models found something.
        assert len(pacs.log) in (without_kos, without_kos + 1)


def test_the_report_says_what_the_store_says_of_the_right_image(delivered):
    """Numbers of each group, by label and image, against `studies show`."""
    meanings = {}
    tasks = yaml.safe_load(DEMO.read_text())["tasks"]
    for name, task in tasks.items():
        for label, code in zip(task.get("labels", []), task.get("label_codes", [])):
            meanings[name, label] = code.split("|")[2]
    node, pacs = delivered
    compared = 0
    for report in pacs.reports():
        found = {}
        for instance in node.instances(str(report.StudyInstanceUID)):
            found[instance["sop_instance_uid"]] = instance
        for container in report_groups(report):
            image, algorithm, numbers = container
            assert image in found, (image, algorithm)
            for finding in found[image].get("findings", []):
                if finding["task"] not in algorithm:
                    continue
                for label, probability in finding["probabilities"].items():
                    value = numbers[meanings.get((finding["task"], label), "Probability")]
                    assert abs(value - probability) < 1e-4, (label, probability, numbers)
                    compared += 1
    assert compared > 20


def report_groups(report):
    """(source image, tracking identifier, {label: value}) of each measurement group, read with pydicom alone."""
    def walk(item):
        for child in item.get("ContentSequence", []):
            if child.ValueType != "CONTAINER":
                continue
            if child.ConceptNameCodeSequence[0].CodeValue != "125007":
                yield from walk(child)
                continue
            image, tracking, numbers = None, "", {}
            for content in child.ContentSequence:
                name = content.ConceptNameCodeSequence[0].CodeValue if "ConceptNameCodeSequence" in content else ""
                if content.ValueType == "IMAGE" and name == "121112":
                    image = str(content.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
                if content.ValueType == "TEXT" and name == "112039":
                    tracking = content.TextValue
                if content.ValueType == "NUM":
                    label = content.ConceptNameCodeSequence[0].CodeMeaning
                    for part in content.get("ContentSequence", []):
                        label = part.ConceptCodeSequence[0].CodeMeaning if part.ValueType == "CODE" else label
                    numbers[label] = float(content.MeasuredValueSequence[0].NumericValue)
            yield image, tracking, numbers
    yield from walk(report)


def test_the_pages_say_so(delivered):
    node, pacs = delivered
    assert node.get("/healthz")[0] == 200
    assert node.get("/readyz") == (200, "ready\n")
    assert node.get("/")[0] == 200
    status, page = node.get("/api/studies")
    assert status == 200
    assert str(pacs.reports()[0].StudyInstanceUID) in page and "finished" in page
    assert not any(str(r.PatientName) in page or str(r.PatientID) in page for r in pacs.reports())
    assert node.get("/../../etc/passwd")[0] == 404


def test_no_patient_in_the_log(delivered, sources):
    node, _ = delivered
    log = node.log()
    for dataset in sources.values():
        for value in (str(dataset.PatientName), str(dataset.PatientID)):
            assert not value or value not in log


def test_a_late_image_makes_a_report_that_names_the_one_it_replaces(tmp_path):
    study = fresh_uid()
    with Pacs() as pacs, Node(tmp_path, pacs_port=pacs.port) as node:
        first, late = small_image("KNEE", study, 1), small_image("KNEE", study, 2)
        assert send(node, [first]) == [0]
        wait_until(lambda: len(pacs.reports()) == 1, "the first report")
        assert send(node, [late]) == [0]
        wait_until(lambda: len(pacs.reports()) == 2, "the second report")
        wait_until(node.at_rest, "at rest")
        old, new = pacs.reports()
        named = new.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
        assert named.ReferencedSOPInstanceUID == old.SOPInstanceUID
        # The overlay of the first image is not sent again.
        sources = [d.SourceImageSequence[0].ReferencedSOPInstanceUID for d in pacs.overlays()]
        assert sorted(sources) == sorted([first.SOPInstanceUID, late.SOPInstanceUID])


def test_what_is_not_analysed_says_why(tmp_path):
    processing = radiograph("", SOPInstanceUID=fresh_uid(), StudyInstanceUID=fresh_uid())
    processing.SOPClassUID = processing.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1.1"
    processing.PresentationIntentType = "FOR PROCESSING"
    no_pixels = small_image("HAND")
    del no_pixels.PixelData
    short = small_image("HAND")
    short.PixelData = short.PixelData[:1000]
    frames = small_image("HAND")
    frames.NumberOfFrames, frames.PixelData = 2, frames.PixelData * 2
    unknown, abdomen = small_image("GIBBERISH"), small_image("ABDOMEN")
    with Pacs() as pacs, Node(tmp_path, pacs_port=pacs.port) as node:
        cases = [(processing, "PROCESSING"), (no_pixels, "no pixel data"), (short, "shorter"), (frames, "frames"),
                 (unknown, "GIBBERISH"), (abdomen, "ABDOMEN")]
        for dataset, word in cases:
            assert send(node, [dataset]) == [0x0000]
            shown = node.instances(str(dataset.StudyInstanceUID))
            assert shown[0]["state"] == "skipped" and word in shown[0]["reason"], shown
        assert not pacs.log


def test_refusals_of_the_table(tmp_path):
    with Pacs() as pacs, Node(tmp_path, pacs_port=pacs.port) as node:
        known = small_image("KNEE", seed=1)
        assert send(node, [known]) == [0x0000]
        assert send(node, [known]) == [0x0000]  # A resend.
        other = small_image("KNEE", seed=2)
        other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = known.SOPInstanceUID
        assert send(node, [other]) == [0xC001]
        bad = small_image("KNEE")
        bad.StudyInstanceUID = ""
        assert send(node, [bad]) == [0xA900]
        wait_until(node.at_rest, "at rest")
        assert len(pacs.reports()) == 1 and len(pacs.overlays()) == 1


def test_a_destination_that_is_down_waits_and_disturbs_no_other(tmp_path):
    config = tmp_path / "node.yaml"
    text = DEMO.read_text().replace("send_to: [pacs]", "send_to: [pacs, second]")
    text = text.replace("peers:\n", "peers:\n  second: {ae_title: SECOND, host: 127.0.0.1, port: 1}\n")
    text = text.replace("demo/", f"{SOURCE}/config/demo/") if "path: demo/" in text else text
    config.write_text(text)
    second = Pacs(ae_title="SECOND")  # Not started yet.
    with Pacs() as pacs, Node(tmp_path / "n", {"peers.second.port": second.port}, pacs.port, config) as node:
        assert send(node, [small_image("KNEE")]) == [0]
        wait_until(lambda: len(pacs.reports()) == 1, "the report at the PACS that is up")
        assert not second.log and "event=delivery" in node.log()
        with second:
            wait_until(lambda: len(second.reports()) == 1, "the report at the PACS that was down")
            wait_until(node.at_rest, "at rest")
        assert [e.content_sha256 for e in second.log] == [e.content_sha256 for e in pacs.log]


def test_shadow_mode_sends_nothing(tmp_path):
    with Pacs() as pacs, Node(tmp_path, {"routes.0.mode": "shadow"}, pacs.port) as node:
        done = node.run("route", *node.arguments(), "--json", RADIOGRAPHS)
        import json
        shadowed = {line["body_part"] for line in map(json.loads, done.stdout.splitlines()) if line["shadow"]}
        assert shadowed
        image = small_image(sorted(shadowed)[0])
        assert send(node, [image]) == [0]
        wait_until(node.at_rest, "at rest")
        assert node.instances(str(image.StudyInstanceUID))[0]["state"] == "analysed"
        assert not pacs.log
