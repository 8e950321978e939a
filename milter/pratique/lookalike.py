"""Does a domain only look like a trusted one? And how? And what does a text look like to the eye?

Rules of this module: pure functions; always relative to a trusted domain, never a judgement of a domain as such.
An edit distance proves nothing on short names (visma.se, opic.com and ternum.fr are honest domains), so the
rules that count letters want a distinctive label; a look that deceives the eye does not depend on length.
Unicode TR39 (confusables) by the package confusable-homoglyphs, registrable domains by publicsuffixlist.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable
from enum import Enum

import idna
from publicsuffixlist import PublicSuffixList

from .everyday import SERVICE, is_everyday, is_made_of_everyday_words

SHORTEST_AROUND = 4  # letters of a word that is glued to a trusted label: a shorter one may end another word
DISTINCTIVE = 8  # letters and digits of a label from which on a near spelling is no coincidence

# What the eye takes for one another in lower case, over what TR39 says of single letters.
_WORD = re.compile(r"[^\W_]+")
_SEQUENCES = (("rn", "m"), ("vv", "w"), ("cl", "d"), ("0", "o"), ("1", "l"), ("i", "l"))


@functools.lru_cache(maxsize=1)
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()


# Letters that TR39 takes for no ASCII one, and that are drawn like one (Cyrillic м like a small capital M).
_DRAWN_ALIKE = {"м": "m", "т": "t", "к": "k", "н": "h", "в": "b"}
_SMALL_CAPITAL = re.compile("LATIN LETTER SMALL CAPITAL ([A-Z])")
_LETTERS_IN_BOXES = (0x1F150, 0x1F170, 0x1F1E6)  # white on black in circles, in squares; flags: A to Z in order


@functools.lru_cache(maxsize=1)
def _ascii_twins() -> dict[str, str]:
    """Each foreign letter or sign that is taken for ASCII; a capital that TR39 takes for l looks like I."""
    from confusable_homoglyphs.confusables import confusables_data  # 7 MB, and most mail needs none of it

    twins = dict(_DRAWN_ALIKE)
    for code in (*range(0x1D00, 0x1D23), *range(0x262, 0x2A0), *range(0xA730, 0xA7FB)):
        if match := _SMALL_CAPITAL.fullmatch(unicodedata.name(chr(code), "")):
            twins[chr(code)] = match[1].lower()
    for first in _LETTERS_IN_BOXES:
        twins |= {chr(first + place): letter for place, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}
    for letter, looks in confusables_data.items():
        for look in looks:
            bare = _without_marks(look["c"])  # ø is o with a stroke
            if bare.isascii() and not letter.isascii():
                twins[letter] = (bare.replace("l", "i") if letter.isupper() else bare).lower()
    return twins


def _without_marks(text: str) -> str:
    return "".join(c for c in text if unicodedata.category(c) not in ("Mn", "Me"))


# ---- one letter ------------------------------------------------------------------------------------


class Kind(Enum):
    """What a letter may be for the eye besides itself."""

    LETTER = 0
    GAP = 1  # shows nothing, or an empty place
    SIGN = 2  # a sign made of letters or digits, such as ™, ª or ①: it may part words
    BOXED = 3  # a letter in a circle or square: it may be a letter of a word, or an ornament


# Letters that show nothing (Default_Ignorable_Code_Point), besides those of the category Cf.
_SHOWS_NOTHING = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0]")
_SIGN_TAGS = ("<super>", "<sub>", "<fraction>", "<circle>", "<square>")
_LONGEST_FORM = 8  # U+FDFA stands for 18 letters: such a letter stays as it is


def kind_of(letter: str) -> Kind:
    category = unicodedata.category(letter)
    if category in ("Cc", "Cf") or _SHOWS_NOTHING.match(letter):
        return Kind.GAP if letter not in "\t\n\r" else Kind.LETTER
    if letter.isascii():
        return Kind.LETTER
    tag = unicodedata.decomposition(letter).partition(" ")[0]
    if category == "So" and (tag in ("<circle>", "<square>") or letter in _ascii_twins()):
        return Kind.BOXED
    return Kind.SIGN if tag in _SIGN_TAGS or category in ("So", "No") else Kind.LETTER


def folded(letter: str) -> str:
    """A letter without case and marks, in its plain form (NFKD)."""
    if letter == "\u3002":
        return "."
    form = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", letter).casefold())
    form = "".join(c for c in form if unicodedata.category(c) not in ("Mn", "Me", "Cf"))
    return form if len(form) <= _LONGEST_FORM else letter


def twin_of(letter: str) -> str:
    """A letter as the ASCII one that it looks like, if there is one; else folded. The letter itself is looked up before
    its plain form: U+03F2 looks like c, and the sigma that NFKD makes of it does not."""
    form = folded(letter)
    if form.isascii():
        return form
    twins = _ascii_twins()
    if twin := twins.get(letter) or twins.get(letter.lower()):
        return twin
    plain = _without_marks(unicodedata.normalize("NFKD", letter))
    return "".join(twins.get(c) or twins.get(c.lower(), c) for c in plain).lower() if len(plain) < 4 else form


class LetterTable(dict[int, str]):
    """What str.translate() makes of each letter, computed once; it forgets all rather than grow without end."""

    MOST = 16_384

    def __init__(self, translated: Callable[[str], str]):
        super().__init__()
        self._translated = translated

    def __missing__(self, code: int) -> str:
        if len(self) >= self.MOST:
            self.clear()
        found = self[code] = self._translated(chr(code))
        return found


_FOLDED, _TWINS = LetterTable(folded), LetterTable(twin_of)

# ---- texts -----------------------------------------------------------------------------------------


def in_ascii(text: str) -> str:
    """The text as the eye takes it: no marks, no case, foreign letters as the ASCII ones they look like."""
    return text.lower() if text.isascii() else text.translate(_TWINS)


def skeleton(text: str) -> str:
    """What two texts that look alike have in common (after TR39 §4)."""
    text = in_ascii(text)
    for sequence, twin in _SEQUENCES:
        text = text.replace(sequence, twin)
    return text


def words_of(text: str) -> str:
    """Letters and digits only, marks and case gone, one blank between words and round them."""
    return words_in(text.lower() if text.isascii() else text.translate(_FOLDED))


def words_in(text: str) -> str:
    """The same of a text without marks and case."""
    return " " + " ".join(_WORD.findall(text)) + " "


# ---- domains ---------------------------------------------------------------------------------------


def imitates(domain: str, trusted: str) -> str | None:
    """How a domain imitates a trusted one, in words, or None. Both as lower-case A-labels, and neither is
    the other or below it."""
    ours, theirs = registrable(trusted), registrable(domain)
    if ours == theirs:
        return None  # one organisation
    if looks(domain) & looks(trusted) or looks(theirs) & looks(ours):
        return "letters that look alike"
    if how := _part_of_another(domain, theirs, trusted) or _part_of_another(domain, theirs, ours):
        return how
    return _near_label(theirs, ours) or _label_within(domain, ours)


def looks(domain: str) -> set[str]:
    """What a domain looks like in small letters, and in capitals: some foreign ones look like ours only then."""
    shown = as_shown(domain)
    return {skeleton(shown), skeleton(shown.upper())}


def _part_of_another(domain: str, theirs: str, trusted: str) -> str | None:
    """Whether a domain holds the trusted one, dots and hyphens being alike, with more behind it or as a whole.

    visma.com.br is not visma.com with more behind it: `com.br` is a public suffix, and the label before it somebody's
    own. `login-visma.com` is another label, for _near_label.
    """
    wanted, held = trusted.replace("-", "."), domain.replace("-", ".")
    own = len(domain) - len(theirs)  # where the label begins that somebody registered
    start = f".{held}.".find(f".{wanted}.")
    while start >= 0:
        more = start + len(wanted) < len(held)
        if start == own and _label(theirs) == _label(trusted):
            pass
        elif domain.startswith(trusted, start):
            if more:
                return "the trusted domain as a part of another"
        elif more or start == 0 or domain[start - 1] == ".":
            return "hyphens for dots" if trusted.replace(".", "-") in domain else "dots for hyphens"
        start = f".{held}.".find(f".{wanted}.", start + 1)
    return None


def _label(domain: str) -> str:
    return domain.partition(".")[0]


def _near_label(theirs: str, ours: str) -> str | None:
    label, _, suffix = theirs.partition(".")
    own, _, own_suffix = ours.partition(".")
    letters, own_letters = bare_letters(label), bare_letters(own)
    if len(own_letters) < DISTINCTIVE:
        return None
    if letters == own_letters:
        return "another suffix" if label == own else "other hyphens"
    if suffix != own_suffix or is_made_of_everyday_words(letters):  # supplies.com is no misspelling of supplios.com
        return None
    if one_edit(letters, own_letters):
        return "one letter changed"
    return "two letters swapped" if one_swap(letters, own_letters) else None


def _label_within(domain: str, ours: str) -> str | None:
    """Whether a label of a domain is the trusted label with words around it: by hyphens, or glued to one of the trade
    (marches-ternum-bfc.eu, marchesternum-bfc.fr, ternum-bfc.evil.example)."""
    own = as_shown(_label(ours))
    own_letters = bare_letters(own)
    if len(own_letters) < DISTINCTIVE:
        return None
    common = is_made_of_everyday_words(own_letters)
    for label in before_the_suffix(domain).split("."):
        before, found, behind = f"-{label}-".partition(f"-{own}-")
        around = f"{before}-{behind}".strip("-")
        if found and (not common or (around and all(word in SERVICE for word in around.split("-")))):
            return "the trusted name with words around it"
        letters = bare_letters(label)
        rest = letters.removeprefix(own_letters) if letters.startswith(own_letters) else letters
        rest = rest.removesuffix(own_letters) if rest is letters and letters.endswith(own_letters) else rest
        if len(rest) >= SHORTEST_AROUND and rest != letters and (rest in SERVICE or (not common and is_everyday(rest))):
            return "the trusted name with words around it"
    return None


def before_the_suffix(domain: str) -> str:
    """The labels of a domain left of its public suffix, as a reader sees them."""
    suffix = registrable(domain).partition(".")[2]
    return as_shown(domain.removesuffix("." + suffix) if suffix else domain)


def bare_letters(label: str) -> str:
    """A label as the eye takes it, without its hyphens."""
    return in_ascii(as_shown(label)).replace("-", "")


@functools.lru_cache(maxsize=4096)
def registrable(domain: str) -> str:
    """The domain that somebody registered: a public suffix and one label."""
    return _suffixes().privatesuffix(domain) or domain


def as_shown(domain: str) -> str:
    """A-labels as the letters that a reader sees."""
    if "xn--" not in domain:
        return domain
    try:
        return idna.decode(domain)
    except (idna.IDNAError, UnicodeError):
        return domain


def one_edit(a: str, b: str) -> bool:
    """Whether one letter inserted, left out or replaced makes one of the other."""
    if len(a) > len(b):
        a, b = b, a
    if a == b:
        return False
    same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))
    return a[same + (len(a) == len(b)) :] == b[same + 1 :]


def one_swap(a: str, b: str) -> bool:
    """Whether two neighbouring letters swapped make one of the other."""
    differ = [i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y]
    return len(differ) == 2 and differ[1] == differ[0] + 1 and sorted(a) == sorted(b)
