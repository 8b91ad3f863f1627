"""The engine against HuggingFace transformers, on fresh random checkpoints each run and on the demo's where they are.

NODE_SEED=<number> draws others (`tools/test --long` does); the seed is part of every failure's text.
"""
import json
import logging
import os
import pathlib
import random
import subprocess

import numpy
import pytest
import safetensors.torch
import torch
import transformers

logging.disable(logging.WARNING)
ROOT = pathlib.Path(os.environ["NODE_SOURCE_DIR"])
TOOL = pathlib.Path(os.environ["NODE_BIN"]) / "engine_tool"
SEED = int(os.environ.get("NODE_SEED", 1))

# Shapes of several kinds: one head, heads of odd widths, patches of 8 to 32 and an odd one, images of 32 to 384, no bias of
# query, key and value, another epsilon.
SHAPES = {
    "tiny": dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96, image_size=32,
                 patch_size=8),
    "one-head": dict(hidden_size=40, num_hidden_layers=3, num_attention_heads=1, intermediate_size=72, image_size=60,
                     patch_size=15, hidden_act="gelu_new", layer_norm_eps=1e-6),
    "no-bias": dict(hidden_size=64, num_hidden_layers=4, num_attention_heads=8, intermediate_size=256, image_size=64,
                    patch_size=16, qkv_bias=False, hidden_act="quick_gelu"),
    "patch-14": dict(hidden_size=60, num_hidden_layers=2, num_attention_heads=5, intermediate_size=90, image_size=98,
                     patch_size=14, hidden_act="relu"),
    "patch-32": dict(hidden_size=42, num_hidden_layers=2, num_attention_heads=2, intermediate_size=84, image_size=384,
                     patch_size=32, hidden_act="silu", layer_norm_eps=1e-5),
    "patch-8": dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40, image_size=96,
                    patch_size=8, qkv_bias=False),
    "vit-tiny": dict(hidden_size=192, num_hidden_layers=12, num_attention_heads=3, intermediate_size=768,
                     image_size=224, patch_size=16),
}
DECODER = dict(decoder_hidden_size=32, decoder_num_hidden_layers=2, decoder_num_attention_heads=4,
               decoder_intermediate_size=64)
RELATIVE, ABSOLUTE = 1e-4, 1e-3  # Of logits, in float32.


def generator(name):
    return random.Random(f"{SEED} {name}")


def randomize(model, name):
    """Weights away from their small initial values, so that every part of the network matters."""
    torch.manual_seed(generator(name).randrange(2**31))
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "norm" in key and key.endswith("weight"):
                parameter.copy_(1 + 0.2 * torch.randn_like(parameter))
            elif parameter.dim() >= 2 and "embeddings" not in key and "token" not in key:
                parameter.copy_(torch.randn_like(parameter) * (parameter[0].numel() ** -0.5))
            else:
                parameter.copy_(0.3 * torch.randn_like(parameter))
    return model.eval()


def classifier(shape, name, labels=5):
    config = transformers.ViTConfig(**SHAPES[shape], num_labels=labels)
    return randomize(transformers.ViTForImageClassification(config), name)


def autoencoder(shape, name, **more):
    config = transformers.ViTMAEConfig(**SHAPES[shape], **DECODER, **more)
    return randomize(transformers.ViTMAEForPreTraining(config), name)


def save_processor(folder, name, size):
    pick = generator(name)
    processor = transformers.ViTImageProcessorPil(
        size={"height": size, "width": size}, resample=pick.choice([2, 3]),
        image_mean=pick.choice([[0.5] * 3, [0.485, 0.456, 0.406]]), image_std=pick.choice([[0.5] * 3, [0.229, 0.224, 0.225]]))
    processor.save_pretrained(folder)
    # The field's files name the class without its backend.
    path = folder / "preprocessor_config.json"
    content = json.loads(path.read_text())
    content["image_processor_type"] = "ViTImageProcessor"
    path.write_text(json.dumps(content))


def random_image(name, folder):
    pick = numpy.random.default_rng(generator(name).randrange(2**32))
    rows, columns = pick.integers(5, 400, 2)  # An array of 1 or 3 rows looks like channels first to transformers.
    image = pick.integers(0, 2 ** int(pick.integers(8, 17)), (rows, columns)).astype(numpy.float32)
    path = folder / f"{name}.raw"
    image.tofile(path)
    return {"image": str(path), "rows": int(rows), "columns": int(columns)}, image


def pixels_of(folder, image, size):
    """The contract in Python: min-max in float32 to 8 bit, grey as RGB, then transformers' own processor."""
    low, high = image.min(), image.max()
    grey = ((image - low) / (high - low) * numpy.float32(255)).astype(numpy.uint8)
    rgb = numpy.stack([grey] * 3, axis=-1)
    if (folder / "preprocessor_config.json").exists():
        processor = transformers.ViTImageProcessorPil.from_pretrained(folder)
    else:
        processor = transformers.ViTImageProcessorPil(size={"height": size, "width": size}, resample=2,
                                                      image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225])
    return processor(images=rgb, return_tensors="pt")["pixel_values"], processor


