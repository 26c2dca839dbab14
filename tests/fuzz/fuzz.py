"""Fuzzes one reader, guided by what it covers: `python fuzz.py TARGET SECONDS FOLDER` (needs the package atheris).

FOLDER is an empty one for what is found on the way. Exit code 0: nothing was found.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["rra_cli", "yaml", "json", "hydra.core.override_parser", "PIL", "csv"]):
    from readers import TARGETS
    from seeds import SEEDS


def main(target: str, seconds: int, folder: Path) -> None:
    logging.disable()  # what is damaged is warned of, a million times
    for number, seed in enumerate(SEEDS[target]):
        (folder / f"seed-{number}").write_bytes(seed)
    # -rss_limit_mb: memory stays bounded. -timeout: an input that takes so long is a find.
    limits = [
        f"-max_total_time={seconds}",
        "-rss_limit_mb=4000",
        "-timeout=20",
        "-max_len=4096",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={folder}/found-", str(folder)], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
