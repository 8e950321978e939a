"""libmilter on a socket that is ours.

Rules of this module: the only one that knows how libmilter is led by the nose. It insists on opening its listening
socket itself. So it is given one that leads nowhere, in the parent, before the first fork; in a worker ours is laid
over that descriptor when the worker shall accept, and one that leads nowhere when it shall stop. That it removes
a unix socket at its end, and takes five seconds to end at all, is then nobody's trouble: a worker just exits.
"""

from __future__ import annotations

import functools
import os
import socket
import tempfile
import threading
from collections.abc import Callable

import Milter

from .errors import ServiceError
from .log import log

_NAME = "pratique"
_TIMEOUT = 7210  # seconds a connection may be silent: libmilter's default, longer than any MTA waits


class Listener:
    """The descriptor from which libmilter accepts, and what is laid over it."""

    def __init__(self, listening: socket.socket):
        """Raises ServiceError."""
        self.listening = listening
        with tempfile.TemporaryDirectory(prefix="pratique-") as folder:
            self.nowhere = socket.socket(socket.AF_UNIX)
            self.nowhere.bind(f"{folder}/nowhere")
            self.nowhere.listen()
            self.nowhere.setblocking(False)  # like ours: several processes run for each connection
            # libmilter refuses connections of another family than its own socket has.
            families = {socket.AF_INET: "inet:0@127.0.0.1", socket.AF_INET6: "inet6:0@::1"}
            self._address = families.get(listening.family, f"unix:{folder}/first")
            self.descriptor = self._opened()
        self.pause()

    def _opened(self) -> int:
        free = os.dup(self.nowhere.fileno())
        os.close(free)  # the next descriptor that is opened
        Milter.register(_NAME)
        Milter.setconn(self._address)
        try:
            Milter.opensocket(True)
            with socket.socket(fileno=os.dup(free)) as opened:
                if opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    return free
        except (Milter.error, OSError):
            pass
        raise ServiceError(f"libmilter cannot open a socket in {tempfile.gettempdir()}", os.EX_SOFTWARE)

    def pause(self) -> None:
        """Accept nothing from now on. What libmilter is waiting for leads to an empty `accept` at worst."""
        os.dup2(self.nowhere.fileno(), self.descriptor)

    def start(self, factory: Callable[[], Milter.Base]) -> None:
        """Accept from now on, in a thread; that ends the process if it ends. Once, in a worker."""
        os.dup2(self.listening.fileno(), self.descriptor)
        Milter.factory = factory
        Milter.set_flags(Milter.ADDHDRS | Milter.CHGHDRS | Milter.QUARANTINE)
        # Not in the main thread: libmilter would block the signals there, and take them from us.
        threading.Thread(target=functools.partial(_run, self._address), name="libmilter", daemon=True).start()


def _run(address: str) -> None:
    try:
        Milter.runmilter(_NAME, address, _TIMEOUT, rmsock=False)
        log.error("libmilter has ended")
    except Exception:
        log.exception("libmilter has failed")
    finally:
        os._exit(os.EX_SOFTWARE)
