"""tools/state_dict: a stand-in's .pt as training scripts save it becomes a directory whose answers are the model's own."""
import json
import pathlib
import subprocess
import sys

import numpy
import pytest
import safetensors.torch
import torch
import transformers

from parity_test import DECODER, ROOT, SHAPES, answers, assert_close, randomize

sys.path.insert(0, str(ROOT / "tools"))
import state_dict  # noqa: E402

SHAPE = SHAPES["no-bias"]  # Whose activation and biases no tensor tells: they come from the backbone.
LABELS = ["KL 0", "KL 1", "KL 2"]


def run(*arguments):
    return subprocess.run([ROOT / "tools/state_dict", *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("SKELEX")
    transformers.ViTMAEForPreTraining(transformers.ViTMAEConfig(**SHAPE, **DECODER)).save_pretrained(folder)
    return folder


def classifier(**more):
    return randomize(transformers.ViTForImageClassification(transformers.ViTConfig(**{**SHAPE, **more}, num_labels=3)), "pt").eval()


def published_names(state, folder):
    """As earlier transformers have them, and its files still."""
    model = classifier()
    model.load_state_dict(state)
    model.save_pretrained(folder)
    return safetensors.torch.load_file(folder / "model.safetensors")


@pytest.mark.parametrize("wrapped", [lambda state, _: state, published_names, lambda state, _: {"model_state_dict": state, "epoch": 3},
                                     lambda state, _: {f"module.{name}": tensor for name, tensor in state.items()}],
                         ids=["plain", "as published", "in a dictionary", "of DataParallel"])
def test_the_engine_answers_as_the_model_did(backbone, wrapped, tmp_path):
    model = classifier()
    torch.save(wrapped(model.state_dict(), tmp_path / "saved"), tmp_path / "kneeoa.pt")
    done = run(tmp_path / "kneeoa.pt", tmp_path / "kneeoa", "--backbone", backbone, "--labels", *LABELS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(" 3 logits\n")
    assert sorted(path.name for path in (tmp_path / "kneeoa").iterdir()) == [
        "config.json", "model.safetensors", "preprocessor_config.json"]
    assert list(json.loads((tmp_path / "kneeoa/config.json").read_text())["id2label"].values()) == LABELS

    image = numpy.random.default_rng(5).integers(0, 256, (SHAPE["image_size"],) * 2).astype(numpy.float32)
    image[0, :2] = 0, 255
    image.tofile(tmp_path / "image.raw")
    [[answer]] = answers([{"name": "m", "path": str(tmp_path / "kneeoa")}], [{"name": "t", "model": "m", "output": "softmax", "labels": LABELS}],
                         [{"image": str(tmp_path / "image.raw"), "rows": image.shape[0], "columns": image.shape[1], "tasks": ["t"]}])["answers"]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = (torch.from_numpy(image / 255)[None, None] - mean[None, :, None, None]) / std[None, :, None, None]
    with torch.no_grad():
        assert_close(answer["logits"], model(pixels).logits[0])


def test_tensors_alone_are_made_the_same_directory(backbone, tmp_path):
    state = classifier().state_dict()
    torch.save(state, tmp_path / "kneeoa.pt")
    names = sorted(state)
    shards = tmp_path / "shards"
    shards.mkdir()
    safetensors.torch.save_file({name: state[name] for name in names[:9]}, shards / "model-00001-of-00002.safetensors")
    safetensors.torch.save_file({name: state[name] for name in names[9:]}, shards / "model-00002-of-00002.safetensors")
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    for number, source in enumerate([tmp_path / "kneeoa.pt", shards, tmp_path / "model.safetensors"]):
        done = run(source, tmp_path / str(number), "--backbone", backbone, "--labels", *LABELS)
        assert done.returncode == 0, done.stderr
    made = [{path.name: path.read_bytes() for path in (tmp_path / str(number)).iterdir()} for number in range(3)]
    assert made[0] == made[1] == made[2]
    safetensors.torch.save_file({names[0]: state[names[0]]}, shards / "twice.safetensors")
    done = run(shards, tmp_path / "3", "--backbone", backbone)
    assert done.returncode == 1 and f"holds {names[0]}, which another file" in done.stderr, done.stderr
    (tmp_path / "bad.safetensors").write_bytes(b"no such file")
    done = run(tmp_path / "bad.safetensors", tmp_path / "3", "--backbone", backbone)
    assert done.returncode == 1 and "no file of safetensors" in done.stderr and not (tmp_path / "3").exists(), done.stderr


class Program:
    """What a pickle may do that is more than a state_dict."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (pathlib.Path.touch, (self.path,))


@pytest.mark.parametrize("what, why", [
    ("a model", "holds more than tensors"), ("a program", "holds more than tensors"), ("no file of torch", "not a file of torch.save"),
    ("numbers", "no state_dict"), ("no head", "no classifier.weight"), ("a layer less", "lacks vit.*3"),
    ("a tensor more", "holds besides pooler.weight"), ("another width", "another shape"), ("labels", "3 logits, but 2 labels")])
def test_what_is_no_such_file_is_refused_and_leaves_nothing(backbone, what, why, tmp_path):
    model = classifier(**({"intermediate_size": 64} if what == "another width" else {}))
    state, file, out = dict(model.state_dict()), tmp_path / "a.pt", tmp_path / "out"
    if what == "no head":
        state = {name: tensor for name, tensor in state.items() if not name.startswith("classifier.")}
    elif what == "a layer less":
        state = {name: tensor for name, tensor in state.items() if ".3." not in name}
    elif what == "a tensor more":
        state["pooler.weight"] = torch.zeros(2)
    torch.save({"a model": model, "a program": Program(tmp_path / "ran"), "numbers": {"a": 1}}.get(what, state), file)
    if what == "no file of torch":
        file.write_bytes(b"no such thing")
    with pytest.raises(state_dict.Refused, match=why) as refused:
        state_dict.convert(file, out, backbone, LABELS[:2 if what == "labels" else 3], None)
    assert str(file) in str(refused.value)
    assert not (tmp_path / "ran").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_what_is_there_is_not_written_over(backbone, tmp_path):
    torch.save(classifier().state_dict(), tmp_path / "a.pt")
    done = run(tmp_path / "a.pt", tmp_path, "--backbone", backbone)
    assert done.returncode == 1 and "is there already" in done.stderr and "Traceback" not in done.stderr
    with pytest.raises(state_dict.Refused, match=f"{tmp_path}/config.json: cannot be read"):
        state_dict.convert(tmp_path / "a.pt", tmp_path / "out", tmp_path, None, None)
