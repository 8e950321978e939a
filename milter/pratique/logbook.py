"""What the service's own log says of each trusted sender: how many messages proved themselves, and by what.

Rules of this module: pure; it reads exactly the lines that record.py writes, alone or behind the prefix that
journalctl or a syslog daemon puts before them. Another program's line may hold text of a stranger: it is passed over.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta

from .model import Verdict

LONGEST_LINE = 65536  # characters; a longer one is not ours
_MOST_KEPT = 200_000  # message ids remembered for an entry
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_PREFIX = re.compile(
    r"""(?:(?:(?P<iso>\d{4}-\d\d-\d\d)T[0-9:.,]+(?:Z|[+-]\d\d:?\d\d)?
          |(?P<month>[A-Z][a-z]{2})[ ]+(?P<day>\d{1,2})[ ][0-9:]{8})
        [ ]\S+[ ]pratique[A-Za-z0-9_.@-]*(?:\[\d+\])?:[ ]+)?
        (?:<\d>)?""",
    re.VERBOSE,
)
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_PLAIN = r"[A-Za-z0-9@._+:/,\[\]<>-]+"
_START = re.compile(rf"(?:{_QUOTED}|{_PLAIN}): (?=verdict=)")
_PAIR = re.compile(rf"([a-z.-]+)=({_QUOTED}|{_PLAIN})(?: |$)")


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the log; `day` is None where nothing before it tells when it was written."""

    day: date | None
    fields: dict[str, str]


@dataclass
class Seen:
    """The messages of one entry. Only what proved itself tells something of the platform: forgers write the rest."""

    verified: int = 0
    signed: int = 0  # of those: with a DKIM signature that counts
    by_spf: int = 0  # of those: with an SPF pass that was asked for and counts
    undated: int = 0  # of those: without a day
    unverified: int = 0
    reasons: Counter[str] = field(default_factory=Counter)  # of the unverified
    keys: dict[tuple[str, str], date | None] = field(default_factory=dict)  # (domain, selector), last seen last
    senders: set[str] = field(default_factory=set)  # domains of MAIL FROM that SPF passed for
    first: date | None = None  # day of a verified one
    last: date | None = None
    _ids: set[str] = field(default_factory=set)
    _open: set[str] = field(default_factory=set)

    @property
    def undetermined(self) -> int:
        """Messages that could not be judged, and did not come again to be verified."""
        return len(self._open - self._ids)

    def add(self, record: Record) -> None:
        fields = record.fields
        message = fields.get("message-id", "")
        match fields["verdict"]:
            case Verdict.VERIFIED:
                self._add_verified(record, message)
            case Verdict.UNDETERMINED if len(self._open) < _MOST_KEPT:
                self._open.add(message or f" {len(self._open)}")
            case Verdict.UNVERIFIED:
                self.unverified += 1
                self.reasons[fields.get("reason", "")] += 1

    def _add_verified(self, record: Record, message: str) -> None:
        fields, day = record.fields, record.day
        if message in self._ids:
            return  # the same message once more, for another recipient
        if message and len(self._ids) < _MOST_KEPT:
            self._ids.add(message)
        self.verified += 1
        if day is None:
            self.undated += 1
        else:
            self.first = min(self.first or day, day)
            self.last = max(self.last or day, day)
        if fields.get("dkim") == "pass":  # said only of a signature that counts
            self.signed += 1
            key = fields.get("dkim.domain", ""), fields.get("dkim.selector", "")
            if all(key):
                self.keys.pop(key, None)
                self.keys[key] = day
        if "spf" in fields.get("by", "").split("+"):
            self.by_spf += 1
            self.senders.add(fields.get("spf.domain", ""))


def read(lines: Iterable[str], today: date) -> dict[str, Seen]:
    """What the log says, by entry. A syslog date without a year is the last such day."""
    seen: dict[str, Seen] = {}
    for line in lines:
        record = parse(line, today)
        if record and (sender := record.fields.get("sender")):
            seen.setdefault(sender, Seen()).add(record)
    return seen


def parse(line: str, today: date) -> Record | None:
    """The record of a line, if it is one of ours from its first to its last character."""
    text = line.rstrip("\r\n")
    match = _PREFIX.match(text)
    if match is None or len(text) > LONGEST_LINE:
        return None
    rest = text[match.end() :]
    fields = _from_json(rest) if rest.startswith("{") else _from_logfmt(rest)
    return Record(_day(match, today), fields) if fields else None


def _from_logfmt(text: str) -> dict[str, str]:
    start = _START.match(text)
    fields: dict[str, str] = {}
    position = start.end() if start else len(text)
    while position < len(text):
        pair = _PAIR.match(text, position)
        if pair is None or pair[1] in fields:
            return {}
        try:
            fields[pair[1]] = json.loads(pair[2]) if pair[2].startswith('"') else pair[2]
        except ValueError:
            return {}
        position = pair.end()
    return fields


def _from_json(text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found.get("verdict"), str) or "queue-id" not in found:
        return {}
    lists = {key: ",".join(map(str, value)) for key, value in found.items() if isinstance(value, list)}
    return {key: value for key, value in found.items() if isinstance(value, str)} | lists


def _day(match: re.Match[str], today: date) -> date | None:
    try:
        if match["iso"]:
            return date.fromisoformat(match["iso"])
        if match["month"]:
            day = date(today.year, _MONTHS.index(match["month"]) + 1, int(match["day"]))
            return day if day <= today + timedelta(days=1) else day.replace(year=today.year - 1)
    except ValueError:
        pass
    return None
