"""load_image() against pydicom, an independent reader, on the radiographs of tests/data.

pydicom decodes (JPEG Lossless, for which it has no decoder here, goes through dcmtk's dcmdjpeg first), applies the
Modality LUT or rescale and the VOI LUT or window; MONOCHROME1 is inverted here. Both sides put windowed values into
[0, 2^Bits Stored - 1], so they are compared as they are.
"""
import csv
import os
import pathlib
import shutil
import subprocess

import numpy as np
import pydicom
import pydicom.encaps
import pydicom.pixels
import pytest

SOURCE = pathlib.Path(os.environ["NODE_SOURCE_DIR"])
TOOL = pathlib.Path(os.environ["NODE_BIN"]) / "loader_tool"
DATA = SOURCE / "tests" / "data"


def rows():
    with open(DATA / "radiographs.csv", newline="") as table:
        return list(csv.DictReader(table))


def ours(path, tmp_path):
    out = tmp_path / "pixels"
    done = subprocess.run([TOOL, path, out], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    height, width = (int(word) for word in done.stdout.split()[:2])
    steps = [step.rstrip("]") for step in done.stdout.strip().split(" [")[1:]]
    return np.fromfile(out, "<f4").reshape(height, width), steps


def decoded(path, tmp_path):
    dataset = pydicom.dcmread(path)
    if dataset.file_meta.TransferSyntaxUID != "1.2.840.10008.1.2.4.70":
        return dataset
    if shutil.which("dcmdjpeg") is None:
        pytest.skip("no dcmdjpeg (package dcmtk) to decode JPEG Lossless with")
    subprocess.run(["dcmdjpeg", path, tmp_path / "decoded.dcm"], check=True, timeout=120)
    return pydicom.dcmread(tmp_path / "decoded.dcm")


def reference(dataset):
    values = pydicom.pixels.apply_modality_lut(dataset.pixel_array, dataset)
    shown = pydicom.pixels.apply_voi_lut(values, dataset).astype(np.float64)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        windowed = "WindowCenter" in dataset
        low, high = (0, 2**dataset.BitsStored - 1) if windowed else (shown.min(), shown.max())
        shown = low + high - shown
    return shown


@pytest.mark.parametrize("row", rows(), ids=lambda row: pathlib.Path(row["file"]).stem)
def test_pixels_are_those_of_pydicom(row, tmp_path):
    path = DATA / row["file"]
    dataset = decoded(path, tmp_path)
    pixels, steps = ours(path, tmp_path)
    expected = reference(dataset)
    assert pixels.shape == expected.shape
    assert ("inverted" in steps) == (row["photometric"] == "MONOCHROME1")
    assert ("voi=window 1" in steps) == bool(row["window_center"])
    difference = np.abs(pixels - expected)
    if row["transfer_syntax"] == "1.2.840.10008.1.2.4.50":  # Two IDCTs may round apart by a grey value.
        scale = (2**dataset.BitsStored - 1) / float(row["window_width"] or 2**dataset.BitsStored - 1)
        assert difference.max() <= 2 * max(1.0, scale)
        assert difference.mean() <= 0.1 * max(1.0, scale)
    else:
        assert difference.max() <= 1e-5 * np.abs(expected).max()


def test_the_data_hold_what_this_is_about():
    table = rows()
    assert any(row["photometric"] == "MONOCHROME1" and row["window_center"] for row in table)
    assert any(row["photometric"] == "MONOCHROME1" and row["bits_stored"] == "8" for row in table)
    assert any(row["transfer_syntax"] == "1.2.840.10008.1.2.4.70" for row in table)
    assert any(row["transfer_syntax"] == "1.2.840.10008.1.2.4.50" for row in table)


@pytest.mark.parametrize("offset_table", [True, False])
@pytest.mark.parametrize("fragments", [1, 3])
def test_frames_of_several_fragments_are_told_apart_in_jpeg_2000(tmp_path, fragments, offset_table):
    openjpeg = pytest.importorskip("openjpeg.utils", reason="no pylibjpeg-openjpeg to write JPEG 2000 with")
    frames = np.random.default_rng(7).integers(0, 4096, (3, 40, 50)).astype(np.uint16)
    dataset = pydicom.dcmread(DATA / rows()[1]["file"])
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 40, 50, 3
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    codestreams = [openjpeg.encode_array(frame, bits_stored=12) for frame in frames]
    dataset.PixelData = pydicom.encaps.encapsulate(codestreams, fragments_per_frame=fragments, has_bot=offset_table)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    path, out = tmp_path / "frames.dcm", tmp_path / "stored"
    dataset.save_as(path, enforce_file_format=True)
    for number, frame in enumerate(frames, 1):
        done = subprocess.run([TOOL, "--stored", path, out, str(number)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout
        assert (np.fromfile(out, "<i4").reshape(frame.shape) == frame).all()
