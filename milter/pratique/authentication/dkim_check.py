"""DKIM: which signatures of a message count for an entry, and why the others do not (design#evidence-dkim).

The signature's syntax and ours of policy are checked here; the key and the choice of signed fields are dkimpy's, RSA
is OpenSSL's; the body hash comes from body.py. Signatures are judged aligned ones first, unaligned ones never verified.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import dkim
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from nacl.exceptions import CryptoError

from pratique.model import (
    Address,
    DkimEvidence,
    DkimResult,
    DnsStatus,
    Entry,
    Header,
    HeaderField,
    Limits,
    Lookup,
    is_within,
)
from pratique.reasons import Reason

from .signature import (
    KeyRecord,
    Signature,
    SignatureError,
    parse_key,
    parse_signature,
    read_domain,
    unsigned_value,
)

SHORTEST_RSA_KEY = 1024  # bits, RFC 8301 §3.2
LONGEST_RSA_KEY = 8192  # bits, twice what RFC 8301 asks for: beyond it a single check takes a while
LARGEST_EXPONENT = 1 << 32  # everybody's is 65537, and the time grows with it
KNOWN_ALGORITHMS = ("rsa-sha256", "ed25519-sha256")
_REPORTED = 30  # signatures that are mentioned at all

# RFC 5322 §3.6 and RFC 2045 allow these once; a second copy, put on top, is what many readers show.
ONCE = (
    *(b"from", b"sender", b"reply-to", b"to", b"cc", b"date", b"subject", b"message-id"),
    *(b"content-type", b"content-transfer-encoding", b"mime-version"),
)


_BLANKS = re.compile(rb"[ \t]+")
_BLANK = re.compile(rb"\s+")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A signature that is worth verifying, or what is already known against it."""

    evidence: DkimEvidence
    signature: Signature | None = None


def candidates(
    header: Header, entry: Entry, author: Address, limits: Limits, now: datetime, skew: timedelta
) -> list[Candidate]:
    """All signatures in the order in which they are judged, with what the header alone says of them."""
    fields = header.all(b"dkim-signature")
    domains = [(field, read_domain(field, limits)) for field in fields[: limits.header_fields]]
    domains.sort(key=lambda pair: not is_aligned(pair[1], entry, author))  # stable: topmost first among equals
    found = [
        _candidate(place, field, domain, header, entry, author, limits, now, skew)
        for place, (field, domain) in enumerate(domains[:_REPORTED])
    ]
    covered = itertools.accumulate(_covered(candidate.signature, header) for candidate in found)
    return [_within(candidate, octets, limits) for candidate, octets in zip(found, covered, strict=True)]


def _covered(signature: Signature | None, header: Header) -> int:
    """How many octets of the header a signature covers: as many have to be canonicalised for it."""
    return sum(len(f.value) for key in set(signature.signed) for f in header.all(key)) if signature else 0


def _within(candidate: Candidate, octets: int, limits: Limits) -> Candidate:
    if candidate.signature is None or octets <= limits.signed_size:
        return candidate
    return Candidate(replace(candidate.evidence, result=DkimResult.POLICY, reason=Reason.SIGNATURE_TOO_LARGE))


def is_aligned(domain: str | None, entry: Entry, author: Address) -> bool:
    """Whether a signature by a domain counts for the entry."""
    return domain is not None and (entry.counts_domain(domain, author.domain) or domain in entry.signers)


def _candidate(
    place: int, field: HeaderField, domain: str | None, header: Header, entry: Entry, author: Address,
    limits: Limits, now: datetime, skew: timedelta,
) -> Candidate:  # fmt: skip
    aligned = is_aligned(domain, entry, author)
    seen = DkimEvidence(DkimResult.NEUTRAL, domain=domain, aligned=aligned, reason=Reason.UNALIGNED)
    try:
        if domain is None:
            parse_signature(field, limits)
        if not aligned:
            return Candidate(seen)
        if place >= limits.signatures:
            raise SignatureError(Reason.TOO_MANY_SIGNATURES, DkimResult.POLICY)
        signature = parse_signature(field, limits)
        seen = replace(seen, selector=signature.selector, algorithm=signature.algorithm, reason=None)
        check_algorithm(signature)
        check_coverage(signature, header)
        check_times(signature, now, skew)
    except SignatureError as problem:
        return Candidate(replace(seen, result=problem.result, reason=problem.reason))
    return Candidate(seen, signature)


