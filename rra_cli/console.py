"""Results to stdout, errors to stderr. Nothing in rra prints but this and `reporters.py`, which shows progress."""

from __future__ import annotations

import sys
import traceback
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rra_cli.errors import ConfigError, UserError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


def stdout() -> Console:
    """Where results go; as wide as needed where it is no terminal, so that lines stay whole."""
    from rich.console import Console

    return _wide(Console(highlight=False, soft_wrap=False))


def stderr() -> Console:
    """Where progress and errors go."""
    from rich.console import Console

    return _wide(Console(stderr=True, highlight=False))


def show(what: RenderableType) -> None:
    """Prints a table or a line of text as it is (no markup) to stdout."""
    from rich.text import Text

    stdout().print(Text(printable(what)) if isinstance(what, str) else what)


def show_error(error: UserError) -> None:
    """A user's fault: what is wrong, and what to do on a line of its own."""
    from rich.text import Text

    console = stderr()
    lines = [printable(line) for line in error.message.splitlines()] or [""]
    # The lines of another error than a `ConfigError` are one fault with its details.
    several = isinstance(error, ConfigError) and len(lines) > 1
    head = f"{len(lines)} errors:\n  " if several else "error: "
    console.print(Text.assemble((head, "bold red"), ("\n  " if several else "\n").join(lines)), soft_wrap=True)
    if error.hint:
        console.print(Text.assemble(("hint: ", "bold"), printable(error.hint)), soft_wrap=True)


def printable(text: str) -> str:
    """The text without what a terminal obeys: a file may be called anything, also what clears the screen."""
    return "".join(
        ascii(letter)[1:-1] if unicodedata.category(letter)[0] == "C" and letter not in "\n\t" else letter
        for letter in text
    )


def show_bug(error: BaseException) -> None:
    """Our fault: the traceback, and that it is ours."""
    sys.stderr.write("".join(traceback.format_exception(error)))
    sys.stderr.write("This is a fault of rra, not of your input. Please report it with the lines above.\n")


def show_interrupted(interruption: KeyboardInterrupt) -> None:
    """Ctrl-C: what is finished is kept, unless a note of it says what becomes of the rest."""
    notes = getattr(interruption, "__notes__", ["what is finished is kept: the same command again resumes it"])
    sys.stderr.write(f"interrupted; {printable('; '.join(notes))}\n")


def _wide(console: Console) -> Console:
    """A file or a pipe has no width of its own: nothing is wrapped or cut there."""
    if not console.is_terminal:
        console.width = 10_000
    return console


def make_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, text_columns: int = 1) -> Any:
    """A table of plain values: `text_columns` on the left are text, the others are numbers and end at the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(title, no_wrap=True, overflow="ignore") if title else None,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        pad_edge=False,
    )
    for position, column in enumerate(columns):
        table.add_column(Text(column), justify="left" if position < text_columns else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else printable(str(cell))) for cell in row))
    return table
