"""config/skelex.example.yaml where backbone, one task and region-guided classifier have the published size, ViT-L, float32."""
import json
import re
import resource
import subprocess

import torch

from example_config_test import EXAMPLES, save_stand_in, task_of, write_image
from harness import BIN, Pacs

EXAMPLE = EXAMPLES["skelex.example.yaml"]
LARGE = dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096, image_size=224,
             patch_size=16)
DECODER = dict(decoder_hidden_size=512, decoder_num_hidden_layers=8, decoder_num_attention_heads=16,
               decoder_intermediate_size=2048)
AT_FULL_SIZE = {"skelex": 329, "kneeoa": 303, "multihead": 303}  # Millions of parameters.
MEMORY_GIB = 6


def test_it_loads_and_reads_an_image_within_memory(tmp_path):
    torch.manual_seed(20261129)
    settings = ["--set", f"storage.directory={tmp_path / 'store'}", "--set", "storage.free_bytes_min=16 MiB",
                "--set", "peers.pacs.host=127.0.0.1"]
    for name in EXAMPLE.waiting:
        settings += ["--set", f"tasks.{name}.when.at_least=0"]
    for name in EXAMPLE.config["models"]:
        more = (LARGE, DECODER) if name in AT_FULL_SIZE else ()
        save_stand_in(EXAMPLE, name, tmp_path / name, *more)
        settings += ["--set", f"models.{name}.path={tmp_path / name}"]

    def run(command, *arguments):
        done = subprocess.run([BIN / "skelex-node", command, "--config", EXAMPLE.path, *settings, *map(str, arguments)],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    with Pacs() as pacs:
        checked = run("check", "--set", f"peers.pacs.port={pacs.port}")
    for name, millions in AT_FULL_SIZE.items():
        [parameters] = re.findall(rf"ok    model {name}: ([0-9.]+) M parameters", checked)
        assert abs(float(parameters) - millions) < 1.5, parameters
    write_image(tmp_path / "knee.dcm", EXAMPLE.images["knee"][0], 1)
    line = json.loads(run("predict", "--out", tmp_path / "out", tmp_path / "knee.dcm"))
    route = next(route for route in EXAMPLE.config["routes"] if route["name"] == "knee")
    assert {task_of(f["task"]) for f in line["findings"]} | {"anomaly"} == set(route["tasks"]) and "anomaly" in line
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < MEMORY_GIB * 2**20  # KiB, of the largest child.
