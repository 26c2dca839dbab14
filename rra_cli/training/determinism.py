"""What makes equal seeds give equal weights while training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rra_cli.core.reproducibility import seed_everything


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """`seed_everything` without its one cost that changes no result; all is put back on leaving."""
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    with seed_everything(seed):
        try:
            # Filling every new tensor with NaN would find reads of memory that was never written.
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
            yield
        finally:
            torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


def conditions(device: str) -> dict[str, str | int]:
    """What equal weights need besides equal seeds: they are promised for the same of these only."""
    kind = torch.device(device).type
    found: dict[str, str | int] = {"torch": str(torch.__version__), "device": kind}
    return {**found, "threads": torch.get_num_threads()} if kind == "cpu" else found
