"""`predict` against HuggingFace transformers on the same DICOM files: from the stored value to the logit and the map.

The reference reads with pydicom and its VOI functions and runs transformers; only the JPEG decoder (DCMTK's) is shared,
because two decoders of lossy JPEG may differ by a grey value. NODE_SEED draws other random weights and pixels; the
seed is printed.
"""
import functools
import hashlib
import json
import os
import pathlib
import subprocess

import numpy
import pydicom
import torch
import yaml
from PIL import Image
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from transformers import ViTConfig, ViTForImageClassification, ViTMAEForPreTraining
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from harness import BIN, DEMO, RADIOGRAPHS, small_image

LOGIT_TOLERANCE = 1e-3
torch.set_num_threads(2)


def eight_bit(path, scratch):
    """The pixel contract, written a second time: VOI, inversion, min-max, truncation."""
    dataset = pydicom.dcmread(path)
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        plain = scratch / (path.stem + "-plain.dcm")
        subprocess.run(["dcmdjpeg", path, plain], check=True)
        dataset = pydicom.dcmread(plain)
    values = apply_modality_lut(dataset.pixel_array, dataset)
    if dataset.get("WindowCenter") is not None or "VOILUTSequence" in dataset:
        values = apply_voi_lut(values, dataset, prefer_lut=True)
    values = numpy.asarray(values, numpy.float32)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        values = values.max() - values
    low, high = values.min(), values.max()
    if high == low:
        return numpy.zeros(values.shape, numpy.uint8)
    return ((values - low) / (high - low) * numpy.float32(255)).astype(numpy.uint8)


def model_input(directory, grey):
    processor = ViTImageProcessorPil.from_pretrained(directory)
    return processor(Image.fromarray(grey).convert("RGB"), return_tensors="pt")["pixel_values"].float()


