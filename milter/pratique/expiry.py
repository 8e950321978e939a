"""Entries that soon expire, or have: said in time, with the name of who can prolong them.

Rules of this module: pure; the day is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from .model import Entry, Settings

NOTICE = 30  # days before `expires` from which on it is said


def expiring(entries: Iterable[Entry], today: date) -> list[Entry]:
    """The entries that have expired or will within the time of notice, the first to expire first."""
    dated = [(e.expires, e) for e in entries if e.expires is not None]
    return [e for end, e in sorted(dated, key=lambda pair: pair[0]) if (end - today).days <= NOTICE]


def expiry_text(entry: Entry, today: date) -> str:
    """One sentence on an entry with an `expires` date: what happens when, and whose matter it is."""
    if entry.expires is None:
        return f"{entry.id}: expires never"
    days = (entry.expires - today).days
    whose = f" (owner: {entry.owner})" if entry.owner else " (no owner is named)"
    if days < 0:
        return f"{entry.id}{whose} expired on {entry.expires}: its mail is no longer verified"
    when = "today" if days == 0 else f"on {entry.expires}, in {days} day{'s' * (days > 1)}"
    return f"{entry.id}{whose} expires {when}: from the next day its mail is no longer verified"


def expiry_warnings(settings: Settings, today: date) -> list[str]:
    """What the log is to say at start, and once a day; `today` is the day in UTC, as for verdicts."""
    return [f"trusted sender {expiry_text(entry, today)}" for entry in expiring(settings.senders.entries, today)]
