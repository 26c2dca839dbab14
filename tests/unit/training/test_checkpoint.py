"""Weights on disk, and resume files that are damaged or come from elsewhere."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from training_jobs import Dropped, Store, job

from rra_cli.core.signals import Interrupted
from rra_cli.errors import UserError
from rra_cli.models.mlp import MLP
from rra_cli.training import state
from rra_cli.training.checkpoint import load_encoder, weights_of, write_checkpoint
from rra_cli.training.job import TrainingJob, begin
from rra_cli.training.loop import run_training
from rra_cli.training.state import NEWEST, PREVIOUS, resume

ENTRIES = ["epoch_0002", "epoch_0003", "best", "history"]


class Stopped(Exception):
    """Raised in the middle of a training."""


def stopped_in_epoch_3(folder: Path) -> tuple[Path, Store]:
    """A work folder whose two resume files both lie in the third epoch."""
    store, steps = Store(folder / "store"), []

    def count(done: int, total: int, note: str = "") -> None:
        steps.append(done)
        if done > 230:
            raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rra_cli.training.keeping.LOOK_EVERY", 0.0)
        with pytest.raises(Stopped):
            run_training(
                job(),
                folder / "work",
                device="cpu",
                entries=ENTRIES,
                publish=store.publish,
                progress=count,
                save_every=0.0,
            )
    return folder / "work", store


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    store = Store(folder / "store")
    run_training(job(), folder / "work", device="cpu", entries=ENTRIES, publish=store.publish)
    return store.content()


def finish(work: Path, store: Store) -> tuple[list[str], int]:
    """Runs the rest; the warnings, and the first sample at which progress was reported."""
    warnings: list[str] = []
    seen: list[int] = []
    run_training(
        job(),
        work,
        device="cpu",
        entries=store.missing(ENTRIES),
        publish=store.publish,
        warn=warnings.append,
        progress=lambda done, total, note="": seen.append(done),
    )
    return warnings, seen[0]


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def garbage(path: Path) -> None:
    path.write_bytes(b"not a torch file" * 100)


def foreign(path: Path) -> None:
    torch.save({"format": 99}, path)


@pytest.mark.parametrize("damage", [truncate, empty, garbage, foreign])
def test_a_damaged_resume_file_falls_back_to_the_one_before(
    tmp_path: Path, undisturbed: dict[str, bytes], damage
) -> None:
    work, store = stopped_in_epoch_3(tmp_path)
    damage(work / NEWEST)
    warnings, first = finish(work, store)
    assert len(warnings) == 1
    assert f"{NEWEST} cannot be read" in warnings[0]
    assert warnings[0].endswith("going on from the save before it")
    assert first > 180, "the first two epochs are not run again"
    assert store.content() == undisturbed


def test_a_resume_file_cut_off_at_any_byte_is_noticed(tmp_path: Path) -> None:
    """The last bytes matter as well: 40 places, the first and the last few bytes among them."""
    work, _ = stopped_in_epoch_3(tmp_path)
    (work / PREVIOUS).unlink()
    whole = (work / NEWEST).read_bytes()
    places = {0, 1, 10, len(whole) - 1, len(whole) - 2, len(whole) - 22, *range(0, len(whole), len(whole) // 33)}
    fresh = partial(begin, job(), "cpu", 5)
    said: list[str] = []
    for size in sorted(places):
        (work / NEWEST).write_bytes(whole[:size])
        assert resume(work, "cpu", {}, 4, fresh, said.append).epoch == 0, f"{size} of {len(whole)} bytes"
    assert len(said) == len(places)
    assert all(text.endswith("training begins anew") for text in said), "there is no save before it"
    (work / NEWEST).write_bytes(whole)
    assert resume(work, "cpu", {}, 4, fresh, said.append).epoch == 3
    assert len(said) == len(places)


def test_a_resume_file_of_another_training_is_refused_with_the_difference(tmp_path: Path) -> None:
    """Put there by hand; with the training's own file nothing is said (the control)."""
    mine = replace(job(), identity={"identity": {"optimizer": {"lr": 0.1}, "seed": 0}})
    other = replace(job(), identity={"identity": {"optimizer": {"lr": 0.2}, "seed": 0}})
    store = Store(tmp_path / "store")
    run_training(other, tmp_path / "work", device="cpu", entries=["epoch_0002"], publish=store.publish)

    def go_on(a_job: TrainingJob) -> None:
        run_training(a_job, tmp_path / "work", device="cpu", entries=["epoch_0003"], publish=store.publish)

    with pytest.raises(UserError, match="belongs to another training") as caught:
        go_on(mine)
    assert "identity.optimizer.lr: stored 0.2, asked for 0.1" in caught.value.message
    assert "seed" not in caught.value.message
    assert "move it away" in str(caught.value.hint)
    go_on(other)


