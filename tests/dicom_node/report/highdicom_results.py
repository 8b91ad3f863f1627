"""The same results as report_tool's, made the way a Python program would: the report by highdicom, the overlay by NumPy,
PIL and highdicom. Of the codes and words of our objects it knows what CONFORMANCE.md says, and none of our code."""
import io

import highdicom as hd
import numpy as np
import pydicom
from highdicom import sr
from PIL import Image, ImageDraw, ImageFont
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

NODE, MANUFACTURER, MODEL = "SKELEX", "SKELEX project", "SKELEX node"
DISCLAIMER = "AI result - not for clinical use"
UNITS = {"1": Code("1", "UCUM", "no units"), "mo": Code("mo", "UCUM", "month"), "%": Code("%", "UCUM", "Percent")}
SIDES = {"L": Code("7771000", "SCT", "Left"), "R": Code("24028007", "SCT", "Right")}
DECISIONS = [Code("272519000", "SCT", "Absent"), Code("373068000", "SCT", "Undetermined"), Code("52101004", "SCT", "Present")]
LEVELS = {1: Code("SKX-DOUBTFUL", "99SKELEX", "Doubtful"), 2: Code("SKX-CERTAIN", "99SKELEX", "Certain")}
CONTAINS = sr.RelationshipTypeValues.CONTAINS


def own(value, meaning):
    return Code(value, "99SKELEX", meaning)


def private_code(name, meaning):
    return own(("SKX-" + "".join(c if c.isalnum() else "-" for c in name.upper())), meaning)


def task_code(task):
    return Code(*task["code"]) if "code" in task else private_code(task["name"], task["name"])


def label_code(task, index):
    if task.get("label_codes"):
        return Code(*task["label_codes"][index])
    if len(task["labels"]) == 1 and "code" in task:
        return task_code(task)
    return private_code(f"{task['name']} {task['labels'][index]}", task["labels"][index])


def level(task, value):
    doubtful = task.get("doubtful", 0.0 if task["output"] == "softmax" else 0.5)
    return 2 if value >= task.get("certain", 0.5) else 1 if value >= doubtful else 0


def version(record):
    return f"{record['model']}@{record['digest'][:15]}"


def map_of(planted):
    """The map that report_tool draws for `planted`."""
    y, x = np.mgrid[:224, :224]
    def spot(at_y, at_x, width):
        return np.exp(-((y - at_y) ** 2 + (x - at_x) ** 2) / (2 * width * width))
    return 0.004 + planted["peak"] * spot(planted["y"], planted["x"], 12) + 0.3 * planted["peak"] * spot(planted["x"], planted["y"], 8)


def patch_errors(errors):
    return errors.reshape(14, 16, 14, 16).mean(axis=(1, 3))


# ----- The report -----

