"""The base of data sets whose images lie as pictures (PNG, JPEG ...), and readers of what holds them."""

from __future__ import annotations

import hashlib
import os
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

from rra_cli.core import files
from rra_cli.core.progress import Progress, Reporter, silent
from rra_cli.data.dataset import ImageDataset, Samples, Split
from rra_cli.data.decoded import decode_and_keep, decoded_path, find_decoded
from rra_cli.data.official_files import OfficialFile, data_root, open_verified_zip
from rra_cli.data.pictures import NAMED, PictureList, Rendering, UnreadableError, check_memory, decode_all
from rra_cli.errors import UserError

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

        No other split, whose files may not be there: a training that needs it decodes it when it begins. Raises
        `UnreadableError` after all splits were tried, with the pictures of all of them.
        """
        todo = [split for split in self.splits if self._found(split) is None]
        check_memory(sum(len(self._pictures(split)) for split in todo), self.rendering.shape)
        unreadable: list[UnreadableError] = []
        for split in todo:
            try:
                with reporter.task(f"decode the {split} pictures of {self.name}") as progress:
                    self._decode(split, progress)
            except UnreadableError as error:
                unreadable.append(error)
        if unreadable:
            raise self._listed(unreadable)

    def load(self, split: Split) -> Samples:
        """The whole split; `UnreadableError` where pictures cannot be read."""
        images = self._found(split)
        if images is None:
            try:
                images = self._decode(split, silent)
            except UnreadableError as error:
                raise self._listed([error]) from None
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

    def _listed(self, unreadable: Sequence[UnreadableError]) -> UnreadableError:
        """One error of all; where they are more than a message names, the data folder gets a file with all of them."""
        faults, n = [fault for error in unreadable for fault in error.faults], sum(error.n for error in unreadable)
        if len(faults) <= NAMED:
            return UnreadableError(faults, n)
        text = "".join(f"{name}\t{reason}\n" for name, reason in faults)
        name = f"{self.name}_{hashlib.sha256(os.fsencode(faults[0][0])).hexdigest()[:8]}.txt"
        listing = data_root(None) / "unreadable" / name
        try:
            files.write_bytes(listing, text.encode("utf-8", "surrogateescape"))
        except (OSError, UserError):  # a read-only data folder: the message has to do
            return UnreadableError(faults, n)
        return UnreadableError(faults, n, listing)

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
