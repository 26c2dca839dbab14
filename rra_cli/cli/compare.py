"""`rra compare`: finished runs side by side."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rra_cli.errors import EXIT_OK, UserError

if TYPE_CHECKING:
    import argparse

    from rra_cli.report.compare.view import View

HELP = """\
rra compare: puts finished runs side by side: means over seeds, curves with bands, how far models agree.

usage: rra compare SWEEP|RUN|FOLDER ... [flags]

  rra compare outputs/sweeps/quickstart_1a2b3c4d       all runs of a sweep
  rra compare outputs/2026-11-21                       all runs of a day
  rra compare RUN_A RUN_B --correlate id_twonn,knn_probe

Runs are grouped by what differs in their config.yaml; the seeds within a group are what means and intervals are over.
Unfinished and damaged runs are named and left out. Layer similarity between models needs the same samples in both and
is refused otherwise; curves of other data sets and sizes are drawn side by side all the same. Where groups differ in
one number alone (alter.level, a width), metrics are drawn against it, too. Volumes of pullback metrics are held against
each other where they are of the same lines, planes or grids.

flags
  --out DIR           where tables, plots and report.html go; by default outputs/DATE/TIME_compare
  --correlate X,Y     two columns of layers.csv or training.jsonl, with a scatter plot (repeatable; without it every
                      two metrics are correlated, in the table alone)
  --checkpoints LIST  of layer similarity between models: last (default), labels such as epoch_0010, all, or none
  --metric LIST       what layers of different models are compared by: nnls (default), overlap (of neighbourhoods),
                      overlap_average, overlap_rank_biased (rank-aware), or several
  --level 0.95        of intervals
  --band interval     what curves are shaded by: interval (of the mean), or sd
  --same-samples      the rows of a user's files without labels are the same samples; otherwise nobody can tell
  --threads N         for layer similarity; by default all cores

exit codes: 0 done, 1 a fault of rra (with its traceback), 2 nothing to compare, or something to mend in the input.
"""
FLAGS = (
    *("--out", "--correlate", "--checkpoints", "--metric", "--level", "--band", "--same-samples", "--threads"),
    "--help",
)
BANDS = ("interval", "sd")


def main(arguments: Sequence[str]) -> int:
    """Runs the command and gives its exit code."""
    if any(argument in ("-h", "--help") for argument in arguments):
        sys.stdout.write(HELP)
        return EXIT_OK
    args = _parse(arguments)
    if not args.runs:
        raise UserError("rra compare: folders of runs are expected", "rra compare outputs/DATE/TIME_NAME ...")
    from rra_cli.comparison.walk import Options, compare
    from rra_cli.console import show
    from rra_cli.report.compare.rendering import REPORT, check_folder, write_comparison
    from rra_cli.reporters import make_reporter

    try:
        options = Options(
            correlate=tuple(_columns(text) for text in args.correlate),
            checkpoints=_checkpoints(args.checkpoints),
            metrics=tuple(dict.fromkeys(_listed(args.metric))),
            level=args.level,
            band=args.band,
            same_samples=args.same_samples,
            threads=args.threads,
        )
    except ValueError as error:
        raise UserError(f"rra compare: {error}", "`rra compare --help` explains the flags") from error
    folder = Path(args.out).expanduser().absolute() if args.out else _dated()
    check_folder(folder)
    reporter = make_reporter()
    view = compare([Path(run).expanduser() for run in args.runs], options, reporter)
    with reporter.task("plots and report") as progress:
        write_comparison(view, folder, progress)
    _show(view)
    show(f"comparison: {folder}")
    show(f"report:     {folder / REPORT}")
    return EXIT_OK


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    from rra_cli.cli.arguments import ArgumentParser

    parser = ArgumentParser(prog="rra compare", add_help=False, allow_abbrev=False)
    parser.add_argument("runs", nargs="*")
    parser.add_argument("--out")
    parser.add_argument("--correlate", action="append", default=[])
    parser.add_argument("--checkpoints", default="last")
    parser.add_argument("--metric", default="nnls")
    parser.add_argument("--level", type=float, default=0.95)
    parser.add_argument("--band", choices=BANDS, default="interval")
    parser.add_argument("--same-samples", action="store_true")
    parser.add_argument("--threads", type=int)
    return parser.parse_intermixed_args(arguments)


def _columns(text: str) -> tuple[str, str]:
    names = tuple(name.strip() for name in text.split(","))
    if len(names) != 2 or not all(names) or names[0] == names[1]:
        raise UserError(f"--correlate {text}: expected two different columns", "for instance --correlate id_twonn,nncs")
    return names[0], names[1]


def _checkpoints(text: str) -> tuple[str, ...] | None:
    """Labels; None for all of them, nothing for none."""
    if text == "all":
        return None
    return () if text == "none" else _listed(text)


def _listed(text: str) -> tuple[str, ...]:
    """What commas separate."""
    return tuple(filter(None, (label.strip() for label in text.split(","))))


def _dated() -> Path:
    from datetime import datetime

    from rra_cli.config import outputs_root

    return outputs_root() / f"{datetime.now():%Y-%m-%d/%H-%M-%S-%f}_compare"


def _show(view: View) -> None:
    """The last layer of every group on one screen, and what was refused."""
    from rra_cli.cli.compare_table import accuracies_table, group_table, pullback_table, refusals
    from rra_cli.console import show
    from rra_cli.report.compare.accuracy_text import accuracy_remarks

    for table in (group_table(view), accuracies_table(view), pullback_table(view)):
        if table is not None:
            show(table)
    for line in accuracy_remarks(view):
        show(line)
    for line in refusals(view):
        show(line)
