"""The short version of tools/crashtest: twenty kills."""
import os
import shutil
import subprocess

import pytest


def test_twenty_kills_lose_and_double_nothing():
    if not shutil.which("Orthanc", path="/usr/sbin:" + os.environ["PATH"]):
        pytest.skip("Orthanc is not installed: tools/setup --tests installs it")
    done = subprocess.run([os.environ["NODE_SOURCE_DIR"] + "/tools/crashtest", "--kills", "20"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900)
    print(done.stdout)  # With its seed, which replays it.
    assert done.returncode == 0, done.stdout
