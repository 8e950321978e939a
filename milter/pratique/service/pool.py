"""Keeps libmilter from leaving a connection without a thread while other messages wait for DNS.

Debian builds libmilter with a pool of threads (_FFR_WORKERS_POOL, libmilter/worker.c). A connection that can be read is
left to an idle thread; libmilter starts a new thread only where it counts no idle one. It counts a thread as idle until
that thread runs. So connections that become readable together are all left to the same thread, and wait while that
thread waits for DNS.

The remedy: a thread that is about to wait first requests a thread from libmilter. The request is a packet on a
connection of the worker to itself. libmilter gives that connection to an idle thread, or starts one. That thread
answers the packet, and then serves the connections that were left waiting: until none remains, or until it is about to
wait itself and makes the next request. So while a connection waits, there is always a thread that will come to it.

Rules of this module: `request` may be called by any thread, and never waits.
"""

from __future__ import annotations

import contextlib
import socket
import threading

# An unknown SMTP command: libmilter answers CONTINUE in any state of a connection, and calls no code of ours.
_PACKET = b"\0\0\0\2U\0"
_ANSWER_TIMEOUT = 10.0  # seconds for the first answer: libmilter is starting


class Pool:
    """Requests threads from the libmilter of this process, over a connection to it."""

    def __init__(self, connection: socket.socket) -> None:
        """Wait until libmilter has accepted the connection. Raises OSError."""
        self._connection = connection
        self._lock = threading.Lock()
        self._requested = True
        connection.settimeout(_ANSWER_TIMEOUT)
        connection.sendall(_PACKET)
        connection.recv(1, socket.MSG_PEEK)
        connection.setblocking(False)

    def request(self) -> bool:
        """Request a thread for the connections that wait. Return whether libmilter has answered the last request.

        Until it has, another request is needless: the thread that will answer looks for waiting connections only after
        the answer.
        """
        # EPIPE: the clock was set ahead, and libmilter closed what had waited longer than its time-out. The worker is
        # replaced then, as any worker that gets no answer.
        with self._lock, contextlib.suppress(OSError):
            if self._requested:
                self._connection.recv(64)
            self._requested = True
            self._connection.send(_PACKET)
            return True
        return False
