"""How `pratique reload` speaks to the service: a unix socket of the service's owner.

One request, one JSON object as the answer:

    reload /etc/pratique/pratique.yaml\\n           {"status": 0, "lines": []}
    reload-wait /etc/pratique/pratique.yaml\\n      {"status": 78, "lines": ["/etc/…: line for line what is wrong"]}

`status` is one of sysexits.h. Status 69 says that the service has another configuration file.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pratique.model import Settings

from . import sockets
from .log import log

_LONGEST_REQUEST = 4200  # octets: a word and a path
_MOST_CLIENTS = 16
_PATIENCE = 5.0  # seconds for a request to come
_LONGEST_ANSWER = 1 << 22
_SOCKET = re.compile(r"""(?m)^socket:[ \t]*["']?([^\s"'#]+)""")
_RUNTIME = Path("/run/pratique")


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request."""

    status: int
    lines: tuple[str, ...] = ()


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
    with contextlib.suppress(OSError):
        # Not by its grammar: a file with errors is just what the service is to be asked about.
        given = _SOCKET.search(path.read_text(encoding="utf-8", errors="replace"))
        if beside := _beside(given[1] if given else Settings().socket):
            yield beside
    yield _RUNTIME / "control"


# ---- the service's side ----------------------------------------------------------------------------

Reply = Callable[[Answer], None]


class Control:
    """Takes requests. `request(wait, reply)` is called for each that is for us."""

    def __init__(
        self, selector: selectors.BaseSelector, address: str, path: Path, request: Callable[[Reply | None], None]
    ) -> None:
        self._selector = selector
        self._config = str(path.resolve())
        self._request = request
        self._clients: dict[socket.socket, tuple[float, bytes]] = {}
        self._socket: socket.socket | None = None
        self._place = _place(address)
        try:
            self._socket = sockets.listen_for_owner(self._place)
        except OSError as problem:
            log.warning("%s: %s: `pratique reload` will not find us; SIGHUP works", self._place, problem.strerror)
        else:
            self._opened = sockets.identity(f"unix:{self._place}")
            selector.register(self._socket, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        """Take no more requests."""
        if self._socket:
            self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = None
            sockets.remove(f"unix:{self._place}", self._opened)

    def tick(self) -> None:
        """Forget clients that ask nothing."""
        now = time.monotonic()
        for client, (deadline, _) in list(self._clients.items()):
            if now > deadline:
                self._forget(client)
                client.close()

    def _accept(self, listening: socket.socket) -> None:
        try:
            client, _ = listening.accept()
        except OSError:
            return
        if len(self._clients) >= _MOST_CLIENTS:
            client.close()
            return
        client.setblocking(False)
        self._clients[client] = (time.monotonic() + _PATIENCE, b"")
        self._selector.register(client, selectors.EVENT_READ, self._read)

    def _forget(self, client: socket.socket) -> None:
        del self._clients[client]
        self._selector.unregister(client)

    def _read(self, client: socket.socket) -> None:
        deadline, request = self._clients[client]
        try:
            data = client.recv(_LONGEST_REQUEST)
        except OSError:
            data = b""
        request += data
        self._clients[client] = (deadline, request)
        if data and b"\n" not in request and len(request) < _LONGEST_REQUEST:
            return
        self._forget(client)
        word, _, path = request.decode("utf-8", "surrogateescape").rstrip("\n").partition(" ")
        if word not in ("reload", "reload-wait"):
            client.close()
        elif path != self._config:
            _answer(client, Answer(os.EX_UNAVAILABLE, (f"the service here has {self._config}",)))
        elif word == "reload-wait":
            self._request(lambda answer: _answer(client, answer))
        else:
            self._request(None)
            _answer(client, Answer(os.EX_OK))


def _answer(client: socket.socket, answer: Answer) -> None:
    with client, contextlib.suppress(OSError):
        client.settimeout(0.5)  # more than its buffer holds is thousands of errors
        client.sendall(json.dumps({"status": answer.status, "lines": answer.lines}).encode())


# ---- the command's side ----------------------------------------------------------------------------


def ask(path: Path, wait: bool, seconds: float) -> Answer:
    """Ask the service that has a configuration file to reload."""
    problems: list[str] = []
    looked: list[str] = []
    for place in _places(path):
        try:
            with socket.socket(socket.AF_UNIX) as service:
                service.settimeout(seconds)
                service.connect(os.fsencode(place))
                service.sendall(f"reload{'-wait' * wait} {path.resolve()}\n".encode("utf-8", "surrogateescape"))
                data = b""
                while (piece := service.recv(1 << 16)) and len(data) < _LONGEST_ANSWER:
                    data += piece
            found = json.loads(data)
            answer = Answer(found["status"], tuple(found["lines"]))
        except (FileNotFoundError, ConnectionRefusedError):
            looked.append(str(place))
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
    return Answer(os.EX_UNAVAILABLE, tuple(problems) or (f"no service is running at {' or '.join(looked)}",))
