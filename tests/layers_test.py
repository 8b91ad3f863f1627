#!/usr/bin/env python3
"""The `layers` test: every #include of the sources against the edges that the architecture allows.

CMake's PRIVATE linking alone does not stop a wrong #include, because Debian's packages put dcmtk/, sqlite3.h and boost/
on the default path. Exits 1 and names file, line and rule for each wrong edge. `--self-test` proves that it can fail.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Folder of the including file -> folders of the project it may include, longest prefix first.
STAGES = ("receive", "analyze", "report", "deliver")
ALLOWED = {
    "config/base": ["config/base"],
    "config": ["config"],
    "storage": ["storage", "config"],
    "inference": ["inference", "config"],
    "dicom_node/audit": ["dicom_node/audit", "config"],
    "dicom_node/tls": ["dicom_node/tls", "config"],
    "dicom_node/object": ["dicom_node/object", "storage", "inference/predictor.h", "config"],
    "dicom_node/route": ["dicom_node/route", "dicom_node/object", "storage/route_decision.h", "config"],
    "dicom_node/receive": ["dicom_node/receive", "dicom_node/audit", "dicom_node/tls", "dicom_node/route", "dicom_node/object", "storage", "config"],
    "dicom_node/analyze": ["dicom_node/analyze", "dicom_node/object", "inference/predictor.h", "storage", "config"],
    "dicom_node/report": ["dicom_node/report", "dicom_node/object", "storage", "inference/predictor.h", "config"],
    "dicom_node/deliver": ["dicom_node/deliver", "dicom_node/audit", "dicom_node/tls", "dicom_node/object", "storage", "config"],
    # The command line and the pages see every stage, but of inference only its interface.
    "dicom_node/operate": ["dicom_node", "inference/predictor.h", "storage", "config"],
    "dicom_node": ["dicom_node", "inference/predictor.h", "storage", "config"],
}
# A module is handed its own config struct, never the whole NodeConfig.
NODE_CONFIG_READERS = ("config/node_config", "dicom_node/main.cpp", "dicom_node/node.", "dicom_node/operate/")
# The one file that sees every module.
WIRING = "dicom_node/main.cpp"

# Third-party include prefix -> where it may stand.
THIRD_PARTY = [
    (r"^(torch|ATen|c10|caffe2)/", r"^inference/.*\.cpp$"),
    (r"^(ATen|c10)/", r"^inference/.*\.(cpp|h)$"),
    (r"^dcmtk/", r"^(dicom_node|tools)/.*\.cpp$"),
    (r"^opencv2/", r"^dicom_node/.*\.cpp$"),
    (r"^boost/", r"^dicom_node/.*\.cpp$"),
    (r"^sqlite3\.h$", r"^storage/.*\.cpp$"),
    (r"^yaml-cpp/", r"^config/config_tree\.cpp$"),
    (r"^openssl/", r"^(storage|inference|dicom_node)/.*\.cpp$"),
    (r"^nlohmann/", r"^(inference|dicom_node|tools)/.*\.cpp$"),
    (r"^spdlog/", r"^dicom_node/.*\.cpp$"),
    (r"^prometheus/", r"^dicom_node/operate/.*\.cpp$"),
    (r"^CLI/", r"^(dicom_node|tools)/.*\.cpp$"),
    (r"^(cairo|pango)|^(cairo|pango)/", r"^dicom_node/report/.*\.cpp$"),
    (r"^png\.h$", r"^dicom_node/object/.*\.cpp$"),
    (r"^openjpeg", r"^dicom_node/object/.*\.cpp$"),
    (r"^fmt/", r".*\.cpp$"),
]
OURS = r"(config|storage|inference|dicom_node|tests|tools)/"
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')


def problems_of(name, text):
    """Yields (line, message) for each include of one file that no rule allows."""
    folder = max((f for f in ALLOWED if name.startswith(f + "/")), key=len, default=None)
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        target = match.group(2)
        rules = [where for prefix, where in THIRD_PARTY if re.search(prefix, target)]
        if rules and not any(re.search(where, name) for where in rules):
            yield number, f"<{target}> may only stand in {' or '.join(rules)}"
        if folder is None or name == WIRING or not re.match(OURS, target):
            continue
        if not any(target == a or target.startswith(a + "/") for a in ALLOWED[folder]):
            yield number, f'"{target}": {folder} may include only {", ".join(ALLOWED[folder])}'
        if target == "config/node_config.h" and not name.startswith(NODE_CONFIG_READERS):
            yield number, "config/node_config.h: a module is handed its own config struct"


def sources():
    for folder in ("config", "storage", "inference", "dicom_node", "tools"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".h", ".cpp"):
                yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def self_test():
    wrong = [
        ("storage/x.cpp", '#include "inference/predictor.h"'),
        ("inference/x.cpp", '#include "storage/spool.h"'),
        ("dicom_node/report/x.cpp", '#include "dicom_node/route/router.h"'),
        ("dicom_node/analyze/x.cpp", '#include "inference/preprocess.h"'),
        ("dicom_node/object/x.h", "#include <dcmtk/dcmdata/dctk.h>"),
        ("storage/x.cpp", "#include <boost/asio.hpp>"),
        ("dicom_node/deliver/x.cpp", '#include "config/node_config.h"'),
        ("config/base/x.h", '#include "config/task_config.h"'),
    ]
    missed = [f"{name}: {line}" for name, line in wrong if not list(problems_of(name, line))]
    right = [("inference/x.cpp", "#include <ATen/core/Tensor.h>"), ("dicom_node/receive/x.cpp", '#include "storage/spool.h"')]
    false_alarms = [f"{name}: {line}" for name, line in right if list(problems_of(name, line))]
    return missed + false_alarms


def main():
    broken = self_test()
    if broken:
        print("the layers test itself is wrong about:\n  " + "\n  ".join(broken))
        return 1
    count, found = 0, []
    for name, text in sources():
        count += 1
        found += [f"{name}:{number}: {message}" for number, message in problems_of(name, text)]
    print("\n".join(found) if found else f"{count} files, every include on an allowed edge")
    return 1 if found or not count else 0


if __name__ == "__main__":
    sys.exit(main())
