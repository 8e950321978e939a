"""Does somebody answer at the socket? The parent asks as an MTA would, without ever waiting.

Rules of this module: the first step of a milter conversation (option negotiation), and goodbye. No message, no thread.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import struct
import time
from collections.abc import Callable

from .sockets import target

_PATIENCE = 10.0  # seconds for an answer
_VERSION, _ACTIONS, _STEPS = 6, 0x1FF, 0x1FFFFF  # what Postfix 3.7 offers
_HELLO = struct.pack("!IcIII", 13, b"O", _VERSION, _ACTIONS, _STEPS)
_GOODBYE = struct.pack("!Ic", 1, b"Q")


class Probe:
    """Looks now and then; `result(None)` where it was answered, `result("why not")` else.

    The socket for the next look is opened as soon as the last one is closed: a parent that is at its limit of file
    descriptors can still look. Where it cannot, `unable("why not")` is called: that says nothing of the service.
    """

    def __init__(
        self, selector: selectors.BaseSelector, address: str, result: Callable[[str | None], None],
        unable: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._selector = selector
        self._address = address
        self._result = result
        self._unable = unable
        self._spare: socket.socket | None = None
        self._open_spare()
        self._socket: socket.socket | None = None
        self._deadline = 0.0
        self._answer = b""

    def start(self) -> None:
        """Begin to look, unless one look is still going on."""
        if self._socket:
            return
        if lacking := self._open_spare():
            self._unable(lacking)
            return
        probe, self._spare = self._spare, None
        assert probe  # noqa: S101
        problem = probe.connect_ex(target(self._address)[1])
        if problem not in (0, errno.EINPROGRESS):
            probe.close()
            self._open_spare()
            self._result("more connections wait than it can hold" if problem == errno.EAGAIN else _text(problem))
            return
        self._socket, self._answer, self._deadline = probe, b"", time.monotonic() + _PATIENCE
        self._selector.register(probe, selectors.EVENT_WRITE, self._greet)

    def _open_spare(self) -> str | None:
        """Have a socket ready for the next look; why that fails."""
        if self._spare is None:
            try:
                self._spare = socket.socket(target(self._address)[0], socket.SOCK_STREAM)
            except OSError as problem:
                return problem.strerror
            self._spare.setblocking(False)
        return None

    def tick(self) -> None:
        """Give up where no answer comes."""
        if self._socket and time.monotonic() > self._deadline:
            self._end(f"no answer within {_PATIENCE:.0f} seconds")

    def _greet(self, probe: socket.socket) -> None:
        try:
            probe.send(_HELLO)
        except OSError as problem:
            self._end(problem.strerror)
        else:
            self._selector.modify(probe, selectors.EVENT_READ, self._read)

    def _read(self, probe: socket.socket) -> None:
        try:
            data = probe.recv(1024)
        except OSError as problem:
            self._end(problem.strerror)
            return
        self._answer += data
        if not data:
            self._end("the connection was closed")
        elif len(self._answer) >= 5:
            good = self._answer[4:5] == b"O"
            self._end(None if good else "the answer is not that of a milter")

    def _end(self, problem: str | None) -> None:
        if self._socket:
            self._selector.unregister(self._socket)
            try:
                if problem is None:
                    self._socket.send(_GOODBYE)
            except OSError:
                pass
            self._socket.close()
            self._socket = None
            self._open_spare()
        self._result(problem)


def _text(number: int) -> str:
    return os.strerror(number)
