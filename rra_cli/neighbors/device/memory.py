"""How much of a device one step of a search may take, and what happens where that was too much."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from rra_cli.core.resources import format_bytes
from rra_cli.errors import UserError

T = TypeVar("T")

_LEAST = 64  # bytes with which every step takes one row, or one pair of rows


def free_on(device: torch.device, memory: int) -> int:
    """Bytes that tensors can still take on a CUDA device; `memory` on any other."""
    if device.type != "cuda":
        return memory
    free, _ = torch.cuda.mem_get_info(device)
    return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device had too little memory: torch's own error, or that of a CUDA library under it."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        sign in str(error) for sign in ("CUDA error: out of memory", "_STATUS_ALLOC_FAILED")
    )


@dataclass
class Workspace:
    """Bytes for one step on a device, halved whenever that step ran out of memory; a step reads `size` when it starts.

    features: of a row, for the message.
    """

    device: torch.device
    size: int
    features: int

    def run(self, step: Callable[[], T]) -> T:
        """What `step` returns, tried again with half the workspace as often as needed; it must start from nothing.

        Raises `UserError` where even the least was too much.
        """
        while True:
            try:
                return step()
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            # Here the error is gone, and with it its frames and their tensors.
            if self.size <= _LEAST:
                free = (
                    f", with {format_bytes(free_on(self.device, 0))} free there" if self.device.type == "cuda" else ""
                )
                raise UserError(
                    f"{self.device} ran out of memory with a single row of {self.features} features at a time{free}",
                    "end what else uses that device, choose another one (device=cuda:1), or use device=cpu",
                )
            self.size = max(_LEAST, self.size // 2)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
