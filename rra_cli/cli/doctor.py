"""`rra doctor`: what works on this machine, and what to do about what does not."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from rra_cli.errors import EXIT_OK, EXIT_USER, UserError

HELP = """\
rra doctor: versions, devices, data, disk, SLURM: what works here, and what to do about what does not.

usage: rra doctor [--store [DIR]]

  --store [DIR]   verifies the checksums of everything in the store (default: store in the outputs folder)

Exit code 2 if something must be mended before experiments can run, else 0.
"""
PACKAGES = (
    "torch",
    "torchvision",
    "hydra-core",
    "numpy",
    "pandas",
    "scikit-learn",
    "pynndescent",
    "numba",
    "matplotlib",
)
State = Literal["ok", "note", "bad"]
_MARKS: dict[State, tuple[str, str]] = {"ok": ("ok  ", "green"), "note": ("note", "yellow"), "bad": ("BAD ", "red")}
LOW_DISK = 5 * 10**9


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what was found, and what to do ("" where nothing is needed)."""

    state: State
    what: str
    found: str
    todo: str = ""


def main(arguments: Sequence[str]) -> int:
    """Runs the command and gives its exit code."""
    if any(argument in ("-h", "--help") for argument in arguments):
        sys.stdout.write(HELP)
        return EXIT_OK
    if arguments and arguments[0] == "--store" and len(arguments) <= 2:
        return _verify_store(Path(arguments[1]).expanduser() if len(arguments) == 2 else None)
    if arguments:
        raise UserError(f"rra doctor: {' '.join(arguments)} is not understood", "`rra doctor --help`")
    bad = False
    for check in CHECKS:
        for finding in check():
            bad = bad or finding.state == "bad"
            _show(finding)
    return EXIT_USER if bad else EXIT_OK


def versions() -> Iterator[Finding]:
    """Python and the packages that results depend on."""
    from rra_cli import __version__

    yield Finding("ok", "rra", f"{__version__}, Python {sys.version.split()[0]}")
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            yield Finding("bad", package, "is not installed", "install rra again: pip install --force-reinstall rra")
    yield Finding("ok", "packages", ", ".join(found))


def torch_state() -> Iterator[Finding]:
    """Whether torch and torchvision load, and the devices they see."""
    try:
        import torch

        yield Finding("ok", "torch", f"{torch.__version__}, {torch.get_num_threads()} threads")
    except (ImportError, OSError) as error:
        yield Finding(
            "bad", "torch", f"does not load: {error}", "install it again, see https://pytorch.org/get-started"
        )
        return
    try:
        from rra_cli.data.torchvision_import import import_torchvision

        yield Finding("ok", "torchvision", str(import_torchvision().__version__))
    except (ImportError, OSError, RuntimeError) as error:
        yield Finding("bad", "torchvision", f"does not load: {error}", "install the version that belongs to this torch")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            name = torch.cuda.get_device_name(index)
            yield Finding("ok", f"cuda:{index}", f"{name}, {_size(free)} of {_size(total)} free")
    elif Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi"):
        why = "this torch is built without CUDA" if torch.version.cuda is None else "the driver may be too old"
        yield Finding("note", "cuda", f"a driver is here, but torch sees no device: {why}", "install torch with CUDA")
    else:
        yield Finding("ok", "cuda", "none: everything runs on the CPU (runtime.device=auto)")


def machine() -> Iterator[Finding]:
    """Cores and memory."""
    from rra_cli.core.resources import free_memory

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding("ok", "machine", f"{cores} cores, {_size(free_memory())} of memory free")


def outputs() -> Iterator[Finding]:
    """Whether run folders and the store can be written, and how much fits."""
    from rra_cli.config import outputs_root
    from rra_cli.core.resources import free_disk

    root = outputs_root()
    source = "RRA_OUTPUTS" if os.environ.get("RRA_OUTPUTS") else "the working directory"
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=existing, prefix=".rra-"):
            pass
    except OSError as error:
        yield Finding("bad", "outputs", f"{root} ({source}) cannot be written: {error.strerror}", "set RRA_OUTPUTS=DIR")
        return
    free = free_disk(existing)
    yield Finding("ok", "outputs", f"{root} (from {source})")
    if free < LOW_DISK:
        todo = "set RRA_OUTPUTS or store.root to a larger disk, or activations.keep=until_measured"
        yield Finding("note", "disk", f"only {_size(free)} free there", todo)
    else:
        yield Finding("ok", "disk", f"{_size(free)} free there")


