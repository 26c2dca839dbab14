"""Folders of small pictures as a user has them, and a reporter that remembers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from small_files import noise, picture, put

from rra_cli.core.progress import Progress
from rra_cli.data.image_folder import ImageFolder


def fill(folder: Path, per_class: dict[str, int], seed: int = 0) -> Path:
    """Pictures of different sizes and kinds, `<class>/<number>.<extension>`."""
    for number, (name, n) in enumerate(per_class.items()):
        for i in range(n):
            kind = ("PNG", "JPEG", "BMP")[i % 3]
            pixels = noise(20 + i, 30 - i, 100 * seed + 10 * number + i, channels=1 if i == 4 else 3)
            put(folder / name / f"{i}.{kind.lower()}", picture(pixels, kind))
    return folder


def fill_both(root: Path) -> Path:
    """train and test, three classes."""
    fill(root / "train", {"ant": 5, "Bee": 3, "cat": 4})
    fill(root / "test", {"ant": 2, "Bee": 1, "cat": 2}, seed=1)
    return root


class Recorder:
    """A reporter that remembers what it was told."""

    def __init__(self) -> None:
        self.tasks: list[str] = []
        self.last: tuple[int, int] = (0, 0)

    @contextmanager
    def task(self, title: str) -> Iterator[Progress]:
        self.tasks.append(title)

        def progress(done: int, total: int, note: str = "") -> None:
            self.last = (done, total)

        yield progress

    def note(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...


def folder(root: Path, **options: Any) -> ImageFolder:
    return ImageFolder(root=str(root), **{"size": 16, **options})
