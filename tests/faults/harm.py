"""What the faults share.

Rules of these modules: a fault is a function that is called while mail comes in, and returns when all is well again.
It does its harm, and looks at nothing; what became of the mail is looked at elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator

GoingOn = Callable[[], bool]
"""Whether there is still mail to come under this fault."""


def at_least(times: int, going_on: GoingOn) -> Iterator[int]:
    """Count while it is going on, and so many times in any case."""
    count = 0
    while count < times or going_on():
        yield count
        count += 1


def wait(seconds: float, going_on: GoingOn) -> None:
    """Wait so long, and while it is going on."""
    until = time.monotonic() + seconds
    while time.monotonic() < until or going_on():
        time.sleep(0.05)


def kill(pid: int, number: int) -> None:
    """Send a signal, unless the process has ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
