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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from pratique import config
from pratique.configuration_diff import effects
from pratique.model import Address, Entry, Settings, TrustedList
from pratique.resolver import NetworkResolver

from . import process
from .changes import Prints
from .control import Answer, Request
from .crew import START, Crew, Generation, Source, tidy_memory
from .inforce import keep, unchanged_look
from .keeper import Keeper
from .lastgood import Kept, Store, hashes
from .log import log, set_up_log
from .warm import warm_up

_READING = 120.0  # seconds for both files: a long list takes some, and a network drive may hang
_CHANGING = 20.0  # seconds until all have changed; longer than a worker may hang
_UNTIL_RESTART = ("socket", "metrics", "state_directory")  # settings of what is opened once
_LONGEST_SAID = 1000  # characters of one of them
_MOST_SAID = 20  # changes in trust, or names of removed senders, in the log


@dataclass(frozen=True, slots=True)
class Found:
    """Good files, as the child that reads them found them."""

    settings: Settings
    hashes: dict[str, str]
    prints: Prints | None
    staged: Path | None
    trust: tuple[str, ...]  # what differs in trust from what is in force, a line each
    removed: str  # trusted senders that are gone


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
    requests: list[Request]
    step: Step = Step.READ
    data: bytearray = field(default_factory=bytearray)
    warnings: tuple[str, ...] = ()
    found: Found | None = None
    generation: Generation | None = None


class Reloading:
    """Takes new settings into force, one reload at a time."""

    def __init__(
        self, selector: selectors.BaseSelector, path: Path, crew: Crew, first: Generation, store: Store | None,
        keeper: Keeper,
    ) -> None:  # fmt: skip
        self.current = first
        self.good = True
        self.time = time.time()
        self._selector = selector
        self._path = path
        self._crew = crew
        self._store = store
        self._keeper = keeper
        self._now: _Reload | None = None
        self._waiting: list[Request] = []
        self._again = False
        self._readers: dict[int, process.Child] = {}

    @property
    def going_on(self) -> bool:
        return self._now is not None

    def ask(self, why: str, requests: list[Request]) -> None:
        """Reload; where one is going on, once more after it: it may have read the files before they were changed."""
        if self._now:
            log.info("reload: %s: after the one that is going on", why)
            self._again = True
            self._waiting += requests
            return
        log.info("reload: %s", why)
        try:
            reading, writing = os.pipe()
        except OSError as problem:
            self._refuse(requests, _unreadable(problem))
            return
        os.set_blocking(reading, False)
        uid = requests[-1].uid if requests else None
        try:
            reader = process.fork(lambda: _read(self._path, self.current, self._store, uid, writing), (writing,))
        except OSError as problem:
            os.close(reading)
            self._refuse(requests, _unreadable(problem))
            return
        finally:
            os.close(writing)
        self._readers[reader.pid] = reader
        now = self._now = _Reload(reading, reader.pid, time.monotonic() + _READING, requests)
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
            # Whoever asked is told that it is in force once a power cut cannot undo it.
            if late or (changed and len(accepting) >= now.generation.wanted and not self._keeper.busy):
                self._settled(now, now.generation)

    def cancel(self) -> None:
        """The service stops."""
        stopping = Answer(os.EX_UNAVAILABLE, ("the service is stopping",))
        waiting, self._waiting, self._again = self._waiting, [], False
        if self._now:
            self._end(self._now, stopping, good=self._now.step is Step.CHANGE)
        _reply(waiting, stopping)

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

    def _begin(self, now: _Reload, found: Found | Answer) -> None:
        if isinstance(found, Answer):
            self._failed(now, found)
            return
        before = self.current.settings
        now.warnings = tuple(
            f"{name} has changed, and stays as it is until the service is restarted"
            for name in _UNTIL_RESTART
            if getattr(found.settings, name) != getattr(before, name)
        )
        if problem := NetworkResolver(found.settings.dns).problem:
            now.warnings += (f"dns: {problem}",)
        if found.removed:
            now.warnings += (found.removed,)
        now.found = found
        number = self.current.number + 1
        same = found.hashes == self.current.hashes
        first, since = (self.current.first, self.current.since) if same else (number, time.time())
        settings = replace(
            found.settings, **{name: getattr(before, name) for name in _UNTIL_RESTART}, generation=number
        )
        now.generation = Generation(number, settings, Source.FILES, found.hashes, found.prints, first, since)
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
            if now.found and now.found.staged:
                self._keeper.commit(now.found.staged)

    def _settled(self, now: _Reload, generation: Generation) -> None:
        for warning in now.warnings:
            log.warning("reload: %s", warning)
        if now.found:
            for line in now.found.trust:
                log.info("reload: %s", line)
        count = len(generation.settings.senders.entries)
        text = f"generation {generation.number} is in force, {count} trusted senders, {generation.wanted} workers"
        log.info("reload: %s", text)
        self._end(now, Answer(os.EX_OK, (*(f"warning: {w}" for w in now.warnings), text)), good=True)

    def _failed(self, now: _Reload, answer: Answer) -> None:
        if now.generation:
            self._crew.kill(now.generation)
        self._complain(answer)
        self._end(now, answer, good=False)

    def _refuse(self, requests: list[Request], answer: Answer) -> None:
        self._complain(answer)
        self.good, self.time = False, time.time()
        _reply(requests, answer)

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
        _reply(now.requests, answer)
        if self._again:
            waiting, self._waiting, self._again = self._waiting, [], False
            self.ask("asked for meanwhile", waiting)

    def _drop_pipe(self, now: _Reload) -> None:
        if now.pipe is not None:
            self._selector.unregister(now.pipe)
            os.close(now.pipe)
            now.pipe = None


