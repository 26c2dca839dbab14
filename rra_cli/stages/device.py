"""Which device the work runs on."""

from __future__ import annotations

from rra_cli.errors import UserError


def resolve_device(asked: str) -> str:
    """ "auto" is CUDA where there is one, else the CPU. Raises `UserError` where the device asked for is absent."""
    import torch

    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked.startswith("cuda"):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        index = int(asked.partition(":")[2] or 0)
        if index >= count:
            raise UserError(
                f"runtime.device is {asked!r}, but torch {torch.__version__} sees {count} CUDA devices here",
                "use runtime.device=cpu or auto; `rra doctor` says what this machine has",
            )
    return asked


def side_by_side(device: str) -> tuple[str, ...]:
    """The devices that share the work of a resolved one: all visible ones where it is "cuda" and there are several.

    A numbered device and the CPU share with nobody. CUDA_VISIBLE_DEVICES says what is visible.
    """
    if device != "cuda":
        return (device,)
    import torch

    count = torch.cuda.device_count()
    return tuple(f"cuda:{index}" for index in range(count)) if count > 1 else (device,)


def set_threads(n_threads: int | None) -> None:
    """Limits torch's threads in this thread, and in those that start later; None leaves its own choice."""
    if n_threads is not None:
        import torch

        torch.set_num_threads(n_threads)
