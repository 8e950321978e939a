"""libmilter on a socket that is ours.

Rules of this module: the only one that knows how libmilter gets its connections. libmilter insists on opening its
listening socket itself. So the parent lets it open one in a temporary folder, before the first fork. A worker replaces
that descriptor: by the service's socket while the worker accepts, and by a socket without an address while it does not.
libmilter waits for connections for five seconds at a time; a signal to its thread ends the wait, so that it sees the
new socket. That libmilter removes a unix socket at its end, and takes five seconds to end at all, does not matter: a
worker just exits.
"""

from __future__ import annotations

import functools
import os
import secrets
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import Milter

from pratique.filter import Filter, Mta, as_crlf

from .errors import ServiceError
from .log import log
from .pool import Pool

_NAME = "pratique"
_LOOK_AGAIN = signal.SIGRTMIN  # libmilter takes HUP, INT, TERM and USR1 for its own
_TIMEOUT = 7210  # seconds a connection may be silent: libmilter's default, longer than any MTA waits
_LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


class Listener:
    """The descriptor from which libmilter accepts, and the socket that it stands for."""

    def __init__(self, listening: socket.socket):
        """Raises ServiceError."""
        self.listening = listening
        self._pool: Pool | None = None
        self._thread: threading.Thread | None = None
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
        """Accept nothing from now on."""
        self._replace(self.nowhere)

    def accept(self) -> None:
        """Accept again."""
        self._replace(self.listening)

    def _replace(self, by: socket.socket) -> None:
        """Put another socket in the place of the one that libmilter waits for, and end that wait."""
        os.dup2(by.fileno(), self.descriptor)
        if self._thread and self._thread.ident:
            signal.pthread_kill(self._thread.ident, _LOOK_AGAIN)

    def start(self, factory: Callable[[Mta], Filter]) -> None:
        """Accept from now on, in a thread; that ends the process if it ends. Once, in a worker. Raises OSError."""
        _set_callbacks(factory)
        signal.signal(_LOOK_AGAIN, lambda *_: None)  # all it shall do is end the wait
        private, address = _listen_privately(self.listening.family)
        try:
            os.dup2(private.fileno(), self.descriptor)
            # Not in the main thread: libmilter would block the signals there, and take them from us.
            run = functools.partial(_run, self._address)
            self._thread = threading.Thread(target=run, name="libmilter", daemon=True)
            self._thread.start()
            self._pool = Pool(_connected(private.family, address))
            self.accept()
        finally:
            private.close()
            if private.family == socket.AF_UNIX:
                Path(address).unlink()

    def request_thread(self) -> bool:
        """Request a thread for the connections that wait; whether libmilter has answered the last request."""
        return self._pool is None or self._pool.request()


def _listen_privately(family: int) -> tuple[socket.socket, Any]:
    """A listening socket of the family that libmilter accepts, and its address. Nobody else needs to reach it; a unix
    socket, which may restrict who reaches the service, only its owner can."""
    private = socket.socket(family)
    before = os.umask(0o177)
    try:
        if family == socket.AF_UNIX:
            private.bind(f"{tempfile.gettempdir()}/pratique-{os.getpid()}-{secrets.token_hex(8)}")
        else:
            private.bind((_LOOPBACK[socket.AddressFamily(family)], 0))
        private.listen()
    except OSError:
        private.close()
        raise
    finally:
        os.umask(before)
    private.setblocking(False)
    return private, private.getsockname()


def _connected(family: int, address: Any) -> socket.socket:
    connection = socket.socket(family)
    if family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.connect(address)
    return connection


def _run(address: str) -> None:
    try:
        Milter.setconn(address)
        Milter.settimeout(_TIMEOUT)
        Milter.opensocket(False)
        Milter.main()
        log.error("libmilter has ended")
    except Exception:
        log.exception("libmilter has failed")
    finally:
        os._exit(os.EX_SOFTWARE)


# ---- the callbacks: pymilter's C part calls them, without the layers of its class `Base` ----------------------

_ACTIONS = Milter.ADDHDRS | Milter.CHGHDRS | Milter.QUARANTINE
_UNANSWERED = (
    Milter.P_NR_CONN | Milter.P_NR_HELO | Milter.P_NR_MAIL | Milter.P_NR_RCPT | Milter.P_NR_HDR | Milter.P_NR_EOH
)
# Fields come as they are, blanks and folds included; the rest of a body can be skipped.
_STEPS = Milter.P_HDR_LEADSPC | Milter.P_SKIP | Milter.P_NODATA | Milter.P_NOUNKNOWN


def _set_callbacks(factory: Callable[[Mta], Filter]) -> None:
    def negotiate(context: Any, options: list[int]) -> Any:
        """A connection begins; `options` are actions and protocol steps that the MTA offers, and then those wanted."""
        filter_ = factory(context)
        context.setpriv(filter_)
        options[0] &= _ACTIONS
        options[1] &= _STEPS | _UNANSWERED
        if options[1] & _UNANSWERED == _UNANSWERED:
            filter_.stored = Milter.NOREPLY
        else:  # an MTA of before 2008 waits for an answer each time
            options[1] &= ~_UNANSWERED
        options[2:] = 0, 0
        return Milter.CONTINUE

    Milter.set_flags(_ACTIONS)
    Milter.set_connect_callback(_storing(Filter.connect))
    Milter.set_helo_callback(_storing(Filter.hello))
    Milter.set_envfrom_callback(_storing(Filter.envfrom))
    Milter.set_envrcpt_callback(_storing(Filter.envrcpt))
    Milter.set_header_callback(_header)
    Milter.set_eoh_callback(_storing(Filter.eoh))
    Milter.set_body_callback(lambda context, piece: context.getpriv().body(piece))
    Milter.set_eom_callback(lambda context: context.getpriv().eom())
    Milter.set_abort_callback(lambda context: context.getpriv().abort())
    Milter.set_close_callback(_close)
    Milter.register(_NAME, negotiate=negotiate)


def _storing(store: Callable[..., None]) -> Callable[..., Any]:
    """The callback for a fact that is stored, and to which the MTA expects no answer.

    pymilter turns an exception here into silence, and the MTA waits for its time-out: so none gets out.
    """

    def callback(context: Any, *facts: Any) -> Any:
        filter_ = context.getpriv()
        try:
            store(filter_, *facts)
        except Exception:
            filter_.fail()
        return filter_.stored

    return callback


def _header(context: Any, name: str, value: bytes) -> Any:
    """`_storing` for a header field, in the shortest way: it is called for every field of all mail."""
    filter_ = context.getpriv()
    try:
        filter_.collector.add(name.encode(), as_crlf(value) if b"\n" in value else value)
    except Exception:
        filter_.fail()
    return filter_.stored


def _close(context: Any) -> Any:
    filter_ = context.getpriv()
    context.setpriv(None)  # they hold one another
    return filter_.close() if filter_ else Milter.CONTINUE
