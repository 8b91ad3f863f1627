"""The region path against one in Python on PIL and transformers: boxes, crops, logits and aggregated scores.

The reference cuts PIL crops from the 8-bit image of each committed radiograph, gives each to transformers' processor and
classifier, and takes for each score the greatest over all crops and the whole image, as the published work does. NODE_SEED
draws other weights.
"""
import json
import os
import pathlib

import numpy
import PIL.Image
import pydicom
import pytest
import torch
import transformers

from parity_test import SEED, answers, assert_close, randomize, run_tool

RADIOGRAPHS = sorted((pathlib.Path(os.environ["NODE_SOURCE_DIR"]) / "tests/data/radiographs").glob("*.dcm"))
SHAPE = dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96, image_size=224, patch_size=16)
BONES = ["carpal bones", "clavicle", "distal femur", "distal fibula", "distal humerus", "distal radius", "distal tibia",
         "distal ulna", "femur diaphysis", "fibula diaphysis", "finger phalanges", "hindfoot", "humerus diaphysis",
         "metacarpal", "metatarsal", "midfoot", "patella", "pelvis", "proximal femur", "proximal fibula",
         "proximal humerus", "proximal radius", "proximal tibia", "proximal ulna", "radius diaphysis", "scapula",
         "tibia diaphysis", "toe phalanges", "ulna diaphysis"]
SCORES = ["Abnormal", "Bone tumour", "Malignant", "Intermediate", "Benign", "Neoplastic pathologic fracture",
          "Non-pathologic fracture", "Implant"]


def head(folder):
    """A classifier of 38 logits as it is published: random weights, no names of the logits."""
    model = randomize(transformers.ViTForImageClassification(transformers.ViTConfig(**SHAPE, num_labels=38)), "head")
    model.save_pretrained(folder)
    transformers.ViTImageProcessorPil(image_mean=[0.485, 0.456, 0.406],
                                      image_std=[0.229, 0.224, 0.225]).save_pretrained(folder)
    return model


def radiographs(folder, count=6):
    """Name, request and 8-bit image of committed radiographs."""
    found = []
    for path in RADIOGRAPHS:
        instance = pydicom.dcmread(path)
        try:
            image = instance.pixel_array.astype(numpy.float32)
        except RuntimeError:  # No decoder in Python.
            continue
        if instance.PhotometricInterpretation == "MONOCHROME1":
            image = image.max() - image
        raw = folder / f"{path.stem}.raw"
        image.tofile(raw)
        low, high = image.min(), image.max()
        grey = ((image - low) / (high - low) * numpy.float32(255)).astype(numpy.uint8)
        found.append((path.stem, {"image": str(raw), "rows": image.shape[0], "columns": image.shape[1]}, grey))
        if len(found) == count:
            return found
    raise AssertionError("too few radiographs can be read in Python")


