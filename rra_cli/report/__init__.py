"""Tables, plots and the report of a run folder.

`render` draws everything anew from the tables alone. What tables hold, writing and reading them: `tables`. Plots by
subject: `details`, `pullback`, `samples`, `scales`; those that every run has, and what all of them share, stand here.
`compare` draws finished runs side by side.
"""

from __future__ import annotations

from pathlib import Path

from rra_cli.core.progress import Progress, silent

__all__ = ["render"]


def render(run_folder: Path, progress: Progress = silent, *, cache: Path | None = None) -> list[Path]:
    """Renders `plots/*.png`, `plots/*.svg` and `report.html` from the tables of a run folder; returns their paths.

    Where nothing that they are made of has changed since the last rendering, and its files are still as they were
    written, nothing is done. cache: a folder of drawn plots by content, shared by runs with equal tables; its
    entries may be deleted at any time. Raises UserError where the folder is no finished run folder or cannot be read.
    """
    # Lazy: matplotlib and pandas take a second to import.
    from rra_cli.report.rendering import render as render_all

    return render_all(Path(run_folder), progress, cache)
