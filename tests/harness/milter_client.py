"""Speaks the milter protocol (version 6) to a milter the way Postfix 3.7's smtpd and cleanup do.

Packets, flags, macros and the effect of header edits are those of Postfix 3.7.11 itself, on the wire and in
its queue file. Different on purpose: ABORT is flushed at once, not with the next packet; a transaction can be
aborted at any stage (Postfix has the whole message before it shows the first field, Sendmail has not);
Postfix's size limits and its rules for what is a header field are not applied.

    with MilterClient("unix:/run/x.sock") as client:
        client.connect("192.0.2.1", helo="mail.example")
        outcome = client.message([(b"From", b" a@b.example")], b"text\\r\\n")
        assert outcome.edits == (("insheader", 0, b"X-Foo", b" bar"),)
"""

import re
import socket
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Self

from harness.ports import PATIENCE

Field = tuple[bytes, bytes]  # name, and the value as in the message: everything after the colon
Edit = tuple[str, int, bytes, bytes]  # op, index (-1: none), name, value; the value alone where op is no *header
Response = Literal["continue", "accept", "reject", "tempfail", "discard", "replycode"]
Stage = Literal["connect", "helo", "mail", "rcpt", "data", "header", "eoh", "body", "eom"]

# SMFIF_* and SMFIP_* of mfdef.h: what Postfix 3.7 offers with its default milter_protocol, and one step.
ACTIONS, STEPS = 0x1FF, 0x1FFFFF
HDR_LEADSPC = 0x100000
LONGEST_REPLY = 2 * 65535
SMTPD_ONLY = ("{mail_", "{rcpt_", "{daemon_addr", "{tls_", "{cipher", "{cert_")  # cleanup knows no such macros
MY_NAME = "mx.example.net"

RESPONSES: dict[bytes, Response] = {b"c": "continue", b"a": "accept", b"r": "reject", b"t": "tempfail",
                                    b"d": "discard", b"y": "replycode"}  # fmt: skip
EDIT_OPS = {b"h": "addheader", b"i": "insheader", b"m": "chgheader",
            b"+": "addrcpt", b"2": "addrcpt", b"-": "delrcpt", b"e": "chgfrom"}  # fmt: skip


class _Event(NamedTuple):
    command: bytes
    suppressed_by: int  # SMFIP_NO*: the milter does not want the event
    unanswered_by: int  # SMFIP_NR_*: the milter does not answer it
    macro_class: int  # SMFIM_*, the key of a symbol list; cleanup's are EOM and EOH
    macros: str  # Postfix's default list for the class


EVENTS: dict[Stage, _Event] = {
    "connect": _Event(b"C", 0x1, 0x1000, 0, "j {daemon_name} {daemon_addr} v _"),
    "helo": _Event(b"H", 0x2, 0x2000, 1, "{tls_version} {cipher} {cipher_bits} {cert_subject} {cert_issuer}"),
    "mail": _Event(
        b"M", 0x4, 0x4000, 2, "i {auth_type} {auth_authen} {auth_author} {mail_addr} {mail_host} {mail_mailer}"
    ),
    "rcpt": _Event(b"R", 0x8, 0x8000, 3, "i {rcpt_addr} {rcpt_host} {rcpt_mailer}"),
    "data": _Event(b"T", 0x200, 0x10000, 4, "i"),
    "header": _Event(b"L", 0x20, 0x80, 6, "i"),
    "eoh": _Event(b"N", 0x40, 0x40000, 6, "i"),
    "body": _Event(b"B", 0x10, 0x80000, 5, "i"),
    "eom": _Event(b"E", 0, 0, 5, "i"),
}


class MilterError(ConnectionError):
    """The milter closed the connection, or said what Postfix does not accept at this point."""


@dataclass(frozen=True)
class Outcome:
    """What the milter did with a message, or with a connection."""

    response: Response = "continue"
    stage: Stage = "connect"  # where the response came
    reply: str | None = None  # of an SMFIR_REPLYCODE, e.g. "550 5.7.1 no"
    quarantine: str | None = None  # the reason
    edits: tuple[Edit, ...] = ()  # in the order received; changing a header field to b"" deletes it
    body_replaced: bool = False
    body_sent: int = 0  # octets, until the milter said SKIP
    fields: tuple[Field, ...] = ()  # the header after the edits, without the MTA's own Received


