"""Encoded words (RFC 2047) as mail programs decode them: they differ, and a reader sees what one of them makes of it.

Rules of this module: pure functions; linear in the length of the text, for each reading; nothing raises. Thunderbird
joins the bytes of adjacent words before it decodes them. Roundcube takes a `?` inside a word, and continues base64 in
the next word. Charset labels are those of the WHATWG Encoding standard (package webencodings), which Thunderbird and
browsers follow.
"""

from __future__ import annotations

import binascii
import codecs
import functools
import itertools
import re
from collections.abc import Callable, Iterator
from encodings import aliases, normalize_encoding
from typing import NamedTuple

import webencodings

_START = re.compile(r"=\?([^?]*)\?([bq])\?", re.IGNORECASE)
_BETWEEN_WORDS = re.compile(r"(\?=)\s+(?==\?)")
_CANONICAL_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_WORD_COST = 24  # an encoded word takes as long to decode as about this many characters of text to copy

# Python's names of character sets. Other codecs of Python are no character sets, and one is quadratic (idna).
_CHARACTER_SET = re.compile(
    r"utf_(?:7|8|(?:16|32)(?:_[bl]e)?)|cp\d+|iso8859_\d+|iso2022_\w+|euc_\w+|big5\w*|gb\w+|hz|shift_jis\w*|koi8_\w"
    r"|mac_\w+|johab|ptcp154|kz1048|hp_roman8|tis_620|latin_1|ascii"
)
_STATEFUL = re.compile(r"utf-?_?(?:7|16|32).*|iso.?2022.*|hz.*|replacement", re.IGNORECASE)
# Labels that programs read in another way than the WHATWG: as the byte order mark says, or as the charset that it is.
_UNMARKED = {"utf-16": "utf_16_be", "utf_16": "utf_16_be", "utf_32": "utf_32_be"}


class Readings(NamedTuple):
    """What the programs make of a text, the commonest reading first; `complete`: no reading was left out."""

    texts: tuple[str, ...]
    complete: bool


class _Word(NamedTuple):
    """One encoded word, and where it stands in the text."""

    start: int
    end: int
    charset: str
    encoding: str
    payload: str


_Part = str | tuple[_Word, ...]
"""Text that is not encoded, or words with nothing but spaces between them."""

_Decode = Callable[[bytes, str], tuple[str, int]]
_Join = Callable[[tuple[_Word, ...], int], str]


def decode_words(text: str) -> str:
    """The commonest reading: encoded words decoded, more generously than RFC 2047 allows: inside quotes, next to other
    text, with spaces in them. A word that cannot be decoded stays as it is."""
    return readings(text, len(text) + _WORD_COST).texts[0]


def readings(text: str, budget: int) -> Readings:
    """Every reading of a text. `budget` bounds the characters that are read for it; at least one reading is made."""
    if "=?" not in text:
        return Readings((text,), True)
    text = _BETWEEN_WORDS.sub(r"\1", text)
    strict = _words(text, to_first_end=False)
    lazy = _words(text, to_first_end=True)
    if not strict and not lazy:
        return Readings((text,), True)
    found = {_decoded(_parts(text, strict), _as_bytes, 0): None}
    if strict == lazy and _is_plain(strict):
        return Readings(tuple(found), True)
    cost = len(text) + _WORD_COST * max(len(strict), len(lazy))
    budget -= cost
    if any(webencodings.lookup(_label(word.charset)) is None for word in strict):
        found[text] = None  # a program that does not know the charset shows the word as it is written
    for words, choice, join in itertools.product((lazy,) if strict == lazy else (strict, lazy), (0, 1), _JOINS):
        budget -= cost
        if budget < 0:
            return Readings(tuple(found), False)
        found[_decoded(_parts(text, words), join, choice)] = None
    return Readings(tuple(found), True)


# ---- finding the words -----------------------------------------------------------------------------


def _words(text: str, to_first_end: bool) -> list[_Word]:
    """The encoded words of a text. A payload ends at the first `?=`, or (RFC 2047) at the first `?`, which must then
    be that of `?=`."""
    found = []
    position = 0
    while match := _START.search(text, position):
        end = text.find("?=" if to_first_end else "?", match.end())
        if end < 0:
            break
        if text.startswith("?=", end):
            found.append(_Word(match.start(), end + 2, match[1], match[2].lower(), text[match.end() : end]))
            position = end + 2
        else:
            position = match.start() + 2
    return found


def _parts(text: str, words: list[_Word]) -> Iterator[_Part]:
    run: list[_Word] = []
    position = 0
    for word in words:
        if word.start > position:
            if run:
                yield tuple(run)
                run = []
            yield text[position : word.start]
        run.append(word)
        position = word.end
    yield tuple(run)
    yield text[position:]


def _is_plain(words: list[_Word]) -> bool:
    """Whether every program reads the words alike: each is complete in itself, and of a charset without states."""
    return all(
        len(_codecs(word.charset)) == 1
        and (word.encoding == "q" or (len(word.payload) % 4 == 0 and _CANONICAL_BASE64.fullmatch(word.payload)))
        and not _STATEFUL.fullmatch(_label(word.charset))
        and _is_whole(word)
        for word in words
    )


def _is_whole(word: _Word) -> bool:
    octets = _octets(word)
    try:
        _codecs(word.charset)[0](octets or b"", "strict")
    except UnicodeError:
        return False
    return octets is not None


