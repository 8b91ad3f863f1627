"""Data and training of the demonstration models. Used by tools/demo_model."""
import copy
import csv
import json
import math
import pathlib
import sys
import time
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import (ViTForImageClassification, ViTImageProcessorPil, ViTMAEConfig,
                          ViTMAEForPreTraining)

SIZE = 224
PATCH = 16
GRID = SIZE // PATCH
PATCHES = GRID * GRID
TRAIN_SIZE = 288  # cached training images keep some detail for crops
REGIONS = ["hand", "leg", "hip", "shoulder"]
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class DataError(Exception):
    """The data folder is not what it should be; the text says what is missing."""


@dataclass
class Recipe:
    """How long to train. The defaults make the committed checkpoints."""

    mae_epochs: int = 60
    fracture_epochs: int = 40
    shared_epochs: int = 24
    limit: int = 0  # use only so many images of each split; 0: all
    bootstrap: int = 2000
    passes: int = 8  # masked passes of the anomaly map

    @staticmethod
    def quick() -> "Recipe":
        """A few steps of everything, for tests."""
        return Recipe(mae_epochs=1, fracture_epochs=1, shared_epochs=1, limit=32, bootstrap=50, passes=4)


@dataclass
class Radiograph:
    """One labelled image. `grey` is the published image stretched to 8 bits."""

    source_id: str
    grey: np.ndarray
    fractured: bool
    implant: bool
    parts: list
    boxes: list = field(default_factory=list)  # x1 y1 x2 y2 as fractions of width and height

    @property
    def block(self) -> int:
        """Twenty neighbouring source numbers: never divided between train and val."""
        return int("".join(c for c in self.source_id if c.isdigit())) // 20

    @property
    def region(self) -> np.ndarray:
        """Target of the region head: several parts share the probability equally."""
        target = np.array([part in self.parts for part in REGIONS], dtype=np.float32)
        return target / target.sum()


def say(text: str) -> None:
    print(f"demo_model: {text}", file=sys.stderr, flush=True)


def stretch(grey: np.ndarray) -> np.ndarray:
    """Whole image min-max to 8 bits, truncating: the pixel contract of the node."""
    values = grey.astype(np.float32)
    low, high = values.min(), values.max()
    if high <= low:
        return np.zeros(grey.shape, np.uint8)
    return ((values - low) / (high - low) * 255).astype(np.uint8)


def read_data(folder: pathlib.Path, limit: int = 0) -> dict:
    """The radiographs of `folder` by split, sorted by name."""
    table = folder / "labels.csv"
    if not table.is_file():
        raise DataError(f"no labels.csv in {folder}; --data wants a folder with labels.csv and images/ made from "
                        "FracAtlas (doi 10.6084/m9.figshare.22363012)")
    with open(table, newline="") as stream:
        rows = sorted(csv.DictReader(stream), key=lambda row: row["file"])
    wanted = {"file", "source_id", "body_part", "fractured", "implant", "boxes_xyxy", "width", "height", "split"}
    if rows and not wanted <= rows[0].keys():
        raise DataError(f"{table} lacks the columns {sorted(wanted - rows[0].keys())}")
    data = {"train": [], "val": []}
    for row in rows:
        if limit and len(data[row["split"]]) >= limit:
            continue
        path = folder / row["file"]
        if not path.is_file():
            raise DataError(f"labels.csv names {row['file']}, which is not in {folder}")
        grey = np.asarray(Image.open(path).convert("L"))
        width, height = int(row["width"]), int(row["height"])
        boxes = [[float(v) / s for v, s in zip(box.split(), (width, height, width, height))]
                 for box in row["boxes_xyxy"].split(";") if box]
        parts = [part for part in row["body_part"].split("+") if part in REGIONS]
        if not parts:
            raise DataError(f"{row['file']}: body part {row['body_part']!r} is none of {REGIONS}")
        data[row["split"]].append(Radiograph(row["source_id"], stretch(grey), row["fractured"] == "yes",
                                             row["implant"] == "yes", parts, boxes))
    shared = {r.block for r in data["train"]} & {r.block for r in data["val"]}
    if shared:
        raise DataError(f"train and val share blocks of neighbouring images: {sorted(shared)[:5]}")
    if not data["train"] or not data["val"]:
        raise DataError(f"{table} needs rows of split train and of split val")
    return data


