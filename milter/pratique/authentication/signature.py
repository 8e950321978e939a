"""A DKIM-Signature field and a key record as values (RFC 6376 §3.2, §3.5, §3.6.1), and their likes in ARC (RFC 8617).

Rules of this module: pure functions; strict grammar, bounded before anything is split; whatever breaks a
rule raises SignatureError with its reason and the DKIM result it stands for.
"""

from __future__ import annotations

import base64
import functools
import re
from dataclasses import dataclass

from pratique.mailbox import UnreadableError, is_host_name, to_a_labels
from pratique.model import DkimResult, HeaderField, Limits, ascii_lower
from pratique.reasons import Reason

_TAG_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_FIELD_NAME = re.compile(r"[!-9;-~]+")
_NUMBER = re.compile(r"[0-9]+")
_LENGTH = re.compile(r"[0-9]{1,76}")
_BLANKS = re.compile(r"[ \t\r\n]+")
_LONG_BLANKS = re.compile(rb"[ \t\r\n]{100}")  # dkimpy's own expressions are quadratic in these
_CANONICALIZATIONS = ("simple", "relaxed")
_MAX_KEY_RECORD = 4096
_MOST_RECORDS = 20  # at one selector


class SignatureError(Exception):
    """A signature that does not count; what was read of it so far is in the Signature given."""

    def __init__(self, reason: Reason, result: DkimResult = DkimResult.PERMERROR):
        super().__init__(reason.value)
        self.reason = reason
        self.result = result


@dataclass(frozen=True, slots=True)
class Signature:
    """The tags of a DKIM-Signature that have a meaning here. `signed` are field names in lower case,
    `identity` the domain of `i=`; times are in seconds since 1970."""

    field: HeaderField
    domain: str
    selector: str
    algorithm: str
    header_canonicalization: str
    body_canonicalization: str
    signed: tuple[bytes, ...]
    body_hash: bytes
    identity: str
    timestamp: int | None
    expiration: int | None
    body_length: bool

    @property
    def key_name(self) -> str:
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def key_type(self) -> str:
        return self.algorithm.partition("-")[0]

    @property
    def hash_algorithm(self) -> str:
        return self.algorithm.partition("-")[2]

    @property
    def body_kind(self) -> tuple[str, str]:
        """Canonicalisation and hash algorithm of the body hash."""
        return self.body_canonicalization, self.hash_algorithm


def parse_tags(text: str) -> dict[str, str]:
    """tag-list of RFC 6376 §3.2. Raises ValueError on a tag without value or name, and on a second copy."""
    tags: dict[str, str] = {}
    specs = text.split(";")
    if not specs[-1].strip():
        specs.pop()
    for spec in specs:
        name, equals, value = spec.partition("=")
        name = name.strip(" \t\r\n")
        if not equals or not _TAG_NAME.fullmatch(name) or name in tags:
            raise ValueError(name)
        tags[name] = value.strip(" \t\r\n")
    return tags


def read_domain(field: HeaderField, limits: Limits) -> str | None:
    """The `d=` of a signature, or None where it has none that can be read: whose is it, before all else?"""
    if len(field.value) > limits.signature_size:
        return None
    try:
        return to_a_labels(parse_tags(field.value.decode("utf-8")).get("d", ""))
    except (UnicodeDecodeError, ValueError):
        return None


def parse_signature(field: HeaderField, limits: Limits) -> Signature:
    """RFC 6376 §6.1.1: validate the field. Raises SignatureError."""
    tags = read_tags(field, limits)
    if tags.get("v") != "1":
        raise SignatureError(Reason.SIGNATURE_SYNTAX)
    return _signature(field, tags, tags.get("i", "@" + tags.get("d", "")), limits)


def parse_message_signature(field: HeaderField, limits: Limits) -> Signature:
    """An ARC-Message-Signature: a DKIM-Signature without `v=`, whose `i=` is no identity (RFC 8617 §4.1.2)."""
    tags = read_tags(field, limits)
    signature = _signature(field, tags, "@" + tags.get("d", ""), limits)
    if b"arc-seal" in signature.signed:
        raise SignatureError(Reason.SIGNATURE_SYNTAX)
    return signature


def parse_seal(field: HeaderField, limits: Limits) -> Signature:
    """An ARC-Seal, which signs ARC sets alone, always relaxed (RFC 8617 §4.1.3). Raises SignatureError."""
    tags = read_tags(field, limits)
    if "h" in tags:
        raise SignatureError(Reason.SIGNATURE_SYNTAX)
    as_signature = tags | {"c": "relaxed/relaxed", "h": "from", "bh": "none"}
    return _signature(field, as_signature, "@" + tags.get("d", ""), limits)


def is_bounded(field: HeaderField, limits: Limits) -> bool:
    """Whether a field is small enough to be parsed, and to be canonicalised by dkimpy."""
    return len(field.value) <= limits.signature_size and not _LONG_BLANKS.search(field.value)


def read_tags(field: HeaderField, limits: Limits) -> dict[str, str]:
    """The tags of a signature field. Raises SignatureError."""
    if not is_bounded(field, limits):
        raise SignatureError(Reason.SIGNATURE_TOO_LARGE)
    try:
        return parse_tags(field.value.decode("utf-8"))
    except ValueError:  # UnicodeDecodeError is one
        raise SignatureError(Reason.SIGNATURE_SYNTAX) from None


