"""Batches: which samples, in which order, how they look; and evaluation."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from training_jobs import Noise, samples

from rra_cli.data.augment import Drawn, NoAugment
from rra_cli.data.augment_views import RandomViews
from rra_cli.data.dataset import Samples
from rra_cli.data.normalise import normalise
from rra_cli.errors import UserError
from rra_cli.methods.supervised import Supervised
from rra_cli.training import figures
from rra_cli.training.batches import Resident, batch_bounds, draw_batch, epoch_order, epoch_steps
from rra_cli.training.figures import evaluate
from rra_cli.training.ranks import Ranks


@pytest.mark.parametrize(
    ("n", "size", "sizes"),
    [(10, 5, [5, 5]), (12, 5, [5, 5, 2]), (11, 5, [5, 5]), (5, 5, [5]), (3, 1, [1, 1, 1]), (1, 1, [1])],
)
def test_an_incomplete_batch_is_kept_unless_it_is_a_single_sample(n: int, size: int, sizes: list[int]) -> None:
    bounds = batch_bounds(n, size)
    assert [stop - start for start, stop in bounds] == sizes
    assert bounds[0][0] == 0
    assert all(stop == start for (_, stop), (start, _) in pairwise(bounds))


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(UserError, match="batch_size is 128, but there are only 100 training samples") as caught:
        batch_bounds(100, 128)
    assert caught.value.hint is not None
    assert "at most 100" in caught.value.hint


def test_an_incomplete_batch_is_left_out_where_samples_are_compared() -> None:
    assert batch_bounds(12, 5, drops_last=True) == [(0, 5), (5, 10)]
    assert batch_bounds(10, 5, drops_last=True) == [(0, 5), (5, 10)]


def test_every_process_gets_two_samples_of_a_batch() -> None:
    """With three processes a rest of five would leave one of them a single sample."""
    assert batch_bounds(17, 12, ranks=3) == [(0, 12)]
    assert batch_bounds(18, 12, ranks=3) == [(0, 12), (12, 18)]
    with pytest.raises(UserError, match="batch_size is 2, too few samples for method"):
        batch_bounds(17, 2, ranks=3)


@pytest.mark.parametrize(("n", "size"), [(20, 1), (20, 2), (21, 2), (20, 3), (5, 4)])
def test_the_rows_of_all_processes_are_the_batch_in_order(n: int, size: int) -> None:
    shares = [list(range(n))[Ranks(rank, size).rows(n)] for rank in range(size)]
    assert [row for share in shares for row in share] == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_step_takes_consecutive_batches_and_the_last_one_the_rest() -> None:
    method = Supervised(batch_size=5, accumulate=3)
    assert epoch_steps(23, method, 1) == [[(0, 5), (5, 10), (10, 15)], [(15, 20), (20, 23)]]
    assert epoch_steps(23, replace(method, accumulate=1), 1) == [[bounds] for bounds in batch_bounds(23, 5)]


def test_a_process_sees_its_rows_as_they_look_in_the_joint_batch() -> None:
    resident = Resident.of(samples(40, 0), (0.4,), (0.25,), "cpu")
    joint = draw_batch(resident, torch.arange(9), Noise(), 2, 0, 1, 0)
    for rank in range(2):
        rows = Ranks(rank, 2).rows(9)
        part = draw_batch(resident, torch.arange(9), Noise(), 2, 0, 1, 0, rows)
        for view, whole in zip(part.views, joint.views, strict=True):
            assert torch.equal(view, whole[rows])
        assert torch.equal(part.ids, joint.ids[rows])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("n", [3, 40])
def test_a_process_changes_its_own_rows_alone_and_to_the_same_bits(
    channels: int, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By all changes there are. Drawn for its rows alone, they would look otherwise: the control."""
    everything = RandomViews(
        crop_scale=(0.2, 1.0), translate=4, flip=0.5, vertical_flip=0.5, rotation=15.0, perspective=0.5,
        auto_augment=True, color=0.8, grayscale=0.2, blur=0.5, solarize=0.5,
    )  # fmt: skip
    changed: list[int] = []
    change = RandomViews.change

    def watched(self: RandomViews, images: torch.Tensor, drawn: Drawn, view: int = 0) -> torch.Tensor:
        changed.append(len(images))
        return change(self, images, drawn, view)

    monkeypatch.setattr(RandomViews, "change", watched)
    pixels = np.random.default_rng(0).integers(0, 256, (n + 5, channels, 32, 32), dtype=np.uint8)
    numbers = np.arange(n + 5)
    resident = Resident.of(Samples(pixels, numbers, numbers), (0.4,) * channels, (0.25,) * channels, "cpu")
    chosen = epoch_order(n + 5, 0, 1)[:n]
    joint = draw_batch(resident, chosen, everything, 2, 0, 1, 0)
    for size in (2, 3):
        shares = [Ranks(rank, size).rows(n) for rank in range(size)]
        changed.clear()
        parts = [draw_batch(resident, chosen, everything, 2, 0, 1, 0, rows) for rows in shares]
        assert changed == [rows.stop - rows.start for rows in shares for _ in range(2)]
        for view in range(2):
            assert torch.equal(torch.cat([part.views[view] for part in parts]), joint.views[view])
        alone = draw_batch(resident, chosen[shares[0]], everything, 2, 0, 1, 0)
        assert not torch.equal(alone.views[1], parts[0].views[1])


