"""The training loop.

All randomness is a pure function of (seed, epoch, batch) and the schedule one of the step, so a resumed run needs
neither generator nor scheduler states: weights, the optimiser's and the objective's state and the position are enough.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

import torch

from rra_cli.core.progress import Progress, silent
from rra_cli.core.reproducibility import derive_seed
from rra_cli.core.signals import Asked, never
from rra_cli.training.batches import Resident, draw_batch, epoch_order, epoch_steps
from rra_cli.training.collapse import new_warnings
from rra_cli.training.determinism import deterministic
from rra_cli.training.job import TrainingJob, begin, compiled
from rra_cli.training.keeping import BEST, HISTORY, Keeper
from rra_cli.training.lines import Observer
from rra_cli.training.ranks import Ranks
from rra_cli.training.state import resume, share

__all__ = ["TrainingJob", "run_training"]


def run_training(
    job: TrainingJob,
    work: Path,
    *,
    device: str,
    entries: Collection[str],
    publish: Callable[[str, Path], None],
    progress: Progress = silent,
    warn: Callable[[str], None] = lambda message: None,
    save_every: float = 60.0,
    stop: Asked = never,
    ranks: Ranks = Ranks(),  # noqa: B008 - frozen
) -> None:
    """Trains, and calls `publish(entry, folder)` once for each of `entries` when it is final; the folder may be moved.

    entries: of `epoch_NNNN` (weights after that epoch; 0 is the initialisation), `best` (highest accuracy on the test
    split, of k-NN for a method without a classifier; earliest on ties) and `history`: a folder with `training.jsonl`,
    one line per epoch, without times, so that equal runs write equal files; the others hold `weights.pt`,
    `checkpoint.json` and, where the method has heads, `heads.pt`. Only as many epochs as these need are run.

    An optimiser step takes the mean gradient over `method.accumulate` batches, weighted by their samples, fewer at the
    end of an epoch; the schedule counts optimiser steps. With several ranks each process calls this and sees its rows
    of every batch; the first one alone writes, shows and warns.

    work: where the resume files lie, written after every epoch, every `save_every` seconds and when `stop` gives an
    `Interrupted`, which is then raised; called again with what is still missing, it ends with the same bits. Raises
    `UserError` where a loss or a weight is not finite (what was kept and saved before stays), a batch is larger than
    the training set or a resume file is another training's. Warns once where embeddings collapse.
    """
    first_wanted, last = wanted_epochs(entries, job.epochs)
    method, seed, n_train = job.method, job.seed, len(job.train)
    total = max(1, last * n_train)
    with deterministic(seed):
        train = Resident.of(job.train, job.mean, job.std, device)
        steps = epoch_steps(n_train, method, ranks.size) if job.epochs else []
        fresh = partial(begin, job, device, len(steps))
        training = resume(work, device, job.identity, first_wanted, fresh, warn) if ranks.is_first else fresh()
        share(training, ranks)
        encoder, objective, optimizer = training.encoder, training.objective, training.optimizer
        network = compiled(encoder) if method.compile else encoder
        observer = Observer(job, train)
        keeper = Keeper(job, training, work, device, entries, publish, progress, total, save_every, stop, ranks)

        for epoch in range(training.epoch, last + 1):
            order = epoch_order(n_train, seed, epoch).to(device)
            encoder.train()
            objective.train()
            for step in range(-(-training.running.step // method.accumulate), len(steps) if epoch else 0):
                n_samples = steps[step][-1][1] - steps[step][0][0]
                for group in optimizer.param_groups:
                    group.update(training.schedule((epoch - 1) * len(steps) + step))
                optimizer.zero_grad(set_to_none=True)
                for number, (first, end) in enumerate(steps[step], start=step * method.accumulate):
                    torch.manual_seed(derive_seed(seed, "step", epoch, number, *ranks.purpose))  # dropout and the like
                    rows, chosen = ranks.rows(end - first), order[first:end]
                    batch = draw_batch(train, chosen, job.augment, method.n_views, seed, epoch, number, rows)
                    with torch.autocast(train.device.type, torch.bfloat16, enabled=method.precision == "bf16"):
                        loss, values = objective.loss(network, batch)
                    (loss if end - first == n_samples else loss * ((end - first) / n_samples)).backward()
                    training.running.add(end - first, ranks.mean({"loss": loss.detach(), **values}))
                ranks.average_gradients(training.params)
                optimizer.step()
                objective.after_step(encoder)
                keeper.after_step((epoch - 1) * n_train + end)

            if ranks.is_first:
                line = observer.line(training, keeper.while_evaluating)
                for message in new_warnings(job, [*training.history, line]):
                    warn(message)
                keeper.finish_epoch(line, epoch_entry(epoch), total if epoch == last else epoch * n_train)
            else:
                training.next_epoch()

        keeper.finish(is_complete=last == job.epochs)


def epoch_entry(epoch: int) -> str:
    """The name under which an epoch's weights are kept."""
    return f"epoch_{epoch:04d}"


def wanted_epochs(entries: Collection[str], epochs: int) -> tuple[int, int]:
    """The first epoch whose weights are asked for, and the last that has to be run. ValueError for an unknown entry."""
    known = {epoch_entry(epoch): epoch for epoch in range(epochs + 1)}
    unknown = sorted(set(entries) - known.keys() - {BEST, HISTORY})
    if unknown or not entries:
        raise ValueError(f"entries {unknown or list(entries)} are not among best, history, epoch_0000..{epochs:04d}")
    wanted = [known[entry] for entry in entries if entry in known]
    # Best and history are known after the last epoch; a resume file that lies beyond it still serves them.
    last = epochs if {BEST, HISTORY} & set(entries) else max(wanted)
    return min(wanted, default=epochs + 1), last
