"""What is said of a network after an epoch: accuracy, and how its representation is spread. All pure functions.

Samples are looked at in evaluation mode, in float32, without augmentation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from rra_cli.training.batches import Resident

# Samples in a forward pass and queries in a product; fixed, so that the order of sums never depends on the machine.
BLOCK = 500
# Similarities held at a time in the search among the bank (100 MB): of a large one, fewer queries at a time.
SIMILARITIES = 25_000_000
# Weighted k-NN as in Wu et al. 2018 ("Unsupervised feature learning via non-parametric instance discrimination",
# section 3.4), whose k and temperature the benchmarks of lightly and others share.
KNN_K = 200
KNN_TEMPERATURE = 0.1


@dataclass(frozen=True)
class Seen:
    """What a network makes of some samples: `outputs` `(n, c)` of its last layer, `representation` `(n, d)`."""

    outputs: torch.Tensor
    representation: torch.Tensor


@torch.inference_mode()
def see(encoder: nn.Module, data: Resident, representation: str = "", tick: Callable[[], None] = lambda: None) -> Seen:
    """One forward pass over all samples. representation: the sub-module whose output it is, "" the network's own.

    Leaves the encoder in evaluation mode. tick: called after each block of samples.
    """
    encoder.eval()
    kept: list[torch.Tensor] = []
    tapped = encoder.get_submodule(representation)
    hook = tapped.register_forward_hook(lambda module, inputs, output: kept.append(output.flatten(1)))
    outputs = []
    try:
        for start in range(0, len(data), BLOCK):
            outputs.append(encoder(data.standardised(data.pixels(slice(start, start + BLOCK)))))
            tick()
    finally:
        hook.remove()
    # Where the representation is what the network ends in, there is one copy of it.
    pairs = zip(outputs, kept, strict=True)
    same = all(one.data_ptr() == other.data_ptr() and one.shape == other.shape for one, other in pairs)
    seen = torch.cat(kept)
    return Seen(seen if same else torch.cat(outputs), seen)


def evaluate(encoder: nn.Module, data: Resident) -> dict[str, float]:
    """`classification` of the network's last layer on all samples. Leaves the encoder in evaluation mode."""
    return classification(see(encoder, data).outputs, data.labels)


def classification(logits: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Mean cross-entropy (nats) and accuracy in [0, 1] of logits `(n, c)` for labels `(n,)`."""
    loss, correct = 0.0, 0
    for rows, truth in zip(logits.split(BLOCK), labels.split(BLOCK), strict=True):
        loss += float(functional.cross_entropy(rows, truth, reduction="sum"))
        correct += int((rows.argmax(dim=1) == truth).sum())
    return {"loss": loss / len(logits), "accuracy": correct / len(logits)}


def neighbours_asked(n_bank: int, n_classes: int) -> int:
    """k of the online k-NN: 200, at most a class's mean size: more would have to lie in other classes."""
    return max(1, min(KNN_K, n_bank // max(1, n_classes)))


def knn_accuracy(
    bank: torch.Tensor,
    bank_labels: torch.Tensor,
    queries: torch.Tensor,
    labels: torch.Tensor,
    *,
    k: int,
    temperature: float = KNN_TEMPERATURE,
) -> float:
    """Share in [0, 1] of the queries `(m, d)` that their k most similar rows of the bank `(n, d)` name rightly.

    A neighbour votes for its class with weight exp(cosine similarity / temperature); the lowest class wins a tie.
    """
    bank, classes = functional.normalize(bank, dim=1), int(max(bank_labels.max(), labels.max())) + 1
    correct, at_a_time = 0, max(1, min(BLOCK, SIMILARITIES // len(bank)))
    for block, truth in zip(queries.split(at_a_time), labels.split(at_a_time), strict=True):
        similarity, nearest = (functional.normalize(block, dim=1) @ bank.T).topk(k, dim=1)
        weights, named = (similarity / temperature).exp(), bank_labels[nearest]
        # Class by class: adding up by index has no deterministic form on a GPU.
        votes = torch.stack([(weights * (named == which)).sum(dim=1) for which in range(classes)], dim=1)
        correct += int((votes.argmax(dim=1) == truth).sum())
    return correct / len(queries)


def embedding_std(embeddings: torch.Tensor) -> float:
    """How far embeddings `(n, d)` spread on the sphere, in [0, 1]: 0 all alike, 1 uniform.

    Rows are L2-normalised; the standard deviation (over n, divided by n) of each feature is averaged over the features
    and multiplied by sqrt(d) (Chen and He 2021, "Exploring simple Siamese representation learning", section 4.1, who
    leave out the factor). Its square is at most 1 - |mean|^2, that is 1 - the mean cosine similarity of two rows, with
    equality where all features spread alike. NaN where an embedding is not finite.
    """
    rows = functional.normalize(embeddings.double(), dim=1)
    return float(rows.std(dim=0, correction=0).mean()) * math.sqrt(embeddings.shape[1])


def effective_rank(embeddings: torch.Tensor) -> float:
    """Over how many dimensions embeddings `(n, d)` vary, in [1, min(n - 1, d)]; 0 where they do not.

    exp of the entropy of the covariance's eigenvalues divided by their sum (Roy and Vetterli 2007, "The effective
    rank", eq. 4, of the covariance matrix, whose singular values they are). NaN where an embedding is not finite.
    """
    if not bool(torch.isfinite(embeddings).all()):
        return math.nan
    centred = embeddings.double() - embeddings.double().mean(dim=0)
    n, d = centred.shape
    # The same non-zero eigenvalues from the smaller of the two products.
    eigenvalues = torch.linalg.eigvalsh(centred.T @ centred if d <= n else centred @ centred.T).clamp(min=0)
    # Rounding leaves this much where the truth is 0.
    floor = eigenvalues.max() * max(n, d) * torch.finfo(torch.float64).eps
    shares = eigenvalues[eigenvalues > floor]
    if float(embeddings.double().square().sum()) * torch.finfo(torch.float64).eps >= float(shares.sum()):
        return 0.0
    shares = shares / shares.sum()
    return float(torch.exp(-(shares * shares.log()).sum()))


@torch.inference_mode()
def projected(head: nn.Module, representation: torch.Tensor) -> torch.Tensor:
    """What a head makes of representations `(n, d)`, in evaluation mode; leaves it so."""
    head.eval()
    return torch.cat([head(rows) for rows in representation.split(BLOCK)])
