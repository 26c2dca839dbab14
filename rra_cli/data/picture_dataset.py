"""The base of data sets whose images lie as pictures (PNG, JPEG ...), and readers of what holds them."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.progress import Progress, Reporter, silent
from rra_cli.data.dataset import ImageDataset, Samples, Split
from rra_cli.data.decoded import decode_and_keep, decoded_path, find_decoded
from rra_cli.data.official_files import OfficialFile, open_verified_zip
from rra_cli.data.pictures import PictureList, Rendering, check_memory, decode_all

# Raised when the same picture in the same rendering gives other pixels.
_DECODER = 1


@dataclass(frozen=True)
class PictureDataset(ImageDataset, ABC):
    """Pictures that are decoded and resized once, and lie in memory as one array of uint8 from then on."""

    @property
    @abstractmethod
    def rendering(self) -> Rendering:
        """What each picture becomes."""

    @abstractmethod
    def list_pictures(self, split: Split) -> PictureList:
        """The pictures of the split, checked for number and classes; `UserError` where something is missing."""

    def prepare(self, reporter: Reporter) -> None:
        """Decodes the measured splits, with a bar for each; `UserError` where they do not fit into memory together.

        No other split, whose files may not be there: a training that needs it decodes it when it begins.
        """
        todo = [split for split in self.splits if self._found(split) is None]
        check_memory(sum(len(self._pictures(split)) for split in todo), self.rendering.shape)
        for split in todo:
            with reporter.task(f"decode the {split} pictures of {self.name}") as progress:
                self._decode(split, progress)

    def load(self, split: Split) -> Samples:
        """The whole split; `UserError` naming every picture that cannot be read."""
        images = self._found(split)
        if images is None:
            images = self._decode(split, silent)
        return Samples(images, self._pictures(split).labels, np.arange(len(images), dtype=np.int64))

    def _pictures(self, split: Split) -> PictureList:
        if split not in self._lists:
            self._lists[split] = self.list_pictures(split)
        return self._lists[split]

    def _found(self, split: Split) -> NDArray[np.uint8] | None:
        if split in self._decoded:
            return self._decoded[split]
        return find_decoded(self._path(split), (len(self._pictures(split)), *self.rendering.shape))

    def _decode(self, split: Split, progress: Progress) -> NDArray[np.uint8]:
        pictures = self._pictures(split)
        images, kept = decode_and_keep(self._path(split), lambda: decode_all(pictures, self.rendering, progress))
        if not kept:
            self._decoded[split] = images
        return images

    def _path(self, split: Split) -> Path:
        import PIL

        rendering: dict[str, Any] = {
            "content": self._pictures(split).content,
            "shape": self.rendering.shape,
            "resize": self.rendering.resize,
            "invert": self.rendering.invert,
        }
        return decoded_path(rendering | {"decoder": _DECODER, "pillow": PIL.__version__})

    # What this object has already seen and made; the fields, which identify it, stay as they are.

    @cached_property
    def _lists(self) -> dict[Split, PictureList]:
        return {}

    @cached_property
    def _decoded(self) -> dict[Split, NDArray[np.uint8]]:
        return {}


@contextmanager
def zip_reader(root: Path, file: OfficialFile, members: Sequence[str]) -> Iterator[Callable[[int], bytes]]:
    """Reads pictures from a published archive without unpacking it to disk."""
    lock = threading.Lock()
    with open_verified_zip(root, file) as archive:

        def read(position: int) -> bytes:
            with lock:
                return archive.read(members[position])

        yield read


def labels_of(counts: Sequence[int]) -> NDArray[np.int64]:
    """`(n,)` labels of pictures that are listed class after class: counts[0] times 0, counts[1] times 1, ..."""
    return np.repeat(np.arange(len(counts), dtype=np.int64), counts)
