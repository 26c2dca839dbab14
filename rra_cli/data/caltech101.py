"""Caltech 101: photographs of 101 kinds of objects (Fei-Fei, Fergus, Perona 2004), of various sizes."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

from rra_cli.core.fields import identity
from rra_cli.data.dataset import Split
from rra_cli.data.folder_layout import split_by_class
from rra_cli.data.image_folder import IMAGENET_MEAN, IMAGENET_STD
from rra_cli.data.official_files import OfficialFile, checksums_of, data_root, ensure_files, open_verified_zip
from rra_cli.data.picture_dataset import PictureDataset, labels_of
from rra_cli.data.picture_folder import content_hash, folder_hashes, folder_reader, pictures_below
from rra_cli.data.pictures import PictureList, Rendering, Resize
from rra_cli.errors import UserError

# Its md5 is equal to torchvision's, which stands within its code (a test compares them).
ARCHIVE = OfficialFile("caltech101/caltech-101.zip", "md5", "3138e1922a9193bfa496528edbbc45d0")
_TAR = "caltech-101/101_ObjectCategories.tar.gz"
UNPACKED = "caltech101/101_ObjectCategories"
# The order of torchvision's labels. BACKGROUND_Google, which is no class, is left out, as torchvision does.
_CLASSES = """
Faces Faces_easy Leopards Motorbikes accordion airplanes anchor ant barrel bass beaver binocular bonsai brain
brontosaurus buddha butterfly camera cannon car_side ceiling_fan cellphone chair chandelier cougar_body cougar_face
crab crayfish crocodile crocodile_head cup dalmatian dollar_bill dolphin dragonfly electric_guitar elephant emu
euphonium ewer ferry flamingo flamingo_head garfield gerenuk gramophone grand_piano hawksbill headphone hedgehog
helicopter ibis inline_skate joshua_tree kangaroo ketch lamp laptop llama lobster lotus mandolin mayfly menorah
metronome minaret nautilus octopus okapi pagoda panda pigeon pizza platypus pyramid revolver rhino rooster saxophone
schooner scissors scorpion sea_horse snoopy soccer_ball stapler starfish stegosaurus stop_sign strawberry sunflower
tick trilobite umbrella watch water_lilly wheelchair wild_cat windsor_chair wrench yin_yang
"""
CLASSES = tuple(_CLASSES.split())
_STREAM = 5  # of the seeded split; see `subset.py` for the others


@dataclass(frozen=True)
class Caltech101(PictureDataset):
    """Photographs of 101 kinds of objects, RGB, resized, 6,942 + 1,735.

    There is no official split of the 8,677 pictures: a fifth of them, stratified by class and drawn by `split_seed`, is
    for testing. size: height and width in pixels; resize: crop (the largest centred square), squash (aspect ratio not
    kept) or pad (all of it, on black). Grey pictures become RGB. Mean and standard deviation are ImageNet's, not
    computed from these pictures.

    Read from the published archive, checked by its md5; where that is not there, from the folder that torchvision
    unpacks it to, which enters by the hash of its content.
    """

    name: ClassVar[str] = "caltech101"
    archive: ClassVar[OfficialFile] = ARCHIVE
    class_names: ClassVar[tuple[str, ...]] = CLASSES
    sizes: ClassVar[dict[Split, int]] = {"train": 6_942, "test": 1_735}
    mean: ClassVar[tuple[float, ...]] = IMAGENET_MEAN
    std: ClassVar[tuple[float, ...]] = IMAGENET_STD

    size: int = identity(64)
    resize: Resize = identity("crop")
    split_seed: int = identity(0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.size <= 2048:
            raise ValueError(f"size is {self.size}; it must be from 1 to 2048 pixels")
        if not 0 <= self.split_seed < 2**32:
            raise ValueError(f"split_seed is {self.split_seed}; it must be from 0 to 2**32 - 1")

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """From the options alone."""
        return (3, self.size, self.size)

    @property
    def rendering(self) -> Rendering:
        """From the options alone."""
        return Rendering(self.input_shape, self.resize)

    def content_identity(self) -> dict[str, Any]:
        """Of an unpacked folder; nothing for the archive, whose content is published."""
        return {"content": self._content} if self._is_unpacked else {}

    def checksums(self) -> dict[str, str]:
        """Of the archive if it is there, or of the unpacked pictures together."""
        if self._is_unpacked:
            return {UNPACKED: self._content}
        return checksums_of(data_root(self.root), [self.archive])

    def list_pictures(self, split: Split) -> PictureList:
        """Class after class, in the order of the file names."""
        by_class = split_by_class(self._by_class, self.sizes["test"], self.split_seed, _STREAM)[split]
        names, labels = [name for names in by_class for name in names], labels_of([len(names) for names in by_class])
        root = data_root(self.root)
        if self._is_unpacked:
            folder, digests = root / UNPACKED, [self._digests[name] for name in names]
            content = content_hash(names, digests)
            read = partial(folder_reader, folder, names, digests)
            return PictureList(tuple(str(folder / name) for name in names), labels, content, read)
        shown = tuple(f"{root / self.archive.path}:{name}" for name in names)
        content = f"{self.archive.digest} {split} {self.split_seed}"
        return PictureList(shown, labels, content, partial(_archive_reader, root, self.archive, names))

    # Looked at once: a run goes on with the pictures that it found.

    @cached_property
    def _is_unpacked(self) -> bool:
        root = data_root(self.root)
        return not (root / self.archive.path).is_file() and (root / UNPACKED).is_dir()

    @cached_property
    def _content(self) -> str:
        return content_hash(list(self._digests), list(self._digests.values()))

    @cached_property
    def _digests(self) -> dict[str, str]:
        names = [name for names in self._by_class for name in names]
        return dict(zip(names, folder_hashes(data_root(self.root) / UNPACKED, names), strict=True))

    @cached_property
    def _by_class(self) -> list[list[str]]:
        """Per class its pictures, `class/image_0001.jpg`."""
        root = data_root(self.root)
        if self._is_unpacked:
            place = root / UNPACKED
            names = pictures_below(place)
        else:
            place = root / self.archive.path
            download = download_caltech101 if self.download else None
            ensure_files("Caltech 101", root, [self.archive], download, [self.archive])
            names = [name for name, _ in _members(root, self.archive, read=False)]
        by_class: dict[str, list[str]] = {name: [] for name in self.class_names}
        for name in sorted(names):
            by_class.get(name.split("/")[0], []).append(name)
        n, expected = sum(map(len, by_class.values())), sum(self.sizes.values())
        empty = [name for name, pictures in by_class.items() if not pictures]
        if n != expected or empty:
            missing = f"; none of {', '.join(empty)}" if empty else ""
            raise UserError(
                f"{place} holds {n:,} pictures of the {len(by_class)} classes; expected {expected:,}{missing}",
                "unpack the official archive again, or use dataset=image_folder for a part of it",
            )
        return list(by_class.values())


def _members(root: Path, file: OfficialFile, *, read: bool) -> Iterator[tuple[str, bytes]]:
    """`class/image_0001.jpg` and content (empty unless read) of all pictures, from the archive within the archive."""
    with (
        open_verified_zip(root, file) as archive,
        archive.open(_TAR) as packed,
        tarfile.open(fileobj=packed, mode="r|gz") as tar,
    ):
        for member in tar:
            found = re.fullmatch(r"(?:\./)?101_ObjectCategories/([^/]+/[^/.][^/]*\.jpg)", member.name)
            if found is not None and member.isfile():
                stream = tar.extractfile(member) if read else None
                yield found[1], b"" if stream is None else stream.read()


@contextmanager
def _archive_reader(root: Path, file: OfficialFile, names: Sequence[str]) -> Iterator[Callable[[int], bytes]]:
    """All of them (131 MB) are unpacked into memory: a packed archive can only be read from its start."""
    wanted: Iterable[str] = set(names)
    contents = {name: content for name, content in _members(root, file, read=True) if name in wanted}
    yield lambda position: contents[names[position]]


def download_caltech101(folder: Path) -> None:
    """The archive into `folder`/caltech101, by torchvision; it is read packed, so nothing is unpacked."""
    from rra_cli.data.torchvision_import import import_torchvision

    path = Path(ARCHIVE.path)
    import_torchvision().datasets.utils.download_url(
        "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",
        str(folder / path.parent),
        filename=path.name,
        md5=ARCHIVE.digest,
    )
