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
from .control import Control, Request
from .crew import Crew, Source
from .errors import ServiceError
from .exporter import Exporter
from .health import Probe
from .inforce import Start, at, keep, last_good_text
from .keeper import Keeper, Pending
from .libmilter import Listener
from .log import log
from .notify import Notifier
from .reload import Reloading

_STEP = 0.05  # seconds between two looks while something is going on
_PAUSE = 1.0  # … while nothing is
_LOOK = 10.0  # seconds between two looks at whether the service answers, unless systemd wants to know sooner
_DAY = 86400.0
_KEEPING = 5.0  # seconds that a stop waits until the last good configuration is on the disk


def run(start: Start) -> None:
    """Serve until SIGTERM. Raises ServiceError."""
    _open_standard_files()
    settings = start.generation.settings
    with ExitStack() as opened:
        mta = sockets.MilterSocket(settings.socket)
        opened.callback(mta.close)
        opened.callback(mta.remove)
        metrics = opened.enter_context(_metrics(settings))
        memory = opened.enter_context(_dns_memory())
        if problem := NetworkResolver(settings.dns, memory=memory).problem:  # a damaged file is said once, here
            log.warning("dns: %s", problem)
        parent = _Parent(start, mta, metrics, memory)
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
        self, start: Start, mta: sockets.MilterSocket, metrics: tuple[socket.socket, Path] | None,
        memory: Path | None,
    ) -> None:  # fmt: skip
        self._settings = settings = start.generation.settings
        path = start.path
        self._mta = mta
        self._socket_problem = ""
        self._listener = Listener(mta.listening)
        self._selector = selectors.PollSelector()  # epoll would be shared with the children
        self._crew = Crew(self._selector, self._listener, metrics[1] if metrics else None, memory)
        self._store = start.store
        self._keeper = Keeper(start.store)
        self._staged = keep(start.store, start.new) if start.store and start.new else None
        self._pending = Pending(path)
        self._reloading = Reloading(self._selector, path, self._crew, start.generation, start.store, self._keeper)
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
        if self._store is None:
            log.warning("no state directory: wrong files at the next start will stop the service; set state_directory")
        while self._stopping is None or self._crew.workers or self._keeping:
            for key, _ in self._selector.select(_STEP if self._busy else _PAUSE):
                if self._selector.get_map().get(key.fileobj) is key:  # and was not dropped by what came just before
                    key.data(key.fileobj)
            self._tick()

    @property
    def _busy(self) -> bool:
        missing = len(self._crew.of(self._reloading.current)) < self._reloading.current.wanted
        return self._stopping is not None or self._reloading.going_on or missing or not self._ready

    @property
    def _keeping(self) -> bool:
        """Whether a configuration is still being kept, for which a stop waits a little."""
        return self._keeper.busy and self._stopping is not None and time.monotonic() < self._stopping + _KEEPING

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
        self._keeper.tick(now)
        if self._stopping is None:
            current = self._reloading.current
            self._look_at_socket()
            self._crew.fill(current)
            self._crew.accept(current)
            self._crew.replace_outdated(current)
            self._keep_first()
            self._look_at_reload()
            if now >= self._next_look and self._crew.accepting():
                self._next_look = now + (self._look_every if self._ready else _PAUSE)
                self._probe.start()
            self._probe.tick()
            self._pending.tick(now, self._reloading.current)
            if self._reloading.current.settings.reload_on_change and self._changes.seen(current.settings.sources, now):
                self._reload("a file has changed", None)
            self._work_of_the_day(now)
        if self._exporter:
            self._exporter.tick(now, self._crew, self._reloading, self._pending.differ)
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
                pid, status = ended
                if self._crew.ended(pid, status) or self._reloading.ended(pid) or self._keeper.ended(pid):
                    continue
                if not self._pending.ended(pid, status) and self._exporter:
                    self._exporter.ended(pid, expected=self._stopping is not None)

    def _stop(self) -> None:
        if self._stopping is not None:
            log.warning("told to stop again: %d messages are deferred", self._crew.in_flight)
            self._crew.kill()
            return
        self._keep_first()
        self._stopping = time.monotonic()
        timeout = self._reloading.current.settings.stop_timeout.total_seconds()
        self._notifier.stopping(timeout + 5)
        log.info("stopping: %d messages in flight", self._crew.in_flight)
        self._mta.close()  # and with the workers' copies of it the MTA finds nobody
        self._reloading.cancel()
        self._control.close()
        self._crew.stop()

    # ---- reload

    def _reload(self, why: str, request: Request | None) -> None:
        if self._stopping is None:
            self._notifier.reloading()
            self._told_of_reload = True
            self._reloading.ask(why, [request] if request else [])

    def _look_at_reload(self) -> None:
        self._reloading.tick()
        if self._told_of_reload and self._ready and not self._reloading.going_on:
            self._told_of_reload = False
            self._notifier.ready()

    def _asked(self, request: Request) -> None:
        self._reload(f"`pratique reload` of uid {request.uid}", request)

    def _facts(self) -> Mapping[str, Any]:
        """What `pratique check` is told of the service."""
        current = self._reloading.current
        return {
            "generation": current.number,
            "source": current.source,
            "since": current.since,
            "senders": len(current.settings.senders.entries),
            "files": current.hashes,
            "reload_good": self._reloading.good,
        }

    # ---- the last good configuration

    def _keep_first(self) -> None:
        """Keep the configuration of the start as soon as a worker serves with it."""
        if self._staged and self._crew.accepting():
            self._keeper.commit(self._staged)
            self._staged = None

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
        crew, current = self._crew, self._reloading.current
        said = f"{len(crew.accepting())} workers, generation {current.number}, "
        if crew.messages or crew.in_flight:
            said += f"{crew.messages} messages, {crew.verified} verified, {crew.in_flight} in flight, "
            said += f"{crew.unchecked} unchecked"
        else:
            said += f"NO MESSAGE YET: does the mail server use {self._settings.socket}?"
        if current.source is Source.LAST_GOOD:
            said = f"FILES ARE WRONG, LAST GOOD CONFIGURATION of {at(current.since)}: run `pratique check`; {said}"
        elif self._pending.differ:
            said += "; the files differ from what is in force: run `pratique reload`"
        self._notifier.status(said)

    def _work_of_the_day(self, now: float) -> None:
        """Once a day, and after each reload."""
        current = self._reloading.current
        if now >= self._next_day or current.number != self._generation_seen:
            self._next_day, self._generation_seen = now + _DAY, current.number
            if current.source is Source.LAST_GOOD and self._ready:
                log.error("%s", last_good_text(current))
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