def open_socket(address: str, timeout: float) -> socket.socket:
    """Connect to `unix:/path` or `inet:PORT@HOST`."""
    kind, _, rest = address.partition(":")
    if kind == "inet":
        port, _, host = rest.partition("@")
        return socket.create_connection((host or "127.0.0.1", int(port)), timeout)
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(timeout)
    try:
        sock.connect(rest)
    except OSError:
        sock.close()
        raise
    return sock


def wait_ready(address: str, timeout: float = PATIENCE) -> None:
    """Return once the milter accepts a connection and answers OPTNEG; else raise TimeoutError. Where several
    processes share the socket this proves one of them."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            with MilterClient(address, max(0.1, deadline - time.monotonic())) as client:
                client.negotiate()
                return client.drop()
        except OSError as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{address}: no milter after {timeout} s: {error!r}") from error
        time.sleep(0.02)


def apply_edits(fields: Iterable[Field], edits: Iterable[Edit], leading_space: bool) -> tuple[Field, ...]:
    """The header after `edits`, as Postfix leaves it in the queue file.

    There the MTA's own Received, which no milter sees and the result leaves out, stands on top: insertions
    count it, changes do not. Changes do count what was inserted before them.
    """
    own = (b"Received", b" (the MTA's own)")
    header = [own, *((name.rstrip(b" \t"), value) for name, value in fields)]
    for op, index, name, value in edits:
        # A line that would not be a continuation is made one (cleanup_out_header).
        new = (name, (b"" if leading_space else b" ") + re.sub(rb"\n(?![ \t])", b"\n\t", value))
        place = slice(len(header), None)  # append, also where what is meant does not exist
        if op == "insheader" and index < len(header):
            place = slice(index, index)
        elif op == "chgheader":
            same = [i for i, known in enumerate(header) if known is not own and known[0].lower() == name.lower()]
            if len(same) >= max(index, 1):
                found = same[max(index, 1) - 1]
                place = slice(found, found + 1)
        elif op not in ("addheader", "insheader"):
            continue
        header[place] = [] if op == "chgheader" and not value else [new]
    return tuple(known for known in header if known is not own)


class MilterClient:
    """One SMTP client's connection as the milter sees it. A wait for the milter beyond `timeout` seconds raises
    TimeoutError. Leaving the context is `quit()`, or `drop()` after an exception."""

    def __init__(self, address: str, timeout: float = PATIENCE) -> None:
        self._sock = open_socket(address, timeout)
        self._input = self._sock.makefile("rb")
        self._output = bytearray()
        self._now = Outcome()
        self._skipped: Stage | None = None
        self._macros: dict[str, str] = {}
        self._given: dict[str, str] = {}  # macros of the test's own: known at every stage
        self.version = self.actions = self.steps = 0  # as negotiated
        self.symlists: dict[int, str] = {}  # by macro class

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.drop() if kind else self.quit()

    def send_packet(self, command: bytes, data: bytes = b"") -> None:
        """Send one packet now, whatever the state of the conversation."""
        self._put(command, data)
        self._flush()

    def read_packet(self) -> tuple[bytes, bytes]:
        """The milter's next packet: its command and data."""
        self._flush()
        length = int.from_bytes(self._read(4))
        if not 1 <= length <= LONGEST_REPLY:
            raise MilterError(f"packet of {length} octets")
        packet = self._read(length)
        return packet[:1], packet[1:]

    def negotiate(self) -> None:
        """OPTNEG; `connect` does it where it has not been done."""
        self.send_packet(b"O", struct.pack("!III", 6, ACTIONS, STEPS))
        command, data = self.read_packet()
        if command != b"O" or len(data) < 12:
            raise MilterError(f"answer to OPTNEG: {command!r} {data!r}")
        self.version, self.actions, self.steps = struct.unpack("!III", data[:12])
        if self.version > 6 or self.actions & ~ACTIONS:
            raise MilterError(f"milter wants version {self.version}, actions {self.actions:#x}")
        for symlist in re.finditer(rb"(.{4})([^\0]*)\0", data[12:], re.DOTALL):
            self.symlists[int.from_bytes(symlist[1])] = symlist[2].decode()

    def connect(
        self,
        client: str | None = "192.0.2.1",
        client_name: str = "unknown",
        helo: str | None = "client.example",
        *,
        port: int = 34567,
        macros: Mapping[str, str] | None = None,
    ) -> Outcome:
        """An SMTP client connects and says HELO, unless that is None. `client` is an IPv4 or IPv6 address, or
        None for one that the MTA does not know. `macros` are known at every stage, and override ours."""
        if not self.version:
            self.negotiate()
        address = client or "unknown"
        v6 = ":" in address
        self._macros = {
            "{j}": MY_NAME, "{daemon_name}": MY_NAME, "{daemon_addr}": "203.0.113.25", "{v}": "Postfix 3.7.11",
            "{client_addr}": f"IPv6:{address}" if v6 else address, "{client_name}": client_name,
            "{client_ptr}": client_name, "{client_port}": str(port), "{_}": f"{client_name} [{address}]",
        }  # fmt: skip
        self._given = {_braced(name): value for name, value in (macros or {}).items()}
        host = f"[{address}]" if client and client_name == "unknown" else client_name
        where = struct.pack("!cH", b"6" if v6 else b"4", port) + _strings(address) if client else b"U"
        if self._event("connect", _strings(host) + where) and helo is not None:
            self._event("helo", _strings(helo))
        if self._connection_ended():
            self.drop()
        return self._now

    def message(
        self,
        fields: Iterable[Field],
        body: bytes | Iterable[bytes] = b"",
        *,
        mail_from: str = "sender@example.com",
        rcpts: Sequence[str] = ("rcpt@example.net",),
        esmtp: Sequence[str] = (),
        queue_id: str = "4TESTQUEUEID",
        chunk: int = 65535,
        auth: str | None = None,
        raw: bool = False,
        until: Stage | None = None,
    ) -> Outcome:
        """One mail transaction, and the ABORT that Postfix sends after it.

        A field's value keeps its leading blank and its folds; CR LF and what follows a NUL are treated as
        Postfix does. The body's octets go out as they are. Addresses get angle brackets, unless they begin
        with one or `raw` is set. `auth` is the client's SASL login, `esmtp` the parameters of MAIL FROM.
        `until` stops after that stage and leaves the transaction open, for `abort()` or `drop()`.
        """
        if self._connection_ended():
            return self._now
        self._now, self._skipped = Outcome(stage="mail"), None
        for name in ("{i}", "{auth_type}", "{auth_authen}"):
            self._macros.pop(name, None)
        if auth is not None:
            self._macros |= {"{auth_type}": "PLAIN", "{auth_authen}": auth}
        fields = [(name.rstrip(b" \t"), value.replace(b"\r\n", b"\n").partition(b"\0")[0]) for name, value in fields]
        sender, *others = (path if raw or path.startswith("<") else f"<{path}>" for path in (mail_from, *rcpts))
        if self._envelope(sender, others, esmtp, queue_id, until) and until != "data":
            self._content(fields, body if isinstance(body, bytes) else b"".join(body), chunk, until)
        if until is None or self._now.response != "continue":
            self.abort()
        return replace(self._now, fields=apply_edits(fields, self._now.edits, bool(self.steps & HDR_LEADSPC)))

    def abort_after(self, stage: Stage, fields: Iterable[Field] = (), body: bytes = b"", **more: Any) -> None:
        """Begin a transaction as `message` does, and abort it after a stage ('body': before end of message)."""
        if self.message(fields, body, until=stage, **more).response == "continue":
            self.abort()

    def abort(self) -> None:
        """End the transaction, not the connection."""
        self.send_packet(b"A")

    def quit(self) -> None:
        """Say goodbye as Postfix does, and close; nothing where the connection is closed already."""
        if self._sock.fileno() >= 0:
            with suppress(ConnectionError):
                self._put(b"A")
                self.send_packet(b"Q")
            self.drop()

    def drop(self) -> None:
        """Close the socket without a word. libmilter forgets what it has not read by then."""
        with suppress(OSError):
            self._flush()
        self._input.close()
        self._sock.close()

    def _connection_ended(self) -> bool:
        return self._now.stage in ("connect", "helo") and self._now.response != "continue"

    def _envelope(
        self, sender: str, rcpts: list[str], esmtp: Sequence[str], queue_id: str, until: Stage | None
    ) -> bool:
        """MAIL, RCPT and DATA; whether to go on."""
        self._macros |= _address_macros("mail", sender)
        if not self._event("mail", _strings(sender, *esmtp)) or until == "mail":
            return False
        accepted = False
        for rcpt in rcpts:
            self._macros |= _address_macros("rcpt", rcpt)
            going = self._event("rcpt", _strings(rcpt))
            if self._now.response in ("accept", "discard"):  # of the message; a refusal is of this recipient
                return False
            if going:
                accepted = True
                self._macros["{i}"] = queue_id  # smtpd has one from the first recipient it accepts
        if accepted:
            self._now = replace(self._now, response="continue", reply=None)
        return accepted and until != "rcpt" and self._event("data")

    def _content(self, fields: list[Field], body: bytes, chunk: int, until: Stage | None) -> None:
        """Header, body and end of message."""
        for name, value in fields:
            shown = value if self.steps & HDR_LEADSPC else value.removeprefix(b" ")
            if not self._event("header", name + b"\0" + shown + b"\0"):
                return
        if until == "header" or not self._event("eoh") or until == "eoh":
            return
        for start in range(0, len(body), chunk):
            if self._skipped == "body" or self.steps & EVENTS["body"].suppressed_by:
                break
            self._now = replace(self._now, body_sent=min(start + chunk, len(body)))
            if not self._event("body", body[start : start + chunk]):
                return
        if until != "body":
            self._event("eom")

    def _event(self, stage: Stage, payload: bytes = b"") -> bool:
        """Report one event with its macros and take the answer; whether the milter wants to hear more."""
        if self._skipped == stage:
            return True
        self._skipped = None
        self._now = replace(self._now, stage=stage)
        event = EVENTS[stage]
        self._put(b"D", event.command + self._macro_data(event))  # also where the event is not wanted
        if self.steps & event.suppressed_by:
            return True
        self._put(event.command, payload)
        if self.steps & event.unanswered_by:
            return True
        while True:
            command, data = self.read_packet()
            if command in RESPONSES:
                response = RESPONSES[command]
                if response == "discard" and stage in ("connect", "helo"):
                    response = "continue"  # not allowed there: Postfix warns and goes on
                self._now = replace(self._now, response=response, reply=_reply(data) if command == b"y" else None)
                return response == "continue"
            if command == b"s":
                self._skipped = stage
                return True
            if command == b"q":
                self._now = replace(self._now, quarantine=_text(data))
            elif command == b"b" and stage == "eom":
                self._now = replace(self._now, body_replaced=True)
            elif command in EDIT_OPS and stage == "eom":
                self._now = replace(self._now, edits=(*self._now.edits, _edit(command, data)))
            elif command != b"p":
                raise MilterError(f"unexpected answer {command!r} {data[:100]!r} at {stage}")

    def _macro_data(self, event: _Event) -> bytes:
        """Names and values for one event. Postfix takes an empty symbol list for none at all."""
        known = self._macros
        if event.macro_class >= 5:
            known = {key: value for key, value in known.items() if not key.startswith(SMTPD_ONLY)}
            known["{client_addr}"] = known["{client_addr}"].removeprefix("IPv6:")
        known = known | self._given
        names = re.findall(r"[^\s,]+", self.symlists.get(event.macro_class) or event.macros)
        return b"".join(_strings(name, known[_braced(name)]) for name in names if _braced(name) in known)

    def _put(self, command: bytes, data: bytes = b"") -> None:
        self._output += struct.pack("!I", 1 + len(data)) + command + data
        if len(self._output) > 1 << 16:
            self._flush()

    def _flush(self) -> None:
        output, self._output = self._output, bytearray()
        self._sock.sendall(output)

    def _read(self, size: int) -> bytes:
        data = self._input.read(size)
        if len(data) < size:
            raise MilterError(f"the milter closed the connection at or after {self._now.stage}")
        return data


