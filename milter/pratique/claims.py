"""From header bytes to a claim: which trusted sender does this message show its reader, and how?

Rules of this module: pure functions, linear in the size of the header. Noticing is generous: a trusted
sender named anywhere in From, however it is dressed, is seen. Accepting is strict: only one field, with
one mailbox, in one exact reading (mailbox.py) claims an address.
"""

from __future__ import annotations

import binascii
import codecs
import functools
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace

import idna

from . import shortlist
from .lookalike import DISTINCTIVE, in_ascii, skeleton, words_of
from .mailbox import Mailbox, UnreadableError, parse_from
from .model import Claim, ClaimKind, Entry, Header, Limits, TrustedList, is_within
from .reasons import Reason

_NOTICED_SIZE = 65536  # octets of From that are searched for names: more than any MTA hands over
_NORMALISED = 8192  # characters of From in which foreign letters are looked at: normalisation can be quadratic
_SHORT = 256  # octets of From up to which its reading is remembered
_SHORTEST_NAME = 6  # letters and digits, and the blanks round them
_ENCODED_WORD = re.compile(r"=\?([^?*]{1,40})(?:\*[^?]{0,40})?\?([bq])\?([^?]*)\?=", re.IGNORECASE)
# Letters that show nothing (Default_Ignorable_Code_Point), and marks that turn text round.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u206f\u3164\ufe00-\ufe0f\uffa0]"
)
_TURNS_ROUND = re.compile("[\u202a-\u202e\u2066-\u2069]")
_BETWEEN_WORDS = re.compile(r"(\?=)\s+(?==\?)")
# Python knows codecs that are no character sets, and one that is quadratic (idna): name those we take, by its names.
_CHARSETS = frozenset(
    ["utf-8", "utf-7", "utf-16", "utf-16-be", "utf-16-le", "utf-32", "utf-32-be", "utf-32-le", "cp037", "cp500"]
    + ["big5", "gb2312", "gbk", "gb18030", "hz", "euc_jp", "euc_kr", "iso2022_jp", "iso2022_kr", "shift_jis"]
    + ["koi8-r", "koi8-u", "mac-roman"]
    + [f"iso8859-{n}" for n in range(2, 17)]
    + [f"cp125{n}" for n in range(9)]
)
_ANY_OTHER = "latin-1"  # of most the first half is ASCII: enough for an address


def find_claim(
    header: Header, senders: TrustedList, limits: Limits, local_domains: frozenset[str] = frozenset()
) -> Claim:
    """The claim of a message.

    The order is that of DESIGN §2: no single reading (row 2), a listed address (3-5), another address of a
    trusted domain (6-7), an imitation (8), nothing (9).
    """
    values = [field.value for field in header.all(b"from")]
    if problem := _has_no_reading(values, header, limits):
        return _ambiguous(values, problem, senders)
    claim = (_claim_again if len(values[0]) <= _SHORT else _claim)(values[0], senders)
    if claim.reason is Reason.DISPLAY_NAME_IMITATES and _is_from_a_list_of(local_domains, claim, header):
        return replace(claim, reason=Reason.LIST_REWRITTEN)
    return claim


def _has_no_reading(values: list[bytes], header: Header, limits: Limits) -> Reason | None:
    if len(values) != 1:  # where there is none, it names nobody
        return Reason.SEVERAL_FROM_FIELDS
    if header.beyond:
        return Reason.HEADER_TOO_LARGE
    return Reason.FROM_TOO_LONG if len(values[0]) > limits.from_size else None


def _claim(value: bytes, senders: TrustedList) -> Claim:
    """What one From field claims."""
    try:
        mailbox = parse_from(value)
    except UnreadableError as problem:
        return _ambiguous([value], problem.reason, senders)
    if entry := senders.for_address(mailbox.address):
        return Claim(ClaimKind.LISTED, entry.id, mailbox.address)
    if entry := senders.for_domain(mailbox.address.domain):
        return Claim(ClaimKind.DOMAIN, entry.id, mailbox.address, _dressed_up(mailbox, entry))
    return _imitation(mailbox, senders)


