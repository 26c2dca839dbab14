"""The data set of a user who brings activations instead of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rra_cli.core.fields import selection
from rra_cli.data.dataset import Dataset, Split


@dataclass(frozen=True)
class ActivationFiles(Dataset):
    """A user's own activations: the `.npy` files at `activations.path`, one per layer.

    splits: what the one set of files is called in the tables.
    """

    name: ClassVar[str] = "activations"

    splits: tuple[Split, ...] = selection(("test",))

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.splits) != 1:
            raise ValueError(f"splits must name one split for a folder of activations; got {list(self.splits)}")
