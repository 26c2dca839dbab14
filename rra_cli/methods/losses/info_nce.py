"""InfoNCE against a queue of keys, the loss of MoCo."""

from __future__ import annotations

import torch
from torch.nn import functional

from rra_cli.methods.losses.rows import check_matrix, check_pair, check_temperature, full_precision, unit_rows


def info_nce(query: torch.Tensor, key: torch.Tensor, queue: torch.Tensor, temperature: float) -> torch.Tensor:
    """Cross-entropy (nats) of picking the own key among the queue's: >= 0, lower is better, ln(K + 1) by chance.

    query, key: `(n, d)`, brought to unit length here; row i of both belongs to sample i. queue: `(K, d)`, K >= 1, unit
    rows: the negatives. The loss is the mean over i of

        -ln( exp(q_i.k_i/t) / (exp(q_i.k_i/t) + sum over the queue of exp(q_i.k/t)) ).

    Keys and queue carry no gradient (algorithm 1: `k.detach()`), and the batch's other keys are no negatives. Raises
    ValueError for other shapes and a temperature that is not positive.

    He et al. 2020, "Momentum contrast for unsupervised visual representation learning", eq. 1 and algorithm 1.
    """
    check_pair("query", query, "key", key)
    check_matrix("queue", queue)
    check_temperature(temperature)
    if queue.shape[1] != query.shape[1]:
        raise ValueError(f"the queue holds keys of {queue.shape[1]} dimensions, the queries have {query.shape[1]}")
    with full_precision(query):
        query, key = unit_rows(query), unit_rows(key.detach())
        positive = (query * key).sum(dim=1, keepdim=True)
        logits = torch.cat([positive, query @ queue.detach().to(query.dtype).T], dim=1) / temperature
        return functional.cross_entropy(logits, torch.zeros(len(query), dtype=torch.long, device=logits.device))
