"""What the loader shows of every image in shared/data/dicom beside two independent readers: pydicom (its decoders and
its Modality and VOI LUT functions) and DCMTK's dcmj2pnm / dcml2pnm.

Both put an image on 0 (black) to 1 (white) with the header's first VOI LUT, else its first window, else the range of
its values. Equal is: to pydicom within float32's own precision (finer than 16 bits), to dcmj2pnm's 16-bit output within
the last bit, as it truncates. Colour is compared by its luminance, within one of 255.

Where both agree the loader must agree with them. Where it does not agree with both, dicom_node/object/README.md says
why, one row a file; a row that is wrong, missing or no longer needed fails this test. To see the verdicts of all files:
`NODE_BIN=... NODE_SOURCE_DIR=. python other_readers_test.py`.
"""
import copy
import importlib.util
import os
import pathlib
import re
import subprocess
import tempfile
import warnings

import numpy as np
import pydicom
import pydicom.pixels
import pytest

SOURCE = pathlib.Path(os.environ["NODE_SOURCE_DIR"])
TOOL = pathlib.Path(os.environ["NODE_BIN"]) / "loader_tool"
CORPUS = SOURCE.parent / "shared/data/dicom"
README = SOURCE / "dicom_node/object/README.md"
BEGIN, END = "<!-- other readers: begin -->", "<!-- other readers: end -->"
JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")


def files():
    return sorted(str(path.relative_to(CORPUS)) for kind in ("made", "public") for path in CORPUS.glob(f"{kind}/*.dcm"))


def rows():
    """{file: (what the loader agrees with, why not with both)} of the README's table."""
    text = README.read_text(encoding="utf-8")
    table = text.split(BEGIN)[1].split(END)[0].strip().splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert all(len(row) == 3 and row[2] for row in cells)
    assert len({row[0] for row in cells}) == len(cells), "a file stands twice in the table"
    return {row[0].strip("`"): (row[1], row[2]) for row in cells}


def luma(rgb):
    return rgb.astype(np.float64) @ [0.299, 0.587, 0.114]


def on_unit(values, least, greatest):
    return np.clip((values - least) / max(greatest - least, 1e-9), 0, 1)


def of_frame(dataset, frame):
    """The data set with rescale and window of one frame, where functional groups say them (PS3.3 C.7.6.16.2.9, .10)."""
    for groups, number in ((dataset.get("SharedFunctionalGroupsSequence"), 0),
                           (dataset.get("PerFrameFunctionalGroupsSequence"), frame - 1)):  # The frame's own last.
        for macro in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for item in groups[number].get(macro) or [] if groups else []:
                dataset.update({element.tag: element for element in item})
    return dataset


def by_pydicom(dataset, path, frame):
    """On 0 to 1, larger is brighter."""
    dataset = of_frame(copy.copy(dataset), frame)
    photometric = dataset.PhotometricInterpretation
    index = frame - 1 if str(dataset.get("NumberOfFrames") or 1) not in ("0", "1") else None
    array = pydicom.pixels.pixel_array(dataset, index=index)
    if photometric == "PALETTE COLOR":
        array = pydicom.pixels.apply_color_lut(array, dataset)
        return luma(array) / (255 if array.dtype == np.uint8 else 65535)
    if dataset.SamplesPerPixel == 3:
        return luma(array) / (2**dataset.BitsStored - 1)
    values = pydicom.pixels.apply_modality_lut(array, dataset)
    if dataset.get("VOILUTSequence"):
        shown = pydicom.pixels.apply_voi_lut(values, dataset)
        least, greatest = 0, 2 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
    elif dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        shown = pydicom.pixels.apply_voi_lut(values, dataset)
        signed, bits = dataset.PixelRepresentation == 1, dataset.BitsStored
        least, greatest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        if dataset.get("ModalityLUTSequence"):
            least, greatest = 0, 2 ** dataset.ModalityLUTSequence[0].LUTDescriptor[2] - 1
        elif "RescaleSlope" in dataset and "RescaleIntercept" in dataset:
            least, greatest = (edge * dataset.RescaleSlope + dataset.RescaleIntercept for edge in (least, greatest))
    else:
        shown = values
        least, greatest = shown.min(), shown.max()
    unit = on_unit(shown.astype(np.float64), float(least), float(greatest))
    return 1 - unit if photometric == "MONOCHROME1" else unit


def by_dcmtk(dataset, path, frame, folder):
    colour = dataset.SamplesPerPixel == 3 or dataset.PhotometricInterpretation == "PALETTE COLOR"
    syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    tool = "dcml2pnm" if syntax in JPEG_LS else "dcmj2pnm"
    if dataset.get("VOILUTSequence"):
        voi = ["+Wl", "1"]
    elif dataset.get("WindowCenter") is not None:
        voi = ["+Wi", "1"]
    else:
        voi = ["+Wm"]
    out = pathlib.Path(folder) / "dcmtk.pnm"
    out.unlink(missing_ok=True)
    depth = ["+opb"] if colour else ["+opn", "16"]
    done = subprocess.run([tool, "-q", "-O", "+F", str(frame), *([] if colour else voi), *depth, path, out],
                          capture_output=True, text=True, timeout=120)
    if done.returncode != 0 or not out.exists():
        raise ValueError(f"{tool}: {done.stderr.strip()[-200:]}")
    words = re.sub(rb"#[^\n]*", b"", out.read_bytes()).split()
    columns, height, greatest = (int(word) for word in words[1:4])
    values = np.array(words[4:], dtype=np.float64)
    if words[0] == b"P3":
        return luma(values.reshape(height, columns, 3)) / greatest
    return values.reshape(height, columns) / greatest