def peak(errors, source):
    """The highest patch error, inferred from the region of that patch."""
    patches = patch_errors(errors)
    row, column = np.unravel_index(patches.argmax(), patches.shape)
    left, right = column * source.Columns / 14, (column + 1) * source.Columns / 14
    top, bottom = row * source.Rows / 14, (row + 1) * source.Rows / 14
    region = sr.CoordinatesForMeasurement(
        sr.GraphicTypeValues.POLYLINE, np.array([[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]),
        sr.SourceImageForRegion(source.SOPClassUID, source.SOPInstanceUID))
    return sr.Measurement(own("SKX-ANOM-PEAK", "Highest patch error"), round(float(patches.max()), 6), UNITS["1"],
                          referenced_coordinates=[region])


def measurements_of(task, record, source, errors):
    if task["output"] == "anomaly_map":
        planted = record["map"]
        values = [sr.Measurement(own("SKX-ANOM", "Anomaly score"), round(planted["score"], 6), UNITS["1"])]
        if reference := planted.get("reference"):
            percentile = np.interp(planted["score"], reference["image_score"], reference["levels"])
            values.append(sr.Measurement(own("SKX-ANOM-PCT", "Anomaly score percentile"), round(float(percentile), 1), UNITS["%"]))
        return values + [peak(errors, source)]
    if task["output"] == "regression":
        return [sr.Measurement(task_code(task), round(value, 4), UNITS[unit]) for _, value, unit in record["scores"]]
    values = [sr.Measurement(own("SKX-PROB", "Probability"), round(value, 4), UNITS["1"]) for _, value, _ in record["scores"]]
    if len(values) > 1:
        for index, value in enumerate(values):  # Which of the labels.
            value[0].ContentSequence = sr.ContentSequence([sr.CodeContentItem(
                Code("121071", "DCM", "Finding"), label_code(task, index), sr.RelationshipTypeValues.HAS_CONCEPT_MOD)])
    return values


def evaluations_of(task, record):
    if task["output"] == "sigmoid":
        return [sr.QualitativeEvaluation(label_code(task, index), DECISIONS[level(task, value)])
                for index, (_, value, _) in enumerate(record["scores"])]
    if task["output"] != "softmax":
        return []
    best = max(range(len(record["scores"])), key=lambda i: record["scores"][i][1])
    certainty = level(task, record["scores"][best][1])
    if certainty == 0:
        return [sr.QualitativeEvaluation(task_code(task), DECISIONS[1])]
    return [sr.QualitativeEvaluation(task_code(task), label_code(task, best)),
            sr.QualitativeEvaluation(own("SKX-LEVEL", "Level of certainty"), LEVELS[certainty])]


def parameters_of(task, record):
    parameters = [f"digest={record['digest']}"]
    if task["output"] in ("sigmoid", "softmax"):
        doubtful = task.get("doubtful", 0.0 if task["output"] == "softmax" else 0.5)
        parameters += [f"threshold_doubtful={doubtful:g}", f"threshold_certain={task.get('certain', 0.5):g}"]
    if planted := record.get("map"):
        parameters += [f"mode={planted['mode']}", f"passes={planted['passes']}", "mask_ratio=0.75", f"seed={planted['seed']}"]
        if "reference" in planted:
            parameters.append(f"calibration={planted['reference']['digest']}")
    return parameters + [f"rendering {line}" for line in record.get("rendering", [])]


def notes_of(task, record, source):
    notes = [f"Body part {source.BodyPartExamined}, taken from Body Part Examined"] if source.get("BodyPartExamined") else []
    reference = record.get("map", {}).get("reference")
    if reference:
        notes.append(f"The anomaly score's percentile is among {reference['images']} normal images of {reference['body_part']}")
    elif task["output"] == "anomaly_map":
        notes.append("The anomaly score is uncalibrated: it has no reference of healthy images")
    elif task["output"] != "regression":
        notes.append("The probability is uncalibrated")
    if task["output"] == "regression" and task.get("unit") == "mo" and source.get("PatientSex") in ("M", "F"):
        notes.append(f"The model does not know the patient's sex; norms for comparison: those of sex {source.PatientSex}")
    return notes


def side_of(source):
    return source.get("ImageLaterality") or source.get("Laterality") or ""


def group(task, record, source, errors, overlay):
    side = side_of(source)
    words = [task["name"], source.get("BodyPartExamined", ""), "" if side == "U" else side,
             "image 1"]
    sites = None
    if source.get("AnatomicRegionSequence"):
        region = source.AnatomicRegionSequence[0]
        sites = [sr.FindingSite(Code(region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning), laterality=SIDES.get(side))]
    made = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(identifier=" ".join(word for word in words if word), uid=generate_uid()),
        finding_type=task_code(task), finding_sites=sites,
        algorithm_id=sr.AlgorithmIdentification(name=record["model"], version=version(record), parameters=parameters_of(task, record),
                                                family=Code("123110", "DCM", "Artificial Intelligence")),
        measurements=measurements_of(task, record, source, errors), qualitative_evaluations=evaluations_of(task, record),
        source_images=[sr.SourceImageForMeasurementGroup(source.SOPClassUID, source.SOPInstanceUID)])
    items = made[0].ContentSequence
    for note in notes_of(task, record, source):
        items.insert(len(items) - 1, sr.TextContentItem(own("SKX-NOTE", "Quality note"), note, CONTAINS))  # Before the source.
    if overlay is not None and "map" in record:
        items.append(sr.ImageContentItem(Code("121080", "DCM", "Best illustration of finding"), SecondaryCaptureImageStorage,
                                         overlay.SOPInstanceUID, relationship_type=CONTAINS))
    return made


def make_report(source, tasks, findings, node_uid, overlay=None, errors=None):
    """The report of one image: a ComprehensiveSR. `overlay`: the data set of its secondary capture."""
    observer = sr.ObserverContext(
        observer_type=Code("121007", "DCM", "Device"),
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=node_uid, name=NODE, manufacturer_name=MANUFACTURER, model_name=MODEL, serial_number=node_uid))
    by_name = {task["name"]: task for task in tasks}
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=Code("43468-8", "LN", "XR unspecified body region"), title=Code("126000", "DCM", "Imaging Measurement Report"),
        language_of_content_item_and_descendants=sr.LanguageOfContentItemAndDescendants(Code("en-US", "RFC5646", "English (United States)")),
        imaging_measurements=[group(by_name[r["task"]], r, source, errors, overlay) for r in findings], referenced_images=[source])
    # TID 1500 row 12, for which highdicom has no argument.
    summary = sr.ContainerContentItem(Code("C0034375", "UMLS", "Qualitative Evaluations"), relationship_type=CONTAINS)
    summary.ContentSequence = sr.ContentSequence([sr.TextContentItem(Code("121106", "DCM", "Comment"), DISCLAIMER, CONTAINS)])
    decided = [level(by_name[r["task"]], max(s[1] for s in r["scores"])) > 0
               for r in findings if by_name[r["task"]]["output"] == "sigmoid"]
    if decided:
        summary.ContentSequence.append(sr.CodeContentItem(
            own("SKX-OVERALL", "Overall result"),
            own("SKX-FOUND", "Findings present") if any(decided) else own("SKX-NOTHING", "Nothing found"), CONTAINS))
    report[0].ContentSequence.append(summary)
    return sr.ComprehensiveSR(
        evidence=[source] + ([overlay] if overlay is not None else []), content=report[0], series_instance_uid=generate_uid(),
        series_number=9001, sop_instance_uid=generate_uid(), instance_number=1, manufacturer=MANUFACTURER, is_complete=True,
        is_final=False, is_verified=False)


