"""Tiny ImageNet: 200 classes of ImageNet at 64x64 (Stanford's CS231n course 2015; Le, Yang), 100,000 + 10,000."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar
from zipfile import ZipFile

from rra_cli.data.dataset import Split
from rra_cli.data.image_folder import IMAGENET_MEAN, IMAGENET_STD
from rra_cli.data.official_files import OfficialFile, checksums_of, data_root, ensure_files, open_verified_zip
from rra_cli.data.picture_dataset import PictureDataset, labels_of, zip_reader
from rra_cli.data.pictures import PictureList, Rendering
from rra_cli.errors import UserError

# torchvision has no reader for it; the md5 is that of Avalanche and many others (248,100,043 bytes).
ARCHIVE = OfficialFile("tiny-imagenet-200.zip", "md5", "90528d7ca1a48142e341f4ef8d21d0de")
URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
# WordNet's numbers, sorted, which is the order of torchvision's ImageFolder; words.txt in the archive explains them.
_WNIDS = """
n01443537 n01629819 n01641577 n01644900 n01698640 n01742172 n01768244 n01770393 n01774384 n01774750 n01784675
n01855672 n01882714 n01910747 n01917289 n01944390 n01945685 n01950731 n01983481 n01984695 n02002724 n02056570
n02058221 n02074367 n02085620 n02094433 n02099601 n02099712 n02106662 n02113799 n02123045 n02123394 n02124075
n02125311 n02129165 n02132136 n02165456 n02190166 n02206856 n02226429 n02231487 n02233338 n02236044 n02268443
n02279972 n02281406 n02321529 n02364673 n02395406 n02403003 n02410509 n02415577 n02423022 n02437312 n02480495
n02481823 n02486410 n02504458 n02509815 n02666196 n02669723 n02699494 n02730930 n02769748 n02788148 n02791270
n02793495 n02795169 n02802426 n02808440 n02814533 n02814860 n02815834 n02823428 n02837789 n02841315 n02843684
n02883205 n02892201 n02906734 n02909870 n02917067 n02927161 n02948072 n02950826 n02963159 n02977058 n02988304
n02999410 n03014705 n03026506 n03042490 n03085013 n03089624 n03100240 n03126707 n03160309 n03179701 n03201208
n03250847 n03255030 n03355925 n03388043 n03393912 n03400231 n03404251 n03424325 n03444034 n03447447 n03544143
n03584254 n03599486 n03617480 n03637318 n03649909 n03662601 n03670208 n03706229 n03733131 n03763968 n03770439
n03796401 n03804744 n03814639 n03837869 n03838899 n03854065 n03891332 n03902125 n03930313 n03937543 n03970156
n03976657 n03977966 n03980874 n03983396 n03992509 n04008634 n04023962 n04067472 n04070727 n04074963 n04099969
n04118538 n04133789 n04146614 n04149813 n04179913 n04251144 n04254777 n04259630 n04265275 n04275548 n04285008
n04311004 n04328186 n04356056 n04366367 n04371430 n04376876 n04398044 n04399382 n04417672 n04456115 n04465501
n04486054 n04487081 n04501370 n04507155 n04532106 n04532670 n04540053 n04560804 n04562935 n04596742 n04597913
n06596364 n07579787 n07583066 n07614500 n07615774 n07695742 n07711569 n07715103 n07720875 n07734744 n07747607
n07749582 n07753592 n07768694 n07871810 n07873807 n07875152 n07920052 n09193705 n09246464 n09256479 n09332890
n09428293 n12267677
"""
WNIDS = tuple(_WNIDS.split())


@dataclass(frozen=True)
class TinyImagenet(PictureDataset):
    """200 classes of ImageNet, 64x64 RGB, 100,000 + 10,000.

    The test split is the published validation set: the labels of the published test set are not public. Read from the
    published archive without unpacking it. Mean and standard deviation are ImageNet's, not computed from these
    pictures.
    """

    name: ClassVar[str] = "tiny_imagenet"
    archive: ClassVar[OfficialFile] = ARCHIVE
    class_names: ClassVar[tuple[str, ...]] = WNIDS
    input_shape: ClassVar[tuple[int, int, int]] = (3, 64, 64)
    rendering: ClassVar[Rendering] = Rendering((3, 64, 64))
    sizes: ClassVar[dict[Split, int]] = {"train": 100_000, "test": 10_000}
    mean: ClassVar[tuple[float, ...]] = IMAGENET_MEAN
    std: ClassVar[tuple[float, ...]] = IMAGENET_STD

    def list_pictures(self, split: Split) -> PictureList:
        """Class after class, in the order of the file names."""
        root = data_root(self.root)
        download = download_tiny_imagenet if self.download else None
        ensure_files("Tiny ImageNet", root, [self.archive], download, [self.archive])
        with open_verified_zip(root, self.archive) as archive:
            by_class = (
                _training(archive, self.class_names) if split == "train" else _validation(archive, self.class_names)
            )
        members = [member for name in self.class_names for member in sorted(by_class[name])]
        if len(members) != self.sizes[split]:
            raise UserError(
                f"{root / self.archive.path} holds {len(members):,} pictures of the {len(by_class)} classes in its "
                f"{split} split; expected {self.sizes[split]:,}",
                "copy the official file there",
            )
        return PictureList(
            tuple(f"{root / self.archive.path}:{member}" for member in members),
            labels_of([len(by_class[name]) for name in self.class_names]),
            f"{self.archive.digest} {split}",
            partial(zip_reader, root, self.archive, members),
        )

    def checksums(self) -> dict[str, str]:
        """The md5 of the archive, if it is there."""
        return checksums_of(data_root(self.root), [self.archive])


def _training(archive: ZipFile, wnids: tuple[str, ...]) -> dict[str, list[str]]:
    """Members `tiny-imagenet-200/train/n01443537/images/n01443537_0.JPEG` by class."""
    by_class: dict[str, list[str]] = {wnid: [] for wnid in wnids}
    for member in archive.namelist():
        found = re.fullmatch(r"tiny-imagenet-200/train/(n\d+)/images/[^/]+\.JPEG", member)
        if found is not None and found[1] in by_class:
            by_class[found[1]].append(member)
    return by_class


def _validation(archive: ZipFile, wnids: tuple[str, ...]) -> dict[str, list[str]]:
    """By class, from lines `val_0.JPEG <tab> n03444034 <tab> box` of val_annotations.txt."""
    by_class: dict[str, list[str]] = {wnid: [] for wnid in wnids}
    for line in archive.read("tiny-imagenet-200/val/val_annotations.txt").decode().splitlines():
        picture, wnid = line.split("\t")[:2]
        if wnid in by_class:
            by_class[wnid].append(f"tiny-imagenet-200/val/images/{picture}")
    return by_class


def download_tiny_imagenet(folder: Path) -> None:
    """The archive into the folder, by torchvision's downloader; it is read packed, so nothing is unpacked."""
    from rra_cli.data.torchvision_import import import_torchvision

    import_torchvision().datasets.utils.download_url(URL, str(folder), filename=ARCHIVE.path, md5=ARCHIVE.digest)
