"""What SLURM offers on this cluster, for `rra doctor`."""

from __future__ import annotations

from dataclasses import dataclass

from rra_cli.slurm.commands import SlurmError, call

# Partition, whether it is up, time limit, nodes, CPUs and memory (MB) of a node, generic resources.
_SINFO = "%P|%a|%l|%D|%c|%m|%G"


@dataclass(frozen=True)
class Partition:
    """A partition, or the nodes of one that are alike. time, nodes, cpus, memory: as SLURM words them; memory in MB."""

    name: str
    is_default: bool
    is_up: bool
    time: str
    nodes: str
    cpus: str
    memory: str
    gres: str

    def __str__(self) -> str:
        named = f"partition {self.name}" + (" (default)" if self.is_default else "")
        gpus = [each.removeprefix("gpu:").split("(")[0] for each in self.gres.split(",") if each.startswith("gpu")]
        has = f", GPUs {', '.join(gpus)}" if gpus else ""
        size = f"{self.nodes} node{'' if self.nodes == '1' else 's'} of {self.cpus} cores and {self._memory}{has}"
        limit = "no time limit" if self.time == "infinite" else f"at most {self.time}"
        return f"{named}: {size}, {limit}" + ("" if self.is_up else ", down")

    @property
    def _memory(self) -> str:
        digits = self.memory.rstrip("+")
        return f"{int(digits) / 1024:.3g} GiB" if digits.isdecimal() else self.memory


def partitions() -> list[Partition]:
    """The partitions that this user sees. Raises `SlurmError` where SLURM does not answer."""
    return parse_sinfo(call("sinfo", "--noheader", f"--format={_SINFO}", timeout=10.0))


def parse_sinfo(text: str) -> list[Partition]:
    """The rows of sinfo in the format asked for."""
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 7:
            name, up, *rest = cells
            found.append(Partition(name.rstrip("*"), name.endswith("*"), up == "up", *rest))
    return list(dict.fromkeys(found))


def has_accounting() -> bool:
    """Whether sacct answers."""
    try:
        call("sacct", "--noheader", "--parsable2", "--allocations", "--starttime=now", timeout=10.0)
    except SlurmError:
        return False
    return True
