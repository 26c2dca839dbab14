"""CIFAR-100 (Krizhevsky 2009): 50,000 + 10,000 colour images of 32x32 in 100 classes, or in their 20 superclasses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from rra_cli.core.fields import identity
from rra_cli.data.cifar_files import download_cifar, read_batch
from rra_cli.data.dataset import ImageDataset, Samples, Split
from rra_cli.data.official_files import OfficialFile, checksums_of, data_root, ensure_files

# Equal to torchvision's list (a test compares them).
BATCHES: dict[Split, OfficialFile] = {
    "train": OfficialFile("cifar-100-python/train", "md5", "16019d7e3df5f24257cddd939b257f8d"),
    "test": OfficialFile("cifar-100-python/test", "md5", "f0ef6b0ae62326f3e7ffdfab6717acfc"),
}
# Not read (the class names are below), but torchvision and other programs want it beside the batches.
META = OfficialFile("cifar-100-python/meta", "md5", "7973b15100ade9c7d40fb424638fde48")

# In the order of their numbers.
_FINE = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""
FINE = tuple(_FINE.split())
_COARSE = """
aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices household_furniture
insects large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes large_omnivores_and_herbivores
medium_mammals non-insect_invertebrates people reptiles small_mammals trees vehicles_1 vehicles_2
"""
COARSE = tuple(_COARSE.split())


@dataclass(frozen=True)
class Cifar100(ImageDataset):
    """A hundred classes of small photographs, 32x32 RGB, 50,000 + 10,000.

    labels: fine (100 classes) or coarse (their 20 superclasses, five classes each).
    """

    name: ClassVar[str] = "cifar100"
    batches: ClassVar[dict[Split, OfficialFile]] = BATCHES
    input_shape: ClassVar[tuple[int, int, int]] = (3, 32, 32)
    sizes: ClassVar[dict[Split, int]] = {"train": 50_000, "test": 10_000}
    # Over all pixels of the 50,000 training images, the values in common use (with more digits in
    # github.com/weiaicunzai/pytorch-cifar100); not computed here, for want of the files.
    mean: ClassVar[tuple[float, ...]] = (0.5071, 0.4865, 0.4409)
    std: ClassVar[tuple[float, ...]] = (0.2673, 0.2564, 0.2762)

    labels: Literal["fine", "coarse"] = identity("fine")

    @property
    def class_names(self) -> tuple[str, ...]:
        """Those of the chosen labels."""
        return FINE if self.labels == "fine" else COARSE

    def load(self, split: Split) -> Samples:
        """The whole split; `UserError` where a file is missing or damaged."""
        root, batch = data_root(self.root), self.batches[split]
        published = (*self.batches.values(), META)
        ensure_files("CIFAR-100", root, [batch], download_cifar100 if self.download else None, published)
        images, labels = read_batch(root, batch, f"{self.labels}_labels")
        return Samples(images, labels, np.arange(len(images), dtype=np.int64))

    def checksums(self) -> dict[str, str]:
        """File -> "md5:..." of the batches that are there."""
        return checksums_of(data_root(self.root), tuple(self.batches.values()))


def download_cifar100(folder: Path) -> None:
    """All files into `folder`/cifar-100-python, by torchvision."""
    download_cifar("CIFAR100", folder)