def _strings(*texts: str) -> bytes:
    return b"".join(text.encode("utf-8", "surrogateescape") + b"\0" for text in texts)


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode("utf-8", "surrogateescape")


def _braced(name: str) -> str:
    return name if name.startswith("{") else f"{{{name}}}"


def _address_macros(kind: str, path: str) -> dict[str, str]:
    address = path.removeprefix("<").removesuffix(">")
    host = address.rpartition("@")[2] or MY_NAME
    return {f"{{{kind}_addr}}": address, f"{{{kind}_host}}": host, f"{{{kind}_mailer}}": "smtp"}


def _reply(data: bytes) -> str:
    """The text of an SMFIR_REPLYCODE, its doubled percent signs undone as Postfix does."""
    reply = _text(data)
    if not re.match(r"([45])\d\d[ -](\1|\D|$)", reply):
        raise MilterError(f"malformed reply {reply!r}")
    return re.sub(r"%(.?)", r"\1", reply, flags=re.DOTALL)


def _edit(command: bytes, data: bytes) -> Edit:
    op, index = EDIT_OPS[command], -1
    if not op.endswith("header"):
        return op, index, b"", data
    if command != b"h":
        index, data = int.from_bytes(data[:4], signed=True), data[4:]
    name, *values = data.split(b"\0")
    if not name or len(values) != 2 or values[1]:
        raise MilterError(f"malformed {op}: {data!r}")
    return op, index, name, values[0]
