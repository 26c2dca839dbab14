"""What holds for all tests."""

from __future__ import annotations

import signal

# A shell that starts the tests in the background has them, and every process that they start, ignore Ctrl-C: tests
# that send it would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)
