"""Our report beside highdicom's of the same findings: the same tree, UIDs masked, but for the differences listed here with
their reasons. Two pairs: what highdicom makes here of findings drawn at random (highdicom_results.py), and a report that it
made of a synthetic knee (reference/: dx.dcm is the source, sr_comp.dcm the report).
"""
import os
import pathlib
import random

import pydicom
import pytest

from highdicom_results import make_report, map_of
from made_study import DATA, NODE_UID, TASKS, make, make_of

REFERENCE = pathlib.Path(__file__).parent / "reference"
SEED = int(os.environ.get("NODE_SEED", 1))


def code(items):
    return f'({items[0].CodeValue}, {items[0].CodingSchemeDesignator}, "{items[0].CodeMeaning}")' if items else "-"


def value_of(item):
    kind = item.ValueType
    if kind == "CODE":
        return code(item.ConceptCodeSequence)
    if kind == "NUM":
        measured = item.MeasuredValueSequence[0]
        return f"{float(measured.NumericValue):g} {code(measured.MeasurementUnitsCodeSequence)}"
    if kind == "IMAGE":
        return f"{item.ReferencedSOPSequence[0].ReferencedSOPClassUID.name}, UID"
    if kind == "SCOORD":
        return f"{item.GraphicType} {[round(float(v), 3) for v in item.GraphicData]}"
    if kind == "CONTAINER":
        template = item.get("ContentTemplateSequence")
        return f"{item.ContinuityOfContent} {template[0].TemplateIdentifier if template else '-'}"
    return {"UIDREF": "UID"}.get(kind) or str(item.get({"TEXT": "TextValue", "DATE": "Date", "TIME": "Time"}[kind]))


def tree(item, depth=0):
    """One line an item: depth, relationship, type, concept and value."""
    name = code(item.get("ConceptNameCodeSequence"))
    yield f"{'> ' * depth}{item.get('RelationshipType', 'ROOT')} {item.ValueType} {name} = {value_of(item)}"
    for child in item.get("ContentSequence", []):
        yield from tree(child, depth + 1)


def replace(old, new):
    return lambda line: line.replace(old, new)


def leave_out(*words):
    return lambda line: None if any(word in line for word in words) else line


def mask_value(*words):
    return lambda line: line.split(" = ")[0] if any(word in line for word in words) else line


# What is done to our lines and to theirs before they are compared, and why.
DIFFERENCES = [
    ("DCMTK writes that the items stand apart, highdicom that they flow: a matter of layout, both are allowed",
     replace("SEPARATE", "*"), replace("CONTINUOUS", "*")),
    ("DCMTK names the template of the image library too; highdicom only those of root and groups", replace(" 1600", " -"), None),
    ("TID 1601 gives its images no concept name, nor TID 320 the image of a region; highdicom writes Source",
     None, replace('IMAGE (260753009, SCT, "Source")', "IMAGE -")),
    ("TID 320 names the region by CID 7552, Source of Measurement; highdicom writes Source",
     None, replace('SCOORD (260753009, SCT, "Source")', 'SCOORD (121112, DCM, "Source of Measurement")')),
    ("More of TID 1602 and 1603: dates, region, side and view of each image, which highdicom leaves out",
     leave_out("Target Region", "Image Laterality", "Study Date", "Study Time", "Content Date", "Content Time", "Acquisition Date",
               "Acquisition Time", "Image View"), None),
    ("The meanings that UCUM has for the units; highdicom writes Pixels and mm",
     None, lambda line: line.replace('"Pixels"', '"pixels"').replace('"mm"', '"millimeter"')),
]
REFERENCE_DIFFERENCES = [d for d in DIFFERENCES if not d[0].startswith("TID 320")] + [  # It has no such region.
    ("Words of the installation: the reference's model, version and thresholds are other ones, and so are its tracking identifiers",
     mask_value("Tracking Identifier", "Algorithm Version", "Device Observer Name", "Device Observer Serial"),
     mask_value("Tracking Identifier", "Algorithm Version", "Device Observer Name", "Device Observer Serial")),
    ("A class counts as certain or doubtful, by the thresholds", leave_out("SKX-LEVEL"), None),
    ("What a reader must know: body part's evidence, calibration", leave_out("SKX-NOTE"), None),
    ("Where the map is highest", leave_out("SKX-ANOM-PEAK", "> > > > INFERRED FROM", "> > > > > SELECTED FROM"), None),
    ("Thresholds and how the map was made: more parameters than two",
     leave_out("Algorithm Parameters"), leave_out("Algorithm Parameters")),
    ("The disclaimer and the overall result of the study (TID 1500 row 12)",
     leave_out("Qualitative Evaluations", '"Comment"', "SKX-OVERALL"), None),
]


