"""The examples of config/ as they stand: every model of each as a tiny stand-in, every task found in the results.

The stand-ins have random weights and the right numbers of logits; all else, labels, codes, slices, limits and routes, is
the file's own.
"""
import json
import pathlib
import re
import shutil
import subprocess

import highdicom
import numpy
import pydicom
import pytest
import torch
import transformers
import yaml

from harness import BIN, SOURCE, Pacs, free_port, small_image

TINY = dict(hidden_size=12, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=8)
DECODER = dict(decoder_hidden_size=8, decoder_num_hidden_layers=1, decoder_num_attention_heads=2,
               decoder_intermediate_size=16)
PUBLISHED_LOGITS = {"kneeoa": 5, "pediatricfx_ao": 4, "btxrd_subtype": 9, "multihead": 38}  # Of all others: 1.

# An image of each kind, the rule that it matches, and the tasks of the route that are not meant for it.
CHILD_ONLY = {"bone-age", "fracture-child", "implant-child", "fracture-child-ao"}
AO = {"fracture-child", "implant-child", "fracture-child-ao"}
TUMOUR = {"tumour", "tumour-malignant", "tumour-subtype"}
IMAGES = {
    "node.example.yaml": {
        "hand of a child": (dict(BodyPartExamined="HAND", ViewPosition="PA", PatientAge="009Y"), "hand-and-wrist", set()),
        "hand": (dict(BodyPartExamined="HAND", ViewPosition="PA", PatientAge="040Y"), "hand-and-wrist", CHILD_ONLY),
        "hand, oblique": (dict(BodyPartExamined="HAND", ViewPosition="LLO", PatientAge="009Y"), "hand-and-wrist",
                          {"bone-age"}),
        "knee": (dict(BodyPartExamined="KNEE", ViewPosition="AP", ImageLaterality="R"), "one-knee", set()),
        "both knees": (dict(BodyPartExamined="KNEE", ViewPosition="AP", ImageLaterality="B"), "leg", set()),
        "foot, lateral": (dict(BodyPartExamined="FOOT", ViewPosition="LL"), "foot", set()),
        "foot": (dict(BodyPartExamined="FOOT", ViewPosition="AP"), "foot", {"pes-planus"}),
        "shoulder": (dict(BodyPartExamined="SHOULDER"), "arm", set()),
    },
    "skelex.example.yaml": {
        "hand of a child": (dict(BodyPartExamined="HAND", ViewPosition="PA", PatientAge="009Y"), "hand", set()),
        "hand of nobody knows what age": (dict(BodyPartExamined="HAND", ViewPosition="PA"), "hand", {"bone-age"}),
        "both hands of a child": (dict(BodyPartExamined="HAND", ViewPosition="PA", PatientAge="009Y", ImageLaterality="B"), "hand", {"bone-age"}),
        "both feet, lateral": (dict(BodyPartExamined="FOOT", ViewPosition="LL", ImageLaterality="B"), "foot", {"pes-planus"}),
        "both wrists of a child": (dict(BodyPartExamined="WRIST", ViewPosition="AP", PatientAge="009Y", ImageLaterality="B"), "wrist", AO),
        "hand of 19 years": (dict(BodyPartExamined="HAND", ViewPosition="PA", PatientAge="019Y"), "hand", {"bone-age"}),
        "finger of a child": (dict(BodyPartExamined="FINGER", ViewPosition="PA", PatientAge="009Y"), "hand", {"bone-age"}),
        "wrist of a child": (dict(BodyPartExamined="WRIST", ViewPosition="AP", PatientAge="009Y"), "wrist", set()),
        "wrist": (dict(BodyPartExamined="WRIST", ViewPosition="AP", PatientAge="040Y"), "wrist", AO),
        "knee": (dict(BodyPartExamined="KNEE", ViewPosition="AP", Laterality="R", PatientAge="060Y"), "knee", set()),
        "both knees": (dict(BodyPartExamined="KNEE", ViewPosition="AP", ImageLaterality="B", PatientAge="060Y"), "knee",
                       {"knee-oa"}),
        "both knees, wide": (dict(BodyPartExamined="KNEE", ViewPosition="AP", ImageLaterality="B", PatientAge="060Y",
                                  PatientOrientation=["L", "F"], Columns=192), "knee", set()),
        "both knees, wide, from where unknown": (dict(BodyPartExamined="KNEE", ViewPosition="AP", ImageLaterality="B",
                                                      PatientAge="060Y", Columns=192), "knee", {"knee-oa"}),
        "knee, side unknown": (dict(BodyPartExamined="KNEE", ViewPosition="AP", PatientAge="060Y"), "knee", {"knee-oa"}),
        "foot, lateral": (dict(BodyPartExamined="FOOT", ViewPosition="LL"), "foot", set()),
        "foot": (dict(BodyPartExamined="FOOT", ViewPosition="AP"), "foot", {"pes-planus"}),
        "toe, lateral": (dict(BodyPartExamined="TOE", ViewPosition="LL"), "foot", {"pes-planus"}),
        "shoulder": (dict(BodyPartExamined="SHOULDER"), "arm", set()),
        "clavicle": (dict(BodyPartExamined="CLAVICLE"), "arm", {"fracture", "implant", *TUMOUR}),
        "hip": (dict(BodyPartExamined="HIP"), "leg", set()),
        "pelvis": (dict(BodyPartExamined="PELVIS"), "leg", {"fracture", "implant"}),
        "arm": (dict(BodyPartExamined="UPPERLIMB"), "arm", set()),
        "leg": (dict(BodyPartExamined="LOWER EXTREMITY"), "leg", set()),
        "some limb": (dict(BodyPartExamined="EXTREMITY"), "limb", set()),
        "some joint": (dict(BodyPartExamined="JOINT"), "limb", set()),
    },
}


