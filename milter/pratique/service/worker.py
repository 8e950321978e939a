"""A worker: libmilter in threads, and in the main thread who listens to the parent.

Rules of this module: the parent says what to do, the worker says twice a second how it is. That it does proves that
its interpreter still runs: a thread that never lets go of it silences the worker, and the parent replaces it. It goes
by itself only where libmilter has forgotten connections.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NamedTuple, NoReturn

from pratique.filter import Filter, Mta
from pratique.model import Decision, Settings, Verdict
from pratique.resolver import NetworkResolver

from .libmilter import Listener
from .log import log
from .orphans import Orphans

_BEAT = 0.5  # seconds between two signs of life
LOOK = 5.0  # seconds between two looks at connections that nobody has taken up
CROWD = 3  # messages in hand at a time, which is said at once
_STEP = 0.05  # seconds between two looks at whether a leaving worker may go
_SETTLED = 0.2  # seconds in which libmilter has surely sent its last answer
_GREETED = 1.0  # seconds in which an MTA that has connected has surely spoken: before it does, nobody knows of it
_LINGER = 330.0  # seconds that a session of an old generation may go on: Postfix keeps an idle one for 300

_FORMAT = struct.Struct("!cQQII")


class Order(Enum):
    """What the parent wants."""

    ACCEPT = b"A"  # begin, or go on after a rest
    REST = b"R"  # leave what comes to other workers
    LEAVE = b"L"  # accept no more; the sessions that are open may go on till they end
    STOP = b"S"  # accept no more; finish the messages that have begun


class State(Enum):
    """What a worker does."""

    READY = b"R"  # can begin
    ACCEPTING = b"A"
    LEAVING = b"L"
    STOPPING = b"S"


class Report(NamedTuple):
    """A sign of life."""

    state: State = State.READY
    messages: int = 0
    verified: int = 0
    in_flight: int = 0
    load: int = 0  # how many were in flight since the last sign, on average, in thousandths

    def packed(self) -> bytes:
        return _FORMAT.pack(self.state.value, *self[1:])

    @classmethod
    def unpacked(cls, data: bytes) -> Report:
        state, *figures = _FORMAT.unpack(data)
        return cls(State(state), *figures)


@dataclass(frozen=True, slots=True)
class Hooks:
    """What is counted besides: for Prometheus, where that is on."""

    decided: Callable[[Decision, float], None] = lambda _decision, _seconds: None
    asked: Callable[[str, str, float, bool], None] = lambda _rdtype, _status, _seconds, _stale: None
    write: Callable[[], None] = lambda: None  # is called by one thread, twice a second and at the end


class Tally:
    """Counts messages, and keeps new ones from beginning in a worker that stops. Called by all sessions."""

    def __init__(self, hooks: Hooks) -> None:
        self.messages = self.verified = self.in_flight = self.sessions = 0
        self.changed = self._counted = self._asked = time.monotonic()
        self._spent = 0.0  # by all messages together since `load` was asked, in seconds
        self.closed = False
        self.crowded: Callable[[], None] = lambda: None  # is called where messages begin while others are in hand
        self._hooks = hooks
        self._lock = threading.Lock()

    def opens(self) -> None:
        """A connection has spoken its first word."""
        self._count_session(1)

    def closes(self) -> None:
        """A connection has ended."""
        self._count_session(-1)

    def _count_session(self, one: int) -> None:
        with self._lock:
            self.changed = time.monotonic()
            self.sessions += one

    def begins(self) -> None:
        """A message begins. In a worker that stops it does not: its session is cut soon, and the MTA defers it."""
        if self.closed:
            threading.Event().wait()
        self._count_message(1)
        if self.in_flight >= CROWD:
            self.crowded()

    def ends(self) -> None:
        """A message is answered, or given up."""
        self._count_message(-1)

    def _count_message(self, one: int) -> None:
        with self._lock:
            self.changed = self._spend()
            self.in_flight += one

    def _spend(self) -> float:
        now = time.monotonic()
        self._spent += self.in_flight * (now - self._counted)
        self._counted = now
        return now

    def load(self) -> float:
        """How many messages were in flight since this was asked last, on average."""
        with self._lock:
            now = self._spend()
            mean = self._spent / max(now - self._asked, 1e-6)
            self._spent, self._asked = 0.0, now
        return mean

    def decided(self, decision: Decision, seconds: float) -> None:
        """A message was judged."""
        with self._lock:
            self.messages += 1
            self.verified += decision.verdict is Verdict.VERIFIED
        self._without_harm(self._hooks.decided, decision, seconds)

    def write(self) -> None:
        """Have what was counted written where others see it."""
        self._without_harm(self._hooks.write)

    @staticmethod
    def _without_harm(count: Callable[..., None], *facts: object) -> None:
        try:
            count(*facts)
        except Exception:  # a count that cannot be kept stops no mail
            log.exception("cannot count messages")

    def quiet(self, seconds: float) -> bool:
        """Whether nothing has come or gone for some time."""
        return time.monotonic() - self.changed > seconds


def serve(settings: Settings, listener: Listener, parent: socket.socket, hooks: Hooks, memory: Path | None) -> NoReturn:
    """Wait for the parent's order to begin, serve, and end the process when it says so."""
    tally = Tally(hooks)
    resolver = NetworkResolver(settings.dns, hooks.asked, memory)
    factory = functools.partial(Filter, settings, resolver, tally)
    _Worker(settings, listener, parent, tally, factory, resolver).run()


