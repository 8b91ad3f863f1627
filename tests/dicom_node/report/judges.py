"""Other people's tools as judges of the node's objects: each takes a file and returns its complaints, without those
known to be false. `broken()` makes objects that they must find."""
import datetime
import pathlib
import re
import subprocess
import warnings

import highdicom as hd
import pydicom
from pydicom import config as pydicom_config

PIXELMED = pathlib.Path("/usr/share/java/pixelmed.jar")

# Accession Number is asked for at two levels, which the tool calls a difference between them. Patient Identity Removed
# says how the source was made; a result is not that.
# Attributes that may be copied and are not (PatientComments, PregnancyStatus, ...) are no contradiction.
# What of a source is no value is empty in its results where it has to be there (type 2); identity() sees to it that nothing
# else is.
DCENTVFY_FALSE = ("Different information entities", "Attribute present in one instance but not the other",
                  "Attribute is empty (zero length) in one instance - OK only If Type 2")
# The 2022 copy of CID 100 in PixelMed knows no LOINC codes.
PIXELMED_FALSE = ('Code (43468-8,LN,"XR unspecified body region") not found in context group 100',)
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
HIGHDICOM_READS = ("1.2.840.10008.5.1.4.1.1.88.22", "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.88.34", SEGMENTATION)
IDENTITY = ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate",
            "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID")


def run(*command):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, errors="replace")


def is_sr(file):
    return pydicom.dcmread(file, stop_before_pixels=True).Modality in ("SR", "KO")


# A one pixel wide image has its corners in one line, which the tool takes for a mistake.
DCIODVFY_FALSE = ("DisplayedAreaSelectionSequence is internally inconsistent - DisplayedAreaTopLeftHandCorner = (1,1)  is not above",)


def dciodvfy(file):
    out = run("dciodvfy", "-new", file)
    errors = [line for line in (out.stdout + out.stderr).splitlines() if line.startswith("Error")]
    false = [line for line in errors if any(word in line for word in DCIODVFY_FALSE)]
    return [line for line in errors if line not in false] or ([f"exit {out.returncode}"] if out.returncode and not false else [])


def dcentvfy(file, source):
    def complaints(*files):
        out = run("dcentvfy", *files)
        return [line for line in (out.stdout + out.stderr).splitlines()
                if line.strip() and not any(word in line for word in DCENTVFY_FALSE)]
    of_source = set(complaints(source))  # Private elements, deflated data sets and HTJ2K, which it cannot read.
    old_dates = "." in str(pydicom.dcmread(source, stop_before_pixels=True).get("StudyDate", ""))
    found = [line for line in complaints(source, file) if line not in of_source and not (old_dates and ("<StudyDate>" in line or "<StudyTime>" in line))]
    # It compares bytes; identity() compares the texts that they are in each file's character set.
    sets = {str(pydicom.dcmread(f, stop_before_pixels=True).get("SpecificCharacterSet")) for f in (file, source)}
    return [line for line in found if len(sets) == 1 or "String attribute has different value" not in line]


def dsrdump(file):
    if not is_sr(file):
        return []
    out = run("dsrdump", "-q", file)
    return [out.stderr.strip() or f"exit {out.returncode}"] if out.returncode else []


def pixelmed(file):
    """Templates and context groups of an SR; about ten seconds and 2 GB. Without the limits lifted it dies on JDK 17."""
    limits = [f"-Djdk.xml.xpath{name}Limit=0" for name in ("TotalOp", "ExprOp", "ExprGrp")]
    out = run("java", *limits, "-cp", PIXELMED, "com.pixelmed.validate.DicomSRValidator", file)
    text = out.stdout + out.stderr
    if "validation complete" not in text.lower():
        return ["did not finish: " + text[:200]]
    templates = group_templates(file)

    def is_false(line):
        # Where some groups are of TID 1410 it holds those of TID 1501 against it, too: they lack an Image Region.
        of_group = re.search(r"Template 1410 .*within [0-9.]*\.([0-9]+): .*Missing conditional content item", line)
        return any(false in line for false in PIXELMED_FALSE) or of_group and templates[int(of_group[1]) - 1] == "1501"
    return [line for line in text.splitlines() if (line.startswith("Error") or "illegal relationship" in line) and not is_false(line)]