REGIONS = {"patella", "distal femur", "proximal tibia", "left", "right", "abnormal bone lesion"}


def detector(labels):
    """A YOLOS that is sure of what it finds, whatever it is."""
    sizes = {key: TINY[key] for key in ("hidden_size", "num_attention_heads", "intermediate_size")}
    config = transformers.YolosConfig(**sizes, num_hidden_layers=2, image_size=[32, 48], patch_size=16,
                                      num_detection_tokens=10, id2label=dict(enumerate(labels)),
                                      label2id={label: i for i, label in enumerate(labels)})
    model = transformers.YolosForObjectDetection(config)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)  # Of which the test needs that it finds bones.
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=2 * parameter.shape[1] ** -0.5)
            elif "norm" not in name:
                parameter.normal_()
        model.class_labels_classifier.layers[2].weight.mul_(3)
    return model


class Example:
    """One file of config/."""

    def __init__(self, name):
        self.path = SOURCE / "config" / name
        self.config = yaml.safe_load(self.path.read_text())
        self.tasks = self.config["tasks"]
        self.images = IMAGES[name]
        self.waiting = [task for task, keys in self.tasks.items() if "when" in keys]

    def published(self, model):
        """Its name in the published work: that of its folder."""
        return pathlib.Path(self.config["models"][model]["path"]).name

    def logits(self, model):
        return PUBLISHED_LOGITS.get(self.published(model), 1)

    def labels_of(self, model):
        """id2label of a stand-in: what the tasks on it say, where they say it."""
        labels = [f"class {i}" for i in range(self.logits(model))]
        for task in self.tasks.values():
            if task["model"] == model and "labels" in task:
                first = task.get("slice", {}).get("first", 0)
                labels[first:first + len(task["labels"])] = task["labels"]
        assert len(labels) == self.logits(model), f"{model}: a task has another number of labels than the published head"
        return labels

    def run(self, command, *arguments):
        return subprocess.run([BIN / "skelex-node", command, "--config", self.path, *map(str, arguments)],
                              capture_output=True, text=True)


EXAMPLES = {name: Example(name) for name in IMAGES}


@pytest.fixture(scope="module", params=EXAMPLES)
def example(request):
    return EXAMPLES[request.param]


def of_each(names):
    """parametrize() over (example, name): `names` of an Example."""
    return pytest.mark.parametrize("example, name", [(file, name) for file, one in EXAMPLES.items() for name in names(one)],
                                   indirect=["example"])


ONLY_NODE_EXAMPLE = pytest.mark.parametrize("example", ["node.example.yaml"], indirect=True)