def _reply(requests: Iterable[Request], answer: Answer) -> None:
    for request in requests:
        if request.reply:
            request.reply(answer)


def _unreadable(problem: OSError) -> Answer:
    return Answer(os.EX_OSERR, (f"cannot start the process that reads the files: {problem.strerror}",))


# ---- in the child that reads -----------------------------------------------------------------------


def _read(path: Path, current: Generation, store: Store | None, uid: int | None, pipe: int) -> None:
    reading = config.read(path, review=True)
    if reading.settings is None:
        found: Found | Answer = Answer(os.EX_CONFIG, tuple(str(problem) for problem in reading.errors))
    else:
        found = _compared(path, reading.settings, reading.texts, current, store, uid)
    with open(pipe, "wb") as out:
        pickle.dump(found, out)


def _compared(
    path: Path, settings: Settings, texts: Mapping[Path, bytes], current: Generation, store: Store | None,
    uid: int | None,
) -> Found:  # fmt: skip
    """What good files change, and a copy of them for the next start."""
    read = hashes(texts)
    same = read == current.hashes
    number = current.number + 1
    first, since = (current.first, current.since) if same else (number, time.time())
    return Found(
        settings,
        read,
        unchanged_look(path, settings.sources, read),
        keep(store, Kept(texts, number, first, since, uid)) if store else None,
        tuple(_differences(current.settings, settings)),
        _removed(current.settings.senders, settings.senders),
    )


def _differences(old: Settings, new: Settings) -> Iterable[str]:
    """What a reload changes for mail: in trust first, then in what is held, then in who is judged; bounded."""
    # A copy: what the list has found out about itself must not go through the pipe.
    changes = effects(old, replace(new, senders=TrustedList(new.senders.entries)))
    yield from (f"{change.group}: {change}"[:_LONGEST_SAID] for change in changes[:_MOST_SAID])
    if len(changes) > _MOST_SAID:
        yield f"and {len(changes) - _MOST_SAID} changes more"


def _removed(old: TrustedList, new: TrustedList) -> str:
    """Which trusted senders a reload removes, by name; empty: none. One that has got another id is still there."""
    new = TrustedList(new.entries)
    gone = [f"{entry.id} ({entry.name})" for entry in old.entries if not (new.entry(entry.id) or _covers(new, entry))]
    if not gone:
        return ""
    more = f" and {len(gone) - _MOST_SAID} more" if len(gone) > _MOST_SAID else ""
    plural = "s are" if len(gone) > 1 else " is"
    return f"{len(gone)} trusted sender{plural} no longer trusted: {', '.join(gone[:_MOST_SAID])}{more}"


def _covers(senders: TrustedList, entry: Entry) -> bool:
    """Whether a list trusts all addresses of an entry."""
    return all(senders.for_address(Address(*pattern)) for pattern in entry.addresses)


def _unpacked(data: bytearray) -> Found | Answer:
    """What the child wrote; it is ours, and read nothing but our files."""
    try:
        found = pickle.loads(data)  # noqa: S301
    except Exception:  # it has died, and written nothing or half
        found = None
    if isinstance(found, Found | Answer):
        return found
    return Answer(os.EX_SOFTWARE, ("the files cannot be read: see the service's log",))
