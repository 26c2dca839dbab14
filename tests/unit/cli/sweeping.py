"""What the tests of sweeps share: a quick one, faults by seed, and what became of its jobs."""

from __future__ import annotations

import json
from pathlib import Path

from command import FakePipeline

from rra_cli.config.experiment import Experiment

QUICK = ("run", "-m", "+experiment=quickstart")


def fail_for(faults: dict[int, BaseException]):
    def act(experiment: Experiment, folder: Path) -> None:
        if experiment.seed in faults:
            raise faults[experiment.seed]

    return act


def seeds(pipeline: FakePipeline) -> list[int]:
    return [experiment.seed for experiment, _, _ in pipeline.runs]


def states(folder: Path) -> dict[str, str]:
    return {path.parent.name: json.loads(path.read_text())["state"] for path in folder.glob("*/status.json")}