def check_algorithm(signature: Signature) -> None:
    """RFC 8301 §3.1, RFC 8463; and `i=` within `d=` (RFC 6376 §6.1.1). Raises SignatureError."""
    if signature.algorithm not in KNOWN_ALGORITHMS:
        weak = signature.algorithm == "rsa-sha1"
        raise SignatureError(Reason.ALGORITHM_WEAK if weak else Reason.ALGORITHM_UNSUPPORTED)
    if not is_within(signature.identity, signature.domain):
        raise SignatureError(Reason.IDENTITY_MISMATCH)


def check_coverage(signature: Signature, header: Header) -> None:
    """Whether the signature covers what a reader sees (RFC 6376 §5.4, §8.2, §8.15). Raises SignatureError."""
    if b"from" not in signature.signed:
        raise SignatureError(Reason.FROM_NOT_SIGNED)
    if b"subject" not in signature.signed and header.all(b"subject"):
        raise SignatureError(Reason.SUBJECT_NOT_SIGNED, DkimResult.POLICY)
    if signature.body_length:
        raise SignatureError(Reason.BODY_LENGTH_TAG, DkimResult.POLICY)
    for key in ONCE:
        copies = len(header.all(key))
        if copies > 1 and signature.signed.count(key) < copies:
            raise SignatureError(Reason.COPY_NOT_SIGNED, DkimResult.POLICY)


def check_times(signature: Signature, now: datetime, skew: timedelta) -> None:
    """`t=` and `x=` against the clock (RFC 6376 §3.5). Raises SignatureError."""
    seconds, slack = now.timestamp(), skew.total_seconds()
    if signature.timestamp is not None and signature.timestamp > seconds + slack:
        raise SignatureError(Reason.SIGNATURE_IN_FUTURE, DkimResult.POLICY)
    if signature.expiration is not None and signature.expiration < seconds - slack:
        raise SignatureError(Reason.SIGNATURE_EXPIRED, DkimResult.POLICY)


def verify(
    candidate: Candidate, header: Header, body_hashes: Mapping[tuple[str, str], bytes], lookup: Lookup
) -> DkimEvidence:
    """The evidence of one signature, its key looked up (RFC 6376 §6.1.2, §6.1.3)."""
    signature, seen = candidate.signature, candidate.evidence
    if signature is None:
        return seen
    bits = None
    try:
        if body_hashes[signature.body_kind] != signature.body_hash:
            raise SignatureError(Reason.BODY_HASH_MISMATCH, DkimResult.FAIL)
        key = public_key(signature, lookup)
        bits, exponent = key_size(key)
        check_signature(signature, key, bits, exponent, header)
    except SignatureError as problem:
        return replace(seen, bits=bits, result=problem.result, reason=problem.reason)
    return replace(seen, bits=bits, result=DkimResult.PASS, counts=True, reason=_remark(signature, header))


def public_key(signature: Signature, lookup: Lookup) -> KeyRecord:
    """The key of a signature (RFC 6376 §6.1.2). Raises SignatureError."""
    answer = lookup(signature.key_name, "TXT")
    if answer.status is DnsStatus.NOT_ASKED:
        raise SignatureError(Reason.TOO_MANY_QUERIES)
    if answer.failed:
        raise SignatureError(Reason.DNS_TEMPERROR, DkimResult.TEMPERROR)
    records = tuple(record for record in answer.records if isinstance(record, bytes))
    key = parse_key(records, signature.key_type, signature.hash_algorithm)
    if key.strict_identity and signature.identity != signature.domain:
        raise SignatureError(Reason.IDENTITY_MISMATCH)
    return key


def check_signature(signature: Signature, key: KeyRecord, bits: int, exponent: int, header: Header) -> None:
    """Whether key and header fit the signature (RFC 6376 §6.1.3). Raises SignatureError."""
    if key.key_type == "rsa" and bits < SHORTEST_RSA_KEY:
        raise SignatureError(Reason.KEY_TOO_SHORT, DkimResult.POLICY)
    if bits > LONGEST_RSA_KEY or exponent > LARGEST_EXPONENT:
        raise SignatureError(Reason.KEY_TOO_LARGE, DkimResult.POLICY)
    if not signature_fits(signature, key, header):
        raise SignatureError(Reason.SIGNATURE_MISMATCH, DkimResult.FAIL)


