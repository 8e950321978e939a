"""From: whatever its bytes, there is a claim; and LISTED only where From has one reading, which is listed.

Input: the values of the From fields, parted by NUL, which no field that a milter sees can hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

from fuzz import scene
from fuzz.scene import LIST
from pratique.claims import find_claim
from pratique.mailbox import UnreadableError, is_host_name, parse_from
from pratique.model import ClaimKind, Header, HeaderField, Limits
from pratique.reasons import Reason

WORDS = (
    *(b"nepasrepondre@ternum-bfc.fr", b"noreply.opic@visma.com", b"alert-1@visma.com", b"x@a.visma.com"),
    *(b"Visma Opic", "avis@marché.example".encode(), b"avis@xn--march-fsa.example", b"x@evil.example"),
    *(b"=?utf-8?q?", b"=?utf-8?b?", b"?=", b"=40", b"=2E", b"=?utf-7?q?", b"=?gb18030?b?", b"=?iso-2022-jp?b?"),
    *(b"=?utf-16?b?", b"\r\n ", b"\r\n\t", b"<", b">", b'"', b"\\", b"(", b")", b"@", b",", b";", b":", b"["),
    *(b"]", b".", b"\0", "é".encode(), "\u0301".encode(), "\u202e".encode(), "\u212a".encode()),
    *("\u3002".encode(), "\uff20".encode(), "\u200b".encode(), b"\xff", b"xn--"),
)  # fmt: skip
_PLAINLY_NAMED = re.compile(rb"(?<![a-z0-9])(?:noreply\.opic@visma\.com|nepasrepondre@ternum-bfc\.fr)(?![a-z0-9-])")
_LIMITS = Limits()


def seeds() -> Iterator[bytes]:
    from harness import corpus

    for case in corpus.read_all():
        header = re.sub(rb"\r?\n(?=[ \t])", b"\r\n", case.message.partition(b"\r\n\r\n")[0])
        yield b"\0".join(re.findall(rb"(?ims)^from[ \t]*:(.*?)\r\n(?![ \t])", header + b"\r\n"))
    yield ' "Marchés été" (a (b) \\) c) <avis@marché.example>'.encode()
    yield b" alert-1@visma.com\0 x@a.visma.com"


def check(data: bytes) -> None:
    values = data.split(b"\0")
    header = Header(tuple(HeaderField(b"From", value) for value in values))
    claim = find_claim(header, LIST, _LIMITS)
    read = []
    for value in values:
        with suppress(UnreadableError):
            read.append(parse_from(value))
    for mailbox in read:
        address = mailbox.address
        assert address.domain == address.domain.lower(), address
        assert is_host_name(address.domain) or address.domain[:1] == "[", address
        assert len(address.local) > 0, address
        if address.domain[:1] != "[":
            again = parse_from(str(address).encode()).address
            assert again == address, (address, again)
    listed = len(values) == 1 and len(read) == 1 and LIST.for_address(read[0].address) is not None
    short = len(values[0]) <= _LIMITS.from_size
    assert (claim.kind is ClaimKind.LISTED) == (listed and short), claim
    if claim.kind in (ClaimKind.LISTED, ClaimKind.DOMAIN):
        assert claim.address == read[0].address, claim
        assert LIST.for_domain(read[0].address.domain), claim
    unsearched = claim.kind is ClaimKind.AMBIGUOUS and claim.reason is Reason.FROM_TOO_INTRICATE
    assert (claim.kind is ClaimKind.NONE or unsearched) == (claim.sender is None), claim
    plain = [value for value in values if value.isascii() and b"=?" not in value and scene.is_one_field(value)]
    if any(_PLAINLY_NAMED.search(value.lower()) for value in plain):
        assert claim.kind is not ClaimKind.NONE, claim
