"""The texts that a reader may see in From: every way in which mail programs and the eye take what stands there.

Rules of this module: pure functions; the number of views and their length are bounded, and `complete` says whether
the bounds were enough. What was left out may name anybody.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from . import encoded_words
from .lookalike import Kind, LetterTable, folded, kind_of, twin_of, words_in

_READ = 6144  # characters of text that are looked at in every way; ASCII beyond them is searched as it is
_NAMES_READ = 16_384  # characters beyond those that are searched for names; for domains all are
_FOREIGN = 512  # different foreign letters of a text: a name has some dozens
_DECODED = 24_576  # characters that are read to decode the encoded words in them
_VIEWED = 32_768  # characters of all views
APART = "\x1e"  # stands between two texts

_TURNS_ROUND = re.compile("[\u200f\u202a-\u202e\u2066-\u2069]")
_TURNED = re.compile("\u202e([^\u202a-\u202e\u2066-\u2069\x1e]*)")
_WORD_CHANGES = re.compile(r"(?<=[a-z\u00df-\uffff])(?=[A-Z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1d\x1f\x7f]")
_COMMENT_OR_BETWEEN = re.compile(r"[^\S\x1e]+|[\"\\]+|\([^()]*\)")
_NEWLINE = re.compile(r"\r?\n")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a reader may see: `plain` texts in lower case; `bare`, the same without spaces, quotes, backslashes and
    comments, as a reader puts `"x" (y) @ example.org` together; `words`, what is in both, word by word."""

    plain: tuple[str, ...]
    bare: tuple[str, ...]
    words: tuple[str, ...]
    complete: bool = True
    tail: str = ""  # ASCII behind what was looked at in every way

    @property
    def texts(self) -> tuple[str, ...]:
        return (*self.plain, *self.bare)


def seen(texts: Iterable[str], share: int = 1) -> Seen:
    """Every view of some texts, which belong together but are no one text; `share`: how many calls share the bounds."""
    text = _NEWLINE.sub(" ", APART.join(t.replace(APART, "\x00") for t in texts))
    if text.isascii() and "=?" not in text and len(text) <= _READ and not _CONTROL.search(text):
        return _of_views([text.lower()], _parted(text), complete=True)  # perf: nearly all mail
    head, tail = text[:_READ], text[_READ:]
    read = encoded_words.readings(head, _DECODED // share)
    views: dict[str, None] = {}
    parted: dict[str, None] = {}
    budget = _VIEWED // share
    complete = read.complete and tail.isascii() and "=?" not in tail and len(tail) <= _NAMES_READ
    for source in itertools.chain.from_iterable(map(_directions, read.texts)):
        shown = source[:_READ]
        complete = complete and len(source) <= _READ
        every = _tables(shown)
        tables = every[: budget // max(1, len(shown))]
        budget -= len(shown) * len(tables)
        complete = complete and 0 < len(tables) == len(every)
        if not tables:
            break
        views.update((_spaced(shown.translate(table)), None) for table in tables)
        parted.update((part.translate(tables[0]), None) for part in _parted(shown))
    if not views:
        views[head.encode("ascii", "ignore").decode("ascii").lower()] = None
    rest = tail.encode("ascii", "ignore").decode("ascii").lower()
    return _of_views(list(views), list(parted), complete, rest)


def _of_views(views: list[str], parted: list[str], complete: bool, tail: str = "") -> Seen:
    bare = dict.fromkeys(_COMMENT_OR_BETWEEN.sub("", view) for view in views)
    texts = dict.fromkeys(itertools.chain(views, bare, parted))
    texts.update((text.replace("|", "l"), None) for text in list(texts) if "|" in text)
    words = dict.fromkeys(map(words_in, texts))
    if tail:
        words[words_in(tail[:_NAMES_READ])] = None
    return Seen(tuple(views), tuple(text for text in bare if text not in views), tuple(words), complete, tail)


def _parted(text: str) -> list[str]:
    """The text with a space where a capital or a digit begins another word: VismaOpicNotices."""
    return [_WORD_CHANGES.sub(" ", text).lower()] if _WORD_CHANGES.search(text) else []


def _spaced(text: str) -> str:
    return text if text.isprintable() else re.sub(r"[\x00-\x1d\x1f\x7f]", " ", text)


def _directions(text: str) -> list[str]:
    """The text; where marks turn it round, also backwards, and with the parts backwards that a mark overrides."""
    if not _TURNS_ROUND.search(text):
        return [text]
    return [text, text[::-1], _TURNED.sub(lambda part: part[1][::-1], text)]


# ---- letters ---------------------------------------------------------------------------------------

_Table = LetterTable


def _tables(text: str) -> list[_Table]:
    """The ways to take each letter of a text; none where there are too many letters."""
    letters = set(text)
    if len(letters) > _FOREIGN:
        return []
    about = [_about(letter) for letter in letters]
    kinds = {kind for kind, _ in about}
    foreign = not all(plain for _, plain in about)
    gaps = ("", " ") if Kind.GAP in kinds else ("",)
    signs: tuple[frozenset[Kind], ...] = (frozenset(),)
    if kinds & {Kind.SIGN, Kind.BOXED}:
        signs += (frozenset([Kind.SIGN, Kind.BOXED]),)
    if {Kind.SIGN, Kind.BOXED} <= kinds:
        signs += (frozenset([Kind.SIGN]),)
    return [
        _table(gap, blank, alike)
        for gap, blank, alike in itertools.product(gaps, signs, (False, True) if foreign else (False,))
    ]


_ABOUT: dict[str, tuple[Kind, bool]] = {}


def _about(letter: str) -> tuple[Kind, bool]:
    """What a letter may be besides itself, and whether its plain form is ASCII."""
    found = _ABOUT.get(letter)
    if found is None:
        if len(_ABOUT) >= LetterTable.MOST:
            _ABOUT.clear()
        found = _ABOUT[letter] = kind_of(letter), folded(letter).isascii()
    return found


@functools.lru_cache(maxsize=16)
def _table(gap: str, blank: frozenset[Kind], alike: bool) -> _Table:
    """How letters are shown: gaps as `gap`, kinds in `blank` as a space, others folded, or as the ASCII ones that they
    look like."""
    show: Callable[[str], str] = twin_of if alike else folded

    def shown(letter: str) -> str:
        kind = _about(letter)[0]
        if kind is Kind.GAP:
            return APART if letter == APART else gap
        return " " if kind in blank else show(letter)

    return LetterTable(shown)