def group_templates(file):
    """The template of each measurement group."""
    measurements = find(pydicom.dcmread(file, stop_before_pixels=True).get("ContentSequence", []), "126010")
    return [group.ContentTemplateSequence[0].TemplateIdentifier for group in measurements[0].ContentSequence] if measurements else []


def strict_pydicom(file):
    """Every value read under pydicom's strictest rules for its VR."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pydicom_config.settings.reading_validation_mode = pydicom_config.RAISE
        try:
            dataset = pydicom.dcmread(file, stop_before_pixels=True)
            for element in dataset.iterall():
                element.value
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a complaint
            return [f"{type(error).__name__}: {error}"]
        finally:
            pydicom_config.settings.reading_validation_mode = pydicom_config.WARN
    return []


def highdicom(file):
    sop_class = pydicom.dcmread(file, stop_before_pixels=True).SOPClassUID
    if sop_class not in HIGHDICOM_READS:
        return []
    try:
        if sop_class == SEGMENTATION:
            hd.seg.segread(file).get_segment_description(1)
        else:
            hd.sr.srread(file)
    except Exception as error:  # noqa: BLE001
        return [f"{type(error).__name__}: {error}"]
    return []


LENGTHS = {"SH": 16, "LO": 64, "PN": 64}


def is_valid(vr, text):
    """Whether a source's value may stand in a result at all."""
    if vr == "DA":
        try:
            return bool(datetime.datetime.strptime(text.replace(".", ""), "%Y%m%d"))
        except ValueError:
            return False
    if vr == "TM":
        return text.replace(":", "").replace(".", "").isdigit()
    fits = all(len(part) <= LENGTHS.get(vr, len(part)) for part in text.split("=" if vr == "PN" else "\\"))
    return text in ("M", "F", "O") if vr == "CS" else fits and not any(c < " " for c in text) and "\\" not in text


def identity(file, source):
    """Patient and study as they stand in the source: byte for byte, in another character set the same text, or empty where
    that is no value."""
    result, original = (pydicom.dcmread(f, stop_before_pixels=True) for f in (file, source))

    def value(dataset, keyword):
        raw = dataset.get_item(keyword).value if keyword in dataset else b""
        text = (raw.decode("latin-1") if isinstance(raw, bytes) else str(raw or "")).strip(" \0")
        return text.replace(".", "") if keyword.endswith("Date") else text.replace(":", "")

    def left_out(keyword):
        vr = pydicom.datadict.dictionary_VR(keyword)
        return not value(result, keyword) and not is_valid(vr, value(original, keyword))

    def same(keyword):
        old, new = value(original, keyword), value(result, keyword)
        plain = old.isascii() and "\x1b" not in old
        if plain or result.get("SpecificCharacterSet") == original.get("SpecificCharacterSet"):
            return old == new
        meant = strict_text(source, keyword)  # Of a source that does not keep to its own set only the bytes are known.
        return old == new if meant is None else strict_text(file, keyword) == meant
    return [f"{keyword} differs" for keyword in IDENTITY if not same(keyword) and not left_out(keyword)]


