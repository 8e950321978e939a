"""The milter protocol: callbacks store what the MTA says, and carry out the decision.

Rules of this module: it decides nothing. A callback stores a fact or makes one call. An exception in judging
gives the verdict `undetermined`; one in applying it is left to pymilter, which answers 451.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import Milter

from . import headers, record
from .examine import Examination, internal_error
from .model import Action, Decision, HeaderEdit, IPAddress, Session, Settings
from .resolver import Lookups, Resolver

log = logging.getLogger("pratique")

_MAX_KEPT_RCPTS = 3
_MAX_ENVELOPE = 1024  # octets of HELO, MAIL FROM, RCPT TO: RFC 5321 allows less


@Milter.header_leading_space
class Filter(Milter.Base):  # type: ignore[misc]
    """One connection of the MTA; several messages may come over it."""

    def __init__(self, settings: Settings, resolver: Resolver) -> None:
        self._settings = settings
        self._resolver = resolver
        self._client: IPAddress | None = None
        self._helo = ""
        self._forget()

    def _forget(self) -> None:
        """Forget the message; what is known of the connection stays."""
        self._mail_from = ""
        self._rcpts: list[str] = []
        self._rcpt_count = 0
        self._authenticated = False
        self._collector = headers.HeaderCollector(self._settings)
        self._examination: Examination | None = None

    # ---- the callbacks, in the order in which they come

    @Milter.noreply
    def connect(self, hostname: str, family: int, hostaddr: Any) -> Any:  # noqa: ARG002
        self._client = _address(hostaddr)
        return Milter.CONTINUE

    @Milter.noreply
    def hello(self, hostname: str) -> Any:
        self._helo = hostname[:_MAX_ENVELOPE]
        return Milter.CONTINUE

    @Milter.noreply
    @Milter.decode("replace")
    def envfrom(self, path: str, *params: str) -> Any:  # noqa: ARG002
        self._forget()
        self._mail_from = path[:_MAX_ENVELOPE]
        return Milter.CONTINUE

    @Milter.noreply
    @Milter.decode("replace")
    def envrcpt(self, path: str, *params: str) -> Any:  # noqa: ARG002
        self._rcpt_count += 1
        if len(self._rcpts) < _MAX_KEPT_RCPTS:
            self._rcpts.append(path[:_MAX_ENVELOPE])
        return Milter.CONTINUE

    @Milter.noreply
    @Milter.decode("bytes")
    def header(self, name: str, value: bytes) -> Any:
        self._collector.add(name.encode("utf-8", "surrogateescape"), as_crlf(value))
        return Milter.CONTINUE

    @Milter.noreply
    def eoh(self) -> Any:
        self._authenticated = bool(self.getsymval("{auth_type}") or self.getsymval("{auth_authen}"))
        self._safely(self._begin)
        return Milter.CONTINUE

    def body(self, piece: bytes) -> Any:
        examination = self._examination
        if examination is None or not examination.wants_body:
            return Milter.SKIP
        self._safely(lambda: examination.body(piece))
        return Milter.CONTINUE

    def eom(self) -> Any:
        started = time.monotonic()
        try:
            decision = self._decide()
            self._log(decision, round(1000 * (time.monotonic() - started)))
            return self._carry_out(decision)
        except Exception:
            log.exception("%s: cannot apply the decision, deferring the message", self._queue_id())
            return Milter.TEMPFAIL

    def abort(self) -> Any:
        self._forget()
        return Milter.CONTINUE

    # ---- judging: whatever goes wrong here gives `undetermined`

    def _begin(self) -> None:
        self._examination = Examination(self._session(), self._collector.header(), self._settings, datetime.now(UTC))

    def _decide(self) -> Decision:
        decisions: list[Decision] = []
        if examination := self._examination:
            lookups = Lookups(self._resolver, self._settings.dns.timeout)
            self._safely(lambda: decisions.append(examination.decide(lookups)))
        if decisions:
            return decisions[0]
        return internal_error(self._session(), self._collector.header(), self._settings, datetime.now(UTC))

    def _safely(self, call: Callable[[], None]) -> None:
        """Run a step of the judging; one that raises ends the judging of this message."""
        try:
            call()
        except Exception:
            log.exception("%s: cannot judge the message", self._queue_id())
            self._examination = None

    def _session(self) -> Session:
        return Session(
            client=self._client,
            helo=self._helo,
            mail_from=self._mail_from,
            rcpts=tuple(self._rcpts),
            rcpt_count=self._rcpt_count,
            authenticated=self._authenticated,
            hostname=self.getsymval("j") or "",
            queue_id=self._queue_id(),
        )

    def _queue_id(self) -> str:
        return self.getsymval("i") or ""

    # ---- carrying out: whatever goes wrong here defers the message

    def _log(self, decision: Decision, milliseconds: int) -> None:
        level = record.level(decision)
        if not log.isEnabledFor(level):
            return
        session = self._session()
        fields = record.fields(decision, session, self._collector.header(), milliseconds, self._settings.mode)
        write = record.as_json if self._settings.log_format == "json" else record.logfmt
        log.log(level, "%s", write(session.queue_id, fields))

    def _carry_out(self, decision: Decision) -> Any:
        for edit in decision.edits:
            self._edit(edit)
        match decision.action:
            case Action.REJECT:
                self.setreply("550", "5.7.1", decision.text)
                return Milter.REJECT
            case Action.DEFER:
                self.setreply("451", "4.7.1", decision.text)
                return Milter.TEMPFAIL
            case Action.QUARANTINE:
                self.quarantine(decision.text)
        return Milter.CONTINUE

    def _edit(self, edit: HeaderEdit) -> None:
        # The MTA was told to leave blanks after the colon to us: put the customary one there.
        value = f" {edit.value}"
        match edit.op:
            case "delete":
                self.chgheader(edit.name, edit.index, "")
            case "change":
                self.chgheader(edit.name, edit.index, value)
            case "insert":
                self.addheader(edit.name, value, edit.index)


def _address(hostaddr: Any) -> IPAddress | None:
    """The client's address as libmilter gives it: (address, port, …) or, for a local socket, something else."""
    try:
        address = ipaddress.ip_address(hostaddr[0].partition("%")[0])
    except (ValueError, TypeError, IndexError, AttributeError):
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def as_crlf(value: bytes) -> bytes:
    """A value whose folds came as LF, with the CR LF of the wire."""
    return value.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
