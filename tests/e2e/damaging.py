"""Damages of a store, from a flipped bit to a record that lies."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trials import Trial, command

from rra_cli.core.meta import SUM, _sum
from rra_cli.core.store import Store


def flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def rewrite(change: Callable[[dict[str, Any]], None]) -> Callable[[Path, random.Random], None]:
    def damage(path: Path, chance: random.Random) -> None:
        meta = json.loads((path.parent / "meta.json").read_text())
        change(meta)
        # As another version would write it, or somebody who knows how.
        (path.parent / "meta.json").write_text(json.dumps({**meta, SUM: _sum(meta)}))

    return damage


def link_away(path: Path, chance: random.Random) -> None:
    outside = path.parents[3] / "outside"
    os.rename(path, outside)
    path.symlink_to(outside)


def climb(meta: dict[str, Any]) -> None:
    name = next(iter(meta["files"]))
    meta["files"]["../../../outside"] = meta["files"].pop(name)


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "a deleted artifact": lambda path, chance: shutil.rmtree(path.parent),
    "a deleted file": lambda path, chance: path.unlink(),
    "a truncated file": lambda path, chance: os.truncate(path, path.stat().st_size // 2),
    "an empty file": lambda path, chance: os.truncate(path, 0),
    "a longer file": lambda path, chance: path.write_bytes(path.read_bytes() + b"x"),
    "a flipped bit": flip,
    "a flipped bit of meta.json": lambda path, chance: flip(path.parent / "meta.json", chance),
    "no meta.json": lambda path, chance: (path.parent / "meta.json").unlink(),
    "another format": rewrite(lambda meta: meta.update(format=7, package="99.0")),
    "another version of rra": rewrite(lambda meta: meta.update(package="99.0", new_field=[1])),
    "another version of the stage": rewrite(lambda meta: meta["spec"].update(version=99)),
    "nothing but brackets": lambda path, chance: (path.parent / "meta.json").write_text("[" * 100_000) and None,  # type: ignore[func-returns-value]
    "a link out of the store": link_away,
    "a name that climbs out": rewrite(climb),
}
# Too large to be read twice whenever they are used: a flipped bit in them is found by `rra doctor --store`.
READ_ONCE = "capture"
# What was removed besides, so that the command must make it anew of what is left.
ANEW = ((), ("measure", "to_last"), ("measure", "to_last", "graph", "capture"))


def a_damaged_store(trial: Trial) -> None:
    """One damage of one file; the command is given as it was, or after other stages' results were removed, so that it
    must read what they were made from.
    """
    store = trial.calm / "store"
    places = [path for path in sorted(store.glob("*/*/**/*")) if path.is_file() and path.name != "meta.json"]
    places = [
        path.relative_to(trial.calm) for path in places if path.relative_to(store).parts[0] not in ("cache", "refs")
    ]
    by_stage: dict[str, list[Path]] = {}
    for path in places:
        by_stage.setdefault(path.parts[1], []).append(path)
    cases = [(stage, damage, anew) for stage in by_stage for damage in DAMAGES for anew in ANEW if stage not in anew]
    trial.chance.shuffle(cases)
    for number, (stage, damage, anew) in enumerate(cases[: trial.n_cases]):
        root = trial.copy(f"damaged-{number}")
        path = root / trial.chance.choice(by_stage[stage])
        what = f"{damage} in {path.relative_to(root)}{f', {anew} removed' if anew else ''}"
        DAMAGES[damage](path, trial.chance)
        unseen = Store(root / "store").verify().ok
        for removed in anew:
            shutil.rmtree(root / "store" / removed)
        outcome = command(root)
        if stage == READ_ONCE and damage == "a flipped bit":
            # Either nobody read it, or the numbers follow from what lies there: the check of the store names it.
            trial.tried.append(what)
            trial.ended["named by doctor"] += 1
            if unseen or outcome.startswith("bug"):
                trial.problems.append(f"{what}: {outcome}")
        else:
            known = ("format 7", "is the result of something else", "holds something that is not")
            trial.end(what, root, outcome, refusal=known)
        if unseen and damage not in ("a deleted artifact", "another version of rra", "a flipped bit of meta.json"):
            trial.problems.append(f"{what}: the check of the store did not see it")
        shutil.rmtree(root, ignore_errors=True)