def _remark(signature: Signature, header: Header) -> Reason | None:
    """What a reader should know of a signature that counts: the worst that it leaves open."""
    for key, reason in ((b"reply-to", Reason.REPLY_TO_NOT_SIGNED), (b"content-type", Reason.CONTENT_TYPE_NOT_SIGNED)):
        if key not in signature.signed and header.all(key):
            return reason
    return None


def _record(key: KeyRecord) -> bytes:
    """The key as dkimpy is to see it: without the tags that it reads differently."""
    return f"v=DKIM1; k={key.key_type}; p={key.key}".encode("ascii")


@functools.lru_cache(maxsize=256)  # the keys are always the same few
def _parsed(key: KeyRecord) -> tuple[Any, int]:
    """The key as dkimpy reads it, and its bits. Raises SignatureError where it cannot."""
    try:
        public, bits = dkim.evaluate_pk("", _record(key))[:2]
        return public, int(bits)
    except (dkim.DKIMException, binascii.Error, ValueError, TypeError, IndexError, AssertionError):
        raise SignatureError(Reason.KEY_SYNTAX) from None


def key_size(key: KeyRecord) -> tuple[int, int]:
    """Bits of the key, and its exponent where it is RSA. Raises SignatureError where it cannot be read."""
    public, bits = _parsed(key)
    return bits, public["publicExponent"] if key.key_type == "rsa" else 0


@functools.lru_cache(maxsize=256)
def _rsa_key(key: KeyRecord) -> RSAPublicKey:
    """The key for OpenSSL, from the numbers that dkimpy has read. Raises ValueError where these make no RSA key."""
    public, _ = _parsed(key)
    return RSAPublicNumbers(public["publicExponent"], public["modulus"]).public_key()


def signature_fits(signature: Signature, key: KeyRecord, header: Header) -> bool:
    """Whether the key has signed this header (RFC 6376 §3.7): RSA in OpenSSL, seven times faster than in Python."""
    digest = _header_hash(signature, header)
    try:
        value = base64.b64decode(_BLANK.sub(b"", _tag(signature.field, b"b")))
        if key.key_type == "rsa":
            _rsa_key(key).verify(value, digest, PKCS1v15(), Prehashed(SHA256()))
        else:
            _parsed(key)[0].verify(digest, value)
    except (InvalidSignature, CryptoError, ValueError, TypeError):
        return False  # also a signature of the wrong length
    return True


def _header_hash(signature: Signature, header: Header) -> bytes:
    """The hash of the header that was signed (RFC 6376 §3.7).

    dkimpy chooses the fields, of those that are signed: names of fields that are not there change nothing (§5.4.2), but
    it looks through all for each. The canonicalisation is ours: dkimpy's drops a VT or FF at the end of a value, which
    is text, leaves a blank for the text of `b=`, and takes long to find that.
    """
    names = [name for name in signature.signed if header.all(name)]
    names += [b"from"] * (b"from" in names)  # so that another From on top is in the hash
    fields = [(name, field) for name in set(names) for field in header.all(name)]
    canonical = relaxed_field if signature.header_canonicalization == "relaxed" else simple_field
    signed = [canonical(*field) for _, field in dkim.select_headers(fields, names)]
    own = canonical(signature.field.name, unsigned_value(signature.field)).removesuffix(b"\r\n")
    return hashlib.sha256(b"".join(signed) + own).digest()


def simple_field(name: bytes, value: bytes) -> bytes:
    """The field as it came (RFC 6376 §3.4.1)."""
    return b"%s:%s\r\n" % (name, value.removesuffix(b"\r\n"))


def relaxed_field(name: bytes, value: bytes) -> bytes:
    """The name in lower case, the value unfolded, runs of blanks as one, none at the ends (RFC 6376 §3.4.2)."""
    text = _BLANKS.sub(b" ", value.replace(b"\r\n", b""))
    return b"%s:%s\r\n" % (name.rstrip(b" \t").lower(), text.strip(b" "))


def _tag(field: HeaderField, name: bytes) -> bytes:
    specs = (spec.partition(b"=") for spec in field.value.split(b";"))
    return next(value for tag, _, value in specs if tag.strip(b" \t\r\n") == name)
