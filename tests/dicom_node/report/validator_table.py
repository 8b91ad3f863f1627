#!/usr/bin/env python3
"""Writes dicom_node/VALIDATORS.md: every form of result over every radiograph at hand, judged by others' tools, and the
broken objects that they found.

    NODE_SOURCE_DIR=. NODE_BIN=build/release/bin build/python/bin/python tests/dicom_node/report/validator_table.py
"""
import collections
import datetime
import pathlib
import random
import subprocess
import sys
import tempfile

import pydicom

import judges
from made_study import FORMS, SOURCE, make, radiographs_by_study
from validators_test import make_regions, source_of

CORPUS = SOURCE.parent / "shared/data/dicom"
CORPUS_FORMS = ["sc", "sc-multiframe", "summary", "seg", "sr", "sr-text", "gsps", "kos"]  # The other SRs differ from sr in class alone.
NO_TREE = ("sc", "sc-rle", "sc-jpeg", "sc-multiframe", "summary", "seg", "gsps")
JUDGES = ["dciodvfy", "dcentvfy", "dsrdump", "pydicom", "highdicom", "identity", "evidence", "PixelMed"]


def corpus():
    """One study per file of the corpus that can be an image of ours: (folder of the corpus, file)."""
    for file in sorted(p for part in ("public", "made") for p in (CORPUS / part).rglob("*") if p.is_file()):
        try:
            dataset = pydicom.dcmread(file, stop_before_pixels=True)
            if dataset.Rows and dataset.SOPInstanceUID and dataset.StudyInstanceUID:
                yield file.relative_to(CORPUS).parts[0], file
        except Exception:  # noqa: BLE001 - no image
            continue


def form_of(file):
    return max((form for form in FORMS if file.stem == form or file.stem.startswith(form + "-")), key=len)


def main():
    seed = 20261128
    table = collections.defaultdict(lambda: collections.defaultdict(lambda: [0, 0]))  # form -> judge -> [asked, complaints]
    sources = collections.defaultdict(lambda: [0, 0, 0, 0])  # group -> [sources, refused, objects, complaints]
    seen, bad = collections.Counter(), []
    regions = next(s for s in radiographs_by_study() if len(s) > 1)[:2]
    studies = [("tests/data, regions", regions)] + [("tests/data", files) for files in radiographs_by_study()] + [(group, [file]) for group, file in corpus()]
    for number, (group, files) in enumerate(studies, 1):
        print(f"\r{number}/{len(studies)} {files[0].name:60}", end="", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            sources[group][0] += len(files)
            try:
                if "regions" in group:
                    make_regions(folder, quiet=True)
                else:
                    make(folder, files, random.Random(seed + number), quiet=True,
                         **({} if group == "tests/data" else {"forms": CORPUS_FORMS}))
            except subprocess.CalledProcessError:
                sources[group][1] += len(files)  # No picture that can be drawn, which is never analysed, or a patient who cannot be named.
                continue
            for file in sorted(folder.glob("*.dcm")):
                form = form_of(file)
                seen[form] += 1
                with_pixelmed = group.startswith("tests/data") and seen[form] == 1 and form not in NO_TREE
                sources[group][2] += 1
                for judge, complaints in judges.all_of(file, source_of(file, files), with_pixelmed).items():
                    if form in NO_TREE and (judge in ("dsrdump", "evidence") or judge == "highdicom" and form != "seg"):
                        continue
                    table[form][judge][0] += 1
                    if complaints:
                        table[form][judge][1] += 1
                        sources[group][3] += 1
                        bad.append(f"{files[0].name}, {file.name}: {judge}: {complaints[0][:160]}")
    print(file=sys.stderr)

    out = ["# What others' tools say of our results", "",
           f"Made {datetime.date.today()}, seed {seed}, by `tests/dicom_node/report/validator_table.py` (its head says how). Findings are drawn",
           "at random over every radiograph of `tests/data` and of the corpus that can be drawn; each cell: objects judged, and of these",
           "how many with a complaint. Of the corpus, the forms that differ in more than their class. PixelMed is slow: one object of each kind of report. `identity`: patient and study as in the",
           "source; `evidence`: tree and evidence name the same instances; `pydicom`: every value by the strictest rules of its VR.",
           "Some complaints are known to be false and are left out (`tests/dicom_node/report/judges.py` has them, with the reason): three",
           "of dcentvfy (and those about texts in another character set, which `identity` compares decoded), one of dciodvfy, two of PixelMed.", "",
           "| Form | " + " | ".join(JUDGES) + " |", "|---" * (len(JUDGES) + 1) + "|"]
    for form in FORMS:
        cells = [f"{table[form][j][0]}, {table[form][j][1]}" if table[form][j][0] else "" for j in JUDGES]
        out.append(f"| `{form}` | " + " | ".join(cells) + " |")
    out += ["", "| Sources | images | cannot be drawn, or fail with a reason | objects made | complaints |", "|---|---|---|---|---|"]
    out += [f"| {group} | {n} | {refused} | {objects} | {complaints} |" for group, (n, refused, objects, complaints) in sources.items()]
    out += ["", "Each complaint:", ""] + [f"- {line}" for line in bad] if bad else []
    out += ["", "## Broken on purpose", "", "| What | In | Found by |", "|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        files = next(s for s in radiographs_by_study() if len(s) > 2)
        make(folder, files, random.Random(seed))
        for how, form, breaking, _ in judges.BROKEN:
            good = folder / f"{form}.dcm"
            broken = judges.break_one(good, breaking, folder / "broken.bin")
            found = [judge for judge, complaints in judges.all_of(broken, source_of(good, files), True).items() if complaints]
            out.append(f"| {how} | `{form}` | {', '.join(found) or '**nobody**'} |")
    (SOURCE / "dicom_node/VALIDATORS.md").write_text("\n".join(out) + "\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
