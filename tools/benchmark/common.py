"""What both benchmarks share: a Python of their own, words for machine and commit, a page's block, how plots look."""
import datetime
import os
import pathlib
import signal
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build/benchmark"
BIN = ROOT / "build/release/bin"
# Set on some machines for the sake of old numeric libraries: they would slow the peers down.
LEFT_OUT_OF_ENVIRONMENT = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "NVPL_BLAS_DEBUG_CPU_TYPE")


def in_own_python(name="python", requirements="requirements.txt"):
    """Runs the calling script again in build/benchmark/NAME, which it makes of the requirements if need be."""
    python = BUILD / name
    if pathlib.Path(sys.prefix).resolve() == python.resolve():
        return
    listed = pathlib.Path(__file__).parent / requirements
    wanted = listed.read_text()
    mark = python / "complete"
    if not mark.exists() or mark.read_text() != wanted:
        size = "some 6 GB, minutes" if "torch" in wanted else "a minute"
        print(f"==> Python with the peers in {python.relative_to(ROOT)} ({size})", flush=True)
        subprocess.run([sys.executable, "-m", "venv", python], check=True)
        subprocess.run([python / "bin/pip", "install", "-q", "--disable-pip-version-check", "-r", listed], check=True)
        mark.write_text(wanted)
    environment = {name: value for name, value in os.environ.items() if name not in LEFT_OUT_OF_ENVIRONMENT}
    os.execve(python / "bin/python", [str(python / "bin/python"), *sys.argv], environment)


def pause():
    """Stops this process until SIGCONT: time to clear a machine that others use too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # So that what was started is stopped.
    if "--pause" in sys.argv:
        print(f"==> Ready to measure. Clear the machine, then: kill -CONT {os.getpid()}", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)


def output_of(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def machine():
    facts = dict(line.split(":", 1) for line in pathlib.Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines())
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    memory = int(pathlib.Path("/proc/meminfo").read_text().split()[1]) / 2**20
    flags = facts["flags"].split()
    special = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "sha_ni") if name in flags]
    return (f"{os.cpu_count()} cores of {facts['model name']} (family {facts['cpu family']}, model {facts['model']}; "
            f"{', '.join(special)}), {memory:.0f} GiB, Linux {os.uname().release}")


def commit():
    return output_of("git", "describe", "--always", "--dirty", "--exclude=*")


def today():
    return datetime.date.today().isoformat()


def median(values):
    return statistics.median(values)


def median_and_range(values, digits=2):
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join([" --- "] + [" ---: "] * (len(head) - 1)) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def replace_block(page, name, text):
    """Puts `text` between the two marks of block `name`; what people wrote around them stays."""
    begin, end = f"<!-- made by {name}: begin -->", f"<!-- made by {name}: end -->"
    old = page.read_text(encoding="utf-8")
    if begin not in old or end not in old:
        raise SystemExit(f"{page}: has no marks '{begin}' and '{end}'")
    before, after = old.split(begin)[0], old.split(end)[1]
    page.write_text(before + begin + "\n" + text.strip() + "\n" + end + after, encoding="utf-8")


def pyplot():
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot as plot
    plot.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
                          "grid.alpha": 0.3, "axes.axisbelow": True, "legend.frameon": False, "figure.dpi": 150})
    return plot
