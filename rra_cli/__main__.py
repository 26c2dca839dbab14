"""`python -m rra_cli` and the console command `rra`."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line and gives its exit code."""
    from rra_cli.cli import main as run_command

    return run_command(argv)


if __name__ == "__main__":
    sys.exit(main())