def strict_text(file, keyword):
    """A value decoded by its data set's own character set; None if it is not in it, or none is declared."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pydicom_config.settings.reading_validation_mode = pydicom_config.RAISE
        try:
            dataset = pydicom.dcmread(file, stop_before_pixels=True)
            return str(dataset[keyword].value) if dataset.get("SpecificCharacterSet") else None
        except Exception:  # noqa: BLE001
            return None
        finally:
            pydicom_config.settings.reading_validation_mode = pydicom_config.WARN


def evidence(file):
    """Every instance of a report's tree is in its evidence, and the other way round."""
    dataset = pydicom.dcmread(file, stop_before_pixels=True)
    if dataset.Modality not in ("SR", "KO"):
        return []
    listed = {instance.ReferencedSOPInstanceUID for study in dataset.get("CurrentRequestedProcedureEvidenceSequence", [])
              for series in study.ReferencedSeriesSequence for instance in series.ReferencedSOPSequence}
    named, items = set(), list(dataset.get("ContentSequence", []))
    while items:
        item = items.pop()
        items += list(item.get("ContentSequence", []))
        if item.ValueType == "IMAGE":
            named.add(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
    return [f"{uid} is in one of tree and evidence only" for uid in sorted(listed ^ named)]


def all_of(file, source, with_pixelmed=False):
    """Judge -> complaints."""
    verdicts = {"dciodvfy": dciodvfy(file), "dcentvfy": dcentvfy(file, source), "dsrdump": dsrdump(file),
                "pydicom": strict_pydicom(file), "highdicom": highdicom(file), "identity": identity(file, source),
                "evidence": evidence(file)}
    if with_pixelmed and is_sr(file):
        verdicts["PixelMed"] = pixelmed(file)
    return verdicts


# ----- Objects broken on purpose -----

def find(items, code):
    """The first item of that concept in a content tree, and the list that holds it."""
    for item in items:
        if "ConceptNameCodeSequence" in item and item.ConceptNameCodeSequence[0].CodeValue == code:
            return item, items
        found = find(item.get("ContentSequence", []), code)
        if found:
            return found
    return None


def without_observer_uid(d):
    item, items = find(d.ContentSequence, "121012")
    items.remove(item)


def wrong_relationship(d):
    find(d.ContentSequence, "125007")[0].RelationshipType = "HAS PROPERTIES"


def site_with_a_text_for_laterality(d):
    find(d.ContentSequence, "363698007")[0].RelationshipType = "HAS ACQ CONTEXT"


def without_laterality(d):
    d.BodyPartExamined = "KNEE"
    del d.Laterality


def other_patient(d):
    d.PatientName = "Somebody^Else"


def other_sex(d):
    d.PatientSex = "F" if d.PatientSex != "F" else "M"


def without_conversion_type(d):
    del d.ConversionType


def without_evidence(d):
    del d.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]


def without_displayed_area(d):
    del d.DisplayedAreaSelectionSequence


def without_frame_increment(d):
    del d.FrameIncrementPointer


def without_fractional_type(d):
    del d.SegmentationFractionalType


def side_of_a_segmentation(d):
    d.Laterality = "L"


def named_key_images(d):
    name = pydicom.Dataset()
    name.CodeValue, name.CodingSchemeDesignator, name.CodeMeaning = "260753009", "SCT", "Source"
    for item in d.ContentSequence:
        if item.ValueType == "IMAGE":
            item.ConceptNameCodeSequence = [name]


def wrong_uid(d):
    d["SeriesInstanceUID"]._value = pydicom.uid.UID("1.02.3")


def wrong_sex_value(d):
    d["PatientSex"]._value = "X"


BROKEN = [  # What is done, to which form, and who at least must find it.
    ("no Device Observer UID", "sr", without_observer_uid, "PixelMed"),
    ("a group that HAS PROPERTIES", "sr", wrong_relationship, "dsrdump"),
    ("a finding site as acquisition context", "sr", site_with_a_text_for_laterality, "PixelMed"),
    ("a series missing from the evidence", "sr", without_evidence, "evidence"),
    ("another patient's name", "sr", other_patient, "identity"),
    ("another sex", "sc-1", other_sex, "dcentvfy"),
    ("a sex that there is not", "sr", wrong_sex_value, "dciodvfy"),
    ("no Conversion Type", "sc-1", without_conversion_type, "dciodvfy"),
    ("a knee without Laterality", "sc-1", without_laterality, "dciodvfy"),
    ("a UID with a leading zero", "sc-1", wrong_uid, "dciodvfy"),
    ("no displayed area", "gsps-1", without_displayed_area, "dciodvfy"),
    ("frames without Frame Increment Pointer", "sc-multiframe", without_frame_increment, "dciodvfy"),
    ("fractions of no kind", "seg-1", without_fractional_type, "dciodvfy"),
    ("a series of segmentations with a side", "seg-1", side_of_a_segmentation, "dciodvfy"),
    ("key images with a concept name", "kos", named_key_images, "PixelMed"),
]


def break_one(good, breaking, out):
    dataset = pydicom.dcmread(good)
    breaking(dataset)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pydicom_config.settings.writing_validation_mode = pydicom_config.IGNORE
        dataset.save_as(out)
    return out
