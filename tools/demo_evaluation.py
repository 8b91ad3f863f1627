"""Held-out evaluation of the demonstration models, and their card. Used by tools/demo_model.

Every number comes from the saved float16 files, loaded to float32, on the
images of split `val`, through the same input contract as the node's.
"""
import hashlib
import json
import pathlib
import textwrap

import numpy as np
import torch
import torch.nn.functional as F
from transformers import ViTForImageClassification, ViTMAEForPreTraining

from demo_training import GRID, MEAN, PATCH, PATCHES, REGIONS, SIZE, STD, Recipe, box_mask, evaluation_pixels, say


# --- statistics ---

def auroc(scores, positive) -> float:
    """Area under the ROC curve: ties count half. NaN where one class is missing."""
    scores, positive = np.asarray(scores, float), np.asarray(positive, bool)
    count, other = int(positive.sum()), int((~positive).sum())
    if not count or not other:
        return float("nan")
    values, place, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[place]
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * other))


def interval(statistic, blocks: np.ndarray, samples: int, seed: int) -> dict:
    """A statistic of image indices with its 95 % bootstrap interval.

    Whole blocks of neighbouring images are drawn, since neighbours are often one
    patient; samples in which the statistic does not exist are left out.
    """
    random = np.random.default_rng(seed)
    names = np.unique(blocks)
    members = [np.flatnonzero(blocks == name) for name in names]
    drawn = []
    for _ in range(samples):
        value = statistic(np.concatenate([members[i] for i in random.integers(0, len(names), len(names))]))
        if np.isfinite(value):
            drawn.append(value)
    low, high = np.percentile(drawn, [2.5, 97.5]) if drawn else (float("nan"),) * 2
    value = statistic(np.arange(len(blocks)))
    return {key: round(float(v), 4) if np.isfinite(v) else None
            for key, v in (("value", value), ("low", low), ("high", high))}


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's, ties broken by position."""
    ranks = [np.argsort(np.argsort(v.ravel(), kind="stable")) for v in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


# --- classifiers ---

@torch.no_grad()
def logits(folder: pathlib.Path, pixels: torch.Tensor) -> np.ndarray:
    model = ViTForImageClassification.from_pretrained(folder, dtype=torch.float32).eval()
    return torch.cat([model(part).logits for part in pixels.split(16)]).numpy()


def binary(scores: np.ndarray, positive: np.ndarray, blocks: np.ndarray, among: np.ndarray, recipe: Recipe,
           seed: int) -> dict:
    """AUROC and what the threshold 0.5 gives; `among` takes one confounder away."""
    def over(index):
        return auroc(scores[index], positive[index])

    chosen = np.flatnonzero(among)
    called = scores > 0.5
    return {
        "images": len(scores), "positive": int(positive.sum()),
        "auroc": interval(over, blocks, recipe.bootstrap, seed),
        "restricted": {"images": len(chosen), "positive": int(positive[chosen].sum()),
                       "auroc": interval(lambda i: over(chosen[i]), blocks[chosen], recipe.bootstrap, seed)},
        "at_0.5": {"true_positive": int((called & positive).sum()), "false_negative": int((~called & positive).sum()),
                   "false_positive": int((called & ~positive).sum()),
                   "true_negative": int((~called & ~positive).sum())},
    }


def regions(scores: np.ndarray, data: list, blocks: np.ndarray, recipe: Recipe, seed: int) -> dict:
    """Macro one-versus-rest AUROC and accuracy; images of several parts apart."""
    single = np.array([len(r.parts) == 1 for r in data])
    chosen = np.flatnonzero(single)
    truth = np.array([REGIONS.index(r.parts[0]) for r in data])
    top = scores.argmax(1)

    def macro(index):
        return float(np.mean([auroc(scores[chosen[index], k], truth[chosen[index]] == k)
                              for k in range(len(REGIONS))]))

    several = np.flatnonzero(~single)
    hits = sum(REGIONS[top[i]] in data[i].parts for i in several)
    return {
        "images": len(chosen),
        "per_class": {name: {"images": int((truth[chosen] == k).sum()),
                             "auroc": interval(lambda i, k=k: auroc(scores[chosen[i], k], truth[chosen[i]] == k),
                                               blocks[chosen], recipe.bootstrap, seed)}
                      for k, name in enumerate(REGIONS)},
        "macro_auroc": interval(macro, blocks[chosen], recipe.bootstrap, seed),
        "accuracy": interval(lambda i: float(np.mean(top[chosen[i]] == truth[chosen[i]])), blocks[chosen],
                             recipe.bootstrap, seed),
        "several_parts": {"images": len(several), "top_class_is_one_of_them": int(hits)},
    }


# --- autoencoder and map ---

def mask_order(name: str, groups: int) -> list:
    """Patch orders of a name: SplitMix64 keys, sorted by (key, index).

    The seed is the first six bytes of the name's SHA-256, as in the node, which
    uses the SOP Instance UID where this uses the source image's name.
    """
    state = int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")
    wrap = (1 << 64) - 1
    orders = []
    for _ in range(groups):
        keys = []
        for index in range(PATCHES):
            state = (state + 0x9E3779B97F4A7C15) & wrap
            key = state
            key = ((key ^ (key >> 30)) * 0xBF58476D1CE4E5B9) & wrap
            key = ((key ^ (key >> 27)) * 0x94D049BB133111EB) & wrap
            keys.append((key ^ (key >> 31), index))
        orders.append([index for _, index in sorted(keys)])
    return orders


def unit(pixels: torch.Tensor) -> torch.Tensor:
    """Normalised pixels back to [0, 1]."""
    mean, std = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
    return (pixels * std + mean).clamp(0, 1)


def spread(patches: torch.Tensor) -> torch.Tensor:
    """One value per patch, at every pixel of the patch."""
    square = patches.view(-1, 1, GRID, GRID)
    return square.repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3)


