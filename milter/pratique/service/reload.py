"""Reload: a new generation of workers beside the old one, and then in its place.

    read       a child reads and checks both files; a bad one ends it here, and nothing has changed
    begin      workers with the new settings get ready, and accept nothing yet; if they do not, nothing has changed
    change     in one moment the new ones accept and the old ones stop
    settled    nobody who accepts has the old settings

Rules of this module: a step is begun and then looked after, nothing waits.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import selectors
import time
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from pratique import config
from pratique.model import Settings
from pratique.resolver import NetworkResolver

from . import process
from .control import Answer, Reply
from .crew import START, Crew, Generation, tidy_memory
from .log import log, set_up_log
from .warm import warm_up

_READING = 120.0  # seconds for both files: a long list takes some, and a network drive may hang
_CHANGING = 20.0  # seconds until all have changed; longer than a worker may hang
_UNTIL_RESTART = ("socket", "metrics")  # settings of what is opened once


class Step(Enum):
    """How far a reload is."""

    READ = 1
    BEGIN = 2
    CHANGE = 3


@dataclass(slots=True)
class _Reload:
    """One reload."""

    pipe: int | None
    reader: int  # process
    deadline: float
    replies: list[Reply]
    step: Step = Step.READ
    data: bytearray = field(default_factory=bytearray)
    warnings: tuple[str, ...] = ()
    generation: Generation | None = None


class Reloading:
    """Takes new settings into force, one reload at a time."""

    def __init__(self, selector: selectors.BaseSelector, path: Path, crew: Crew, first: Generation) -> None:
        self.current = first
        self.good = True
        self.time = time.time()
        self._selector = selector
        self._path = path
        self._crew = crew
        self._now: _Reload | None = None
        self._waiting: list[Reply] = []
        self._again = False
        self._readers: dict[int, process.Child] = {}

    @property
    def going_on(self) -> bool:
        return self._now is not None

    def ask(self, why: str, replies: list[Reply]) -> None:
        """Reload; where one is going on, once more after it: it may have read the files before they were changed."""
        if self._now:
            self._again = True
            self._waiting += replies
            return
        log.info("reload: %s", why)
        try:
            reading, writing = os.pipe()
        except OSError as problem:
            self._refuse(replies, _unreadable(problem))
            return
        os.set_blocking(reading, False)
        try:
            reader = process.fork(lambda: _read(self._path, writing), (writing,))
        except OSError as problem:
            os.close(reading)
            self._refuse(replies, _unreadable(problem))
            return
        finally:
            os.close(writing)
        self._readers[reader.pid] = reader
        now = self._now = _Reload(reading, reader.pid, time.monotonic() + _READING, replies)
        self._selector.register(reading, selectors.EVENT_READ, lambda _: self._hear(now))

    def ended(self, pid: int) -> bool:
        """A child has ended: whether it was one that reads."""
        reader = self._readers.pop(pid, None)
        if reader:
            reader.reaped()
        return reader is not None

    def tick(self) -> None:
        """Look how far it is."""
        now = self._now
        if now is None:
            return
        late = time.monotonic() > now.deadline
        if now.generation is None:
            if late:
                self._failed(now, Answer(os.EX_TEMPFAIL, (f"the files were not read within {_READING:.0f} seconds",)))
        elif now.step is Step.BEGIN:
            self._look_at_new(now, now.generation, late)
        else:
            accepting = self._crew.accepting()
            changed = all(w.generation is now.generation for w in accepting)
            if late or (changed and len(accepting) >= now.generation.wanted):
                self._settled(now, now.generation)

    def cancel(self) -> None:
        """The service stops."""
        stopping = Answer(os.EX_UNAVAILABLE, ("the service is stopping",))
        waiting, self._waiting, self._again = self._waiting, [], False
        if self._now:
            self._end(self._now, stopping, good=self._now.step is Step.CHANGE)
        for reply in waiting:
            reply(stopping)

    # ---- the steps

    def _hear(self, now: _Reload) -> None:
        """What the child that reads has to say."""
        assert now.pipe is not None  # noqa: S101
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(now.pipe, 1 << 16):
                now.data += piece
            self._drop_pipe(now)
            found = _unpacked(now.data)
            now.data.clear()  # before the fork: 13 MB for 50,000 entries
            self._begin(now, found)

    def _begin(self, now: _Reload, found: Settings | Answer) -> None:
        if isinstance(found, Answer):
            self._failed(now, found)
            return
        before = self.current.settings
        now.warnings = tuple(
            f"{name} has changed, and stays as it is until the service is restarted"
            for name in _UNTIL_RESTART
            if getattr(found, name) != getattr(before, name)
        )
        if problem := NetworkResolver(found.dns).problem:
            now.warnings += (f"dns: {problem}",)
        settings = replace(found, socket=before.socket, metrics=before.metrics)
        now.generation = Generation(self.current.number + 1, settings)
        warm_up(settings)
        tidy_memory()
        now.step, now.deadline = Step.BEGIN, time.monotonic() + START
        for _ in range(now.generation.wanted):
            if not self._crew.begin(now.generation):
                break

    def _look_at_new(self, now: _Reload, generation: Generation, late: bool) -> None:
        new = self._crew.of(generation)
        if late or len(new) < generation.wanted:
            self._failed(now, Answer(os.EX_SOFTWARE, ("the new workers do not begin: see the service's log",)))
        elif all(w.ready for w in new):
            self._crew.accept(generation)
            self._crew.retire(self.current)
            self.current = generation
            set_up_log(generation.settings)
            now.step, now.deadline = Step.CHANGE, time.monotonic() + _CHANGING

    def _settled(self, now: _Reload, generation: Generation) -> None:
        for warning in now.warnings:
            log.warning("reload: %s", warning)
        count = len(generation.settings.senders.entries)
        text = f"generation {generation.number} is in force, {count} trusted senders, {generation.wanted} workers"
        log.info("reload: %s", text)
        self._end(now, Answer(os.EX_OK, (*(f"warning: {w}" for w in now.warnings), text)), good=True)

    def _failed(self, now: _Reload, answer: Answer) -> None:
        if now.generation:
            self._crew.kill(now.generation)
        self._complain(answer)
        self._end(now, answer, good=False)

    def _refuse(self, replies: list[Reply], answer: Answer) -> None:
        self._complain(answer)
        self.good, self.time = False, time.time()
        for reply in replies:
            reply(answer)

    def _complain(self, answer: Answer) -> None:
        for line in answer.lines:
            log.error("reload: %s", line)
        log.error("reload: nothing has changed, generation %d stays in force", self.current.number)

    def _end(self, now: _Reload, answer: Answer, good: bool) -> None:
        self._now = None
        self._drop_pipe(now)
        if now.reader in self._readers:
            self._readers[now.reader].kill()
        self.good, self.time = good, time.time()
        for reply in now.replies:
            reply(answer)
        if self._again:
            waiting, self._waiting, self._again = self._waiting, [], False
            self.ask("asked for meanwhile", waiting)

    def _drop_pipe(self, now: _Reload) -> None:
        if now.pipe is not None:
            self._selector.unregister(now.pipe)
            os.close(now.pipe)
            now.pipe = None


def _unreadable(problem: OSError) -> Answer:
    return Answer(os.EX_OSERR, (f"cannot start the process that reads the files: {problem.strerror}",))


# ---- in the child that reads -----------------------------------------------------------------------


def _read(path: Path, pipe: int) -> None:
    found: Settings | Answer
    try:
        found = config.load(path)
    except config.ConfigError as problem:
        found = Answer(os.EX_CONFIG, tuple(str(problem).splitlines()))
    with open(pipe, "wb") as out:
        pickle.dump(found, out)


def _unpacked(data: bytearray) -> Settings | Answer:
    """What the child wrote; it is ours, and read nothing but our files."""
    try:
        found = pickle.loads(data)  # noqa: S301
    except Exception:  # it has died, and written nothing or half
        found = None
    if isinstance(found, Settings | Answer):
        return found
    return Answer(os.EX_SOFTWARE, ("the files cannot be read: see the service's log",))
