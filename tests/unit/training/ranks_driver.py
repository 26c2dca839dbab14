"""Trains with two Gloo processes and with one, on digits, and prints how far their weights lie apart.

Run by test_training_ranks.py in a process of its own, which imports torch once and forks.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from training_jobs import Noise, Store, tiny

from rra_cli.data.digits import Digits
from rra_cli.data.subset import load_trained
from rra_cli.errors import UserError
from rra_cli.models.mlp import MLP
from rra_cli.stages.ranks import loss_explained
from rra_cli.training.loop import TrainingJob, run_training
from rra_cli.training.optimizer import SGD
from rra_cli.training.ranks import Ranks, current, joined

ENTRIES = ["epoch_0002", "best", "history"]


def digits(name: str) -> TrainingJob:
    """Two epochs of an MLP without batch norm; batches of 50 and an incomplete one."""
    data = Digits(train_size=130)
    train = load_trained(data)
    settings = {"projector_norm": "none"} if name in ("simclr", "moco_v2") else {}
    return TrainingJob(
        model=MLP(width=24, depth=2),
        method=tiny(name, epochs=2, batch_size=50, **({"queue": 100} if name == "moco_v2" else {}), **settings),
        augment=Noise(),
        optimizer=SGD(lr=0.1),
        seed=0,
        train=train,
        test=data.load("test").take(train.ids[:100] % 300),
        class_names=data.class_names,
        mean=data.mean,
        std=data.std,
    )


def train(job: TrainingJob, folder: Path, ranks: Ranks, **options: object) -> None:
    store = Store(folder / "store") if ranks.is_first else None
    publish = (lambda entry, source: None) if store is None else store.publish
    missing = ENTRIES if store is None else store.missing(ENTRIES)
    run_training(job, folder / "work", device="cpu", entries=missing, publish=publish, ranks=ranks, **options)


def forked(action: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            action()
            status = 0
        except UserError as error:
            print("USER", error.message, flush=True)
            status = 2
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return child


def together(action: Callable[[Ranks], None], size: int = 2) -> list[int]:
    """The exit codes of so many processes that join as torchrun's do."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def member(rank: int) -> None:
        os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        torch.set_num_threads(1)
        with joined("cpu") as ranks, loss_explained(ranks):
            assert ranks == current() == Ranks(rank, size)
            action(ranks)

    children = [forked(lambda rank=rank: member(rank)) for rank in range(size)]
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "store" / "epoch_0002" / "weights.pt", weights_only=True)


def furthest(one: Path, other: Path) -> float:
    first, second = weights(one), weights(other)
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def main(root: Path, names: list[str]) -> None:
    torch.set_num_threads(1)
    torch.optim.SGD([torch.nn.Parameter(torch.ones(1))])  # imports a good second's worth of torch before forking
    result: dict[str, object] = {}
    for name in names:
        job, alone, pair = digits(name), root / name / "alone", root / name / "pair"
        codes = [os.waitstatus_to_exitcode(os.waitpid(forked(lambda: train(job, alone, Ranks())), 0)[1])]  # noqa: B023
        codes += together(lambda ranks: train(job, pair, ranks))  # noqa: B023
        half = root / name / "half"
        # The control: two processes that do not talk see half of every batch each.
        codes.append(
            os.waitstatus_to_exitcode(os.waitpid(forked(lambda: train(job, half, Silent(0, 2))), 0)[1])  # noqa: B023
        )
        result[name] = {"codes": codes, "pair": furthest(alone, pair), "half": furthest(alone, half)}
        history = [(folder / "store" / "history" / "training.jsonl").read_text() for folder in (alone, pair)]
        losses = [[json.loads(line)["train_loss"] for line in text.splitlines()][1:] for text in history]
        result[name]["loss"] = max(abs(a - b) for a, b in zip(*losses, strict=True))  # type: ignore[index]

    # Stopped in the middle and gone on with, by two processes.
    job, folder = digits("supervised"), root / "resumed"

    def stops(ranks: Ranks) -> None:
        calls = iter(range(1000))

        def stop() -> BaseException | None:
            from rra_cli.core.signals import Interrupted

            # Only the second process is asked.
            return Interrupted(15) if ranks.rank == 1 and next(calls) == 3 else None

        train(job, folder, ranks, stop=stop)

    result["stopped"] = together(stops)
    result["saved"] = (folder / "work" / "resume.pt").exists()
    result["resumed_codes"] = together(lambda ranks: train(job, folder, ranks))
    kept = Path("store", "epoch_0002", "weights.pt")
    result["resumed_equal"] = (folder / kept).read_bytes() == (root / names[0] / "pair" / kept).read_bytes()

    # A process that dies ends the other with a clear error.
    def dies(ranks: Ranks) -> None:
        def stop() -> None:
            if ranks.rank == 1:
                os._exit(9)

        train(job, root / "dead", ranks, stop=stop)

    started = time.monotonic()
    result["dead"] = together(dies)
    result["dead_seconds"] = time.monotonic() - started
    print(json.dumps(result))


class Silent(Ranks):
    """Takes the first half of every batch and shares nothing."""

    def average_gradients(self, params: object) -> None: ...

    def mean(self, figures):  # type: ignore[no-untyped-def]
        return dict(figures)

    def any(self, flag: bool) -> bool:
        return flag

    def from_first(self, data: bytes | None) -> bytes:
        assert data is not None
        return data


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]), sys.argv[2:])
