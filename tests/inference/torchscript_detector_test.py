"""TorchScript detectors with a manifest: every layout, what is refused when it is loaded, and what is not believed.

The detectors are programs of a few lines that answer what the test says, whatever the image.
"""
import hashlib
import json

import numpy
import PIL.Image
import pytest
import torch
import transformers

from parity_test import answers
from region_parity_test import check, classify, head, radiographs

SIDE = 64
CLASSES = ["Patella", "Femur_distal", "left"]
MANIFEST = {"file": "d.torchscript", "layout": "yolov8", "score_min": 0.25, "overlap_max": 0.7, "classes": CLASSES,
            "regions": {"Patella": "patella", "Femur_distal": "distal femur"},
            "input": {"height": SIDE, "width": SIDE, "fit": "letterbox", "padding": 114, "channel_order": "rgb",
                      "resample": 2, "scale": 1 / 255}}


class Fixed(torch.nn.Module):
    """The same table for every image."""

    def __init__(self, table):
        super().__init__()
        self.register_buffer("table", torch.tensor(table, dtype=torch.float32))

    def forward(self, x):
        return self.table.unsqueeze(0).expand(x.shape[0], -1, -1)


class FixedPair(torch.nn.Module):
    def __init__(self, logits, boxes):
        super().__init__()
        self.register_buffer("logits", torch.tensor(logits, dtype=torch.float32))
        self.register_buffer("boxes", torch.tensor(boxes, dtype=torch.float32))

    def forward(self, x):
        return self.logits.unsqueeze(0).expand(x.shape[0], -1, -1), self.boxes.unsqueeze(0).expand(x.shape[0], -1, -1)


class Brightest(torch.nn.Module):
    """A box of 16 pixels around the brightest pixel of each image's input: what it is given matters."""

    def forward(self, x):
        at = x[:, 0].flatten(1).argmax(1)
        y, x = torch.div(at, 64, rounding_mode="floor").float(), (at % 64).float()
        side = torch.full_like(x, 16.0)
        return torch.stack([x - side / 2, y - side / 2, x + side / 2, y + side / 2, side / 20, side * 0], 1).unsqueeze(1)


class OneAtATime(torch.nn.Module):
    def forward(self, x):
        if x.shape[0] != 1:
            raise ValueError("one image")
        return torch.tensor([[[8.0, 8.0, 40.0, 40.0, 0.9, 1.0]]])


class Refuses(torch.nn.Module):
    def forward(self, x):
        if x.shape[0] > 0:
            raise ValueError("made for another device")
        return x


class FailsAtPictures(torch.nn.Module):
    """Of what is black it answers."""

    def forward(self, x):
        if bool(x.max() > 0.5):
            raise ValueError("made for the dark\nand more of it")
        return torch.zeros(x.shape[0], 1, 6)


class AnswersPicturesOtherwise(torch.nn.Module):
    def forward(self, x):
        return torch.zeros(x.shape[0], 1, 7 if bool(x.max() > 0.5) else 6)


class FailsWithoutGreys(torch.nn.Module):
    """At an image of black and white alone: raises, or has LibTorch raise."""

    def __init__(self, raises: bool):
        super().__init__()
        self.raises = raises

    def forward(self, x):
        for image in x:
            if bool((image > 0.99).any()) and bool(((image < 0.01) | (image > 0.99)).all()):
                if self.raises:
                    raise ValueError("no greys\nin this image")
                return torch.zeros(2, 3) + torch.zeros(4, 5)
        return torch.tensor([[8.0, 8.0, 40.0, 40.0, 0.9, 1.0]]).unsqueeze(0).expand(x.shape[0], -1, -1)


