"""The milter protocol: callbacks store what the MTA says, and carry out the decision.

Rules of this module: it decides nothing. A callback stores a fact or makes one call, and service/libmilter.py calls
it. An exception in judging gives the verdict `undetermined`; one in applying it answers 451.
"""

from __future__ import annotations

import functools
import ipaddress
import logging
import time
from datetime import UTC, datetime
from typing import Any, Protocol

import Milter

from . import headers, record
from .examine import Examination, internal_error
from .model import Action, Decision, HeaderEdit, IPAddress, Session, Settings
from .resolver import Resolver

log = logging.getLogger("pratique")

_MAX_KEPT_RCPTS = 100
_MAX_RCPT = 320  # characters: the longest address of RFC 5321 has 256 with its brackets
_MAX_ENVELOPE = 1024  # octets of HELO, MAIL FROM, RCPT TO: RFC 5321 allows less


class Watch(Protocol):
    """Who wants to know how connections and messages come and go; called by the threads of all connections."""

    def opens(self) -> None: ...
    def closes(self) -> None: ...
    def begins(self) -> None: ...
    def ends(self) -> None: ...
    def decided(self, decision: Decision, seconds: float) -> None: ...


class Mta(Protocol):
    """What the MTA can be asked, and asked to do, in a connection: libmilter's `smfi_…` as pymilter has them."""

    def getsymval(self, macro: str) -> str | None: ...
    def addheader(self, name: str, value: str, index: int) -> None: ...
    def chgheader(self, name: str, index: int, value: str) -> None: ...
    def setreply(self, code: str, enhanced: str, text: str) -> None: ...
    def quarantine(self, reason: str) -> None: ...


class Filter:
    """One connection of the MTA; several messages may come over it.

    Whoever calls connect, hello, envfrom, envrcpt, eoh, or gives a header field to the `collector`, catches what they
    raise, and calls `fail`.
    """

    def __init__(self, settings: Settings, resolver: Resolver, watch: Watch, mta: Mta) -> None:
        self.stored = Milter.CONTINUE  # the answer to a fact that was stored
        self._mta = mta
        self._settings = settings
        self._resolver = resolver
        self._watch = watch
        self._in_message = False
        watch.opens()
        self._client: IPAddress | None = None
        self._helo = ""
        self._forget()

    def _forget(self) -> None:
        """Forget the message; what is known of the connection stays."""
        self._mail_from = ""
        self._rcpts: list[str] = []
        self._rcpt_count = 0
        self._authenticated = False
        self.collector = headers.HeaderCollector(self._settings)
        self._examination: Examination | None = None
        self._failed = False

    # ---- the callbacks, in the order in which they come

    def connect(self, hostname: str, family: int, hostaddr: Any) -> None:  # noqa: ARG002
        self._client = _address(hostaddr)

    def hello(self, hostname: str) -> None:
        self._helo = hostname[:_MAX_ENVELOPE]

    def envfrom(self, path: bytes, *params: bytes) -> None:  # noqa: ARG002
        if self._in_message:  # which an MTA may leave without a word
            self._end_message()
        self._watch.begins()
        self._in_message = True
        self._mail_from = path.decode("utf-8", "replace")[:_MAX_ENVELOPE]

    def envrcpt(self, path: bytes, *params: bytes) -> None:  # noqa: ARG002
        self._rcpt_count += 1
        if len(self._rcpts) < _MAX_KEPT_RCPTS:
            self._rcpts.append(path[: 4 * _MAX_RCPT].decode("utf-8", "replace")[:_MAX_RCPT])

    def eoh(self) -> None:
        self._authenticated = bool(self._mta.getsymval("{auth_type}") or self._mta.getsymval("{auth_authen}"))
        self._examination = Examination(self._session(), self.collector.header(), self._settings, datetime.now(UTC))

    def body(self, piece: bytes) -> Any:
        examination = self._examination
        if examination is None or not examination.wants_body:
            return Milter.SKIP
        try:
            examination.body(piece)
        except Exception:
            self.fail()
        return Milter.CONTINUE

    def eom(self) -> Any:
        started = time.monotonic()
        try:
            decision = self._decide()
            seconds = time.monotonic() - started
            self._log(decision, round(1000 * seconds))
            answer = self._carry_out(decision)
            self._watch.decided(decision, seconds)
            return answer
        except Exception:
            log.exception("%s: cannot apply the decision, deferring the message", self._queue_id())
            return Milter.TEMPFAIL
        finally:
            self._end_message()

    def abort(self) -> Any:
        if self._in_message:
            self._end_message()
        return Milter.CONTINUE

    def close(self) -> Any:
        if self._in_message:
            self._end_message()
        self._watch.closes()
        return Milter.CONTINUE

    def _end_message(self) -> None:
        if self._in_message:
            self._in_message = False
            self._watch.ends()
        self._forget()

    # ---- judging: whatever goes wrong here gives `undetermined`

    def fail(self) -> None:
        """The judging of this message has raised: log it, and judge no further."""
        log.exception("%s: cannot judge the message", self._queue_id())
        self._failed = True
        self._examination = None

    def _decide(self) -> Decision:
        if self._examination and not self._failed:
            try:
                return self._examination.decide(self._resolver)
            except Exception:
                self.fail()
        return internal_error(self._session(), self.collector.header(), self._settings, datetime.now(UTC))

    def _session(self) -> Session:
        return Session(
            client=self._client,
            helo=self._helo,
            mail_from=self._mail_from,
            rcpts=tuple(self._rcpts),
            rcpt_count=self._rcpt_count,
            authenticated=self._authenticated,
            hostname=self._mta.getsymval("j") or "",
        )

    def _queue_id(self) -> str:
        return self._mta.getsymval("i") or ""

    # ---- carrying out: whatever goes wrong here defers the message

    def _log(self, decision: Decision, milliseconds: int) -> None:
        level = record.level(decision)
        if not log.isEnabledFor(level):
            return
        settings = self._settings
        session, header = self._session(), self.collector.header()
        fields = record.fields(decision, session, header, milliseconds, settings.mode, settings.generation)
        write = record.as_json if self._settings.log_format == "json" else record.logfmt
        for line in record.lines(write, self._queue_id(), fields):
            log.log(level, "%s", line)

    def _carry_out(self, decision: Decision) -> Any:
        for edit in decision.edits:
            self._edit(edit)
        match decision.action:
            case Action.REJECT:
                self._mta.setreply("550", "5.7.1", decision.text)
                return Milter.REJECT
            case Action.DEFER:
                self._mta.setreply("451", "4.7.1", decision.text)
                return Milter.TEMPFAIL
            case Action.QUARANTINE:
                self._mta.quarantine(decision.text)
        return Milter.CONTINUE

    def _edit(self, edit: HeaderEdit) -> None:
        # The MTA was told to leave blanks after the colon to us: put the customary one there.
        value = f" {edit.value}"
        match edit.op:
            case "delete":
                self._mta.chgheader(edit.name, edit.index, "")
            case "change":
                self._mta.chgheader(edit.name, edit.index, value)
            case "insert":
                self._mta.addheader(edit.name, value, edit.index)


def _address(hostaddr: Any) -> IPAddress | None:
    """The client's address as libmilter gives it: (address, port, …) or, for a local socket, something else."""
    return _ip(hostaddr[0]) if isinstance(hostaddr, tuple) else None


@functools.lru_cache(maxsize=1024)
def _ip(text: str) -> IPAddress | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def as_crlf(value: bytes) -> bytes:
    """A value whose folds came as LF, with the CR LF of the wire."""
    return value.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
