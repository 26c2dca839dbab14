"""Several processes that train one network together, each on its rows of every batch: torchrun's ranks.

Gradients are averaged by one all-reduce per step after the backward pass, not by torch's DistributedDataParallel: an
objective may call the encoder once per view and has parameters of its own (projector, predictor), and both would need
special care there. Nothing is hidden behind the backward pass for it; for the networks of this program an all-reduce
takes a few per cent of a step at most. Batch norm sees the rows of its own process, as in DistributedDataParallel.

Rank 0 alone touches files and the console. Gloo carries what lies on the CPU, NCCL what lies on a GPU.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed

from rra_cli.errors import UserError

# The first process may wait hours for another job that trains the same network. A process that died is noticed at
# once by Gloo, and torchrun then ends the others.
PATIENCE = timedelta(days=7)


@dataclass(frozen=True)
class Ranks:
    """The processes of a training. rank: this one's place, from 0; size: how many there are."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    @property
    def purpose(self) -> tuple[int, ...]:
        """What sets the seeds of this process apart where its samples do: nothing in the first one."""
        return (self.rank,) if self.rank else ()

    def rows(self, n: int) -> slice:
        """This process's rows of a joint batch of n: contiguous shares that differ by one row at most, in order."""
        return slice(self.rank * n // self.size, (self.rank + 1) * n // self.size)

    def average_gradients(self, params: Iterable[torch.nn.Parameter]) -> None:
        """Puts the mean over all processes in the place of every gradient."""
        if self.size == 1:
            return
        gradients = [param.grad for param in params if param.grad is not None]
        for dtype in dict.fromkeys(gradient.dtype for gradient in gradients):
            of_type = [gradient for gradient in gradients if gradient.dtype == dtype]
            # One message instead of one for every tensor. reshape, not view: weights may be channels last in memory.
            flat = torch.cat([gradient.reshape(-1) for gradient in of_type])
            distributed.all_reduce(flat)
            flat /= self.size
            for gradient, mean in zip(of_type, flat.split([g.numel() for g in of_type]), strict=True):
                gradient.copy_(mean.view(gradient.shape))

    def mean(self, figures: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The means over all processes of scalars that every process has under the same names."""
        if self.size == 1:
            return dict(figures)
        row = torch.stack([value.detach().float() for value in figures.values()])
        distributed.all_reduce(row)
        return dict(zip(figures, (row / self.size).unbind(), strict=True))

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process. On the CPU, so that no process waits for its GPU."""
        if self.size == 1:
            return flag
        count = torch.tensor([int(flag)])
        distributed.all_reduce(count)
        return bool(count.item())

    def from_first(self, data: bytes | None) -> bytes:
        """The bytes that the first process gives, in every process. The others give None."""
        if self.size == 1:
            assert data is not None
            return data
        length = torch.tensor([0 if data is None else len(data)])
        distributed.broadcast(length, src=0)
        content = torch.empty(int(length), dtype=torch.uint8)
        if data:
            content.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        if len(content):
            distributed.broadcast(content, src=0)
        return content.numpy().tobytes()


def current() -> Ranks:
    """The processes that have joined; this one alone where none has."""
    if distributed.is_available() and distributed.is_initialized():
        return Ranks(distributed.get_rank(), distributed.get_world_size())
    return Ranks()


def started() -> Ranks:
    """As torchrun started this process: its variables RANK and WORLD_SIZE; alone without them."""
    return Ranks(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))


def check_ranks(wanted: int) -> None:
    """Raises `UserError` unless as many processes were started as `method.ranks` says."""
    found = started().size
    if found != wanted:
        raise UserError(
            f"method.ranks is {wanted}, but {found} {'process was' if found == 1 else 'processes were'} started",
            f"start it by: torchrun --nproc-per-node={wanted} -m rra_cli run ... method.ranks={wanted}"
            if wanted > 1
            else f"set method.ranks={found}, or start it without torchrun: rra run ...",
        )


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Inside, the processes that torchrun started talk to each other. device: as the configuration says."""
    if started().size == 1:
        yield Ranks()
        return
    on_gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield current()
    finally:
        part()


def part() -> None:
    """Ends the talk; what is done after it is done alone."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def own_device(device: str) -> str:
    """This process's device where the configuration says `device`: each process of a machine has a GPU of its own.

    Raises `UserError` where the machine has fewer GPUs than processes.
    """
    if started().size == 1 or not device.startswith("cuda"):
        return device
    place, count = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if place >= count:
        raise UserError(
            f"process {place} of this machine has no GPU of its own: torch sees {count}",
            f"start at most {count} processes per machine (torchrun --nproc-per-node), or set runtime.device=cpu",
        )
    return f"cuda:{place}"
