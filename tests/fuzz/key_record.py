"""Key record: nothing raises, and a signature counts only with the key that it was made with.

Input: the TXT records at the selector, parted by 0xFF.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import suppress

from fuzz import scene
from pratique.authentication import Inspection
from pratique.authentication.signature import SignatureError, parse_key, parse_signature
from pratique.model import DnsAnswer, DnsStatus, Header, HeaderField, Limits

from harness.signing import Sign, ed25519_key, key_record, rsa_key

WORDS = (
    *(b"v=DKIM1", b"k=rsa", b"k=ed25519", b"p=", b"t=y", b"t=s", b"t=y:s", b"s=email", b"s=*", b"s=tlsrpt"),
    *(b"h=sha256", b"h=sha1", b"g=*", b"n=", b";", b"; ", b":", b"=", b"\xff", b"\r\n ", b"\t", b"MIIB"),
    *(b"AQAB", b"IDAQAB", b"MA=="),
)  # fmt: skip
_FIELDS = scene.fields(scene.NOTICE)
_LIMITS = Limits()
_RSA = HeaderField(b"DKIM-Signature", scene.signature(Sign()))
_ED25519 = HeaderField(b"DKIM-Signature", scene.signature(Sign(selector="s2", key="ed25519")))
_MODULUS = rsa_key("rsa2048")["modulus"].to_bytes(256)  # type: ignore[index]
_POINT = bytes(ed25519_key("ed25519").verify_key)


def seeds() -> Iterator[bytes]:
    yield key_record("rsa2048").encode()
    yield key_record("ed25519").encode()
    yield key_record("rsa2048", t="s", s="email:tlsrpt", h="sha1:sha256", n="x").encode()
    yield key_record("rsa512").encode() + b"\xff" + key_record("rsa2048", v="").encode()
    yield b"v=spf1 -all\xff" + key_record("rsa1024").encode()
    yield b"k=rsa; p=" + base64.b64encode(b"\x30\x08\x02\x03\x01\x00\x01\x02\x01\x03")


def check(data: bytes) -> None:
    records = tuple(data.split(b"\xff"))
    for field, material in ((_RSA, _MODULUS), (_ED25519, _POINT)):
        with suppress(SignatureError):
            key = parse_key(records, parse_signature(field, _LIMITS).key_type, "sha256")
            assert re.fullmatch(r"[A-Za-z0-9+/]+=*", key.key), key
        header = Header((field, *_FIELDS))
        inspection = Inspection(scene.SESSION, header, scene.ENTRY, scene.AUTHOR, scene.SETTINGS, scene.NOW)
        inspection.body.update(scene.BODY)
        (found,) = inspection.evidence(
            lambda _, rdtype: DnsAnswer(DnsStatus.ANSWER, records) if rdtype == "TXT" else DnsAnswer(DnsStatus.NO_DATA)
        ).dkim
        if found.counts:
            assert any(material in octets for octets in map(_octets, records)), (found, records)
            assert found.bits in (2048, 256), found


def _octets(record: bytes) -> bytes:
    """The key of a record, read without regard to anything else."""
    value = re.sub(rb"[^A-Za-z0-9+/]", b"", b"".join(re.findall(rb"(?:^|;)\s*p\s*=([^;]*)", record)))
    return base64.b64decode(value[: len(value) - (len(value) % 4 == 1)] + b"===")
