"""Puts three plots of a run side by side, as README shows them.

python scripts/readme_picture.py RUN docs/images/quickstart.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

PLOTS = ("id_curve", "nncs_curve", "nnls_test")


def main(run: Path, target: Path) -> None:
    plots = [Image.open(run / "plots" / f"{name}.png").convert("RGB") for name in PLOTS]
    sheet = Image.new("RGB", (sum(plot.width for plot in plots), max(plot.height for plot in plots)), "white")
    left = 0
    for plot in plots:
        sheet.paste(plot, (left, 0))
        left += plot.width
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(target, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