def _signature(field: HeaderField, tags: dict[str, str], identity: str, limits: Limits) -> Signature:
    syntax = SignatureError(Reason.SIGNATURE_SYNTAX)
    try:
        algorithm = tags["a"]
        domain = to_a_labels(tags["d"])
        selector = to_a_labels(tags["s"])
        if not is_host_name(f"{selector}._domainkey.{domain}"):
            raise syntax
        names = tags["h"].split(":")
        if len(names) > limits.signed_fields:
            raise SignatureError(Reason.SIGNATURE_TOO_LARGE)
        signed = tuple(name.strip(" \t\r\n").lower() for name in names)
        if not all(map(_FIELD_NAME.fullmatch, signed)):
            raise syntax
        body_hash = _base64(tags["bh"])
        if not body_hash or not _base64(tags["b"]):
            raise syntax
        if "dns/txt" not in [method.strip() for method in tags.get("q", "dns/txt").split(":")]:
            raise syntax
        if "l" in tags and not _LENGTH.fullmatch(tags["l"]):
            raise syntax
        header_c, slash, body_c = tags.get("c", "simple/simple").partition("/")
        body_c = body_c if slash else "simple"
        if header_c not in _CANONICALIZATIONS or body_c not in _CANONICALIZATIONS:
            raise syntax
        timestamp, expiration = _number(tags.get("t")), _number(tags.get("x"))
        if timestamp is not None and expiration is not None and expiration < timestamp:
            raise syntax
        identity_domain = _identity(identity)
    except (KeyError, ValueError, UnreadableError):  # binascii.Error is a ValueError
        raise syntax from None
    return Signature(
        field, domain, selector, algorithm, header_c, body_c, tuple(n.encode() for n in signed),
        body_hash, identity_domain, timestamp, expiration, "l" in tags,
    )  # fmt: skip


def _base64(text: str) -> bytes:
    return base64.b64decode(_BLANKS.sub("", text), validate=True)


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    return int(text)


def _identity(text: str) -> str:
    """The domain of `i=`: [local-part] "@" domain-name, the local part quoted-printable."""
    _, at, domain = text.rpartition("@")
    if not at:
        raise ValueError(text)
    return to_a_labels(domain)


def unsigned_value(field: HeaderField) -> bytes:
    """The field's value with what `b=` holds taken out (RFC 6376 §3.7), blanks round it included."""
    start = 0
    for spec in field.value.split(b";"):
        name = spec.partition(b"=")[0]
        if name.strip(b" \t\r\n") == b"b":
            return field.value[: start + len(name) + 1] + field.value[start + len(spec) :]
        start += len(spec) + 1
    return field.value


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A usable key record: type and base64 key, and whether `t=s` binds `i=` to the very domain."""

    key_type: str
    key: str
    strict_identity: bool


@functools.lru_cache(maxsize=256)  # the keys are always the same few
def parse_key(records: tuple[bytes, ...], key_type: str, hash_algorithm: str) -> KeyRecord:
    """The key for a signature from the TXT records at its selector (RFC 6376 §6.1.2). Raises SignatureError."""
    candidates = [tags for record in records[:_MOST_RECORDS] if (tags := _key_tags(record)) is not None]
    if not candidates:
        raise SignatureError(Reason.KEY_SYNTAX if records else Reason.KEY_MISSING)
    if len(candidates) > 1:
        raise SignatureError(Reason.KEY_SEVERAL_RECORDS)
    tags = candidates[0]
    if tags.get("k", "rsa").strip() != key_type:
        raise SignatureError(Reason.KEY_WRONG_TYPE)
    if "h" in tags and hash_algorithm not in _list(tags["h"]):
        raise SignatureError(Reason.KEY_NOT_FOR_HASH)
    if not {"*", "email"} & set(_list(tags.get("s", "*"))):
        raise SignatureError(Reason.KEY_NOT_FOR_EMAIL)
    key = _BLANKS.sub("", tags["p"])
    if not key:
        raise SignatureError(Reason.KEY_REVOKED)
    try:
        _base64(key)
    except ValueError:
        raise SignatureError(Reason.KEY_SYNTAX) from None
    flags = _list(tags.get("t", ""))
    if "y" in flags:
        raise SignatureError(Reason.KEY_TEST_MODE, DkimResult.POLICY)
    return KeyRecord(key_type, key, "s" in flags)


def _key_tags(record: bytes) -> dict[str, str] | None:
    """The tags of a record that is a DKIM key: with `p=`, and of version DKIM1 where it names one."""
    if len(record) > _MAX_KEY_RECORD:
        return None
    try:
        tags = parse_tags(record.decode("ascii"))
    except ValueError:
        return None
    first_is_version = next(iter(tags), "") == "v" and tags["v"] == "DKIM1"
    return tags if "p" in tags and ("v" not in tags or first_is_version) else None


def _list(value: str) -> list[str]:
    return [ascii_lower(item.strip(" \t\r\n")) for item in value.split(":")]
