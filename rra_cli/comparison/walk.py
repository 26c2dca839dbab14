"""A comparison on one page: find, read, group, aggregate, compare, correlate; rows of tables come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rra_cli.comparison import accuracies, contrasts, correlation, curves, matrices
from rra_cli.comparison.find import find_runs
from rra_cli.comparison.groups import Group, Grouping, group_runs
from rra_cli.comparison.intra import intra_differences, read_intra, rows_of
from rra_cli.comparison.networks import networks_by_seed, same_networks
from rra_cli.comparison.paired import Refused, compare_models
from rra_cli.comparison.pullback import compare_pullback
from rra_cli.comparison.runs import FinishedRun, LeftOut, read_runs
from rra_cli.comparison.scales import scale_correlation_rows
from rra_cli.comparison.similarity import NNLS, check_metrics
from rra_cli.comparison.statistics import LEVEL, check_level
from rra_cli.comparison.swept import swept_number
from rra_cli.core.progress import Reporter
from rra_cli.errors import UserError
from rra_cli.report.compare.tables import TABLES, column_name, frame_of
from rra_cli.report.compare.view import Band, View
from rra_cli.report.glossary import Term, term
from rra_cli.report.run import alteration_in, part_of

Rows = list[dict[str, Any]]
INTER_MODEL = "inter-model NNLS"
INTRA_MODEL = "NNLS within models"
INTER_MODEL_OVERLAP = "inter-model overlap"
_PULLBACK = ("pullback", "pullback_differences", "refused")


@dataclass(frozen=True)
class Options:
    """What is asked for. correlate: pairs of columns; checkpoints: of similarities between models, None for all, empty
    for none. metrics: those similarities (`similarity.METRICS`).

    level: of intervals. band: what curves are shaded by. same_samples: rows count as the same samples wherever their
    numbers are equal. threads: None for all cores.
    """

    correlate: tuple[tuple[str, str], ...] = ()
    checkpoints: tuple[str, ...] | None = ("last",)
    metrics: tuple[str, ...] = (NNLS,)
    level: float = LEVEL
    band: Band = "interval"
    same_samples: bool = False
    threads: int | None = None

    def __post_init__(self) -> None:
        check_level(self.level)
        check_metrics(self.metrics)
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads is {self.threads}; at least 1 is needed")


def compare(arguments: Sequence[Path], options: Options, reporter: Reporter) -> View:
    """All tables of a comparison of the runs in these folders.

    Raises UserError where none of them is finished and whole, and where a column to correlate is unknown.
    """
    with reporter.task("reading runs") as progress:
        runs, left_out = read_runs(find_runs(arguments), progress)
    if not runs:
        told = "".join(f"\n  {each.name}: {each.reason}" for each in left_out)
        raise UserError(
            f"there is no finished run to compare{told}",
            "give run folders, sweeps or folders of them; `rra run` with the same arguments finishes a run",
        )
    correlation.check_columns(options.correlate, runs)
    grouping = group_runs(runs)
    rows: dict[str, Rows] = {name: [] for name in TABLES}
    rows["runs"] = _run_rows(grouping, left_out)
    rows["groups"] = _group_rows(grouping)
    with reporter.task("means over seeds"):
        _curves(grouping.groups, rows, options)
        _accuracies(grouping.groups, rows, options.level)
        for table, found in zip(_PULLBACK, compare_pullback(grouping.groups, options.level), strict=True):
            rows[table] += found
    refused = _models(grouping.groups, rows, options, reporter)
    with reporter.task("correlations"):
        pairs = options.correlate or tuple(correlation.default_pairs(runs))
        rows["correlations"] = list(correlation.correlation_rows(grouping.groups, pairs, options.level))
        rows["correlation_points"] = list(correlation.point_rows(grouping.groups, options.correlate))
    rows["scale_correlations"] = list(scale_correlation_rows(grouping.groups))
    quantity = INTER_MODEL if NNLS in options.metrics else INTER_MODEL_OVERLAP
    rows["refused"] += [{"quantity": quantity, **vars(each)} for each in refused]
    for each in [*left_out, *grouping.left_out]:
        reporter.note(f"{each.name} is left out: {each.reason}")
    columns = [column_name(column) for column in grouping.groups[0].columns]
    frames = {name: frame_of(rows[name], name, columns) for name in TABLES}
    return View(
        title=_title(grouping.groups),
        groups=tuple(group.label for group in grouping.groups),
        mains={group.label: correlation.main_checkpoint(group) for group in grouping.groups},
        frames=frames,
        terms=_terms(runs, options.metrics),
        band=options.band,
        level=options.level,
        asked=options.correlate,
        altered=any(alteration_in(run.config) for group in grouping.groups for run in group.runs),
        same=same_networks(grouping.groups),
        by_seed=networks_by_seed(grouping.groups),
        swept=swept_number(grouping),
        reference=accuracies.reference_of(grouping.groups).label,
    )


def _curves(groups: Sequence[Group], rows: Mapping[str, Rows], options: Options) -> None:
    cells = [curves.cells_of(group) for group in groups]
    within = [contrasts.contrasts_of(own) for own in cells]
    intra = []
    for group, own, contrast in zip(groups, cells, within, strict=True):
        rows["layers"].extend(curves.layer_rows(group, own, options.level))
        rows["training"].extend(curves.training_rows(group, options.level))
        mains = None if options.checkpoints is None else [correlation.main_checkpoint(group)]
        intra.append(read_intra(group, mains))
        rows["nnls_intra"].extend(rows_of(intra[-1], options.level))
        rows["contrasts"].extend(contrasts.contrast_rows(group, contrast, options.level))
        told = {"quantity": INTRA_MODEL, "group_a": group.label}
        rows["refused"] += [{**told, "reason": fault} for fault in intra[-1].faults]
    rows["differences"].extend(curves.difference_rows(groups, cells, options.level))
    rows["contrast_differences"].extend(contrasts.contrast_differences(groups, within, options.level))
    rows["nnls_intra_differences"].extend(intra_differences(intra, options.level))


def _accuracies(groups: Sequence[Group], rows: Mapping[str, Rows], level: float) -> None:
    found = [accuracies.accuracies_of(group) for group in groups]
    for group, own in zip(groups, found, strict=True):
        rows["accuracies"].extend(accuracies.accuracy_rows(group, own, level))
    rows["accuracy_differences"].extend(accuracies.accuracy_differences(groups, found, level))


def _models(
    groups: Sequence[Group], rows: Mapping[str, Rows], options: Options, reporter: Reporter
) -> Sequence[Refused]:
    runs = [run for group in groups for run in group.runs]
    if options.checkpoints == () or len(runs) < 2 or all(run.metrics.empty for run in runs):
        return []  # where no metric of layers was measured, nobody expects neighbours
    with reporter.task("neighbours in different models") as progress:
        compared, refused = compare_models(
            groups,
            _checkpoints(groups, options.checkpoints),
            same_samples=options.same_samples,
            metrics=options.metrics,
            threads=options.threads,
            progress=progress,
        )
    for each in compared:
        found = matrices.matrices(each, groups)
        table = "nnls" if each.metric == NNLS else "pairs"
        for matrix in found:
            rows[table].extend(matrices.matrix_rows(matrix, options.level))
            rows[f"{table}_diagonal"].extend(matrices.diagonal_rows(matrix, options.level))
        rows[f"{table}_differences"].extend(matrices.difference_rows(found, options.level))
        rows[f"{table}_models"].extend(matrices.model_rows(each, groups))
    return refused


def _checkpoints(groups: Sequence[Group], asked: Sequence[str] | None) -> Sequence[str] | None:
    """What was asked for, checked; `last` of a user's files is the only checkpoint that they have."""
    if asked is None:
        return None
    known = sorted({row.place.checkpoint for group in groups for run in group.runs for row in run.graphs})
    unknown = [label for label in asked if label != "last" and label not in known]
    if unknown:
        raise UserError(
            f"--checkpoints: no run has measured {unknown[0]!r}; known: {', '.join(known) or 'none'}",
            "give labels as in layers.csv, `all`, or `none`",
        )
    mains = {correlation.main_checkpoint(group) for group in groups}
    return list(dict.fromkeys(main for label in asked for main in (sorted(mains) if label == "last" else [label])))


