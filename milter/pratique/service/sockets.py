"""The sockets of the service: opened by the parent, with an error that says what is wrong.

Rules of this module: every socket it returns is non-blocking. libmilter never opens the one that the MTA knows: it
would say nothing of why it failed, and remove a unix socket when the first process that has it ends.
"""

from __future__ import annotations

import errno
import os
import pwd
import socket
import stat
import time
from pathlib import Path

from .errors import ServiceError

_UMASK = 0o007  # the MTA reaches the socket by its group
_LONGEST_PATH = 107  # octets: sockaddr_un of Linux
_BACKLOG = 1024  # connections that wait for a worker
_PATIENCE = 2.0  # seconds for the workers of a parent that was killed, which end at once


def listen(address: str, patience: float = _PATIENCE) -> socket.socket:
    """The socket for the MTA. A stale unix socket is replaced. Raises ServiceError."""
    try:
        return _listen_unix(_path(address), patience) if is_unix(address) else _listen_inet(*_host_and_port(address))
    except ServiceError as problem:
        raise ServiceError(f"socket {address}: {problem}") from None


class MilterSocket:
    """The socket for the MTA. Where its file is removed it is opened again; what is connected stays connected."""

    def __init__(self, address: str) -> None:
        """Raises ServiceError."""
        self._address = address
        self.listening = listen(address)
        self._identity = identity(address)

    def gone(self) -> bool:
        """Whether no MTA can reach the socket any more: its file was removed or replaced."""
        return is_unix(self._address) and identity(self._address) != self._identity

    def renew(self) -> None:
        """Open it again; the socket before stays open where a worker has it. Never waits. Raises ServiceError."""
        before, self.listening = self.listening, listen(self._address, patience=0)
        self._identity = identity(self._address)
        before.close()

    def close(self) -> None:
        self.listening.close()

    def remove(self) -> None:
        """Remove the file, if it is ours."""
        remove(self._address, self._identity)


def listen_for_metrics(address: tuple[str, int]) -> socket.socket:
    """The socket for Prometheus. Raises ServiceError."""
    host, port = address
    try:
        return _listen_inet(socket.AF_INET6 if ":" in host else socket.AF_INET, host, port)
    except ServiceError as problem:
        where = f"[{host}]" if ":" in host else host
        raise ServiceError(f"metrics: cannot listen on {where}:{port}: {problem}") from None


def listen_for_commands(path: Path) -> socket.socket:
    """A unix socket that every user of the host may reach: who may ask for what is decided there. Raises OSError."""
    listening = socket.socket(socket.AF_UNIX)
    before = os.umask(0o111)
    try:
        path.unlink(missing_ok=True)
        listening.bind(os.fsencode(path))
        listening.listen()
    except OSError:
        listening.close()
        raise
    finally:
        os.umask(before)
    listening.setblocking(False)
    return listening


def target(address: str) -> tuple[int, str | tuple[str, int]]:
    """Family and address with which an MTA connects."""
    if is_unix(address):
        return socket.AF_UNIX, str(_path(address))
    family, host, port = _host_and_port(address)
    everywhere = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    return family, (everywhere if host in ("::", "0.0.0.0") else host, port)  # noqa: S104


def remove(address: str, opened: tuple[int, int] | None) -> None:
    """Remove a unix socket, if it is the one that was opened."""
    if opened and identity(address) == opened:
        _path(address).unlink(missing_ok=True)


def identity(address: str) -> tuple[int, int] | None:
    """Which file a unix socket is: device and inode; None for others, and where it is gone."""
    try:
        found = _path(address).lstat() if is_unix(address) else None
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found else None


def is_unix(address: str) -> bool:
    return address.partition(":")[0] in ("unix", "local")


def _path(address: str) -> Path:
    return Path(address.partition(":")[2])


def _host_and_port(address: str) -> tuple[int, str, int]:
    kind, _, where = address.partition(":")
    port, _, host = where.partition("@")
    if kind == "inet6":
        return socket.AF_INET6, host or "::", int(port)
    return socket.AF_INET, host or "0.0.0.0", int(port)  # noqa: S104


def _listen_inet(family: int, host: str, port: int) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # What is accepted inherits it. Without, each message that gets a field takes 40 ms longer: libmilter writes it in
    # small pieces, and Nagle's algorithm waits for the MTA's delayed acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            listening.bind((host, port))
            listening.listen(_BACKLOG)
        except OSError as problem:
            if problem.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                listening.close()
                text = problem.strerror or str(problem)
                if problem.errno == errno.EACCES:
                    text = f"{text}: only root may listen on port {port}; take one above 1023"
                raise ServiceError(text) from None
            time.sleep(0.1)
        else:
            listening.setblocking(False)
            return listening


def _listen_unix(path: Path, patience: float) -> socket.socket:
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise ServiceError(f"the path is longer than {_LONGEST_PATH} octets")
    deadline = time.monotonic() + patience
    listening: socket.socket | None = None
    try:
        if not path.parent.is_dir():
            raise ServiceError(f"there is no directory {path.parent}")
        while _answers(path, patience):
            if time.monotonic() > deadline:
                raise ServiceError("another milter is listening there already")
            time.sleep(0.1)
        path.unlink(missing_ok=True)
        os.umask(_UMASK)
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(os.fsencode(path))
        listening.listen(_BACKLOG)
    except OSError as problem:
        if listening:
            listening.close()
        raise ServiceError(f"{problem.strerror}{_whose(path)}") from None
    listening.setblocking(False)
    return listening


def _answers(path: Path, patience: float) -> bool:
    """Whether somebody listens at a unix socket. Raises ServiceError where there is another kind of file."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ServiceError("there is a file that is no socket")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(min(1, patience))
            probe.connect(os.fsencode(path))
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    except (TimeoutError, BlockingIOError):  # more wait there than its backlog holds
        return True
    return True


def _whose(path: Path) -> str:
    """Who we are and whose the directory is, where that may be why a socket cannot be had."""
    try:
        owner, ours = path.parent.stat().st_uid, os.geteuid()
    except OSError:
        return ""
    if owner == ours:
        return ""
    return f": {path.parent} belongs to {_user(owner)}, and we run as {_user(ours)}"


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