def save_stand_in(example, name, folder, size=TINY, decoder=DECODER):
    """The folder of a model, with the files, keys and shapes of the published one but for its size."""
    if example.published(name) == "SKELEX":
        model = transformers.ViTMAEForPreTraining(transformers.ViTMAEConfig(**size, **decoder))
    elif name == "bones":
        model = detector(sorted(REGIONS))
    else:
        labels = example.labels_of(name)
        config = transformers.ViTConfig(**size, id2label=dict(enumerate(labels)),
                                        label2id={label: i for i, label in enumerate(labels)})
        model = transformers.ViTForImageClassification(config)
        with torch.no_grad():
            model.classifier.weight.normal_()
    model.save_pretrained(folder)
    processor = transformers.ViTImageProcessorPil(size={"height": size["image_size"], "width": size["image_size"]})
    if name == "bones":
        processor = transformers.YolosImageProcessorPil(size={"shortest_edge": 32, "longest_edge": 64})
    processor.save_pretrained(folder)


@pytest.fixture(scope="module")
def models(example, tmp_path_factory):
    """--set for each model's path, and for the calibration, which only a site's own images make."""
    torch.manual_seed(20261124)
    folder = tmp_path_factory.mktemp("models")
    settings = ["--set", "tasks.anomaly.calibration="]
    for name in example.waiting:  # Asked whatever a stand-in finds.
        settings += ["--set", f"tasks.{name}.when.at_least=0"]
    for name in example.config["models"]:
        save_stand_in(example, name, folder / name)
        settings += ["--set", f"models.{name}.path={folder / name}"]
    return settings


def write_image(path, attributes, seed, pixels=None):
    """Random grey, 96 high and `Columns` wide, or `pixels`; says no more of itself than `attributes`."""
    image = small_image(seed=seed)
    for keyword in ("ViewPosition", "ImageLaterality", "Laterality", "PatientAge", "PatientBirthDate", "PatientOrientation"):
        setattr(image, keyword, "")
    for keyword, value in attributes.items():
        setattr(image, keyword, value)
    if pixels is None:
        pixels = numpy.random.default_rng(seed).integers(0, 256, (96, image.Columns), dtype=numpy.uint8)
    image.Rows, image.Columns = pixels.shape
    image.PixelData = pixels.tobytes()
    image["PixelData"].VR = "OB"
    image.save_as(path, enforce_file_format=True)
    return pixels


def task_of(name):
    """The file's task; of one that reads half a film the one that it reads it for."""
    return re.sub(" (right|left) half$", "", name)


@pytest.fixture(scope="module")
def predicted(example, models, tmp_path_factory):
    """Name of image -> (its line, its report)."""
    folder = tmp_path_factory.mktemp("images")
    for number, (name, (attributes, _, _)) in enumerate(example.images.items()):
        write_image(folder / f"{name}.dcm", attributes, number)
    done = example.run("predict", *models, "--out", folder / "out", *[folder / f"{name}.dcm" for name in example.images])
    assert done.returncode == 0, done.stderr + done.stdout
    lines = {line["path"]: line for line in map(json.loads, done.stdout.splitlines())}
    return {name: (lines[str(folder / f"{name}.dcm")], pydicom.dcmread(lines[str(folder / f"{name}.dcm")]["outputs"]["sr"]))
            for name in example.images}


def items(content, code):
    """All content items of that concept, at any depth."""
    for item in content:
        if "ConceptNameCodeSequence" in item and item.ConceptNameCodeSequence[0].CodeValue == code:
            yield item
        yield from items(item.get("ContentSequence", []), code)


def groups_of(report):
    """Task -> its measurement group, by the tracking identifier's first word; those of its regions stand behind it."""
    groups = {}
    for group in items(report.ContentSequence, "125007"):
        groups.setdefault(next(items(group.ContentSequence, "112039")).TextValue.split()[0], group.ContentSequence)
    return groups


def code_of(text):
    return tuple(part.strip() for part in text.split("|")[:2])


def value_codes(content, code):
    return [(item.ConceptCodeSequence[0].CodeValue, item.ConceptCodeSequence[0].CodingSchemeDesignator)
            for item in items(content, code)]