def _run_rows(grouping: Grouping, left_out: Sequence[LeftOut]) -> Rows:
    rows: Rows = [
        {"run": run.name, "group": group.label, "seed": run.seed, "used": "yes"}
        for group in grouping.groups
        for run in group.runs
    ]
    rows += [{"run": each.name, "used": "no", "reason": each.reason} for each in (*grouping.left_out, *left_out)]
    return rows


def _group_rows(grouping: Grouping) -> Rows:
    rows: Rows = []
    for group in grouping.groups:
        seeds = ", ".join(str(seed) for seed in group.seeds if seed is not None)
        for setting, value in grouping.differences[group.label].items():
            row = {"group": group.label, "n": len(group.runs), "seeds": seeds}
            rows.append({**row, "setting": setting, "value": value})
    return rows


def _terms(runs: Sequence[FinishedRun], metrics: Sequence[str]) -> dict[str, Term]:
    """Of the runs' metrics, and of those that models are compared by."""
    found = {metric: term(metric, {}) for metric in metrics}
    for run in runs:
        for metric in map(str, run.metrics["metric"].unique()):
            found.setdefault(metric, term(metric, part_of(part_of(run.config, "metrics"), metric)))
    return found


def _title(groups: Sequence[Group]) -> str:
    names = dict.fromkeys(str(run.config.get("experiment", "")) for group in groups for run in group.runs)
    return f"Comparison of {', '.join(name for name in names if name) or 'runs'}"
