"""Every form of result in Debian's Orthanc: stored over the network, found by query, rendered, shown by its web viewer in a
headless Chromium; and presentation states applied to their images by DCMTK.

NODE_PICTURES=FOLDER keeps what was seen. The README's picture was taken in the same way, of a study with the results of the
demonstration models.
"""
import io
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from made_study import DATA, FORMS, make, radiographs_by_study

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "integration"))
from harness import free_port

ORTHANC = shutil.which("Orthanc", path="/usr/sbin:/usr/bin:" + os.environ.get("PATH", ""))
VIEWER = pathlib.Path("/usr/share/orthanc/plugins/libOrthancWebViewer.so")
AMBER = (255, 191, 0)  # What the disclaimer stands on.
pytestmark = pytest.mark.skipif(not ORTHANC, reason="Debian's orthanc is not installed")


class Archive:
    def __init__(self, folder):
        self.page, self.port, self.folder = free_port(), free_port(), folder
        (folder / "orthanc.json").write_text(json.dumps({
            "StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "storage"), "DicomAet": "ARCHIVE",
            "DicomPort": self.port, "HttpPort": self.page, "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
            "DicomAlwaysAllowFind": True, "Plugins": [str(VIEWER)] if VIEWER.exists() else [],
            "WebViewer": {"CachePath": str(folder / "cache")}}))

    def __enter__(self):
        with open(self.folder / "orthanc.log", "ab") as log:
            self.process = subprocess.Popen([ORTHANC, self.folder / "orthanc.json"], stdout=log, stderr=log)
        for _ in range(600):
            try:
                self.get("/system")
                return self
            except OSError:
                assert self.process.poll() is None, (self.folder / "orthanc.log").read_text()
                time.sleep(0.1)
        raise TimeoutError("Orthanc does not answer")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)

    def get(self, path, accept="*/*"):
        request = urllib.request.Request(f"http://127.0.0.1:{self.page}{path}", headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def picture(self, path):
        return np.asarray(Image.open(io.BytesIO(self.get(path, "image/png"))))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """An archive with a study of three images and all that is made of it: (archive, {Orthanc's name: file}, files)."""
    folder, made = tmp_path_factory.mktemp("archive"), tmp_path_factory.mktemp("made")
    files = next(s for s in radiographs_by_study() if len(s) > 2)
    make(made, files, random.Random(3))
    objects = [*files, *sorted(made.glob("*.dcm"))]
    with Archive(folder) as running:
        sent = subprocess.run(["dcmsend", "--decompress-never", "-aec", "ARCHIVE", "127.0.0.1", str(running.port), *objects], capture_output=True, text=True)
        assert sent.returncode == 0, sent.stderr
        names = {json.loads(running.get(f"/instances/{name}"))["MainDicomTags"]["SOPInstanceUID"]: name
                 for name in json.loads(running.get("/instances"))}
        by_name = {names.get(pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID): file for file in objects}
        assert None not in by_name and len(by_name) == len(objects), "all of them are there"
        yield running, by_name, files


def test_each_object_comes_back_as_it_was_sent(archive):
    running, by_name, _ = archive
    for name, file in by_name.items():
        assert pydicom.dcmread(io.BytesIO(running.get(f"/instances/{name}/file"))) == pydicom.dcmread(file), file.name


def test_a_query_finds_one_series_for_each_object_with_its_words(archive):
    running, by_name, files = archive
    study = pydicom.dcmread(files[0], stop_before_pixels=True)
    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID = "SERIES", study.StudyInstanceUID
    for keyword in ("SeriesInstanceUID", "Modality", "SeriesDescription", "SeriesNumber"):
        setattr(query, keyword, None)
    entity = AE("WORKSTATION")
    entity.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
    association = entity.associate("127.0.0.1", running.port, ae_title="ARCHIVE")
    assert association.is_established
    answers = [a for _, a in association.send_c_find(query, StudyRootQueryRetrieveInformationModelFind) if a is not None]
    association.release()
    ours = [a for a in answers if a.SeriesDescription.startswith("SKELEX")]
    assert len(ours) == len(by_name) - len(files)
    assert {a.Modality for a in ours} == {"SR", "OT", "SEG", "PR", "KO"}
    assert all("NOT FOR DIAGNOSIS" in a.SeriesDescription and int(a.SeriesNumber) > 9000 for a in ours)


def test_each_picture_is_rendered_pixel_for_pixel(archive):
    running, by_name, _ = archive
    seen = set()
    for name, file in by_name.items():
        form = file.stem.rsplit("-", 1)[0] if file.stem[-1].isdigit() else file.stem
        if form not in ("sc", "sc-rle", "sc-jpeg", "sc-multiframe", "summary", "seg"):
            continue
        seen.add(form)
        pixels = pydicom.dcmread(file).pixel_array
        for number, frame in enumerate(pixels if form == "sc-multiframe" else [pixels]):
            assert np.array_equal(running.picture(f"/instances/{name}/frames/{number}/{'image-uint8' if form == 'seg' else 'preview'}"), frame), file.name
    assert len(seen) == len([f for f in FORMS if f[:2] == "sc"]) + 2


@pytest.mark.skipif(not VIEWER.exists() or not shutil.which("chromium"), reason="no orthanc-webviewer, or no chromium")
def test_the_web_viewer_shows_the_overlay(archive, tmp_path):
    running, by_name, _ = archive
    kept = pathlib.Path(os.environ.get("NODE_PICTURES", tmp_path))
    for form in ("sc-1", "sc-multiframe"):
        name = next(n for n, file in by_name.items() if file.stem == form)
        series = json.loads(running.get(f"/instances/{name}"))["ParentSeries"]
        picture = kept / ("orthanc.png" if form == "sc-1" else f"orthanc-{form}.png")
        subprocess.run(["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1100,900",
                        "--virtual-time-budget=15000", f"--user-data-dir={tmp_path}/chromium", f"--screenshot={picture}",
                        f"http://127.0.0.1:{running.page}/web-viewer/app/viewer.html?series={series}"],
                       capture_output=True, timeout=180, check=True)
        shown = np.asarray(Image.open(picture).convert("RGB")).astype(int)
        amber = (np.abs(shown - AMBER).max(axis=2) < 12).sum()
        assert amber > 5000, f"{form}: of the disclaimer {amber} pixels are seen"


@pytest.mark.parametrize("radiograph", ["02_1_foot_ap.dcm", "06_1_shoulder_ap.dcm", "07_1_shoulder_ap.dcm"])
def test_a_presentation_state_shows_its_image_as_the_image_shows_itself(radiograph, tmp_path):
    file = DATA / "radiographs" / radiograph
    make(tmp_path, [file], random.Random(5), forms=["gsps"])
    subprocess.run(["dcmp2pgm", "-q", "-p", tmp_path / "gsps-1.dcm", file, tmp_path / "state.pgm"], check=True)
    subprocess.run(["dcmj2pnm", "-q", "+op", "+Wi", "1", file, tmp_path / "own.pgm"], check=True)
    state, own = (np.asarray(Image.open(tmp_path / f"{n}.pgm")).astype(int) for n in ("state", "own"))
    assert state.shape == own.shape
    assert np.abs(state - own).max() <= 2, "of 256 greys"
