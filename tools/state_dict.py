"""A plain state_dict of a fine-tuned classifier becomes a directory as save_pretrained writes it: of a .pt file, of a
.safetensors file, or of a directory of such files (shards) without a config.json, as accelerate leaves them.

    tools/state_dict kneeoa.pt /models/kneeoa --backbone /models/SKELEX --labels "KL 0" "KL 1" "KL 2" "KL 3" "KL 4"

A state_dict holds tensors and nothing of the network's shape: that comes from the config.json of the backbone it was
fine-tuned from, and the pixel contract is that of the published tasks (224 x 224, bilinear, ImageNet's mean and deviation)
unless --processor names another preprocessor_config.json. The file is read as tensors alone: what else is pickled in it is
refused, not run. The result is read back by transformers before it stands under its name; `skelex-node check` reads it next.
"""
import argparse
import json
import pathlib
import pickle
import shutil
import sys
import tempfile
import zipfile

import safetensors.torch
import torch
import transformers

transformers.logging.set_verbosity_error()  # What is missing or too much is said here.
transformers.logging.disable_progress_bar()

SHAPE = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act", "layer_norm_eps",
         "image_size", "patch_size", "num_channels", "qkv_bias")
WRAPPERS = ("state_dict", "model_state_dict", "model")  # What training scripts put around it,
PREFIX = "module."                                      # and what DataParallel puts before each name.


class Refused(Exception):
    """What is wrong, where, and the way out."""


def tensors_of(path):
    """Name -> tensor."""
    if path.is_dir() or path.suffix == ".safetensors":
        return safe_tensors_of(path)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not zipfile.is_zipfile(path):
            raise Refused(f"{path}: not a file of torch.save, or an old one of more than tensors") from error
        raise Refused(f"{path}: holds more than tensors, which could run as a program: save model.state_dict() of it where it "
                      "was made") from error
    except (OSError, RuntimeError, EOFError) as error:
        raise Refused(f"{path}: not a file of torch.save: {str(error).splitlines()[0]}") from error
    for wrapper in WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
    if not isinstance(found, dict) or not found or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise Refused(f"{path}: no state_dict: names and their tensors")
    return {name.removeprefix(PREFIX): tensor.contiguous().clone() for name, tensor in found.items()}


def safe_tensors_of(path):
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not files:
        raise Refused(f"{path}: no .safetensors in it")
    tensors = {}
    for file in files:
        try:
            found = safetensors.torch.load_file(file)
        except (OSError, safetensors.SafetensorError) as error:
            raise Refused(f"{file}: no file of safetensors: {str(error).splitlines()[0]}") from error
        if both := tensors.keys() & found.keys():
            raise Refused(f"{file}: holds {min(both)}, which another file of the directory holds")
        tensors |= found
    return {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}


def config_of(tensors, backbone, labels, path):
    try:
        known = json.loads((backbone / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise Refused(f"{backbone}/config.json: cannot be read ({error}): name the directory of the backbone") from error
    classifier = tensors.get("classifier.weight")
    if classifier is None or classifier.dim() != 2:
        raise Refused(f"{path}: no classifier.weight [labels, hidden size]: not of a ViTForImageClassification")
    if labels and len(labels) != len(classifier):
        raise Refused(f"{path}: {len(classifier)} logits, but {len(labels)} labels are named")
    labels = labels or [f"LABEL_{i}" for i in range(len(classifier))]
    return transformers.ViTConfig(**{key: known[key] for key in SHAPE if key in known}, id2label=dict(enumerate(labels)),
                                  label2id={label: i for i, label in enumerate(labels)},
                                  architectures=["ViTForImageClassification"])


def convert(path, out, backbone, labels, processor):
    if out.exists():
        raise Refused(f"{out}: is there already: name a new directory")
    tensors = tensors_of(path)
    config = config_of(tensors, backbone, labels, path)
    out.parent.mkdir(parents=True, exist_ok=True)
    made = pathlib.Path(tempfile.mkdtemp(prefix=out.name, dir=out.parent))
    try:
        config.save_pretrained(made)
        safetensors.torch.save_file(tensors, made / "model.safetensors", metadata={"format": "pt"})
        if processor:
            shutil.copyfile(processor, made / "preprocessor_config.json")
        else:
            transformers.ViTImageProcessorPil(
                size={"height": config.image_size, "width": config.image_size}, resample=2,
                image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]).save_pretrained(made)
        try:
            _, read = transformers.ViTForImageClassification.from_pretrained(
                made, output_loading_info=True, ignore_mismatched_sizes=True)
        except (RuntimeError, ValueError) as error:
            raise Refused(f"{path}: not of the backbone's shape: {str(error).splitlines()[0]}") from error
        for what, why in (("missing_keys", "lacks"), ("unexpected_keys", "holds besides"), ("mismatched_keys", "has of another shape")):
            if read[what]:
                names = sorted(str(key if isinstance(key, str) else key[0]) for key in read[what])
                raise Refused(f"{path}: {why} {', '.join(names[:3])}{' and others' if len(names) > 3 else ''}: not of a "
                              f"ViTForImageClassification of the shape of {backbone}")
        made.chmod(0o755)
        made.rename(out)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return len(tensors), len(config.id2label)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=pathlib.Path, help="of torch.save(model.state_dict()), a .safetensors, or a directory of such")
    parser.add_argument("directory", type=pathlib.Path, help="to be made")
    parser.add_argument("--backbone", type=pathlib.Path, required=True, help="directory of what it was fine-tuned from")
    parser.add_argument("--labels", nargs="+", help="of its logits, in their order; default LABEL_0, LABEL_1, ...")
    parser.add_argument("--processor", type=pathlib.Path, help="a preprocessor_config.json; default: that of the tasks")
    given = parser.parse_args()
    try:
        count, logits = convert(given.file, given.directory, given.backbone, given.labels, given.processor)
    except Refused as refused:
        sys.exit(f"state_dict: {refused}")
    print(f"{given.directory}: {count} tensors, {logits} logit{'' if logits == 1 else 's'}")


if __name__ == "__main__":
    main()
