"""The milter service: socket, filter, until a signal ends it.

Rules of this module: it knows libmilter's habits and nothing of mail. libmilter owns the signals: SIGTERM,
SIGINT and SIGHUP end it, and `run` then returns.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import socket
import stat
from datetime import UTC, datetime
from pathlib import Path

import Milter

from . import __version__
from .expiry import expiry_warnings
from .filter import Filter
from .model import Settings
from .resolver import DnsConfigError, NetworkResolver

log = logging.getLogger("pratique")

_SYSLOG = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}
_TIMEOUT = 7210  # seconds a connection may be silent: libmilter's default, longer than any MTA waits
_SOCKET_UMASK = 0o007  # the MTA reaches the socket by its group
_LONGEST_SOCKET_PATH = 107  # octets: sockaddr_un of Linux


class ServiceError(Exception):
    """The service cannot start; the text is one line for the postmaster."""


def run(settings: Settings) -> None:
    """Serve until SIGTERM. Raises ServiceError where the socket cannot be had."""
    try:
        resolver = NetworkResolver(settings.dns, memory=dns_memory())
    except DnsConfigError as problem:
        raise ServiceError(f"dns: {problem}") from None
    check_socket(settings.socket)
    os.umask(_SOCKET_UMASK)
    Milter.factory = functools.partial(Filter, settings, resolver)
    Milter.set_flags(Milter.ADDHDRS | Milter.CHGHDRS | Milter.QUARANTINE)
    log.info(
        "pratique %s: listening on %s, %d trusted senders, mode %s",
        *(__version__, settings.socket, len(settings.senders.entries), settings.mode.value),
    )
    resolver.start()
    for warning in expiry_warnings(settings, datetime.now(UTC).date()):
        log.warning("pratique: %s", warning)
    try:
        Milter.runmilter("pratique", settings.socket, _TIMEOUT)
    except Milter.error:
        raise ServiceError(f"socket {settings.socket}: cannot listen on it") from None
    finally:
        resolver.stop()
    log.info("pratique: stopped")


def dns_memory() -> Path | None:
    """Where what DNS said outlives a restart: in the directory that systemd's CacheDirectory= made, if it did."""
    directories = os.environ.get("CACHE_DIRECTORY", "")
    return Path(directories.partition(":")[0]) / "dns.json" if directories else None


def set_up_log(settings: Settings) -> None:
    """Log to standard error. Under systemd every line carries its level (sd-daemon(3))."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines(settings.log_format == "json", "JOURNAL_STREAM" in os.environ))
    log.addHandler(handler)
    log.setLevel(settings.log_level.upper())


class _Lines(logging.Formatter):
    """One line a record; a traceback follows on lines that nothing else in the log looks like."""

    def __init__(self, as_json: bool, with_level: bool):
        super().__init__()
        self._as_json = as_json
        self._with_level = with_level

    def format(self, record: logging.LogRecord) -> str:
        lines = [record.getMessage()]
        if record.exc_info:
            lines += [f"  | {line}" for line in self.formatException(record.exc_info).splitlines()]
        lines = ["".join(c if c.isprintable() else ascii(c)[1:-1] for c in line) for line in lines]
        if self._as_json and not lines[0].startswith("{"):
            lines = [json.dumps({"level": record.levelname.lower(), "message": "\n".join(lines)})]
        prefix = f"<{_SYSLOG.get(record.levelno, 6)}>" if self._with_level else ""
        return "\n".join(prefix + line for line in lines)


def check_socket(address: str) -> None:
    """Find out what libmilter would not say: why a socket cannot be had. A stale unix socket is removed.

    Raises ServiceError.
    """
    kind, _, where = address.partition(":")
    if kind in ("unix", "local"):
        _check_unix(address, Path(where))
    else:
        port, _, host = where.partition("@")
        family = socket.AF_INET6 if kind == "inet6" else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host or ("::" if kind == "inet6" else "0.0.0.0"), int(port)))  # noqa: S104
            except OSError as problem:
                raise ServiceError(f"socket {address}: {problem.strerror}") from None


def _check_unix(address: str, path: Path) -> None:
    if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
        raise ServiceError(f"socket {address}: the path is longer than {_LONGEST_SOCKET_PATH} octets")
    if not path.parent.is_dir():
        raise ServiceError(f"socket {address}: there is no directory {path.parent}")
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ServiceError(f"socket {address}: there is a file that is no socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(5)
            probe.connect(os.fsencode(path))
    except (FileNotFoundError, ConnectionRefusedError):
        path.unlink(missing_ok=True)
    except OSError as problem:
        raise ServiceError(f"socket {address}: {problem.strerror}") from None
    else:
        raise ServiceError(f"socket {address}: another milter is listening there already")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.bind(os.fsencode(path))
        path.unlink()
    except OSError as problem:
        raise ServiceError(f"socket {address}: {problem.strerror}") from None
