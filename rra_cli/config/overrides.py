"""The `key=value` arguments of a command: quoted, checked one by one against what there is, and put in Hydra's words.

Hydra stops at the first fault; here every override is looked at on its own, so that all faults are told together.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from pathlib import Path
from typing import Any

from rra_cli.config import catalog
from rra_cli.config.bind import KEYS
from rra_cli.config.catalog import Option
from rra_cli.config.describe import shown
from rra_cli.config.safety import override_faults
from rra_cli.errors import did_you_mean

# Their values are paths, in which `=`, `(`, `,`, blanks and letters beyond ASCII are ordinary.
PATH_KEYS = frozenset({"activations.path", "dataset.root", "store.root", "hydra.run.dir", "hydra.sweep.dir"})

# Each is a run folder, and all are laid out before the first starts.
MOST_JOBS = 100_000

_OVERRIDE = re.compile(r"(?P<sign>\+\+|\+|~)?(?P<key>[^=]*)(?P<equals>=)?(?P<value>.*)", re.DOTALL)
_LAUNCHER = re.compile(r"\+{0,2}hydra/launcher=(\w+)")
_QUOTED = re.compile(r"\s*(?:'.*'|\".*\"|null|(?:choice|glob|sort|shuffle)\(.*\))\s*", re.DOTALL)


@dataclass(frozen=True)
class Checked:
    """What is left of the arguments after checking.

    overrides: those without a fault, in Hydra's words. faults: a line each. experiment: its name, None without one or
    in a sweep over several. swept: the overrides with several values: key -> the single overrides. groups: all names.
    """

    overrides: tuple[str, ...]
    faults: tuple[str, ...]
    experiment: str | None
    swept: Mapping[str, tuple[str, ...]]
    groups: frozenset[str]

    @property
    def n_jobs(self) -> int:
        """How many jobs a sweep has."""
        n_jobs = 1
        for values in self.swept.values():
            n_jobs *= len(values)
        return n_jobs

    def jobs(self) -> Iterator[list[str]]:
        """The overrides of every job of a sweep, in the order of the arguments, the last swept key varying fastest."""
        yield from (list(job) for job in product(*(self.swept.get(_key(text), (text,)) for text in self.overrides)))

    def differing(self, job: Sequence[str]) -> list[str]:
        """Those of a job's overrides that set it apart, as `key=value` in the order of the arguments."""
        return [text for text in job if _key(text) in self.swept]

    def single(self) -> Iterable[list[str]]:
        """Overrides without several values: the first job's, then one for every further option of a swept group."""
        common = [text for text in self.overrides if _key(text) not in self.swept]
        first = {key: values[0] for key, values in self.swept.items()}
        yield [*common, *first.values()]
        for key, values in self.swept.items():
            for value in values[1:] if key in self.groups else ():
                yield [*common, *{**first, key: value}.values()]


def check(raw: Sequence[str], options: Mapping[str, Mapping[str, Option]], *, sweep: bool) -> Checked:
    """All overrides of a command line, checked. sweep: whether several values mean several jobs."""
    named = [match[1] for text in raw if (match := _LAUNCHER.fullmatch(text))]
    checker = _Checker(options, sweep, named[-1] if named else None)
    for text in raw:
        checker.add(text)
    keys = [_key(text) for text in checker.overrides]
    checker.faults += [f"{key}: given twice, once with several values" for key in checker.swept if keys.count(key) > 1]
    overrides, faults = tuple(checker.overrides), tuple(checker.faults)
    found = Checked(overrides, faults, checker.experiment, checker.swept, frozenset(options))
    if found.n_jobs > MOST_JOBS:
        return replace(found, faults=(*faults, f"a sweep of {found.n_jobs:,} jobs; at most {MOST_JOBS:,} are possible"))
    return found


def quote_path(value: str, *, sweep: bool = False) -> str:
    """A path as a quoted string of Hydra's grammar; in a sweep, several at commas unless the whole is a path.

    What is quoted already, null and `choice(...)` stay as they are.
    """
    if not value or _QUOTED.fullmatch(value):
        return value
    if sweep and "," in value and not Path(value).expanduser().exists():
        return ",".join(quote(part.strip()) for part in value.split(","))
    return quote(value)


def quote(text: str) -> str:
    """A quoted string of Hydra's grammar whose value is `text`."""
    # Backslashes count only in front of a quote, the closing one included.
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f"'{escaped}'"


def launcher_fault(launcher: str, key: str) -> str | None:
    """Why a key below `hydra.launcher` is no field of this launcher of ours; None where it is, or another's."""
    head, _, rest = key.partition("hydra.launcher.")
    name, fields = rest.split(".")[0], catalog.launchers().get(launcher)
    if head or not name or name.startswith("_") or fields is None or name in fields:
        return None
    near = difflib.get_close_matches(name, fields, n=1)
    others = [other for other, theirs in catalog.launchers().items() if name in theirs]
    meant = f", did you mean {near[0]!r}?" if near else f", hydra/launcher={others[0]} has;" if others else ";"
    return f"{key}: may not be set: {launcher} has no such field{meant} its fields: {', '.join(fields) or 'none'}"


