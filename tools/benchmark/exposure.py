"""One exposure as large as a detector's: what the benchmarks read. Needs a benchmark's own Python (common.py)."""
import csv

import numpy as np
import pydicom
from common import ROOT
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

ROWS, COLUMNS, BITS = 3000, 2500, 14


def stored_values():
    with open(ROOT / "tests/data/radiographs.csv", newline="") as table:
        row = max((r for r in csv.DictReader(table) if r["transfer_syntax"].startswith("1.2.840.10008.1.2")
                   and not r["transfer_syntax"].startswith("1.2.840.10008.1.2.4")),
                  key=lambda r: (int(r["bits_stored"]), int(r["rows"])))
    source = pydicom.dcmread(ROOT / "tests/data" / row["file"])
    values = source.pixel_array.astype(np.float32)
    if source.PhotometricInterpretation == "MONOCHROME1":
        values = values.max() - values
    values = (values - values.min()) / (values.max() - values.min()) * (2**BITS * 0.8) + 2**BITS * 0.1
    large = np.asarray(Image.fromarray(values).resize((COLUMNS, ROWS), Image.Resampling.BICUBIC))
    noisy = large + np.random.default_rng(20261124).normal(0, 1, large.shape) * np.sqrt(np.maximum(large, 1)) / 4
    return np.clip(np.round(noisy), 0, 2**BITS - 1).astype(np.uint16)


def large_exposure():
    """A radiograph of tests/data, enlarged, with a detector's noise (seeded), as a data set in native pixels."""
    values = stored_values()
    dataset = pydicom.Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.SOPInstanceUID, dataset.StudyInstanceUID = generate_uid(entropy_srcs=["image"]), generate_uid(entropy_srcs=["study"])
    dataset.SeriesInstanceUID, dataset.Modality = generate_uid(entropy_srcs=["series"]), "DX"
    dataset.PresentationIntentType, dataset.PhotometricInterpretation = "FOR PRESENTATION", "MONOCHROME2"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = ROWS, COLUMNS, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, BITS, BITS - 1, 0
    dataset.WindowCenter, dataset.WindowWidth = 2 ** (BITS - 1), int(2**BITS * 0.7)
    dataset.PixelData = values.tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset
