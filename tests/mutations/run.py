#!/usr/bin/env python3
"""Breaks one promise at a time, in a copy, and says which named test notices: run.py AREA [--work DIR] [WORD...]

AREA is a file beside this one: store, pixels, associations, engine, operate, report, regions. Each mutation is applied to a scratch copy
of what is committed; the tests that its area names are built and run, nearest first, until one notices. WORD picks
mutations by name. Exit status 0: every one was noticed. The tables it prints are in README.md.
"""
import argparse
import dataclasses
import importlib
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[2]


@dataclasses.dataclass
class Mutation:
    name: str
    path: str
    old: str
    new: str
    occurrence: int = 0
    sync: bool = False


def replace_nth(text, old, new, occurrence):
    at = -1
    for _ in range(occurrence + 1):
        at = text.find(old, at + 1)
        if at < 0:
            return None
    return text[:at] + new + text[at + len(old):]


class Copy:
    """Of what is committed, with a build of its own."""

    def __init__(self, directory, options):
        self.directory, self.build = directory, directory / "build/mutations"
        if not (directory / "CMakeLists.txt").exists():
            directory.mkdir(parents=True, exist_ok=True)
            archive = subprocess.run(["git", "-C", SOURCE, "archive", "HEAD"], capture_output=True, check=True).stdout
            subprocess.run(["tar", "-x", "-C", directory], input=archive, check=True)
            (directory / "build").mkdir()
            for name in ("torch", "python"):
                (directory / "build" / name).symlink_to((SOURCE / "build" / name).resolve())
        subprocess.run(["cmake", "-S", directory, "-B", self.build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                        "-DBUILD_TESTING=ON", "-DCMAKE_CXX_FLAGS=-w", *options], check=True, stdout=subprocess.DEVNULL)

    def compile(self, *targets):
        built = subprocess.run(["cmake", "--build", self.build, "-j", "2", "-t", *targets, "--", "--quiet"],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if built.returncode != 0:
            sys.exit(f"{' '.join(targets)}: does not build:\n{built.stdout[-3000:]}")

    def failing(self, test):
        """The first failing test of `test`, or None. `test`: a GoogleTest program with its arguments, or
        "FILE.py TARGET...", "FILE.py::test TARGET..."."""
        program, *arguments = test.split()
        if ".py" in program:
            self.compile(*arguments)
            command = [self.directory / "build/python/bin/python", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
                       f"{self.directory / 'tests'}/{program}"]
        else:
            self.compile(program)
            command = [self.build / "bin" / program, "--gtest_fail_fast", *arguments]
        environment = {"PATH": "/usr/bin:/bin", "NODE_BIN": str(self.build / "bin"), "NODE_SOURCE_DIR": str(self.directory),
                       "OMP_WAIT_POLICY": "passive"}
        if pathlib.Path("/dev/shm").is_dir() and program != "file_system_test":  # Memory takes any O_DIRECT for one.
            environment["TMPDIR"] = "/dev/shm"
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                                  timeout=600, env=environment)
            output = done.stdout
            if done.returncode == 0:
                return None
        except subprocess.TimeoutExpired as error:
            output = (error.stdout or b"").decode(errors="replace")
        # Of one that hangs or crashes the last that began.
        found = (re.findall(r"\[  FAILED  \] ([\w./]+)", output) or re.findall(r"^FAILED \S+::(\S+)", output, re.M) or
                 re.findall(r"\[ RUN      \] (\S+)", output)[::-1])
        return found[0] if found else f"{program}, which ends at once"

    def noticed_by(self, mutation, tests):
        names = []
        for group in tests:
            for test in group:
                if name := self.failing(test):
                    names.append(name)
                    break
        return names


def main():
    sys.modules["run"] = sys.modules["__main__"]  # The areas import Mutation from here.
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("area", choices=sorted(path.stem for path in pathlib.Path(__file__).parent.glob("*.py")
                                               if path.name != "run.py"))
    parser.add_argument("--work", help="the scratch copy; kept, and quick the second time")
    parser.add_argument("words", nargs="*", help="only mutations whose name has one of them")
    arguments = parser.parse_intermixed_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # The file that is changed is put back.
    area = importlib.import_module(arguments.area)
    chosen = [m for m in area.mutations() if not arguments.words or any(word in m.name for word in arguments.words)]
    with tempfile.TemporaryDirectory(prefix="mutations-") as scratch:
        for mutation in chosen:
            if replace_nth((SOURCE / mutation.path).read_text(), mutation.old, mutation.new, mutation.occurrence) is None:
                sys.exit(f"{mutation.name}: {mutation.path} has changed, the mutation must follow it: {mutation.old}")
        copy = Copy(pathlib.Path(arguments.work or scratch) / "source", area.OPTIONS)
        for test in dict.fromkeys(test for mutation in chosen for group in area.tests(mutation) for test in group):
            if "--gtest_filter" not in test and (name := copy.failing(test)):
                sys.exit(f"{name} fails as it is")
        unnoticed = 0
        for mutation in chosen:
            path = copy.directory / mutation.path
            text = path.read_text()
            mutated = replace_nth(text, mutation.old, mutation.new, mutation.occurrence)
            try:
                path.write_text(mutated)
                names = copy.noticed_by(mutation, area.tests(mutation))
            finally:
                path.write_text(text)
            unnoticed += not names
            print(f"| {mutation.name} | {', '.join(names) or '**none**'} |", flush=True)
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