def test_an_interruption_saves_and_passes_on(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    """Asked for in the middle of the second epoch: the very step is kept, although no other save was due."""
    store, steps = Store(tmp_path / "store"), iter(range(1000))

    def stop() -> Interrupted | None:
        return Interrupted(signal.SIGTERM) if next(steps) == 9 else None

    with pytest.raises(Interrupted):
        run_training(job(), tmp_path / "work", device="cpu", entries=ENTRIES, publish=store.publish, stop=stop)
    content = torch.load(tmp_path / "work" / NEWEST, weights_only=True)
    # Asked after the block of each of 3 evaluations (epoch 0: test and clean), 5 steps, 1 block, and then steps.
    assert (content["epoch"], content["running"]["step"]) == (2, 2)
    assert finish(tmp_path / "work", store)[0] == []
    assert store.content() == undisturbed


def test_an_interruption_during_the_evaluation_keeps_the_epochs_steps(
    tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    store, steps = Store(tmp_path / "store"), iter(range(1000))

    def stop() -> Interrupted | None:
        return Interrupted(signal.SIGTERM) if next(steps) == 7 else None

    with pytest.raises(Interrupted):
        run_training(job(), tmp_path / "work", device="cpu", entries=ENTRIES, publish=store.publish, stop=stop)
    content = torch.load(tmp_path / "work" / NEWEST, weights_only=True)
    assert (content["epoch"], content["running"]["step"]) == (1, 5)
    finish(tmp_path / "work", store)
    assert store.content() == undisturbed


def test_with_both_damaged_it_starts_afresh(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    work, store = stopped_in_epoch_3(tmp_path)
    truncate(work / NEWEST)
    empty(work / PREVIOUS)
    # What is published stays, and only the rest is published again: the same bits.
    warnings, first = finish(work, store)
    assert len(warnings) == 2
    assert first < 180
    assert store.content() == undisturbed


def test_without_damage_nothing_is_warned_of(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    work, store = stopped_in_epoch_3(tmp_path)
    assert finish(work, store)[0] == []
    assert store.content() == undisturbed


def test_ctrl_c_leaves_it_resumable(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    """The interruption passes through, and the next call goes on after the last whole epoch."""
    store = Store(tmp_path / "store")

    def interrupt(done: int, total: int, note: str = "") -> None:
        if done == 180:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_training(job(), tmp_path / "work", device="cpu", entries=ENTRIES, publish=store.publish, progress=interrupt)
    warnings, first = finish(tmp_path / "work", store)
    assert warnings == []
    assert first > 180
    assert store.content() == undisturbed


def test_other_conditions_are_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, store = stopped_in_epoch_3(tmp_path)
    monkeypatch.setattr(state, "conditions", lambda device: {"torch": "2.0", "device": "cuda", "threads": 64})
    warnings, _ = finish(work, store)
    assert len(warnings) == 1
    assert "with torch 2.0, device cuda, threads 64: weights may differ in the last bits" in warnings[0]


def test_nothing_in_a_resume_file_is_run(tmp_path: Path) -> None:
    """A pickle that would create a file when read is refused like any other damage."""
    import pickle

    work, store = stopped_in_epoch_3(tmp_path)
    trap = tmp_path / "trap"

    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(trap),))

    for name in (NEWEST, PREVIOUS):
        torch.save({"format": 2, "encoder": Trap()}, work / name, pickle_module=pickle)
    assert len(finish(work, store)[0]) == 2
    assert not trap.exists()


def test_weights_survive_writing_bit_for_bit_and_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Dropped().build((1, 6, 6), 3).module.to(memory_format=torch.channels_last)
    for name in ("one", "two"):
        write_checkpoint(tmp_path / name, weights_of(module), {"epoch": 0})
    assert (tmp_path / "one" / "weights.pt").read_bytes() == (tmp_path / "two" / "weights.pt").read_bytes()
    state = torch.random.get_rng_state()
    encoder = load_encoder(Dropped(), (1, 6, 6), 3, tmp_path / "one" / "weights.pt")
    assert torch.equal(torch.random.get_rng_state(), state), "the caller's random state is left alone"
    assert not encoder.module.training
    images = torch.randn(2, 1, 6, 6)
    assert torch.equal(encoder.module(images), module.eval()(images))


def test_kept_weights_do_not_follow_the_training(tmp_path: Path) -> None:
    module = Dropped().build((1, 6, 6), 3).module
    kept = weights_of(module)
    before = kept["0.weight"].clone()
    with torch.no_grad():
        module[0].weight.zero_()
    assert torch.equal(kept["0.weight"], before)


def test_weights_of_another_architecture_or_no_weights_are_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, weights_of(Dropped().build((1, 6, 6), 3).module), {"epoch": 0})
    path = tmp_path / "weights.pt"
    with pytest.raises(UserError, match=r"does not hold the weights of model=mlp .* RuntimeError") as caught:
        load_encoder(MLP(), (1, 6, 6), 3, path)
    assert caught.value.hint is not None
    truncate(path)
    with pytest.raises(UserError, match="does not hold the weights of model=dropped"):
        load_encoder(Dropped(), (1, 6, 6), 3, path)
    with pytest.raises(UserError, match="FileNotFoundError"):
        load_encoder(Dropped(), (1, 6, 6), 3, tmp_path / "absent.pt")
