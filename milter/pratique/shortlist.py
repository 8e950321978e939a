"""Which entries could a text or a domain be about? So that a long list costs a message no more than a short one.

Rules of this module: pure functions; an index of the list, made once. It never leaves out an entry that the rules
of claims.py and lookalike.py would find (tests/test_shortlist.py tries both on the same), and it decides nothing.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator

from .everyday import is_everyday
from .lookalike import (
    SHORTEST_AROUND,
    as_shown,
    bare_letters,
    before_the_suffix,
    folded,
    imitates,
    looks,
    registrable,
    twin_of,
)
from .model import Entry, TrustedList
from .names import Names

_PLAIN_RUN = re.compile(r"[a-z0-9.-]+")
_ANY_RUN = re.compile(r"[\w.-]+")
_BETWEEN_PARTS = re.compile("[.-]")
_MOST_LABELS = 12  # of a domain in a text
_MOST_OTHERS = 32
_Key = tuple[str, str]
_ALWAYS = ("always", "")


class Shortlist:
    """The entries of a list, by what a text or a domain must have in common with them."""

    def __init__(self, senders: TrustedList):
        self._place = {entry.id: place for place, entry in enumerate(senders.entries)}
        self._entries: dict[_Key, list[Entry]] = {}
        self._domains: dict[str, list[Entry]] = {}
        self.names = Names(senders.entries)
        for entry in senders.entries:
            for form in forms_of(entry.domain):
                self._domains.setdefault(form, []).append(entry)
            for key in set(_keys_of_domain(entry)):
                self._entries.setdefault(key, []).append(entry)
        self._first_labels = frozenset(form.partition(".")[0] for form in self._domains)
        self._label_counts = tuple(sorted({form.count(".") + 1 for form in self._domains}))
        plain = all(_PLAIN_RUN.fullmatch(form) for form in self._domains)
        self._run = _PLAIN_RUN if plain else _ANY_RUN

    def _found(self, keys: Iterable[_Key]) -> list[Entry]:
        """In the order of the list, each once."""
        known = self._entries
        found = {entry.id: entry for key in (*keys, _ALWAYS) for entry in known.get(key, ())}
        return sorted(found.values(), key=lambda entry: self._place[entry.id]) if len(found) > 1 else [*found.values()]

    def domains_in(self, texts: Iterable[str]) -> list[Entry]:
        """The entries whose domain stands in one of the texts, in whole labels, longer domains first."""
        found: dict[str, Entry] = {}
        others: set[str] = set()
        for text in texts:
            runs = dict.fromkeys(self._run.findall(text))
            if self._run is _ANY_RUN:
                runs.update(dict.fromkeys(_PLAIN_RUN.findall(text)))
            for run in runs:
                labels = run.strip(".").split(".")
                for start, label in enumerate(labels):
                    if label in self._first_labels:
                        at = self._at(labels[start : start + _MOST_LABELS], others)
                        found.update((entry.id, entry) for entry in at)
        return sorted(found.values(), key=lambda entry: (-len(entry.domain), self._place[entry.id]))

    def _at(self, labels: list[str], others: set[str]) -> Iterator[Entry]:
        """The entries whose domain these labels begin with. visma.com.br is another domain than visma.com: `com.br` is
        a public suffix. `others` are such domains, of which a text of honest mail has few."""
        for count in self._label_counts:
            name = ".".join(labels[:count])
            if name in self._domains:
                longer = ".".join(labels)
                if longer != name and len(others) < _MOST_OTHERS and registrable(longer) == longer:
                    others.add(longer)
                else:
                    yield from self._domains[name]

    def like(self, domain: str) -> list[Entry]:
        """Entries that a domain could imitate."""
        theirs = registrable(domain)
        label = theirs.partition(".")[0]
        keys = {("looks", look) for name in (domain, theirs) for look in looks(name)}
        keys |= {("label", one) for one in domain.split(".")}
        keys |= {("part", part) for form in {domain, as_shown(domain)} for part in _BETWEEN_PARTS.split(form)}
        keys |= {("near", variant) for variant in variants(bare_letters(label))}
        keys |= {("near", rest) for one in before_the_suffix(domain).split(".") for rest in _without_a_word(one)}
        return self._found(keys)


def variants(letters: str) -> Iterator[str]:
    """A text, and the text with any one letter left out: two that are one edit or one swap apart share one."""
    yield letters
    for place in range(len(letters)):
        yield letters[:place] + letters[place + 1 :]


def _without_a_word(label: str) -> Iterator[str]:
    """What is left of a label without an everyday word that is glued to its start or end."""
    letters = bare_letters(label)
    for place in range(SHORTEST_AROUND, len(letters) - SHORTEST_AROUND + 1):
        if is_everyday(letters[:place]):
            yield letters[place:]
        if is_everyday(letters[place:]):
            yield letters[:place]


def forms_of(domain: str) -> set[str]:
    """A domain as A-labels and, where it is an IDN, as views of a text show it."""
    if "xn--" not in domain:
        return {domain}
    shown = as_shown(domain)
    return {domain, "".join(map(folded, shown)), "".join(map(twin_of, shown))}


def _keys_of_domain(entry: Entry) -> Iterator[_Key]:
    ours = registrable(entry.domain)
    for name in (entry.domain, ours):
        first, dot, _ = name.partition(".")
        yield ("label", first) if dot else _ALWAYS
        yield from (("looks", look) for look in looks(name))
    own = ours.partition(".")[0]
    yield from (("part", _BETWEEN_PARTS.split(form)[0]) for form in (entry.domain, ours, as_shown(ours)))
    yield from (("near", variant) for variant in variants(bare_letters(own)))


_last: tuple[TrustedList | None, Shortlist] = (None, Shortlist(TrustedList()))


def of(senders: TrustedList) -> Shortlist:
    """The index of a list. Only the last one is kept, and the one before is freed first: for 50,000 entries each takes
    seconds and more memory than the list. The service has it built before it forks."""
    global _last
    known, index = _last
    if known is not senders:
        del index
        _last = (None, Shortlist(TrustedList()))
        index = Shortlist(senders)
        _last = (senders, index)
    return index


@functools.lru_cache(maxsize=8192)
def imitated(domain: str, senders: TrustedList) -> tuple[Entry, str] | None:
    """The first entry that a domain imitates, and how; the domain is none of the list's."""
    index = of(senders)
    for entry in index.like(domain):
        if how := imitates(domain, entry.domain):
            return entry, how
    return next(iter(index.names.in_domain(domain)), None)