_claim_again = functools.lru_cache(maxsize=2048)(_claim)  # most senders write again


def _ambiguous(values: Iterable[bytes], problem: Reason, senders: TrustedList) -> Claim:
    noticed = _notice(values, senders)
    if noticed is None:
        return Claim(ClaimKind.NONE)
    return Claim(ClaimKind.AMBIGUOUS, noticed.id, reason=problem)


def _imitation(mailbox: Mailbox, senders: TrustedList) -> Claim:
    """Another address that is made to look like a trusted sender (DESIGN §2, row 8)."""
    address = mailbox.address
    if entry := _named(_seen(mailbox.display), senders):
        return Claim(ClaimKind.IMITATION, entry.id, address, Reason.DISPLAY_NAME_IMITATES, entry.name)
    literal = address.domain if address.domain.startswith("[") else ""
    if entry := _named(_seen((address.local, literal)), senders):
        return Claim(ClaimKind.IMITATION, entry.id, address, Reason.LOCAL_PART_IMITATES, entry.domain)
    if imitated := shortlist.imitated(address.domain, senders):
        entry, how = imitated
        return Claim(ClaimKind.IMITATION, entry.id, address, Reason.DOMAIN_IMITATES, f"{entry.domain}: {how}")
    return Claim(ClaimKind.NONE, address=address)


def _is_from_a_list_of(local_domains: frozenset[str], claim: Claim, header: Header) -> bool:
    """A list or group of our own that had to rewrite From (RFC 7960 §4.1.3): our domain, and a List-Id."""
    own = claim.address and any(is_within(claim.address.domain, domain) for domain in local_domains)
    return bool(own) and bool(header.all(b"list-id"))


def _dressed_up(mailbox: Mailbox, entry: Entry) -> Reason | None:
    """A genuine insider whose display name or comment shows the listed mailbox, or the platform's name."""
    views = _seen((*mailbox.display, mailbox.address.local))
    marks = _marks(entry)
    return Reason.DISPLAY_NAME_IMITATES if marks.address_in(views) or marks.name_in(*_worded(views)) else None


# ---- noticing --------------------------------------------------------------------------------------


def _notice(values: Iterable[bytes], senders: TrustedList) -> Entry | None:
    """The entry that is named anywhere in the From fields."""
    return _named(_seen(value[:_NOTICED_SIZE].decode("utf-8", "replace") for value in values), senders)


def _named(views: tuple[str, ...], senders: TrustedList) -> Entry | None:
    """The entry whose address, else whose domain, else whose platform name is in the views."""
    words, likenesses = _worded(views)
    entries = shortlist.of(senders).named_in(views, words, likenesses)
    entries.sort(key=lambda e: -len(e.domain))
    for entry in entries:
        if _marks(entry).address_in(views):
            return entry
    for entry in entries:
        if _marks(entry).domain_in(views):
            return entry
    return next((entry for entry in entries if _marks(entry).name_in(words, likenesses)), None)


def _seen(texts: Iterable[str]) -> tuple[str, ...]:
    """What a reader may see: the text with encoded words decoded, compatibility forms and case folded and
    invisible characters gone; once more without blanks, quotes, backslashes and comments, as a reader puts
    `"x" (y) @ example.org` together; and both with foreign letters as the ASCII ones they look like."""
    views: list[str] = []
    budget = _NORMALISED
    for text in texts:
        shown = decode_words(re.sub(r"\r?\n", " ", text))
        budget -= len(shown)
        if budget < 0:
            shown = shown.encode("ascii", "ignore").decode("ascii")
        if shown.isascii():
            views += _plain_and_bare(shown)
        else:
            views += _plain_and_bare(_visible(shown, ""))
            views += _plain_and_bare(in_ascii(_visible(shown, " ")))  # before case is folded: M is one, and \u03bc not
            views += [view[::-1] for view in views if _TURNS_ROUND.search(shown)]
    return tuple(dict.fromkeys(views))


