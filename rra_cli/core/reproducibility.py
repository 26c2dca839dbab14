"""Randomness that depends on the seed and its purpose alone, and torch made deterministic."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def derive_seed(root: int, *purpose: str | int) -> int:
    """An integer in [0, 2^63) for one purpose, such as `derive_seed(seed, "order", epoch)`.

    sha256 of root and purpose, so seeds of different purposes are independent and the same everywhere, always.
    """
    text = json.dumps([int(root), *purpose], separators=(",", ":"), ensure_ascii=True)
    return int.from_bytes(hashlib.sha256(text.encode("ascii")).digest()[:8], "big") >> 1


@contextmanager
def ieee_float32() -> Iterator[None]:
    """Inside, convolutions and products of float32 on a GPU are computed in float32, not TF32, by fixed algorithms.

    So that precision is what the configuration says, whatever the device. On leaving, settings are what they were.
    """
    import torch

    backends: Any = torch.backends
    precision = (backends.cudnn.conv.fp32_precision, backends.cuda.matmul.fp32_precision)
    algorithms = (backends.cudnn.benchmark, backends.cudnn.deterministic)
    try:
        backends.cudnn.conv.fp32_precision = backends.cuda.matmul.fp32_precision = "ieee"
        backends.cudnn.benchmark, backends.cudnn.deterministic = False, True
        yield
    finally:
        backends.cudnn.conv.fp32_precision, backends.cuda.matmul.fp32_precision = precision
        backends.cudnn.benchmark, backends.cudnn.deterministic = algorithms


@contextmanager
def seed_everything(seed: int, *, strict: bool = True) -> Iterator[None]:
    """Inside, Python's, numpy's and torch's global generators start from `seed` and torch is deterministic.

    Convolutions and products of float32 are computed in float32, not TF32, so that precision is what the
    configuration says. strict: an operation that has no deterministic form raises RuntimeError; otherwise it warns.
    On leaving, generators and settings are what they were before.
    """
    import numpy as np
    import torch

    # cuBLAS reads it when it starts; without it strict mode refuses matrix products on a GPU.
    workspace = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    if workspace not in (":4096:8", ":16:8"):
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - libraries use the global one
    previous = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices=devices), ieee_float32():
            random.seed(derive_seed(seed, "python"))
            np.random.seed(derive_seed(seed, "numpy") % 2**32)  # noqa: NPY002
            torch.manual_seed(derive_seed(seed, "torch"))
            torch.use_deterministic_algorithms(True, warn_only=not strict)
            yield
    finally:
        torch.use_deterministic_algorithms(previous[0], warn_only=previous[1])
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        if workspace is None:
            os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
        else:
            os.environ["CUBLAS_WORKSPACE_CONFIG"] = workspace