def test_an_epoch_visits_every_sample_once_in_an_order_of_seed_and_epoch() -> None:
    first = epoch_order(50, 0, 1)
    assert sorted(first.tolist()) == list(range(50))
    assert torch.equal(first, epoch_order(50, 0, 1))
    assert not torch.equal(first, epoch_order(50, 0, 2))
    assert not torch.equal(first, epoch_order(50, 1, 1))


def test_a_batch_holds_layer_0_of_its_samples() -> None:
    data, positions = samples(40, 0), np.array([7, 3, 31])
    resident = Resident.of(data, (0.4,), (0.25,), "cpu")
    batch = draw_batch(resident, torch.from_numpy(positions), NoAugment(), 1, 0, 1, 0)
    assert np.array_equal(batch.views[0].numpy(), normalise(data.images[positions], (0.4,), (0.25,)))
    assert batch.labels is not None
    assert batch.labels.tolist() == data.labels[positions].tolist()
    assert batch.ids.tolist() == positions.tolist()
    assert np.array_equal(resident.images.numpy(), data.images), "the resident images stay as they are"


def test_augmentation_depends_on_seed_epoch_step_and_view() -> None:
    resident = Resident.of(samples(40, 0), (0.0,), (1.0,), "cpu")

    def views(seed: int = 0, epoch: int = 1, step: int = 0) -> tuple[torch.Tensor, ...]:
        return draw_batch(resident, torch.arange(5), Noise(), 2, seed, epoch, step).views

    first, second = views()
    assert torch.equal(first, views()[0])
    for other in (second, views(seed=1)[0], views(epoch=2)[0], views(step=1)[0]):
        assert not torch.equal(first, other)


def test_read_only_arrays_are_welcome() -> None:
    data = samples(4, 0)
    data.images.setflags(write=False)
    assert len(Resident.of(data, (0.0,), (1.0,), "cpu")) == 4


def test_evaluation_is_the_mean_over_all_samples_whatever_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cross-entropy and accuracy of fixed logits, by hand; batches of 500 and of 7 agree."""
    random = np.random.default_rng(0)
    images = random.integers(0, 255, (53, 1, 1, 3), dtype=np.uint8)
    labels = random.integers(0, 3, 53)
    resident = Resident.of(Samples(images, labels, np.arange(53)), (0.5,), (0.1,), "cpu")
    encoder = nn.Flatten()  # the pixels are the logits
    logits = ((images.reshape(53, 3) / 255) - 0.5) / 0.1
    loss = np.mean([math.log(np.exp(row).sum()) - row[z] for row, z in zip(logits, labels, strict=True)])
    whole = evaluate(encoder, resident)
    assert whole["loss"] == pytest.approx(loss, 1e-6)
    assert whole["accuracy"] == np.mean(logits.argmax(1) == labels)
    monkeypatch.setattr(figures, "BLOCK", 7)
    assert evaluate(encoder, resident) == pytest.approx(whole)


def test_evaluation_uses_running_statistics_and_no_dropout() -> None:
    resident = Resident.of(samples(20, 0), (0.0,), (1.0,), "cpu")
    encoder = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(36, 3), nn.Dropout(0.9)).train()
    assert evaluate(encoder, resident) == evaluate(encoder, resident)
    assert encoder[0].running_mean.item() == 0.0
