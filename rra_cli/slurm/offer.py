"""What SLURM offers on this cluster, for `rra doctor`."""

from __future__ import annotations

from collections.abc import Iterable
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

    @property
    def size(self) -> str:
        """Its nodes and what each has."""
        gpus = [each.removeprefix("gpu:").split("(")[0] for each in self.gres.split(",") if each.startswith("gpu")]
        has = f", GPUs {', '.join(gpus)}" if gpus else ""
        return f"{self.nodes} node{'' if self.nodes == '1' else 's'} of {self.cpus} cores and {self._memory}{has}"

    @property
    def _memory(self) -> str:
        digits = self.memory.rstrip("+")
        return f"{int(digits) / 1024:.3g} GiB" if digits.isdecimal() else self.memory


def partitions() -> list[Partition]:
    """The partitions that this user sees. Raises `SlurmError` where SLURM does not answer."""
    return parse_sinfo(call("sinfo", "--noheader", f"--format={_SINFO}", timeout=10.0))


def described(found: Iterable[Partition]) -> list[str]:
    """A line for every partition, with all kinds of its nodes."""
    by_name: dict[str, list[Partition]] = {}
    for each in found:
        by_name.setdefault(each.name, []).append(each)
    lines = []
    for name, kinds in by_name.items():
        first, between = kinds[0], ", " if len(kinds) == 1 else "; "
        limit = "no time limit" if first.time == "infinite" else f"at most {first.time}"
        parts = [*(kind.size for kind in kinds), limit, *([] if first.is_up else ["down"])]
        lines.append(f"partition {name}{' (default)' if first.is_default else ''}: {between.join(parts)}")
    return lines


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
