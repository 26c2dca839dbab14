"""The one number that groups differ in, where they differ in nothing else: what metrics are drawn against."""

from __future__ import annotations

import math

from rra_cli.comparison.groups import Grouping
from rra_cli.report.compare.view import Swept


def swept_number(grouping: Grouping) -> Swept | None:
    """The setting and its value in every group; None where groups differ in other things, too, or in none.

    A seed (`dataset.subset_seed`) is a name and no quantity.
    """
    settings = {key for differences in grouping.differences.values() for key in differences}
    if len(settings) != 1 or len(grouping.groups) < 2:
        return None
    (key,) = settings
    if key.rpartition(".")[2].rpartition("_")[2] == "seed":
        return None
    values = {label: _number(differences[key]) for label, differences in grouping.differences.items()}
    known = {label: value for label, value in values.items() if value is not None}
    return Swept(key, known) if len(set(known.values())) == len(values) else None


def _number(text: str) -> float | None:
    """A finite number as configurations write it; `true`, `null` and lists are none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
