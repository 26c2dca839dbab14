"""Activations on their way into a search, preprocessed when they are opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from rra_cli.neighbors.preprocess import Preprocess, preprocessed
from rra_cli.neighbors.transforms.whitening import DegenerateError
from rra_cli.stages.stage import Context


@contextmanager
def searchable(
    preprocess: Preprocess, activations: NDArray[Any], reason: str, context: Context, work: Path, title: str
) -> Iterator[tuple[NDArray[Any], str]]:
    """The activations `(n, features)` as the engine is to search them, and why they cannot be ("" when they can).

    reason: what was known before. work: a folder for a copy that is too large for memory, removed on leaving.
    """
    with ExitStack() as stack:
        rows = activations
        if not reason and preprocess != "none":
            try:
                with context.reporter.task(f"{preprocess} {title}") as progress:
                    rows, transform = stack.enter_context(
                        preprocessed(preprocess, activations, memory=context.memory, work=work, progress=progress)
                    )
                if transform.note:
                    context.reporter.note(f"{title}: {transform.note}")
            except DegenerateError as error:
                reason = error.message
        yield rows, reason
