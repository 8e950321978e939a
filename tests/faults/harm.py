"""What the faults share.

Rules of these modules: a fault is a function that is called while mail comes in, and returns when all is well again.
It does its harm, and counts in `Site.fired` that it did. What became of the mail is looked at elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from faults.site import Site

GoingOn = Callable[[], bool]
"""Whether there is still mail to come under this fault."""


def at_least(times: int, going_on: GoingOn) -> Iterator[int]:
    """Count while it is going on, and so many times in any case."""
    count = 0
    while count < times or going_on():
        yield count
        count += 1


def until_fired(site: Site, what: str, times: int, going_on: GoingOn) -> Iterator[int]:
    """As `at_least`, and until a counter of what went wrong is above 0, for a minute at most."""
    deadline = time.monotonic() + 60
    yield from at_least(times, lambda: going_on() or (not site.fired[what] and time.monotonic() < deadline))


def wait(seconds: float, going_on: GoingOn) -> None:
    """Wait so long, and while it is going on."""
    until = time.monotonic() + seconds
    while time.monotonic() < until or going_on():
        time.sleep(0.05)
