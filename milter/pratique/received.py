"""The client behind our own relays, read from the Received fields that these wrote (RFC 5321 §4.4).

Rules of this module: pure functions; bounded and strict. A field is read only in the exact shape of a program we
know, and only if no other text in it could be taken for an address: HELO names, host names and certificates in it
are the client's own words. What is unclear is no address.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from .mailbox import UnreadableError, to_a_labels
from .model import Header, IPAddress, Origin, Relay, Session, in_networks
from .reasons import Reason

MOST_FIELDS = 8  # that are walked through; a relay with a content filter writes three
LONGEST = 2048  # octets of a field

_ADDRESS = r"(?:IPv6:)?[0-9A-Fa-f.:]{2,45}"
_CLIENT = rf"\[(?P<client>{_ADDRESS})\]"
_OWN = rf"(?P<own>{_ADDRESS})"  # of the host that wrote the field
_NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}"
_HELO = rf"(?P<helo>{_NAME})"
_BY = rf"by (?P<by>{_NAME})"
_IDENT = r"(?: ?ident=[\w.+-]{1,64})?"  # an answer of the client's identd
_COMMENTS = r"(?: \((?:[^()]|\([^()]*\))*\))*"  # TLS, authentication
_PROTOCOL = r"with (?i:(?:UTF8)?(?:E?SMTP|LMTP)S?A?)(?=[ ;])"
_REST = r"[^;]*;[^;]*"  # up to the date

# What each program writes, its blanks and folds as one blank. `client` is what the program saw; in Exim's second
# shape the name before it is the host's, and the HELO name where none is given.
_SHAPES = (
    # Postfix: from helo (name [192.0.2.1]) (using TLS…) by gw (Postfix) with ESMTPS id …; date
    # Sendmail: from helo (IDENT:user@name [192.0.2.1] (may be forged)) by gw (8.17.1/8.17.1) with ESMTP id …; date
    rf"from {_HELO} \((?:(?:(?:IDENT:)?[\w.+-]{{1,64}}@)?{_NAME} )?{_CLIENT}(?: \(may be forged\))?\){_COMMENTS}"
    rf" {_BY} \([^()]*\) {_PROTOCOL}{_REST}",
    # Exim: from [192.0.2.1] (helo=name) by gw with esmtps … (Exim 4.96) …; date
    rf"from {_CLIENT}(?: \((?:port=\d+)?(?: ?helo={_HELO})?{_IDENT}\))? {_BY} {_PROTOCOL}{_REST}",
    # Exim: from name ([192.0.2.1]:25 helo=name) by gw with esmtps … (Exim 4.96) …; date
    rf"from (?P<name>{_NAME}) \({_CLIENT}(?::\d+)?(?: helo={_HELO})?{_IDENT}\) {_BY} {_PROTOCOL}{_REST}",
    # Google: from helo (name. [192.0.2.1]) by mx.google.com with ESMTPS id … for <…> (version=…); date
    rf"from {_HELO} \((?:{_NAME} )?{_CLIENT}\) {_BY} {_PROTOCOL}{_REST}",
    # Exchange: from helo (192.0.2.1) by gw (198.51.100.1) with Microsoft SMTP Server (version=…) id …; date
    rf"from {_HELO} \((?P<client>{_ADDRESS})\) {_BY} \({_OWN}\) with Microsoft SMTP Server(?=[ ;]){_REST}",
    # amavis: from helo ([127.0.0.1]) by localhost (gw [127.0.0.1]) (amavis, port 10024) with ESMTP id …; date
    rf"from {_HELO} \((?:{_NAME} )?{_CLIENT}\) by {_NAME} \((?P<by>{_NAME}) \[{_OWN}\]\)"
    rf" \(amavis(?:d-new)?, port \d+\) {_PROTOCOL}{_REST}",
)
_PATTERNS = tuple(map(re.compile, _SHAPES))
_BLANKS = re.compile(r"(?:\r\n)?[ \t]+")
_PRINTABLE = re.compile(r"[ -~]*")
_SECOND_ADDRESS = re.compile(rf"\[|\( ?({_ADDRESS}) ?\)")


@dataclass(frozen=True, slots=True)
class Received:
    """Who handed a message over, by what name, and to which host; names as lower-case A-labels where they are any."""

    client: IPAddress
    helo: str
    by: str


def parse_received(value: bytes) -> Received | None:
    """What a Received field says, or None where it is not quite clear."""
    if len(value) > LONGEST:
        return None
    text = _BLANKS.sub(" ", value.decode("latin-1").removesuffix("\r\n")).strip(" ")
    if not _PRINTABLE.fullmatch(text):
        return None
    match = next(filter(None, (pattern.fullmatch(text) for pattern in _PATTERNS)), None)
    client = _ip(match["client"]) if match else None
    if match is None or client is None or _names_another_address(match):
        return None
    found = match.groupdict()
    try:
        by = to_a_labels(found["by"].removesuffix("."))
    except UnreadableError:
        return None
    return Received(client, found["helo"] or found.get("name") or "", by)


def _names_another_address(match: re.Match[str]) -> bool:
    """Whether anything else in it could be meant for the client: a shape within a HELO name, two fields in one."""
    places = [match.span(group) for group in ("client", "own") if match.groupdict().get(group)]
    text, start = "", 0
    for first, end in sorted(places):
        text += match.string[start : first - 1]  # without the bracket
        start = end + 1
    text += match.string[start:]
    return any(found[1] is None or _ip(found[1]) for found in _SECOND_ADDRESS.finditer(text))


def _ip(text: str) -> IPAddress | None:
    """One address of one host, IPv4-mapped ones as IPv4."""
    bare = text.removeprefix("IPv6:")
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return address if bare == text and _is_host(address) else None
    mapped = address.ipv4_mapped or address
    return mapped if _is_host(mapped) else None


def _is_host(address: IPAddress) -> bool:
    return not (address.is_unspecified or address.is_multicast)


def relay_of(client: IPAddress | None, relays: tuple[Relay, ...]) -> Relay | None:
    """The relay that a client is, if it is one."""
    if not relays:
        return None
    return next((relay for relay in relays if in_networks(client, relay.networks)), None)


def find_origin(session: Session, header: Header, relays: tuple[Relay, ...]) -> Origin:
    """The client to judge: the one that connected, or the first before our relays that is none of them.

    The topmost Received field was written by the relay that connected, since our own MTA shows a milter none of its
    own; the next one by the relay that this one names, and so on. Where a relay names its own loopback address, it
    has handed the message on within itself.
    """
    relay = relay_of(session.client, relays)
    if relay is None:
        return Origin(session.client, session.helo)
    for field in header.all(b"received")[:MOST_FIELDS]:
        hop = parse_received(field.value)
        if hop is None or hop.by not in relay.received_by:
            break
        if hop.client.is_loopback:
            continue
        before = relay_of(hop.client, relays)
        if before is None:
            return Origin(hop.client, hop.helo, relay=session.client)
        relay = before
    reason = Reason.RELAY_UNREADABLE if relay.received_by else Reason.BEHIND_RELAY
    return Origin(None, "", relay=session.client, reason=reason)
