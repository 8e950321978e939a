"""Whether a file has changed, for `reload_on_change`; and whether the files differ from what is in force."""

from __future__ import annotations

import os

_EVERY = 2.0  # seconds between two looks; a file must stay the same that long, for who writes slowly

Prints = tuple[tuple[int, int, int] | None, ...]


class Changes:
    """Looks at files and folders now and then."""

    def __init__(self) -> None:
        self._taken: Prints | None = None  # as they were when they were taken last
        self._last: Prints | None = None
        self._sources: tuple[str, ...] = ()
        self._next = 0.0

    def seen(self, sources: tuple[str, ...], now: float) -> bool:
        """Whether they have changed since this was last said, and no longer do."""
        if now < self._next:
            return False
        self._next = now + _EVERY
        seen = prints(sources)
        if sources != self._sources or self._taken is None:
            self._sources, self._taken = sources, seen
        changed = seen != self._taken and seen == self._last
        self._last = seen
        if changed:
            self._taken = seen
        return changed


def prints(sources: tuple[str, ...]) -> Prints:
    """How files and folders look from outside: any change of theirs shows in it."""
    return tuple(map(_print, sources))


def _print(source: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(source)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
