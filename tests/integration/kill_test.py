"""SIGKILL in the middle of the main job: nothing acknowledged is lost, nothing is doubled."""
import subprocess
import time

from harness import BIN, Node, Pacs, count_doubles, fresh_uid, small_image, wait_until

STUDIES, IMAGES_EACH = 40, 5


def test_killed_while_receiving_analysing_and_delivering(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for study in range(STUDIES):
        uid = fresh_uid()
        for image in range(IMAGES_EACH):
            dataset = small_image(("KNEE", "HAND", "HIP", "SHOULDER")[study % 4], uid, seed=study * 100 + image)
            dataset.save_as(folder / f"{study:02}-{image}.dcm", enforce_file_format=True)
    acknowledged_path = tmp_path / "acknowledged"
    acknowledged_path.touch()

    def acknowledged():
        return acknowledged_path.read_text().split()

    # A PACS that takes its time, so that at the kill one result is there and others wait.
    with Pacs(on_store=lambda _: time.sleep(0.02)) as pacs:
        node = Node(tmp_path / "node", pacs_port=pacs.port).start()
        room = subprocess.Popen([BIN / "skelex-modality", "--from", "XRAY1", "--to", f"SKELEX@127.0.0.1:{node.port}",
                                 "--associations", "4", "--rate", "8", "--give-up", "300",
                                 "--ack-log", acknowledged_path, folder],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            wait_until(lambda: len(acknowledged()) >= 50 and pacs.log and
                       any(d["state"] == "pending" for d in node.deliveries()),
                       "50 acknowledged, one result delivered and one waiting", 120)
            node.kill()
            at_kill = (len(acknowledged()), len(pacs.log))
            assert at_kill[0] < STUDIES * IMAGES_EACH, "the kill came after the last image: nothing was shown of receiving"
            node.start()
            output, _ = room.communicate(timeout=600)
            assert room.returncode == 0, output
            wait_until(node.at_rest, "every study at an end", 300)
        finally:
            room.kill()
            node.stop()
        images = set(acknowledged())
        assert len(images) == STUDIES * IMAGES_EACH
        analysed = {str(d.SourceImageSequence[0].ReferencedSOPInstanceUID) for d in pacs.overlays()}
        reported = set()
        for report in pacs.reports():
            for study in report.CurrentRequestedProcedureEvidenceSequence:
                for series in study.ReferencedSeriesSequence:
                    reported |= {str(item.ReferencedSOPInstanceUID) for item in series.ReferencedSOPSequence}
        doubles, resends = count_doubles(pacs.log)
        print(f"at the kill: {at_kill[0]} acknowledged, {at_kill[1]} delivered; re-sends {resends}, "
              f"doubles {len(doubles)}, lost {len(images - analysed)}")
        assert not images - analysed and not images - reported
        assert not doubles
        assert resends <= 2, "only what was in flight at the kill may come twice"