class _Worker:
    def __init__(
        self, settings: Settings, listener: Listener, parent: socket.socket, tally: Tally,
        factory: Callable[[Mta], Filter], resolver: NetworkResolver,
    ) -> None:  # fmt: skip
        self._stop_timeout = settings.stop_timeout.total_seconds()
        self._listener = listener
        self._parent = parent
        self._tally = tally
        self._factory = factory
        self._resolver = resolver
        self._state = State.READY
        self._paused = self._until = self._cried = 0.0
        tally.crowded = self._cry
        self._orphans = Orphans()

    def run(self) -> NoReturn:
        waiting = select.poll()
        waiting.register(self._parent, select.POLLIN)
        self._report()
        beat = looked = time.monotonic()
        while True:
            leaving = self._state in (State.LEAVING, State.STOPPING)
            if waiting.poll(1000 * (_STEP if leaving else _BEAT)):
                self._obey(self._parent.recv(1))
                self._report()
            if leaving and self._may_go():
                self._report()
                self._tally.write()
                self._resolver.stop()
                os._exit(0)
            if time.monotonic() - beat >= _BEAT:
                self._report()
                self._tally.write()
                beat = time.monotonic()
            if time.monotonic() - looked >= LOOK:
                self._look_for_orphans()
                looked = time.monotonic()

    def _look_for_orphans(self) -> None:
        """Where libmilter could not begin a thread it may have forgotten more than can be seen: make way for a worker
        that has forgotten nothing."""
        if cut := self._orphans.close():
            text = (
                "no thread could be begun for %d connections: their messages are deferred, and this worker is replaced"
            )
            log.error(text, cut)
            if self._state is State.ACCEPTING:
                self._stop()

    def _cry(self) -> None:
        """Tell the parent before the next beat that help is wanted."""
        now = time.monotonic()
        if now - self._cried > _BEAT:
            self._cried = now
            self._report()

    def _report(self) -> None:
        tally = self._tally
        load = round(1000 * tally.load())
        report = Report(self._state, tally.messages, tally.verified, tally.in_flight, load)
        with contextlib.suppress(BlockingIOError):  # a parent that does not listen now has enough of them to read
            self._parent.send(report.packed(), socket.MSG_DONTWAIT)

    def _obey(self, order: bytes) -> None:
        match Order(order), self._state:
            case Order.ACCEPT, State.READY:
                self._listener.start(self._factory)
                self._resolver.start()  # its thread must not begin before the last fork
                self._state = State.ACCEPTING
            case Order.ACCEPT, State.ACCEPTING:
                self._listener.resume()
            case Order.REST, State.ACCEPTING:
                self._listener.pause()
            case Order.LEAVE, _:
                self._pause(State.LEAVING, _LINGER)
            case Order.STOP, _:
                self._stop()

    def _stop(self) -> None:
        self._tally.closed = True
        self._pause(State.STOPPING, self._stop_timeout)

    def _pause(self, state: State, seconds: float) -> None:
        self._listener.pause()
        self._state, self._paused = state, time.monotonic()
        self._until = self._paused + seconds

    def _may_go(self) -> bool:
        late = time.monotonic() > self._until
        if self._state is State.STOPPING:
            return late or (self._tally.in_flight == 0 and self._tally.quiet(_SETTLED))
        if late:
            self._stop()
        long_enough = time.monotonic() - self._paused > _GREETED
        return self._tally.sessions == 0 and self._tally.quiet(_SETTLED) and long_enough
