"""The files of a run folder: what they are called, and its configuration and provenance, written and read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rra_cli.core import files
from rra_cli.core.reading import read_json, read_yaml
from rra_cli.core.spec import canonical_json, differences
from rra_cli.errors import UserError

State = Literal["running", "done", "failed", "interrupted"]

CONFIG, STATUS, MANIFEST, PROVENANCE, LOG = "config.yaml", "status.json", "manifest.json", "provenance.json", "run.log"
LEASE = ".lease"
HOW = "runtime"  # the section of a configuration that says how the work is done, and nothing of what comes out
OURS = (LEASE, LOG, ".hydra", "tables", "tables/per_sample", "plots")


def refuse_links(folder: Path, names: Iterable[str]) -> None:
    """Raises `UserError` where one of these, which would be written to in place, leads somewhere else."""
    for name in names:
        if (folder / name).is_symlink():
            raise UserError(
                f"{folder / name} is a link, behind which nothing is written",
                "remove it, or give another folder (hydra.run.dir, hydra.sweep.dir)",
            )


def read_config(path: Path) -> Any:
    """The `config.yaml` of a run folder as plain values; `UserError` where it is missing or unreadable."""
    try:
        return read_yaml(Path(path) / CONFIG)
    except (OSError, ValueError) as error:
        raise UserError(f"{Path(path) / CONFIG} cannot be read: {error}", "is this a run folder of rra?") from error


def read_provenance(path: Path) -> dict[str, Any] | None:
    """The `provenance.json` of a run folder; None where there is none that can be read."""
    try:
        found = read_json(Path(path) / PROVENANCE)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def config_differences(path: Path, config: Mapping[str, Any]) -> list[str]:
    """Where a configuration asks for something else than the one in a run folder, a line each: how the work is done may
    differ. `UserError` where that one is unreadable.
    """
    return differences_in_what(read_config(path), json.loads(canonical_json(config)))


def differences_in_what(stored: Any, asked: Any) -> list[str]:
    """Where two configurations as plain values differ, a line each, but for how the work is done."""
    return list(differences(_what(stored), _what(asked)))


def _what(config: Any) -> Any:
    return {key: value for key, value in config.items() if key != HOW} if isinstance(config, Mapping) else config


def in_one_line(found: Sequence[str], most: int = 3) -> str:
    """The first differences, and how many more there are."""
    return "; ".join(found[:most]) + (f"; and {len(found) - most} more" if len(found) > most else "")


def write_config(path: Path, config: Mapping[str, Any]) -> None:
    """Writes the configuration. Where one lies there, it stays but for how the work is done; `UserError` where it asks
    for something else.
    """
    asked = json.loads(canonical_json(config))  # raises for what is no JSON
    if (path / CONFIG).exists():
        stored = read_config(path)
        found = differences_in_what(stored, asked)
        if found:
            in_sweep = any((folder / "sweep.json").is_file() for folder in path.parents)
            raise UserError(
                f"the run folder {path} holds a run with another configuration: {in_one_line(found)}",
                "repeat that run's configuration to go on with it, or set "
                f"hydra.{'sweep' if in_sweep else 'run'}.dir to another folder",
            )
        if stored == asked:
            return
    import yaml  # comes with omegaconf

    # The order of the person who wrote the options, not the alphabet's.
    ordered = json.loads(json.dumps(config, allow_nan=False))
    files.write_text(path / CONFIG, yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True, width=120))
