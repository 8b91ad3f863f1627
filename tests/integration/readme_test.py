"""The README's first ten minutes of a PACS administrator, followed word by word: each command as it stands there, each piece
of configuration put where it says. In a folder of its own, with this build's programs.
"""
import os
import re
import shlex
import signal
import subprocess

import pytest
import yaml
from harness import BIN, SOURCE, free_port, wait_until

README = (SOURCE / "README.md").read_text()
CHAPTER = re.search(r"^## The first ten minutes.*?(?=^## )", README, re.M | re.S)[0]


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", CHAPTER, re.M | re.S)


def commands(words):
    """Those of the chapter that hold `words`."""
    lines = [line.split("   #")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    found = [line for line in lines if words in line]
    assert found, f"the README has no command with {words}"
    return found


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A folder in which the chapter's commands find what they name; its node.yaml is the demonstration's, on free ports."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("config", "tests"):
        (folder / name).mkdir()
    for path in (SOURCE / "config").iterdir():
        if path.name != "node.yaml":
            (folder / "config" / path.name).symlink_to(path)
    (folder / "tests/data").symlink_to(SOURCE / "tests/data")
    (folder / "build/release").mkdir(parents=True)
    (folder / "build/release/bin").symlink_to(BIN)
    return folder


def follow(checkout, command, exit_status=0, **more):
    done = subprocess.run(command.replace("/backup/", f"{checkout}/backup/"), shell=True, cwd=checkout, capture_output=True,
                          text=True, stdin=subprocess.DEVNULL, **more)
    assert done.returncode == exit_status, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def change(checkout, edit):
    file = checkout / "config/node.yaml"
    content = yaml.safe_load(file.read_text())
    edit(content)
    file.write_text(yaml.safe_dump(content, sort_keys=False))


def test_check_names_the_one_thing_to_mend(checkout):
    copy, check = blocks("sh")[0].splitlines()
    follow(checkout, copy)
    told = follow(checkout, check, exit_status=1)
    assert [line.split(":")[0] for line in told.splitlines() if line.startswith("FAIL")] == ["FAIL  peer pacs"]


def test_the_two_keys_that_are_to_be_changed(checkout):
    def edit(content):
        content["storage"]["directory"] = str(checkout / "store")
        content["node"].update(bind="0.0.0.0", port=free_port())
        content["http"]["bind"] = f"127.0.0.1:{free_port()}"
    change(checkout, edit)


@pytest.mark.parametrize("section", ["peers", "routes", "models"])
def test_each_piece_of_configuration_is_right_where_it_says(checkout, section):
    piece = next(block for block in blocks("yaml") if block.startswith(f"{section}:"))

    def edit(content):
        for key, value in yaml.safe_load(piece).items():
            content[key] = value + content[key] if isinstance(value, list) else {**content[key], **value}
    before = (checkout / "config/node.yaml").read_text()
    change(checkout, edit)
    if section == "models":  # /models is not here; that the file is right is said without loading.
        follow(checkout, commands(" route ")[0])
        (checkout / "config/node.yaml").write_text(before)


def test_certificates_are_made_and_the_piece_about_tls_takes_them(checkout):
    made = next(block for block in blocks("sh") if "/CN=Radiology CA" in block)
    folder = checkout / "config/tls"
    folder.mkdir()
    subprocess.run(["bash", "-e", "-c", made], cwd=folder, check=True, capture_output=True)
    subprocess.run(["openssl", "verify", "-CAfile", "ca.pem", "skelex.pem"], cwd=folder, check=True, capture_output=True)
    before = (checkout / "config/node.yaml").read_text()
    piece = yaml.safe_load(next(block for block in blocks("yaml") if block.startswith("node: {tls:")))
    change(checkout, lambda content: [content[key].update(value) for key, value in piece.items()])
    follow(checkout, commands(" route ")[0])
    (checkout / "config/node.yaml").write_text(before)


def test_route_explains_and_predict_writes(checkout):
    assert "knee" in follow(checkout, commands(" route ")[0])
    told = follow(checkout, commands(" predict ")[0])
    assert '"rule":"knee"' in told.replace('": "', '":"') and list((checkout / "build/tried").rglob("*.dcm"))


def test_what_is_said_of_a_node_that_runs(checkout):
    serve = commands(" serve ")[0]
    with open(checkout / "log", "wb") as log:
        node = subprocess.Popen(shlex.split(serve), cwd=checkout, stderr=log, stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: b"skelex-node ready" in (checkout / "log").read_bytes(), "the node is ready")
        for command in commands(" studies ") + commands(" deliveries ") + commands(" backup "):
            follow(checkout, command)
        assert (checkout / "backup/today").is_dir()
        node.send_signal(signal.SIGHUP)
        wait_until(lambda: b"event=reloaded" in (checkout / "log").read_bytes(), "it has read its routes again")
        for setting in re.findall(r"`--set (node\S+)` and\s+`(\w+=\w+)`", README):
            for way in (f"--set {setting[0]}", ""):
                done = follow(checkout, f"{commands(' route ')[0]} {way}",
                              env={**os.environ, **({} if way else dict([setting[1].split('=')]))})
                assert "knee" in done
    finally:
        node.terminate()
        assert node.wait(60) == 0
