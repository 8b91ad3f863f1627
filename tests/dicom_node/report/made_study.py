"""Studies with findings drawn at random over real radiographs, and the objects that report_tool makes of them."""
import csv
import hashlib
import json
import os
import pathlib
import re
import subprocess

SOURCE = pathlib.Path(os.environ["NODE_SOURCE_DIR"]).resolve()
TOOL = pathlib.Path(os.environ["NODE_BIN"]) / "report_tool"
DATA = SOURCE / "tests" / "data"
FORMS = re.findall(r'"([a-z0-9-]+)"', (SOURCE / "config/result_forms.h").read_text().split("kResultForms{")[1].split("}")[0])
NODE_UID = "2.25.134532011558794181833216965492102009321"

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


def make(folder, files, rng, quiet=False, load=True, **more):
    """Writes each form of the study's results into `folder`: FORM.dcm of a study, FORM-N.dcm of images."""
    images = []
    for index, file in enumerate(files):
        image = {"file": str(file), "predicted_at_ms": 1793607500000 + index}
        if index == 2:
            image["reason"] = "no rule for DX, FOOT"  # One image is not analysed.
        else:
            image["findings"] = [finding(rng, task) for task in TASKS]
            image["load"] = load  # What was done to its pixels is what the node really does, not what the finding says.
        images.append(image)
    return make_of(folder, {"tasks": TASKS, "forms": FORMS, "images": images, **more}, quiet)


def make_of(folder, study, quiet=False):
    """The same of a study with its tasks, forms and images."""
    study = {"node_uid": NODE_UID, "revision": 1, "closed_at_ms": 1793607600123, **study}
    (folder / "study.json").write_text(json.dumps(study))
    subprocess.run([TOOL, folder / "study.json", folder], check=True, stderr=subprocess.DEVNULL if quiet else None)
    return study
