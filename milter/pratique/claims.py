"""From header bytes to a claim: which trusted sender does this message show its reader, and how?

Rules of this module: pure functions, linear in the size of the header. Noticing is generous: a trusted
sender named anywhere in From, however it is dressed, is seen. Accepting is strict: only one field, with
one mailbox, in one exact reading (mailbox.py) claims an address.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import replace

from . import names, shortlist, visible
from .mailbox import Mailbox, UnreadableError, parse_from
from .model import Claim, ClaimKind, Entry, Header, Limits, TrustedList, is_within
from .reasons import Reason
from .visible import Seen

_NOTICED_SIZE = 131_072  # octets of all From fields that are searched: more than an MTA hands over
_SHORT = 256  # octets of From up to which its reading is remembered
_OLD_SIZE = 4_096  # octets that are searched as 8-bit text without a charset
_APART = visible.APART.encode()
_MOST_TRIED = 4  # entries of which it is asked whether one of their very addresses is there


def find_claim(
    header: Header, senders: TrustedList, limits: Limits, local_domains: frozenset[str] = frozenset()
) -> Claim:
    """The claim of a message.

    The order is that of design#decision: no single reading (row 2), a listed address (3-5), another address of a
    trusted domain (6-7), an imitation (8), nothing (9).
    """
    values = [field.value for field in header.all(b"from")]
    if problem := _has_no_reading(values, header, limits):
        claim = _ambiguous(values, problem, senders)
        if claim.kind is ClaimKind.NONE and header.beyond.get(b"from"):
            return Claim(ClaimKind.AMBIGUOUS, reason=Reason.FROM_TOO_INTRICATE)  # those were not kept
        return claim
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
        return Claim(ClaimKind.DOMAIN, entry.id, mailbox.address, _dressed_up(mailbox, entry, senders))
    return _imitation(mailbox, senders)


_claim_again = functools.lru_cache(maxsize=2048)(_claim)  # most senders write again


def _ambiguous(values: Iterable[bytes], problem: Reason, senders: TrustedList) -> Claim:
    """No single reading. Where a trusted sender is named, or could be in what was too much to be searched, the message
    is not unclaimed."""
    noticed, complete = _notice(values, senders)
    if noticed:
        return Claim(ClaimKind.AMBIGUOUS, noticed.id, reason=problem)
    return Claim(ClaimKind.NONE) if complete else Claim(ClaimKind.AMBIGUOUS, reason=Reason.FROM_TOO_INTRICATE)


def _imitation(mailbox: Mailbox, senders: TrustedList) -> Claim:
    """Another address that is made to look like a trusted sender (design#decision, row 8)."""
    address = mailbox.address
    shown = visible.seen(mailbox.display)
    if entry := _named(shown, senders, address.domain):
        return Claim(ClaimKind.IMITATION, entry.id, address, Reason.DISPLAY_NAME_IMITATES, entry.name)
    literal = address.domain if address.domain.startswith("[") else ""
    local = visible.seen((address.local, literal))
    if entry := _named_in_local_part(local, senders):
        return Claim(ClaimKind.IMITATION, entry.id, address, Reason.LOCAL_PART_IMITATES, entry.domain)
    if imitated := shortlist.imitated(address.domain, senders):
        entry, how = imitated
        return Claim(ClaimKind.IMITATION, entry.id, address, Reason.DOMAIN_IMITATES, f"{entry.domain}: {how}")
    if not (shown.complete and local.complete):
        return Claim(ClaimKind.AMBIGUOUS, address=address, reason=Reason.FROM_TOO_INTRICATE)
    return Claim(ClaimKind.NONE, address=address)


def _named_in_local_part(local: Seen, senders: TrustedList) -> Entry | None:
    index = shortlist.of(senders)
    entries = index.domains_in(local.texts) or index.names.in_words(local.words)
    return next(iter(entries or index.names.whole(local.plain, names.WHOLE_ELSEWHERE)), None)


def _is_from_a_list_of(local_domains: frozenset[str], claim: Claim, header: Header) -> bool:
    """A list or group of our own that had to rewrite From (RFC 7960 §4.1.3): our domain, and a List-Id."""
    own = claim.address and any(is_within(claim.address.domain, domain) for domain in local_domains)
    return bool(own) and bool(header.all(b"list-id"))


def _dressed_up(mailbox: Mailbox, entry: Entry, senders: TrustedList) -> Reason | None:
    """A genuine insider whose display name or comment shows the listed mailbox, or the platform's name."""
    shown = visible.seen((*mailbox.display, mailbox.address.local))
    named = shortlist.of(senders).names
    if (
        _address_in(shown, entry)
        or entry in named.in_words(shown.words)
        or entry in named.whole(visible.seen(mailbox.display).plain)
    ):
        return Reason.DISPLAY_NAME_IMITATES
    return None


# ---- noticing --------------------------------------------------------------------------------------


def _notice(values: Iterable[bytes], senders: TrustedList) -> tuple[Entry | None, bool]:
    """The entry that is named anywhere in the From fields, and whether all of them could be searched."""
    whole = _APART.join(value.replace(_APART, b"\0") for value in values)
    text = whole[:_NOTICED_SIZE]
    readings = [text.decode("utf-8", "replace")]
    if "\ufffd" in readings[0]:  # 8-bit text of old programs
        readings.append(text[:_OLD_SIZE].decode("cp1252", "replace"))
    seen = [visible.seen(reading.split(visible.APART), len(readings)) for reading in readings]
    found = next((entry for one in seen if (entry := _named(one, senders))), None)
    return found, len(whole) <= (_NOTICED_SIZE if len(seen) == 1 else _OLD_SIZE) and all(one.complete for one in seen)


def _named(seen: Seen, senders: TrustedList, domain: str = "") -> Entry | None:
    """The entry whose address, else whose domain, else whose platform name is in what a reader sees. `domain` is that
    of the author."""
    index = shortlist.of(senders)
    entries = index.domains_in((*seen.texts, seen.tail))
    for entry in entries[:_MOST_TRIED]:
        if _address_in(seen, entry):
            return entry
    if entries:
        return entries[0]
    return next(iter(index.names.in_words(seen.words) or index.names.whole(seen.plain, domain=domain)), None)


def _address_in(seen: Seen, entry: Entry) -> bool:
    addresses = _addresses_of(entry.addresses)
    return any(addresses.search(text) for text in seen.texts)


@functools.lru_cache(maxsize=1024)
def _addresses_of(addresses: tuple[tuple[str, str], ...]) -> re.Pattern[str]:
    """How the addresses of an entry are recognised in text that visible.seen() made ready."""
    written = [_local_part(local) + "@" + _any_form(at) for local, at in addresses]
    return re.compile(rf"(?:{'|'.join(written)})(?![a-z0-9-])")


def _local_part(local: str) -> str:
    """A pattern for a local part of the list. Of one with `*` what stands before the first and behind the last is
    looked for, not far apart: a regular expression with more freedom is quadratic."""
    head, star, rest = local.partition("*")
    tail = re.escape(rest.rpartition("*")[2])
    if not head:
        return tail
    start = re.escape(head)  # first, and what stands before it afterwards: so `re` can skip to its first letter
    return rf"{start}(?<![a-z0-9]{start})" + (r"[^\s@]{0,64}" if star else "") + tail


def _any_form(domain: str) -> str:
    """A pattern for a domain as A-labels or, where it is an IDN, as a reader sees it."""
    return f"(?:{'|'.join(sorted(map(re.escape, shortlist.forms_of(domain))))})"