def compare(ours, theirs, differences):
    mine, other = list(tree(ours)), list(tree(theirs))
    for reason, of_ours, of_theirs in differences:
        before = (list(mine), list(other))
        if of_ours:
            mine = [line for line in map(of_ours, mine) if line is not None]
        if of_theirs:
            other = [line for line in map(of_theirs, other) if line is not None]
        assert before != (mine, other), f"no such difference any more: {reason}"
    assert mine == other


@pytest.mark.parametrize("file", ["03_1_femur_ap.dcm", "07_1_shoulder_ap.dcm", "01_1_hand_pa.dcm", "12_1_hip_ap.dcm"])
def test_the_tree_is_that_of_highdicom_from_the_same_findings(tmp_path, file):
    source_file = DATA / "radiographs" / file
    study = make(tmp_path, [source_file], random.Random(SEED), load=False)
    source = pydicom.dcmread(source_file, stop_before_pixels=True)
    findings = study["images"][0]["findings"]
    planted = next(f["map"] for f in findings if "map" in f)
    theirs = make_report(source, TASKS, findings, NODE_UID, pydicom.dcmread(tmp_path / "sc-1.dcm"), map_of(planted))
    compare(pydicom.dcmread(tmp_path / "sr.dcm"), theirs, DIFFERENCES)


def test_the_tree_is_that_of_the_reference(tmp_path):
    tasks = [
        {"name": "kneeoa", "output": "softmax", "labels": ["Kellgren-Lawrence grade 3"], "code": ["SKX-KL", "99SKELEX", "Kellgren-Lawrence grade"],
         "label_codes": [["SKX-KL3", "99SKELEX", "Kellgren-Lawrence grade 3"]]},
        {"name": "fracture", "output": "sigmoid", "labels": ["Fracture"], "code": ["125605004", "SCT", "Fracture of bone"]},
        {"name": "anomaly", "output": "anomaly_map", "code": ["263654008", "SCT", "Abnormal"]},
    ]
    findings = [{"task": task["name"], "model": "skelex-" + task["name"], "digest": "sha256:0f1e2d3c" + "0" * 56} for task in tasks]
    findings[0]["scores"] = [["Kellgren-Lawrence grade 3", 0.8132, "1"]]
    findings[1]["scores"] = [["Fracture", 0.0417, "1"]]
    findings[2]["map"] = {"mode": "partition", "passes": 10, "seed": 1, "peak": 0.1, "y": 110, "x": 120, "score": 0.0231}
    make_of(tmp_path, {"tasks": tasks, "forms": ["sc", "sr"], "images": [
        {"file": str(REFERENCE / "dx.dcm"), "predicted_at_ms": 1793607500000, "findings": findings}]})
    looked_for = ("One code for what was looked for and what was said of it; the reference looks for osteoarthritis and says a grade",
                  None, replace('"Finding") = (239873007, SCT, "Osteoarthritis of knee")', '"Finding") = (SKX-KL, 99SKELEX, "Kellgren-Lawrence grade")'))
    compare(pydicom.dcmread(tmp_path / "sr.dcm"), pydicom.dcmread(REFERENCE / "sr_comp.dcm"), REFERENCE_DIFFERENCES + [looked_for])


def test_a_tree_that_differs_is_noticed(tmp_path):
    source_file = DATA / "radiographs/03_1_femur_ap.dcm"
    make(tmp_path, [source_file], random.Random(SEED), load=False)
    ours, other = (pydicom.dcmread(tmp_path / "sr.dcm") for _ in range(2))
    del other.ContentSequence[-1].ContentSequence[0]
    with pytest.raises(AssertionError):
        compare(ours, other, [])
