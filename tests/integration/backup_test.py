"""A backup of a node that receives, and a restore from it, as storage/README.md says: nothing acknowledged is missing."""
import shutil
import subprocess

from harness import BIN, Node, Pacs, fresh_uid, send, small_image, wait_until


def test_a_backup_made_while_images_arrive_is_a_node_again(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for study in range(30):
        uid = fresh_uid()
        for image in range(4):
            small_image("KNEE", uid, seed=study * 10 + image).save_as(folder / f"{study:02}-{image}.dcm",
                                                                      enforce_file_format=True)
    acknowledged_path = tmp_path / "acknowledged"
    acknowledged_path.touch()

    def acknowledged():
        return acknowledged_path.read_text().split()

    def held_by(node):
        return {i["sop_instance_uid"] for s in node.studies() for i in node.instances(s["study_instance_uid"])}

    with Pacs() as pacs:
        node = Node(tmp_path / "node", pacs_port=pacs.port).start()
        room = subprocess.Popen([BIN / "skelex-modality", "--from", "XRAY1", "--to", f"SKELEX@127.0.0.1:{node.port}",
                                 "--associations", "2", "--rate", "4", "--give-up", "300",
                                 "--ack-log", acknowledged_path, folder],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            wait_until(lambda: len(acknowledged()) >= 40, "40 acknowledged", 120)
            before = set(acknowledged())
            done = node.run("backup", *node.arguments(), str(tmp_path / "backup"))
            assert len(acknowledged()) < 120, "the backup came after the last image: nothing was shown of receiving"
            assert "links" in done.stdout
            again = node.run("backup", *node.arguments(), str(tmp_path / "backup"), check=False)
            assert again.returncode == 2 and "not empty" in again.stderr
        finally:
            room.kill()
            room.communicate()
            node.stop()
        shutil.rmtree(tmp_path / "node" / "store")  # The machine is gone.

        restored = Node(tmp_path / "restored", pacs_port=pacs.port)
        shutil.copytree(tmp_path / "backup", tmp_path / "restored" / "store")
        checked = restored.run("check", *restored.arguments(), check=False)
        assert "not as they were stored" not in checked.stdout and checked.returncode == 0, checked.stdout
        with restored:
            missing = before - held_by(restored)
            assert not missing, f"{len(missing)} of {len(before)} acknowledged before the backup are not in it"
            assert restored.get("/readyz")[0] == 200
            late = small_image("KNEE", seed=999)
            assert send(restored, [late]) == [0]
            wait_until(restored.at_rest, "every study of the restored node at an end", 120)
            assert str(late.SOPInstanceUID) in {str(d.SourceImageSequence[0].ReferencedSOPInstanceUID)
                                                for d in pacs.overlays()}


def test_what_is_old_enough_is_deleted_and_a_resend_is_still_known(tmp_path):
    image = small_image("KNEE", seed=1)
    with Pacs() as pacs:
        # More than any disk has: what is at rest goes at once.
        with Node(tmp_path / "node", pacs_port=pacs.port,
                  settings={"storage.retention.free_bytes_low": "1000 TiB"}) as node:
            assert send(node, [image]) == [0]
            objects = tmp_path / "node" / "store" / "objects"
            wait_until(node.at_rest, "the study at an end", 60)
            wait_until(lambda: not list(objects.glob("*/*.dcm")), "nothing left of it", 60)
            assert node.get("/readyz")[0] == 200
            sent = len(pacs.log)
            assert send(node, [image]) == [0]
            assert "outcome=resend" in node.log()
            assert not list(objects.glob("*/*.dcm")) and len(pacs.log) == sent
            study = node.studies()[0]
            assert study["state"] == "finished" and study["analysed"] == 1
            assert node.instances(study["study_instance_uid"])[0]["findings"]


def test_conflicts_are_listed(tmp_path):
    first, other = small_image("KNEE", seed=1), small_image("KNEE", seed=2)
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = first.SOPInstanceUID
    other.StudyInstanceUID = first.StudyInstanceUID
    with Pacs() as pacs, Node(tmp_path / "node", pacs_port=pacs.port) as node:
        assert send(node, [first, small_image("KNEE", seed=3)]) == [0, 0]
        assert send(node, [other]) == [0xC001]
        listed = node.run("studies", *node.arguments(), "--state", "conflict").stdout.splitlines()
        assert len(listed) == 1 and str(first.StudyInstanceUID) in listed[0] and "1 conflicts" in listed[0]
        assert [i["state"] for i in node.instances(str(first.StudyInstanceUID))].count("conflict") == 1
