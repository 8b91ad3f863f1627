#!/usr/bin/env python3
"""Make tests/data/radiographs: real radiographs as DICOM DX and CR instances.

    make_radiographs.py --data DIR [--out DIR] [--check]

DIR is the folder with FracAtlas images: labels.csv, images/, full.csv, full/.
The pixels are published radiographs (FracAtlas, CC BY 4.0); everything else in
the header (patient, study, dates, spacing, equipment) is invented. UIDs derive
from names, so a second run with the same versions gives the same bytes.
Tests read the committed files and never need this script.

Needs pydicom >= 3, numpy and Pillow, and Debian's dcmtk (dcmcjpeg, for the
JPEG Lossless files); --check needs dicom3tools (dciodvfy).
"""
import argparse
import csv
import hashlib
import io
import pathlib
import shutil
import subprocess
import sys
import tempfile
import uuid
from typing import NamedTuple, Optional

try:
    import numpy as np
    import pydicom
    from PIL import Image
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.encaps import encapsulate, generate_frames
    from pydicom.sequence import Sequence
except ImportError as error:
    sys.exit(f"make_radiographs: {error}; install it: pip install 'pydicom>=3' numpy pillow")

DX = "1.2.840.10008.5.1.4.1.1.1.1"  # Digital X-Ray Image Storage - For Presentation
CR = "1.2.840.10008.5.1.4.1.1.1"
RAW = "1.2.840.10008.1.2.1"  # Explicit VR Little Endian
JPEG = "1.2.840.10008.1.2.4.50"  # JPEG Baseline
LOSSLESS = "1.2.840.10008.1.2.4.70"  # JPEG Lossless, selection value 1
SYNTAX_NAME = {RAW: "Explicit VR Little Endian", JPEG: "JPEG Baseline", LOSSLESS: "JPEG Lossless SV1"}

NAMESPACE = uuid.UUID("8c1f5a52-0d1b-5a0e-9a53-6f2d6f5b1e77")
IMPLEMENTATION = "2.25.%d" % uuid.uuid5(NAMESPACE, "implementation").int

# Body Part Examined -> SNOMED CT code and meaning (PS3.16, Annex L).
ANATOMY = {
    "ANKLE": ("70258002", "Ankle joint"),
    "ELBOW": ("16953009", "Elbow joint"),
    "FEMUR": ("71341001", "Femur"),
    "FOOT": ("56459004", "Foot"),
    "FOREARM": ("14975008", "Forearm"),
    "HAND": ("85562004", "Hand"),
    "HIP": ("24136001", "Hip joint"),
    "HUMERUS": ("85050009", "Humerus"),
    "KNEE": ("72696002", "Knee"),
    "LEG": ("30021000", "Lower leg"),
    "PELVIS": ("816092008", "Pelvis"),
    "SHOULDER": ("16982005", "Shoulder"),
}
# View Position -> SNOMED CT code, meaning (PS3.16 CID 4010), Patient Orientation.
# LAT and OBL are no defined terms: the sources do not say from which side.
VIEW = {
    "AP": ("399348003", "antero-posterior", ["L", "F"]),
    "PA": ("272479007", "postero-anterior", ["L", "F"]),
    "LAT": ("399067008", "lateral", ["A", "F"]),
    "OBL": ("399182000", "oblique", ["LA", "F"]),
    "": (None, "two views", ["L", "F"]),
}
LONG_SIDE_MM = 430.0  # invented: every image as if on a 43 cm cassette


class Film(NamedTuple):
    """One file to make. `patient` n is DEMO^<word n>; one study per patient."""

    patient: int
    source: int  # FracAtlas image number
    body_part: str
    view: str
    laterality: str = ""  # L, R or unknown
    kind: str = DX
    mono1: bool = False
    bits: int = 8
    syntax: str = RAW
    full: bool = False  # from the published size (full/), shrunk to `long_side`
    long_side: int = 1400


WORDS = ("ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE TEN ELEVEN TWELVE THIRTEEN FOURTEEN "
         "FIFTEEN SIXTEEN").split()
