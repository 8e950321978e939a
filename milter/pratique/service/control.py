"""How the commands speak to the service: a unix socket that every user of the host may connect to.

One request, one JSON object as the answer:

    reload /etc/pratique/pratique.yaml\\n           {"status": 0, "lines": []}
    reload-wait /etc/pratique/pratique.yaml\\n      {"status": 78, "lines": ["/etc/…: line for line what is wrong"]}
    status /etc/pratique/pratique.yaml\\n           {"status": 0, "lines": [], "facts": {…}}

`status` of an answer is one of sysexits.h. Status 69 says that the service has another configuration file, 77 that
the user may not ask for this: a reload is for root, the service's own user and the members of a group. The kernel says
who asks (SO_PEERCRED, SO_PEERGROUPS). Every user may ask for the status.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import re
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pratique.model import Settings

from . import sockets
from .log import log

EDITORS = "pratique-editors"  # the group whose members may edit the list and ask for a reload

_LONGEST_REQUEST = 4200  # octets: a word and a path
_MOST_CLIENTS = 16
_MOST_STRANGERS = 8  # of these; the other places are kept for users who may ask for a reload
_PATIENCE = 5.0  # seconds for a request to come
_LONGEST_ANSWER = 1 << 22
_SOCKET = re.compile(r"""(?m)^socket:[ \t]*["']?([^\s"'#]+)""")
_RUNTIME = Path("/run/pratique")
_PAUSE = 1.0  # seconds without accepting, where there is no file descriptor for a client
_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid
_SO_PEERGROUPS = 59  # of Linux; Python does not name it
_MOST_GROUPS = 256  # that Python lets getsockopt return


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request."""

    status: int
    lines: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def _beside(address: str) -> Path | None:
    """The place beside a unix socket."""
    return Path(address.partition(":")[2] + ".control") if sockets.is_unix(address) else None


def _place(address: str) -> Path:
    """Where the service of a socket listens: in the folder that systemd made, else beside the socket."""
    if runtime := os.environ.get("RUNTIME_DIRECTORY"):
        return Path(runtime.partition(":")[0]) / "control"
    return _beside(address) or _RUNTIME / "control"


def _places(path: Path) -> Iterator[Path]:
    """Where a service with a configuration file may listen."""
    if runtime := os.environ.get("RUNTIME_DIRECTORY"):
        yield Path(runtime.partition(":")[0]) / "control"
    text = ""
    with contextlib.suppress(OSError, ValueError):
        text = path.read_text(encoding="utf-8", errors="replace")
    # Not by the grammar of the file: one with errors is just what the service is to be asked about.
    given = _SOCKET.search(text)
    if beside := _beside(given[1] if given else Settings().socket):
        yield beside
    yield _RUNTIME / "control"


# ---- the service's side ----------------------------------------------------------------------------

Reply = Callable[[Answer], None]


@dataclass(frozen=True, slots=True)
class Request:
    """A request to reload; `uid` is the user who asks. Who does not wait for the outcome gives no `reply`."""

    uid: int
    reply: Reply | None = None


@dataclass(slots=True)
class _Client:
    deadline: float
    uid: int
    may_reload: bool
    request: bytes = b""


class Control:
    """Takes requests. `reload` is called for each that may be carried out, `status` for facts to answer with."""

    def __init__(
        self, selector: selectors.BaseSelector, address: str, path: Path, reload: Callable[[Request], None],
        status: Callable[[], Mapping[str, Any]],
    ) -> None:  # fmt: skip
        self._selector = selector
        self._config = path
        self._reload = reload
        self._status = status
        self._editors = _editors()
        self._clients: dict[socket.socket, _Client] = {}
        self._socket: socket.socket | None = None
        self._identity: tuple[int, int] | None = None
        self._place = _place(address)
        self._problem = ""
        self._closed = False
        self._paused_until = 0.0
        self._open()

    def _open(self) -> None:
        """Listen, or log once why that is not possible."""
        try:
            self._socket = sockets.listen_for_commands(self._place)
        except OSError as problem:
            self._complain(problem.strerror or str(problem))
            return
        self._problem = ""
        self._identity = sockets.identity(f"unix:{self._place}")
        self._selector.register(self._socket, selectors.EVENT_READ, self._accept)

    def _complain(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            log.warning("%s: %s: `pratique reload` cannot reach the service; SIGHUP works", self._place, problem)

    def _stop_listening(self) -> None:
        if self._socket:
            if self._socket in self._selector.get_map():
                self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        """Take no more requests."""
        self._closed = True
        if self._socket:
            self._stop_listening()
            sockets.remove(f"unix:{self._place}", self._identity)

    def tick(self) -> None:
        """Drop clients that ask nothing, and listen again where the socket's file was removed."""
        now = time.monotonic()
        for client, known in list(self._clients.items()):
            if now > known.deadline:
                self._forget(client)
                client.close()
        if self._closed or now < self._paused_until:
            return
        if self._socket and self._socket not in self._selector.get_map():  # the pause is over
            self._selector.register(self._socket, selectors.EVENT_READ, self._accept)
        if (found := sockets.identity(f"unix:{self._place}")) == self._identity and self._socket:
            return
        if found and self._socket:
            self._complain("another program has put its own socket there")
            return
        if self._socket:
            log.warning("%s was removed: it is made again", self._place)
            self._stop_listening()
        self._open()

    def _accept(self, listening: socket.socket) -> None:
        try:
            client, _ = listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as problem:  # no descriptor for it: without a pause the parent would spin
            log.warning("%s: cannot accept a command: %s", self._place, problem.strerror)
            self._selector.unregister(listening)
            self._paused_until = time.monotonic() + _PAUSE
            return
        uid, may_reload = self._peer(client)
        strangers = sum(not known.may_reload for known in self._clients.values())
        if len(self._clients) >= _MOST_CLIENTS or (not may_reload and strangers >= _MOST_STRANGERS):
            client.close()
            return
        client.setblocking(False)
        self._clients[client] = _Client(time.monotonic() + _PATIENCE, uid, may_reload)
        self._selector.register(client, selectors.EVENT_READ, self._read)

    def _peer(self, client: socket.socket) -> tuple[int, bool]:
        """The user at the other end, and whether that user may ask for a reload."""
        _, uid, gid = _CREDENTIALS.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        groups = {gid}
        with contextlib.suppress(OSError):  # more groups than Python lets us ask for
            size = struct.calcsize("I")
            found = client.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, size * _MOST_GROUPS)
            groups.update(group for (group,) in struct.iter_unpack("I", found))
        return uid, uid in (0, os.geteuid()) or self._editors in groups

    def _forget(self, client: socket.socket) -> None:
        del self._clients[client]
        self._selector.unregister(client)

    def _read(self, client: socket.socket) -> None:
        known = self._clients[client]
        try:
            data = client.recv(_LONGEST_REQUEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        known.request += data
        if data and b"\n" not in known.request and len(known.request) < _LONGEST_REQUEST:
            return
        self._forget(client)
        word, _, path = known.request.partition(b"\n")[0].decode("utf-8", "surrogateescape").partition(" ")
        if word not in ("reload", "reload-wait", "status"):
            client.close()
        elif not self._is_ours(path):
            _answer(client, Answer(os.EX_UNAVAILABLE, (f"the service here has {self._config}",)))
        elif word == "status":
            _answer(client, Answer(os.EX_OK, facts=self._status()), 0)  # any user may ask: nobody is waited for
        elif not known.may_reload:
            log.warning("reload: refused: uid %d may not ask for it", known.uid)
            _answer(client, Answer(os.EX_NOPERM, (denied(f"this is uid {known.uid}"),)))
        elif word == "reload-wait":
            self._reload(Request(known.uid, lambda answer: _answer(client, answer)))
        else:
            self._reload(Request(known.uid, None))
            _answer(client, Answer(os.EX_OK))

    def _is_ours(self, path: str) -> bool:
        """Whether a path leads to the service's configuration file now. Links may have changed since the start."""
        if path == str(self._config):
            return True
        try:
            return bool(path) and os.path.samefile(path, self._config)
        except (OSError, ValueError):
            return False


def _editors() -> int | None:
    """The number of the group whose members may ask for a reload."""
    try:
        return grp.getgrnam(EDITORS).gr_gid
    except (KeyError, OSError):
        return None


def denied(who: str) -> str:
    """What a user reads who may not ask for a reload."""
    return (
        f"permission denied: {who}, and only root, the service's user and members of the group {EDITORS} may ask for a "
        "reload"
    )


def _answer(client: socket.socket, answer: Answer, patience: float = 0.5) -> None:
    with client, contextlib.suppress(OSError):
        client.settimeout(patience)  # more than its buffer holds is thousands of errors
        answered = {"status": answer.status, "lines": answer.lines, "facts": dict(answer.facts)}
        client.sendall(json.dumps(answered).encode())


# ---- the command's side ----------------------------------------------------------------------------


def ask(path: Path, wait: bool, seconds: float) -> Answer:
    """Ask the service that has a configuration file to reload."""
    return _ask("reload-wait" if wait else "reload", path, seconds)


def ask_status(path: Path, seconds: float) -> Mapping[str, Any] | None:
    """What is in force in the service that has a configuration file; None where no service answers."""
    answer = _ask("status", path, seconds)
    return answer.facts if answer.status == os.EX_OK and answer.facts else None


def _ask(word: str, path: Path, seconds: float) -> Answer:
    problems: list[str] = []
    looked: list[str] = []
    forbidden: list[str] = []
    for place in _places(path):
        try:
            with socket.socket(socket.AF_UNIX) as service:
                service.settimeout(seconds)
                service.connect(os.fsencode(place))
                service.sendall(f"{word} {os.path.abspath(path)}\n".encode("utf-8", "surrogateescape"))
                data = b""
                while (piece := service.recv(1 << 16)) and len(data) < _LONGEST_ANSWER:
                    data += piece
            found = json.loads(data)
            answer = Answer(found["status"], tuple(found["lines"]), found.get("facts", {}))
        except (FileNotFoundError, ConnectionRefusedError):
            looked.append(str(place))
            continue
        except PermissionError:
            forbidden.append(denied(f"{place} does not let you in"))
            continue
        except TimeoutError:
            return Answer(os.EX_TEMPFAIL, (f"{place}: no answer within {seconds:.0f} seconds: see the service's log",))
        except (OSError, ValueError, KeyError) as problem:
            why = getattr(problem, "strerror", None) or "the service ended without an answer"
            problems.append(f"{place}: {why}")
            continue
        if answer.status != os.EX_UNAVAILABLE:
            return answer
        problems += answer.lines
    if forbidden:
        return Answer(os.EX_NOPERM, (forbidden[0],))
    return Answer(os.EX_UNAVAILABLE, tuple(problems) or (f"no service is running at {' or '.join(looked)}",))
