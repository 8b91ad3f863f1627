#!/usr/bin/env python3
"""Writes the committed corpus: tiny files of each kind that the targets read, of noise. Needs tools/requirements.txt and
Debian's dcmtk. A second run gives the same bytes."""
import io
import json
import pathlib
import struct
import subprocess
import tempfile

import numpy
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian,
                         ImplicitVRLittleEndian, JPEG2000Lossless, RLELossless)

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"
DX = "1.2.840.10008.5.1.4.1.1.1.1"
COMMITMENT = "1.2.840.10008.1.20.1"


def image(bits=12):
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = DX, "1.2.826.0.1.2"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.826.0.1.3", "1.2.826.0.1.4"
    dataset.Modality, dataset.BodyPartExamined = "DX", "KNEE"
    dataset.SpecificCharacterSet, dataset.PatientName, dataset.PatientID = "ISO_IR 100", "Test^Fuzz", "1"
    dataset.PresentationIntentType = "FOR PRESENTATION"
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "72696002", "SCT", "Knee"
    dataset.AnatomicRegionSequence = Sequence([region])
    dataset.Rows = dataset.Columns = 16
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME1"
    dataset.BitsAllocated = 16 if bits > 8 else 8
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, 0
    dataset.RescaleSlope, dataset.RescaleIntercept = "2", "-100"
    dataset.WindowCenter, dataset.WindowWidth = ["500", "700"], ["1000", "1400"]
    pixels = numpy.random.default_rng(bits).integers(0, 1 << bits, (16, 16),
                                                     dtype=numpy.uint16 if bits > 8 else numpy.uint8)
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    return dataset, pixels


def write(name, dataset, syntax):
    """`name`: under the corpus."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.ImplementationClassUID = "1.2.826.0.1.9"
    dataset.save_as(CORPUS / name, enforce_file_format=True)


def dicom():
    for name, syntax in (("explicit", ExplicitVRLittleEndian), ("implicit", ImplicitVRLittleEndian),
                         ("deflated", DeflatedExplicitVRLittleEndian)):
        write(f"dicom/{name}.dcm", image()[0], syntax)
    dataset, pixels = image()
    dataset.PixelData = pixels.astype(">u2").tobytes()
    write("dicom/big_endian.dcm", dataset, ExplicitVRBigEndian)
    dataset, pixels = image(8)
    dataset.compress(RLELossless, pixels)
    write("dicom/rle.dcm", dataset, RLELossless)
    dataset, pixels = image(8)
    codestream = io.BytesIO()
    Image.fromarray(pixels).save(codestream, "JPEG2000", no_jp2=True, irreversible=False)
    dataset.PixelData = encapsulate([codestream.getvalue()])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    write("dicom/jpeg2000.dcm", dataset, JPEG2000Lossless)
    dataset, _ = image()
    dataset.NumberOfFrames, dataset.Rows = 2, 8
    del dataset.WindowCenter, dataset.WindowWidth, dataset.RescaleSlope, dataset.RescaleIntercept
    for keyword in ("ModalityLUTSequence", "VOILUTSequence"):
        table = Dataset()
        table.add_new((0x0028, 0x3002), "US", [16, 0, 16])
        table.add_new((0x0028, 0x3006), "OW", struct.pack("<16H", *range(0, 64, 4)))
        setattr(dataset, keyword, Sequence([table]))
    write("dicom/lut_two_frames.dcm", dataset, ExplicitVRLittleEndian)
    with tempfile.TemporaryDirectory() as folder:
        eight = pathlib.Path(folder) / "eight.dcm"
        dataset, _ = image(8)
        write("dicom/eight.dcm", dataset, ExplicitVRLittleEndian)
        (CORPUS / "dicom/eight.dcm").rename(eight)
        twelve = CORPUS / "dicom/explicit.dcm"
        for name, source, command in (("jpeg_baseline", eight, ["dcmcjpeg", "+eb"]),
                                      ("jpeg_extended", twelve, ["dcmcjpeg", "+ee"]),
                                      ("jpeg_lossless", twelve, ["dcmcjpeg", "+e1"]),
                                      ("jpegls", twelve, ["dcmcjpls"])):
            subprocess.run([*command, "+un", source, CORPUS / f"dicom/{name}.dcm"], check=True)


def element(number, value):
    return struct.pack("<HHI", 0, number, len(value)) + value


def value(context, content, command, last):
    return struct.pack(">IBB", len(content) + 2, context, command | last << 1) + content


def pdu(content, kind=4):
    return struct.pack(">BBI", kind, 0, len(content)) + content


def pdus():
    echo = (element(2, b"1.2.840.10008.1.1\0") + element(0x100, b"\x30\0") + element(0x110, b"\1\0") +
            element(0x800, b"\1\1"))
    store = (element(2, DX.encode() + b"\0") + element(0x100, b"\1\0") + element(0x110, b"\1\0") +
             element(0x800, b"\0\0") + element(0x1000, b"1.2.826.0.1.2\0"))
    action = (element(3, COMMITMENT.encode()) + element(0x100, b"\x30\1") + element(0x110, b"\2\0") +
              element(0x800, b"\0\0") + element(0x1001, COMMITMENT.encode() + b".1") + element(0x1008, b"\1\0"))
    event = (element(2, COMMITMENT.encode()) + element(0x100, b"\0\1") + element(0x110, b"\2\0") +
             element(0x800, b"\0\0") + element(0x1000, COMMITMENT.encode() + b".1") + element(0x1002, b"\2\0"))
    data = bytes(range(256)) * 2
    kinds = {"echo": pdu(value(1, echo, 1, 1)),
             "store": pdu(value(1, store, 1, 1)) + pdu(value(1, data, 0, 0)) + pdu(value(1, data, 0, 1)),
             "many_values": pdu(value(1, store[:20], 1, 0) + value(1, store[20:], 1, 1) + value(1, data, 0, 0) +
                                value(1, b"", 0, 0) + value(1, data[:6], 0, 1) + value(1, echo, 1, 1)),
             "action": pdu(value(1, action, 1, 1)) + pdu(value(1, data, 0, 1)),
             "event": pdu(value(1, event, 1, 1)) + pdu(value(1, data, 0, 1)),
             "release": pdu(value(1, echo, 1, 1)) + pdu(b"\0" * 4, 5),
             "abort": pdu(b"\0" * 4, 7)}
    for name, content in kinds.items():
        (CORPUS / "pdu" / name).write_bytes(content)


def references(failed):
    items = []
    for number in range(3):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = DX, f"1.2.826.0.1.{number}"
        if failed:
            item.FailureReason = 0x0112
        items.append(item)
    return Sequence(items)


def commitments():
    for name, fails in (("action", False), ("event", True)):
        dataset = Dataset()
        dataset.TransactionUID, dataset.ReferencedSOPSequence = "2.25.42", references(False)
        if fails:
            dataset.FailedSOPSequence = references(True)
        dataset.SOPClassUID, dataset.SOPInstanceUID = COMMITMENT, COMMITMENT + ".1"
        for syntax, uid in (("implicit", ImplicitVRLittleEndian), ("explicit", ExplicitVRLittleEndian)):
            write(f"commitment/{name}_{syntax}", dataset, uid)


def acknowledgements():
    head = "MSH|^~\\&|RIS|SITE|SKELEX|SITE|20261128120000||ACK^R01|7|P|2.5.1\r"
    for name, body in (("aa", "MSA|AA|42\r"), ("ae", "MSA|AE|42|no such order\rERR||OBR^1|204^Unknown key^HL70357|E||||no order\r"),
                       ("ar", "MSA|AR|42\rERR|||200^Unsupported message type^HL70357|E\r"),
                       ("duplicate", "MSA|AR|42\rERR|||205^Duplicate key identifier^HL70357|E\r"),
                       ("other", "MSA|AA|43\r"), ("newlines", "\nMSA|CA|42\r\n")):
        (CORPUS / "hl7" / name).write_bytes((head + body).encode())


def configurations():
    (CORPUS / "config/small.yaml").write_text("""\
