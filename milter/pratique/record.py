"""A decision as one log line (design#log-line).

Rules of this module: pure; keys are fixed and in a fixed order; every value is bounded and quoted, so that
nothing in a message can add a line or a field.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping

from .model import Decision, Header, Mode, Session, Verdict

_LONGEST = 200  # characters of a value
_LONGEST_WRITTEN = 300  # octets of a value with its escapes: a line of at most PIPE_BUF octets never blocks or mixes
_PLAIN = re.compile(r"[A-Za-z0-9@._+:/,\[\]<>-]+")
_MOST_RCPTS = 100
_LONGEST_LINE = 4000  # bytes; with its level and its end the line is below PIPE_BUF

_REPEATED = ("rcpts", "message-id", "gen")  # keys of a line with more recipients
_NUMBERS = ("rcpts", "stripped", "ms", "gen")

Value = str | tuple[str, ...]


def level(decision: Decision) -> int:
    """The level of a decision's line: warnings are what an operator wants to see."""
    if decision.verdict in (Verdict.UNCLAIMED, Verdict.UNCHECKED):
        return logging.INFO if decision.stripped else logging.DEBUG
    return logging.INFO if decision.verdict in (Verdict.VERIFIED, Verdict.UNLISTED) else logging.WARNING


def fields(
    decision: Decision, session: Session, header: Header, milliseconds: int, mode: Mode, generation: int = 0
) -> dict[str, Value]:
    """The record of one message, in the order in which it is written; what is not known is left out."""
    evidence = decision.evidence
    checked = decision.claim.needs_evidence
    signature = evidence.best_signature
    record: dict[str, Value] = {
        "verdict": decision.verdict.value,
        "mode": "observe" if mode is Mode.OBSERVE else "",
        "action": decision.action.value,
        "sender": decision.sender or "",
        "by": "+".join(decision.by),
        "from": str(decision.claim.address or ""),
        "reason": decision.reason or "",
        "because": decision.because or "",
        "imitates": decision.claim.detail,
        "spf": evidence.spf.result.value if checked and evidence.spf.evaluated else "",
        "spf.domain": (evidence.spf.domain or "") if evidence.spf.evaluated else "",
        "dkim": signature.result.value if checked else "",
        "dkim.domain": signature.domain or "",
        "dkim.selector": signature.selector or "",
        "arc": evidence.arc.result.value if evidence.arc.result != "none" else "",
        "arc.domain": evidence.arc.sealers[-1] if evidence.arc.sealers else "",
        "dns": evidence.dns.value if checked and evidence.dns != "ok" else "",
        "client": str(decision.origin.client or ""),
        "relay": str(decision.origin.relay or ""),
        "helo": decision.origin.helo,
        "mail-from": session.mail_from.removeprefix("<").removesuffix(">") or "<>",
        "to": _recipients(session),
        "rcpts": str(session.rcpt_count),
        "stripped": str(decision.stripped) if decision.stripped else "",
        "message-id": _message_id(header),
        "ms": str(milliseconds),
        "gen": str(generation) if generation else "",
    }
    return {key: _bounded(value) if isinstance(value, str) else value for key, value in record.items() if value}


def _recipients(session: Session) -> tuple[str, ...]:
    """The recipients, each bounded; `rcpts` says how many there are."""
    return tuple(_bounded(rcpt.removeprefix("<").removesuffix(">")) for rcpt in session.rcpts[:_MOST_RCPTS])


def _message_id(header: Header) -> str:
    first = next(iter(header.all(b"message-id")), None)
    return first.value[: 4 * _LONGEST].decode("utf-8", "replace").strip() if first else ""


def _bounded(value: str) -> str:
    if len(value) <= _LONGEST and value.isascii() and value.isprintable():
        return value
    room = _LONGEST_WRITTEN
    for place, character in enumerate(value):
        room -= len(_ascii(character)) - 2
        if room < 0 or place == _LONGEST:
            return value[:place] + "…"
    return value


def lines(write: Callable[[str, Mapping[str, Value]], str], queue_id: str, record: Mapping[str, Value]) -> list[str]:
    """The record, written by `logfmt` or `as_json`. Recipients that do not fit follow in lines of their own: a line of
    at most PIPE_BUF bytes is written whole, or not at all."""
    whole = write(queue_id, record)
    if len(whole) <= _LONGEST_LINE:
        return [whole]
    rcpts = record.get("to", ())
    fields = dict(record)
    found: list[str] = []
    while rcpts:
        room = _LONGEST_LINE - len(write(queue_id, fields | {"to": ()}))
        taken = 0
        while taken < len(rcpts) and (room := room - len(_ascii(rcpts[taken])) - 2) >= 0:
            taken += 1
        taken = taken or int(bool(found))  # in the first line there may be no room at all
        found.append(write(queue_id, fields | {"to": rcpts[:taken]}))
        rcpts = rcpts[taken:]
        fields = {"to": (), **{key: value for key, value in record.items() if key in _REPEATED}}
    return found


def logfmt(queue_id: str, record: Mapping[str, Value]) -> str:
    """`QUEUEID: key=value key="quoted value" …`; several values with commas between them."""
    joined = ((key, value if isinstance(value, str) else ",".join(value)) for key, value in record.items())
    return f"{_quoted(_bounded(queue_id) or '-')}: " + " ".join(f"{key}={_quoted(value)}" for key, value in joined)


def as_json(queue_id: str, record: Mapping[str, Value]) -> str:
    """The same record as one JSON object; counts are numbers, and recipients a list."""
    numbers = {key: int(value) for key in _NUMBERS if isinstance(value := record.get(key), str) and value.isdecimal()}
    return _ascii({"queue-id": _bounded(queue_id), **record, **numbers})


def _quoted(value: str) -> str:
    """Plain words as they are; all else in double quotes, what is not printable ASCII as escapes."""
    if _PLAIN.fullmatch(value):
        return value
    return _ascii(value)


def _ascii(value: object) -> str:
    return json.dumps(value, ensure_ascii=True).replace("\x7f", "\\u007f")