# All from held-out blocks (split `val`). Laterality: a burned-in marker, or the
# side of the trunk in a frontal picture; elsewhere it cannot be known.
FILMS = [
    Film(1, 252, "HAND", "PA", "L", bits=12, syntax=LOSSLESS, full=True),
    Film(2, 3847, "FOOT", "AP"),
    Film(2, 3848, "FOOT", "OBL"),
    Film(2, 3852, "FOOT", "OBL"),
    Film(3, 2522, "FEMUR", "AP", "L", bits=12),
    Film(3, 2523, "FEMUR", "OBL", "L"),
    Film(4, 2417, "FEMUR", "AP", kind=CR),
    Film(4, 2418, "FEMUR", "LAT", kind=CR, bits=12),
    Film(5, 2403, "ANKLE", "", kind=CR),
    Film(6, 1926, "SHOULDER", "AP", "L", mono1=True),
    Film(7, 1686, "SHOULDER", "AP", "R", kind=CR, mono1=True, bits=12),
    Film(8, 2531, "FOREARM", "AP"),
    Film(9, 2530, "HAND", "OBL", syntax=JPEG, full=True),
    Film(10, 125, "PELVIS", "AP", full=True),
    Film(11, 246, "FEMUR", "AP", bits=12, full=True, long_side=1024),
    Film(12, 4333, "HIP", "AP", "L", full=True),
    Film(13, 2048, "KNEE", "AP"),
    Film(14, 3125, "ELBOW", "LAT", kind=CR),
    Film(15, 3130, "LEG", "AP"),
    Film(15, 3131, "LEG", "LAT", bits=12),
    Film(16, 3732, "HUMERUS", "AP", "L", syntax=LOSSLESS),
    Film(16, 3738, "SHOULDER", "AP", "L", kind=CR, syntax=JPEG),
]


def uid(*names) -> str:
    """A stable UID under 2.25 from names."""
    return "2.25.%d" % uuid.uuid5(NAMESPACE, "/".join(map(str, names))).int


def code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item


def grey(path: pathlib.Path, long_side: int) -> np.ndarray:
    """The published image, grey, at most `long_side` long."""
    image = Image.open(path).convert("L")
    scale = long_side / max(image.size)
    if scale < 1:
        size = tuple(round(n * scale) for n in image.size)
        image = image.resize(size, Image.Resampling.LANCZOS)
    return np.asarray(image)


def store(film: Film, pixels: np.ndarray):
    """Stored values and the window that gives the published grey back.

    12-bit values lie in 200..3260, so an image shown without its window is
    visibly wrong; the lowest and highest published grey are the window's ends.
    """
    if film.bits == 8:
        values, window = pixels, (128.0, 256.0)
    else:
        values, window = pixels.astype(np.uint16) * 12 + 200, (1730.5, 3061.0)
    if film.mono1:
        top = (1 << film.bits) - 1
        values = (top - values).astype(values.dtype)
        window = (top + 1 - window[0], window[1])
    return np.ascontiguousarray(values), window


