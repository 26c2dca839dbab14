"""The study of sample sizes and of numbers of neighbours, as it is configured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rra_cli.core.fields import selection
from rra_cli.metrics.sample_grid import GRIDS, Step, check_step

Grid = Literal["thesis_cifar10", "thesis_imagenet50"]


@dataclass(frozen=True)
class SampleStudyConfig:
    """Which numbers of samples and of neighbours are looked at, beside the measured set and its own k.

    sizes: of nested subsets of the measured set, which is itself the largest one; none: no study. k_grid: numbers of
    neighbours at every size: one of the thesis's grids by name, or a list of whole numbers (k) and fractions (k / N).
    fixed_k, fixed_ndr: further ones of either kind, for comparing sizes at equal k or at equal density (NNLS_SIM).
    """

    sizes: tuple[int, ...] = selection(())
    k_grid: Grid | tuple[int | float, ...] = selection("thesis_cifar10")
    fixed_k: tuple[int, ...] = selection(())
    fixed_ndr: tuple[float, ...] = selection(())

    def __post_init__(self) -> None:
        if any(size < 3 for size in self.sizes):
            raise ValueError(f"sizes holds {min(self.sizes)}; at least 3 samples are needed")
        if len(set(self.sizes)) < len(self.sizes):
            raise ValueError(f"sizes names a number of samples twice: {list(self.sizes)}")
        for name in ("k_grid", "fixed_k", "fixed_ndr"):
            _refuse_repeated(name, getattr(self, name))
        for step in self.steps:
            check_step(step)
        if self.sizes and not self.steps:
            raise ValueError("k_grid is empty; give numbers of neighbours, or one of " + ", ".join(GRIDS))

    @property
    def steps(self) -> tuple[Step, ...]:
        """What the numbers of neighbours follow from, at every size."""
        grid: tuple[Step, ...] = GRIDS[self.k_grid] if isinstance(self.k_grid, str) else self.k_grid
        return (*grid, *self.fixed_k, *(float(density) for density in self.fixed_ndr))


def _refuse_repeated(name: str, steps: Grid | tuple[Step, ...]) -> None:
    """Raises ValueError where a list holds one step twice; 1 is a number of neighbours, 1.0 another step, a density."""
    if not isinstance(steps, str) and len({(type(step), step) for step in steps}) < len(steps):
        raise ValueError(f"{name} names one twice: {list(steps)}")
