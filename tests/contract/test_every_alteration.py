"""Every alteration, found by itself: the same for a sample in any company, within range, and nothing at level 0."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from rra_cli.config import catalog
from rra_cli.config.compose import load
from rra_cli.core.component import components
from rra_cli.data.alterations.alteration import Alteration, ImageAlteration, LabelAlteration, Seen

OPTIONS = catalog.options()["alter"]
NAMES = list(OPTIONS)
# With a part that does something.
PARTS = {"augment": ["alter.augment=rra"]}
CLASSES = {name: components("alter")[yaml.safe_load(OPTIONS[name].path.read_text())["name"]] for name in NAMES}
IMAGE = [name for name, cls in CLASSES.items() if issubclass(cls, ImageAlteration)]
LABEL = [name for name, cls in CLASSES.items() if issubclass(cls, LabelAlteration)]
SEEN = Seen("train", np.array([3, 5, 8, 1000, 40_000]))


@cache
def alteration_of(name: str) -> Any:
    return load([f"alter={name}", *PARTS.get(name, [])]).alter


def images(channels: int = 3) -> torch.Tensor:
    return torch.rand((5, channels, 8, 6), generator=torch.Generator().manual_seed(1))


def test_the_files_show_every_kind() -> None:
    assert {type(alteration_of(name)) for name in NAMES} >= set(components("alter").values())
    assert set(NAMES) == {*IMAGE, *LABEL, "none"}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", IMAGE)
def test_an_image_is_altered_by_its_id_alone(name: str, channels: int) -> None:
    """In a batch of five, by itself and in another order; and otherwise than as the sample of that id of the other
    split, or as another sample (a negative control: `draws` that ignored the id would pass the rest).
    """
    alteration, x = alteration_of(name), images(channels)
    together = alteration.change(x, SEEN)
    assert together.shape == x.shape
    assert together.dtype == torch.float32
    assert 0 <= together.min() <= together.max() <= 1
    assert not torch.equal(together, x)
    for at in range(len(SEEN)):
        alone = alteration.change(x[at : at + 1], Seen("train", SEEN.ids[at : at + 1]))
        assert torch.equal(alone[0], together[at])
    back = alteration.change(x.flip(0), Seen("train", SEEN.ids[::-1].copy()))
    assert torch.equal(back.flip(0), together)
    same = x[:1].repeat(5, 1, 1, 1)
    for others in (alteration.change(same, SEEN), alteration.change(same, Seen("test", SEEN.ids))):
        assert len({tuple(image.flatten().tolist()) for image in others}) > 1
    assert not torch.equal(alteration.change(same, SEEN), alteration.change(same, Seen("test", SEEN.ids)))


@pytest.mark.parametrize("name", [*IMAGE, *LABEL])
def test_another_seed_draws_otherwise(name: str) -> None:
    alteration = alteration_of(name)
    other = dataclasses.replace(alteration, seed=alteration.seed + 1)
    assert not np.array_equal(outcome(alteration), outcome(other))
    assert np.array_equal(outcome(alteration), outcome(dataclasses.replace(other, seed=alteration.seed)))


@pytest.mark.parametrize("name", [name for name in NAMES if "level" in CLASSES[name].__dataclass_fields__])
def test_level_0_alters_nothing_and_says_so(name: str) -> None:
    alteration = alteration_of(name)
    assert not alteration.is_none
    assert alteration.strength == alteration.level > 0
    nothing = dataclasses.replace(alteration, level=0.0)
    assert nothing.is_none
    assert nothing.strength == 0.0
    assert np.array_equal(outcome(nothing), images().numpy() if name in IMAGE else labels())


@pytest.mark.parametrize("name", [*IMAGE, *LABEL])
def test_a_wrong_seed_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"seed is -1; it must be from 0 to 2\*\*32 - 1"):
        dataclasses.replace(alteration_of(name), seed=-1)


def labels() -> Any:
    return np.arange(60) % 7


def outcome(alteration: Alteration) -> Any:
    if isinstance(alteration, ImageAlteration):
        return alteration.change(images(), SEEN).numpy()
    assert isinstance(alteration, LabelAlteration)
    return alteration.relabel(labels(), Seen("test", np.arange(100, 160)))
