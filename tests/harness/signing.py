"""DKIM keys of our own, and signing with any choice of tags, good and bad.

dkimpy signs only what it finds proper; the corpus needs what is improper too. So the tags are ours here, and
the canonicalisation, hash and RSA arithmetic dkimpy's.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import dkim
import nacl.encoding
import nacl.signing
from dkim.canonicalization import CanonicalizationPolicy
from dkim.crypto import RSASSA_PKCS1_v1_5_sign, parse_pem_private_key

KEYS = Path(__file__).resolve().parent.parent / "keys"
SIGNED = ("From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type", "Content-Transfer-Encoding")


@functools.cache
def rsa_key(name: str) -> object:
    return parse_pem_private_key((KEYS / f"{name}.pem").read_bytes())


@functools.cache
def ed25519_key(name: str) -> nacl.signing.SigningKey:
    return nacl.signing.SigningKey(hashlib.sha256(f"pratique test key {name}".encode()).digest())


def key_record(name: str = "rsa2048", **tags: str) -> str:
    """The TXT record of a test key; `tags` replace or add tags (h, s, t, k, v, p)."""
    if name.startswith("ed25519"):
        public = ed25519_key(name).verify_key.encode(nacl.encoding.Base64Encoder).decode()
        record = {"v": "DKIM1", "k": "ed25519"} | tags
    else:
        public = (KEYS / f"{name}.pub").read_text().strip()
        record = {"v": "DKIM1", "k": "rsa"} | tags
    record.setdefault("p", public)
    return "; ".join(f"{tag}={value}" for tag, value in record.items())


def public_rsa(bits: int, exponent: int) -> str:
    """The `p=` of an RSA key that nobody has the other half of."""
    modulus = random.Random(bits).getrandbits(bits) | 1 | 1 << (bits - 1)

    def der(tag: int, content: bytes) -> bytes:
        return bytes([tag, 0x82, *len(content).to_bytes(2)]) + content

    def number(value: int) -> bytes:
        return der(2, value.to_bytes(value.bit_length() // 8 + 1))

    return base64.b64encode(der(0x30, number(modulus) + number(exponent))).decode()


@dataclass(frozen=True)
class Sign:
    """How to sign. `tags` replace or add tags of the signature; an empty value takes a tag out."""

    domain: str = "ternum-bfc.fr"
    selector: str = "s1"
    key: str = "rsa2048"
    algorithm: str = ""
    canonicalization: str = "relaxed/relaxed"
    signed: Sequence[str] = SIGNED
    tags: dict[str, str] = field(default_factory=dict)
    layout: str = "; "  # what separates the tags
    tail: str = ""  # what follows the value of b=
    name: str = "DKIM-Signature"


def sign(message: bytes, how: Sign) -> bytes:
    """The message with a signature on top. `message` has CR LF line ends."""
    signer = dkim.DKIM(message)
    algorithm = how.algorithm or ("ed25519-sha256" if how.key.startswith("ed25519") else "rsa-sha256")
    hash_name = "sha1" if algorithm.endswith("sha1") else "sha256"
    policy = CanonicalizationPolicy.from_c_value(how.canonicalization.encode())
    body = policy.canonicalize_body(signer.body)
    if length := how.tags.get("l"):
        body = body[: int(length)]
    tags = {"v": "1", "a": algorithm, "c": how.canonicalization, "d": how.domain, "s": how.selector}
    tags["h"] = ":".join(how.signed)
    tags["bh"] = base64.b64encode(hashlib.new(hash_name, body).digest()).decode()
    tags |= how.tags
    value = " " + how.layout.join(f"{tag}={text}" for tag, text in tags.items() if text) + how.layout + "b="
    return _signed_field(signer, policy, how, value, hash_name) + message


def _signed_field(signer: dkim.DKIM, policy: CanonicalizationPolicy, how: Sign, value: str, hash_name: str) -> bytes:
    """The field of a signature over the header fields that `how` names, from the bottom up."""
    hasher = hashlib.new(hash_name)
    names = [name.encode().lower() for name in how.signed]
    headers = policy.canonicalize_headers(signer.headers)
    dkim.hash_headers(hasher, policy, headers, names, (how.name.encode(), (value + how.tail).encode()), None)
    if how.key.startswith("ed25519"):
        signature = ed25519_key(how.key).sign(hasher.digest()).signature
    else:
        signature = bytes(RSASSA_PKCS1_v1_5_sign(hasher, rsa_key(how.key)))
    text = base64.b64encode(signature).decode()
    folded = "\r\n\t".join(text[i : i + 72] for i in range(0, len(text), 72))
    return f"{how.name}:{value}{folded}{how.tail}\r\n".encode()


# ---- ARC (RFC 8617) ------------------------------------------------------------------------------------

_SET = ("ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal")


@dataclass(frozen=True)
class Hop:
    """A forwarder that seals. `results` is what it found, `instance` its number; `signature` and `seal` replace or
    add tags, an empty value takes one out; `seal_key` seals where it is not the key of the message signature."""

    domain: str = "forwarder.example"
    selector: str = "arc"
    results: str = "mx.forwarder.example; dkim=pass header.d=ternum-bfc.fr header.s=s1"
    instance: int = 1
    key: str = "rsa2048"
    seal_key: str = ""
    algorithm: str = ""
    cv: str = ""
    canonicalization: str = "relaxed/relaxed"
    signed: Sequence[str] = SIGNED
    signature: dict[str, str] = field(default_factory=dict)
    seal: dict[str, str] = field(default_factory=dict)


def seal(message: bytes, hop: Hop) -> bytes:
    """The message with the hop's ARC set on top. The sets below must be those of the hops before, the last on top."""
    how = Sign(hop.domain, hop.selector, hop.key, hop.algorithm, hop.canonicalization, hop.signed, name=_SET[1])
    number = {"i": str(hop.instance)}
    sealed = sign(message, replace(how, tags={"v": ""} | number | hop.signature))
    sealed = f"{_SET[0]}: i={hop.instance}; {hop.results}\r\n".encode("utf-8", "surrogateescape") + sealed
    how = replace(how, key=hop.seal_key or hop.key, signed=(_SET * hop.instance)[:-1], name=_SET[2])
    algorithm = hop.algorithm or ("ed25519-sha256" if how.key.startswith("ed25519") else "rsa-sha256")
    tags = number | {"a": algorithm, "cv": hop.cv or ("none" if hop.instance == 1 else "pass"), "d": hop.domain}
    tags |= {"s": hop.selector} | hop.seal
    value = " " + "; ".join(f"{tag}={text}" for tag, text in tags.items() if text) + "; b="
    relaxed = CanonicalizationPolicy.from_c_value(b"relaxed/relaxed")
    hash_name = "sha1" if algorithm.endswith("sha1") else "sha256"
    return _signed_field(dkim.DKIM(sealed), relaxed, how, value, hash_name) + sealed
