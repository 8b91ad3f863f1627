"""Every file of shared/data/dicom/corrupt: `predict` names file, place and way out, never dies, and memory is bounded."""
import csv
import json
import re
import resource
import subprocess

import pytest

from harness import BIN, SOURCE, frames_each

CORPUS = SOURCE.parent / "shared/data/dicom"
pytestmark = pytest.mark.skipif(not CORPUS.exists(), reason="no shared/data/dicom beside the checkout")
ROWS = [{"file": "corrupt/absent"}]
if CORPUS.exists():
    with open(CORPUS / "corrupt.csv", newline="") as table:
        ROWS = list(csv.DictReader(table))
PLACE = re.compile(r"at byte \d+|pixel data|pixels|Pixel Data|UID|[Bb]its|frames|JPEG|RLE|fragment|not a DICOM file|"
                   r"meta group|empty data set")
LOADER_BYTES_MAX = 1 << 30


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["file"].split("/")[1])
def test_predict_names_file_place_and_way_out(row, tmp_path):
    path, config = CORPUS / row["file"], tmp_path / "node.yaml"
    config.write_text(frames_each())  # So that images of several frames are read, too.
    done = subprocess.run([BIN / "skelex-node", "predict", "--config", config, "--out", tmp_path, path],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, 1), f"status {done.returncode}: {done.stderr[-2000:]}"
    line = json.loads(done.stdout)
    assert line["path"] == str(path)
    assert done.returncode == (1 if line["state"] == "failed" else 0)
    if row["expect"] == "survive":
        assert line["state"] in ("analysed", "skipped", "failed")
        return
    assert line["state"] in ("skipped", "failed"), line
    assert PLACE.search(line["reason"]), line
    assert "again" in line["reason"] or "export it smaller" in line["reason"], line


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["file"].split("/")[1])
def test_reading_pixels_stays_within_its_memory(row, tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (LOADER_BYTES_MAX, LOADER_BYTES_MAX))

    done = subprocess.run([BIN / "loader_tool", CORPUS / row["file"], tmp_path / "out"], capture_output=True, text=True,
                          preexec_fn=limit, timeout=60)
    assert done.returncode in (0, 1), f"died: {done.returncode} {done.stderr[-500:]}"
    assert "no memory" not in done.stdout, "something was allocated that the file does not hold"
