"""Connections that libmilter has accepted and then forgotten.

Where no thread can be begun for a connection (memory, or the number of tasks, is at its limit), libmilter says so to
syslog and never looks at the connection again: the MTA waits for its time-out, and the descriptor is open for ever.

Rules of this module: what it closes, nobody has read a single octet of, at two looks some seconds apart: the very first
packet of the conversation is still to be read. A session that has begun, however slow, never looks like that.
"""

from __future__ import annotations

import os
import socket
import stat

_FIRST = b"\0\0\0\x0dO"  # option negotiation: 13 octets in all versions of the protocol since 2
_PLACE = "/proc/self/fd"


class Orphans:
    """Looks now and then, at what this process has open."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}

    def close(self) -> int:
        """Close what nobody has taken up since the last look; how many these were."""
        waiting: dict[int, int] = {}
        closed = 0
        for number in map(int, os.listdir(_PLACE)):
            inode = _untouched(number)
            if inode is None:
                continue
            if self._seen.get(number) == inode:
                os.close(number)  # no thread of libmilter knows of it
                closed += 1
            else:
                waiting[number] = inode
        self._seen = waiting
        return closed


def _untouched(number: int) -> int | None:
    """The inode of a connection whose first packet nobody has read; None for anything else that is open."""
    try:
        found = os.fstat(number)
        if not stat.S_ISSOCK(found.st_mode):
            return None
        opened = socket.socket(fileno=number)
    except OSError:  # closed meanwhile
        return None
    try:
        first = opened.recv(len(_FIRST), socket.MSG_PEEK | socket.MSG_DONTWAIT)
        return found.st_ino if first == _FIRST else None
    except OSError:  # nothing to read, or no connection
        return None
    finally:
        opened.detach()
