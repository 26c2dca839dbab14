"""Turning the tables of a run folder into its plots and report."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rra_cli.core import files
from rra_cli.core.meta import checksum
from rra_cli.core.progress import Progress
from rra_cli.core.reading import read_json
from rra_cli.errors import UserError
from rra_cli.report.figures import Rendered, draw_all
from rra_cli.report.html import report_html
from rra_cli.report.load import load_run
from rra_cli.report.plots import plots
from rra_cli.report.run import Run
from rra_cli.report.style import KINDS
from rra_cli.report.tables.schema import SEARCH_TIMES, TABLES

# Raised when the same tables would look different.
VERSION = 4
REPORT = "report.html"
# What the plots are made of, and what the report tells beside them.
_DRAWN = (*(f"tables/{name}.csv" for name in TABLES), "training.jsonl", SEARCH_TIMES)
_TOLD = ("config.yaml", "provenance.json")
_RECORD = "plots/.rendered.json"
_PLOT = re.compile(r"plots/[A-Za-z0-9_-]+\.(png|svg)")


def render(run_folder: Path, progress: Progress, cache: Path | None) -> list[Path]:
    """Renders `plots/*.png`, `plots/*.svg` and `report.html` from the tables; returns their paths."""
    run = load_run(run_folder)
    links = _links(run_folder)
    inputs = _digest(run_folder, (*_DRAWN, *_TOLD), "\0".join([f"{VERSION}", _terms(run), *links]))
    before = _read_record(run_folder / _RECORD)
    if before and before["inputs"] == inputs and _intact(run_folder, before["files"]):
        return [run_folder / name for name in before["files"]]
    rendered = _drawn(run, run_folder, progress, cache)
    contents = {
        f"plots/{figure.plot.name}.{kind}": data for figure in rendered for kind, data in figure.encoded.items()
    }
    contents[REPORT] = report_html(run, run_folder.resolve().name, rendered, links).encode("utf-8")
    if (run_folder / "plots").is_symlink():
        raise UserError(f"{run_folder / 'plots'} is a link, behind which nothing is written", "remove it and run again")
    for name, data in contents.items():
        files.write_bytes(run_folder / name, data)
    for name in before["files"] if before else ():
        # What an earlier rendering made and this one did not would contradict the tables.
        if name not in contents and _PLOT.fullmatch(name):
            (run_folder / name).unlink(missing_ok=True)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    files.write_json(run_folder / _RECORD, {"inputs": inputs, "files": digests})
    return [run_folder / name for name in contents]


def _drawn(run: Run, run_folder: Path, progress: Progress, cache: Path | None) -> list[Rendered]:
    """All figures; taken from the cache where the same tables were drawn before, and put there otherwise."""
    if cache is None:
        return draw_all(plots(run), progress)
    drawn_with = f"{VERSION} matplotlib {importlib.metadata.version('matplotlib')} {_terms(run)} {run.alteration}"
    entry = cache / _digest(run_folder, _DRAWN, drawn_with)
    found = _read_cache(run, entry)
    if found is not None:
        return found
    rendered = draw_all(plots(run), progress)
    contents = {f"{each.plot.name}.{kind}": data for each in rendered for kind, data in each.encoded.items()}
    for name, data in contents.items():
        files.write_bytes(entry / name, data)
    # Last, so that an entry with an index is whole.
    files.write_json(entry / "index.json", {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()})
    return rendered


def _terms(run: Run) -> str:
    """What the run's metrics are called and how they are drawn: their classes say it, not the tables."""
    return json.dumps({metric: dataclasses.asdict(run.term(metric)) for metric in (*run.metrics, *run.pair_metrics)})


def _read_cache(run: Run, entry: Path) -> list[Rendered] | None:
    try:
        index = read_json(entry / "index.json")
        rendered = []
        for plot in plots(run):
            kinds = [kind for kind in KINDS if f"{plot.name}.{kind}" in index]
            encoded = {kind: (entry / f"{plot.name}.{kind}").read_bytes() for kind in kinds}
            if any(hashlib.sha256(data).hexdigest() != index[f"{plot.name}.{kind}"] for kind, data in encoded.items()):
                return None
            if encoded:  # a plot that the tables had nothing for was not drawn
                rendered.append(Rendered(plot, encoded))
        return rendered
    except (OSError, ValueError, TypeError):
        return None


def _digest(run_folder: Path, names: Iterable[str], made_with: str) -> str:
    """A digest of the contents of these files of the run folder; a file that is missing counts as such."""
    digest = hashlib.sha256(made_with.encode())
    for name in names:
        path = run_folder / name
        content = checksum(path) if path.is_file() else "missing"
        digest.update(f"\0{name}\0{content}".encode())
    return digest.hexdigest()


def _links(run_folder: Path) -> list[str]:
    """The files that the report points to, relative to the run folder."""
    named = ("config.yaml", "provenance.json", "manifest.json", "training.jsonl", SEARCH_TIMES, "run.log")
    tables = sorted(path for kind in ("csv", "parquet") for path in (run_folder / "tables").glob(f"**/*.{kind}"))
    return [
        *(name for name in named if (run_folder / name).is_file()),
        *(path.relative_to(run_folder).as_posix() for path in tables if not path.name.startswith(files.LEFTOVER)),
    ]


def _read_record(path: Path) -> Mapping[str, Any] | None:
    """What the last rendering wrote down; None where there is none that can be read, which renders anew."""
    try:
        record = read_json(path)
        whole = isinstance(record["inputs"], str) and all(isinstance(name, str) for name in record["files"])
        return record if whole and isinstance(record["files"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _intact(run_folder: Path, digests: Mapping[str, str]) -> bool:
    for name, digest in digests.items():
        path = run_folder / name
        if name != REPORT and not _PLOT.fullmatch(name):
            return False
        if not path.is_file() or checksum(path) != digest:
            return False
    return True
