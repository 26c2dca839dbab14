"""The command `rra`: finds the sub-command and turns what goes wrong into an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from rra_cli.errors import EXIT_BUG, EXIT_OK, EXIT_USER, UserError, did_you_mean

# Command -> what it does, and the module whose `main(arguments) -> exit code` does it.
COMMANDS = {
    "run": ("run every missing stage of an experiment", "rra_cli.cli.run"),
    "plan": ("show what a run would do, with estimated time, memory and disk", "rra_cli.cli.plan"),
    "status": ("show how far runs and sweeps are, also while they run", "rra_cli.cli.status"),
    "job": ("run one job of a sweep: what launchers and job arrays call", "rra_cli.cli.sweep_job"),
    "ls": ("list experiments, models, data sets, methods, metrics ...", "rra_cli.cli.ls"),
    "compare": ("put finished runs side by side: means over seeds, how far models agree", "rra_cli.cli.compare"),
    "report": ("draw plots and report of a run folder again from its tables", "rra_cli.cli.report"),
    "gc": ("remove from the store what no run refers to", "rra_cli.cli.gc"),
    "doctor": ("what works on this machine, and what to do about what does not", "rra_cli.cli.doctor"),
    "completion": ("print the tab completion for bash, zsh or fish", "rra_cli.cli.completion"),
}

HELP = f"""\
rra: what happens to the geometry of a data set as it passes through a neural network.

usage: rra COMMAND [arguments]

{chr(10).join(f"  {name:<11} {about}" for name, (about, _) in COMMANDS.items())}

  rra COMMAND --help    says more
  rra --version         prints the version

start:  rra run +experiment=quickstart
        rra ls experiment
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line. Exit code: 0 done, 1 our fault, 2 the user's, 130 interrupted, 75 ended by a signal."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except UserError as error:
        from rra_cli.console import show_error

        show_error(error)
        return EXIT_USER
    except KeyboardInterrupt as error:
        from rra_cli.console import show_interrupted
        from rra_cli.core.signals import exit_code

        show_interrupted(error)
        return exit_code(error)
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Python would complain again when it flushes stdout at exit.
        import os

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except Exception as error:
        from rra_cli.console import show_bug

        show_bug(error)
        return EXIT_BUG


def _dispatch(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(HELP)
        return EXIT_OK
    command, *rest = arguments
    if command == "--version":
        from rra_cli import __version__

        sys.stdout.write(f"rra {__version__}\n")
        return EXIT_OK
    if command not in COMMANDS:
        if "=" in command:
            raise UserError(f"{command!r} is not a command", f"did you mean `rra run {' '.join(arguments)}`?")
        raise UserError(f"there is no command {command!r}; {did_you_mean(command, COMMANDS)}", "`rra --help` lists all")
    code: int = import_module(COMMANDS[command][1]).main(rest)
    return code
