"""A training of several processes: the first one walks the pipeline and calls the others when it comes to the training.

All of them were given the same command by torchrun. The first runs the experiment; the others wait (`follow`) until
they are told what is to be trained, take part in it and leave. So captures and graphs are made once, by one process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rra_cli.core.signals import Interrupted, deferred, handled
from rra_cli.errors import EXIT_OK, UserError

if TYPE_CHECKING:
    from rra_cli.config.experiment import Experiment
    from rra_cli.training.ranks import Ranks


def call(ranks: Ranks, key: str, entries: Sequence[str]) -> None:
    """In the first process: tells the others to train these entries of the training with that key."""
    if ranks.size > 1:
        ranks.from_first(json.dumps({"key": key, "entries": list(entries)}).encode())


@contextmanager
def leading(device: str) -> Iterator[None]:
    """In the first process: inside, the others can be called; after it they go, and what follows is done alone.

    Kept to the training itself: a loss that is computed while they wait would wait for them.
    """
    from rra_cli.training.ranks import joined

    with joined(device) as ranks:
        yield
        if ranks.size > 1:
            ranks.from_first(b"{}")


def follow(experiment: Experiment) -> int:
    """In every other process: takes part in the trainings that the first one calls for; the exit code.

    Shows nothing and writes nothing, except for what goes wrong here. A signal that comes while it waits ends it as it
    ends any program. Raises `UserError` where the first process trains something else, or was lost.
    """
    from rra_cli.stages.device import resolve_device, set_threads
    from rra_cli.stages.lay_out import lay_out
    from rra_cli.training.loop import run_training
    from rra_cli.training.ranks import joined, own_device

    set_threads(experiment.runtime.threads)
    device = own_device(resolve_device(experiment.runtime.device))
    try:
        with joined(device) as ranks, loss_explained(ranks):
            while order := json.loads(ranks.from_first(None)):
                training = lay_out(experiment, read_only=True).training
                if training is None or training.spec.key != order["key"]:
                    raise UserError(
                        f"process {ranks.rank} would train something else than the first one",
                        "give all processes the same command, configuration, data and version of rra",
                    )
                with handled(), deferred() as stop:
                    run_training(
                        training.job(),
                        Path(),  # nothing is written
                        device=device,
                        entries=order["entries"],
                        publish=lambda entry, folder: None,
                        stop=stop,
                        ranks=ranks,
                    )
    except Interrupted as error:
        return error.exit_code
    return EXIT_OK


@contextmanager
def loss_explained(ranks: Ranks) -> Iterator[None]:
    """Turns what torch raises when another process has gone into a `UserError`."""
    try:
        yield
    except RuntimeError as error:
        text = str(error).strip().splitlines()[0] if str(error).strip() else ""
        if ranks.size == 1 or not any(word in text.lower() for word in ("gloo", "nccl", "connection", "peer")):
            raise
        raise UserError(
            f"process {ranks.rank} of {ranks.size} lost another process of this training ({text})",
            "what that process said stands above or in its log; the same command goes on from the last save",
        ) from error
