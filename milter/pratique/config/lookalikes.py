"""Is an entry made to look like a trusted platform? "Our addresses change, please add vlsma.com" is the obvious attack
on a list of trusted senders.

Rules of this module: pure; entries in, problems out. What looks alike is what the engine calls an imitation
(lookalike.py and names.py), so nothing that would be tagged as an imitation of a platform can be trusted beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pratique import shortlist
from pratique.lookalike import as_shown, imitates, registrable, words_of
from pratique.model import Entry, TrustedList, is_within

from .document import Problem, quoted
from .lists import Placed

_MOST_COMPARED = 2000  # entries: a longer list is made by a program, and is compared with the catalogue only
_DIGITS = re.compile(r"[0-9]+")


def lookalikes(entries: Sequence[Placed], senders: TrustedList, platforms: TrustedList) -> Iterator[Problem]:
    """Each entry that imitates an entry before it, or a platform of the catalogue. `senders` are the same entries."""
    compared = len(entries) <= _MOST_COMPARED
    index = shortlist.of(senders) if compared else shortlist.Shortlist(TrustedList())
    catalogue = shortlist.Shortlist(platforms)
    places = {placed.entry.id: number for number, placed in enumerate(entries)}
    for number, placed in enumerate(entries):
        told = set()
        for key, other, how in _imitated(placed.entry, index):
            if places[other.id] < number:
                told.add(other.domain)
                yield _problem(placed, key, other, how, f"entry {other.id}, {entries[places[other.id]].where}")
        for key, other, how in _imitated(placed.entry, catalogue):
            if other.domain in told:
                continue
            yield _problem(placed, key, other, how, f"platform {other.id} of the catalogue")


def _imitated(entry: Entry, index: shortlist.Shortlist) -> Iterator[tuple[str, Entry, str]]:
    """(key of the entry, what it imitates, how), each once."""
    found: dict[str, tuple[str, Entry, str]] = {}
    for other in index.like(entry.domain):
        if (how := imitates(entry.domain, other.domain)) and not _numbered(entry.domain, other.domain):
            found[other.id] = "domain", other, how
    for other, how in index.names.in_domain(entry.domain):
        found.setdefault(other.id, ("domain", other, how))
    words = [words_of(name) for name in entry.names]
    for other in [*index.names.in_words(words), *index.names.whole(entry.names)]:
        found.setdefault(other.id, ("name", other, "the same name"))
    return (hit for hit in found.values() if not _is_known(entry, hit[1]))


def _numbered(one: str, other: str) -> bool:
    """Whether two domains differ in their digits alone: lot1.example and lot2.example do not look alike to the eye."""
    return one != other and _DIGITS.sub("", one) == _DIGITS.sub("", other)


def _is_known(entry: Entry, other: Entry) -> bool:
    """Whether the two are one organisation, or one of the entries says that it is meant."""
    if is_within(entry.domain, other.domain) or is_within(other.domain, entry.domain):
        return True
    if registrable(entry.domain) == registrable(other.domain):
        return True
    return other.domain in entry.also_known or entry.domain in other.also_known


def _problem(placed: Placed, key: str, other: Entry, how: str, whose: str) -> Problem:
    mine = placed.entry
    theirs = f"{_both_forms(other.domain)} ({whose})"
    if key == "domain":
        found = f"found {_both_forms(mine.domain)}, which looks like {theirs}: {how}"
    else:
        found = f"found the name {quoted(mine.name)}, by which readers know {theirs}"
    return placed.at(
        key if placed.has(key) else "domain",
        f"{found}. A forger chooses such a domain to be trusted. Ask the platform by a way that you already know. Only "
        f"if both domains are the platform's, write `also_known: {other.domain}` in this entry",
    )


def _both_forms(domain: str) -> str:
    """A domain as a reader sees it and, if that differs, as it stands in DNS."""
    shown = as_shown(domain)
    return domain if shown == domain else f"{shown} ({domain})"
