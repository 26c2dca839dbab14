"""Activations on their way into a search: projected when captured, preprocessed when opened; what of it is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from rra_cli.errors import UserError
from rra_cli.neighbors.graph import InputError
from rra_cli.neighbors.preprocess import Preprocess, preprocessed
from rra_cli.neighbors.transforms.whitening import DegenerateError, check_size
from rra_cli.stages.stage import Context

if TYPE_CHECKING:
    from rra_cli.stages.capture import LayerCapture
    from rra_cli.stages.graph import GraphStage


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


def preprocessing_notes(graphs: Sequence[GraphStage]) -> list[str]:
    """What a person should know of layers that are to be whitened, before anything is built.

    Raises `UserError` where one is too large for that.
    """
    few: dict[str, None] = {}
    for graph in graphs:
        if graph.engine.preprocess == "whitening":
            n, features = graph.point.n_samples, graph.source.n_features
            try:
                check_size(n, features)
            except InputError as error:
                raise UserError(f"layer {graph.point.layer!r}: {error.message}", error.hint) from None
            if features >= n - 1:
                few[graph.point.layer] = None
    if not few:
        return []
    return [
        f"whitening leaves no neighbourhoods in layers with as many independent features as samples, which these may "
        f"have: {', '.join(few)}; they then get no values"
    ]


def projection_notes(captures: Sequence[LayerCapture]) -> list[str]:
    """Which layers are projected, for a person who reads their numbers."""
    layers = {capture.point.layer: capture for capture in captures}
    projected = [capture for capture in layers.values() if capture.is_projected]
    if not projected:
        return []
    largest = max(projected, key=lambda capture: capture.width)
    return [
        f"{len(projected)} of {len(layers)} layers are projected to {largest.n_features:,} dimensions "
        f"(the largest has {largest.width:,} features), which changes what is measured: see docs/neighbors.md"
    ]
