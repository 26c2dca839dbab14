"""A run folder as a run would leave it, made from closed forms: no training and no neighbour search."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rra_cli.report.tables.writing import write_table

RESNET20 = ("input", "neck", *(f"stage{s}.block{b}" for s in (1, 2, 3) for b in (1, 2, 3)), "gap", "logits")
STAGES = ("input", *["stage 1"] * 4, *["stage 2"] * 3, *["stage 3"] * 3, "head", "head")
LEVELS = np.linspace(0.0, 1.0, 201)


def synthetic_run(
    folder: Path,
    *,
    layers: Sequence[str] = RESNET20,
    stages: Sequence[str] | None = STAGES,
    splits: Sequence[str] = ("train", "test"),
    checkpoints: Sequence[tuple[str, int | None]] = (("last", 100),),
    variants: Sequence[tuple[str, int]] = (("none", 1),),
    labels: bool = True,
    training: bool = True,
    per_class: int = 0,
    empty: Sequence[int] = (),
    id_columns: Sequence[str] = ("id_twonn",),
    tables: Sequence[str] = ("layers", "metrics", "nnls", "mu", "per_class", "class_neighbors"),
) -> Path:
    """Writes tables, training.jsonl and config.yaml; `empty` layers have collapsed. Values: `true_id`, `true_nncs`."""
    rows: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("layers", "metrics", "nnls", "mu", "per_class", "class_neighbors")
    }
    for checkpoint, epoch in checkpoints:
        for number, split in enumerate(splits):
            n, k = (15000, 150) if split == "train" else (10000, 100)
            for pool, scale in variants:
                for at, layer in enumerate(layers):
                    common = {
                        **{"checkpoint": checkpoint, "epoch": epoch, "split": split, "layer": layer, "index": at},
                        **{"pool": pool, "scale": scale, "subset": 0, "n_samples": n},
                    }
                    row: dict[str, Any] = {**common, "n_features": 4096 >> at, "k": k}
                    dead = at in empty
                    for column in id_columns:
                        value = np.nan if dead else true_id(at, len(layers), number, epoch) * (1.0 + 0.1 * (scale == 2))
                        value *= 1.1 if column != "id_twonn" else 1.0
                        row[column] = value
                        rows["metrics"].append(_metric(common, k, column, value, value / n**0.5, np.nan, dead))
                    if labels:
                        value = np.nan if dead else true_nncs(at, len(layers), number, epoch)
                        row["nncs"], row["nncs_chance"] = value, 0.0999
                        rows["metrics"].append(_metric(common, k, "nncs", value, 0.004, 0.0999, dead))
                    if stages is not None:
                        row["stage"] = stages[at]
                    rows["layers"].append(row)
                    if not dead:
                        rows["mu"].extend(_mu(common, row.get("id_twonn", 8.0)))
                    for label in range(per_class):
                        value = min(1.0, true_nncs(at, len(layers), number, epoch) * (0.8 + 0.04 * label))
                        shared = {**common, "k": k, "class": label}
                        rows["per_class"].append(
                            {**shared, "metric": "nncs", "value": value, "chance": 0.1, "n_used": 9}
                        )
                        for other in range(per_class):
                            fraction = value if other == label else (1.0 - value) / max(1, per_class - 1)
                            rows["class_neighbors"].append({**shared, "neighbor_class": other, "fraction": fraction})
                rows["nnls"].extend(_nnls(layers, stages, checkpoint, split, pool, scale, n, k, empty))
    for name, found in rows.items():
        if found and name in tables:
            write_table(found, folder / "tables", name)
    if training:
        last = max((epoch for _, epoch in checkpoints if epoch is not None), default=100)
        lines = [json.dumps(_epoch(epoch, last)) for epoch in range(last + 1)]
        (folder / "training.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "config.yaml").write_text(
        "experiment: rra_cifar10\nseed: 0\ndataset: {name: cifar10, subset_seed: 3, balanced: true}\n"
        "model: {name: resnet20, shortcut: projection}\nmethod: {name: supervised, epochs: 100}\n"
        "augment: {name: none}\n"
    )
    (folder / "provenance.json").write_text(json.dumps({"packages": {"torch": "2.13.0"}, "git": "abc"}))
    return folder


def true_id(at: int, n_layers: int, split: int, epoch: int | None) -> float:
    """A hump that grows while training."""
    depth = at / max(1, n_layers - 1)
    hump = 24.0 + 40.0 * np.exp(-(((depth - 0.32) / 0.28) ** 2))
    fall = 1.0 / (1.0 + np.exp((depth - 0.72) / 0.06))
    trained = 1.0 if epoch is None else 0.5 + 0.5 * min(1.0, epoch / 50)
    return float((5.0 + hump * fall * trained) * (1.0 + 0.05 * split))


def true_nncs(at: int, n_layers: int, split: int, epoch: int | None) -> float:
    """Near chance in the beginning, a dip, then a jump in the last stage."""
    depth = at / max(1, n_layers - 1)
    top = (0.8 - 0.22 * split) * (1.0 if epoch is None else min(1.0, (epoch + 1) / 50))
    return float(0.19 - 0.03 * np.exp(-(((depth - 0.2) / 0.12) ** 2)) + top / (1.0 + np.exp(-(depth - 0.75) / 0.05)))


def _metric(common: dict, k: int, metric: str, value: float, error: float, chance: float, dead: bool) -> dict[str, Any]:
    return {
        **common,
        **{"k": k, "metric": metric, "value": value, "std_error": np.nan if dead else error, "chance": chance},
        **{"n_used": 0 if dead else common["n_samples"], "reason": "all 15000 points coincide" if dead else ""},
        **{"engine": "exact", "recall": 1.0},
    }


def _mu(common: dict, dimension: float) -> list[dict[str, Any]]:
    """Quantiles of the law that TwoNN assumes: μ = (1 - F)^(-1/d), the largest one finite."""
    levels = np.minimum(LEVELS, 1.0 - 0.5 / common["n_samples"])
    mu = (1.0 - levels) ** (-1.0 / dimension)
    return [{**common, "quantile": float(q), "mu": float(m)} for q, m in zip(LEVELS, mu, strict=True)]


def _nnls(layers, stages, checkpoint, split, pool, scale, n, k, empty) -> list[dict[str, Any]]:
    found = []
    for i, a in enumerate(layers):
        for j, b in enumerate(layers):
            apart = stages is not None and stages[i] != stages[j]
            value = 1.0 if i == j else 0.75 * float(np.exp(-0.28 * abs(i - j))) * (0.6 if apart else 1.0)
            dead = i in empty or j in empty
            sides = {}
            for side, layer in (("a", a), ("b", b)):
                sides |= {f"model_{side}": "0123456789ab", f"checkpoint_{side}": checkpoint, f"split_{side}": split}
                sides |= {f"layer_{side}": layer, f"pool_{side}": pool, f"scale_{side}": scale}
            found.append(
                {
                    **sides,
                    **{"subset": 0, "n_samples": n, "k": k, "nnls": np.nan if dead else value},
                    **{"chance": 0.005, "std_error": 0.001, "reason": "no graph" if dead else ""},
                }
            )
    return found


def _epoch(epoch: int, last: int) -> dict[str, float]:
    t = epoch / max(1, last)
    return {
        **{
            "epoch": epoch,
            "lr": 0.01,
            "train_clean_loss": 2.2 * float(np.exp(-5 * t)) if epoch % 10 == 0 else None,
            "train_clean_accuracy": min(1.0, 1.01 - 0.9 * float(np.exp(-6 * t))) if epoch % 10 == 0 else None,
            "train_loss": 2.3 * float(np.exp(-5 * t)),
            "test_loss": 0.8 + 1.5 * float(np.exp(-9 * t)),
        },
        **{"train_accuracy": 1.0 - 0.9 * float(np.exp(-6 * t)), "test_accuracy": 0.81 - 0.71 * float(np.exp(-9 * t))},
    }


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Makes `tmp_path/<name>`, a synthetic run folder."""

    def make(name: str = "14-05-09-123456_rra_cifar10", **settings: Any) -> Path:
        return synthetic_run(tmp_path / name, **settings)

    return make
