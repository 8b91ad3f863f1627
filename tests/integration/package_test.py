"""The Debian package in a bare Debian 12 tree in which systemd runs: installed, used, upgraded, removed, purged.

Wants root, debootstrap, systemd-nspawn and a Debian archive, else it says skipped. The tree is kept in build/bare and
copied. The tests follow each other, up to the upgrade on the older package: of the commit before, which is built in
build/before, or what NODE_PACKAGE_BEFORE names; NODE_PACKAGE names one that is there already of this checkout.
"""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest
from harness import SOURCE, Pacs, fresh_uid, free_port, send, small_image, wait_until

BUILD = SOURCE / "build"
CONFIG = "/etc/skelex-node/node.yaml"
STORE = "/var/lib/skelex-node"
CHAPTER = re.search(r"^## Installed like a server.*?(?=^## )", (SOURCE / "README.md").read_text(), re.M | re.S)[0]
APT = "apt-get -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold"  # As the answer N to dpkg.


def run(*command, check=True, **more):
    done = subprocess.run([*map(str, command)], stdin=subprocess.DEVNULL, capture_output=True, text=True, **more)
    assert not check or done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done


def make_bare(tree):
    """debootstrap, with the archive, the certificates and the settings for apt of this machine."""
    sources = pathlib.Path("/etc/apt/sources.list.d/debian.sources")
    archive = re.search(r"^URIs: *(\S+)", sources.read_text(), re.M)[1] if sources.exists() else None
    shutil.rmtree(tree, ignore_errors=True)
    run("debootstrap", "--variant=minbase", "--include=systemd,systemd-sysv", "bookworm", tree, *filter(None, [archive]))
    for pattern in ("etc/apt/sources.list.d/debian.sources", "etc/apt/apt.conf.d/99*", "etc/ssl/certs/ca-certificates.crt",
                    "usr/share/keyrings/debian-archive-keyring.gpg"):
        for file in pathlib.Path("/").glob(pattern):
            target = tree / file.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    (tree / "complete").touch()


