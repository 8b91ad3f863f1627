"""A PACS that sends every changed study back to the node comes to rest."""
import copy
import queue
import subprocess
import threading

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from harness import Node, Pacs, count_doubles, modality, fresh_uid, small_image, wait_until


def returned(dataset, path, form):
    """The object as an archive may return it, as a file."""
    copy_of = copy.deepcopy(dataset)
    copy_of.save_as(path, enforce_file_format=True)
    if form == "implicit":
        copy_of.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        copy_of.save_as(path, implicit_vr=True, little_endian=True, enforce_file_format=True)
    elif form == "jpeg" and "PixelData" in dataset and dataset.SamplesPerPixel == 1:
        done = subprocess.run(["dcmcjpeg", path, str(path) + ".jpeg"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return str(path) + ".jpeg"
    elif form == "archived":
        copy_of.RetrieveAETitle = "PACS"
        item = Dataset()
        item.AttributeModificationDateTime, item.ModifyingSystem = "20261101120000", "PACS"
        item.SourceOfPreviousValues, item.ReasonForTheAttributeModification = "", "COERCE"
        item.ModifiedAttributesSequence = [Dataset()]
        copy_of.OriginalAttributesSequence = [item]
        copy_of.save_as(path, enforce_file_format=True)
    return str(path)


def test_everything_sent_back_in_every_form_comes_to_rest(tmp_path):
    study = fresh_uid()
    sources = [small_image("KNEE", study, seed) for seed in range(2)]
    for source in sources:
        source.save_as(tmp_path / f"{source.SOPInstanceUID}.dcm", enforce_file_format=True)
    with Pacs() as pacs, Node(tmp_path / "node", pacs_port=pacs.port) as node:
        modality(node, *[tmp_path / f"{s.SOPInstanceUID}.dcm" for s in sources])
        wait_until(node.at_rest, "the first round at rest")
        assert len(pacs.reports()) == 1 and len(pacs.overlays()) == 2
        before = [(e.sop_instance, e.content_sha256) for e in pacs.log]
        for form in ("as received", "implicit", "jpeg", "archived"):
            files = []
            for number, dataset in enumerate([*sources, *[e.dataset for e in pacs.log]]):
                files.append(returned(dataset, tmp_path / f"{form}-{number}.dcm", form))
            modality(node, *files, calling="PACS")
            study_now = node.studies()
            assert [s["revision"] for s in study_now] == [1], (form, study_now)
            assert all(s["state"] == "finished" and s["conflicts"] == 0 and s["instances"] == 2 for s in study_now), form
        assert [(e.sop_instance, e.content_sha256) for e in pacs.log] == before


@pytest.mark.parametrize("form", ["as received", "implicit", "jpeg", "archived"])
def test_a_pacs_that_returns_the_whole_study_at_every_store_comes_to_rest(tmp_path, form):
    study = fresh_uid()
    sources = [small_image("KNEE", study, seed) for seed in range(2)]
    for source in sources:
        source.save_as(tmp_path / f"{source.SOPInstanceUID}.dcm", enforce_file_format=True)
    changes, statuses = queue.Queue(), []

    def return_study(node, pacs):
        while changes.get() is not None:
            held = [*sources, *[entry.dataset for entry in list(pacs.log)]]
            files = [returned(d, tmp_path / f"return-{len(statuses)}-{i}.dcm", form) for i, d in enumerate(held)]
            statuses.append(modality(node, *files, calling="PACS", check=False).returncode)

    with Pacs(on_store=changes.put) as pacs, Node(tmp_path / "node", pacs_port=pacs.port) as node:
        pacs_returns = threading.Thread(target=return_study, args=(node, pacs))
        pacs_returns.start()
        try:
            modality(node, *[tmp_path / f"{s.SOPInstanceUID}.dcm" for s in sources])
            wait_until(lambda: pacs.reports() and len(statuses) == len(pacs.log) and node.at_rest(), "rest")
        finally:
            changes.put(None)
            pacs_returns.join()
        assert statuses == [0] * 3  # Two overlays and one report were stored, and each store returned the study.
        assert [s["revision"] for s in node.studies()] == [1]
        assert len(pacs.reports()) == 1 and len(pacs.overlays()) == 2
