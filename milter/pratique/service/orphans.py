"""Connections that libmilter has accepted and then forgotten.

Where libmilter cannot start a thread for a connection (memory, or the number of tasks, is at its limit), it writes a
line to syslog and never looks at the connection again: the MTA waits for its timeout, and the descriptor stays open.

Rules of this module: it only looks. libmilter may still own whatever is open, so nothing is read or closed here.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import termios
from typing import NamedTuple

_FIRST = b"\0\0\0\x0dO"  # option negotiation: 13 octets in all versions of the protocol since 2
_PLACE = "/proc/self/fd"


class _Connection(NamedTuple):
    inode: int
    untouched: bool  # the first packet has come and is unread, and nothing was answered


class Orphans:
    """Looks now and then at the connections that came from one listening socket."""

    def __init__(self, listening: socket.socket) -> None:
        self._family = listening.family
        self._place = _place(listening)
        self._seen: set[int] = set()

    def count(self, sessions: int) -> int:
        """How many connections have been forgotten: their first packet was unread at the last look and is now.

        A session that begins a second negotiation and reads no answer may look the same. So those count only as far as
        there are more connections than the `sessions` that have spoken.
        """
        try:
            numbers = os.listdir(_PLACE)
        except OSError:  # no descriptor is left, or no memory: the next look will tell
            return 0
        connections = [found for number in map(int, numbers) if (found := self._look(number))]
        untouched = {connection.inode for connection in connections if connection.untouched}
        forgotten = min(len(untouched & self._seen), len(connections) - sessions)
        self._seen = untouched
        return max(0, forgotten)

    def _look(self, number: int) -> _Connection | None:
        """A connection of the MTA; None for anything else that is open."""
        opened = None
        try:
            found = os.fstat(number)
            if not stat.S_ISSOCK(found.st_mode):
                return None
            opened = socket.socket(fileno=number)
            if (opened.family, opened.type) != (self._family, socket.SOCK_STREAM) or _place(opened) != self._place:
                return None
            opened.getpeername()  # fails for the listening socket
            return _Connection(found.st_ino, _begins(opened) and _unsent(number) == 0)
        except OSError:  # closed meanwhile
            return None
        finally:
            if opened:
                opened.detach()


def _place(opened: socket.socket) -> object:
    """What a listening socket and the connections from it have in common: the path, or the port."""
    name = opened.getsockname()
    return name if opened.family == socket.AF_UNIX else name[1]


def _begins(opened: socket.socket) -> bool:
    with contextlib.suppress(BlockingIOError):
        return opened.recv(len(_FIRST), socket.MSG_PEEK | socket.MSG_DONTWAIT) == _FIRST
    return False


def _unsent(number: int) -> int:
    """Octets that were sent to the MTA and that it has not taken yet."""
    return int.from_bytes(fcntl.ioctl(number, termios.TIOCOUTQ, bytes(4)), "little")
