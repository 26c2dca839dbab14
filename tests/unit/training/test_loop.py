"""The training loop: what it learns, keeps and writes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from training_jobs import Dropped, Noise, Store, job, tiny

from rra_cli.errors import UserError
from rra_cli.methods.none import NoTraining
from rra_cli.methods.supervised import Supervised
from rra_cli.models.mlp import MLP
from rra_cli.training import figures, keeping
from rra_cli.training.batches import Resident
from rra_cli.training.checkpoint import load_encoder
from rra_cli.training.figures import evaluate
from rra_cli.training.lines import is_clean_epoch
from rra_cli.training.loop import TrainingJob, run_training, wanted_epochs
from rra_cli.training.optimizer import SGD, Adam

ALL = ["epoch_0000", "epoch_0002", "epoch_0003", "best", "history"]


def train(a_job: TrainingJob, folder: Path, entries: list[str] = ALL, **options: Any) -> Store:
    store = Store(folder / "store")
    run_training(a_job, folder / "work", device="cpu", entries=entries, publish=store.publish, **options)
    return store


def lines(store: Store) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (store.root / "history" / "training.jsonl").read_text().splitlines()]


def weights(store: Store, entry: str) -> dict[str, torch.Tensor]:
    return torch.load(store.root / entry / "weights.pt", weights_only=True)


@pytest.mark.long
def test_it_learns(tmp_path: Path) -> None:
    """A net that can, reaches high accuracy; with shuffled labels it stays at chance on the test split (control)."""
    easy = job(epochs=12, n=300, optimizer=Adam(lr=0.01))
    assert lines(train(easy, tmp_path / "easy", ["history"]))[-1]["test_accuracy"] > 0.9
    shuffled = replace(easy.train, labels=easy.train.labels[torch.randperm(300).numpy()])
    control = lines(train(replace(easy, train=shuffled), tmp_path / "control", ["history"]))[-1]
    assert control["test_accuracy"] < 0.6


def test_each_entry_is_published_once_with_its_files(tmp_path: Path) -> None:
    store = train(job(), tmp_path)
    files = {str(Path(entry, name)) for entry in ALL[:-1] for name in ("weights.pt", "checkpoint.json")}
    assert set(store.content()) == files | {"history/training.jsonl"}
    assert list((tmp_path / "work").iterdir()) == [], "nothing is left in the work folder"


def test_only_what_is_asked_for_is_run_and_published(tmp_path: Path) -> None:
    seen: list[int] = []
    store = train(job(), tmp_path, ["epoch_0002"], progress=lambda done, total, note="": seen.append(total))
    assert {Path(name).parts[0] for name in store.content()} == {"epoch_0002"}
    assert set(seen) == {2 * 90}, "the third epoch is not run"
    whole = train(job(), tmp_path / "whole")
    for name in ("weights.pt", "checkpoint.json"):
        assert store.content()[f"epoch_0002/{name}"] == whole.content()[f"epoch_0002/{name}"]


def test_a_later_call_goes_on_where_an_earlier_one_stopped_and_an_earlier_epoch_starts_afresh(tmp_path: Path) -> None:
    whole = train(job(), tmp_path / "whole").content()
    first = train(job(), tmp_path, ["epoch_0002"])
    seen: list[int] = []
    run_training(
        job(),
        tmp_path / "work",
        device="cpu",
        entries=["epoch_0003", "best"],
        publish=first.publish,
        progress=lambda done, total, note="": seen.append(done),
    )
    assert min(seen) > 2 * 90, "the first two epochs are not run again"
    run_training(job(), tmp_path / "work", device="cpu", entries=["epoch_0000", "history"], publish=first.publish)
    assert first.content() == whole


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    noisy = job(augment=Noise())
    first, second = (train(noisy, tmp_path / name).content() for name in "ab")
    torch.manual_seed(1234)  # whatever the caller's generator holds
    other = train(replace(noisy, seed=1), tmp_path / "c").content()
    assert first == second
    assert {name for name in first if first[name] == other[name]} == set()


@pytest.mark.long
def test_augmentation_precision_and_dropout_change_the_weights(tmp_path: Path) -> None:
    plain = job()
    bf16 = replace(plain, method=replace(plain.method, precision="bf16"))
    variants = [plain, replace(plain, augment=Noise()), bf16, replace(plain, model=Dropped(dropout=0.0))]
    results = [train(one, tmp_path / str(i)).content()["epoch_0003/weights.pt"] for i, one in enumerate(variants)]
    assert len(set(results)) == len(variants)


def test_epoch_0_is_the_initialisation(tmp_path: Path) -> None:
    """What `build` draws from the derived seed, whatever the method; and the only entry without training."""
    from rra_cli.core.reproducibility import derive_seed

    torch.manual_seed(derive_seed(0, "init"))
    initial = Dropped().build((1, 6, 6), 3).module.state_dict()
    trained = train(job(), tmp_path / "trained")
    untrained = train(job(method=NoTraining(), optimizer=SGD(warmup_epochs=50.0)), tmp_path, ["epoch_0000", "history"])
    for store in (trained, untrained):
        assert all(torch.equal(value, initial[name]) for name, value in weights(store, "epoch_0000").items())
    assert [line["epoch"] for line in lines(untrained)] == [0]
    assert not torch.equal(weights(trained, "epoch_0003")["0.weight"], initial["0.weight"])


def test_the_history_says_what_evaluation_of_the_kept_weights_says(tmp_path: Path) -> None:
    one = job(n=120)
    store = train(one, tmp_path)
    history = lines(store)
    assert [line["epoch"] for line in history] == [0, 1, 2, 3]
    for entry in ("epoch_0000", "epoch_0003", "best"):
        encoder = load_encoder(one.model, (1, 6, 6), 3, store.root / entry / "weights.pt")
        line = json.loads((store.root / entry / "checkpoint.json").read_text())
        assert line == history[line["epoch"]]
        test = evaluate(encoder.module, Resident.of(one.test, one.mean, one.std, "cpu"))
        clean = evaluate(encoder.module, Resident.of(one.train, one.mean, one.std, "cpu"))
        assert line["test_accuracy"] == test["accuracy"]
        assert line["test_loss"] == pytest.approx(test["loss"], rel=1e-5)
        if entry != "best":
            assert line["train_clean_accuracy"] == clean["accuracy"]
            assert line["train_clean_loss"] == pytest.approx(clean["loss"], rel=1e-5)
    assert history[0]["lr"] is history[0]["train_loss"] is history[0]["train_accuracy"] is None
    assert all(0 <= line["train_accuracy"] <= 1 and line["train_loss"] > 0 for line in history[1:])
    _, schedule = one.optimizer.build([torch.nn.Parameter(torch.ones(1))], 6, 3)
    assert [line["lr"] for line in history[1:]] == [schedule(step)["lr"] for step in (5, 11, 17)]


def test_train_loss_is_the_mean_over_the_samples_of_the_epoch(tmp_path: Path) -> None:
    """With a vanishing rate and no dropout or batch statistics, it is the loss of the initial weights."""
    still = job(model=MLP(width=8, depth=1), optimizer=SGD(lr=1e-12), epochs=1)
    first, second = lines(train(still, tmp_path, ["history"]))
    assert second["train_loss"] == pytest.approx(first["train_clean_loss"], rel=1e-5)
    assert second["train_accuracy"] == pytest.approx(first["train_clean_accuracy"], abs=1e-6)


def test_best_is_the_highest_test_accuracy_and_the_earliest_on_ties(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies = iter([0.3, 0.7, 0.2, 0.7])

    def scripted(logits: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
        return {"loss": 1.0, "accuracy": next(accuracies) if len(labels) == 60 else 0.0}

    monkeypatch.setattr(figures, "classification", scripted)
    store = train(job(), tmp_path, ["epoch_0001", "epoch_0003", "best"])
    assert json.loads((store.root / "best" / "checkpoint.json").read_text())["epoch"] == 1
    assert store.content()["best/weights.pt"] == store.content()["epoch_0001/weights.pt"]
    assert store.content()["best/weights.pt"] != store.content()["epoch_0003/weights.pt"]


def test_the_clean_epochs_depend_on_the_number_of_epochs_alone() -> None:
    assert [epoch for epoch in range(11) if is_clean_epoch(epoch, 10)] == [0, 4, 8, 10]
    assert [epoch for epoch in range(101) if is_clean_epoch(epoch, 100)] == list(range(0, 101, 10))
    assert is_clean_epoch(0, 0)


def test_the_bank_of_the_online_accuracy_and_how_often_it_is_looked_at(tmp_path: Path) -> None:
    """Left to itself it is not cheap here; with a bank of all samples the figures are those of all samples."""
    # 30 of 90 samples and 60 test samples are more than a twelfth of the passes of three epochs' steps.
    asked = {"knn_bank": 30, "knn_every": 2}
    methods = {"asked": tiny("simclr", **asked), "often": tiny("simclr", knn_bank=None, knn_every=1)}
    methods |= {"alone": tiny("simclr"), "classifies": tiny("supervised", **asked)}
    found = {name: lines(train(job(method=method), tmp_path / name, ["history"])) for name, method in methods.items()}
    known = {name: [line["epoch"] for line in each if line["knn_accuracy"] is not None] for name, each in found.items()}
    assert known == {"asked": [0, 2, 3], "often": [0, 1, 2, 3], "alone": [0, 3], "classifies": [0, 2, 3]}
    accuracies = {name: [line["knn_accuracy"] for line in each] for name, each in found.items()}
    assert accuracies["alone"][::3] == accuracies["often"][::3], "a bank larger than the data is all of it"
    assert accuracies["asked"][0] != accuracies["often"][0]
    spread = {tuple(line["embedding_std"] for line in found[name]) for name in ("asked", "often", "alone")}
    assert len(spread) == 1, "which samples' spread is watched has nothing to do with it"


@pytest.mark.parametrize("field", ["knn_bank", "knn_every"])
def test_a_bank_and_its_distance_are_at_least_one(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} is 0; .* \\(null"):
        tiny("simclr", **{field: 0})


def test_a_diverging_run_stops_and_names_the_step(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"training of dropped diverged: in epoch 1, step \d+, the loss is (nan|inf)"
    ) as e:
        train(job(optimizer=SGD(lr=1e30, warmup_epochs=0.0)), tmp_path)
    assert e.value.hint is not None
    assert "lower optimizer.lr (it is 1e+30)" in e.value.hint
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["epoch_0000"], "what was kept stays"


def test_weights_that_overflow_in_the_last_step_are_not_published(tmp_path: Path) -> None:
    """One step whose loss is finite, and after it nothing is."""
    one_step = job(method=Supervised(epochs=1, batch_size=90), optimizer=SGD(lr=1e38, warmup_epochs=0.0))
    with pytest.raises(UserError, match="diverged: after epoch 1, train_clean_loss is nan"):
        train(one_step, tmp_path, ["epoch_0001", "best"])
    assert list((tmp_path / "store").iterdir()) == []


def test_a_batch_larger_than_the_data_is_refused_but_not_without_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="batch_size is 500, but there are only 90 training samples"):
        train(job(method=Supervised(epochs=3, batch_size=500)), tmp_path)
    train(job(method=NoTraining(batch_size=500)), tmp_path, ["epoch_0000"])


@pytest.mark.parametrize("entries", [["epoch_0004"], ["latest"], ["epoch_1"], []])
def test_unknown_entries_are_a_bug_of_the_caller(tmp_path: Path, entries: list[str]) -> None:
    with pytest.raises(ValueError, match=r"are not among best, history, epoch_0000..0003"):
        train(job(), tmp_path, entries)


def test_wanted_epochs() -> None:
    assert wanted_epochs(["epoch_0002", "epoch_0005"], 9) == (2, 5)
    assert wanted_epochs(["best"], 9) == (10, 9)
    assert wanted_epochs(["history", "epoch_0003"], 9) == (3, 9)
    assert wanted_epochs(["epoch_0000", "best", "history"], 0) == (0, 0)


def test_progress_counts_samples_up_to_the_total(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "LOOK_EVERY", 0.0)
    seen: list[tuple[int, int, str]] = []
    train(job(), tmp_path, progress=lambda done, total, note="": seen.append((done, total, note)))
    done = [one[0] for one in seen]
    assert done == sorted(done)
    assert seen[-1][:2] == (270, 270)
    assert "epoch 3, loss" in seen[-1][2]
    assert "test accuracy" in seen[-1][2]
    assert len(seen) > 12


def test_settings_and_generators_are_put_back(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(job(epochs=1), tmp_path, ["epoch_0001"])
    assert torch.equal(torch.rand(3), expected)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory
