"""The parent: opens, forks, watches, and ends it all.

Rules of this module: one thread, one selector, and never a wait for anything else. So it can fork at any time, and what
it says of the service to systemd is true.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pratique import __version__
from pratique.expiry import expiry_warnings
from pratique.model import Settings
from pratique.resolver import NetworkResolver

from . import sockets
from .changes import Changes
from .control import Control, Reply, Request
from .crew import Crew, Generation
from .errors import ServiceError
from .exporter import Exporter
from .health import Probe
from .libmilter import Listener
from .log import log
from .notify import Notifier
from .reload import Reloading

_STEP = 0.05  # seconds between two looks while something is going on
_PAUSE = 1.0  # … while nothing is
_LOOK = 10.0  # seconds between two looks at whether the service answers, unless systemd wants to know sooner
_DAY = 86400.0


def run(path: Path, settings: Settings) -> None:
    """Serve until SIGTERM. Raises ServiceError."""
    _open_standard_files()
    path = Path(os.path.abspath(path))  # not resolved: where a link is swapped, a reload reads what it leads to then
    with ExitStack() as opened:
        mta = sockets.MilterSocket(settings.socket)
        opened.callback(mta.close)
        opened.callback(mta.remove)
        metrics = opened.enter_context(_metrics(settings))
        memory = opened.enter_context(_dns_memory())
        if problem := NetworkResolver(settings.dns, memory=memory).problem:  # a damaged file is said once, here
            log.warning("dns: %s", problem)
        parent = _Parent(path, settings, mta, metrics, memory)
        opened.callback(parent.end_all)
        parent.serve()
    log.info("pratique: stopped")


def _open_standard_files() -> None:
    """Give a log that is closed to nobody: else the next socket that is opened would be standard error."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


