"""Which entries could a text or a domain be about? So that a long list costs a message no more than a short one.

Rules of this module: pure functions; an index of the list, made once. It never leaves out an entry that the rules
of claims.py and lookalike.py would find (tests/test_shortlist.py tries both on the same), and it decides nothing.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator

from .lookalike import as_shown, bare_letters, bears_the_name, imitates, looks, registrable, skeleton, words_of
from .model import Entry, TrustedList

_RUN = re.compile(r"[a-z0-9-]+")
_Key = tuple[str, str]
_ALWAYS = ("always", "")


class Shortlist:
    """The entries of a list, by what a text or a domain must have in common with them."""

    def __init__(self, senders: TrustedList):
        self._place = {entry.id: place for place, entry in enumerate(senders.entries)}
        self._entries: dict[_Key, list[Entry]] = {}
        for entry in senders.entries:
            for key in {*_keys_of_text(entry), *_keys_of_domain(entry)}:
                self._entries.setdefault(key, []).append(entry)

    def _found(self, keys: Iterable[_Key]) -> list[Entry]:
        """In the order of the list, each once."""
        known = self._entries
        found = {entry.id: entry for key in (*keys, _ALWAYS) for entry in known.get(key, ())}
        return sorted(found.values(), key=lambda entry: self._place[entry.id]) if len(found) > 1 else [*found.values()]

    def named_in(self, views: Iterable[str], words: Iterable[str], likenesses: Iterable[str]) -> list[Entry]:
        """Entries whose address, domain or name could stand in texts: as they are, as words alone, and as the
        skeleton of those."""
        keys = {("run", run) for view in views for run in _RUN.findall(view)}
        keys |= {("word", word) for text in (*words, *likenesses) for word in text.split()}
        return self._found(keys)

    def like(self, domain: str) -> list[Entry]:
        """Entries that a domain could imitate."""
        theirs = registrable(domain)
        label = theirs.partition(".")[0]
        keys = {("looks", look) for name in (domain, theirs) for look in looks(name)}
        keys |= {("label", one) for one in domain.split(".")} | {("part", part) for part in label.split("-")}
        keys |= {("near", variant) for variant in variants(bare_letters(label))}
        keys.add(("bears", "".join(filter(str.isalnum, bare_letters(label)))))
        return self._found(keys)


def variants(letters: str) -> Iterator[str]:
    """A text, and the text with any one letter left out: two that are one edit or one swap apart share one."""
    yield letters
    for place in range(len(letters)):
        yield letters[:place] + letters[place + 1 :]


def _keys_of_text(entry: Entry) -> Iterator[_Key]:
    for domain in {entry.domain, *(domain for _, domain in entry.addresses)}:
        for form in (domain, as_shown(domain).casefold()):
            run = _RUN.search(form)
            yield ("run", run.group()) if run else _ALWAYS
    name = words_of(entry.name)
    for text in (name, skeleton(name)):
        yield from (("word", word) for word in text.split()[:1])


def _keys_of_domain(entry: Entry) -> Iterator[_Key]:
    ours = registrable(entry.domain)
    for name in (entry.domain, ours):
        first, dot, _ = name.partition(".")
        yield ("label", first) if dot else _ALWAYS
        yield from (("looks", look) for look in looks(name))
    own = ours.partition(".")[0]
    yield "label", entry.domain.replace(".", "-")
    yield "part", own.split("-")[0]
    yield from (("near", variant) for variant in variants(bare_letters(own)))
    yield "bears", "".join(filter(str.isalnum, bare_letters(entry.name)))


@functools.lru_cache(maxsize=2)
def of(senders: TrustedList) -> Shortlist:
    """The index of a list."""
    return Shortlist(senders)


@functools.lru_cache(maxsize=8192)
def imitated(domain: str, senders: TrustedList) -> tuple[Entry, str] | None:
    """The first entry that a domain imitates, and how; the domain is none of the list's."""
    for entry in of(senders).like(domain):
        if how := imitates(domain, entry.domain) or bears_the_name(domain, entry.domain, entry.name):
            return entry, how
    return None