def save(folder, module, manifest=None, extra=None, **changes):
    """Returns the model for engine_tool; `changes` of the manifest, of its input where they are a dict."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.jit.save(torch.jit.script(module.eval()), str(folder / "d.torchscript"), _extra_files=extra or {})
    content = json.loads(json.dumps(manifest or MANIFEST))
    for key, value in changes.items():
        if value is None:
            del content[key]
        elif isinstance(value, dict) and key == "input":
            content["input"] = {k: v for k, v in {**content["input"], **value}.items() if v is not None}
        else:
            content[key] = value
    (folder / "manifest.json").write_text(json.dumps(content))
    digest = hashlib.sha256((folder / "d.torchscript").read_bytes()).hexdigest()
    return {"name": "d", "path": str(folder), "sha256": digest}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    model = head(folder / "head")
    return model, folder / "head", radiographs(folder, 4)


def ask(made, detector, count=None, **task):
    _, folder, images = made
    return answers([{"name": "m", "path": str(folder)}, detector],
                   [{"name": "t", "model": "m", "output": "regions", "detector": "d", **task}],
                   [dict(request, tasks=["t"]) for _, request, _ in images[:count]])


def refused(made, detector, **task):
    with pytest.raises(AssertionError) as caught:
        ask(made, detector, **task)
    return str(caught.value)


def in_source(corners, rows, columns, fit="letterbox"):
    """Corners in pixels of the input, cut to whole pixels of the image."""
    if fit == "stretch":
        width, height, left, top = SIDE, SIDE, 0, 0
    else:
        scale = min(SIDE / rows, SIDE / columns)
        width, height = round(columns * scale), round(rows * scale)
        left, top = ((SIDE - width) // 2, (SIDE - height) // 2) if fit == "letterbox" else (0, 0)
    x = [(value - left) * columns / width for value in corners[0::2]]
    y = [(value - top) * rows / height for value in corners[1::2]]
    return [int(numpy.clip(v, 0, limit)) for v, limit in zip((x[0], y[0], x[1], y[1]), (columns, rows, columns, rows))]


# Two boxes, the second surer, of classes 0 and 1; one below the score, one of a side marker. Corners, score, class.
BOXES = [[20, 10, 44, 30, 0.6, 0], [18, 24, 46, 60, 0.8, 1], [20, 20, 40, 40, 0.2, 0], [21, 21, 40, 40, 0.9, 2]]
EXPECTED = [("distal femur", 0.8, [18, 24, 46, 60]), ("patella", 0.6, [20, 10, 44, 30])]


def logit(p):
    return float(numpy.log(p / (1 - p)))


def as_layout(layout):
    rows, logits, shares = [], [], []
    for left, top, right, bottom, score, label in BOXES:
        centre = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
        one_hot = [1.0 if i == label else 0.0 for i in range(3)]
        shares.append([value / SIDE for value in centre])
        if layout == "yolov5":
            rows.append([*centre, score, *(1.0 if hot else 0.5 for hot in one_hot)])
        elif layout == "yolov8":
            rows.append([*centre, *(score if hot else score / 2 for hot in one_hot)])
        elif layout == "boxes":
            rows.append([left, top, right, bottom, score, label])
        elif layout == "detr":  # Softmax over the classes and none.
            logits.append([float(numpy.log(score)) if hot else -30.0 for hot in one_hot] + [float(numpy.log(1 - score))])
        else:
            logits.append([logit(score) if hot else logit(score) - 3 for hot in one_hot])
    if logits:
        return FixedPair(logits, shares)
    return Fixed(numpy.array(rows).T.tolist() if layout == "yolov8" else rows)


def test_names_of_bones_and_markers_are_known_however_they_are_written(made, tmp_path):
    named = save(tmp_path, as_layout("boxes"), layout="boxes", classes=["PATELLA", "Distal-Femur", "Left"], regions={})
    answer = ask(made, named, 1)["answers"][0][0]
    assert [region["label"] for region in answer["regions"][1:]] == ["distal femur", "patella"]
    assert answer["note"] == "left out: 1 box of a side marker or lesion"


@pytest.mark.parametrize("fit", ["letterbox", "letterbox_top_left", "stretch"])
@pytest.mark.parametrize("layout", ["yolov5", "yolov8", "boxes", "detr", "rt-detr"])
def test_layouts(layout, fit, made, tmp_path):
    model, folder, images = made
    detector = save(tmp_path / "d", as_layout(layout), layout=layout,
                    input={"fit": fit, "padding": None if fit == "stretch" else 114})
    for (_, _, grey), (answer,) in zip(images, ask(made, detector)["answers"]):
        ours = answer["regions"][1:]
        expected = [(label, score, in_source(corners, *grey.shape, fit)) for label, score, corners in EXPECTED]
        assert [region["label"] for region in ours] == [label for label, _, _ in expected]
        for region, (_, score, box) in zip(ours, expected):
            assert region["detector_score"] == pytest.approx(score, abs=1e-5)
            assert numpy.abs(numpy.array(region["box"]) - box).max() <= 1  # float32 may cut a whole number below itself.
        boxes = [[0, 0, grey.shape[1], grey.shape[0]], *(region["box"] for region in ours)]
        check(answer, classify(model, folder, grey, boxes), boxes)
        assert answer["note"] == "left out: 1 box of a side marker or lesion"


@pytest.mark.parametrize("changes", [{}, {"channel_order": "bgr", "scale": 1.0, "mean": [10, 20, 30], "std": [2, 2, 2]}])
def test_it_is_given_the_letterboxed_image(changes, made, tmp_path):
    detector = save(tmp_path / "d", Brightest(), layout="boxes", input=changes)
    for (name, _, grey), (answer,) in zip(made[2], ask(made, detector)["answers"]):
        scale = min(SIDE / grey.shape[0], SIDE / grey.shape[1])
        width, height = round(grey.shape[1] * scale), round(grey.shape[0] * scale)
        box = numpy.full((SIDE, SIDE), 114, numpy.uint8)
        top, left = (SIDE - height) // 2, (SIDE - width) // 2
        box[top:top + height, left:left + width] = numpy.asarray(PIL.Image.fromarray(grey).resize((width, height), 2))
        y, x = divmod(int(box.argmax()), SIDE)
        expected = in_source([x - 8, y - 8, x + 8, y + 8], *grey.shape)
        [region] = answer["regions"][1:]
        assert numpy.abs(numpy.array(region["box"]) - expected).max() <= 1, name


def test_one_that_takes_one_image_at_a_time_is_given_one_at_a_time(made, tmp_path):
    output = ask(made, save(tmp_path / "d", OneAtATime(), layout="boxes"))
    assert all([region["label"] for region in answer["regions"]] == ["whole image", "distal femur"]
               for (answer,) in output["answers"])


def test_thresholds_are_the_manifests_unless_the_task_has_its_own(made, tmp_path):
    strict = save(tmp_path / "strict", as_layout("boxes"), layout="boxes", score_min=0.7)
    assert [region["label"] for region in ask(made, strict, 1)["answers"][0][0]["regions"][1:]] == ["distal femur"]
    assert len(ask(made, strict, 1, score_min=0.1)["answers"][0][0]["regions"]) == 4


@pytest.mark.parametrize("boxes, note", [
    ([[0, 0, 9, 9, 0.1, 0]], "no regions found, whole image only"),
    ([[i % 100, i // 100, i % 100 + 1, i // 100 + 1, 0.9, 0] for i in range(10_000)], "the detector found 10000 regions, more than 1000, whole image only"),
    ([[-900, 8, -500, 40, 0.9, 0], [900, 8, 990, 40, 0.9, 0]],
     "no regions found, whole image only; left out: 2 boxes outside the image or empty"),
    ([[30, 30, 30, 40, 0.9, 0]], "no regions found, whole image only; left out: 1 box outside the image or empty"),
    ([[8, 8, 40, 40, float("nan"), 0]], "the detector's boxes are not numbers, whole image only"),
    ([[8, float("inf"), 40, 40, 0.9, 0]], "the detector's boxes are not numbers, whole image only"),
    ([[8, 8, 40, 40, 0.9, 7]], "the detector answers label 7 of 3, whole image only"),
    ([[8, 8, 40, 40, 0.9, 1.5]], "the detector answers label 1.5 of 3, whole image only"),
], ids=["none", "ten thousand", "outside", "empty", "NaN", "infinite", "unknown class", "half a class"])
def test_bad_answers_leave_the_whole_image_and_a_reason(boxes, note, made, tmp_path):
    model, folder, images = made
    output = ask(made, save(tmp_path / "d", Fixed(boxes), layout="boxes", input={"fit": "stretch", "padding": None}), 1)
    [answer] = output["answers"][0]
    assert answer["note"] == note
    grey = images[0][2]
    whole = [[0, 0, grey.shape[1], grey.shape[0]]]
    check(answer, classify(model, folder, grey, whole), whole)  # Its scores are the whole image's, not 0.


CONFIG = {"names": dict(enumerate(CLASSES)), "imgsz": [SIDE, SIDE], "stride": 32}


def test_what_the_file_says_of_itself_must_agree(made, tmp_path):
    def extra(**changes):
        return {"config.txt": json.dumps({**CONFIG, **changes})}

    module = as_layout("yolov8")
    assert ask(made, save(tmp_path / "good", module, extra=extra()), 1)["answers"]
    assert "config.txt: imgsz: is 640 x 640, the manifest says 64 x 64" in refused(
        made, save(tmp_path / "size", module, extra=extra(imgsz=[640, 640])))
    assert 'config.txt: names: 0 is "Hand", the manifest says "Patella"' in refused(
        made, save(tmp_path / "names", module, extra=extra(names={0: "Hand", 1: "Femur_distal", 2: "left"})))
    assert "config.txt: names: are 1, the manifest has 3 classes" in refused(
        made, save(tmp_path / "count", module, extra=extra(names={0: "Patella"})))


@pytest.mark.parametrize("changes, why", [
    (dict(layout="yolov5"), r"layout: the file answers [1, 7, 4] to 1 images, but the manifest's layout with 3 classes is"),
    (dict(classes=["a", "b"], regions={}), "the manifest's layout with 2 classes is [images, 4 + classes, boxes]"),
    (dict(layout="detr"), "the file answers nothing to 1 images, but the manifest's layout with 3 classes is [images, boxes, 4] beside it"),
    (dict(layout="yolo"), "layout: boxes or detr or rt-detr or yolov5 or yolov8 is needed, not yolo"),
    (dict(layout=None), "layout: boxes or detr or rt-detr or yolov5 or yolov8 is needed"),
    (dict(score_min=None), "score_min: a number from 0 to 1 is needed"),
    (dict(overlap_max=1.5), "overlap_max: a number from 0 to 1 is needed"),
    (dict(classes=None), "classes: a list of 1 to 1000 names is needed"),
    (dict(classes=["a", "a", "b"]), "classes: a name occurs twice"),
    (dict(classes=["a", "femur\\shaft", "c"], regions={}),
     'classes: the name "femur\\shaft" holds a backslash, which separates values in DICOM: no report can hold it'),
    (dict(classes=["a", "fe\x1b[1mmur", "c"], regions={}), 'classes: the name "fe\\x1b[1mmur" holds a control character'),
    (dict(regions={"Patella": ""}), 'regions: the name "" is blank'),
    (dict(regions={"Hand": "hand"}), 'regions: "Hand" is none of classes'),
    (dict(file="../d.torchscript"), "file: the name of a TorchScript file of this folder is needed"),
    (dict(file="e.torchscript"), "e.torchscript"),
    (dict(more=1), "key not understood: more"),
    (dict(input={"height": None}), "height, width: both are needed"),
    (dict(input={"padding": None}), "padding: the grey of a letterbox is needed"),
    (dict(input={"fit": "stretch"}), "padding: the grey of a letterbox is needed, and of no other fit"),
    (dict(input={"channel_order": None}), "channel_order: bgr or rgb is needed"),
    (dict(input={"scale": None}), "scale: the factor on 0 to 255 is needed"),
    (dict(input={"resample": None}), "resample: PIL's number is needed"),
    (dict(input={"mean": [0.5, 0.5]}), "mean: three numbers are needed"),
])
def test_a_manifest_that_is_wrong_is_refused_by_its_key(changes, why, made, tmp_path):
    assert why in refused(made, save(tmp_path / "d", as_layout("yolov8"), **changes))


def test_only_the_file_that_is_pinned_is_opened(made, tmp_path):
    detector = save(tmp_path / "d", as_layout("yolov8"))
    message = refused(made, {**detector, "sha256": "0" * 64})
    assert f"d.torchscript: sha256: is {detector['sha256']}, not the {'0' * 64} of the configuration" in message
    message = refused(made, {**detector, "sha256": ""})
    assert f"a TorchScript file is a program: `sha256: {detector['sha256']}`" in message
    with open(tmp_path / "d" / "d.torchscript", "ab") as file:
        file.write(b"\0")
    assert "of the configuration" in refused(made, detector)
    assert "there is none" in refused(made, {"name": "d", "path": str(made[1]), "sha256": "0" * 64})


def test_what_is_no_torchscript_or_does_not_run_is_refused(made, tmp_path):
    detector = save(tmp_path / "pickle", as_layout("yolov8"))
    torch.save({"a": torch.zeros(1)}, tmp_path / "pickle" / "d.torchscript")
    detector["sha256"] = hashlib.sha256((tmp_path / "pickle" / "d.torchscript").read_bytes()).hexdigest()
    assert "export it with format=torchscript" in refused(made, detector)
    message = refused(made, save(tmp_path / "runs", Refuses()))
    assert "does not run on cpu" in message and "device: cpu" in message


def test_one_that_fails_at_a_picture_is_refused_when_it_is_loaded(made, tmp_path):
    message = refused(made, save(tmp_path / "raises", FailsAtPictures(), layout="boxes"))
    assert "runs on an image that is black, but not on a picture" in message
    assert "made for the dark" in message and "and more of it" not in message and "interpreter" not in message
    message = refused(made, save(tmp_path / "shape", AnswersPicturesOtherwise(), layout="boxes"))
    assert "a picture: layout: the file answers [1, 1, 7] to 1 images" in message


@pytest.mark.parametrize("raises, why", [(True, "no greys"), (False, "size of tensor a")])
def test_one_that_fails_at_an_image_costs_its_boxes_alone(raises, why, made, tmp_path):
    model, folder, images = made
    detector = save(tmp_path / "d", FailsWithoutGreys(raises), layout="boxes",
                    input={"fit": "stretch", "padding": None})
    grey = numpy.zeros((SIDE, SIDE), numpy.uint8)
    grey[:, SIDE // 2:] = 255
    grey.astype(numpy.float32).tofile(tmp_path / "grey.raw")
    requests = [dict(request, tasks=["other", "t"]) for _, request, _ in images[:3]]
    requests.insert(1, {"image": str(tmp_path / "grey.raw"), "rows": SIDE, "columns": SIDE, "tasks": ["other", "t"]})
    output = answers([{"name": "m", "path": str(folder)}, detector],
                     [{"name": "t", "model": "m", "output": "regions", "detector": "d"},
                      {"name": "other", "model": "m", "output": "sigmoid"}], requests)
    for i, (other, answer) in enumerate(output["answers"]):
        assert len(other["scores"]) == 38
        if i != 1:  # Those that travelled with it keep theirs.
            assert (len(answer["regions"]), answer["note"]) == (2, "")
    answer = output["answers"][1][1]
    whole = [[0, 0, SIDE, SIDE]]
    check(answer, classify(model, folder, grey, whole), whole)
    assert answer["note"].startswith("the detector failed: ") and answer["note"].endswith(", whole image only")
    assert why in answer["note"] and "in this image" not in answer["note"] and "interpreter" not in answer["note"]


def test_a_traced_transformer_answers_as_itself(made, tmp_path):
    """A real network through the same door: YOLOS, traced, beside YOLOS on our own blocks."""
    config = transformers.YolosConfig(hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
                                      image_size=[SIDE, SIDE], patch_size=16, num_detection_tokens=12,
                                      id2label=dict(enumerate(CLASSES)), label2id={c: i for i, c in enumerate(CLASSES)})
    torch.manual_seed(7)
    network = transformers.YolosForObjectDetection(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.5)
    network.save_pretrained(tmp_path / "own")
    transformers.YolosImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(tmp_path / "own")

    class Pair(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, x):
            output = self.network(x)
            return output.logits, output.pred_boxes

    traced = torch.jit.trace(Pair(), torch.zeros(1, 3, SIDE, SIDE), check_trace=False)
    (tmp_path / "d").mkdir()
    torch.jit.save(traced, str(tmp_path / "d" / "d.torchscript"))
    manifest = {**MANIFEST, "layout": "detr", "regions": {}, "input": {
        "height": SIDE, "width": SIDE, "fit": "stretch", "channel_order": "rgb", "resample": 2, "scale": 1 / 255,
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}}
    (tmp_path / "d" / "manifest.json").write_text(json.dumps(manifest))
    digest = hashlib.sha256((tmp_path / "d" / "d.torchscript").read_bytes()).hexdigest()
    script = ask(made, {"name": "d", "path": str(tmp_path / "d"), "sha256": digest}, score_min=0.3)
    native = ask(made, {"name": "d", "path": str(tmp_path / "own")}, score_min=0.3)
    for (ours,), (theirs,) in zip(native["answers"], script["answers"]):
        assert [region["label"] for region in ours["regions"]] == [region["label"] for region in theirs["regions"]]
        for a, b in zip(ours["regions"], theirs["regions"]):
            assert numpy.abs(numpy.array(a["box"]) - b["box"]).max() <= 1
            assert a["detector_score"] == pytest.approx(b["detector_score"], abs=1e-4)