def blurred(grey: torch.Tensor, visible: torch.Tensor, sigma: float = 12.0) -> torch.Tensor:
    """Hidden pixels as the Gaussian-weighted mean of visible ones."""
    reach = int(4 * sigma)
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)

    def smooth(image):
        image = F.conv2d(image, line.view(1, 1, 1, -1), padding=(0, reach))
        return F.conv2d(image, line.view(1, 1, -1, 1), padding=(reach, 0))

    return smooth(grey * visible) / smooth(visible).clamp_min(1e-6)


@torch.no_grad()
def error_map(model: ViTMAEForPreTraining, pixels: torch.Tensor, name: str, passes: int):
    """The node's map of one image in mode `partition`: squared error, mean over
    channels, over the passes that hid the patch; and the errors of two fillings
    that know nothing, over the same hidden pixels."""
    noise = []
    for order in mask_order(name, passes // 4):
        for run in range(4):
            rank = torch.empty(PATCHES)
            rank[order] = torch.arange(PATCHES).float()
            noise.append((rank - run * PATCHES / 4) % PATCHES)
    truth = unit(pixels)
    output = model(pixels.expand(passes, -1, -1, -1), noise=torch.stack(noise))
    error = (unit(model.unpatchify(output.logits)) - truth).square().mean(1, keepdim=True)
    hidden = spread(output.mask)
    grey, visible = truth.mean(1, keepdim=True), 1 - hidden
    level = (grey * visible).sum((2, 3), keepdim=True) / visible.sum((2, 3), keepdim=True)
    fills = {"mean": level, "blur": blurred(grey, visible)}
    errors = {name: float(((fill - grey).square() * hidden).sum() / hidden.sum()) for name, fill in fills.items()}
    errors["model"] = float((error * hidden).sum() / hidden.sum())
    return ((error * hidden).sum(0) / hidden.sum(0))[0].numpy(), errors


def edges(pixels: torch.Tensor) -> np.ndarray:
    """Sobel's gradient magnitude of the grey image."""
    grey = F.pad(unit(pixels).mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    kernel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
    x, y = (F.conv2d(grey, k.view(1, 1, 3, 3)) for k in (kernel, kernel.T.contiguous()))
    return (x.square() + y.square()).sqrt()[0, 0].numpy()


def per_patch(image: np.ndarray) -> np.ndarray:
    return image.reshape(GRID, PATCH, GRID, PATCH).mean((1, 3))


def autoencoder(folder: pathlib.Path, pixels: torch.Tensor, data: list, blocks: np.ndarray, recipe: Recipe,
                seed: int) -> tuple:
    """Reconstruction error, and whether the map's heat lies in the boxes."""
    model = ViTMAEForPreTraining.from_pretrained(folder, dtype=torch.float32).eval()
    names, errors, correlations, scores = ("map", "sobel", "centre"), [], [], []
    found = {name: {"pixel_auroc": [], "pointing": []} for name in names}
    boxed = []
    rows, columns = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    for i, radiograph in enumerate(data):
        heat, error = error_map(model, pixels[i:i + 1], radiograph.source_id, recipe.passes)
        gradient = edges(pixels[i:i + 1])
        errors.append(error)
        scores.append(float(heat.mean()))
        correlations.append(rank_correlation(per_patch(heat), per_patch(gradient)))
        if not radiograph.boxes:
            continue
        boxed.append(i)
        inside = box_mask(radiograph, SIZE).astype(bool)
        for name, image in zip(names, (heat, gradient, -np.hypot(rows, columns))):
            found[name]["pixel_auroc"].append(auroc(image.ravel(), inside.ravel()))
            hottest = np.unravel_index(per_patch(image).argmax(), (GRID, GRID))
            y, x = (v * PATCH for v in hottest)
            found[name]["pointing"].append(float(inside[y:y + PATCH, x:x + PATCH].any()))

    def mean(values, of=blocks):
        values = np.array(values)
        return interval(lambda index: float(values[index].mean()), of, recipe.bootstrap, seed)

    fractured = np.array([r.fractured for r in data])
    reconstruction = {
        "images": len(data), "passes": recipe.passes, "mode": "partition",
        "squared_error": {name: {k: (None if v is None else float(f"{v:.6f}")) for k, v in
                                 _precise([e[name] for e in errors], blocks, recipe, seed).items()}
                          for name in ("model", "mean", "blur")},
    }
    of = blocks[boxed]
    result = {name: {key: mean(values, of) for key, values in found[name].items()} for name in names}
    difference = np.array(found["map"]["pixel_auroc"]) - np.array(found["sobel"]["pixel_auroc"])
    anomaly = {
        "images": len(boxed), "methods": result,
        "pixel_auroc_map_minus_sobel": mean(difference, of),
        "patch_rank_correlation_with_sobel": mean(correlations),
        "image_score_auroc_fractured": interval(lambda index: auroc(np.array(scores)[index], fractured[index]), blocks,
                                                recipe.bootstrap, seed),
    }
    return reconstruction, anomaly


def _precise(values: list, blocks: np.ndarray, recipe: Recipe, seed: int) -> dict:
    """interval() of a mean of small numbers, which four decimals would cut."""
    values = np.array(values) * 1000
    result = interval(lambda index: float(values[index].mean()), blocks, recipe.bootstrap, seed)
    return {key: None if v is None else v / 1000 for key, v in result.items()}


# --- everything ---

def evaluate(out: pathlib.Path, data: dict, recipe: Recipe, seed: int) -> dict:
    """All metrics of the four directories in `out`."""
    held = data["val"]
    say(f"evaluating on {len(held)} held-out images")
    pixels = evaluation_pixels(held)
    blocks = np.array([r.block for r in held])
    fractured, implant = (np.array([getattr(r, key) for r in held]) for key in ("fractured", "implant"))

    def probability(name):
        return 1 / (1 + np.exp(-logits(out / name, pixels)[:, 0].astype(np.float64)))

    reconstruction, anomaly = autoencoder(out / "demo-skelex", pixels, held, blocks, recipe, seed)
    return {
        "data": {split: {"images": len(items), "blocks": len({r.block for r in items}),
                         "fractured": sum(r.fractured for r in items), "implant": sum(r.implant for r in items),
                         "implant_without_fracture": sum(r.implant and not r.fractured for r in items)}
                 for split, items in data.items()},
        "reconstruction": reconstruction,
        "anomaly_map": anomaly,
        "fracture": binary(probability("demo-fracture"), fractured, blocks, ~implant, recipe, seed),
        "implant": binary(probability("demo-implant"), implant, blocks, fractured, recipe, seed),
        "region": regions(logits(out / "demo-region", pixels), held, blocks, recipe, seed),
    }


# --- the card ---

def _ci(entry: dict, digits: int = 2) -> str:
    if entry["value"] is None:
        return "not defined"
    if entry["low"] is None:
        return f"{entry['value']:.{digits}f}"
    return f"{entry['value']:.{digits}f} ({entry['low']:.{digits}f} to {entry['high']:.{digits}f})"


def _verdict(anomaly: dict) -> str:
    """What the numbers say of the map, in words."""
    gain, heat = anomaly["pixel_auroc_map_minus_sobel"], anomaly["methods"]["map"]["pixel_auroc"]
    if gain["low"] is not None and gain["low"] > 0:
        against = "It ranks fracture pixels better than plain edge strength does."
    elif gain["high"] is not None and gain["high"] < 0:
        against = "It ranks fracture pixels **worse** than plain edge strength does."
    else:
        against = "It ranks fracture pixels no better than plain edge strength does: the difference may be chance."
    if heat["low"] is not None and heat["low"] > 0.5:
        chance = "Better than chance, because fractures lie on bone and bone has edges."
    else:
        chance = "Not surely better than chance."
    text = (f"{against} {chance} What it shows is mainly edges and bright structures (cortical bone, casts, implants, "
            "markers, the borders of the exposed field), which so small an autoencoder cannot redraw from a quarter "
            "of the patches. **It does not find fractures.** It demonstrates that maps are made, stored and shown.")
    return textwrap.fill(text, 118)


def card(metrics: dict, sizes: dict) -> str:
    """The model card, README.md of the output folder."""
    data, mae, anomaly = metrics["data"], metrics["reconstruction"]["squared_error"], metrics["anomaly_map"]
    fracture, implant, region = metrics["fracture"], metrics["implant"], metrics["region"]
    methods = anomaly["methods"]

    def counts(task):
        c = task["at_0.5"]
        return (f"{c['true_positive']} of {c['true_positive'] + c['false_negative']} found, "
                f"{c['false_positive']} of {c['false_positive'] + c['true_negative']} false alarms")

    rows = "\n".join(f"| {name} | {_ci(methods[key]['pixel_auroc'])} | {_ci(methods[key]['pointing'])} |"
                     for key, name in (("map", "anomaly map"), ("sobel", "Sobel edge magnitude"),
                                       ("centre", "distance from the centre")))
    classes = ", ".join(f"{name} {_ci(entry['auroc'])} ({entry['images']} images)"
                        for name, entry in region["per_class"].items())
    several = region["several_parts"]
    listing = "\n".join(f"| `{name}/` | {what} | {sizes[name] / 1e6:.1f} MB |" for name, what in (
        ("demo-skelex", "masked autoencoder with its decoder (`ViTMAEForPreTraining`): the anomaly map"),
        ("demo-fracture", "fracture, 1 logit, sigmoid; its own fully fine-tuned encoder"),
        ("demo-implant", "implant, 1 logit, sigmoid; shares its encoder with `demo-region`"),
        ("demo-region", "hand, leg, hip, shoulder: 4 logits, softmax; shares its encoder with `demo-implant`")))
    recipe = metrics["recipe"]
    return f"""# Demonstration models

**For demonstration only. Not for clinical use.** Toys that exercise the node: trained from nothing on
{data['train']['images']} small images, with no relation to SKELEX's weights and none of its quality. Do not route
patients' images to them for anything but a test of the plumbing.

| directory | what | size |
| --- | --- | --- |
{listing}

Ordinary HuggingFace checkpoints (`config.json`, `preprocessor_config.json`, `model.safetensors`, float16): ViT with
hidden size 192, 4 layers, 3 heads, patches of 16, 224 x 224; the autoencoder's decoder has 2 layers of 128. All
`vit.*` tensors of `demo-implant` and `demo-region` are the same bytes, so a node keeps and runs that encoder once.

## Data

FracAtlas: Abedeen, I., Rahman, M.A., Prottyasha, F.Z. et al., Sci Data 10, 521 (2023), doi
10.1038/s41597-023-02432-4; data doi 10.6084/m9.figshare.22363012, CC BY 4.0
(<https://creativecommons.org/licenses/by/4.0/>). A selection of {data['train']['images'] + data['val']['images']}
images of limbs, hips and shoulders, the large ones made smaller. The checkpoints hold no image.

| split | images | blocks | fractured | implant | implant without fracture |
| --- | --- | --- | --- | --- | --- |
| train | {' | '.join(str(data['train'][k]) for k in ('images', 'blocks', 'fractured', 'implant', 'implant_without_fracture'))} |
| val (held out) | {' | '.join(str(data['val'][k]) for k in ('images', 'blocks', 'fractured', 'implant', 'implant_without_fracture'))} |

FracAtlas has no patient numbers. Blocks of 20 neighbouring image numbers, often one patient's, are never divided
between train and val. The held-out images chose nothing: no stopping, no selection; the last averaged weights are
kept. Images that show several parts (`hand+shoulder`: mostly an arm) teach the region model equal shares.

## Held-out results

Measured on the saved float16 files. In brackets: 95 % intervals, bootstrap over blocks, {recipe['bootstrap']} samples.

| task | AUROC | without the confounder | at threshold 0.5 |
| --- | --- | --- | --- |
| fracture | {_ci(fracture['auroc'])} | {_ci(fracture['restricted']['auroc'])} (no implant, {fracture['restricted']['images']} images) | {counts(fracture)} |
| implant | {_ci(implant['auroc'])} | {_ci(implant['restricted']['auroc'])} (fractured only, {implant['restricted']['images']} images) | {counts(implant)} |
| region | {_ci(region['macro_auroc'])} macro | | accuracy {_ci(region['accuracy'])}, {region['images']} images of one part |

Region, one versus rest: {classes}. Of {several['images']} images of several parts the top class is one of them in
{several['top_class_is_one_of_them']}.

**Confounding.** {"No image" if not data['train']['implant_without_fracture'] + data['val']['implant_without_fracture'] else "Nearly no image"}
with an implant lacks a fracture here, so a model that sees metal may say "fracture". Casts, several views in one
image and the hospital's habits tell of fractures too. Fractured images are half of this selection, 18 % of FracAtlas.
Only {implant['positive']} held-out images show an implant: its interval says less than it seems.

**Reconstruction** (squared error of hidden pixels in [0, 1], {metrics['reconstruction']['passes']} passes, `partition`): {_ci(mae['model'], 4)};
filling with the mean of the visible pixels {_ci(mae['mean'], 4)}; filling with a Gaussian blur of them
{_ci(mae['blur'], 4)}.

**What the map shows.** On {anomaly['images']} held-out fractured images, against the fractures' boxes:

| method | pixel AUROC | hottest patch touches a box |
| --- | --- | --- |
{rows}

Map minus Sobel, pixel AUROC: {_ci(anomaly['pixel_auroc_map_minus_sobel'])}. Rank correlation of map and Sobel per patch:
{_ci(anomaly['patch_rank_correlation_with_sobel'])}. The mean of the map as a score for "fractured": AUROC
{_ci(anomaly['image_score_auroc_fractured'])}.

{_verdict(anomaly)}

[ANOMALY_MAP.md](ANOMALY_MAP.md) asks the same of the node's own maps, in both modes, with more measures
(`tools/map_evaluation`).

`metrics.json` holds all of this for machines, with versions, seed and the SHA-256 of each file.

## Making them again

    tools/demo_model --data DIR{metrics['options']}

DIR holds `labels.csv` and the images it names. Trained on two CPU cores, without a GPU, in about an hour: {recipe['mae_epochs']} epochs of
masked pretraining, {recipe['fracture_epochs']} of fine-tuning for fracture, {recipe['shared_epochs']} for implant and region together. The same machine,
versions, seed and number of threads ({metrics['threads']}) give the same bytes. This card and `metrics.json` are written by the
script.
"""


def write(out: pathlib.Path, metrics: dict) -> None:
    """metrics.json and the card."""
    sizes = {name: sum(f.stat().st_size for f in (out / name).iterdir())
             for name in ("demo-skelex", "demo-fracture", "demo-implant", "demo-region")}
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    (out / "README.md").write_text(card(metrics, sizes))
