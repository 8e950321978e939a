"""The mail of the campaign, and what each message deserves.

Every message brings two forged fields of ours, in two spellings, and a forged Authentication-Results. Its number says
of which kind it is, and stands in it, so that what arrives can be told apart.
"""

from __future__ import annotations

import functools
import re
import time
from dataclasses import dataclass

from bench.load import CLAIMED, OTHERS
from bench.shapes import DOMAIN, Field, body_hash, garbage, header, text

from harness.dns_server import txt
from harness.signing import Sign, key_record, sign

SELECTORS = 60  # keys of the platform, most of which the service has not seen when DNS fails
FORGER = "203.0.113.66"
BOX = "marches@commune.example"

# 5 seconds are as short as the service remembers an answer: the faults of DNS must bite.
ZONE = (
    txt(f"s1._domainkey.{DOMAIN}", key_record())
    + "".join(f"f{n}._domainkey.{DOMAIN}. 5 IN CNAME s1._domainkey.{DOMAIN}.\n" for n in range(SELECTORS))
    + txt(DOMAIN, "v=spf1 ip4:192.0.2.0/24 -all")
    + txt("mailer.example", "v=spf1 ip4:198.51.100.0/24 -all")
).replace(" 300 IN ", " 5 IN ")

_FORGED: list[Field] = [
    (b"X-Trusted-Sender", b" verified; sender=ternum-bfc; by=dkim; host=mx1.example.org"),
    (b"x-TRUSTED-sender", b"\tverified; sender=ternum-bfc; by=spf; host=mx1.example.org"),
    (b"Authentication-Results", b" mx1.example.org; dkim=pass header.d=ternum-bfc.fr header.s=forged"),
]
_OURS = re.compile(rb"(?im)^x-trusted-sender[ \t]*:[ \t]*(.*?)\r?$")
_THEIRS = re.compile(rb"(?im)^authentication-results[ \t]*:.*header\.s=forged")
_NUMBER = re.compile(rb"(?m)^X-Number: (\d+)")


@dataclass(frozen=True)
class Message:
    """One message as it is sent."""

    number: int
    kind: str
    fields: list[Field]
    body: bytes
    mail_from: str
    client: str
    deserves: str  # the first word of our field
    held: bool = False

    def octets(self) -> bytes:
        return b"".join(b"%s:%s\r\n" % field for field in self.fields) + b"\r\n" + self.body


@dataclass(frozen=True)
class _Kind:
    fields: list[Field]
    body: bytes
    mail_from: str
    client: str
    deserves: str
    held: bool = False


def _signed(size: int, selector: str = "s1", **tags: str) -> _Kind:
    """A notice that DKIM alone can prove."""
    fields, body = header(), text(size)
    lines = b"".join(b"%s:%s\r\n" % field for field in fields) + b"\r\n"
    how = Sign(DOMAIN, selector, tags={"bh": body_hash(body, "relaxed")} | tags)
    signature = sign(lines, how).removesuffix(lines).removesuffix(b"\r\n").partition(b":")[2]
    return _Kind([(b"DKIM-Signature", signature), *fields], body, "bounce@mailer.example", OTHERS, "verified")


@functools.cache
def kinds() -> dict[str, list[_Kind]]:
    """All kinds; of some there are several, taken in turn. Made once in a process: Date is now."""
    now = int(time.time())
    body = text(1500)
    forged_signature = [garbage(body), *header()]
    imitation = header(From=b' "nepasrepondre@ternum-bfc.fr" <a@evil.example>')
    return {
        "signed": [_signed(2000)],
        "dated": [_signed(2000, t=str(now - 60), x=str(now + 7 * 86400))],
        "fresh": [_signed(1000, f"f{n}") for n in range(SELECTORS)],
        "large": [_signed(300_000)],
        "spf": [_Kind(header(), body, f"bounce@{DOMAIN}", CLAIMED, "verified")],
        "forged signature": [_Kind(forged_signature, body, "a@evil.example", FORGER, "unverified", True)],
        "forged sender": [_Kind(header(), body, f"bounce@{DOMAIN}", FORGER, "unverified", True)],
        "imitation": [_Kind(imitation, body, "a@evil.example", FORGER, "imitation")],
        "ordinary": [
            _Kind(header(From=b" News <news@brand.example>"), text(4000), "b@brand.example", OTHERS, "unclaimed")
        ],
    }


UNKNOWN = 4_000_000  # the first number of forgeries, each of which needs DNS names that the service has never seen
ORDINARY = 5_000_000  # the first number of mail that needs no DNS

_TURN = (
    *("signed", "ordinary", "fresh", "forged signature", "spf", "ordinary", "dated", "imitation", "fresh"),
    *("ordinary", "forged sender", "fresh", "signed", "ordinary", "spf", "forged signature", "fresh", "large"),
)


def message(number: int) -> Message:
    """The message of a number."""
    if UNKNOWN <= number < ORDINARY:
        name, kind = "unknown names", _unknown(number)
    else:
        name = "ordinary" if number >= ORDINARY else _TURN[number % len(_TURN)]
        several = kinds()[name]
        kind = several[number // 3 % len(several)]
    fields = [(b"X-Number", b" %d" % number), *_FORGED, *kind.fields]
    return Message(number, name, fields, kind.body, kind.mail_from, kind.client, kind.deserves, kind.held)


def _unknown(number: int) -> _Kind:
    body = text(1000)
    fields = [garbage(body, s=f"u{number}"), *header()]
    return _Kind(fields, body, f"a@u{number}.evil.example", FORGER, "unverified", True)


def number_of(octets: bytes) -> int:
    """Which message this is that has arrived."""
    found = _NUMBER.search(octets[:20_000])
    return int(found[1]) if found else -1


def verdict(header: bytes) -> str:
    """The verdict that a header carries: the first word of the only field of ours; a text with a blank where there
    is another number of them, or something forged is alive."""
    tags = _OURS.findall(header)
    if len(tags) != 1 or not tags[0].rstrip().endswith(b"host=mx1.example.org"):
        return f"fields: {tags}"
    if _THEIRS.search(header):
        return "forged Authentication-Results"
    return str(tags[0].partition(b";")[0].decode("ascii", "replace"))