node: {ae_title: SKELEX, port: 11112, acse_timeout: 5 s, object_bytes_max: 1 GiB, more_sop_classes: [1.2.3]}
storage: {directory: store, free_bytes_min: 1 GiB, retention: {originals_days: 7}}
peers:
  pacs: {ae_title: PACS, host: 127.0.0.1, port: 104, study_quiet_period: 10 s}
models: {m: {path: m}}
tasks:
  a: {model: m, output: anomaly_map, passes: 8}
  f: {model: m, output: sigmoid, labels: [Fracture], code: "1|SCT|F", threshold: {doubtful: 0.3, certain: 0.7}}
routes:
  - {name: knee, match: {modality: [CR, DX], body_part: KNEE}, tasks: [a, f], send_to: pacs}
forward: [{match: {from: pacs}, send_to: [pacs]}]
body_parts: {KNEE: {aliases: [KN], descriptions: ['KN(EE)?']}}
""")
    (CORPUS / "config/aliases.yaml").write_text("a: &a [1, 2]\nb: {<<: &b {c: *a}, d: !!str 5, e: 'x', f: |\n  y\n}\n")


def safetensors():
    def write_file(name, header, data):
        header = json.dumps(header).encode()
        (CORPUS / "safetensors" / name).write_bytes(struct.pack("<Q", len(header)) + header + data)
    write_file("two", {"__metadata__": {"format": "pt"},
                       "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
                       "b": {"dtype": "BF16", "shape": [3], "data_offsets": [16, 22]}}, bytes(22))
    write_file("scalar", {"s": {"dtype": "F16", "shape": [], "data_offsets": [0, 2]}}, b"\0\x3c")


for make in (dicom, pdus, commitments, acknowledgements, configurations, safetensors):
    make()
