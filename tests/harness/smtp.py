"""A plain SMTP client for tests: what it is given goes over the wire as it is, and XCLIENT plays the client.

Sendmail has no XCLIENT: it is given a connection that is open already, and a user logs in.
"""

from __future__ import annotations

import base64
import contextlib
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

from harness.ports import PATIENCE

PASSWORD = "secret"  # of whoever logs in at a server without XCLIENT

Stage = Literal["connect", "xclient", "helo", "auth", "mail", "rcpt", "data", "message", "command"]


@dataclass(frozen=True)
class Reply:
    """An SMTP reply: the one to the whole message, or the first that refused something."""

    code: int
    text: str
    queue_id: str | None
    stage: Stage


class Connection:
    """One SMTP connection to a port, where `client` and the other facts are played by XCLIENT; or over a connection
    that comes from the client already, where `login` is a real one.

    Where the server refused the connection, `opening` is its refusal and every message gets it.
    """

    def __init__(
        self,
        server: int | socket.socket,
        client: str | None = None,
        helo: str | None = None,
        client_name: str | None = None,
        login: str | None = None,
        timeout: float = PATIENCE,
    ) -> None:
        played = isinstance(server, int)
        self.socket = socket.create_connection(("127.0.0.1", server)) if isinstance(server, int) else server
        self.socket.settimeout(timeout)
        # A command waits for its reply: with Nagle's algorithm a large message would wait for ACKs, too.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._input = self.socket.makefile("rb")
        self.opening = self.reply("connect")
        if self.opening.code == 220 and played and (client or client_name or login):
            address = f"IPV6:{client}" if client and ":" in client else client or "127.0.0.1"
            facts = f"ADDR={address} NAME={_xtext(client_name) if client_name else '[UNAVAILABLE]'}"
            facts += f" LOGIN={_xtext(login)}" if login else ""
            self.opening = self.command(f"XCLIENT {facts}".encode(), "xclient")
        if self.opening.code == 220:
            self.opening = self.command(b"EHLO " + (helo or "client.example").encode(), "helo")
        if self.opening.code == 250 and login and not played:
            plain = base64.b64encode(f"\0{login}\0{PASSWORD}".encode())
            self.opening = self.command(b"AUTH PLAIN " + plain, "auth")

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drop()

    def command(self, line: bytes, stage: Stage = "command") -> Reply:
        """Send one line as it is, and read the reply."""
        self.socket.sendall(line + b"\r\n")
        return self.reply(stage)

    def reply(self, stage: Stage = "command") -> Reply:
        """Read one reply, of one line or several."""
        lines: list[str] = []
        while not lines or lines[-1][3:4] == "-":
            line = self._input.readline()
            if not line:
                raise ConnectionError(f"the server closed the connection ({stage}) after {lines}")
            lines.append(line.decode("utf-8", "replace").rstrip("\r\n"))
        text = "\n".join(line[4:] for line in lines)
        queued = re.search(r"queued as (\w+)|2\.0\.0 (\w+) Message accepted", text)
        queue_id = (queued[1] or queued[2]) if queued else None
        return Reply(int(lines[-1][:3]), text, queue_id, stage)

    def message(
        self,
        message: bytes,
        mail_from: str,
        rcpts: Sequence[str],
        *,
        raw: bool = False,
        raw_mail_from: bool = False,
    ) -> Reply:
        """Send one message, its lines as they are, and return the last reply or the first refusal.

        A dot that begins a line is doubled unless `raw`; a missing line end is added before the final dot
        either way. `raw_mail_from`: `mail_from` is all that follows `MAIL FROM:`, brackets and options too.
        """
        if self.opening.code >= 400:
            return self.opening
        sender = mail_from if raw_mail_from else f"<{mail_from}>"
        commands: list[tuple[Stage, str]] = [("mail", f"MAIL FROM:{sender}")]
        commands += [("rcpt", f"RCPT TO:<{address}>") for address in rcpts]
        commands += [("data", "DATA")]
        for stage, line in commands:
            reply = self.command(line.encode("utf-8", "surrogateescape"), stage)
            if reply.code >= 400:
                if reply.code != 421:  # after which the server hangs up
                    self.rset()
                return reply
        # Postfix before 3.9 takes a bare line feed for a line end, and removes a dot after it.
        data = message if raw else re.sub(rb"(?m)^\.", b"..", message)
        self.socket.sendall(data + (b".\r\n" if data.endswith(b"\r\n") else b"\r\n.\r\n"))
        return self.reply("message")

    def rset(self) -> Reply:
        return self.command(b"RSET")

    def quit(self) -> Reply:
        """Say good-bye and close."""
        reply = self.command(b"QUIT")
        self.drop()
        return reply

    def part(self) -> None:
        """Say good-bye, if the server has not hung up already."""
        with contextlib.suppress(OSError):
            self.quit()

    def drop(self) -> None:
        """Close without a word, as a client that dies."""
        self._input.close()
        self.socket.close()


def _xtext(value: str) -> str:
    """Encode an XCLIENT value (RFC 3461 §4)."""
    return "".join(chr(b) if 33 <= b <= 126 and b not in b"+=" else f"+{b:02X}" for b in value.encode())