@of_each(lambda one: one.images)
def test_every_task_of_the_route_is_in_line_and_report_or_said_to_be_out_of_scope(example, name, predicted):
    _, rule, outside = example.images[name]
    line, report = predicted[name]
    route = next(route for route in example.config["routes"] if route["name"] == rule)
    assert line["state"] == "analysed" and line["rule"] == rule
    expected = set(route["tasks"]) - outside
    found = {task_of(finding["task"]) for finding in line["findings"]} | ({"anomaly"} if "anomaly" in line else set())
    assert found == expected
    assert set(groups_of(report)) == expected
    notes = {item.TextValue for item in items(report.ContentSequence, "SKX-NOTE")}
    assert bool(outside) == ("out of scope: " in line.get("reason", ""))
    for task in outside:
        assert f"{task}: " in line["reason"]
        assert any(note.startswith("out of scope: ") and f"{task}: " in note for note in notes)


@pytest.mark.parametrize("example", ["skelex.example.yaml"], indirect=True)
def test_every_part_of_a_limb_has_a_route(example):
    """Whatever the table knows that shows nothing but limbs and what joins them; JOINT may be of the spine."""
    limbs = {"hand", "forearm", "upper arm", "shoulder", "pelvis", "hip", "thigh", "knee", "leg", "foot"}
    table = yaml.safe_load((SOURCE / "config/body_parts.yaml").read_text())
    terms = {term for term, part in table.items() if set(part.get("groups", [])) <= limbs} | {"JOINT", "SCJOINT"}
    routed = [route["match"]["body_part"] for route in example.config["routes"]]
    routed = [term for parts in routed for term in ([parts] if isinstance(parts, str) else parts)]
    assert set(routed) == terms and len(routed) == len(set(routed))


@pytest.mark.parametrize("example", ["skelex.example.yaml"], indirect=True)
def test_every_task_says_which_body_parts_it_is_for(example):
    """Or reads every one, as the file says, or waits for one that does; what is named is on some route to it."""
    for name, task in example.tasks.items():
        parts = task.get("body_parts", [])
        if name in ("anomaly", "region") or "when" in task and not parts:
            assert not parts
            continue
        routed = set()
        for route in example.config["routes"]:
            if name in route["tasks"]:
                of = route["match"]["body_part"]
                routed |= {of} if isinstance(of, str) else set(of)
        assert parts and set(parts) <= routed and len(parts) == len(set(parts)), name


def test_a_task_that_is_not_asked_says_why_in_line_and_report(example, models, tmp_path):
    small_image(seed=1).save_as(tmp_path / "a.dcm", enforce_file_format=True)
    never = [argument.replace("when.at_least=0", "when.at_least=1") for argument in models]
    done = example.run("predict", *never, "--out", tmp_path / "out", tmp_path / "a.dcm")
    assert done.returncode == 0, done.stderr + done.stdout
    line = json.loads(done.stdout)
    report = pydicom.dcmread(line["outputs"]["sr"])
    found = {finding["task"]: finding for finding in line["findings"]}
    reasons = [item.TextValue for item in items(report.ContentSequence, "SKX-NOTASKED")]
    waiting = [task for task in example.waiting if task in found]
    assert {"tumour-malignant", "tumour-subtype"} == set(waiting)
    for task in waiting:
        gate = example.tasks[task]["when"]["task"]
        why = r"tumour 0\.[0-9]+ below 1" if gate == "tumour" else f"{gate} was not asked"
        assert re.fullmatch(why, found[task]["not_asked"]) and "label" not in found[task]
        assert task not in groups_of(report)
        assert any(f"{task} was not asked: {gate}" in reason for reason in reasons)


def test_every_task_of_the_file_is_asked_of_some_image(example, predicted):
    asked = {task_of(finding["task"]) for line, _ in predicted.values() for finding in line["findings"]}
    assert asked | {"anomaly"} == set(example.tasks)


