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

import idna
from publicsuffixlist import PublicSuffixList

DISTINCTIVE = 8  # letters and digits of a label from which on a near spelling is no coincidence

# What the eye takes for one another in lower case, over what TR39 says of single letters.
_SEQUENCES = (("rn", "m"), ("vv", "w"), ("cl", "d"), ("0", "o"), ("1", "l"), ("i", "l"))


@functools.lru_cache(maxsize=1)
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()


@functools.lru_cache(maxsize=1)
def _ascii_twins() -> dict[str, str]:
    """Each foreign letter or sign that TR39 takes for ASCII; a capital that it takes for l looks like I."""
    from confusable_homoglyphs.confusables import confusables_data  # 7 MB, and most mail needs none of it

    return {
        letter: (look["c"].replace("l", "i") if letter.isupper() else look["c"]).lower()
        for letter, looks in confusables_data.items()
        for look in looks
        if look["c"].isascii() and not letter.isascii()
    }


def in_ascii(text: str) -> str:
    """The text as the eye takes it: no marks, no case, foreign letters as the ASCII ones they look like."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text)
        text = "".join(c for c in text if unicodedata.category(c) != "Mn")
        if not text.isascii():
            twins = _ascii_twins()
            text = "".join(twins.get(c) or twins.get(c.lower(), c) for c in text)
    return text.lower()


def skeleton(text: str) -> str:
    """What two texts that look alike have in common (after TR39 §4)."""
    text = in_ascii(text)
    for sequence, twin in _SEQUENCES:
        text = text.replace(sequence, twin)
    return text


def words_of(text: str) -> str:
    """Letters and digits only, marks and case gone, one blank between words and round them."""
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if unicodedata.category(c) != "Mn")
    return " " + " ".join(re.findall(r"[^\W_]+", text.casefold())) + " "


def imitates(domain: str, trusted: str) -> str | None:
    """How a domain imitates a trusted one, in words, or None. Both as lower-case A-labels, and neither is
    the other or below it."""
    ours, theirs = registrable(trusted), registrable(domain)
    if ours == theirs:
        return None  # one organisation
    if looks(domain) & looks(trusted) or looks(theirs) & looks(ours):
        return "letters that look alike"
    if any(f".{name}{end}" in f".{domain}" for name in (trusted, ours) for end in ".-"):
        return "the trusted domain as a part of another"
    if trusted.replace(".", "-") in domain.split("."):
        return "hyphens for dots"
    return _near_label(theirs, ours)


def looks(domain: str) -> set[str]:
    """What a domain looks like in small letters, and in capitals: some foreign ones look like ours only then."""
    shown = as_shown(domain)
    return {skeleton(shown), skeleton(shown.upper())}


def _near_label(theirs: str, ours: str) -> str | None:
    label, _, suffix = theirs.partition(".")
    own, _, own_suffix = ours.partition(".")
    letters, own_letters = bare_letters(label), bare_letters(own)
    if len(own_letters) < DISTINCTIVE:
        return None
    if letters == own_letters:
        return "another suffix" if label == own else "other hyphens"
    if f"-{own}-" in f"-{label}-":
        return "the trusted name with words around it"
    if suffix == own_suffix and one_edit(letters, own_letters):
        return "one letter changed"
    return "two letters swapped" if suffix == own_suffix and one_swap(letters, own_letters) else None


def bears_the_name(domain: str, trusted: str, name: str) -> str | None:
    """Whether somebody else's domain is the platform's name written as one: visma-opic.com for Visma Opic."""
    theirs = registrable(domain)
    letters, wanted = ("".join(filter(str.isalnum, bare_letters(text))) for text in (theirs.partition(".")[0], name))
    if len(wanted) < DISTINCTIVE or letters != wanted or theirs == registrable(trusted):
        return None
    return "the platform's name as a domain"


def bare_letters(label: str) -> str:
    """A label as the eye takes it, without its hyphens."""
    return in_ascii(as_shown(label)).replace("-", "")


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
