"""The names of platforms: how an entry is recognised by its names in a text or a domain.

Rules of this module: pure functions and an index of the list, made once, so that a long list costs a message no more
than a short one. A name is found as words, glued or spaced out (VismaOpic, V I S M A Opic), and in letters that look
alike. A name that says little counts only where nothing else stands beside it: one of everyday words
(everyday.py), or of three or four letters.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

from .everyday import SERVICE, is_everyday
from .lookalike import before_the_suffix, registrable, skeleton, words_in, words_of
from .model import Entry

SHORTEST = 3  # letters of a name that is looked for at all
_WITHIN_TEXT = 5  # from which on it is looked for among other words
_ALIKE = 6  # from which on it is looked for glued, spaced out, and in letters that look alike
_IN_DOMAINS = 8  # from which on it is looked for among the words of a domain
WHOLE_ELSEWHERE = 8  # from which on one of everyday words is looked for in local parts and domains
_LONGEST_SEGMENT = 200  # characters of a text in which nothing but a name may stand
_START = 4  # letters by which the index finds a name
_IN_PARENTHESES = re.compile(r"\s*\([^()]*\)\s*")
_BETWEEN_SEGMENTS = re.compile(r"[<>()\[\]{},;:|/\\\"\u201c-\u201e\u00ab\u00bb\u2013\u2014\u2022\u00b7=@\x1e]+|\s-+\s")

_Table = dict[str, list[tuple[str, Entry]]]


def names_of(entry: Entry) -> tuple[str, ...]:
    """The words of each name of an entry; what stands in parentheses is an explanation, and no part of it."""
    return _words_of_names(entry.names)


@functools.lru_cache(maxsize=1024)
def _words_of_names(names: tuple[str, ...]) -> tuple[str, ...]:
    short = ((_IN_PARENTHESES.sub(" ", name), name) for name in names)
    return tuple(dict.fromkeys(words_of(cut if cut.strip() else name) for cut, name in short))


def glued(words: str) -> str:
    """Words as one."""
    return words.replace(" ", "")


def says_little(words: str) -> bool:
    """Whether a name counts only where nothing else stands beside it."""
    return len(glued(words)) < _WITHIN_TEXT or all(map(is_everyday, words.split()))


def _core(words: Iterable[str]) -> str:
    """Words as one, without what a sender puts beside its name; if nothing else is left, with that."""
    every = list(words)
    return "".join(word for word in every if word not in SERVICE) or "".join(every)


class Names:
    """The names of a list's entries."""

    def __init__(self, entries: Sequence[Entry]):
        self._place = {entry.id: place for place, entry in enumerate(entries)}
        self._plain: _Table = {}
        self._alike: _Table = {}
        self._whole: dict[str, list[Entry]] = {}
        for entry in entries:
            for words in names_of(entry):
                self._add(words, entry)
        self._plain_starts, self._alike_starts = _starts(self._plain), _starts(self._alike)

    def _add(self, words: str, entry: Entry) -> None:
        letters = glued(words)
        if len(letters) < SHORTEST:
            return
        if says_little(words):
            for core in {letters, _core(words.split()), skeleton(letters) if len(letters) >= _ALIKE else letters}:
                self._whole.setdefault(core, []).append(entry)
            return
        self._plain.setdefault(letters, []).append((words, entry))
        if len(letters) >= _ALIKE:
            for alike in {skeleton(letters), glued(skeleton(words))}:
                if len(alike) >= _START:
                    self._alike.setdefault(alike, []).append((words, entry))

    def _in_order(self, found: Iterable[Entry]) -> list[Entry]:
        return sorted({entry.id: entry for entry in found}.values(), key=lambda entry: self._place[entry.id])

    def in_words(self, texts: Iterable[str], shortest: int = _WITHIN_TEXT) -> list[Entry]:
        """The entries whose names are among the words of texts, each made ready by words_of()."""
        found: list[Entry] = []
        for text in dict.fromkeys(texts):
            found += self._among(text, text.split(), self._plain_starts, self._plain, shortest)
            if self._alike:
                alike = skeleton(text)
                found += self._among(alike, alike.split(), self._alike_starts, self._alike, shortest)
        return self._in_order(found) if found else found

    @staticmethod
    def _among(
        text: str, words: list[str], starts: dict[str, tuple[int, ...]], table: _Table, shortest: int
    ) -> Iterator[Entry]:
        letters = "".join(words)
        starts_of_words = itertools.accumulate(map(len, words), initial=0)
        near = [start for start in starts_of_words if letters[start : start + _START] in starts]
        ends = set(itertools.accumulate(map(len, words))) if near else set()
        for start in near:
            for length in starts[letters[start : start + _START]]:
                if start + length in ends:
                    for name, entry in table.get(letters[start : start + length], ()):
                        size = len(name) - 1 - name.count(" ", 1)
                        if size >= shortest and (size >= _ALIKE or name in text):
                            yield entry

    def whole(self, texts: Iterable[str], shortest: int = SHORTEST, domain: str = "") -> list[Entry]:
        """The entries whose name, one that says little, is all of a text without case and marks, or of a part of it
        between signs. A name of three or four letters is that of anybody whose domain is called so."""
        if not self._whole:
            return []
        own = glued(words_of(registrable(domain).partition(".")[0]))
        found: list[Entry] = []
        for text in dict.fromkeys(texts):
            for segment in dict.fromkeys(_BETWEEN_SEGMENTS.split(text)):
                words = words_in(segment).split() if len(segment) <= _LONGEST_SEGMENT else []
                letters = "".join(words)
                for core in {letters, _core(words), skeleton(letters) if len(letters) >= _ALIKE else letters}:
                    if len(core) >= shortest and not (len(core) < _WITHIN_TEXT and core == own):
                        found += self._whole.get(core, ())
        return self._in_order(found) if found else found

    def in_domain(self, domain: str) -> list[tuple[Entry, str]]:
        """The entries whose names a domain of somebody else carries, and how."""
        theirs = registrable(domain)
        shown = before_the_suffix(domain)
        as_domain = glued(words_of(shown.rpartition(".")[2]))
        found: dict[str, tuple[Entry, str]] = {}
        for entry in self.in_words([words_of(shown)], _IN_DOMAINS):
            found[entry.id] = entry, "the platform's name in a domain"
        for entry in self.whole(map(words_of, shown.split(".")), WHOLE_ELSEWHERE):
            found.setdefault(entry.id, (entry, "the platform's name in a domain"))
        for entry_id, (entry, _) in found.items():
            if as_domain in map(glued, names_of(entry)):
                found[entry_id] = entry, "the platform's name as a domain"
        return [pair for pair in found.values() if registrable(pair[0].domain) != theirs]


def _starts(table: _Table) -> dict[str, tuple[int, ...]]:
    """The lengths of the names that begin alike."""
    lengths: dict[str, set[int]] = {}
    for name in table:
        lengths.setdefault(name[:_START], set()).add(len(name))
    return {start: tuple(sorted(found)) for start, found in lengths.items()}
