"""Which layers are meant: dotted names and globs, in the order in which the network runs them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

import torch
from torch import nn

from rra_cli.activations.hooks import NAMES_HINT, Call, parse_reference, trace
from rra_cli.errors import UserError, did_you_mean

_CALL = re.compile(r"(?P<name>.+)@(?P<number>[1-9][0-9]*)")


def resolve_layers(
    module: nn.Module, patterns: Sequence[str], *, input_shape: Sequence[int] | None = None
) -> list[str]:
    """The module references (see `activations.hooks`) that the patterns name, each once.

    A pattern is a dotted name or a glob. In a glob `*`, `?` and `[...]` match within one component of the name and `**`
    any number of components: `layer1.*.conv1`, `**.relu`. `*` alone means all leaf modules (those without children).
    `@2` behind a pattern means the second call of a module that is called repeatedly.

    With `input_shape` (of one sample) a dry run gives the order of execution, a glob names only modules that are called
    and give one row per sample, and a module that is called repeatedly is named once for each call. Without it the
    order is that of registration. Raises UserError, with near matches, for a pattern that names nothing.
    """
    calls = None if input_shape is None else trace(module, example_inputs(module, input_shape))
    return resolve(module, patterns, calls)[0]


def resolve(
    module: nn.Module, patterns: Sequence[str], calls: Sequence[Call] | None
) -> tuple[list[str], dict[str, str]]:
    """`resolve_layers` where the calls are known; also the references that globs left out, with the reason."""
    names = [name for name, _ in module.named_modules() if name]
    leaves = [name for name, child in module.named_modules() if name and next(child.children(), None) is None]
    chosen: dict[str, None] = {}
    left_out: dict[str, str] = {}
    for pattern in patterns:
        if not is_glob(pattern):
            chosen[_named(module, pattern, calls)] = None
            continue
        call = _CALL.fullmatch(pattern)
        number = int(call["number"]) if call else None
        glob = call["name"] if call else pattern
        parts = glob.split(".")
        matches = set(leaves if glob == "*" else [name for name in names if _matches(parts, name.split("."))])
        if calls is None:
            found = [name if number is None else f"{name}@{number}" for name in names if name in matches]
        else:
            hits = [hit for hit in calls if hit.name in matches and number in (None, hit.number)]
            found = [hit.reference for hit in hits if not hit.problem]
            left_out |= {hit.reference: hit.problem for hit in hits if hit.problem}
        if not found:
            known = names if calls is None else list(dict.fromkeys(hit.name for hit in calls if not hit.problem))
            what = "no module whose output can be captured" if matches else "no module of the network"
            raise UserError(f"layer pattern {pattern!r} matches {what}: {did_you_mean(glob, known)}", NAMES_HINT)
        chosen |= dict.fromkeys(found)
    return _ordered(list(chosen), names, calls), {k: v for k, v in left_out.items() if k not in chosen}


def is_glob(pattern: str) -> bool:
    """Whether the pattern may name more than one module."""
    return any(character in pattern for character in "*?[")


def example_inputs(module: nn.Module, input_shape: Sequence[int]) -> torch.Tensor:
    """Two samples of zeros where the module's parameters are: enough for a dry run."""
    parameter = next(module.parameters(), None)
    return torch.zeros(2, *input_shape, device="cpu" if parameter is None else parameter.device)


def _named(module: nn.Module, reference: str, calls: Sequence[Call] | None) -> str:
    name, number = parse_reference(module, reference)
    # `relu@1` of a module that is called once is `relu`: one output has one name.
    total = 0 if calls is None else max((call.total for call in calls if call.name == name), default=0)
    return name if total == 1 and number == 1 else reference


def _ordered(references: list[str], names: Sequence[str], calls: Sequence[Call] | None) -> list[str]:
    if calls is None:
        position = {name: index for index, name in enumerate(names)}
        return sorted(references, key=lambda ref: position.get(ref, position.get(ref.rpartition("@")[0], len(names))))
    order: dict[str, int] = {}
    for index, call in enumerate(calls):
        order[call.reference] = index
        order.setdefault(call.name, index)
    return sorted(references, key=lambda ref: order.get(ref, len(calls)))


def _matches(parts: Sequence[str], components: Sequence[str]) -> bool:
    if not parts:
        return not components
    if parts[0] == "**":
        return any(_matches(parts[1:], components[start:]) for start in range(len(components) + 1))
    return bool(components) and fnmatchcase(components[0], parts[0]) and _matches(parts[1:], components[1:])
