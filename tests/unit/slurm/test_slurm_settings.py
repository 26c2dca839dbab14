"""The launcher's fields: what sbatch is told by them, and what is refused before it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rra_cli.config.safety import LAUNCHER_FIELDS, override_faults
from rra_cli.errors import ConfigError
from rra_cli.slurm.settings import seconds, settings_of

CONF = Path(__file__).parents[3] / "conf" / "hydra" / "launcher" / "slurm.yaml"


def defaults() -> dict[str, Any]:
    return yaml.safe_load(CONF.read_text())


def options(**given: Any) -> set[str]:
    return set(settings_of({**defaults(), **given}).options())


def test_what_is_left_to_the_cluster_is_not_said() -> None:
    assert options() == {"--nodes=1", "--ntasks-per-node=1", "--signal=USR2@120", "--requeue"}


def test_every_field_reaches_sbatch() -> None:
    found = settings_of(
        {
            **defaults(),
            **{"partition": "gpu,gpu-long", "account": "lab", "qos": "high", "constraint": "a100|h100"},
            **{"exclude": "node[3-5],node9", "time": "1-12:00:00", "nodes": 2, "gpus": "a100:4", "cpus": 6},
            **{"memory": "16GB", "signal": 300, "requeue": False, "array_parallelism": 8},
        },
        ranks=8,
    ).options()
    assert found == [
        *("--partition=gpu,gpu-long", "--account=lab", "--qos=high", "--constraint=a100|h100"),
        *("--exclude=node[3-5],node9", "--time=2160", "--nodes=2", "--ntasks-per-node=4", "--gres=gpu:a100:4"),
        *("--cpus-per-task=6", "--mem=15259M", "--signal=USR2@300", "--no-requeue"),
    ]


def test_runtime_stands_in_for_cores_and_gpus() -> None:
    assert {"--cpus-per-task=3", "--gres=gpu:2"} <= set(settings_of({}, threads=3, gpus_per_job=2).options())
    assert "--gres=gpu:1" in settings_of({}, gpus_per_job=0.5).options(), "SLURM shares out whole ones"
    assert "--cpus-per-task=8" in settings_of({"cpus": 8}, threads=3).options()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (90, 5400),
        ("90", 5400),
        ("90:30", 5430),
        ("8:00:00", 28800),
        ("1-12", 129600),
        ("1-12:30", 131400),
        ("2-00:00:01", 172801),
    ],
)
def test_times_are_slurms(text: Any, expected: int) -> None:
    """The table in sbatch's manual: minutes, minutes:seconds, hours:minutes:seconds, days-hours and so on."""
    assert seconds(text) == expected


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("partition", "gpu --wrap=x", "expected a name as SLURM knows it"),
        ("account", "-x", "expected a name"),
        ("qos", True, "expected a name"),
        ("constraint", "a100;reboot", "expected features as sbatch takes them"),
        ("exclude", "$(reboot)", "expected names of nodes"),
        ("time", "soon", "expected minutes, H:MM:SS or D-H:MM:SS, got 'soon'"),
        ("time", 0, "expected a time of a minute or more"),
        ("time", 1.5, "expected minutes"),
        ("nodes", 0, "expected a whole number from 1"),
        ("gpus", "many", "expected a number or TYPE:NUMBER"),
        ("gpus", True, "expected a number or TYPE:NUMBER"),
        ("cpus", "4", "expected a whole number"),
        ("memory", "lots", "expected a size like 16GB"),
        ("array_parallelism", -1, "expected a whole number"),
        ("signal", 0, "expected a whole number"),
        ("requeue", "yes", "expected true or false"),
        ("wait", 1, "expected true or false"),
        ("tim", 3, "there is no such setting; did you mean 'time'"),
    ],
)
def test_what_is_wrong_is_named_in_a_line(key: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_of({key: value})
    (fault,) = caught.value.faults
    assert fault.startswith(f"hydra.launcher.{key}: ")
    assert words in fault
    assert "rra doctor" in str(caught.value.hint)


def test_all_faults_are_told_together() -> None:
    with pytest.raises(ConfigError) as caught:
        settings_of({"time": "x", "gpus": "y", "nodes": 1})
    assert len(caught.value.faults) == 2


def test_settings_that_do_not_fit_together() -> None:
    with pytest.raises(ConfigError, match=r"method\.ranks=4 is not the same number of processes on each of 3 nodes"):
        settings_of({"nodes": 3}, ranks=4)
    with pytest.raises(ConfigError, match="jobs would be told to save 120 s before the end of 60 s"):
        settings_of({"time": 1, "signal": 120})


def test_every_field_may_be_set_and_no_other() -> None:
    """Commands (`setup`, `python`, `srun_args`) are no fields: a configuration runs no code."""
    for key in defaults():
        assert key in LAUNCHER_FIELDS
        assert override_faults(f"hydra.launcher.{key}", "1") == []
    for key in ("setup", "python", "srun_args", "wrap"):
        assert override_faults(f"hydra.launcher.{key}", "1") != []
