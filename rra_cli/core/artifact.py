"""A published result: a folder that never changes, and reading what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rra_cli import __version__
from rra_cli.core.reading import read_json
from rra_cli.core.spec import Spec
from rra_cli.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray


class StoreError(UserError):
    """Something is wrong with the store, and only the user can decide what to do about it."""


class ArtifactGoneError(StoreError):
    """An artifact was removed after it had been found (another run freed it): look for it again, or build it."""


@dataclass(frozen=True)
class FileRecord:
    """Size in bytes and sha256 (hex) of a file as it was published."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Artifact:
    """A published result, whole when it was opened.

    path: its folder. spec, entry: what it is. files: by name relative to the folder, `/` between parts. details:
    plain JSON that its maker wished to say about it (never part of its identity). package: version that made it.
    """

    path: Path
    spec: Spec
    entry: str | None
    files: Mapping[str, FileRecord]
    details: Mapping[str, Any] = field(default_factory=dict)
    package: str = __version__

    def __hash__(self) -> int:
        return hash((self.spec, self.entry))

    @property
    def name(self) -> str:
        """`<stage>/<key>[/<entry>]`: its path relative to the store."""
        parts = [self.spec.stage, self.spec.key, *([] if self.entry is None else [self.entry])]
        return "/".join(parts)

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(record.size for record in self.files.values())

    def file(self, name: str) -> Path:
        """The path of one of its files. Raises KeyError where it has none of that name (a bug, not a user's fault)."""
        if name not in self.files:
            raise KeyError(f"{self.name} has no file {name!r}: {did_you_mean(name, self.files)}")
        return self.path / name

    def read_bytes(self, name: str) -> bytes:
        """A file's content. Raises `ArtifactGoneError` where the artifact was freed meanwhile."""
        try:
            return self.file(name).read_bytes()
        except FileNotFoundError as error:
            raise self._gone() from error

    def read_array(self, name: str, *, mmap: bool = True) -> NDArray[Any]:
        """A `.npy` file's array, read-only, mapped by default. Objects are never unpickled. Raises as `read_json`."""
        import numpy as np

        try:
            array: NDArray[Any] = np.load(self.file(name), mmap_mode="r" if mmap else None, allow_pickle=False)
        except FileNotFoundError as error:
            raise self._gone() from error
        except Exception as error:  # a header may be anything, and its parser fails in a dozen ways
            raise self.strange(name, error) from error
        if not mmap:
            array.flags.writeable = False
        return array

    def read_json(self, name: str) -> Any:
        """The value in a JSON file. Raises `ArtifactGoneError` where the artifact was freed meanwhile, `StoreError`
        where the file is whole, and yet not what such a file is: nobody but a person can have put it there.
        """
        try:
            return read_json(self.file(name))
        except FileNotFoundError as error:
            raise self._gone() from error
        except (OSError, ValueError) as error:
            raise self.strange(name, error) from error

    def strange(self, name: str, error: Exception) -> StoreError:
        """That a file is what was published, by its checksum, and cannot have been written by us."""
        return StoreError(
            f"{self.path / name} is not what rra writes: {str(error) or type(error).__name__}",
            "somebody made or changed it; remove its folder (it is built again), or set store.root to another",
        )

    def _gone(self) -> ArtifactGoneError:
        return ArtifactGoneError(
            f"{self.path} was removed while in use, by another run with activations.keep=until_measured or by rra gc",
            "run the same command again: it builds what is missing",
        )
