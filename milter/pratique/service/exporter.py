"""The process that serves the figures, as the parent sees it.

Rules of this module: metrics are for looking on. That they fail is logged, and changes nothing for mail.
"""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

from . import process
from .crew import Crew, Generation
from .log import log
from .reload import Reloading
from .zeros import zeros

_AGAIN = 5.0  # seconds after which one that has ended is replaced
_NEWS = 1.0  # seconds between two messages to it
SILENCE = 15  # messages that it has not answered after which it hangs


class Exporter:
    """Begins it, replaces it, and tells it what only the parent knows."""

    def __init__(self, listening: socket.socket, folder: Path):
        from . import metrics  # here, before the first fork, and only where they are wanted

        self._metrics = metrics
        self._listening = listening
        self._folder = folder
        self._child: process.Child | None = None
        self._channel: socket.socket | None = None
        self._begin_at = self._tell_at = 0.0
        self._unanswered = 0
        self._generation: Generation | None = None

    def tick(self, now: float, crew: Crew, reloading: Reloading, pending: bool) -> None:
        """Begin it where it is missing, and tell it the news."""
        if self._generation is not reloading.current:
            self._generation = reloading.current
            try:
                self._metrics.tell_zeros(self._folder, zeros(self._generation.settings))
            except OSError as problem:
                log.warning("metrics: %s: %s: counters appear when they first count", self._folder, problem.strerror)
        if self._child is None and now >= self._begin_at:
            self._begin_at = now + _AGAIN
            self._begin()
        if self._channel and now >= self._tell_at:
            self._tell_at = now + _NEWS
            figures = self._metrics.Figures(
                workers=len(crew.accepting()),
                restarts=crew.restarts,
                generation=reloading.current.number,
                in_flight=crew.in_flight,
                reload_good=reloading.good,
                reload_time=reloading.time,
                source=reloading.current.source.value,
                pending=pending,
            )
            with contextlib.suppress(OSError):  # it has ended, or has enough to read
                self._channel.send(figures.packed())
            self._watch(self._channel)

    def _watch(self, channel: socket.socket) -> None:
        """Kill it where it hangs. Messages are counted, not seconds: in those it may be we who were stopped."""
        self._unanswered += 1
        with contextlib.suppress(OSError):
            while channel.recv(64):
                self._unanswered = 0
        if self._unanswered > SILENCE and self._child:
            log.error("metrics: the process that serves them hangs: killed")
            self._unanswered = 0
            self._child.kill()

    def _begin(self) -> None:
        try:
            self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as problem:
            log.error("metrics: cannot begin the process that serves them: %s", problem.strerror)
            return
        self._channel.setblocking(False)
        self._tell_at = self._unanswered = 0
        try:
            self._child = process.fork(
                lambda: self._metrics.export(self._listening, self._folder, theirs),
                (self._listening.fileno(), theirs.fileno()),
            )
        except OSError as problem:
            log.error("metrics: cannot begin the process that serves them: %s", problem.strerror)
        finally:
            theirs.close()

    def ended(self, pid: int, expected: bool) -> bool:
        """A child has ended: whether it was this one."""
        if self._child is None or self._child.pid != pid:
            return False
        if not expected:
            log.error("metrics: the process that serves them has ended; there will be another")
        self._child.reaped()
        self._child = None
        if self._channel:
            self._channel.close()
            self._channel = None
        self._begin_at = time.monotonic() + _AGAIN
        return True

    def kill(self) -> None:
        if self._child:
            self._child.kill()