def run_tool(content):
    environment = dict(os.environ, OMP_WAIT_POLICY="passive")
    done = subprocess.run([TOOL], input=json.dumps(content), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, f"seed {SEED}: {done.stderr[-2000:]}"
    return json.loads(done.stdout)


def answers(models, tasks, requests):
    return run_tool({"models": models, "tasks": tasks, "requests": requests})


def assert_close(ours, theirs, relative=RELATIVE, absolute=ABSOLUTE):
    ours, theirs = numpy.asarray(ours, numpy.float64), numpy.asarray(theirs, numpy.float64)
    difference = numpy.abs(ours - theirs).max()
    scale = max(1.0, numpy.abs(theirs).max())
    assert difference <= absolute and difference <= relative * scale, f"seed {SEED}: differ by {difference} of {scale}"


# The published recipe of inference/masks.h, from its text.

def split_mix_64(seed):
    state, all_ones = seed, 2**64 - 1
    while True:
        state = (state + 0x9E3779B97F4A7C15) & all_ones
        z = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & all_ones
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & all_ones
        yield z ^ z >> 31


def draw_visible(mode, passes, patches, mask_ratio, seed):
    stream, visible = split_mix_64(seed), []
    for _ in range(passes // 4 if mode == "partition" else passes):
        keys = [next(stream) for _ in range(patches)]
        order = sorted(range(patches), key=lambda patch: (keys[patch], patch))
        if mode == "partition":
            run = patches // 4
            visible += [order[i * run:(i + 1) * run] for i in range(4)]
        else:
            visible.append(order[:int(patches * (1 - mask_ratio))])
    return visible


def reconstruct(model, pixels, visible):
    """transformers' own network, its noise chosen so that exactly the patches of `visible` are kept."""
    count = model.vit.embeddings.patch_embeddings.num_patches
    noise = torch.ones(len(visible), count)
    for row, kept in enumerate(visible):
        noise[row, kept] = torch.arange(len(kept)) / (2.0 * count)
    with torch.no_grad():
        output = model(pixels.expand(len(visible), -1, -1, -1), noise=noise)
    logits = output.logits
    if model.config.norm_pix_loss:
        target = model.patchify(pixels)
        logits = logits * (target.var(dim=-1, keepdim=True) + 1e-6) ** 0.5 + target.mean(dim=-1, keepdim=True)
    return logits, output.mask


def error_map(model, processor, pixels, visible):
    logits, mask = reconstruct(model, pixels, visible)
    mean = torch.tensor(processor.image_mean).view(1, 3, 1, 1)
    std = torch.tensor(processor.image_std).view(1, 3, 1, 1)
    original = (pixels * std + mean).clamp(0, 1)
    imagined = (model.unpatchify(logits) * std + mean).clamp(0, 1)
    patch = model.config.patch_size
    side = model.config.image_size // patch
    hidden = mask.view(-1, side, side).repeat_interleave(patch, 1).repeat_interleave(patch, 2)
    errors = ((imagined - original) ** 2).mean(1) * hidden
    hits = hidden.sum(0)
    return torch.where(hits > 0, errors.sum(0) / hits.clamp(min=1), torch.zeros(())).numpy()


@pytest.mark.parametrize("shape", SHAPES)
def test_logits(shape, tmp_path):
    model = classifier(shape, f"logits {shape}")
    model.save_pretrained(tmp_path / "model")
    if shape != "tiny":  # Once without: the documented values hold then.
        save_processor(tmp_path / "model", f"processor {shape}", SHAPES[shape]["image_size"])
    requests, theirs = [], []
    for i in range(3):
        request, image = random_image(f"{shape}-{i}", tmp_path)
        requests.append(dict(request, tasks=["t"]))
        pixels, _ = pixels_of(tmp_path / "model", image, SHAPES[shape]["image_size"])
        with torch.no_grad():
            theirs.append(model(pixels).logits[0].numpy())
    output = answers([{"name": "m", "path": str(tmp_path / "model")}],
                     [{"name": "t", "model": "m", "output": "softmax"}], requests)
    for answer, logits in zip(output["answers"], theirs):
        assert numpy.ptp(logits) > 1e-2
        assert_close(answer[0]["logits"], logits)
        probabilities = torch.softmax(torch.from_numpy(logits), 0).numpy()
        assert_close([value for _, value, _ in answer[0]["scores"]], probabilities)


@pytest.mark.parametrize("architecture", ["classifier", "autoencoder"])
def test_file_forms(architecture, tmp_path):
    """One network as files of every form: shards, half precisions, and the names of three ages."""
    make = classifier if architecture == "classifier" else autoencoder
    task = {} if architecture == "classifier" else {"output": "anomaly_map", "passes": 4}
    models = {}
    for form in ("plain", "sharded", "float16", "bfloat16", "transformers-4", "in-memory"):
        models[form] = make("tiny", f"forms {architecture}")
        folder = tmp_path / form
        if form in ("float16", "bfloat16"):
            models[form] = models[form].to(getattr(torch, form))
        models[form].save_pretrained(folder, max_shard_size="50KB" if form == "sharded" else "5GB")
        models[form] = models[form].float()
        state = safetensors.torch.load_file(folder / "model.safetensors") if form != "sharded" else {}
        if form == "sharded":
            assert (folder / "model.safetensors.index.json").exists()
        elif form == "transformers-4":
            state = {name.replace("decoder.decoder_encoder.layer.", "decoder.decoder_layers."): tensor
                     for name, tensor in state.items()}
            safetensors.torch.save_file(state, folder / "model.safetensors", {"format": "pt"})
        elif form == "in-memory":  # As accelerate saves a model that transformers 5 holds.
            state = {name: tensor.contiguous() for name, tensor in models[form].state_dict().items()}
            assert any(".attention.q_proj." in name for name in state)
            safetensors.torch.save_file(state, folder / "model.safetensors")
    request, image = random_image(f"forms-{architecture}", tmp_path)
    output = answers([{"name": form, "path": str(tmp_path / form)} for form in models],
                     [{"name": form, "model": form, **task} for form in models],
                     [dict(request, tasks=list(models), seed=SEED)])
    pixels, processor = pixels_of(tmp_path / "plain", image, 32)
    for answer, (form, model) in zip(output["answers"][0], models.items()):
        if architecture == "classifier":
            with torch.no_grad():
                assert_close(answer["logits"], model(pixels).logits[0].numpy())
        else:
            expected = error_map(model, processor, pixels, draw_visible("partition", 4, 16, 0.75, SEED))
            assert numpy.abs(numpy.asarray(answer["map"]).reshape(32, 32) - expected).max() <= 1e-4, f"seed {SEED} {form}"
    digests = {form: answer["digest"] for form, answer in zip(models, output["answers"][0])}
    assert digests["plain"] == digests["sharded"] == digests["transformers-4"] == digests["in-memory"]


# Every hidden_act that is served; any other is refused by name, which checkpoint_config_test.cpp tests.
ACTIVATIONS = ["gelu", "gelu_python", "gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh",
               "quick_gelu", "relu", "silu", "swish"]


def test_every_activation(tmp_path):
    request, image = random_image("activations", tmp_path)
    expected = {}
    for name in ACTIVATIONS:
        config = transformers.ViTConfig(**{**SHAPES["tiny"], "hidden_act": name}, num_labels=3)
        model = randomize(transformers.ViTForImageClassification(config), "activations")
        model.save_pretrained(tmp_path / name)
        pixels, _ = pixels_of(tmp_path / name, image, 32)
        with torch.no_grad():
            expected[name] = model(pixels).logits[0].numpy()
    output = answers([{"name": name, "path": str(tmp_path / name)} for name in ACTIVATIONS],
                     [{"name": name, "model": name} for name in ACTIVATIONS], [dict(request, tasks=ACTIVATIONS)])
    for name, answer in zip(ACTIVATIONS, output["answers"][0]):
        assert_close(answer["logits"], expected[name], relative=1e-5)
    scale = max(1, numpy.abs(expected["gelu"]).max())
    for other in ("gelu_new", "quick_gelu", "relu", "silu"):  # Told apart by more than the tolerance.
        assert numpy.abs(expected[other] - expected["gelu"]).max() > 2e-5 * scale, f"seed {SEED} {other}"


def test_bfloat16_stays_near(tmp_path):
    model = classifier("vit-tiny", "bfloat16", labels=1)
    with torch.no_grad():
        model.classifier.weight.mul_(0.5)
    model.save_pretrained(tmp_path / "model")
    request, _ = random_image("bfloat16", tmp_path)
    output = answers([{"name": name, "path": str(tmp_path / "model"), "precision": name} for name in ("float32", "bfloat16")],
                     [{"name": name, "model": name} for name in ("float32", "bfloat16")],
                     [dict(request, tasks=["float32", "bfloat16"])])
    exact, fast = (answer["scores"][0][1] for answer in output["answers"][0])
    assert exact != fast and abs(exact - fast) <= 0.02, f"seed {SEED}: {exact} {fast}"


def test_shared_backbone_is_one_pass(tmp_path):
    first = classifier("tiny", "shared", labels=3)
    second = transformers.ViTForImageClassification(transformers.ViTConfig(**SHAPES["tiny"], num_labels=2)).eval()
    second.vit.load_state_dict(first.vit.state_dict())
    first.save_pretrained(tmp_path / "first")
    second.save_pretrained(tmp_path / "second")
    request, image = random_image("shared", tmp_path)
    output = answers([{"name": name, "path": str(tmp_path / name)} for name in ("first", "second")],
                     [{"name": name, "model": name} for name in ("first", "second")],
                     [dict(request, tasks=["second", "first"])])
    assert output["backbone_passes"] == 1
    pixels, _ = pixels_of(tmp_path / "first", image, 32)
    for answer, model in zip(output["answers"][0], (second, first)):
        with torch.no_grad():
            assert_close(answer["logits"], model(pixels).logits[0].numpy())


@pytest.mark.parametrize("mode,passes", [("partition", 8), ("random", 10)])
@pytest.mark.parametrize("shape,norm_pix_loss", [("tiny", False), ("tiny", True), ("one-head", True), ("no-bias", False)])
def test_reconstruction_and_error_map(shape, norm_pix_loss, mode, passes, tmp_path):
    name = f"mae {shape} {norm_pix_loss} {mode}"
    size, patch = SHAPES[shape]["image_size"], SHAPES[shape]["patch_size"]
    patches = (size // patch) ** 2
    mask_ratio = 0.75 if mode == "partition" else generator(name).choice([0.5, 0.6, 0.75])
    model = autoencoder(shape, name, norm_pix_loss=norm_pix_loss, mask_ratio=mask_ratio)
    model.save_pretrained(tmp_path / "model")
    save_processor(tmp_path / "model", name, size)
    request, image = random_image(name.replace(" ", "-"), tmp_path)
    seed = generator(name).randrange(2**48)
    visible = draw_visible(mode, passes, patches, mask_ratio, seed)
    pixels, processor = pixels_of(tmp_path / "model", image, size)
    pixels.expand(passes, -1, -1, -1).contiguous().numpy().tofile(tmp_path / "pixels.raw")

    output = run_tool({"models": [{"name": "m", "path": str(tmp_path / "model")}],
                       "tasks": [{"name": "t", "model": "m", "output": "anomaly_map", "mode": mode, "passes": passes}],
                       "requests": [dict(request, tasks=["t"], seed=seed)],
                       "reconstruct": {"path": str(tmp_path / "model"), "pixels": str(tmp_path / "pixels.raw"),
                                       "visible": visible}})
    expected = error_map(model, processor, pixels, visible)
    answer = output["answers"][0][0]
    ours = numpy.asarray(answer["map"]).reshape(size, size)
    assert expected.max() > 1e-3
    assert numpy.abs(ours - expected).max() <= 1e-4, f"seed {SEED}"
    assert abs(answer["map_score"] - expected.mean()) <= 1e-5

    logits, _ = reconstruct(model, pixels, visible)
    theirs = logits.view(passes, patches, patch, patch, 3).permute(0, 1, 4, 2, 3).reshape(-1).numpy()
    assert_close(output["patches"], theirs, absolute=1e-4 * max(1.0, numpy.abs(theirs).max()))


DEMO = sorted(path.parent for path in (ROOT / "config" / "demo").glob("*/config.json"))


@pytest.mark.skipif(not DEMO, reason="config/demo holds no checkpoints (tools/demo_model makes them)")
@pytest.mark.parametrize("folder", DEMO, ids=[path.name for path in DEMO])
def test_demo_checkpoint(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    size = config["image_size"]
    request, image = random_image(folder.name, tmp_path)
    pixels, processor = pixels_of(folder, image, size)
    models = [{"name": "m", "path": str(folder)}]
    if config["architectures"] == ["ViTForImageClassification"]:
        model = transformers.ViTForImageClassification.from_pretrained(folder, dtype=torch.float32).eval()
        with torch.no_grad():
            theirs = model(pixels).logits[0].numpy()
        output = answers(models, [{"name": "t", "model": "m"}], [dict(request, tasks=["t"])])
        assert_close(output["answers"][0][0]["logits"], theirs)
        return
    model = transformers.ViTMAEForPreTraining.from_pretrained(folder, dtype=torch.float32).eval()
    visible = draw_visible("partition", 8, (size // config["patch_size"]) ** 2, 0.75, SEED)
    output = answers(models, [{"name": "t", "model": "m", "output": "anomaly_map"}], [dict(request, tasks=["t"], seed=SEED)])
    ours = numpy.asarray(output["answers"][0][0]["map"]).reshape(size, size)
    assert numpy.abs(ours - error_map(model, processor, pixels, visible)).max() <= 1e-4, f"seed {SEED}"


def test_says_its_seed(record_property, capsys):
    record_property("seed", SEED)
    with capsys.disabled():
        print(f"\nparity_test.py: NODE_SEED={SEED}")


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-q"]))
