"""Writes `tests/golden/*.json` anew: `python tests/golden/update.py`.

Refuses a stage whose results changed while its version did not: users would be given stale results from their stores.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from golden import SOURCES, Golden, compute, differences, path_of, read


def refused(stage: str, stored: Golden, found: Golden) -> str:
    """Why a stage's file must not be written; "" where it may."""
    if stage not in SOURCES or not differences(stored["values"], found["values"]):
        return ""
    if not isinstance(found["version"], dict):
        return "" if found["version"] > stored["version"] else f"raise VERSION in {SOURCES[stage]} first"
    # Of metrics only those may differ whose own version was raised, or which are new.
    raised = {key for key, version in found["version"].items() if version > stored["version"].get(key, 0)}
    gone = set(stored["version"]) - set(found["version"])
    changed = {line.partition(" ")[0].rstrip(":") for line in differences(stored["values"], found["values"])}
    wrong = sorted(changed - raised - gone)
    return f"raise {SOURCES[stage]} of {', '.join(wrong)} first" if wrong else ""


def update(everything: dict[str, Golden]) -> list[str]:
    """Writes what may be written; gives what was refused."""
    faults, upstream_raised = [], False
    for stage, found in everything.items():
        stored = read(stage) if path_of(stage).exists() else found
        # What an earlier stage changed has new keys in all stages after it.
        fault = "" if upstream_raised else refused(stage, stored, found)
        if fault:
            faults.append(f"{stage}: results changed; {fault}")
        else:
            path_of(stage).write_text(dump(found))
        upstream_raised |= found["version"] != stored["version"]
    return faults


def dump(golden: Golden) -> str:
    """One value a line, so that a difference can be read."""
    lines: list[Any] = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in golden["values"].items()]
    body = ",\n".join(lines)
    return f'{{\n"version": {json.dumps(golden["version"])},\n"values": {{\n{body}\n}}\n}}\n'


if __name__ == "__main__":
    sys.exit("\n".join(update(compute())) or None)