def tiles(rows, columns):
    """2 x 2 of 0.6 of each side, and 0.5 of each in the middle."""
    def box(left, top, right, bottom):
        return [columns * left // 100, rows * top // 100, columns * right // 100, rows * bottom // 100]
    return [box(0, 0, 60, 60), box(40, 0, 100, 60), box(0, 40, 60, 100), box(40, 40, 100, 100), box(25, 25, 75, 75)]


def classify(model, folder, grey, boxes):
    """[crops, 38]: of each box of the 8-bit image, which is not stretched again."""
    processor = transformers.ViTImageProcessorPil.from_pretrained(folder)
    image = PIL.Image.fromarray(grey).convert("RGB")
    pixels = [processor(image.crop(box), return_tensors="pt")["pixel_values"] for box in boxes]
    with torch.no_grad():
        return model(torch.cat(pixels)).logits


def scores_of(logits):
    """[crops, 8]"""
    behaviour, fracture = logits[:, 1:5].softmax(1), logits[:, 34:37].softmax(1)
    return torch.stack([logits[:, 0].sigmoid(), behaviour[:, :3].sum(1), behaviour[:, 0], behaviour[:, 1], behaviour[:, 2],
                        fracture[:, 0], fracture[:, 1], logits[:, 37].sigmoid()], 1)


def check(answer, logits, boxes):
    """`boxes` and `logits`: of the reference, the whole image first."""
    regions = answer["regions"]
    assert [region["box"] for region in regions] == [list(box) for box in boxes], f"seed {SEED}"
    for region, expected in zip(regions, logits):
        assert_close(region["logits"], expected)
        bones = expected[5:34].softmax(0)
        assert region["bone"] == BONES[bones.argmax()] and abs(region["bone_probability"] - bones.max()) < 1e-4
    scores = scores_of(logits)
    assert [label for label, _, _ in answer["scores"]] == SCORES
    assert_close([value for _, value, _ in answer["scores"]], scores.max(0).values)
    for column, (_, value, region) in enumerate(answer["scores"]):
        assert abs(scores[region, column] - value) < 1e-4
    assert_close(answer["logits"], logits[0])


def test_tiles(tmp_path):
    model = head(tmp_path / "head")
    images = radiographs(tmp_path)
    output = answers([{"name": "m", "path": str(tmp_path / "head")}], [{"name": "t", "model": "m", "output": "regions"}],
                     [dict(request, tasks=["t"]) for _, request, _ in images])
    deciding = set()
    for (name, _, grey), (answer,) in zip(images, output["answers"]):
        boxes = [[0, 0, grey.shape[1], grey.shape[0]], *tiles(*grey.shape)]
        check(answer, classify(model, tmp_path / "head", grey, boxes), boxes)
        assert answer["note"] == "no detector: the regions are fixed tiles"
        assert [region["label"] for region in answer["regions"]] == ["whole image"] + [f"tile {i}" for i in range(1, 6)]
        assert answer["version"].endswith("+tiles")
        deciding |= {region for _, _, region in answer["scores"]}
    assert len(deciding) > 2, "the greatest always comes from the same region: the test shows little"
    assert output["backbone_passes"] == 6 * len(images)
    assert output["batches"] < len(images) * 3  # Crops of several images travel together.


# --- YOLOS -----------------------------------------------------------------------------------------------------------

LABELS = ["proximal femur", "left", "patella", "distal tibia", "abnormal bone lesion", "pelvis"]
AS_WRITTEN = ["Proximal-Femur", "LEFT", "patella", "distal_tibia", "Abnormal bone-lesion", "pelvis"]  # In the checkpoint.
YOLOS = {
    "mid": dict(image_size=[96, 160], patch_size=16, use_mid_position_embeddings=True, num_detection_tokens=20),
    "no-mid": dict(image_size=[128, 96], patch_size=16, use_mid_position_embeddings=False, num_detection_tokens=30),
    "square": dict(image_size=[64, 64], patch_size=8, num_detection_tokens=7, qkv_bias=False, hidden_act="gelu_new"),
}


def detector(folder, shape, sizes):
    config = transformers.YolosConfig(hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=80,
                                      **YOLOS[shape], id2label=dict(enumerate(AS_WRITTEN)),
                                      label2id={label: i for i, label in enumerate(AS_WRITTEN)})
    model = randomize(transformers.YolosForObjectDetection(config), f"yolos {shape}")
    with torch.no_grad():  # Surer of its classes than random weights are, and more often of a bone than of what is left out.
        model.class_labels_classifier.layers[2].weight.mul_(3)
        model.class_labels_classifier.layers[2].bias[[0, 2, 3, 5]] += 4
    model.save_pretrained(folder)
    transformers.YolosImageProcessorPil(size=sizes).save_pretrained(folder)
    return model


def found_by(model, folder, grey):
    """[detections, 6]: corners in pixels of the image, score, label."""
    processor = transformers.YolosImageProcessorPil.from_pretrained(folder)
    pixels = processor(images=PIL.Image.fromarray(grey).convert("RGB"), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        output = model(pixels)
    [result] = processor.post_process_object_detection(output, threshold=-1.0, target_sizes=[grey.shape])
    return pixels[0], torch.cat([result["boxes"], result["scores"][:, None], result["labels"][:, None].float()], 1).numpy()


@pytest.mark.parametrize("shape", YOLOS)
@pytest.mark.parametrize("sizes", [{"shortest_edge": 96, "longest_edge": 160}, {"shortest_edge": 200, "longest_edge": 230},
                                   {"height": 64, "width": 160}], ids=["small", "longest", "stretched"])
def test_yolos(shape, sizes, tmp_path):
    model = detector(tmp_path / "d", shape, sizes)
    images = radiographs(tmp_path, 4)
    output = run_tool({"detect": {"path": str(tmp_path / "d"), "images": [request for _, request, _ in images]}})
    for (name, _, grey), ours in zip(images, output["detections"]):
        pixels, theirs = found_by(model, tmp_path / "d", grey)
        assert (ours["rows"], ours["columns"]) == tuple(pixels.shape[1:]), f"seed {SEED} {name}"
        assert numpy.array_equal(numpy.asarray(ours["input"], numpy.float32), pixels.numpy().reshape(-1))
        boxes = numpy.asarray(ours["boxes"])
        scale = numpy.array([grey.shape[1], grey.shape[0]] * 2)
        assert numpy.abs((boxes[:, :4] - theirs[:, :4]) / scale).max() <= 1e-4, f"seed {SEED} {name}"
        assert numpy.abs(boxes[:, 4] - theirs[:, 4]).max() <= 1e-4, f"seed {SEED} {name}"
        assert numpy.array_equal(boxes[:, 5], theirs[:, 5])
        assert numpy.ptp(theirs[:, :4] / scale) > 0.2


def chosen(found, rows, columns, score_min, overlap_max):
    """Corners before they are cut to pixels, score and label; of each label without what overlaps a surer one."""
    kept = []
    for box in sorted((box for box in found if box[4] >= score_min), key=lambda box: -box[4]):
        def overlap(other):
            width = min(box[2], other[2]) - max(box[0], other[0])
            height = min(box[3], other[3]) - max(box[1], other[1])
            both = max(width, 0) * max(height, 0)
            return both / ((box[2] - box[0]) * (box[3] - box[1]) + (other[2] - other[0]) * (other[3] - other[1]) - both)
        if all(other[5] != box[5] or overlap(other) <= overlap_max for other in kept):
            kept.append(box)
    kept = [box for box in kept if LABELS[int(box[5])] not in ("left", "right", "abnormal bone lesion")]
    limits = numpy.array([columns, rows, columns, rows])
    kept = [(numpy.clip(box[:4], 0, limits), box[4], LABELS[int(box[5])]) for box in kept]
    return [(corners, score, label) for corners, score, label in kept
            if int(corners[0]) < int(corners[2]) and int(corners[1]) < int(corners[3])]


def test_detected_regions(tmp_path):
    """The whole path: detector, suppression, crops, head, greatest scores."""
    model = head(tmp_path / "head")
    finder = detector(tmp_path / "d", "no-mid", {"shortest_edge": 128, "longest_edge": 224})
    images = radiographs(tmp_path, 8)
    found = [found_by(finder, tmp_path / "d", grey)[1] for _, _, grey in images]
    # Whatever the seed, about half of its boxes pass, and none so narrowly that rounding decides.
    scores = numpy.sort(numpy.concatenate([boxes[:, 4] for boxes in found]))
    middle = slice(len(scores) // 4, 3 * len(scores) // 4)
    gap = numpy.diff(scores)[middle].argmax() + middle.start
    score_min = float((scores[gap] + scores[gap + 1]) / 2)
    output = answers([{"name": "m", "path": str(tmp_path / "head")}, {"name": "d", "path": str(tmp_path / "d")}],
                     [{"name": "t", "model": "m", "output": "regions", "detector": "d", "score_min": score_min},
                      {"name": "whole", "model": "m"}],
                     [dict(request, tasks=["t", "whole"]) for _, request, _ in images])
    regions = 0
    for (name, _, grey), boxes_found, (answer, whole) in zip(images, found, output["answers"]):
        expected = chosen(boxes_found, *grey.shape, score_min, 0.7)
        ours = answer["regions"][1:]
        assert [region["label"] for region in ours] == [label for _, _, label in expected], f"seed {SEED} {name}"
        for region, (corners, score, _) in zip(ours, expected):
            assert abs(region["detector_score"] - score) <= 1e-4
            for cut, corner in zip(region["box"], corners):  # The other pixel only where rounding may decide.
                assert cut == int(corner) or abs(corner - round(corner)) < 0.05 and abs(cut - corner) < 1.05
        boxes = [[0, 0, grey.shape[1], grey.shape[0]], *(region["box"] for region in ours)]
        logits = classify(model, tmp_path / "head", grey, boxes)
        check(answer, logits, boxes)
        assert_close(whole["logits"], logits[0])
        regions += len(ours)
    assert regions > 0, f"seed {SEED}: the detector finds too little to show anything"
    assert output["backbone_passes"] == 2 * len(images) + regions  # Detector, whole image, crops.


def test_a_yolos_that_answers_no_numbers_leaves_the_whole_image(tmp_path):
    model = head(tmp_path / "head")
    finder = detector(tmp_path / "d", "square", {"height": 64, "width": 64})
    with torch.no_grad():
        finder.class_labels_classifier.layers[2].weight[0] = 3e38  # Overflows; each of its weights is a number.
    finder.save_pretrained(tmp_path / "d")
    name, request, grey = radiographs(tmp_path, 1)[0]
    [[answer]] = answers([{"name": "m", "path": str(tmp_path / "head")}, {"name": "d", "path": str(tmp_path / "d")}],
                         [{"name": "t", "model": "m", "output": "regions", "detector": "d", "score_min": 0.0}],
                         [dict(request, tasks=["t"])])["answers"]
    whole = [[0, 0, grey.shape[1], grey.shape[0]]]
    assert answer["note"] == "the detector's boxes are not numbers, whole image only"
    check(answer, classify(model, tmp_path / "head", grey, whole), whole)


def test_one_image_without_numbers_leaves_the_others_of_its_pass_their_boxes(tmp_path):
    head(tmp_path / "head")
    finder = detector(tmp_path / "d", "square", {"height": 64, "width": 64})
    with torch.no_grad():  # Of two pixels of a patch the difference, which overflows where one is black and one white.
        weight = finder.vit.embeddings.patch_embeddings.projection.weight
        weight[0] = 0
        weight[0, 0, 0, 0], weight[0, 0, 4, 4] = 2.0**127, -2.0**127  # Powers of two cancel exactly.
    finder.save_pretrained(tmp_path / "d")
    requests = []
    for number in range(6):
        image = numpy.random.default_rng([SEED, number]).integers(0, 256, (64, 64)).astype(numpy.float32)
        image[0::8, 0::8], image[4::8, 4::8] = (255, 0) if number % 3 == 1 else (128, 128)
        image[1, 1:3] = 0, 255
        image.tofile(tmp_path / f"{number}.raw")
        requests.append({"image": str(tmp_path / f"{number}.raw"), "rows": 64, "columns": 64, "tasks": ["t"]})

    def ask(requests):
        output = answers([{"name": "m", "path": str(tmp_path / "head")}, {"name": "d", "path": str(tmp_path / "d")}],
                         [{"name": "t", "model": "m", "output": "regions", "detector": "d", "score_min": 0.0}], requests)
        return [answer for [answer] in output["answers"]]
    together = ask(requests)
    for number, answer in enumerate(together):
        boxes = [region["box"] for region in answer["regions"]]
        if number % 3 == 1:
            assert answer["note"] == "the detector's boxes are not numbers, whole image only" and len(boxes) == 1
        else:
            [alone] = ask(requests[number:number + 1])
            assert boxes == [region["box"] for region in alone["regions"]] and len(boxes) > 1


def test_a_detector_is_no_head_and_a_head_no_detector(tmp_path):
    head(tmp_path / "head")
    detector(tmp_path / "d", "mid", {"shortest_edge": 96, "longest_edge": 160})
    models = [{"name": "m", "path": str(tmp_path / "head")}, {"name": "d", "path": str(tmp_path / "d")}]
    for task, why in ((dict(model="m", output="regions", detector="m"), "model m finds no regions"),
                      (dict(model="d", output="regions"), "d is a detector"), (dict(model="d"), "d is a detector"),
                      (dict(model="d", output="anomaly_map"), "d is a detector")):
        with pytest.raises(AssertionError, match=why):
            answers(models, [dict(task, name="t")], [])


# --- Chains ----------------------------------------------------------------------------------------------------------

def test_regions_and_other_tasks_wait_for_each_other(tmp_path):
    """plain -> regions -> plain: each asked or not by the scores of the one before, and the whole image in one pass."""
    model = head(tmp_path / "head")
    name, request, grey = radiographs(tmp_path, 1)[0]
    models = [{"name": "m", "path": str(tmp_path / "head")}]

    def ask(first, second, third):
        return answers(models, [
            {"name": "a", "model": "m"},
            {"name": "t", "model": "m", "output": "regions", "when": {"task": "a", "label": "LABEL_0", "at_least": first}},
            {"name": "b", "model": "m", "when": {"task": "t", "label": "Implant", "at_least": second}},
            {"name": "u", "model": "m", "output": "regions", "when": {"task": "b", "label": "LABEL_1", "at_least": third}},
        ], [dict(request, tasks=["u", "b", "t", "a"])])

    output = ask(0, 0, 0)
    last, plain, regions, gate = output["answers"][0]
    boxes = [[0, 0, grey.shape[1], grey.shape[0]], *tiles(*grey.shape)]
    logits = classify(model, tmp_path / "head", grey, boxes)
    check(regions, logits, boxes)
    check(last, logits, boxes)
    assert_close(plain["logits"], logits[0])
    assert_close(gate["logits"], logits[0])
    assert output["backbone_passes"] == 6 + 6  # The whole image of a with that of t, of b with that of u.

    _, plain, regions, _ = ask(0, 1, 0)["answers"][0]
    assert plain["not_asked"].startswith("t Implant 0.") and plain["logits"] == [] and len(regions["regions"]) == 6
    last, plain, regions, gate = ask(1, 0, 0)["answers"][0]
    assert gate["logits"] and regions["not_asked"].startswith("a LABEL_0 0.") and regions["regions"] == []
    assert plain["not_asked"] == "t was not asked" and last["not_asked"] == "b was not asked"


def test_a_head_that_is_not_the_published_one_is_refused(tmp_path):
    for labels, why in ((5, "a head of 38 logits, the checkpoint of model m has 5"),
                        ([*(f"x{i}" for i in range(37)), "malignant"], "'malignant' stands for logit 1")):
        config = (transformers.ViTConfig(**SHAPE, num_labels=labels) if isinstance(labels, int) else
                  transformers.ViTConfig(**SHAPE, id2label=dict(enumerate(labels))))
        folder = tmp_path / str(labels)[:2]
        transformers.ViTForImageClassification(config).save_pretrained(folder)
        with pytest.raises(AssertionError, match=why):
            answers([{"name": "m", "path": str(folder)}], [{"name": "t", "model": "m", "output": "regions"}], [])
