"""What our config.yaml computes while Hydra runs a sweep. Imported by whoever lets Hydra resolve it."""

from __future__ import annotations

import hashlib
import re

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


OmegaConf.register_new_resolver("rra.job_folder", job_folder, replace=True)
