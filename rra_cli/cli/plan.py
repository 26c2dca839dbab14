"""`rra plan`: the stages that a run would walk, what is there already, and what the rest would cost."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rra_cli.cli.arguments import parse
from rra_cli.errors import EXIT_OK, UserError

if TYPE_CHECKING:
    from rich.table import Table

    from rra_cli.pipeline import Plan, PlanRow

HELP = """\
rra plan: shows what `rra run` with the same arguments would do; runs nothing and writes nothing.

usage: rra plan +experiment=NAME [key=value ...] [--config-dir DIR]

Every stage is cached (its result is there), missing (it would run), stale (an earlier version of rra made it: it would
run again), or not needed (it is not there, and nothing that is missing reads it).
Times are rough estimates, from the speed of one CPU machine with as many threads; starting rra and drawing the report
are left out, and the first search has what a process compiles or loads once. Memory is the peak of the stage, disk what
it adds to the store. The last line has the peaks of all stages together: with activations.keep=until_measured the disk
holds the activations of one checkpoint and split at a time.
"""


TO_DO = ("missing", "stale")


def main(arguments: Sequence[str]) -> int:
    """Runs the command and gives its exit code."""
    args = parse("plan", arguments)
    if args.help:
        sys.stdout.write(HELP)
        return EXIT_OK
    if not args.overrides:
        raise UserError("nothing to plan", "rra plan +experiment=quickstart; `rra ls experiment` lists all experiments")
    from rra_cli.config.compose import load
    from rra_cli.console import show

    experiment = load(args.overrides, args.config_dir)
    from rra_cli import pipeline

    plan = pipeline.plan(experiment)
    show(plan_table(experiment.name, plan.rows))
    for note in plan.notes:
        show(note)
    show(plan_total(plan))
    return EXIT_OK


def plan_table(name: str, rows: Sequence[PlanRow]) -> Table:
    """The stages in their order; costs only of those that would run."""
    from rra_cli.console import make_table
    from rra_cli.core.progress import clock
    from rra_cli.core.resources import format_bytes

    body = []
    for row in rows:
        costs = ["", "", ""]
        if row.state in TO_DO:
            costs = [clock(row.seconds), format_bytes(row.memory_bytes), format_bytes(row.disk_bytes)]
        body.append([row.stage, row.label, row.state, row.key[:12], *costs])
    columns = ["stage", "what", "state", "key", "time", "memory", "disk"]
    return make_table(f"Plan of {name}", columns, body, text_columns=4)


def plan_total(plan: Plan) -> str:
    """What is left to do, in one line."""
    from rra_cli.core.progress import clock
    from rra_cli.core.resources import format_bytes

    rows, total = plan.rows, plan.total
    counts = Counter(row.stage for row in rows if row.state in TO_DO)
    if not counts:
        return f"nothing to do in {len(rows)} stages: a run would only write its tables and report"
    stages = ", ".join(f"{n} {stage}" for stage, n in counts.items())
    return (
        f"{counts.total()} of {len(rows)} stages would run ({stages}): about {clock(total.seconds)}, "
        f"{format_bytes(total.memory_bytes)} of memory, {format_bytes(total.disk_bytes)} of disk"
    )
