"""Omniglot: characters of 50 alphabets, each drawn by 20 people (Lake, Salakhutdinov, Tenenbaum 2015)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

from rra_cli.core.fields import identity
from rra_cli.data.dataset import SPLITS, Split
from rra_cli.data.official_files import OfficialFile, checksums_of, data_root, ensure_files, open_verified_zip
from rra_cli.data.picture_dataset import PictureDataset, labels_of, zip_reader
from rra_cli.data.pictures import PictureList, Rendering
from rra_cli.errors import UserError

# Equal to torchvision's list (a test compares them).
ARCHIVES: dict[Split, OfficialFile] = {
    "train": OfficialFile("omniglot-py/images_background.zip", "md5", "68d2efa1b9178cc56df9314c21c6e718"),
    "test": OfficialFile("omniglot-py/images_evaluation.zip", "md5", "6b91aef0f799c5bb55b94e3f2daec811"),
}
# Characters of each alphabet, in the order of the labels.
ALPHABETS: dict[Split, dict[str, int]] = {
    "train": {
        "Alphabet_of_the_Magi": 20,
        "Anglo-Saxon_Futhorc": 29,
        "Arcadian": 26,
        "Armenian": 41,
        "Asomtavruli_(Georgian)": 40,
        "Balinese": 24,
        "Bengali": 46,
        "Blackfoot_(Canadian_Aboriginal_Syllabics)": 14,
        "Braille": 26,
        "Burmese_(Myanmar)": 34,
        "Cyrillic": 33,
        "Early_Aramaic": 22,
        "Futurama": 26,
        "Grantha": 43,
        "Greek": 24,
        "Gujarati": 48,
        "Hebrew": 22,
        "Inuktitut_(Canadian_Aboriginal_Syllabics)": 16,
        "Japanese_(hiragana)": 52,
        "Japanese_(katakana)": 47,
        "Korean": 40,
        "Latin": 26,
        "Malay_(Jawi_-_Arabic)": 40,
        "Mkhedruli_(Georgian)": 41,
        "N_Ko": 33,
        "Ojibwe_(Canadian_Aboriginal_Syllabics)": 14,
        "Sanskrit": 42,
        "Syriac_(Estrangelo)": 23,
        "Tagalog": 17,
        "Tifinagh": 55,
    },
    "test": {
        "Angelic": 20,
        "Atemayar_Qelisayer": 26,
        "Atlantean": 26,
        "Aurek-Besh": 26,
        "Avesta": 26,
        "Ge_ez": 26,
        "Glagolitic": 45,
        "Gurmukhi": 45,
        "Kannada": 41,
        "Keble": 26,
        "Malayalam": 47,
        "Manipuri": 40,
        "Mongolian": 30,
        "Old_Church_Slavonic_(Cyrillic)": 45,
        "Oriya": 46,
        "Sylheti": 28,
        "Syriac_(Serto)": 23,
        "Tengwar": 25,
        "Tibetan": 42,
        "ULOG": 26,
    },
}
NATIVE = 105  # pixels
DRAWERS = 20


@dataclass(frozen=True)
class Omniglot(PictureDataset):
    """Characters of 50 alphabets by 20 people, grey: 964 characters (19,280) to train, 659 others (13,180) to test.

    The background set is for training, the evaluation set for testing. They share no character: labels 0 to 963 are in
    the one, 964 to 1,622 in the other, so a classifier of the training labels is right about no test image. size:
    height and width, of 105 drawn; 28 is that of MNIST. polarity: white_on_black, as in MNIST, or as_drawn (black
    strokes on white). Mean and standard deviation are 0.5, fixed: layer 0 is then in [-1, 1] in either polarity.
    """

    name: ClassVar[str] = "omniglot"
    archives: ClassVar[dict[Split, OfficialFile]] = ARCHIVES
    alphabets: ClassVar[dict[Split, dict[str, int]]] = ALPHABETS
    drawers: ClassVar[int] = DRAWERS
    mean: ClassVar[tuple[float, ...]] = (0.5,)
    std: ClassVar[tuple[float, ...]] = (0.5,)

    size: int = identity(28)
    polarity: Literal["white_on_black", "as_drawn"] = identity("white_on_black")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.size <= NATIVE:
            raise ValueError(f"size is {self.size}; it must be from 1 to {NATIVE} pixels, the size of the drawings")

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """From the options alone."""
        return (1, self.size, self.size)

    @property
    def rendering(self) -> Rendering:
        """The drawings are square."""
        return Rendering(self.input_shape, "squash", invert=self.polarity == "white_on_black")

    @property
    def sizes(self) -> dict[Split, int]:
        """19,280 and 13,180."""
        return {split: self.drawers * sum(self.alphabets[split].values()) for split in SPLITS}

    @property
    def class_names(self) -> tuple[str, ...]:
        """`Alphabet/character01` of both splits, the training characters first."""
        return (*self._characters("train"), *self._characters("test"))

    def _characters(self, split: Split) -> list[str]:
        return [
            f"{alphabet}/character{number:02d}"
            for alphabet, n in self.alphabets[split].items()
            for number in range(1, n + 1)
        ]

    def list_pictures(self, split: Split) -> PictureList:
        """Character after character, the drawings in the order of the file names."""
        root, file = data_root(self.root), self.archives[split]
        download = partial(download_omniglot, split) if self.download else None
        ensure_files("Omniglot", root, [file], download, [file])
        with open_verified_zip(root, file) as archive:
            members = sorted(name for name in archive.namelist() if name.endswith(".png"))
        by_character: dict[str, list[str]] = {name: [] for name in self._characters(split)}
        for member in members:
            found = re.fullmatch(r"[^/]+/([^/]+/character\d+)/[^/]+", member)
            if found is not None and found[1] in by_character:
                by_character[found[1]].append(member)
        n = sum(map(len, by_character.values()))
        if n != self.sizes[split] or n != len(members):
            raise UserError(
                f"{root / file.path} holds {len(members):,} drawings, {n:,} of them of the "
                f"{len(by_character):,} expected characters; expected {self.sizes[split]:,}",
                "copy the official file there",
            )
        first = 0 if split == "train" else len(self._characters("train"))
        listed = [member for name in by_character for member in by_character[name]]
        return PictureList(
            tuple(f"{root / file.path}:{member}" for member in listed),
            first + labels_of([len(by_character[name]) for name in by_character]),
            f"{file.algorithm}:{file.digest}",
            partial(zip_reader, root, file, listed),
        )

    def checksums(self) -> dict[str, str]:
        """File -> "md5:..." of the archives that are there."""
        return checksums_of(data_root(self.root), tuple(self.archives.values()))


def download_omniglot(split: Split, folder: Path) -> None:
    """One archive into `folder`/omniglot-py, by torchvision; it is read packed, so nothing is unpacked."""
    from rra_cli.data.torchvision_import import import_torchvision

    datasets = import_torchvision().datasets
    published, path = datasets.Omniglot, Path(ARCHIVES[split].path)
    datasets.utils.download_url(
        f"{published.download_url_prefix}/{path.name}",
        str(folder / path.parent),
        filename=path.name,
        md5=published.zips_md5[path.stem],
    )