@contextmanager
def _metrics(settings: Settings) -> Iterator[tuple[socket.socket, Path] | None]:
    """The socket for Prometheus, and the folder where the workers count; in memory where systemd gives us one."""
    if settings.metrics is None:
        yield None
        return
    with sockets.listen_for_metrics(settings.metrics) as listening:
        where = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0] or None
        try:
            folder = Path(tempfile.mkdtemp(prefix="metrics-", dir=where))
        except OSError as problem:
            raise ServiceError(f"metrics: {where or tempfile.gettempdir()}: {problem.strerror}") from None
        try:
            yield listening, folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _dns_memory() -> Iterator[Path | None]:
    """The file in which workers find what others know of DNS: in the directory of systemd's CacheDirectory=, where
    it outlives a restart, else in a folder of our own."""
    if cache := os.environ.get("CACHE_DIRECTORY", "").partition(":")[0]:
        yield Path(cache) / "dns.json"
        return
    try:
        folder = tempfile.mkdtemp(prefix="pratique-dns-")
    except OSError as problem:
        log.warning("dns: %s: %s: workers do not share what they know", tempfile.gettempdir(), problem.strerror)
        yield None
        return
    try:
        yield Path(folder) / "dns.json"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Parent:
    def __init__(
        self, path: Path, settings: Settings, mta: sockets.MilterSocket, metrics: tuple[socket.socket, Path] | None,
        memory: Path | None,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._mta = mta
        self._socket_problem = ""
        self._listener = Listener(mta.listening)
        self._selector = selectors.PollSelector()  # epoll would be shared with the children
        self._crew = Crew(self._selector, self._listener, metrics[1] if metrics else None, memory)
        self._reloading = Reloading(self._selector, path, self._crew, Generation(1, settings))
        self._exporter = Exporter(*metrics) if metrics else None
        self._changes = Changes()
        self._notifier = Notifier()
        watchdog = self._notifier.watchdog
        self._look_every = min(_LOOK, watchdog / 3) if watchdog else _LOOK
        self._probe = Probe(self._selector, settings.socket, self._looked, self._cannot_look)
        self._blind = False
        self._next_look = 0.0
        self._ready = self._told_of_reload = False
        self._stopping: float | None = None  # since when
        self._wake = _signals()
        self._selector.register(self._wake[0], selectors.EVENT_READ, self._signalled)
        self._control = Control(self._selector, settings.socket, path, self._asked, self._facts)
        self._next_day = 0.0
        self._generation_seen = 0

    def serve(self) -> None:
        """Until we are told to stop, and all have ended."""
        generation = self._reloading.current
        log.info(
            "pratique %s: listening on %s, %d trusted senders, mode %s, %d workers",
            *(__version__, self._settings.socket, len(self._settings.senders.entries)),
            *(self._settings.mode.value, generation.wanted),
        )
        while self._stopping is None or self._crew.workers:
            for key, _ in self._selector.select(_STEP if self._busy else _PAUSE):
                if self._selector.get_map().get(key.fileobj) is key:  # and was not dropped by what came just before
                    key.data(key.fileobj)
            self._tick()

    @property
    def _busy(self) -> bool:
        missing = len(self._crew.of(self._reloading.current)) < self._reloading.current.wanted
        return self._stopping is not None or self._reloading.going_on or missing or not self._ready

    def end_all(self) -> None:
        """At the very end, also where that is an error: no child stays."""
        self._control.close()
        self._crew.kill()
        if self._exporter:
            self._exporter.kill()

    def _tick(self) -> None:
        now = time.monotonic()
        self._reap()
        self._crew.tick()
        self._control.tick()
        if self._stopping is None:
            current = self._reloading.current
            self._look_at_socket()
            self._crew.fill(current)
            self._crew.accept(current)
            self._crew.replace_outdated(current)
            self._look_at_reload()
            if now >= self._next_look and self._crew.accepting():
                self._next_look = now + (self._look_every if self._ready else _PAUSE)
                self._probe.start()
            self._probe.tick()
            if self._reloading.current.settings.reload_on_change and self._changes.seen(current.settings.sources, now):
                self._reload("a file has changed", None)
            self._work_of_the_day(now)
        if self._exporter:
            self._exporter.tick(now, self._crew, self._reloading)
        self._say_status()

    # ---- signals and children

    def _signalled(self, wake: socket.socket) -> None:
        with suppress(BlockingIOError):
            for number in wake.recv(4096):
                match number:
                    case signal.SIGHUP:
                        self._reload("SIGHUP", None)
                    case signal.SIGTERM | signal.SIGINT:
                        self._stop()

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if not (self._crew.ended(*ended) or self._reloading.ended(ended[0])) and self._exporter:
                    self._exporter.ended(ended[0], expected=self._stopping is not None)

    def _stop(self) -> None:
        if self._stopping is not None:
            log.warning("told to stop again: %d messages are deferred", self._crew.in_flight)
            self._crew.kill()
            return
        self._stopping = time.monotonic()
        timeout = self._reloading.current.settings.stop_timeout.total_seconds()
        self._notifier.stopping(timeout + 5)
        log.info("stopping: %d messages in flight", self._crew.in_flight)
        self._mta.close()  # and with the workers' copies of it the MTA finds nobody
        self._reloading.cancel()
        self._control.close()
        self._crew.stop()

    # ---- reload

    def _reload(self, why: str, reply: Reply | None) -> None:
        if self._stopping is None:
            self._notifier.reloading()
            self._told_of_reload = True
            self._reloading.ask(why, [reply] if reply else [])

    def _look_at_reload(self) -> None:
        self._reloading.tick()
        if self._told_of_reload and self._ready and not self._reloading.going_on:
            self._told_of_reload = False
            self._notifier.ready()

    def _asked(self, request: Request) -> None:
        self._reload(f"`pratique reload` of uid {request.uid}", request.reply)

    def _facts(self) -> Mapping[str, Any]:
        """What `pratique check` is told of the service."""
        return {"generation": self._reloading.current.number}

    # ---- the socket

    def _look_at_socket(self) -> None:
        """Open the socket again where its file was removed, and have new workers accept from it."""
        if not self._mta.gone():
            return
        try:
            self._mta.renew()
        except ServiceError as problem:
            if str(problem) != self._socket_problem:
                self._socket_problem = str(problem)
                log.error("the socket was removed, and cannot be opened again: %s; trying again", problem)
            return
        self._socket_problem = ""
        log.warning("socket %s was removed: opened again; new workers take over", self._settings.socket)
        self._listener.listening = self._mta.listening
        self._crew.outdate()
        self._next_look = 0.0

    # ---- how it is

    def _looked(self, problem: str | None) -> None:
        """The answer to whether the service answers, asked as an MTA asks."""
        if self._stopping is not None:
            return
        if problem:
            log.error("the service does not answer at %s: %s", self._settings.socket, problem)
            self._next_look = min(self._next_look, time.monotonic() + _PAUSE)
            return
        self._blind = False
        if not self._ready:
            self._ready = True
            self._notifier.ready()
        self._notifier.alive()

    def _cannot_look(self, problem: str) -> None:
        """There is no descriptor to ask with: what the workers report must do for the watchdog."""
        if not self._blind:
            self._blind = True
            log.error("cannot check whether the service answers: %s", problem)
        if self._ready and self._crew.heard():
            self._notifier.alive()

    def _say_status(self) -> None:
        crew, generation = self._crew, self._reloading.current.number
        self._notifier.status(
            f"{len(crew.accepting())} workers, generation {generation}, {crew.messages} messages, "
            f"{crew.verified} verified, {crew.in_flight} in flight"
        )

    def _work_of_the_day(self, now: float) -> None:
        """Once a day, and after each reload."""
        current = self._reloading.current
        if now >= self._next_day or current.number != self._generation_seen:
            self._next_day, self._generation_seen = now + _DAY, current.number
            for warning in expiry_warnings(current.settings, datetime.now(UTC).date()):
                log.warning("%s", warning)


def _signals() -> tuple[socket.socket, socket.socket]:
    """Signals become octets that the selector sees; the second socket must live as long as the first."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return ours, theirs
