"""The recipe for Orthanc in tools/recipes, as it stands but for ports: radiographs go to the node, results come back."""
import json
import os
import re
import shutil
import subprocess
import time
import urllib.request

import yaml

from harness import SOURCE, Node, free_port, small_image, wait_until

RECIPE = SOURCE / "tools/recipes/orthanc"


class Orthanc:
    def __init__(self, directory, node_port):
        self.page, self.port, self.directory = free_port(), free_port(), directory
        text = re.sub(r"^\s*//.*$", "", (RECIPE / "orthanc.json").read_text(), flags=re.M)
        config = json.loads(text)
        config["DicomModalities"]["skelex"]["Port"] = node_port
        config |= {"DicomPort": self.port, "HttpPort": self.page, "AuthenticationEnabled": False, "Plugins": [],
                   "RemoteAccessAllowed": False, "StorageDirectory": str(directory / "storage"),
                   "IndexDirectory": str(directory / "storage")}
        shutil.copytree(RECIPE, directory)
        (directory / "orthanc.json").write_text(json.dumps(config))

    def __enter__(self):
        program = shutil.which("Orthanc", path="/usr/sbin:/usr/bin:" + os.environ.get("PATH", ""))
        with open(self.directory / "orthanc.log", "ab") as log:
            self.process = subprocess.Popen([program, self.directory / "orthanc.json"], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, cwd=self.directory)
        wait_until(lambda: self.call("/system"), "Orthanc answers", process=self.process)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)

    def call(self, path, body=None):
        try:
            with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{self.page}{path}", data=body),
                                        timeout=30) as answer:
                return json.loads(answer.read())
        except OSError:
            return None

    def modalities(self):
        return sorted(self.call(f"/instances/{one}/simplified-tags")["Modality"] for one in self.call("/instances"))


def test_orthanc_routes_radiographs_to_the_node_and_gets_the_results_once(tmp_path):
    node = Node(tmp_path / "node")
    orthanc = Orthanc(tmp_path / "orthanc", node.port)
    for key, value in yaml.safe_load((RECIPE / "node.yaml").read_text())["peers"]["pacs"].items():
        node.settings[f"peers.pacs.{key}"] = str(value).lower() if isinstance(value, bool) else value
    node.settings |= {"peers.pacs.port": orthanc.port, "peers.pacs.study_quiet_period": "1 s"}
    image, other = small_image("HAND"), small_image("HAND")
    other.Modality = "OT"
    with node, orthanc:
        for dataset in (image, other):
            path = tmp_path / "image.dcm"
            dataset.save_as(path, enforce_file_format=True)
            assert orthanc.call("/instances", path.read_bytes())
        wait_until(lambda: orthanc.modalities() == ["CR", "OT", "OT", "SR"], "overlay and report came back", 120)
        wait_until(lambda: {d["commitment"] for d in node.deliveries()} == {"committed"}, "Orthanc has committed", 90)
        time.sleep(3)  # Nothing comes round again.
        assert orthanc.modalities() == ["CR", "OT", "OT", "SR"] and node.log().count("event=c_store ") == 1