# ---- decoding --------------------------------------------------------------------------------------


def _decoded(parts: Iterator[_Part], join: _Join, choice: int) -> str:
    return "".join(part if isinstance(part, str) else join(part, choice) for part in parts)


def _as_bytes(words: tuple[_Word, ...], choice: int, octets_of: Callable[[_Word], bytes | None] | None = None) -> str:
    """Thunderbird, Python: the bytes of adjacent words of one charset are decoded together."""
    text, octets = "", b""
    for word, following in itertools.zip_longest(words, words[1:]):
        found = (octets_of or _octets)(word)
        if found is not None:
            octets += found
        if found is None or following is None or following.charset.lower() != word.charset.lower():
            text += _text(octets, word.charset, choice)
            octets = b""
        if found is None:
            text += f"=?{word.charset}?{word.encoding}?{word.payload}?="
    return text


def _as_bytes_without_padding(words: tuple[_Word, ...], choice: int) -> str:
    """The same where `=` inside base64 is passed over."""
    return _as_bytes(words, choice, _octets_without_padding)


def _alone(words: tuple[_Word, ...], choice: int) -> str:
    """Each word by itself, as RFC 2047 has it."""
    return "".join(_as_bytes((word,), choice) for word in words)


def _as_payload(words: tuple[_Word, ...], choice: int) -> str:
    """Roundcube: the payloads of adjacent words of one charset and encoding are joined, in groups of four letters
    where they are base64."""
    text = ""
    for (charset, encoding), run in itertools.groupby(words, lambda word: (word.charset, word.encoding)):
        if encoding == "q":
            octets = _quoted("".join(word.payload for word in run))
        else:
            octets, rest = b"", ""
            for word in run:
                chunk = rest + word.payload
                whole = len(chunk) // 4 * 4
                octets += _base64_without_padding(chunk[:whole])
                rest = chunk[whole:]
            octets += _base64_without_padding(rest)
        text += _text(octets, charset, choice)
    return text


_JOINS: tuple[_Join, ...] = (_as_bytes, _as_payload, _as_bytes_without_padding, _alone)


def _octets(word: _Word) -> bytes | None:
    if word.encoding == "q":
        return _quoted(word.payload)
    try:
        return binascii.a2b_base64(word.payload + "=" * (-len(word.payload) % 4))
    except ValueError:
        return None


def _octets_without_padding(word: _Word) -> bytes:
    return _quoted(word.payload) if word.encoding == "q" else _base64_without_padding(word.payload)


def _quoted(payload: str) -> bytes:
    return binascii.a2b_qp(payload.replace("_", " ").encode("utf-8", "replace"))


def _base64_without_padding(payload: str) -> bytes:
    letters = re.sub(r"[^A-Za-z0-9+/]+", "", payload)
    if len(letters) % 4 == 1:
        letters = letters[:-1]
    return binascii.a2b_base64(letters + "=" * (-len(letters) % 4))


# ---- charsets --------------------------------------------------------------------------------------


def _text(octets: bytes, charset: str, choice: int) -> str:
    known = _codecs(charset)
    decode = known[min(choice, len(known) - 1)]
    try:
        return decode(octets, "replace")[0]
    except UnicodeError:  # a codec that cannot replace what it does not know
        return octets.decode("latin-1")


def _label(charset: str) -> str:
    return charset.partition("*")[0].strip().lower()  # RFC 2231 §5: a language may follow


@functools.lru_cache(maxsize=1)
def _python_names() -> dict[str, str]:
    """Python's character sets by their names and aliases. codecs.lookup() would search the disk for any other name, and
    remember each."""
    names = {alias: name for alias, name in aliases.aliases.items() if _CHARACTER_SET.fullmatch(name)}
    return names | {name: name for name in names.values()}


def _codecs(charset: str) -> tuple[_Decode, ...]:
    """The ways to decode a charset: the WHATWG's, then another where programs differ. Of an unknown one ASCII can be
    read, and some programs take it for UTF-8."""
    label = _label(charset)
    return _codecs_of(label if len(label) <= 40 else "")


@functools.lru_cache(maxsize=256)
def _codecs_of(label: str) -> tuple[_Decode, ...]:
    python = _python_names().get(normalize_encoding(label).lower()) if label.isascii() else None
    found: list[_Decode] = []
    standard = webencodings.lookup(label) if label.isascii() else None
    if standard is not None:
        found.append(standard.codec_info.decode)
        if standard.name == "replacement" and python:
            found.append(codecs.getdecoder(python))
    elif python:
        found.append(codecs.getdecoder(python))
    else:
        return codecs.getdecoder("latin-1"), codecs.getdecoder("utf-8")
    if label == "utf-16":
        found.append(_decode_marked_utf_16)
    elif python in _UNMARKED:
        found.append(codecs.getdecoder(_UNMARKED[python]))
    return tuple(found)


def _decode_marked_utf_16(octets: bytes, errors: str) -> tuple[str, int]:
    """UTF-16 by its byte order mark; without one, the higher byte first (RFC 2781 §4.3)."""
    marked = octets[:2] in (codecs.BOM_UTF16_BE, codecs.BOM_UTF16_LE)
    return octets.decode("utf-16" if marked else "utf-16-be", errors), len(octets)
