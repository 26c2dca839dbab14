"""Writing a comparison: tables, plots and report, the same bytes for the same runs."""

from __future__ import annotations

from pathlib import Path

from rra_cli.core import files
from rra_cli.core.progress import Progress, silent
from rra_cli.errors import UserError
from rra_cli.report.compare.page import comparison_html
from rra_cli.report.compare.plots import comparison_plots
from rra_cli.report.compare.tables import encode_table, is_written
from rra_cli.report.compare.view import View
from rra_cli.report.figures import draw_all

REPORT = "report.html"
_OURS = {"tables": ("csv", "parquet"), "plots": ("png", "svg")}


def check_folder(folder: Path) -> None:
    """Raises UserError where the folder holds other things than a comparison, which would be lost among them."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder} is a file", "give a new folder")
    linked = [name for name in _OURS if (folder / name).is_symlink()]
    if linked:
        raise UserError(f"{folder / linked[0]} is a link, behind which nothing is written", "give a new folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "tables" / "runs.csv").is_file():
        raise UserError(f"--out {folder} exists and holds other things than a comparison", "give a new folder")


def write_comparison(view: View, folder: Path, progress: Progress = silent) -> list[Path]:
    """Writes `tables/`, `plots/` and `report.html` into the folder; what an earlier comparison left there goes."""
    check_folder(folder)
    contents = {
        f"tables/{name}.{suffix}": data
        for name, frame in view.frames.items()
        if is_written(name, frame)
        for suffix, data in encode_table(frame, name).items()
    }
    rendered = draw_all(comparison_plots(view), progress)
    contents |= {f"plots/{each.plot.name}.{kind}": data for each in rendered for kind, data in each.encoded.items()}
    links = sorted(name for name in contents if name.startswith("tables/"))
    contents[REPORT] = comparison_html(view, rendered, links).encode("utf-8", "backslashreplace")
    for name, data in contents.items():
        files.write_bytes(folder / name, data)
    for part, suffixes in _OURS.items():
        for suffix in suffixes:
            for path in sorted((folder / part).glob(f"*.{suffix}")):
                if path.relative_to(folder).as_posix() not in contents:
                    path.unlink()
    return [folder / name for name in contents]