def dataset(film: Film, number: int, row: dict, pixels: np.ndarray, ratio: float) -> FileDataset:
    """A complete DX or CR instance, pixel data uncompressed."""
    values, window = store(film, pixels)
    patient = f"DEMO-{film.patient:04d}"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = film.kind
    meta.MediaStorageSOPInstanceUID = uid("instance", row["source_id"])
    meta.TransferSyntaxUID = RAW
    meta.ImplementationClassUID = IMPLEMENTATION
    meta.ImplementationVersionName = "SKELEX_DEMO_DATA"
    ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)

    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.SOPInstanceUID = film.kind, meta.MediaStorageSOPInstanceUID
    day = "202605%02d" % (film.patient + 3)
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = day
    ds.StudyTime = ds.SeriesTime = "%02d0000" % (8 + film.patient % 9)
    ds.AcquisitionTime = ds.ContentTime = "%02d%02d00" % (8 + film.patient % 9, number)
    ds.AccessionNumber = f"DEMO-A{film.patient:04d}"
    ds.Modality = "DX" if film.kind == DX else "CR"
    ds.Manufacturer, ds.ManufacturerModelName = "SKELEX DEMO DATA", "made from JPEG"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "0", "1"
    ds.InstitutionName = "Invented Hospital"
    ds.ReferringPhysicianName = "DEMO^REFERRER"
    ds.StudyDescription = f"XR {film.body_part}"
    ds.SeriesDescription = f"{film.body_part} {film.view}".strip()

    ds.PatientName, ds.PatientID = "DEMO^" + WORDS[film.patient - 1], patient
    ds.IssuerOfPatientID = "SKELEX DEMO"
    ds.PatientBirthDate, ds.PatientSex = "", "O"
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = "De-identified by its publishers; all of this header is invented"

    ds.StudyInstanceUID, ds.StudyID = uid("study", patient), f"D{film.patient:04d}"
    ds.SeriesInstanceUID, ds.SeriesNumber = uid("series", patient, number), number
    ds.InstanceNumber = 1
    ds.BodyPartExamined, ds.ViewPosition = film.body_part, film.view
    ds.PatientOrientation = VIEW[film.view][2]
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.DerivationDescription = (f"From {row['source_id']} of FracAtlas, doi 10.6084/m9.figshare.22363012, "
                                "CC BY 4.0; grey, possibly resized, wrapped")
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME1" if film.mono1 else "MONOCHROME2"
    ds.Rows, ds.Columns = values.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8 * values.itemsize, film.bits, film.bits - 1
    ds.PixelRepresentation = 0
    ds.BurnedInAnnotation = "NO"  # side markers at most: nothing that identifies a person
    ds.LossyImageCompression = "01"  # published as JPEG
    ds.LossyImageCompressionRatio = f"{ratio:.1f}"
    ds.LossyImageCompressionMethod = "ISO_10918_1"
    spacing = f"{LONG_SIDE_MM / max(values.shape):.4f}"
    ds.ImagerPixelSpacing = [spacing, spacing]
    ds.WindowCenter, ds.WindowWidth = map(str, window)
    ds.KVP = None

    ds.AnatomicRegionSequence = Sequence([code(*ANATOMY[film.body_part])])
    value, meaning, _ = VIEW[film.view]
    if value and film.kind == DX:
        view = code(value, meaning)
        view.ViewModifierCodeSequence = Sequence()
        ds.ViewCodeSequence = Sequence([view])
    if film.kind == CR:
        ds.Laterality = film.laterality
        ds.PlateType = ds.PhosphorType = None
    else:
        ds.PresentationIntentType = "FOR PRESENTATION"
        ds.ImageLaterality = film.laterality or "U"  # the standard has no word for "unknown"
        ds.PixelIntensityRelationship = "LOG"
        ds.PixelIntensityRelationshipSign = 1 if film.mono1 else -1
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
        ds.PresentationLUTShape = "INVERSE" if film.mono1 else "IDENTITY"
        ds.DetectorType, ds.DetectorConditionsNominalFlag = "DIRECT", "YES"
        ds.PositionerType = "NONE"
        ds.AcquisitionContextSequence = Sequence()

    raw = values.tobytes()
    ds.PixelData = raw + b"\0" * (len(raw) % 2)
    ds["PixelData"].VR = "OB" if values.itemsize == 1 else "OW"
    return ds


def encode_baseline(ds: FileDataset, ratio: float) -> None:
    """Replace the pixel data by one JPEG Baseline frame."""
    stream = io.BytesIO()
    Image.fromarray(ds.pixel_array).save(stream, "JPEG", quality=92)
    ds.LossyImageCompressionRatio = [f"{ratio:.1f}", f"{ds.Rows * ds.Columns / stream.tell():.1f}"]
    ds.LossyImageCompressionMethod = ["ISO_10918_1", "ISO_10918_1"]
    ds.file_meta.TransferSyntaxUID = JPEG
    ds.PixelData = encapsulate([stream.getvalue()])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True


