"""What our YAML files compute. Imported by whoever resolves them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

LONGEST = 80


def job_folder(overrides: str) -> str:
    """A job's folder name from its overrides: readable, safe on any file system, different for different jobs."""
    if not overrides:
        return "job"
    readable = re.sub(r"(^|,)[+~]+", r"\1", overrides)
    safe = re.sub(r"[^A-Za-z0-9._=,+-]+", "-", readable).strip("-.") or "job"
    if safe == readable and len(safe) <= LONGEST:
        return safe
    digest = hashlib.sha256(overrides.encode()).hexdigest()[:8]
    return f"{safe[:LONGEST]}-{digest}"


def per(name: str, special: Mapping[str, Any], otherwise: Any) -> Any:
    """The value that a name has among `special`, else the other one.

    For what an experiment sets for all methods but some: `epochs: ${rra.per:${method.name},{simclr: 1000},800}`.
    """
    return special.get(name, otherwise)


OmegaConf.register_new_resolver("rra.job_folder", job_folder, replace=True)
OmegaConf.register_new_resolver("rra.per", per, replace=True)
