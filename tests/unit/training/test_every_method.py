"""Every method in the loop: resumed bit for bit, its heads kept, NaN never saved, batches accumulated."""

from __future__ import annotations

import io
import json
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from training_jobs import Dropped, Noise, Store, job, tiny, trained_methods

from rra_cli.data.augment import Drawn, NoAugment
from rra_cli.errors import UserError
from rra_cli.methods.supervised import Supervised
from rra_cli.models.mlp import MLP
from rra_cli.training.checkpoint import load_encoder
from rra_cli.training.job import TrainingJob, begin
from rra_cli.training.loop import run_training
from rra_cli.training.optimizer import SGD, Adam
from rra_cli.training.state import NEWEST

ENTRIES = ["epoch_0000", "epoch_0003", "best", "history"]
METHODS = trained_methods()


class Stopped(Exception):
    """Raised in the middle of a step."""


def of(name: str, watch: Callable[[], None] = lambda: None, **settings: Any) -> TrainingJob:
    return job(method=tiny(name, **settings), augment=Noise(watch), optimizer=SGD(lr=0.05, nesterov=True))


def run(a_job: TrainingJob, folder: Path, **options: Any) -> dict[str, bytes]:
    store = Store(folder / "store")
    missing = store.missing(ENTRIES)
    if missing:
        run_training(a_job, folder / "work", device="cpu", entries=missing, publish=store.publish, **options)
    return store.content()


def stopped(name: str, folder: Path, calls: int) -> None:
    """Trains until the calls-th view is drawn; saved after every step."""
    left = iter(range(calls))

    def watch() -> None:
        if next(left, None) is None:
            raise Stopped

    with pytest.raises(Stopped):
        run(of(name, watch), folder, save_every=0.0)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, bytes]]:
    known: dict[str, dict[str, bytes]] = {}

    def get(name: str) -> dict[str, bytes]:
        if name not in known:
            known[name] = run(of(name), tmp_path_factory.mktemp(name))
        return known[name]

    return get


@pytest.mark.long
@pytest.mark.parametrize("name", METHODS)
def test_a_run_stopped_in_any_step_ends_with_the_same_bytes(
    name: str, tmp_path: Path, undisturbed: Callable[[str], dict[str, bytes]]
) -> None:
    """weights.pt, heads.pt and training.jsonl; stopped three times, one to five batches apart, of twelve or more."""
    views = tiny(name).n_views
    for batches in random.Random(name).sample(range(1, 6), 3):
        stopped(name, tmp_path, batches * views + views - 1)
    assert (tmp_path / "work" / NEWEST).exists()
    assert run(of(name), tmp_path) == undisturbed(name)


def test_without_its_queue_a_resumed_run_ends_elsewhere(
    tmp_path: Path, undisturbed: Callable[[str], dict[str, bytes]]
) -> None:
    """The control of the test above: it would see a queue, or a momentum encoder, that is not kept."""
    for part in ("queue", "momentum"):
        folder = tmp_path / part
        stopped("moco_v2", folder, 9)
        path = folder / "work" / NEWEST
        content = torch.load(path, weights_only=True)
        fresh = begin(of("moco_v2"), "cpu", 1).objective.state_dict()
        content["objective"] |= {name: value for name, value in fresh.items() if name.startswith(part)}
        torch.save(content, path)
        result = run(of("moco_v2"), folder)
        assert result["epoch_0003/weights.pt"] != undisturbed("moco_v2")["epoch_0003/weights.pt"]


@pytest.mark.parametrize("name", METHODS)
def test_heads_are_kept_with_every_checkpoint(name: str, undisturbed: Callable[[str], dict[str, bytes]]) -> None:
    found, objective = undisturbed(name), begin(of(name), "cpu", 1).objective
    kept = {Path(path).parent.name for path in found if path.endswith("heads.pt")}
    assert kept == (set(ENTRIES[:-1]) if objective.heads else set())
    initial = {
        f"{head}.{key}" for head in objective.heads for key in objective.get_submodule(head).state_dict()
    }  # the names under which the heads' layers are measured
    if initial:
        content = torch.load(io.BytesIO(found["epoch_0003/heads.pt"]), weights_only=True)
        assert content.keys() == initial
        assert not torch.equal(
            content["projector.1.linear.weight"], objective.state_dict()["projector.1.linear.weight"]
        ), "the trained ones"


@pytest.mark.parametrize("name", METHODS)
def test_the_history_says_what_the_method_allows(
    name: str, tmp_path: Path, undisturbed: Callable[[str], dict[str, bytes]]
) -> None:
    found = undisturbed(name)
    lines = [json.loads(text) for text in found["history/training.jsonl"].decode().splitlines()]
    method = tiny(name)
    assert [line["epoch"] for line in lines] == [0, 1, 2, 3]
    assert all(0 < line["embedding_std"] <= 1 for line in lines)
    assert all(1 <= line["effective_rank"] <= 96 for line in lines)
    for line in (lines[0], lines[-1]):
        assert (line["test_accuracy"] is not None) == method.classifies
        assert (line["train_clean_loss"] is not None) == method.classifies
        assert 0 <= line["knn_accuracy"] <= 1
        assert ("projection_std" in line) == (f"{ENTRIES[0]}/heads.pt" in found)
    score = "test_accuracy" if method.classifies else "knn_accuracy"
    scores = [line[score] if line[score] is not None else -1.0 for line in lines]
    best = json.loads(found["best/checkpoint.json"])["epoch"]
    assert best == scores.index(max(scores))
    # The kept weights load into the architecture that the method trains.
    (tmp_path / "weights.pt").write_bytes(found["epoch_0003/weights.pt"])
    a_job = of(name)
    load_encoder(a_job.model, (1, 6, 6), 3 if method.classifies else 0, tmp_path / "weights.pt")


