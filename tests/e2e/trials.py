"""Faults that are tried on a tiny experiment: where, by which command, and how each ended."""

from __future__ import annotations

import random
import shutil
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from killing import in_child, results, smallest

from rra_cli.core.store import Store
from rra_cli.errors import UserError

KEEP = "always"


def run(root: Path, keep: str) -> None:
    """Two checkpoints, so that there is something to compare with the last one."""
    smallest(root, keep, milestones=(0,))


@dataclass
class Trial:
    """Everything tried of one kind. calm: the folder of the undisturbed run."""

    folder: Path
    calm: Path
    chance: random.Random
    n_cases: int
    boundaries: int
    tried: list[str] = field(default_factory=list)
    ended: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def copy(self, name: str) -> Path:
        """A copy of what the undisturbed run left."""
        root = self.folder / name
        shutil.copytree(self.calm, root, symlinks=True)
        return root

    def fresh(self, name: str) -> Path:
        root = self.folder / name
        root.mkdir()
        return root

    def end(self, what: str, root: Path, outcome: str, *, refusal: str | tuple[str, ...] = (), must: str = "") -> None:
        """Notes how a command ended. refusal: words of the message where it may be refused; must: how it has to end."""
        self.tried.append(what)
        kind, _, text = outcome.partition(": ")
        if kind == "done" and results(root) != results(self.calm):
            self.problems.append(f"{what}: other tables than those of the undisturbed run")
        elif kind == "refused" and ("\n" not in text or not any(words in text for words in words_of(refusal))):
            self.problems.append(f"{what}: refused with {text!r}")
        elif kind == "bug":
            self.problems.append(f"{what}: {text}")
        elif must and kind != must:
            self.problems.append(f"{what}: {kind} instead of {must}: {text}")
        self.ended[kind] += 1

    def boundary(self) -> int:
        return self.chance.randint(1, self.boundaries)


def words_of(refusal: str | tuple[str, ...]) -> tuple[str, ...]:
    return (refusal,) if isinstance(refusal, str) else refusal


def command(root: Path, before: Callable[[], None] = lambda: None, said: Path | None = None) -> str:
    """Gives the command in a child: "done", "refused: message", or "bug: traceback". said: where it leaves word."""
    said = root.with_name(f"{root.name}.said") if said is None else said

    def give() -> None:
        before()
        try:
            run(root, KEEP)
            text = "done"
        except UserError as error:
            text = f"refused: {error}"
        except BaseException:
            text = f"bug: {traceback.format_exc()}"
        said.write_text(text)

    code = in_child(give)
    return said.read_text() if code == 0 else f"bug: the process ended with {code}"


def left(root: Path) -> Iterator[str]:
    report = Store(root / "store").verify()
    for each in (*report.corrupt, *report.orphaned, *report.owned, *report.damaged):
        yield str(each)
