"""inference/preprocess.h against PIL and HuggingFace's ViTImageProcessorPil: every bit equal.

Images are drawn from a seed; NODE_SEED draws others.
"""

import os
import pathlib
import random
import subprocess

import numpy as np
import PIL.Image
import pydicom
import pytest
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

SOURCE = pathlib.Path(os.environ.get("NODE_SOURCE_DIR", pathlib.Path(__file__).parents[2]))
TOOL = pathlib.Path(os.environ.get("NODE_BIN", SOURCE / "build/release/bin")) / "preprocess_tool"
RADIOGRAPHS = sorted((SOURCE / "tests/data/radiographs").glob("*.dcm"))
SEED = int(os.environ.get("NODE_SEED", 1))

IMAGENET = dict(image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225])
HALF = dict(image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5])
FILTERS = {"lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}


@pytest.fixture
def rng(request):
    print(f"NODE_SEED={SEED}")  # Shown where a test fails.
    return np.random.default_rng([SEED, *request.node.name.encode()])


def ours(image, processor):
    """The 8-bit image, the resized one and the model's input."""
    size = processor.size

    def values(numbers):
        return ",".join(repr(float(number)) for number in numbers)

    done = subprocess.run(
        [TOOL, *map(str, image.shape), str(size["height"]), str(size["width"]),
         str(int(processor.resample)) if processor.do_resize else "-",
         repr(float(processor.rescale_factor)) if processor.do_rescale else "-",
         values(processor.image_mean) if processor.do_normalize else "-",
         values(processor.image_std) if processor.do_normalize else "-"],
        input=np.ascontiguousarray(image, np.float32).tobytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    shape = (size["height"], size["width"])
    eight = np.frombuffer(done.stdout, np.uint8, image.size).reshape(image.shape)
    resized = np.frombuffer(done.stdout, np.uint8, shape[0] * shape[1], image.size).reshape(shape)
    return eight, resized, np.frombuffer(done.stdout[image.size + resized.size :], np.float32).reshape(3, *shape)


def check(image, **options):
    processor = ViTImageProcessorPil(**{**IMAGENET, **options})
    eight, resized, values = ours(image, processor)

    image = image.astype(np.float32)
    least, greatest = image.min(), image.max()
    expected = np.zeros(image.shape, np.uint8)
    if greatest > least:
        expected = ((image - least) / (greatest - least) * 255).astype(np.uint8)
    np.testing.assert_array_equal(eight, expected)

    grey = PIL.Image.fromarray(expected)
    if processor.do_resize:
        size = (processor.size["width"], processor.size["height"])
        np.testing.assert_array_equal(resized, np.asarray(grey.resize(size, processor.resample)))
    reference = np.asarray(processor(grey.convert("RGB"))["pixel_values"][0], np.float32)
    assert np.array_equal(values.view(np.uint32), reference.view(np.uint32)), (
        f"largest difference {np.abs(values - reference).max()}")


@pytest.mark.parametrize("rows, columns, greatest", [
    (1, 1, 255), (1, 2, 255), (3000, 7, 4095), (7, 3000, 65535), (224, 224, 255), (224, 500, 1023), (500, 224, 16383),
    (223, 225, 511), (448, 448, 255), (4280, 3520, 65535)])
@pytest.mark.parametrize("resample", ["bilinear", "bicubic"])
def test_noise(rng, rows, columns, greatest, resample):
    check(rng.integers(0, greatest, (rows, columns), endpoint=True), resample=FILTERS[resample])


@pytest.mark.parametrize("number", range(20))
def test_any_size_range_and_configuration(rng, number):
    rows, columns, height, width = (int(n) for n in np.exp(rng.uniform(0, np.log([900, 900, 400, 400]))))
    image = rng.normal(0, 10.0 ** rng.integers(-3, 6), (rows, columns)) + rng.normal(0, 1000)  # Fractions, negatives.
    check(image, size={"height": height, "width": width}, resample=int(rng.integers(1, 6)),
          do_rescale=bool(rng.integers(0, 4)), rescale_factor=float(rng.choice([1 / 255, 1 / 127.5, rng.uniform()])),
          do_normalize=bool(rng.integers(0, 4)) or number == 0, image_mean=rng.uniform(0, 1, 3).tolist(),
          image_std=rng.uniform(0.01, 1, 3).tolist())


@pytest.mark.parametrize("resample", FILTERS)
def test_every_filter_on_edges(rng, resample):
    """Steps from black to white are where a filter overshoots."""
    image = (rng.integers(0, 2, (57, 91)).repeat(9, 0).repeat(5, 1)) * 4095
    check(image, resample=FILTERS[resample])
    check(image[:40, :50], resample=FILTERS[resample], size={"height": 384, "width": 384})


@pytest.mark.parametrize("value", [0, 1, 65535, -3.5])
def test_constant(value):
    check(np.full((321, 123), value))


def test_without_resize(rng):
    check(rng.integers(0, 4096, (96, 128)), do_resize=False, size={"height": 96, "width": 128})


@pytest.mark.parametrize("name", [path.name for path in RADIOGRAPHS])
def test_radiograph(name):
    instance = pydicom.dcmread(SOURCE / "tests/data/radiographs" / name)
    try:
        image = instance.pixel_array.astype(np.float32)
    except RuntimeError:
        pytest.skip(f"no decoder in Python for {instance.file_meta.TransferSyntaxUID.name}")
    if instance.PhotometricInterpretation == "MONOCHROME1":
        image = image.max() - image
    for options in (IMAGENET, HALF):
        for resample in (2, 3):
            check(image, resample=resample, **options)


@pytest.mark.skipif(not (SOURCE.parent / "shared/data/msk").is_dir(), reason="no ../shared/data/msk")
def test_corpus_of_radiographs():
    images = sorted(path for path in (SOURCE.parent / "shared/data/msk").rglob("*") if path.suffix in (".jpg", ".png"))
    if not images:
        pytest.skip("../shared/data/msk holds no images")
    for path in random.Random(SEED).sample(images, min(20, len(images))):
        check(np.asarray(PIL.Image.open(path).convert("L")))