@pytest.mark.parametrize("example", ["skelex.example.yaml"], indirect=True)
def test_a_film_of_both_knees_is_read_knee_by_knee(example, models, predicted, tmp_path):
    attributes = example.images["both knees, wide"][0]
    pixels = write_image(tmp_path / "both.dcm", attributes, 7)
    for side, half in (("R", pixels[:, :96]), ("L", pixels[:, 96:])):  # Each from black to white, as the whole.
        write_image(tmp_path / f"{side}.dcm", {**attributes, "ImageLaterality": side}, 7, numpy.ascontiguousarray(half))
    done = example.run("predict", *models, "--out", tmp_path / "out", *[tmp_path / f"{n}.dcm" for n in ("both", "R", "L")])
    assert done.returncode == 0, done.stderr + done.stdout
    both, right, left = map(json.loads, done.stdout.splitlines())
    assert both["reason"].startswith("split: knee-oa read each half of the film by itself")
    [found_r, found_l] = [f for f in both["findings"] if task_of(f["task"]) == "knee-oa"]
    assert (found_r["task"], found_l["task"]) == ("knee-oa right half", "knee-oa left half")
    assert (found_r["side"], found_r["box"]) == ("R", [0, 0, 96, 96]) and (found_l["side"], found_l["box"]) == ("L", [96, 0, 192, 96])
    for found, alone in ((found_r, right), (found_l, left)):
        [alone] = [f for f in alone["findings"] if f["task"] == "knee-oa"]
        assert found["logits"] == pytest.approx(alone["logits"], abs=1e-4) and "side" not in alone
    assert found_r["logits"] != pytest.approx(found_l["logits"], abs=1e-3)

    file = both["outputs"]["sr"]
    out = subprocess.run(["dciodvfy", "-new", file], capture_output=True, text=True)
    assert not [line for line in (out.stdout + out.stderr).splitlines() if line.startswith("Error")]
    sides = {}
    for group in highdicom.sr.srread(file).content.get_planar_roi_measurement_groups():
        if group.tracking_identifier.startswith("knee-oa "):
            content = group[0].ContentSequence
            [outline] = items(content, "111030")
            sides[value_codes(content, "272741003")[0]] = numpy.reshape(outline.GraphicData, (-1, 2))
            assert any(item.TextValue.startswith("split: ") for item in items(content, "SKX-NOTE"))
    assert {side: (*points.min(0), *points.max(0)) for side, points in sides.items()} == {
        ("24028007", "SCT"): (0, 0, 96, 96), ("7771000", "SCT"): (96, 0, 192, 96)}