def ours(dataset, path, frame, folder):
    """(on 0 to 1, what was done); raises ValueError with our reason where the loader refuses."""
    out = pathlib.Path(folder) / "ours.f32"
    done = subprocess.run([TOOL, path, out, str(frame)], capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        assert done.returncode == 1, f"the loader died of {path}: {done.returncode}"
        raise ValueError(done.stdout.strip())
    height, columns = (int(word) for word in done.stdout.split()[:2])
    steps = [step.rstrip("]") for step in done.stdout.strip().split(" [")[1:]]
    values = np.fromfile(out, "<f4").reshape(height, columns).astype(np.float64)
    windowed, by_lut = any(s.startswith("voi=window") for s in steps), any(s.startswith("voi=lut") for s in steps)
    if "colour=luma" in steps:
        palette = dataset.PhotometricInterpretation == "PALETTE COLOR"
        greatest = 2 ** (dataset.RedPaletteColorLookupTableDescriptor[2] if palette else dataset.BitsStored) - 1
        return values / greatest, steps
    if by_lut:
        return values / (2 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1), steps
    if windowed:
        bits = dataset.BitsStored
        if "modality=lut" in steps:
            bits = dataset.ModalityLUTSequence[0].LUTDescriptor[2]
        for step in steps:
            bits = int(match.group(1)) if (match := re.match(r"bits stored=(\d+),", step)) else bits
        return values / (2**bits - 1), steps
    return on_unit(values, values.min(), values.max()), steps


def attempt(call, *arguments):
    try:
        return call(*arguments), ""
    except AssertionError:
        raise
    except Exception as error:  # Whatever a reader throws at a broken file: it could not read it.
        return None, f"{type(error).__name__}: {error}".splitlines()[0][:200]


def agree(mine, other, tolerance):
    return other is not None and mine.shape == other.shape and np.abs(mine - other).max() <= tolerance


def verdict(file, folder):
    """'both', 'pydicom', 'dcmj2pnm', 'neither', 'refused', or 'no image'; and details to print."""
    path = CORPUS / file
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(path, force=True)
            image = "PixelData" in dataset and "Rows" in dataset
        except Exception:
            image = False
        if not image:
            return "no image", ""
        frames = dataset.get("NumberOfFrames") or 1
        frames = int(frames) if str(frames).isdigit() else 0  # A reader may refuse it, or take it for one.
        results, details = [], []
        for frame in sorted({1, max(frames, 1)}):
            shown, refusal = attempt(ours, dataset, path, frame, folder)
            if shown is None:
                return "refused", refusal
            mine, steps = shown
            theirs, why_p = attempt(by_pydicom, dataset, path, frame)
            dcmtks, why_d = attempt(by_dcmtk, dataset, path, frame, folder)
            colour = "colour=luma" in steps
            equal = (agree(mine, theirs, 1.01 / 255 if colour else 2e-6),
                     agree(mine, dcmtks, 1.01 / 255 if colour else 1.01 / 65535))
            between = theirs is not None and agree(theirs, dcmtks, 1.01 / 255 if colour else 1.01 / 65535)
            apart = [why if other is None else f"{np.abs(mine - other).max():.2g}" if mine.shape == other.shape else
                     f"shape {other.shape}" for other, why in ((theirs, why_p), (dcmtks, why_d))]
            results.append(equal)
            details.append(f"{steps} pydicom {apart[0]}, dcmj2pnm {apart[1]}"
                           f"{', they agree with each other' if between and not all(equal) else ''}")
        equal = tuple(all(result[i] for result in results) for i in range(2))
        name = {(True, True): "both", (True, False): "pydicom", (False, True): "dcmj2pnm", (False, False): "neither"}
        return name[equal], "; ".join(details)


if __name__ == "__main__":
    for name in files():
        with tempfile.TemporaryDirectory() as scratch:
            print(name, *verdict(name, scratch), sep="\t", flush=True)
    raise SystemExit(0)

MISSING = [name for name in ("libjpeg", "openjpeg", "rle", "jpeg_ls") if importlib.util.find_spec(name) is None]
pytestmark = [pytest.mark.skipif(not CORPUS.exists(), reason="no shared/data/dicom beside the checkout"),
              pytest.mark.skipif(bool(MISSING), reason=f"no {', '.join(MISSING)}: pydicom's decoders, in tools/requirements.txt")]


@pytest.mark.parametrize("file", files() or [None])
def test_what_is_shown_is_what_others_show(file, tmp_path):
    agrees, details = verdict(file, tmp_path)
    if agrees == "no image":
        done = subprocess.run([TOOL, CORPUS / file, tmp_path / "out"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1, f"pydicom sees no image here, the loader does: {done.stdout}"
        return
    expected, reason = rows().get(file, ("both", ""))
    assert agrees == expected, f"{file} agrees with {agrees}, the README says {expected} ({reason}): {details}"


def test_every_row_of_the_table_is_a_file_of_the_corpus():
    assert set(rows()) <= set(files())
    assert {agrees for agrees, _ in rows().values()} <= {"pydicom", "dcmj2pnm", "neither", "refused"}
