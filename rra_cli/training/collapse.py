"""The collapse watch: do all samples end in one point, or in a few dimensions, or does the loss stand at that value?

Embeddings that are all alike minimise some losses (SimSiam, margin losses) and are where others stand before anything
is learned (NT-Xent, InfoNCE, Barlow Twins). A run of days should say so in its first epochs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rra_cli.methods.method import Method
from rra_cli.training.job import TrainingJob

Line = Mapping[str, Any]

# Of `embedding_std`: below it the mean cosine similarity of two samples is above 0.9975. Networks at initialisation lie
# at 0.1 to 0.5, trained ones above 0.4 (1 is uniform on the sphere), collapsed ones below 0.01.
LEAST_STD = 0.05
# Of `effective_rank`: C classes laid out evenly take C - 1 dimensions, so even a representation that is left with its
# classes alone shows about 9 on ten of them. Random networks show 3 to 15, narrow ones of many layers 1 to 2.
LEAST_RANK = 3.0
# One that has grown by this factor over the epochs that are looked at is on its way up and nothing to tell.
GROWING = 1.1
# Relative distance of an epoch's mean loss from the value of collapsed embeddings. A loss that learns has left it by
# several per cent after one epoch, even if that began there.
STUCK = 0.005

Warnings = dict[str, str]


def warnings(line: Line, *, n_classes: int, collapsed_loss: float | None, cause: str) -> Warnings:
    """What is wrong after an epoch, by kind of collapse; empty where nothing is.

    line: of the history, of epoch 1 or later: initial weights may look collapsed. collapsed_loss: the loss of equal
    embeddings, None where there is no such value. cause: what is likely behind a complete collapse in this method.
    """
    found: Warnings = {}
    at = f"after epoch {line['epoch']}"
    for space, std, rank in SPACES:
        spread, dimensions = line.get(std), line.get(rank)
        if spread is not None and spread < LEAST_STD:
            found["complete"] = (
                f"complete collapse {at}: the {space} of all samples is nearly the same ({std} {spread:.2g}, where 1 "
                f"is uniform on the sphere). Likely cause: {cause}"
            )
        elif dimensions is not None and dimensions < least_rank(n_classes):
            found["dimensional"] = (
                f"dimensional collapse {at}: the {space} varies in about {dimensions:.1f} dimensions ({rank}). Likely "
                f"cause: augmentations that change more than they leave, an embedding too wide for the data, or {cause}"
            )
    loss = line["train_loss"]
    if collapsed_loss is not None and loss is not None and abs(loss - collapsed_loss) <= STUCK * abs(collapsed_loss):
        found["loss"] = (
            f"the loss {at} is {loss:.4f}, its value for embeddings that are all alike ({collapsed_loss:.4f}). Likely "
            f"cause: {cause}"
        )
    return found


# What is looked at, and its columns; the last one found is named.
SPACES = (
    ("representation", "embedding_std", "effective_rank"),
    ("projection", "projection_std", "projection_effective_rank"),
)


def lasting(lines: Sequence[Line], method: Method, n_classes: int) -> Warnings:
    """What is wrong after the last line's epoch and was so after the epochs before it, a tenth of all, two at least.

    Fewer may be a passing state: a network that first separates two groups varies in one dimension. So is a low rank
    that grows.
    """
    trained = [line for line in lines if line["epoch"] > 0]
    n = min(patience(method.epochs), method.epochs)
    if len(trained) < n:
        return {}
    found = _all_of(trained[-n:], method, n_classes)
    if "dimensional" in found and len(lines) > n and grows(lines[-n - 1], lines[-1], n_classes):
        del found["dimensional"]
    return found


def least_rank(n_classes: int) -> float:
    """The effective rank below which a space has lost dimensions; two classes take one."""
    return min(LEAST_RANK, (n_classes - 1) / 2)


def grows(before: Line, now: Line, n_classes: int) -> bool:
    """Whether every effective rank that is too low has grown since that earlier line."""
    ranks = [(before.get(name), now.get(name)) for _, _, name in SPACES]
    low = [(then, value) for then, value in ranks if value is not None and value < least_rank(n_classes)]
    return all(then is not None and value > GROWING * then for then, value in low)


def patience(epochs: int) -> int:
    """Epochs in a row after which a state is told."""
    return max(2, -(-epochs // 10))


def new_warnings(job: TrainingJob, history: Sequence[Line]) -> list[str]:
    """What is wrong now and was never said before; a function of the history, so a resumed run repeats nothing."""
    now = lasting(history, job.method, job.n_classes) if job.method.trains else {}
    if not now:
        return []
    told = {kind for end in range(len(history)) for kind in lasting(history[:end], job.method, job.n_classes)}
    return [text for kind, text in now.items() if kind not in told]


def _all_of(lines: Sequence[Line], method: Method, n_classes: int) -> Warnings:
    """The warnings of the last of these lines that all the others give as well."""
    each = [
        warnings(line, n_classes=n_classes, collapsed_loss=method.collapsed_loss(), cause=method.collapse_cause)
        for line in lines
    ]
    return {kind: text for kind, text in each[-1].items() if all(kind in one for one in each)}
