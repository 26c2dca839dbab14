"""`rra gc`: removes from the store what no run refers to."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rra_cli.errors import EXIT_OK, UserError

if TYPE_CHECKING:
    from rich.table import Table

    from rra_cli.core.survey import Item, Survey

HELP = """\
rra gc: removes from the store what no run refers to.

usage: rra gc [--dry-run] [--older-than AGE] [--list] [--forget-unseen] [--store DIR]

  --dry-run          shows what would be removed, and removes nothing
  --older-than AGE   keeps what changed within this time: 7d, 12h, 30m, 2w, 0 (default: 1d)
  --list             names every folder that is removed, or would be
  --forget-unseen    counts runs as deleted whose folders are not seen from this machine; see below
  --store DIR        the store (default: store in the outputs folder)

Every run notes in the store what it needs before it begins: nothing of that is removed, wherever the run's folder is,
whether it is finished or not, and also while it works. A run counts no more once its folder was deleted. A folder that
is missing where it cannot be seen from here (another machine's disk, one that is not mounted) counts as there.
Also removed: unfinished work that nobody will go on with, what was found damaged and moved aside, trash.
"""
DEFAULT_AGE = "1d"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_OTHERS = ("unfinished work", "damaged", "plots", "leftovers", "trash")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message}", f"`{self.prog} --help` explains the arguments")


def main(arguments: Sequence[str]) -> int:
    """Runs the command and gives its exit code."""
    parser = _Parser(prog="rra gc", add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--older-than", default=DEFAULT_AGE)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--forget-unseen", action="store_true")
    parser.add_argument("--store", type=Path)
    args = parser.parse_args(arguments)
    if args.help:
        sys.stdout.write(HELP)
        return EXIT_OK
    older_than = parse_age(args.older_than)
    from rra_cli.config import outputs_root
    from rra_cli.console import show
    from rra_cli.core.collect import collect
    from rra_cli.core.store import Store
    from rra_cli.core.survey import survey
    from rra_cli.reporters import make_reporter

    root = outputs_root() / "store" if args.store is None else args.store.expanduser()
    if not root.is_dir():
        raise UserError(f"there is no store at {root}", "rra gc --store DIR, where DIR is what store.root was")
    store = Store(root)
    options = {"older_than": older_than, "forget_unseen": args.forget_unseen}
    with make_reporter().task("look through the store") as progress:
        if args.dry_run:
            found = survey(store, **options, progress=progress)
            removed: Sequence[Item] = [item for item in found.items if item.verdict == "remove"]
            spared = 0
        else:
            done = collect(store, **options, progress=progress)
            found, removed, spared = done.before, done.removed, len(done.spared)
    show(_table(found, removed))
    for line in _lines(found, removed, spared, args.older_than, args.dry_run):
        show(line)
    for item in sorted(removed, key=lambda item: item.path) if args.list else ():
        show(f"{'would remove' if args.dry_run else 'removed'}: {item.path} ({_size([item])})")
    return EXIT_OK


def parse_age(text: str) -> float:
    """Seconds in "7d", "12h", "30m", "45s", "2w" or "0". Raises `UserError` for anything else."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhdw])", text.strip())
    if text.strip() == "0":
        return 0.0
    if match is None:
        raise UserError(
            f"rra gc: --older-than {text}: expected a time", "write it like 7d (days), 12h, 30m, 45s, 2w or 0"
        )
    return float(match[1]) * _UNITS[match[2]]


def _table(found: Survey, removed: Sequence[Item]) -> Table:
    """What is removed and what is kept, by kind of stage."""
    from rra_cli.console import make_table

    gone = {item.path for item in removed}
    kinds = sorted({item.kind for item in found.items} - {*_OTHERS})
    rows: list[list[object]] = []
    for kind in [*kinds, *_OTHERS]:
        of_kind = [item for item in found.items if item.kind == kind]
        out = [item for item in of_kind if item.path in gone]
        kept = [item for item in of_kind if item.path not in gone]
        if of_kind:
            rows.append([kind, len(out), _size(out), len(kept), _size(kept)])
    kept = [item for item in found.items if item.path not in gone]
    rows.append(["total", len(removed), _size(removed), len(kept), _size(kept)])
    table: Table = make_table("", ["what", "removed", "frees", "kept", "takes"], rows)
    return table


def _lines(found: Survey, removed: Sequence[Item], spared: int, age: str, dry: bool) -> list[str]:
    there, deleted, unseen = (found.count(where) for where in ("there", "deleted", "unseen"))
    lines = [f"{_runs(there)} there, {deleted} deleted"]
    if unseen:
        lines[0] += f", {unseen} not seen from here, which count as there (--forget-unseen: as deleted)"
    fresh = [item for item in found.items if item.verdict == "fresh"]
    busy = [item for item in found.items if item.verdict == "in use"]
    if fresh:
        lines.append(f"kept though no run refers to it: {_size(fresh)} that changed within {age} (--older-than)")
    if busy or spared:
        lines.append(f"kept as somebody works on it: {len(busy) + spared}")
    size = _size(removed)
    lines.append(f"{size} would be freed; nothing was removed (--dry-run)" if dry else f"{size} freed")
    return lines


def _runs(number: int) -> str:
    return f"runs that refer to the store: {number}"


def _size(items: Iterable[Item]) -> str:
    from rra_cli.core.resources import format_bytes

    return format_bytes(sum(item.size for item in items))
