"""What goes wrong and who has to act: the user (exit 2) or us (exit 1, with the traceback)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Any

EXIT_OK = 0
EXIT_BUG = 1
EXIT_USER = 2
EXIT_RESUMABLE = 75  # EX_TEMPFAIL of sysexits.h: ended by a signal, the same command goes on
EXIT_INTERRUPTED = 130


_MOST_NEAR = 3
# What people may ask for that goes by another name here, and why that is the same.
_OTHER_WORDS = {"cosine": ("l2", "cosine distance is Euclidean distance after it")}


class UserError(Exception):
    """Something the user can mend: shown as one message with a hint on its own line, without a traceback.

    `message` says what was expected and what was found; `hint` says what to do.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n{self.hint}"


class ConfigError(UserError):
    """One or more faults in the configuration, reported together."""

    def __init__(self, faults: Iterable[str], hint: str | None = None) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults), hint)


def together(*checks: Callable[[], Any]) -> list[Any]:
    """What the checks give, in order. Makes all of them, and raises one `UserError` with every fault that they find."""
    found: list[Any] = []
    faults: list[UserError] = []
    for check in checks:
        try:
            found.append(check())
        except UserError as fault:
            faults.append(fault)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise ConfigError(
            [fault.message for fault in faults], "; ".join(filter(None, (fault.hint for fault in faults)))
        )
    return found


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence naming near matches, or all that is known where none is near."""
    names = sorted(known)
    ours, why = _OTHER_WORDS.get(name.lower(), ("", ""))
    if ours in names:
        return f"did you mean {ours!r} ({why})?"
    near = difflib.get_close_matches(name, names, n=_MOST_NEAR, cutoff=0.6)
    # `witdh` for `width_multiplier`.
    near = near or [match for match in names if difflib.get_close_matches(name, re.split(r"[._]", match), cutoff=0.75)]
    if 0 < len(near) <= _MOST_NEAR:
        return f"did you mean {' or '.join(repr(match) for match in near)}?"
    return f"known: {', '.join(names)}" if names else "none is known"