@of_each(lambda one: [name for name in one.tasks if name != "anomaly"])
def test_a_task_says_its_labels_values_and_codes(example, name, predicted):
    task, config = name, example.tasks[name]
    line, report = next((line, report) for line, report in predicted.values()
                        if any(finding["task"] == task for finding in line["findings"]))
    finding = next(finding for finding in line["findings"] if finding["task"] == task)
    content = groups_of(report)[task]
    if config["output"] == "regions":
        return check_regions(finding, content, config)
    labels = config.get("labels", [f"class {i}" for i in range(example.logits(config["model"]))])
    assert len(finding["logits"]) == len(labels)
    assert value_codes(content, "121071")[0] == code_of(config["code"])
    if config["output"] == "regression":
        assert finding["unit"] == config["unit"] and finding["label"] == labels[0]
        assert finding["value"] == pytest.approx(finding["logits"][0] * config.get("scale", 1) + config.get("offset", 0), rel=1e-5)
        [number] = items(content, code_of(config["code"])[0])
        measured = number.MeasuredValueSequence[0]
        assert float(measured.NumericValue) == pytest.approx(finding["value"], abs=1e-3)
        assert measured.MeasurementUnitsCodeSequence[0].CodeValue == config["unit"]
        return
    assert list(finding["probabilities"]) == labels
    assert finding["label"] == max(labels, key=finding["probabilities"].get)
    logits = torch.tensor(finding["logits"], dtype=torch.float64)
    expected = logits.softmax(0) if config["output"] == "softmax" else logits.sigmoid()
    assert list(finding["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-6)

    numbers = list(items(content, "SKX-PROB"))
    assert [float(number.MeasuredValueSequence[0].NumericValue) for number in numbers] == \
        pytest.approx(list(finding["probabilities"].values()), abs=1e-4)
    if "label_codes" in config:
        codes = [code_of(code) for code in config["label_codes"]]
        assert [value_codes(number.ContentSequence, "121071")[0] for number in numbers] == codes
        if finding["level"] == "negative":
            assert value_codes(content, code_of(config["code"])[0]) == [("373068000", "SCT")]
        else:
            assert value_codes(content, code_of(config["code"])[0]) == [codes[labels.index(finding["label"])]]
    elif config["output"] == "sigmoid":
        decision = {"certain": "52101004", "doubtful": "373068000", "negative": "272519000"}[finding["level"]]
        assert value_codes(content, code_of(config["code"])[0]) == [(decision, "SCT")]


def check_regions(finding, content, config):
    """Each probability is the greatest of its region's, which are on the whole image and on every box."""
    regions = finding["regions"]
    assert [region["number"] for region in regions] == list(range(len(regions))) and regions[0]["label"] == "whole image"
    assert len(regions) > 1 or finding["regions_note"].startswith("no regions found, whole image only")
    assert len(finding["logits"]) == 38 and len(finding["probabilities"]) == 8
    for label, value in finding["probabilities"].items():
        assert value == max(region["probabilities"][label] for region in regions)
        assert value == regions[finding["deciding_regions"][label]]["probabilities"][label]
    for region in regions[1:]:
        left, top, right, bottom = region["box"]
        assert 0 <= left < right <= 96 and 0 <= top < bottom <= 96 and region["detector_score"] >= 0.25
        assert region["label"] in REGIONS - {"left", "right", "abnormal bone lesion"}
    numbers = [number for number in items(content, "SKX-PROB")][:8]
    assert [float(number.MeasuredValueSequence[0].NumericValue) for number in numbers] == \
        pytest.approx(list(finding["probabilities"].values()), abs=1e-4)


def test_check_loads_every_model(example, models, tmp_path):
    with Pacs() as pacs:
        done = example.run("check", *models, "--set", f"storage.directory={tmp_path / 'store'}", "--set",
                   "storage.free_bytes_min=16 MiB", "--set", "peers.pacs.host=127.0.0.1", "--set",
                   f"peers.pacs.port={pacs.port}", "--set", "peers.pacs.commitment=false")  # The stand-in has none.
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    placeholders = ("FAIL  http.token_file ", "FAIL  messages ", "FAIL  dicomweb ")  # Of a site that is not here.
    assert all(line.startswith(placeholders) for line in failed), done.stdout + done.stderr
    assert done.returncode == (1 if failed else 0), done.stderr
    for name in example.config["models"]:
        assert f"ok    model {name}: " in done.stdout
    assert "no route uses it" not in done.stdout and "no task uses it" not in done.stdout
    assert "has no preprocessor_config.json" not in done.stdout


@ONLY_NODE_EXAMPLE
def test_check_says_what_is_odd_about_a_directory(example, models, tmp_path):
    settings = []
    for name in ("mura", "bones"):
        source = next(setting for setting in models if setting.startswith(f"models.{name}.path=")).split("=", 1)[1]
        shutil.copytree(source, tmp_path / name)
        settings += ["--set", f"models.{name}.path={tmp_path / name}"]
    (tmp_path / "mura/preprocessor_config.json").unlink()
    config = json.loads((tmp_path / "bones/config.json").read_text())
    number = next(key for key, label in config["id2label"].items() if label == "patella")
    config["id2label"][number] = "Knee cap"
    (tmp_path / "bones/config.json").write_text(json.dumps(config))
    done = example.run("check", *models, *settings, "--set", f"storage.directory={tmp_path / 'store'}", "--set", "peers.pacs.host=127.0.0.1", "--set",
               f"peers.pacs.port={free_port()}")
    assert "note  model mura has no preprocessor_config.json" in done.stdout
    assert done.stdout.count("has no preprocessor_config.json") == 1
    assert "note  model bones has classes that are none of the 29 bones of the region head, nor left, right or lesion: 'Knee cap'." in done.stdout
    assert "id2label of config.json" in done.stdout


@ONLY_NODE_EXAMPLE
@pytest.mark.parametrize("setting, expected", [
    ("tasks.knee-oa.labels=[KL 0, KL 2, KL 1, KL 3, KL 4]", "'KL 2' stands for logit 1"),
    ("tasks.behaviour.slice={first: 2, count: 4}", "'malignant' stands for logit 2"),
    ("tasks.fracture-kind.slice={first: 36, count: 3}", "the checkpoint of model multihead has 38"),
    ("tasks.bone-age.labels=[years, months]", "2 labels, but the checkpoint of model boneage has 1 logits"),
])
def test_a_task_that_does_not_fit_its_checkpoint_is_named_with_its_line(setting, expected, example, models):
    task = setting.split(".")[1]
    lines = example.path.read_text().splitlines()
    line = lines.index(next(l for l in lines if l.startswith(f"  {task}:"))) + 1
    done = example.run("models", *models, "--set", setting)
    assert done.returncode != 0
    assert f"node.example.yaml:{line}: tasks.{task}: " in done.stderr and expected in done.stderr