# ----- The overlay -----

def hot(share):
    return np.stack([np.clip(share / 0.365079, 0, 1), np.clip((share - 0.365079) / (0.746032 - 0.365079), 0, 1),
                     np.clip((share - 0.746032) / (1 - 0.746032), 0, 1)], axis=-1)


def shown(source, values):
    """8 bits of grey as the window of the source shows them."""
    grey = pydicom.pixels.apply_voi_lut(pydicom.pixels.apply_modality_lut(values, source), source).astype(np.float32)
    least, greatest = grey.min(), grey.max()
    grey = ((grey - least) / (greatest - least) * 255).astype(np.uint8)
    return 255 - grey if source.PhotometricInterpretation == "MONOCHROME1" else grey


def make_overlay(source, values, errors, lines, details, long_side_max=1536, scale_max=0.1):
    """The secondary capture of one image from its stored values, which are decoded already."""
    radiograph = Image.fromarray(shown(source, values))
    scale = min(1.0, long_side_max / max(radiograph.size))
    whole = [k for k in range(1, 16) if 2 / 3 <= max(radiograph.size) / k / long_side_max <= 1 and not any(side % k for side in radiograph.size)]
    if whole:
        radiograph = radiograph.reduce(whole[0])
    elif scale < 1:
        radiograph = radiograph.resize((round(radiograph.width * scale), round(radiograph.height * scale)), Image.Resampling.BOX)
    share = np.asarray(Image.fromarray(np.clip(errors / scale_max, 0, 1).astype(np.float32)).resize(radiograph.size, Image.Resampling.BILINEAR))
    opacity = (0.55 * np.minimum(1, share / 0.4) ** 2)[..., None]
    blended = ((1 - opacity) * np.asarray(radiograph, np.float32)[..., None] + opacity * 255 * hot(share) + 0.5).astype(np.uint8)

    px = min(max(max(radiograph.size) // 60, 16), 32)
    font, small = (ImageFont.truetype("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", size) for size in (px, max(14, px * 4 // 5)))
    rows = radiograph.height + 3 * px + max(len(lines), len(details)) * (px + px // 2)
    canvas = Image.new("RGB", (max(640, 24 * px, radiograph.width + 9 * px), rows), (16, 16, 18))
    canvas.paste(Image.fromarray(blended), (0, 0))
    bar = (hot(np.linspace(1, 0, 24 * px))[:, None].repeat(2 * px, 1) * 255).astype(np.uint8)
    x, y = radiograph.width + px // 2, 3 * px
    canvas.paste(Image.fromarray(bar[:radiograph.height - 4 * px]), (x, y))
    draw = ImageDraw.Draw(canvas)
    draw.text((x, px // 2), "Reconstruction error", font=small, fill=(165, 165, 170))
    for step in range(5):
        draw.text((x + 2 * px + px // 2, y + (4 - step) * 6 * px), f"{scale_max * step / 4:.4g}", font=font, fill=(235, 235, 235))
    draw.rectangle((0, radiograph.height, canvas.width, radiograph.height + 2 * px), fill=(255, 191, 0))
    draw.text((canvas.width // 4, radiograph.height + px // 2), DISCLAIMER, font=font, fill=(0, 0, 0))
    for number, line in enumerate(lines):
        draw.text((px // 2, radiograph.height + 3 * px + number * (px + px // 2)), line, font=font, fill=(235, 235, 235))
    for number, line in enumerate(details):
        draw.text((canvas.width // 2, radiograph.height + 3 * px + number * (px + px // 2)), line, font=small, fill=(165, 165, 170))

    capture = hd.sc.SCImage.from_ref_dataset(
        ref_dataset=source, pixel_array=np.asarray(canvas), photometric_interpretation="RGB", bits_allocated=8,
        coordinate_system="PATIENT", patient_orientation=source.get("PatientOrientation") or ["L", "F"], laterality=side_of(source) or None,
        series_instance_uid=generate_uid(), series_number=9002, sop_instance_uid=generate_uid(), instance_number=1,
        manufacturer=MANUFACTURER, transfer_syntax_uid=ExplicitVRLittleEndian)
    capture.Modality, capture.ConversionType, capture.BurnedInAnnotation = "OT", "WSD", "YES"
    capture.ImageType = ["DERIVED", "SECONDARY", "", "ANOMALY_MAP"]
    capture.DerivationDescription = "Masked reconstruction error over the windowed radiograph"
    return capture


def file_bytes(dataset):
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
