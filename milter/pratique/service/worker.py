"""A worker: libmilter in threads, and in the main thread who listens to the parent.

Rules of this module: the parent says what to do, the worker says twice a second how it is. That it does proves that
its interpreter still runs: a thread that never lets go of it silences the worker, and the parent replaces it. A worker
stops by itself only where libmilter can start no threads: then it finishes what it has, and is replaced.
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
_DEAF = 20  # signs of life in which libmilter has not answered the worker itself: it can start no thread
_SPARE = 4  # descriptors that are left where a worker still accepts
_STEP = 0.05  # seconds between two looks at whether a leaving worker may go
_SETTLED = 0.2  # seconds in which libmilter has surely sent its last answer
_GREETED = 1.0  # seconds in which an MTA that has connected has surely spoken: before it does, nobody knows of it
_LINGER = 330.0  # seconds that a session of an old generation may go on: Postfix keeps an idle one for 300

_FORMAT = struct.Struct("!cQQIQ")


class Order(Enum):
    """What the parent wants."""

    ACCEPT = b"A"  # begin
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
    unchecked: int = 0  # messages that were not judged

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

    def __init__(self, hooks: Hooks, before_wait: Callable[[], object] = lambda: None) -> None:
        self.messages = self.verified = self.unchecked = self.in_flight = self.sessions = 0
        self.changed = time.monotonic()
        self.closed = False
        self._hooks = hooks
        self._before_wait = before_wait
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
            self._before_wait()
            threading.Event().wait()
        self._count_message(1)

    def ends(self) -> None:
        """A message is answered, or given up."""
        self._count_message(-1)

    def _count_message(self, one: int) -> None:
        with self._lock:
            self.changed = time.monotonic()
            self.in_flight += one

    def decided(self, decision: Decision, seconds: float) -> None:
        """A message was judged."""
        with self._lock:
            self.messages += 1
            self.verified += decision.verdict is Verdict.VERIFIED
            self.unchecked += decision.verdict is Verdict.UNCHECKED
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
    tally = Tally(hooks, listener.request_thread)
    resolver = NetworkResolver(settings.dns, hooks.asked, memory, before_wait=listener.request_thread)
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
        self._paused = self._until = 0.0
        self._waiting = select.poll()
        self._beat = self._looked = time.monotonic()
        self._has_room = True
        self._unanswered = 0
        self._orphans = Orphans(listener.listening)

    def run(self) -> NoReturn:
        self._waiting.register(self._parent, select.POLLIN)
        self._report()
        while True:
            try:
                self._turn()
            except MemoryError:  # messages are in hand, and free some when they end
                time.sleep(_STEP)

    def _turn(self) -> None:
        leaving = self._state in (State.LEAVING, State.STOPPING)
        if self._waiting.poll(1000 * (_STEP if leaving else _BEAT)):
            self._obey(self._parent.recv(1))
            self._report()
        if leaving and self._may_go():
            self._report()
            self._tally.write()
            self._resolver.stop()
            os._exit(0)
        if time.monotonic() - self._beat >= _BEAT:
            self._beat = time.monotonic()
            self._report()
            self._tally.write()
            self._look_for_room()
            self._look_for_threads()
        if time.monotonic() - self._looked >= LOOK:
            self._looked = time.monotonic()
            self._look_for_orphans()

    def _look_for_room(self) -> None:
        """Accept nothing where no descriptor is left for it: libmilter would try without a pause."""
        has_room = _room_for(_SPARE)
        if self._state is State.ACCEPTING and has_room != self._has_room:
            if has_room:
                self._listener.accept()
                log.info("descriptors are free again: accepting")
            else:
                self._listener.pause()
                log.warning("no descriptors are left: connections wait until others end")
            self._has_room = has_room

    def _look_for_threads(self) -> None:
        """Serve connections that wait though no message waits for DNS: a thread may wait for the rest of a packet."""
        if self._state is State.READY:
            return
        self._unanswered = 0 if self._listener.request_thread() else self._unanswered + 1
        if self._unanswered == _DEAF:
            self._stop_by_itself("libmilter can start no threads")

    def _look_for_orphans(self) -> None:
        if forgotten := self._orphans.count(self._tally.sessions):
            self._stop_by_itself(f"libmilter could start no thread for {forgotten} connections: they are cut")

    def _stop_by_itself(self, why: str) -> None:
        """What libmilter has forgotten is closed at the end of the process, and by nobody before."""
        if self._state is State.ACCEPTING:
            log.error("%s: this worker finishes the messages in flight and is replaced", why)
            self._stop()

    def _report(self) -> None:
        tally = self._tally
        report = Report(self._state, tally.messages, tally.verified, tally.in_flight, tally.unchecked)
        with contextlib.suppress(BlockingIOError):  # a parent that does not listen now has enough of them to read
            self._parent.send(report.packed(), socket.MSG_DONTWAIT)

    def _obey(self, order: bytes) -> None:
        match Order(order), self._state:
            case Order.ACCEPT, State.READY:
                self._listener.start(self._factory)
                self._resolver.start()  # its thread must not begin before the last fork
                self._state = State.ACCEPTING
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


def _room_for(descriptors: int) -> bool:
    """Whether so many descriptors are free."""
    with contextlib.ExitStack() as opened:
        try:
            for _ in range(descriptors):
                opened.callback(os.close, os.dup(0))
        except OSError:
            return False
    return True
