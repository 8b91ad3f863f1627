#!/usr/bin/env python3
"""Each mutation of tests/mutations/ still has something to break: a list that has gone stale proves nothing."""
import importlib
import pathlib
import sys

LISTS = pathlib.Path(__file__).parent / "mutations"
sys.path.insert(0, str(LISTS))
run = importlib.import_module("run")

areas, stale, known = sorted(path.stem for path in LISTS.glob("*.py") if path.name != "run.py"), [], 0
for area in areas:
    for mutation in importlib.import_module(area).mutations():
        known += 1
        path = run.SOURCE / mutation.path
        if not path.exists() or run.replace_nth(path.read_text(), mutation.old, mutation.new, mutation.occurrence) is None:
            stale.append(f"tests/mutations/{area}.py: {mutation.name}: {mutation.path} does not hold {mutation.old!r}")
print("\n".join(stale) or f"{known} mutations in {len(areas)} lists, each can be applied")
sys.exit(1 if stale or known < 100 else 0)
