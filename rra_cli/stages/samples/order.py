"""The order in which the measured samples were drawn: its prefixes are the nested subsets of a sample study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.data.dataset import Split
from rra_cli.data.subset import measured_ids, nested_order
from rra_cli.metrics.sample_grid import Setting, Step, settings_at
from rra_cli.stages.files import UserFiles
from rra_cli.stages.images import Images

TWO = 2  # neighbours that the intrinsic dimension reads


@dataclass(frozen=True, eq=False)
class Sampling:
    """The subsets of one split. sizes: ascending, the last is the measured set. settings: the cells of every size.

    identity: what decides the order, beyond what decides the measured samples. order: `(n,)` places among them; a
    subset is its first `size`.
    """

    sizes: tuple[int, ...]
    settings: dict[int, list[Setting]]
    identity: dict[str, Any]
    order: Callable[[], NDArray[np.int64]]

    def ks(self, size: int) -> list[int]:
        """Numbers of neighbours that are read from a graph of so many samples, ascending, each once."""
        return sorted({cell.k for cell in self.settings[size] if not cell.by_definition})

    @property
    def reaches(self) -> tuple[int, ...]:
        """Neighbours that the graph of every size holds."""
        return tuple(max([TWO, *self.ks(size)]) for size in self.sizes)


def sampling(
    data: Images | UserFiles, split: Split, n_measured: int, sizes: Sequence[int], steps: Sequence[Step]
) -> Sampling:
    """The subsets of a split's measured samples; sizes that it does not have are left out."""
    there = (*sorted(size for size in sizes if size < n_measured), n_measured)
    settings = {size: settings_at(steps, size) for size in there}
    identity: dict[str, Any] = {"subset_seed": data.dataset.subset_seed, "balanced": data.dataset.balanced}
    return Sampling(there, settings, identity, partial(_order, data, split))


def _order(data: Images | UserFiles, split: Split) -> NDArray[np.int64]:
    dataset = data.dataset
    asked, seed, balanced = dataset.requested_samples(split), dataset.subset_seed, dataset.balanced
    if isinstance(data, UserFiles):  # whose split is only a name: see `UserFiles.rows`
        files = data.folder
        drawn = measured_ids(files.labels, asked, seed, balanced, "test", size=files.n_samples, as_drawn=True)
    else:
        labels = (data.trained if split == "train" else data.test).labels
        drawn = measured_ids(labels, asked, seed, balanced, split, as_drawn=True)
    return nested_order(drawn)