class Machine:
    """A copy of the bare tree with its systemd as process 1, in this machine's network."""

    def __init__(self, bare, tree):
        self.tree = tree
        run("cp", "-a", "--reflink=auto", bare, tree)
        for file in ("resolv.conf", "hosts"):
            shutil.copy(f"/etc/{file}", tree / "etc" / file)
        self.process = subprocess.Popen(["systemd-nspawn", "--quiet", "-D", tree, "--boot", "--register=no", "--keep-unit",
                                         "--resolv-conf=off", "--timezone=off", "--console=passive"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.leader = None

    def boot(self):
        self.leader = wait_until(self.first_process, "systemd-nspawn has started a systemd")
        wait_until(self.booted, "systemd runs there", 60)
        return self

    def first_process(self):
        if self.process.poll() is not None:
            return pytest.skip(f"systemd-nspawn ended with {self.process.returncode}")
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return next((c for c in children if pathlib.Path(f"/proc/{c}/comm").read_text().strip() == "systemd"), None)

    def booted(self):
        return self("systemctl is-system-running", check=False).stdout.strip() in ("running", "degraded")

    def __call__(self, command, check=True):
        proxies = [f"{k}={v}" for k, v in os.environ.items() if k.lower() in ("http_proxy", "https_proxy", "no_proxy")]
        return run("nsenter", "-t", self.leader, "-m", "-u", "-i", "-p", "-C", "-r", "-w", "env", "-i", "HOME=/root",
                   "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", *proxies,
                   "sh", "-c", command, check=check)

    def stop(self):
        if self.leader:
            os.kill(int(self.leader), signal.SIGKILL)  # Its process 1; nothing of it is kept.
        else:
            self.process.terminate()
        self.process.wait(60)

    # What the integration tests' send() wants of a node.
    port = None

    def follow(self, words):
        """The command of the README's chapter that begins with `words`, as it stands there, answered with Y."""
        block = re.search(r"^```sh\n(.*?)^```$", CHAPTER, re.M | re.S)[1]
        line = next(line for line in block.splitlines() if line.startswith(words))
        return self(f"cd /root && yes Y | {line}").stdout

    def node(self, command, options=""):
        return self(f"runuser -u skelex-node -- skelex-node {command} --config {CONFIG} {options}").stdout

    def studies(self):
        return {study["study_instance_uid"]: study for study in map(json.loads, self.node("studies", "--json").splitlines())}

    def is_active(self):
        return self("systemctl is-active skelex-node", check=False).stdout.strip()

    def analysed(self, pacs):
        """Sends an image; its study comes to its end and its report to the PACS."""
        image, reports = small_image("KNEE", study=fresh_uid()), len(pacs.reports())
        assert send(self, [image]) == [0]
        wait_until(lambda: len(pacs.reports()) > reports, f"a report: {self('journalctl -u skelex-node -n 20').stdout}")
        wait_until(lambda: (study := self.studies()[image.StudyInstanceUID])["state"] == "finished" and
                   not study["deliveries_pending"], "the study is at its end")
        return image.StudyInstanceUID


def this_package():
    return SOURCE / run(SOURCE / "tools/package").stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def packages():
    """(of the commit before or None, of this checkout)"""
    if os.geteuid() != 0 or not shutil.which("debootstrap") or not shutil.which("systemd-nspawn"):
        pytest.skip("wants root, debootstrap and systemd-nspawn")
    named = os.environ.get("NODE_PACKAGE")
    if os.environ.get("NODE_PACKAGE_BEFORE"):
        return pathlib.Path(os.environ["NODE_PACKAGE_BEFORE"]), named or this_package()
    before = BUILD / "before"
    run("git", "worktree", "remove", "--force", before, check=False, cwd=SOURCE)
    old = None
    if run("git", "cat-file", "-e", "HEAD~1:tools/package", check=False, cwd=SOURCE).returncode == 0:
        run("git", "worktree", "add", "--force", "--detach", before, "HEAD~1", cwd=SOURCE)
        (before / "build").mkdir(exist_ok=True)
        (before / "build/torch").symlink_to(BUILD / "torch")
        old = run(before / "tools/package").stdout.splitlines()[-1]
        shutil.move(before / old, BUILD / "before.deb")
        old = BUILD / "before.deb"
        run("git", "worktree", "remove", "--force", before, cwd=SOURCE)
    return old, named or this_package()


@pytest.fixture(scope="module")
def machine(packages, tmp_path_factory):
    bare = BUILD / "bare"
    if not (bare / "complete").exists():
        make_bare(bare)
    machine = Machine(bare, tmp_path_factory.mktemp("machine") / "tree")
    try:
        machine.boot()
        shutil.copy(packages[1], machine.tree / "root/new.deb")
        shutil.copy(packages[0] or packages[1], machine.tree / "root/old.deb")
        machine("apt-get -qq update")
        yield machine
    finally:
        machine.stop()
        shutil.rmtree(machine.tree)


@pytest.fixture(scope="module")
def pacs():
    with Pacs() as pacs:
        yield pacs


def test_it_is_installed_and_not_started(machine):
    machine(f"{APT} install sudo; cp ~/old.deb ~/skelex-node_0_amd64.deb")
    machine.follow("sudo apt install")
    assert machine("skelex-node --version").stdout.strip()
    assert machine.is_active() == "inactive" and machine("systemctl is-enabled skelex-node", check=False).returncode
    assert machine("stat -c '%U:%G %a' /etc/skelex-node/token /var/lib/skelex-node").stdout.split("\n")[:2] == [
        "root:skelex-node 640", "skelex-node:skelex-node 750"]
    assert re.fullmatch("[0-9a-f]{64}", machine("cat /etc/skelex-node/token").stdout)
    machine.follow("sudo runuser")
    # The demonstration, without network or store.
    shutil.copy(SOURCE / "tests/data/radiographs/13_1_knee_ap.dcm", machine.tree / "root/knee.dcm")
    told = machine("skelex-node predict --config /usr/share/skelex-node/demo.yaml --out ~/out ~/knee.dcm").stdout
    assert json.loads(told)["state"] == "analysed"


def test_it_analyses_in_its_sandbox(machine, pacs):
    machine.port = free_port()
    demo = (SOURCE / "config/demo.yaml").read_text()
    for was, becomes in ((r"bind: 127\.0\.0\.1, port: \d+", f"bind: 127.0.0.1, port: {machine.port}"),
                         (r"directory: \S+,", f"directory: {STORE},"), (r"port: 11113", f"port: {pacs.port}"),
                         (r"path: demo/", "path: /usr/share/skelex-node/demo/"), (r"study_quiet_period: 2 s", "study_quiet_period: 1 s"),
                         (r"http: .*", f"http: {{bind: 127.0.0.1:{free_port()}, token_file: /etc/skelex-node/token}}"),
                         (r"format: text", "format: json")):
        demo, times = re.subn(was, becomes, demo)
        assert times, was
    (machine.tree / CONFIG[1:]).write_text(demo)
    assert "FAIL" not in machine.follow("sudo runuser")  # It has reached the PACS.
    machine.follow("sudo systemctl enable")  # Type=notify: it returns once the node is ready.
    assert machine.is_active() == "active"
    machine.analysed(pacs)
    main = machine("systemctl show -p MainPID --value skelex-node").stdout.strip()
    status = machine(f"cat /proc/{main}/status").stdout
    assert re.search(r"^Uid:\s+(?!0\b)", status, re.M) and re.search(r"^CapBnd:\s+0+$", status, re.M)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.M) and re.search(r"^Seccomp:\s+2$", status, re.M)
    log = machine("journalctl -u skelex-node -o cat").stdout.splitlines()
    assert any('"message":"event=study_reported' in line for line in log)


def test_an_upgrade_keeps_configuration_token_and_studies(machine, packages, pacs):
    if packages[0] is None:
        pytest.skip("the commit before makes no package")
    held, files = machine.studies(), machine(f"cat {CONFIG} /etc/skelex-node/token").stdout
    began = machine("systemctl show -p MainPID --value skelex-node").stdout
    machine(f"{APT} install ~/new.deb")
    assert machine(f"cat {CONFIG} /etc/skelex-node/token").stdout == files
    wait_until(lambda: machine.is_active() == "active", "the new one runs")
    assert machine("systemctl show -p MainPID --value skelex-node").stdout != began
    assert held.keys() <= machine.studies().keys() and held
    machine.analysed(pacs)


def test_its_exposure_is_as_the_readme_says(machine):
    said = float(re.search(r"systemd-analyze security` says ([0-9.]+)", CHAPTER)[1])
    told = machine("systemd-analyze security --no-pager skelex-node.service").stdout
    assert float(re.search(r"exposure level for skelex-node.service: ([0-9.]+)", told)[1]) <= said


def test_a_reload_takes_new_routes(machine):
    config = machine.tree / CONFIG[1:]
    config.write_text(config.read_text().replace("name: lower-limb", "name: legs"))
    machine("systemctl reload skelex-node")
    wait_until(lambda: "event=reloaded" in machine("journalctl -u skelex-node -o cat").stdout, "it is reloaded")
    good = config.read_text()
    config.write_text(good.replace("tasks: [anomaly,", "tasks: [nosuchtask,"))
    machine("systemctl reload skelex-node")
    wait_until(lambda: "nosuchtask" in machine("journalctl -u skelex-node -o cat -p err").stdout, "it is refused, as an error")
    config.write_text(good)


def test_one_that_hangs_is_started_again(machine, pacs):
    machine("mkdir -p /run/systemd/system/skelex-node.service.d; printf '[Service]\\nWatchdogSec=2\\nTimeoutAbortSec=1\\n' "
            ">/run/systemd/system/skelex-node.service.d/quick.conf; systemctl daemon-reload; systemctl restart skelex-node")
    machine("kill -STOP $(systemctl show -p MainPID --value skelex-node)")
    wait_until(lambda: "Watchdog timeout" in machine("journalctl -u skelex-node -o cat").stdout, "systemd says so")
    wait_until(lambda: machine.is_active() == "active", "it is there again")
    machine("rm -r /run/systemd/system/skelex-node.service.d; systemctl daemon-reload; systemctl restart skelex-node")
    machine.analysed(pacs)


def test_a_removal_leaves_what_is_the_sites_own(machine):
    files = machine(f"find {STORE} -type f -name '*.dcm' -o -path '*objects*' -type f | sort").stdout
    machine(f"{APT} remove skelex-node")
    assert machine("command -v skelex-node", check=False).returncode
    assert machine("systemctl is-active skelex-node", check=False).returncode
    assert not machine("find /etc/systemd /usr/lib/skelex-node /usr/share/skelex-node -name '*skelex*'", check=False).stdout
    assert machine(f"find {STORE} -type f -name '*.dcm' -o -path '*objects*' -type f | sort").stdout == files and files
    assert "legs" in machine(f"cat {CONFIG}").stdout


def test_a_purge_leaves_images_and_results_alone_and_else_nothing(machine):
    told = machine(f"{APT} purge skelex-node")
    assert "rm -r /var/lib/skelex-node" in told.stdout + told.stderr
    assert machine("ls -d /etc/skelex-node", check=False).returncode
    assert machine(f"ls {STORE}/objects").stdout
    machine(f"rm -r {STORE}")
    machine(f"{APT} install ~/new.deb && {APT} purge skelex-node")
    left = machine("find / -xdev -iname '*skelex*' -not -path '/proc/*' -not -path \"$HOME/*\" -not -path '/tmp/*'").stdout
    assert not left, left
    assert machine("getent passwd skelex-node", check=False).returncode
