"""A decision as one log line (DESIGN §6).

Rules of this module: pure; keys are fixed and in a fixed order; every value is bounded and quoted, so that
nothing in a message can add a line or a field.
"""

from __future__ import annotations

import json
import logging
import re

from .model import Decision, Header, Mode, Session, Verdict

_LONGEST = 200  # characters of a value
_LONGEST_WRITTEN = 300  # octets of a value with its escapes: a line of at most PIPE_BUF octets never blocks or mixes
_PLAIN = re.compile(r"[A-Za-z0-9@._+:/,\[\]<>-]+")
_SHOWN_RCPTS = 3


def level(decision: Decision) -> int:
    """The level of a decision's line: warnings are what an operator wants to see."""
    if decision.verdict in (Verdict.UNCLAIMED, Verdict.UNCHECKED):
        return logging.INFO if decision.stripped else logging.DEBUG
    return logging.INFO if decision.verdict in (Verdict.VERIFIED, Verdict.UNLISTED) else logging.WARNING


def fields(decision: Decision, session: Session, header: Header, milliseconds: int, mode: Mode) -> dict[str, str]:
    """The record of one message, in the order in which it is written; what is not known is left out."""
    evidence = decision.evidence
    checked = decision.claim.needs_evidence
    signature = evidence.best_signature
    record = {
        "verdict": decision.verdict.value,
        "mode": "observe" if mode is Mode.OBSERVE else "",
        "action": decision.action.value,
        "sender": decision.sender or "",
        "by": "+".join(decision.by),
        "from": str(decision.claim.address or ""),
        "reason": decision.reason or "",
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
        "to": ",".join(rcpt.removeprefix("<").removesuffix(">") for rcpt in session.rcpts[:_SHOWN_RCPTS]),
        "rcpts": str(session.rcpt_count),
        "stripped": str(decision.stripped) if decision.stripped else "",
        "message-id": _message_id(header),
        "ms": str(milliseconds),
    }
    return {key: _bounded(value) for key, value in record.items() if value}


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


def logfmt(queue_id: str, record: dict[str, str]) -> str:
    """`QUEUEID: key=value key="quoted value" …`"""
    return f"{_quoted(_bounded(queue_id) or '-')}: " + " ".join(
        f"{key}={_quoted(value)}" for key, value in record.items()
    )


def as_json(queue_id: str, record: dict[str, str]) -> str:
    """The same record as one JSON object; counts are numbers."""
    numbers: dict[str, int] = {key: int(record[key]) for key in ("rcpts", "stripped", "ms") if key in record}
    whole: dict[str, str | int] = {"queue-id": _bounded(queue_id), **record, **numbers}
    return _ascii(whole)


def _quoted(value: str) -> str:
    """Plain words as they are; all else in double quotes, what is not printable ASCII as escapes."""
    if _PLAIN.fullmatch(value):
        return value
    return _ascii(value)


def _ascii(value: object) -> str:
    return json.dumps(value, ensure_ascii=True).replace("\x7f", "\\u007f")
