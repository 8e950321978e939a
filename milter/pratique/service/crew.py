"""The workers: begun, watched, replaced, sent home.

Rules of this module: nothing waits. A worker that hangs is one from which nothing is heard; it is killed, and the MTA
defers what it had in hand.
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from pratique.model import Settings

from . import process, worker
from .changes import Prints
from .errors import ServiceError
from .libmilter import Listener
from .log import log
from .warm import warm_up
from .worker import Hooks, Order, Report, State

SILENCE = 15.0  # seconds without a sign of life after which a worker hangs
START = 30.0  # seconds within which a worker must be ready
_ABSENT = 5.0  # seconds in which it was we who heard nothing
_TRIES = 5  # deaths before readiness, one after the other, with which we give up
_WAITS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # seconds before the next try
_YOUNG = 10.0  # seconds: a worker that dies younger is replaced after a moment only
_RECENT = 2.0  # seconds since a worker's last report within which it surely works
_GENERATIONS = 2  # that may be leaving at a time; those before must hurry


class Source(StrEnum):
    """Where the configuration in force comes from."""

    FILES = "files"
    LAST_GOOD = "last-good"  # the files were wrong at the start


@dataclass(frozen=True, slots=True)
class Generation:
    """The configuration that a set of workers serves."""

    number: int
    settings: Settings
    source: Source = Source.FILES
    hashes: Mapping[str, str] = field(default_factory=dict)  # of the files that it was read from
    prints: Prints | None = None  # how these files looked on disk; None: not known
    first: int = 1  # the number that these very files had first
    since: float = 0.0  # when they came into force

    @property
    def wanted(self) -> int:
        """How many workers. Messages wait for DNS most of their time, and several processes with few threads each use
        less CPU than one with many: so twice the CPUs. Each takes some 4 MB of its own: so not more than 8."""
        return self.settings.workers or min(8, max(2, 2 * len(os.sched_getaffinity(0))))


@dataclass(slots=True)
class Worker:
    """A worker as the parent sees it."""

    child: process.Child
    channel: socket.socket
    generation: Generation
    slot: int
    begun: float
    heard: float
    report: Report = field(default_factory=Report)
    ready: bool = False
    told: bool = False  # to accept
    outdated: bool = False  # accepts from a socket that no MTA can reach any more
    going: bool = False  # was sent home
    ends: float | None = None  # when it is killed at the latest


class Crew:
    """All workers, of all generations."""

    def __init__(
        self, selector: selectors.BaseSelector, listener: Listener, metrics: Path | None, memory: Path | None
    ) -> None:
        self.workers: dict[int, Worker] = {}
        self.restarts = 0
        self._selector = selector
        self._listener = listener
        self._metrics = metrics
        self._memory = memory
        self._messages = self._verified = self._unchecked = 0  # of those that have ended
        self._failures = 0  # deaths before readiness since one was ready
        self._waits = 0  # failures of any kind since one was ready
        self._not_before = 0.0
        self._looked = time.monotonic()

    # ---- figures

    def of(self, generation: Generation) -> list[Worker]:
        """Those that serve a generation, or shall."""
        return [w for w in self.workers.values() if w.generation is generation and not (w.going or w.outdated)]

    def accepting(self) -> list[Worker]:
        return [w for w in self.workers.values() if w.report.state is State.ACCEPTING]

    def heard(self) -> bool:
        """Whether a worker that accepts has reported just now."""
        return any(time.monotonic() - w.heard < _RECENT for w in self.accepting())

    @property
    def messages(self) -> int:
        return self._messages + sum(w.report.messages for w in self.workers.values())

    @property
    def verified(self) -> int:
        return self._verified + sum(w.report.verified for w in self.workers.values())

    @property
    def unchecked(self) -> int:
        return self._unchecked + sum(w.report.unchecked for w in self.workers.values())

    @property
    def in_flight(self) -> int:
        return sum(w.report.in_flight for w in self.workers.values())

    # ---- begin

    def begin(self, generation: Generation) -> bool:
        """Fork a worker; whether that worked."""
        slots = {w.slot for w in self.workers.values()}
        slot = next(n for n in range(len(slots) + 1) if n not in slots)
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as problem:
            self._lacks(problem)
            return False
        ours.setblocking(False)
        keep = (self._listener.descriptor, self._listener.listening.fileno(), self._listener.nowhere.fileno())
        try:
            child = process.fork(
                lambda: worker.serve(generation.settings, self._listener, theirs, self._hooks(slot), self._memory),
                (theirs.fileno(), *keep),
            )
        except OSError as problem:
            ours.close()
            self._lacks(problem)
            return False
        finally:
            theirs.close()
        now = time.monotonic()
        begun = Worker(child, ours, generation, slot, now, now)
        self.workers[child.pid] = begun
        self._selector.register(ours, selectors.EVENT_READ, lambda _: self._hear(begun))
        return True

    def _hooks(self, slot: int) -> Hooks:
        """In the worker: what counts for Prometheus."""
        if self._metrics is None:
            return Hooks()
        from . import metrics

        try:
            return metrics.hooks(self._metrics, slot)
        except OSError as problem:
            log.warning("a worker does not count for Prometheus: %s: %s", self._metrics, problem.strerror)
            return Hooks()

    def fill(self, generation: Generation) -> None:
        """Begin what is missing of a generation, unless it is too early after a failure."""
        missing = generation.wanted - len(self.of(generation))
        if missing > 0:
            warm_up(generation.settings)
            tidy_memory()
        for _ in range(missing):
            if time.monotonic() < self._not_before or not self.begin(generation):
                return

    def accept(self, generation: Generation) -> None:
        """Have those that are ready accept."""
        for one in self.of(generation):
            if one.ready and not one.told:
                one.told = True
                _order(one, Order.ACCEPT)

    # ---- another socket

    def outdate(self) -> None:
        """The socket was opened again: all workers are to be replaced by workers that have the new one."""
        for one in self.workers.values():
            one.outdated = True
        self._not_before = 0.0

    def replace_outdated(self, generation: Generation) -> None:
        """Once enough workers accept from the new socket, let the others finish what they have."""
        if any(w.outdated and not w.going for w in self.workers.values()):
            accepting = [w for w in self.of(generation) if w.report.state is State.ACCEPTING]
            if len(accepting) >= generation.wanted:
                for one in self.workers.values():
                    if one.outdated and not one.going:
                        one.going = True
                        _order(one, Order.LEAVE)

    # ---- send home

    def retire(self, generation: Generation) -> None:
        """Nothing new for a generation; what it has open may go on. The generations before it must hurry."""
        for one in self.workers.values():
            age = generation.number - one.generation.number
            if age == 0 and not one.going:
                one.going = True
                _order(one, Order.LEAVE)
            elif age >= _GENERATIONS and one.ends is None:
                self._send_home(one)

    def stop(self) -> None:
        """All finish the messages they have, and end."""
        for one in self.workers.values():
            self._send_home(one)

    def _send_home(self, one: Worker) -> None:
        one.going = True
        one.ends = time.monotonic() + one.generation.settings.stop_timeout.total_seconds() + 2
        _order(one, Order.STOP)

    def kill(self, generation: Generation | None = None) -> None:
        """End all at once, or those of a generation."""
        for one in self.workers.values():
            if generation is None or one.generation is generation:
                one.going = True
                one.child.kill()

    # ---- watch

    def _hear(self, one: Worker) -> None:
        try:
            while data := one.channel.recv(64):
                one.report = Report.unpacked(data)
                one.heard = time.monotonic()
                if not one.ready:
                    one.ready = True
                    self._failures = self._waits = 0
                if one.report.state is State.STOPPING and not one.going:  # by itself: another one takes its place now
                    self._send_home(one)
                    self.restarts += 1
        except BlockingIOError:
            return
        except OSError:
            pass
        self._selector.unregister(one.channel)  # its end will be heard of in another way

    def tick(self) -> None:
        """Kill those that hang."""
        now = time.monotonic()
        if now - self._looked > _ABSENT:  # it is we who did not listen, stopped or starved
            for one in self.workers.values():
                one.heard = one.begun = now
        self._looked = now
        for one in self.workers.values():
            if one.ends is not None and now > one.ends:
                one.ends = now + 60
                log.warning("worker %d did not end in time: killed", one.child.pid)
                one.child.kill()
            elif now - one.heard > (SILENCE if one.ready else START):
                log.error("worker %d hangs: killed, %d messages are deferred", one.child.pid, one.report.in_flight)
                one.heard = now
                one.child.kill()

    def ended(self, pid: int, status: int) -> bool:
        """A child has ended: whether it was a worker. Raises ServiceError where no worker gets on its feet."""
        one = self.workers.pop(pid, None)
        if one is None:
            return False
        self._hear_the_last(one)
        one.child.reaped()
        self._messages += one.report.messages
        self._verified += one.report.verified
        self._unchecked += one.report.unchecked
        if one.going:
            if one.report.in_flight:
                log.warning("worker %d has ended: %d messages are deferred", pid, one.report.in_flight)
            return True
        lost = f", {one.report.in_flight} messages are deferred" if one.report.in_flight else ""
        log.error("worker %d has ended by itself (%s)%s", pid, _how(status), lost)
        if not one.ready:
            self._failed(one.generation)
        elif time.monotonic() - one.begun < _YOUNG:
            self._not_before = time.monotonic() + _WAITS[0]
        self.restarts += 1
        return True

    def _hear_the_last(self, one: Worker) -> None:
        if one.channel.fileno() in self._selector.get_map():
            self._hear(one)
        if one.channel.fileno() in self._selector.get_map():
            self._selector.unregister(one.channel)
        one.channel.close()

    def _lacks(self, problem: OSError) -> None:
        """There is no descriptor, process or memory left for a worker. That passes: it is tried again and again."""
        log.error("cannot start a worker: %s; trying again", problem.strerror)
        self._wait()

    def _wait(self) -> None:
        """Wait before the next try, longer each time."""
        self._waits += 1
        self._not_before = time.monotonic() + _WAITS[min(self._waits, len(_WAITS)) - 1]

    def _failed(self, generation: Generation) -> None:
        """A worker did not get as far as being ready."""
        self._failures += 1
        self._wait()
        if self._failures >= _TRIES and not any(w.ready for w in self.workers.values()):
            text = f"{self._failures} workers of generation {generation.number} have failed at their start: giving up"
            raise ServiceError(text, os.EX_SOFTWARE)


def tidy_memory() -> None:
    """Before a fork: what is there now is left alone by all garbage collectors, ours too, and stays shared."""
    gc.collect()
    gc.freeze()


def _order(one: Worker, order: Order) -> None:
    with contextlib.suppress(OSError):  # it has ended, or hangs: that is seen elsewhere
        one.channel.send(order.value)


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    return f"status {os.WEXITSTATUS(status)}"
