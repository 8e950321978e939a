"""DKIM-Signature: nothing raises, and a signature that counts is one that dkimpy on its own calls good.

Input: the values of the DKIM-Signature fields on top of a notice, parted by NUL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

import dkim

from fuzz import scene
from pratique.authentication import Inspection
from pratique.authentication.signature import SignatureError, parse_signature
from pratique.model import Header, HeaderField, Limits

WORDS = (
    *(b"v=1", b"a=rsa-sha256", b"a=ed25519-sha256", b"a=rsa-sha1", b"c=relaxed/relaxed", b"c=simple", b"d="),
    *(b"s=", b"h=", b"bh=", b"b=", b"i=@", b"l=0", b"q=dns/txt", b"t=", b"x=", b"z=", b"from", b"subject"),
    *(b"ternum-bfc.fr", b"s2", b"s3", b"dns.ternum-bfc.fr", b";", b":", b"; ", b"\r\n ", b"\r\n\t", b"="),
    *(b" b=", b"1795330000", b"@", b".", b"\0", b"\xff", "é".encode(), "\u2028".encode(), b"xn--"),
    *(b"content-type", b"message-id", b"/", b"relaxed", b"simple"),
)  # fmt: skip
_FIELDS = scene.fields(scene.NOTICE)
_LIMITS = Limits()
_HEADER = b"".join(f.name + b":" + f.value + b"\r\n" for f in _FIELDS)


def seeds() -> Iterator[bytes]:
    good = scene.signatures()
    yield from good
    yield b"\0".join(good)
    for value in good[:2]:
        yield value.replace(b"s=s1", b"s=other")
        yield value.replace(b"d=ternum-bfc.fr", b"d=dns.ternum-bfc.fr")


def check(data: bytes) -> None:
    values = [value for value in data.split(b"\0") if scene.is_one_field(value)]
    signatures = [HeaderField(b"DKIM-Signature", value) for value in values]
    header = Header((*signatures, *_FIELDS))
    for field in signatures:
        with suppress(SignatureError):
            signature = parse_signature(field, _LIMITS)
            assert re.fullmatch(r"[a-z0-9._-]+", signature.key_name), signature
    inspection = Inspection(scene.SESSION, header, scene.ENTRY, scene.AUTHOR, scene.SETTINGS, scene.NOW)
    inspection.body.update(scene.BODY)
    evidence = inspection.evidence(scene.lookup)
    assert len(evidence.dkim) <= len(values)
    counting = [s for s in evidence.dkim if s.counts]
    assert all(s.aligned and s.result == "pass" for s in counting), counting
    if counting:
        good = [value for value in values if _is_good(value)]
        assert len(counting) <= len(good), (counting, values)


def _is_good(value: bytes) -> bool:
    """What dkimpy says of this signature alone. It keeps blanks at the end of `b=`, which RFC 6376 does not."""
    value = re.sub(rb"((?:^|;)[ \t\r\n]*b[ \t\r\n]*=)([^;]*)", lambda m: m[1] + re.sub(rb"\s+", b"", m[2]), value)
    message = b"DKIM-Signature:" + value + b"\r\n" + _HEADER + b"\r\n" + scene.BODY
    try:
        return bool(dkim.DKIM(message, minkey=1024).verify(dnsfunc=_key))
    except (dkim.DKIMException, ValueError, IndexError):
        return False


def _key(name: bytes, timeout: int = 5) -> bytes:  # noqa: ARG001
    record = scene.KEYS.get(name.decode("ascii", "replace").lower().rstrip("."), "")
    return record.encode()