def masks_of(sop_instance_uid, patches, passes):
    """Visible patches of each pass in mode `partition`, by the published recipe."""
    state = int.from_bytes(hashlib.sha256(sop_instance_uid.encode()).digest()[:6], "big")

    def splitmix():
        nonlocal state
        state = (state + 0x9E3779B97F4A7C15) & (2**64 - 1)
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        return z ^ (z >> 31)

    visible = []
    for _ in range(passes // 4):
        order = [index for _, index in sorted((splitmix(), index) for index in range(patches))]
        quarter = patches // 4
        visible += [order[i * quarter:(i + 1) * quarter] for i in range(4)]
    return visible


@functools.cache
def autoencoder(directory):
    return ViTMAEForPreTraining.from_pretrained(directory, dtype=torch.float32).eval()


def anomaly_score(directory, pixels, sop_instance_uid, passes):
    model = autoencoder(directory)
    processor = ViTImageProcessorPil.from_pretrained(directory)
    mean = torch.tensor(processor.image_mean).view(1, 3, 1, 1)
    deviation = torch.tensor(processor.image_std).view(1, 3, 1, 1)
    side = model.config.image_size // model.config.patch_size
    error, hits = 0, 0
    for visible in masks_of(sop_instance_uid, side * side, passes):
        noise = torch.ones(1, side * side)
        noise[0, visible] = torch.linspace(0, 0.5, len(visible))
        with torch.inference_mode():
            out = model(pixels, noise=noise)
            logits = out.logits
            if model.config.norm_pix_loss:
                target = model.patchify(pixels)
                logits = logits * (target.var(-1, keepdim=True) + 1e-6) ** 0.5 + target.mean(-1, keepdim=True)
            rebuilt = model.unpatchify(logits)
            mask = model.unpatchify(out.mask.unsqueeze(-1).repeat(1, 1, logits.shape[-1]))[:, :1]
        delta = (rebuilt * deviation + mean).clamp(0, 1) - (pixels * deviation + mean).clamp(0, 1)
        error = error + mask * (delta**2).mean(1, keepdim=True)
        hits = hits + mask
    return float((error / hits.clamp(min=1)).mean())


def predict(out, paths, *settings, precision="float32"):
    arguments = [BIN / "skelex-node", "predict", "--config", DEMO, "--out", out]
    models = yaml.safe_load(DEMO.read_text())["models"]
    for setting in [*(f"models.{name}.precision={precision}" for name in models), *settings]:
        arguments += ["--set", setting]
    done = subprocess.run([*arguments, *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    return {line["path"]: line for line in map(json.loads, done.stdout.splitlines())}


def compare(lines, tasks, directory_of, scratch):
    """Largest difference of a logit over all images and classifying tasks."""
    models = {task: ViTForImageClassification.from_pretrained(directory_of[task], dtype=torch.float32).eval()
              for task in tasks}
    worst, compared = 0.0, 0
    for path, line in lines.items():
        grey = eight_bit(pathlib.Path(path), scratch)
        for finding in line["findings"]:
            with torch.inference_mode():
                expected = models[finding["task"]](model_input(directory_of[finding["task"]], grey)).logits[0]
            difference = numpy.abs(numpy.array(finding["logits"]) - expected.numpy()).max()
            assert difference <= LOGIT_TOLERANCE, (path, finding["task"], finding["logits"], expected)
            # The label of each probability is the checkpoint's own, in the order of its logits.
            names = models[finding["task"]].config.id2label
            expected = expected.sigmoid() if len(expected) == 1 else expected.softmax(0)
            for index, probability in enumerate(expected.tolist()):
                if not names[index].startswith("LABEL_"):
                    assert abs(finding["probabilities"][names[index]] - probability) < 1e-4, (path, finding)
            worst, compared = max(worst, float(difference)), compared + 1
    return worst, compared


def demo_directories():
    config = yaml.safe_load(DEMO.read_text())
    found = {}
    for task, entry in config["tasks"].items():
        found[task] = (DEMO.parent / config["models"][entry["model"]]["path"]).resolve()
    return config, found


def test_demo_checkpoints_on_the_committed_radiographs(tmp_path):
    config, directories = demo_directories()
    paths = sorted(RADIOGRAPHS.rglob("*.dcm"))
    lines = predict(tmp_path / "out", paths)
    tasks = [task for task, entry in config["tasks"].items() if entry["output"] != "anomaly_map"]
    worst, compared = compare(lines, tasks, directories, tmp_path)
    print(f"{compared} outputs, largest difference of a logit {worst:.2e}")
    assert compared == len(paths) * len(tasks)
    for path in paths:
        line = lines[str(path)]
        expected = anomaly_score(directories["anomaly"], model_input(directories["anomaly"], eight_bit(path, tmp_path)),
                                 line["sop_instance_uid"], line["anomaly"]["passes"])
        assert abs(line["anomaly"]["score"] - expected) <= 1e-4 * max(1, abs(expected)), path


def test_bfloat16_moves_no_probability_by_more_than_0_02_and_no_label_but_of_a_tie(tmp_path):
    """Two labels nearer to each other than the bound are a tie, which either may win."""
    paths = sorted(RADIOGRAPHS.rglob("*.dcm"))
    exact = predict(tmp_path / "float32", paths)
    fast = predict(tmp_path / "bfloat16", paths, precision="bfloat16")
    worst, other = 0.0, 0
    for path in map(str, paths):
        assert abs(fast[path]["anomaly"]["score"] - exact[path]["anomaly"]["score"]) <= 0.02 * exact[path]["anomaly"]["score"]
        for one, two in zip(exact[path]["findings"], fast[path]["findings"], strict=True):
            assert one["task"] == two["task"]
            likeliest = sorted(one["probabilities"].values())[-2:]
            if one["label"] != two["label"]:
                print(f"{path}: {one['task']}: {one['probabilities']} became {two['probabilities']}")
                assert likeliest[1] - likeliest[0] <= 0.02, (path, one["task"], one["label"], two["label"])
            for label, probability in one["probabilities"].items():
                difference = abs(probability - two["probabilities"][label])
                assert difference <= 0.02, (path, one["task"], label, probability, two["probabilities"][label])
                worst = max(worst, difference)
            other += one["logits"] != two["logits"]
    print(f"{other} outputs, largest difference of a probability {worst:.1e}")
    assert other > 0, "both ran in float32"


def test_random_weights_on_random_pixels(tmp_path):
    seed = int(os.environ.get("NODE_SEED", 1))
    print("seed", seed)
    torch.manual_seed(seed)
    directory = tmp_path / "random"
    model = ViTForImageClassification(ViTConfig(hidden_size=48, num_hidden_layers=3, num_attention_heads=4,
                                                intermediate_size=96, image_size=64, patch_size=8, num_labels=1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(directory)
    ViTImageProcessorPil(size={"height": 64, "width": 64}, image_mean=[0.4, 0.5, 0.6],
                         image_std=[0.2, 0.3, 0.25]).save_pretrained(directory)
    paths = []
    for number in range(4):
        image = small_image("KNEE", seed=seed + number, side=30 + 17 * number)
        path = tmp_path / f"{number}.dcm"
        image.save_as(path, enforce_file_format=True)
        paths.append(path)
    lines = predict(tmp_path / "out", paths, f"models.demo-fracture.path={directory}")
    for line in lines.values():
        line["findings"] = [finding for finding in line["findings"] if finding["task"] == "fracture"]
    worst, compared = compare(lines, ["fracture"], {"fracture": directory}, tmp_path)
    print(f"{compared} outputs, largest difference of a logit {worst:.2e}")
    assert compared == len(paths)