def data_sets() -> Iterator[Finding]:
    """Which data sets are here, whole."""
    from rra_cli.core.component import components
    from rra_cli.data.dataset import SPLITS, ImageDataset
    from rra_cli.data.official_files import data_root

    source = "from RRA_DATA" if os.environ.get("RRA_DATA") else "RRA_DATA is unset"
    yield Finding("ok", "data folder", f"{data_root(None)} ({source})")
    for name, cls in sorted(components("dataset").items()):
        if not issubclass(cls, ImageDataset) or not cls.published:
            continue
        try:
            sizes = {split: len(cls(download=False).load(split)) for split in SPLITS}
            yield Finding("ok", name, ", ".join(f"{size} {split}" for split, size in sizes.items()))
        except UserError as error:
            error.message = error.message.removesuffix("; dataset.download is false")
            todo = "it is downloaded when it is used; without a network: " + (error.hint or "see the message")
            yield Finding("note", name, error.message.replace("\n", " "), todo)


def slurm() -> Iterator[Finding]:
    """Whether this is a SLURM machine or job, and what it offers."""
    from rra_cli.slurm import offer
    from rra_cli.slurm.commands import SlurmError, available

    job = os.environ.get("SLURM_JOB_ID")
    if job:
        yield Finding("ok", "SLURM", f"inside of job {job}")
    if not available("sbatch", "squeue", "sinfo"):
        if not job:
            yield Finding("ok", "SLURM", "none: jobs of a sweep run here, side by side with hydra/launcher=joblib")
        return
    try:
        for line in offer.described(offer.partitions()):
            yield Finding("ok", "SLURM", line)
    except SlurmError as error:
        yield Finding("note", "SLURM", f"is installed, but does not answer: {error}", "ask who runs the cluster")
        return
    if offer.has_accounting():
        yield Finding("ok", "SLURM", "accounting answers: how a lost job ended is known as long as that keeps it")
    else:
        yield Finding("ok", "SLURM", "no accounting: how a lost job ended is known for some minutes only")


def plug_ins() -> Iterator[Finding]:
    """Installed plug-ins and whether they load."""
    from rra_cli.core.component import plugins

    for plugin in plugins():
        try:
            plugin.load()
            yield Finding("ok", "plug-in", f"{plugin.name} ({plugin.value})")
        except Exception as error:
            yield Finding("bad", "plug-in", f"{plugin.name} does not load: {error}", "mend or uninstall that package")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    versions, torch_state, machine, outputs, plug_ins, data_sets, slurm
)  # fmt: skip


def _verify_store(root: Path | None) -> int:
    from rra_cli.config import outputs_root
    from rra_cli.console import show
    from rra_cli.core.store import Store
    from rra_cli.reporters import make_reporter

    folder = outputs_root() / "store" if root is None else root
    if not folder.is_dir():
        raise UserError(f"there is no store at {folder}", "rra doctor --store DIR, where DIR is what store.root was")
    with make_reporter().task("verify the store") as progress:
        found = Store(folder).verify(progress)
    for line in found.lines():
        show(line)
    return EXIT_OK if found.ok else EXIT_USER


def _show(finding: Finding) -> None:
    from rich.text import Text

    from rra_cli.console import show

    mark, style = _MARKS[finding.state]
    show(Text.assemble((mark, style), f"  {finding.what:<12} {finding.found}"))
    if finding.todo:
        show(Text.assemble("                   ", ("→ ", "bold"), finding.todo))


def _size(n_bytes: float) -> str:
    from rra_cli.core.resources import format_bytes

    return format_bytes(n_bytes)