def processor() -> ViTImageProcessorPil:
    """The input contract written into every checkpoint, and used at evaluation."""
    return ViTImageProcessorPil(do_resize=True, size={"height": SIZE, "width": SIZE}, resample=2, do_rescale=True,
                                rescale_factor=1 / 255, do_normalize=True, image_mean=list(MEAN), image_std=list(STD))


def evaluation_pixels(radiographs: list) -> torch.Tensor:
    """Inputs exactly as the node makes them: stretched, RGB, then the processor."""
    images = [Image.fromarray(r.grey).convert("RGB") for r in radiographs]
    return processor()(images, return_tensors="pt")["pixel_values"]


def box_mask(radiograph: Radiograph, size: int) -> np.ndarray:
    """1 inside the fracture boxes, else 0."""
    mask = np.zeros((size, size), np.uint8)
    for x1, y1, x2, y2 in radiograph.boxes:
        mask[math.floor(y1 * size):math.ceil(y2 * size), math.floor(x1 * size):math.ceil(x2 * size)] = 1
    return mask


class TrainingSet:
    """Training images in memory, and augmented batches of them."""

    def __init__(self, radiographs: list, seed: int):
        self.random = np.random.default_rng(seed)
        squash = (TRAIN_SIZE, TRAIN_SIZE)
        grey = [np.asarray(Image.fromarray(r.grey).resize(squash, Image.Resampling.BILINEAR)) for r in radiographs]
        self.grey = torch.from_numpy(np.stack(grey))
        self.boxes = torch.from_numpy(np.stack([box_mask(r, TRAIN_SIZE) for r in radiographs]))
        self.fractured = torch.tensor([float(r.fractured) for r in radiographs])
        self.implant = torch.tensor([float(r.implant) for r in radiographs])
        self.region = torch.from_numpy(np.stack([r.region for r in radiographs]))

    def batches(self, size: int):
        """One epoch of index lists; the last short one is dropped."""
        order = torch.from_numpy(self.random.permutation(len(self.grey)))
        size = min(size, len(order))
        for start in range(0, len(order) - size + 1, size):
            yield order[start:start + size]

    def augmented(self, index: torch.Tensor):
        """Normalised pixels and box masks under one random affine map each.

        Flip, rotation up to 15 degrees, zoom, shift, contrast, brightness, gamma.
        """
        count, draw = len(index), self.random.uniform
        angle = np.radians(draw(-15, 15, count))
        zoom_x, zoom_y = draw(0.75, 1.1, count), draw(0.9, 1.1, count)
        flip = np.where(draw(size=count) < 0.5, -1.0, 1.0)
        cos, sin = np.cos(angle), np.sin(angle)
        theta = np.stack([
            np.stack([flip * zoom_x * cos, -sin * zoom_x, draw(-0.1, 0.1, count)], 1),
            np.stack([flip * zoom_x * zoom_y * sin, cos * zoom_x * zoom_y, draw(-0.1, 0.1, count)], 1)], 1)
        grid = F.affine_grid(torch.from_numpy(theta).float(), (count, 1, SIZE, SIZE), align_corners=False)
        both = torch.stack([self.grey[index].float() / 255, self.boxes[index].float()], 1)
        both = F.grid_sample(both, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        grey, boxes = both[:, :1], both[:, 1:]

        def per_image(low, high):
            return torch.from_numpy(draw(low, high, count)).float().view(-1, 1, 1, 1)

        grey = grey.clamp(0, 1) ** torch.exp(per_image(-0.35, 0.35))
        grey = (grey * per_image(0.8, 1.2) + per_image(-0.08, 0.08)).clamp(0, 1)
        mean, std = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
        return (grey - mean) / std, boxes[:, 0]


def schedule(step: int, steps: int, warmup: float = 0.1) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    start = max(1, int(warmup * steps))
    if step < start:
        return (step + 1) / start
    return 0.5 * (1 + math.cos(math.pi * (step - start) / max(1, steps - start)))


def optimizer(modules: list, rate: float, decay: float) -> torch.optim.AdamW:
    """AdamW; no weight decay on biases, norms, tokens and position embeddings."""
    named = [(name, p) for module in modules for name, p in module.named_parameters() if p.requires_grad]

    def plain(name, p):
        return p.ndim < 2 or "token" in name or "position" in name

    return torch.optim.AdamW([{"params": [p for n, p in named if not plain(n, p)], "weight_decay": decay},
                              {"params": [p for n, p in named if plain(n, p)], "weight_decay": 0.0}],
                             lr=rate, betas=(0.9, 0.95), foreach=False)


def train(label: str, data: TrainingSet, modules: list, loss_of, epochs: int, batch: int, rate: float,
          decay: float = 0.05, average: float = 0.0) -> None:
    """Train `modules` in place; `loss_of(index, progress)` gives the loss of a batch.

    average > 0: the modules end as the moving average of their weights. The last
    state is kept whatever the held-out images say: they choose nothing.
    """
    steps = epochs * max(1, len(data.grey) // min(batch, len(data.grey)))
    engine = optimizer(modules, rate, decay)
    parameters = [p for group in engine.param_groups for p in group["params"]]
    means = [p.detach().clone() for p in parameters] if average else []
    step, begun, losses = 0, time.monotonic(), []
    per_epoch = steps // epochs
    for module in modules:
        module.train()
    for epoch in range(epochs):
        for index in data.batches(batch):
            for group in engine.param_groups:
                group["lr"] = rate * schedule(step, steps)
            loss = loss_of(index, step / steps)
            engine.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            engine.step()
            step += 1
            if average:
                keep = min(average, step / (step + 10))
                with torch.no_grad():
                    for mean, p in zip(means, parameters):
                        mean.lerp_(p, 1 - keep)
            losses.append(loss.item())
        if epoch % max(1, epochs // 20) == 0 or epoch == epochs - 1:
            recent = losses[-per_epoch:]
            say(f"{label}: epoch {epoch + 1}/{epochs}, loss {sum(recent) / len(recent):.4f}, "
                f"{time.monotonic() - begun:.0f} s")
    if average:
        with torch.no_grad():
            for mean, p in zip(means, parameters):
                p.copy_(mean)
    for module in modules:
        module.eval()


def save(model, folder: pathlib.Path) -> None:
    """Write an ordinary HuggingFace directory, float16, with its input contract."""
    half = copy.deepcopy(model).half()
    half.save_pretrained(folder)
    processor().save_pretrained(folder)
    path = folder / "preprocessor_config.json"
    contract = json.loads(path.read_text())
    contract["image_processor_type"] = "ViTImageProcessor"  # the name every version knows
    path.write_text(json.dumps(contract, indent=2, sort_keys=True) + "\n")


def near_and_far(width: int, base: float = 20.0) -> torch.Tensor:
    """Sine and cosine position embeddings of the 14 x 14 grid, zeros for the class token.

    The usual base of 10000 is made for long texts: over 14 patches most of its
    waves stay flat. The file carries the values, so readers need not know.
    """
    waves = base ** (-torch.arange(width // 4) / (width // 4))
    down, right = torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="ij")
    angles = [place.reshape(-1, 1) * waves for place in (right, down)]
    grid = torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], 1)
    return torch.cat([torch.zeros(1, width), grid]).unsqueeze(0)


@torch.no_grad()
def start_local(model: ViTMAEForPreTraining) -> None:
    """Start weights with which a few hundred images suffice to learn reconstruction.

    Queries and keys start equal, so that a token first looks at tokens of near
    places (compare "mimetic initialization", Trockman and Kolter 2023); the other
    linear layers start as in the original masked autoencoder (Xavier).
    """
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.xavier_uniform_(module.weight)
            torch.nn.init.zeros_(module.bias)
    for module in model.modules():
        if hasattr(module, "q_proj"):
            torch.nn.init.orthogonal_(module.q_proj.weight, gain=1.5)
            module.k_proj.weight.copy_(module.q_proj.weight)
    model.vit.embeddings.position_embeddings.copy_(near_and_far(model.config.hidden_size))
    model.decoder.decoder_pos_embed.copy_(near_and_far(model.config.decoder_hidden_size))


def train_mae(radiographs: list, folder: pathlib.Path, recipe: Recipe, seed: int) -> None:
    """Pretrain the masked autoencoder and save it with its decoder."""
    torch.manual_seed(seed)
    data = TrainingSet(radiographs, seed)
    config = ViTMAEConfig(hidden_size=192, num_hidden_layers=4, num_attention_heads=3, intermediate_size=768,
                          image_size=SIZE, patch_size=PATCH, num_channels=3, decoder_hidden_size=128,
                          decoder_num_hidden_layers=2, decoder_num_attention_heads=4,
                          decoder_intermediate_size=512, mask_ratio=0.75, norm_pix_loss=False)
    model = ViTMAEForPreTraining(config)
    start_local(model)

    def loss_of(index, progress):
        return model(data.augmented(index)[0]).loss

    train("mae", data, [model], loss_of, recipe.mae_epochs, batch=16, rate=1e-3, average=0.99)
    save(model, folder)


def classifier(mae: pathlib.Path, names: list, kind: str) -> ViTForImageClassification:
    """A classifier whose encoder starts as the saved autoencoder's."""
    model, report = ViTForImageClassification.from_pretrained(
        mae, num_labels=len(names), id2label=dict(enumerate(names)), label2id={n: i for i, n in enumerate(names)},
        problem_type=kind, dtype=torch.float32, output_loading_info=True)
    missing = [key for key in report["missing_keys"] if not key.startswith("classifier.")]
    if missing:
        raise RuntimeError(f"encoder tensors not found in {mae.name}: {missing}")
    for key in ("mask_ratio", "norm_pix_loss", "decoder_hidden_size", "decoder_num_hidden_layers",
                "decoder_num_attention_heads", "decoder_intermediate_size"):
        if hasattr(model.config, key):  # of no meaning without a decoder
            delattr(model.config, key)
    return model


def some_tokens(vit, pixels: torch.Tensor, progress: float):
    """The encoder's class token, patch tokens, and which patches those are.

    For three quarters of the training only half of the patches are shown, those
    with something on them preferred: half the time, and less learned by heart.
    """
    tokens = vit.embeddings(pixels)
    kept = torch.arange(PATCHES).expand(len(pixels), -1)
    if progress < 0.75:
        contrast = F.unfold(pixels[:, :1], PATCH, stride=PATCH).std(1)
        kept = torch.multinomial(contrast + 0.02, PATCHES // 2)
        shown = tokens[:, 1:].gather(1, kept.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))
        tokens = torch.cat([tokens[:, :1], shown], 1)
    for layer in vit.layers:
        tokens = layer(tokens)
    tokens = vit.layernorm(tokens)
    return tokens[:, 0], tokens[:, 1:], kept


def train_fracture(radiographs: list, mae: pathlib.Path, folder: pathlib.Path, recipe: Recipe, seed: int) -> None:
    """Fine-tune everything for fractures.

    The boxes help: a second head on the patch tokens, thrown away afterwards,
    learns which patches hold a fracture.
    """
    torch.manual_seed(seed)
    data = TrainingSet(radiographs, seed)
    model = classifier(mae, ["Fracture"], "multi_label_classification")
    where = torch.nn.Linear(model.config.hidden_size, 1)
    torch.nn.init.zeros_(where.weight)

    def loss_of(index, progress):
        pixels, boxes = data.augmented(index)
        token, patches, kept = some_tokens(model.vit, pixels, progress)
        logits = model.classifier(token)[:, 0]
        cover = F.avg_pool2d(boxes.unsqueeze(1), PATCH).flatten(1).gather(1, kept)
        patches = where(patches)[..., 0]
        local = F.binary_cross_entropy_with_logits(patches, (cover > 0.2).float(), pos_weight=torch.tensor(5.0))
        return F.binary_cross_entropy_with_logits(logits, data.fractured[index]) + local

    train("fracture", data, [model, where], loss_of, recipe.fracture_epochs, batch=16, rate=4e-4, average=0.99)
    save(model, folder)


def train_shared(radiographs: list, mae: pathlib.Path, implant: pathlib.Path, region: pathlib.Path, recipe: Recipe,
                 seed: int) -> None:
    """Train one encoder for two tasks and save two complete directories."""
    torch.manual_seed(seed)
    data = TrainingSet(radiographs, seed)
    first = classifier(mae, ["Implant"], "multi_label_classification")
    second = classifier(mae, REGIONS, "single_label_classification")
    second.vit = first.vit
    # As pretrained (start_local) the class token looks at itself alone, and without the loss on patches that
    # train_fracture has it would learn nothing from so few images. Zero, it starts as the mean of what all tokens say.
    with torch.no_grad():
        first.vit.embeddings.cls_token.zero_()

    def loss_of(index, progress):
        token = some_tokens(first.vit, data.augmented(index)[0], progress)[0]
        return (F.binary_cross_entropy_with_logits(first.classifier(token)[:, 0], data.implant[index])
                + F.cross_entropy(second.classifier(token), data.region[index]))

    train("implant and region", data, [first, second.classifier], loss_of, recipe.shared_epochs, batch=16, rate=4e-4,
          average=0.99)
    save(first, implant)
    save(second, region)
