"""What is wrong, or worth a warning, with entries that are each well formed.

Rules of this module: pure; entries and their places in, problems out. The day is an argument.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from pratique.expiry import expiring
from pratique.model import Alignment, Entry, Require

from .document import Document, Problem, quoted


@dataclass(frozen=True, slots=True)
class Placed:
    """An entry and the document it stands in."""

    entry: Entry
    document: Document

    def at(self, key: str, text: str, number: int | None = None) -> Problem:
        place = ("senders", self.entry.id, key)
        return self.document.at(place if number is None else (*place, number), text)

    def has(self, key: str) -> bool:
        """Whether the entry gives a key itself."""
        return ("senders", self.entry.id, key) in self.document

    @property
    def where(self) -> str:
        return f"{self.document.file}:{self.document.line_of(('senders', self.entry.id))}"


def overlaps(entries: list[Placed]) -> Iterator[Problem]:
    """Two entries must not ask different proof of one domain or address, nor bear one id across files."""
    ids: dict[str, Placed] = {}
    domains: dict[str, Placed] = {}
    addresses: dict[tuple[str, str], Placed] = {}
    for this in entries:
        other = ids.setdefault(this.entry.id, this)
        if other is not this:
            text = f"the id is there twice, first in {other.where}: give one of the two entries another id"
            yield this.document.at(("senders", this.entry.id), text, of_key=True)
            continue
        other = domains.setdefault(this.entry.domain, this)
        if other.entry.require is not this.entry.require:
            yield _two_requirements(this, other)
            continue
        for number, address in enumerate(this.entry.addresses):
            other = addresses.setdefault(address, this)
            if different := _differences(this.entry, other.entry):
                yield this.at(
                    "addresses",
                    f"found {'@'.join(address)}, which {other.entry.id} ({other.where}) trusts with another "
                    f"`{different[0]}`: delete the address from one of the two entries",
                    number,
                )


def _two_requirements(this: Placed, other: Placed) -> Problem:
    mine, theirs = this.entry, other.entry
    return this.at(
        "require" if mine.require is not Require.ANY else "domain",
        f"found require: {mine.require} for {mine.domain}, but {theirs.id} ({other.where}) has require: "
        f"{theirs.require} for the same domain: write the same in both, or make them one entry",
    )


def _differences(mine: Entry, theirs: Entry) -> list[str]:
    keys = ("require", "alignment", "networks", "signers", "evidence_domains", "expires")
    found = [key for key in keys if getattr(mine, key) != getattr(theirs, key)]
    return found or (["domain"] if mine.domain != theirs.domain and mine.alignment is Alignment.RELAXED else [])


def hidden(placed: Placed) -> Iterator[Problem]:
    """Addresses that a person who reads the file cannot see in it."""
    for number, (local, domain) in enumerate(placed.entry.addresses):
        if placed.document.is_escaped(("senders", placed.entry.id, "addresses", number)):
            yield placed.at(
                "addresses", f"found a backslash: expected the plain address; write {local}@{domain}", number
            )


def warnings_of(placed: Placed, today: date) -> Iterator[Problem]:
    """What holds, and is seldom what was meant."""
    entry = placed.entry
    if entry.expired(today):
        yield placed.at(
            "expires",
            f"found {entry.expires}, a day that is over: its mail is no longer verified; write a later date, or delete "
            "the entry",
        )
    elif expiring([entry], today):
        yield placed.at(
            "expires",
            f"found {entry.expires}, which is soon: its mail is not verified any more from the next day on; ask "
            f"{quoted(entry.owner) if entry.owner else 'whoever deals with the platform'} whether it goes on, and "
            "write a later date",
        )
    if entry.require is Require.NETWORK:
        yield placed.at(
            "require",
            "whoever sends through the `networks` is verified without SPF or DKIM; write any or all, unless the "
            "platform has neither",
        )
    if word := group_mark(entry):
        yield placed.at(
            "domain",
            f'"{word}" is in the addresses and not in {entry.domain}: it seems to be a whole group\'s domain, and '
            "SPF or DKIM of any of its subdomains proves a message; name the platform's own under `evidence_domains`, "
            "or write `alignment: strict`",
        )
    texts = [(key, None) for key in ("name", "owner", "note", "source")]
    for key, number in [*texts, *(("name", number) for number in range(len(entry.names)))]:
        place = ("senders", entry.id, key)
        if cut := placed.document.comment_after(place if number is None else (*place, number)):
            yield placed.at(
                key,
                f"found {quoted(cut)} after it, which YAML takes for a comment: put the whole text in quotes",
                number,
            )
    for number, address in enumerate(entry.addresses):
        if (first := entry.addresses.index(address)) < number:
            yield placed.at("addresses", f"the address is there twice, first as number {first + 1}: delete one", number)


# What mailboxes are called in any organisation.
_ANYBODYS = frozenset(
    {
        *("alert", "alerts", "bid", "bids", "contact", "info", "mail"),
        *("news", "notice", "notices", "notification", "notifications", "platform", "portal"),
        *("procurement", "public", "purchase", "reply", "sender", "service", "services"),
        *("support", "tender", "tenders"),
    }
)


def group_mark(entry: Entry) -> str:
    """The word by which a platform's mailboxes tell themselves from others of a group's domain: opic in
    noreply.opic@visma.com. Empty where the domain is the platform's own, or what counts is named already."""
    if entry.alignment is Alignment.STRICT or entry.evidence_domains or entry.require is Require.NETWORK:
        return ""
    names = [n for n in re.findall(r"[a-z0-9]{3,}", " ".join([entry.id, *entry.names]).lower()) if n not in _ANYBODYS]
    mailboxes = [word for local, _ in entry.addresses for word in re.split(r"[^a-z0-9]+", local)]
    return next((n for n in names if n in mailboxes and n not in entry.domain), "")