class _Checker:
    def __init__(self, options: Mapping[str, Mapping[str, Option]], sweep: bool, launcher: str | None) -> None:
        from hydra.core.override_parser.overrides_parser import OverridesParser

        self.parser = OverridesParser.create()
        self.options, self.sweep, self.launcher = options, sweep, launcher
        self.overrides: list[str] = []
        self.faults: list[str] = []
        self.experiment: str | None = None
        self.swept: dict[str, tuple[str, ...]] = {}
        self.groups_seen: set[str] = set()

    def add(self, text: str) -> None:
        """Checks one override and keeps it, or notes its faults."""
        from hydra.errors import HydraException

        match = _OVERRIDE.fullmatch(text)
        assert match is not None, "the pattern matches any text"
        sign, key, value = match["sign"] or "", match["key"].strip(), match["value"]
        if not key or (match["equals"] is None and sign != "~"):
            self.faults.append(f"{text}: expected key=value{self._meant(text)}")
            return
        if key in PATH_KEYS:
            value = quote_path(value, sweep=self.sweep and not key.startswith("hydra."))
        line = f"{sign}{key}" if match["equals"] is None else f"{sign}{key}={value}"
        try:
            parsed = self.parser.parse_override(line)
        except HydraException as error:
            self.faults.append(f"{text}: {_grammar(str(error))}; quote values with special characters: {key}='...'")
            return
        except (RecursionError, ValueError) as error:
            why = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
            self.faults.append(f"{key}: its value is not understood: {why}")
            return
        try:
            if parsed.is_sweep_override() and not parsed.is_discrete_sweep():
                self.faults.append(f"{key}: a sweep over an interval has no end; list the values or use range(...)")
                return
            swept = parsed.is_sweep_override()
            values = list(islice(parsed.sweep_iterator(), MOST_JOBS + 1)) if swept else [parsed.value()]
            if len(values) > MOST_JOBS:
                self.faults.append(f"{key}: a sweep over more than {MOST_JOBS:,} values; give fewer")
                return
            texts = list(parsed.sweep_string_iterator()) if swept else [value]
        except Exception as error:
            # glob(...) and broken ranges surface only when the values are listed, as errors of any kind.
            self.faults.append(f"{text}: {' '.join(str(error).split())}")
            return
        faults = [fault for single in values for fault in override_faults(key, single)]
        if self.launcher is not None and (field := launcher_fault(self.launcher, key)) is not None:
            faults = [field, *(fault for fault in faults if not fault.startswith(f"{key}: may not be set;"))]
        if not faults and parsed.is_sweep_override() and not self.sweep:
            faults = [f"{key}: several values ({value}) need `rra run -m`; as one list write [{value}]"]
        if not faults and parsed.is_sweep_override() and key.startswith("hydra"):
            faults = [f"{key}: one value is needed, a sweep over Hydra's settings is not possible"]
        if not faults:
            faults, sign = self._faults(sign, key, values)
        if faults:
            self.faults.extend(dict.fromkeys(faults))
            return
        self.overrides.append(f"{sign}{key}" if match["equals"] is None else f"{sign}{key}={value}")
        if parsed.is_sweep_override():
            self.swept[key] = tuple(f"{sign}{key}={single}" for single in texts)

    def _faults(self, sign: str, key: str, values: list[Any]) -> tuple[list[str], str]:
        """Faults of a key that is safe, and the sign that Hydra wants to see before it."""
        if key.startswith("hydra"):
            return [], sign if sign == "~" or "/" in key else "++"
        group = key.partition("@")[0]
        if group in self.options:
            if key != group:
                return [f"{key}: a group has one place, write {group}=..."], sign
            if sign == "~":
                return [f"~{group}: a group cannot be removed; `rra ls {group}` lists what there is"], sign
            return self._group_faults(group, values), "+" if group == "experiment" else ""
        first, *rest = key.split(".")
        if first not in KEYS or (first == "seed" and rest):
            return [f"{key}: unknown key; {did_you_mean(key, {*KEYS, 'experiment'})}"], sign
        return [], "~" if sign == "~" else "++"

    def _group_faults(self, group: str, values: list[Any]) -> list[str]:
        if group in self.groups_seen:
            return [f"{group}: given twice"]
        self.groups_seen.add(group)
        faults = []
        for value in values:
            names = value if isinstance(value, list) else [value]
            if group == "experiment" and isinstance(value, list):
                faults.append("experiment: one name is expected, got a list (a sweep is -m experiment=a,b)")
            elif any(not isinstance(name, str) for name in names):
                faults.append(
                    f"{group}: expected the name of an option, got {shown(value)}; "
                    f"`rra ls {group}` lists them; single keys are set by {group}.KEY=VALUE"
                )
            else:
                known = self.options[group]
                faults += [
                    f"{group}: there is no {name!r}; {did_you_mean(name, known)}" for name in names if name not in known
                ]
        if group == "experiment" and len(values) == 1 and isinstance(values[0], str):
            self.experiment = values[0]
        return faults

    def _meant(self, text: str) -> str:
        if text in self.options.get("experiment", {}):
            return f"; did you mean +experiment={text}?"
        groups = [group for group, known in self.options.items() if text in known]
        return f"; did you mean {' or '.join(f'{group}={text}' for group in groups)}?" if groups else ""


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _grammar(message: str) -> str:
    """The first line of Hydra's complaint, without the names of its tokens."""
    first = message.splitlines()[0]
    return re.sub(r"\s*when expecting.*|\s*expecting \{.*", "", first).strip() or "not understood"