def encode_lossless(ds: FileDataset) -> None:
    """Replace the pixel data by one JPEG Lossless frame, written by dcmcjpeg.

    Only its frame is used, so the header does not vary with DCMTK's version.
    """
    if not shutil.which("dcmcjpeg"):
        sys.exit("make_radiographs: dcmcjpeg not found; install Debian's dcmtk")
    with tempfile.TemporaryDirectory() as folder:
        plain, packed = pathlib.Path(folder, "plain"), pathlib.Path(folder, "packed")
        ds.save_as(plain, enforce_file_format=True)
        subprocess.run(["dcmcjpeg", "+e1", plain, packed], check=True)
        frame = next(generate_frames(pydicom.dcmread(packed).PixelData, number_of_frames=1))
    ds.file_meta.TransferSyntaxUID = LOSSLESS
    ds.PixelData = encapsulate([frame])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True


def scaled_boxes(row: dict, rows: int, columns: int) -> str:
    """The fracture boxes of a labels.csv row in pixels of the made file."""
    boxes = []
    for box in filter(None, row["boxes_xyxy"].split(";")):
        x1, y1, x2, y2 = map(float, box.split())
        fx, fy = columns / int(row["width"]), rows / int(row["height"])
        boxes.append("%d %d %d %d" % (round(x1 * fx), round(y1 * fy), round(x2 * fx), round(y2 * fy)))
    return ";".join(boxes)


def check(path: pathlib.Path) -> Optional[str]:
    """dciodvfy's errors on a file, or None."""
    done = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True)
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    return "\n".join(errors) or None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder with labels.csv, images/ and full/")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    parser.add_argument("--check", action="store_true", help="run dciodvfy -new on every file")
    arguments = parser.parse_args()
    table = arguments.data / "labels.csv"
    if not table.is_file():
        sys.exit(f"make_radiographs: no labels.csv in {arguments.data}; see README.md for where the images come from")
    with open(table, newline="") as stream:
        labels = {row["source_id"]: row for row in csv.DictReader(stream)}

    folder = arguments.out / "radiographs"
    folder.mkdir(parents=True, exist_ok=True)
    listing, seen, failures = [], {}, 0
    for film in FILMS:
        number = seen[film.patient] = seen.get(film.patient, 0) + 1
        row = labels[f"IMG{film.source:07d}.jpg"]
        source = arguments.data / row["file"]
        if film.full:
            source = arguments.data / "full" / source.name
        with Image.open(source) as image:
            ratio = image.width * image.height * len(image.getbands()) / source.stat().st_size
        ds = dataset(film, number, row, grey(source, film.long_side), ratio)
        if film.syntax == JPEG:
            encode_baseline(ds, ratio)
        elif film.syntax == LOSSLESS:
            encode_lossless(ds)
        name = f"{film.patient:02d}_{number}_{film.body_part.lower()}_{film.view.lower() or 'two_views'}.dcm"
        path = folder / name
        ds.save_as(path, enforce_file_format=True)
        if arguments.check and (errors := check(path)):
            failures += 1
            print(f"{name}:\n{errors}", file=sys.stderr)
        listing.append({
            "file": f"radiographs/{name}", "source": "FracAtlas", "source_id": row["source_id"],
            "body_part": film.body_part, "source_body_part": row["body_part"], "view": film.view,
            "laterality": film.laterality, "modality": ds.Modality, "photometric": ds.PhotometricInterpretation,
            "bits_stored": film.bits, "window_center": ds.WindowCenter, "window_width": ds.WindowWidth,
            "transfer_syntax": film.syntax, "transfer_syntax_name": SYNTAX_NAME[film.syntax],
            "rows": ds.Rows, "columns": ds.Columns, "patient_id": ds.PatientID,
            "accession_number": ds.AccessionNumber, "study_uid": ds.StudyInstanceUID,
            "series_uid": ds.SeriesInstanceUID, "instance_uid": ds.SOPInstanceUID,
            "fractured": row["fractured"], "implant": row["implant"],
            "boxes_xyxy": scaled_boxes(row, ds.Rows, ds.Columns), "split": row["split"],
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        })
    with open(arguments.out / "radiographs.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, listing[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(listing)
    size = sum(path.stat().st_size for path in folder.glob("*.dcm"))
    print(f"{len(listing)} files, {size / 1e6:.1f} MB, {failures} with errors", file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