def _visible(text: str, for_invisible: str) -> str:
    text = _INVISIBLE.sub(for_invisible, unicodedata.normalize("NFKC", text)).replace("\u3002", ".")
    return "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Mn"))


def _plain_and_bare(text: str) -> tuple[str, str]:
    plain = re.sub(r"[\x00-\x1f\x7f]", " ", text.casefold())
    return plain, re.sub(r"[\s\"\\]+|\([^()]*\)", "", plain)


@dataclass(frozen=True, slots=True)
class _Marks:
    """How an entry is recognised in text that was made ready by _seen."""

    addresses: re.Pattern[str]
    domain: re.Pattern[str]
    name: str

    def address_in(self, views: tuple[str, ...]) -> bool:
        return any(self.addresses.search(view) for view in views)

    def domain_in(self, views: tuple[str, ...]) -> bool:
        return any(self.domain.search(view) for view in views)

    def name_in(self, words: tuple[str, ...], likenesses: tuple[str, ...]) -> bool:
        """Whether the name is in the words of the views, or looks like what is."""
        if len(self.name) <= _SHORTEST_NAME:
            return False
        alike = skeleton(self.name) if len(self.name) >= DISTINCTIVE else self.name
        return any(self.name in text for text in words) or any(alike in text for text in likenesses)


def _worded(views: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The views as words, a bar taken for a letter too, and as what these look like."""
    texts = {text: None for view in views for text in (view, view.replace("|", "l"))}
    words = tuple(map(words_of, texts))
    return words, tuple(map(skeleton, words))


def _marks(entry: Entry) -> _Marks:
    return _compiled(entry.name, entry.domain, entry.addresses)


@functools.lru_cache(maxsize=4096)
def _compiled(name: str, domain: str, addresses: tuple[tuple[str, str], ...]) -> _Marks:
    written = [_local_part(local) + "@" + _either_form(at) for local, at in addresses]
    return _Marks(
        addresses=re.compile(rf"(?:{'|'.join(written)})(?![a-z0-9-])"),
        domain=re.compile(rf"(?<![a-z0-9-]){_either_form(domain)}(?![a-z0-9-])"),
        name=words_of(name),
    )


def _local_part(local: str) -> str:
    """A pattern for a local part of the list. Of one with `*` what stands before the first and behind the last is
    looked for, not far apart: a regular expression with more freedom is quadratic."""
    head, star, rest = local.partition("*")
    tail = re.escape(rest.rpartition("*")[2])
    if not head:
        return tail
    start = re.escape(head)  # first, and what stands before it afterwards: so `re` can skip to its first letter
    return rf"{start}(?<![a-z0-9]{start})" + (r"[^\s@]{0,64}" if star else "") + tail


def _either_form(domain: str) -> str:
    """A pattern for a domain as A-labels or, where it is an IDN, as a reader sees it."""
    try:
        return f"(?:{re.escape(domain)}|{re.escape(idna.decode(domain).casefold())})"
    except idna.IDNAError:
        return re.escape(domain)


# ---- encoded words (RFC 2047) ----------------------------------------------------------------------


def decode_words(text: str) -> str:
    """Encoded words decoded, more generously than RFC 2047 allows: inside quotes, next to other text, with
    blanks in them, as many readers do. What cannot be decoded stays as it is."""
    return _ENCODED_WORD.sub(_decode_word, _BETWEEN_WORDS.sub(r"\1", text))


def _decode_word(word: re.Match[str]) -> str:
    charset, encoding, payload = word.groups()
    try:
        if encoding in "bB":
            octets = binascii.a2b_base64(payload + "=" * (-len(payload) % 4))
        else:
            octets = binascii.a2b_qp(payload.replace("_", " ").encode("utf-8"))
        return octets.decode(_codec(charset), "replace")
    except ValueError:  # binascii.Error and UnicodeError are ValueErrors
        return word.group()


def _codec(charset: str) -> str:
    try:
        name = codecs.lookup(charset.strip()).name
    except (LookupError, ValueError):
        return _ANY_OTHER
    return name if name in _CHARSETS else _ANY_OTHER
