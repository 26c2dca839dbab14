"""What the directions that SVCCA compares hold of the layers, in words."""

from __future__ import annotations

from rra_cli.report.run import Run
from rra_cli.report.series import Checkpoint, Variant
from rra_cli.report.style import counted


def bases_text(run: Run, metric: str, checkpoint: Checkpoint, split: str, variant: Variant) -> str:
    """A sentence on svcca_bases.csv at one place; "" where the metric has no rows there."""
    frame = run.tables.svcca_bases
    if frame is None:
        return ""
    rows = run.rows(frame[frame["metric"] == metric], checkpoint, split, variant)
    if rows.empty:
        return ""
    worst = max(rows.to_dict("records"), key=lambda row: float(row["residual"]))
    random = int((rows["decomposition"] == "randomised").sum())
    how = f"randomised in {random} of {len(rows)} layers" if random else "exact decompositions"
    return (
        f"It keeps {counted(rows['n_directions'], 'direction')} of a layer, which leave out "
        f"{_percent(float(worst['residual']))} of the variance at most (in {worst['layer']}); {how} (svcca_bases.csv)."
    )


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %"
