"""`python -m rra_cli` and the console command `rra`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line and gives its exit code."""
    # Threads that wait give their core away instead of spinning: on a machine that does something else as well,
    # spinning slows small networks down many times over. OpenMP reads this once, when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from rra_cli.cli import main as run_command
    from rra_cli.core import numba_threads

    numba_threads.reserve()  # before a plug-in imports it

    code = run_command(argv)
    if argv is None and int(os.environ.get("RANK", 0)) > 0:
        # A process that took part in another's training has nothing left to do, but threads of torch's may still run:
        # taking the interpreter down below them aborts it now and then, and torchrun then ends the first process too.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
