"""Child processes of the parent, which end when it ends.

Rules of this module: it knows Linux, and nothing of what the children do.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import select
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .log import log

_ALL = signal.valid_signals()
_MOST_OPEN = 1 << 16
_OOM_SCORE = 900  # thousandths of the memory
_OURS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # the parent's alone: a child hears them from it


@dataclass(slots=True)
class Child:
    """A child process; `lifeline` is the end of a pipe that nobody writes to."""

    pid: int
    lifeline: int

    def kill(self) -> None:
        """End it at once, even where it hangs or is stopped."""
        os.kill(self.pid, signal.SIGKILL)

    def reaped(self) -> None:
        """It has ended."""
        os.close(self.lifeline)


def fork(run: Callable[[], None], keep: Iterable[int]) -> Child:
    """A child that runs a function and ends: status 0, or 70 after an exception. Of the open files it keeps the
    standard ones and those of `keep`. Raises OSError."""
    reading, writing = os.pipe()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ALL)
    try:
        pid = os.fork()
        if pid == 0:
            _be_child(run, reading, keep)
    except OSError:
        os.close(writing)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(reading)
    return Child(pid, writing)


def _be_child(run: Callable[[], None], lifeline: int, keep: Iterable[int]) -> None:
    status = os.EX_SOFTWARE
    try:
        signal.set_wakeup_fd(-1)
        for number in _OURS:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _close_all_but({0, 1, 2, lifeline, *keep})
        _die_with_parent(lifeline)
        _die_before_parent()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        run()
        status = 0
    except BaseException:
        log.exception("a process of the service has failed")
    finally:
        os._exit(status)


def _close_all_but(keep: set[int]) -> None:
    """What the parent has open is none of a child's business; and no child may hold the lifeline of another."""
    last = -1
    limit = max(_MOST_OPEN, resource.getrlimit(resource.RLIMIT_NOFILE)[1])  # the limit may have been lowered since
    for number in [*sorted(keep), limit]:
        if number > last + 1:  # of an empty range Python 3.11 closes everything
            os.closerange(last + 1, number)
        last = number


def _die_before_parent() -> None:
    """Have the kernel end this process before the parent, where memory is short: the parent begins another.

    The parent has the largest resident set, for a child does not count what it shares and has not touched. So the value
    has to outweigh that of nearly all the memory there is (proc(5), oom_score_adj).
    """
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "r+") as file:
        adjusted = int(file.read()) + _OOM_SCORE
        file.seek(0)
        file.write(str(min(1000, adjusted)))


def _die_with_parent(lifeline: int) -> None:
    """Have the kernel send us SIGKILL when the other end of the lifeline is closed, which the parent alone holds.

    This also ends a process that hangs or is stopped, as PR_SET_PDEATHSIG would, which Python does not offer.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    ended = select.poll()
    ended.register(lifeline, select.POLLIN)
    if ended.poll(0):  # before we were here
        os._exit(os.EX_SOFTWARE)