@pytest.mark.parametrize("name", METHODS)
def test_a_loss_that_is_nan_ends_the_run_and_is_never_saved(name: str, tmp_path: Path) -> None:
    """The views of the second epoch's third batch are NaN."""
    views, bad = tiny(name).n_views, 3 if tiny(name).drops_last else 2
    per_epoch = 4 if tiny(name).drops_last else 5

    class Broken(NoAugment):
        name = ""
        calls = 0

        def change(self, images: torch.Tensor, drawn: Drawn, view: int = 0) -> torch.Tensor:
            type(self).calls += 1
            return images * float("nan") if self.calls > views * (per_epoch + bad) else images

    broken = replace(of(name), augment=Broken())
    with pytest.raises(UserError, match=rf"diverged: in epoch 2, step {bad + 1}, the loss is nan"):
        run(broken, tmp_path, save_every=0.0)
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["epoch_0000"]
    content = torch.load(tmp_path / "work" / NEWEST, weights_only=True)
    assert (content["epoch"], content["running"]["step"]) == (2, bad)
    values = [*content["encoder"].values(), *content["objective"].values()]
    assert all(bool(torch.isfinite(value).all()) for value in values)


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    """A loss that is finite in the step that ruins the weights."""
    contrasted = replace(of("supervised"), std=(1e-4,), optimizer=SGD(lr=1e38, warmup_epochs=0.0))
    with pytest.raises(UserError, match=r"diverged: after step 1 of epoch 1, weights are not finite"):
        run(replace(contrasted, model=MLP(width=8, depth=1)), tmp_path, save_every=0.0)
    assert torch.load(tmp_path / "work" / NEWEST, weights_only=True)["epoch"] == 1
    assert not [path for path in (tmp_path / "work").iterdir() if re.match("resume.*", path.name) and not finite(path)]


def finite(path: Path) -> bool:
    state = torch.load(path, weights_only=True)["encoder"]
    return all(bool(torch.isfinite(value).all()) for value in state.values())


@pytest.mark.parametrize("name", METHODS)
def test_one_sample_in_a_batch_is_refused_or_trained_on(name: str, tmp_path: Path) -> None:
    if tiny(name).drops_last:
        with pytest.raises(ValueError, match="batch_size is 1"):
            tiny(name, batch_size=1)
        return
    plain = replace(of(name, batch_size=1), model=MLP(width=8, depth=1))
    assert "best/weights.pt" in run(plain, tmp_path)


# accumulate


def weights(a_job: TrainingJob, folder: Path) -> dict[str, torch.Tensor]:
    run(a_job, folder)
    return torch.load(folder / "store" / "epoch_0003" / "weights.pt", weights_only=True)


def furthest(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_accumulated_batches_are_one_large_batch_for_a_mean_of_samples(tmp_path: Path) -> None:
    """Without batch norm; 90 samples: 4 x 20 + 10 against 40 + 40 + 10, so the last step has a single batch."""
    plain = job(model=MLP(width=16, depth=1), optimizer=Adam(lr=0.01, schedule="cosine", warmup_epochs=1.0))
    large = weights(replace(plain, method=Supervised(epochs=3, batch_size=40)), tmp_path / "large")
    small = weights(replace(plain, method=Supervised(epochs=3, batch_size=20, accumulate=2)), tmp_path / "small")
    alone = weights(replace(plain, method=Supervised(epochs=3, batch_size=20)), tmp_path / "alone")
    assert furthest(large, small) < 1e-5
    assert furthest(large, alone) > 1e-2, "the control"


def test_an_incomplete_last_batch_weighs_less_within_a_step(tmp_path: Path) -> None:
    """70 samples: one step of 40 + 30."""
    plain = job(model=MLP(width=16, depth=1), n=70, optimizer=SGD(lr=0.1, warmup_epochs=0.0))
    large = weights(replace(plain, method=Supervised(epochs=3, batch_size=70)), tmp_path / "large")
    small = weights(replace(plain, method=Supervised(epochs=3, batch_size=40, accumulate=2)), tmp_path / "small")
    assert furthest(large, small) < 1e-6


def test_the_schedule_counts_optimiser_steps(tmp_path: Path) -> None:
    a_job = job(method=Supervised(epochs=3, batch_size=20, accumulate=2))
    found = run(a_job, tmp_path)["history/training.jsonl"].decode().splitlines()
    _, schedule = a_job.optimizer.build([torch.nn.Parameter(torch.ones(1))], 3, 3)
    assert [json.loads(text)["lr"] for text in found[1:]] == [schedule(step)["lr"] for step in (2, 5, 8)]


@pytest.mark.parametrize("name", ["moco_v2", "supervised"])
def test_accumulated_steps_are_resumed_at_their_beginning(name: str, tmp_path: Path) -> None:
    whole = run(of(name, accumulate=2), tmp_path / "whole")
    left = iter(range(11))

    def watch() -> None:
        if next(left, None) is None:
            raise Stopped

    with pytest.raises(Stopped):
        run(of(name, watch, accumulate=2), tmp_path, save_every=0.0)
    assert torch.load(tmp_path / "work" / NEWEST, weights_only=True)["running"]["step"] % 2 == 0
    assert run(of(name, accumulate=2), tmp_path) == whole


# compile


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_network_trains_to_the_same_weights_but_for_rounding(tmp_path: Path) -> None:
    """One after the other in one process, as in a sweep; the last one listens to a layer by a hook."""
    for name in ("supervised", "simclr", "triplet_entropy"):
        jobs = [replace(of(name, compile=flag), model=Dropped(dropout=0.0)) for flag in (False, True)]
        both = [weights(one, tmp_path / name / str(number)) for number, one in enumerate(jobs)]
        assert furthest(*both) < 1e-5
