"""What the parent has a child do with files, because a disk may be slow: keep the last good configuration, and compare
the files with what is in force.

Rules of this module: nothing waits, and a child that cannot be started is tried again later.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from pratique import config

from . import process
from .changes import Prints, prints
from .crew import Generation, Source
from .lastgood import Store, hashes
from .log import log

_EVERY = 5.0  # seconds between two looks at the files; they must stay the same that long
_AGAIN = 5.0  # seconds after which a child that could not be started is tried again
_DIFFERENT = 1  # exit status


class Keeper:
    """Has staged configurations be the last good one, one after the other."""

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._staged: list[Path] = []
        self._child: process.Child | None = None
        self._not_before = 0.0

    @property
    def busy(self) -> bool:
        return bool(self._child or self._staged)

    def commit(self, staged: Path) -> None:
        self._staged.append(staged)
        self.tick(time.monotonic())

    def tick(self, now: float) -> None:
        if self._child or not self._staged or self._store is None or now < self._not_before:
            return
        store, staged = self._store, self._staged[0]
        try:
            self._child = process.fork(lambda: _commit(store, staged), ())
        except OSError as problem:
            self._not_before = now + _AGAIN
            log.error("cannot start the process that keeps the configuration: %s; trying again", problem.strerror)
        else:
            del self._staged[0]

    def ended(self, pid: int) -> bool:
        """A child has ended: whether it was this one."""
        if self._child is None or self._child.pid != pid:
            return False
        self._child.reaped()
        self._child = None
        return True


def _commit(store: Store, staged: Path) -> None:
    try:
        store.commit(staged)
    except OSError as problem:
        log.error("the configuration cannot be kept for the next start: %s: %s", store.folder, problem.strerror)


class Pending:
    """Whether the files on disk differ from what is in force, and wait for a reload."""

    def __init__(self, path: Path) -> None:
        self.differ = False
        self._path = path
        self._generation: Generation | None = None
        self._known: Prints | None = None  # looks of which it is known whether they differ
        self._last: Prints | None = None
        self._asked: Prints | None = None
        self._child: process.Child | None = None
        self._outdated = False
        self._next = 0.0

    def tick(self, now: float, generation: Generation) -> None:
        if generation is not self._generation:
            self._generation = generation
            self._outdated = self._child is not None  # what it says is of the generation before
            self._known = generation.prints
            self.differ = generation.source is Source.LAST_GOOD
        if now < self._next or self._child:
            return
        self._next = now + _EVERY
        seen = prints(generation.settings.sources)
        settled, self._last = seen == self._last, seen
        if seen == self._known or not settled:
            return
        try:
            self._child = process.fork(lambda: _compare(self._path, generation), ())
        except OSError:  # at the next look
            return
        self._asked = seen

    def ended(self, pid: int, status: int) -> bool:
        """A child has ended: whether it was this one."""
        if self._child is None or self._child.pid != pid:
            return False
        self._child.reaped()
        self._child = None
        if self._outdated:
            self._outdated = False
            return True
        self._known = self._asked
        self.differ = os.waitstatus_to_exitcode(status) != 0
        return True


def _compare(path: Path, generation: Generation) -> None:
    """End the process with a status that tells whether the files are those in force."""
    try:
        same = hashes(config.on_disk(path, generation.settings.sources)) == generation.hashes
    except config.ConfigError:
        same = False
    os._exit(0 if same and generation.source is Source.FILES else _DIFFERENT)
