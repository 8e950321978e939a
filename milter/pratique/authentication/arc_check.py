"""ARC: whether forwarders that the site trusts saw the message pass when it was still whole (RFC 8617).

The chain's structure and what its first hop says are read here; seals and message signatures are judged as the
DKIM signatures that they are. No DNS is asked for a domain that is not one of `arc_sealers`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from pratique.mailbox import UnreadableError, parse_path, text_of, to_a_labels, without_comments
from pratique.model import (
    Address,
    ArcEvidence,
    ArcResult,
    DkimResult,
    Entry,
    Header,
    HeaderField,
    Lookup,
    Settings,
)
from pratique.reasons import Reason

from .dkim_check import check_algorithm, check_coverage, check_signature, check_times, is_aligned, key_size, public_key
from .signature import Signature, SignatureError, is_bounded, parse_message_signature, parse_seal, read_tags

MOST_SETS = 10  # RFC 8617 §4.2.1 allows 50
NAMES = (b"arc-authentication-results", b"arc-message-signature", b"arc-seal")
_INSTANCE = re.compile(r"[1-9][0-9]?")
_RESULTS = re.compile(rb"[ \t\r\n]*i[ \t]*=[ \t]*([0-9]{1,9})[ \t\r\n]*;")

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_PIECE = re.compile(rf'(?:[^;"]|{_QUOTED})*')
_PROPERTY = rf'([A-Za-z][\w.-]*) ?= ?({_QUOTED}|[^\s;"\\()<>,]+)'
_RESULT = re.compile(rf"([A-Za-z][A-Za-z0-9-]*)(?: ?/ ?1)? ?= ?([A-Za-z]+)((?: {_PROPERTY})*)")
_SERVER = re.compile(r'[^\s="]+(?: [0-9]+)?')


@dataclass(frozen=True, slots=True)
class ArcSet:
    """What one hop wrote: its three fields, two of them parsed."""

    results: HeaderField
    signature: Signature
    seal: Signature
    cv: str

    @property
    def fields(self) -> tuple[HeaderField, ...]:
        return self.results, self.signature.field, self.seal.field


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain that is worth verifying, the first hop's set first; or, without sets, what is known against it."""

    evidence: ArcEvidence
    sets: tuple[ArcSet, ...] = ()

    @property
    def signature(self) -> Signature | None:
        """The one that must fit the message as it is now."""
        return self.sets[-1].signature if self.sets else None


def read_chain(header: Header, settings: Settings, now: datetime) -> Chain:
    """The chain, with what the header alone says of it (RFC 8617 §5.2, steps 1 to 3)."""
    if not settings.arc_sealers or not any(header.all(name) for name in NAMES):
        return Chain(ArcEvidence())
    seen = ArcEvidence(ArcResult.FAIL)
    try:
        sets = tuple(_sets(header, settings))
        seen = replace(seen, sealers=tuple(s.seal.domain for s in sets))
        if not settings.arc_sealers.issuperset(seen.sealers):
            return Chain(replace(seen, result=ArcResult.NEUTRAL, reason=Reason.ARC_SEALER_UNLISTED))
        for number, arc_set in enumerate(sets, 1):
            _check_set(arc_set, number, header, settings, now)
    except SignatureError as problem:
        return Chain(replace(seen, reason=problem.reason))
    return Chain(seen, sets)


def _sets(header: Header, settings: Settings) -> Iterator[ArcSet]:
    """The sets 1, 2, …, each of three fields, and nothing else of ARC (RFC 8617 §4.2.1). Raises SignatureError."""
    broken = SignatureError(Reason.ARC_CHAIN_BROKEN)
    fields = {name: header.all(name) for name in NAMES}
    count = len(fields[b"arc-seal"])
    if not 0 < count <= MOST_SETS or any(len(found) != count for found in fields.values()):
        raise broken
    placed: dict[tuple[bytes, int], HeaderField] = {}
    for name, found in fields.items():
        for field in found:
            placed[name, _instance(name, field, settings)] = field
    for number in range(1, count + 1):
        if not all((name, number) in placed for name in NAMES):
            raise broken  # one is missing, or there twice
        results, signature, seal = (placed[name, number] for name in NAMES)
        cv = read_tags(seal, settings.limits).get("cv", "")
        yield ArcSet(
            results, parse_message_signature(signature, settings.limits), parse_seal(seal, settings.limits), cv
        )


def _instance(name: bytes, field: HeaderField, settings: Settings) -> int:
    """The `i=` of a field. Raises SignatureError."""
    if name == b"arc-authentication-results":
        if not is_bounded(field, settings.limits):
            raise SignatureError(Reason.SIGNATURE_TOO_LARGE)
        match = _RESULTS.match(field.value)
        text = match[1].decode("ascii") if match else ""
    else:
        text = read_tags(field, settings.limits).get("i", "")
    if not _INSTANCE.fullmatch(text):
        raise SignatureError(Reason.ARC_CHAIN_BROKEN)
    return int(text)


def _check_set(arc_set: ArcSet, number: int, header: Header, settings: Settings, now: datetime) -> None:
    """All of a set but its cryptography. Raises SignatureError.

    The message signature of an earlier hop need not fit any more, but the next hop trusted it: it must not have left
    out what a reader sees, and its key is that of its seal, which is verified.
    """
    signature, seal = arc_set.signature, arc_set.seal
    if arc_set.cv != ("none" if number == 1 else "pass"):
        raise SignatureError(Reason.ARC_CHAIN_BROKEN)
    if (signature.key_name, signature.algorithm) != (seal.key_name, seal.algorithm):
        raise SignatureError(Reason.ARC_CHAIN_BROKEN)
    check_algorithm(seal)
    check_coverage(signature, header)
    for each in (signature, seal):
        check_times(each, now, settings.clock_skew)


def verify(
    chain: Chain, header: Header, entry: Entry, author: Address, body_hashes: Mapping[tuple[str, str], bytes],
    lookup: Lookup, doubts: Callable[[Signature], bool] = lambda _: False,
) -> ArcEvidence:  # fmt: skip
    """The evidence of a chain, its keys looked up (RFC 8617 §5.2, steps 4 to 6). `doubts`: see `ArcEvidence`."""
    signature, seen = chain.signature, chain.evidence
    if signature is None:
        return seen
    if not saw_aligned_pass(chain.sets[0].results, entry, author):
        return replace(seen, result=ArcResult.NEUTRAL, reason=Reason.ARC_NO_ALIGNED_PASS)
    try:
        if body_hashes[signature.body_kind] != signature.body_hash:
            raise SignatureError(Reason.BODY_HASH_MISMATCH)
        _check(signature, header, lookup)
        for number in range(len(chain.sets), 0, -1):
            signature, sets_so_far = _sealed(chain.sets[:number])
            _check(signature, sets_so_far, lookup)
    except SignatureError as problem:
        if problem.result is not DkimResult.TEMPERROR:
            return replace(seen, result=ArcResult.FAIL, reason=problem.reason)
        return replace(seen, result=ArcResult.TEMPERROR, reason=problem.reason, doubtful=doubts(signature))
    names = frozenset((arc_set.seal.key_name, "TXT") for arc_set in chain.sets)
    return replace(seen, result=ArcResult.PASS, counts=True, names=names)


def _check(signature: Signature, header: Header, lookup: Lookup) -> None:
    key = public_key(signature, lookup)
    check_signature(signature, key, *key_size(key), header)


def _sealed(sets: tuple[ArcSet, ...]) -> tuple[Signature, Header]:
    """The last seal as a signature of all sets up to its own, the first set first (RFC 8617 §5.1.1)."""
    seal = replace(sets[-1].seal, signed=(NAMES * len(sets))[:-1])
    return seal, Header(tuple(field for arc_set in reversed(sets) for field in arc_set.fields))


# ---- what the first hop says -----------------------------------------------------------------------------


def saw_aligned_pass(field: HeaderField, entry: Entry, author: Address) -> bool:
    """Whether ARC-Authentication-Results tell of a DKIM or SPF pass that is aligned (RFC 8601 §2.2).

    All of it must be readable: what a client could have slipped into a value leaves something that is not.
    """
    try:
        text = " ".join(without_comments(text_of(field.value)).split())
    except UnreadableError:
        return False
    pieces = [piece.strip() for piece in _PIECE.findall(text) if piece]
    if ";".join(pieces).replace(" ", "") != text.removesuffix(";").replace(" ", "") or len(pieces) < 2:
        return False
    parsed = [_RESULT.fullmatch(piece) for piece in pieces[2:]]
    if not _SERVER.fullmatch(pieces[1]) or not all(parsed):
        return False
    return any(_passed(match, entry, author) for match in parsed if match)


def _passed(match: re.Match[str], entry: Entry, author: Address) -> bool:
    """Whether one result is a pass for a domain of the entry's."""
    method, result = match[1].lower(), match[2].lower()
    values: dict[str, list[str]] = {}
    for name, value in re.findall(_PROPERTY, match[3]):
        plain = re.sub(r"\\(.)", r"\1", value[1:-1]) if value[0] == '"' else value
        values.setdefault(name.lower(), []).append(plain)
    if result != "pass" or any(len(copies) > 1 for copies in values.values()):
        return False
    named = {name: copies[0] for name, copies in values.items()}
    try:
        if method == "spf":
            sender = named.get("smtp.mailfrom", "")
            path = parse_path(sender) if "@" in sender else Address("", to_a_labels(sender))
            return path is not None and entry.counts_domain(path.domain, author.domain)
        if method == "dkim":
            # Google names `i=` alone, which lies within `d=`
            return is_aligned(to_a_labels(named.get("header.d") or named["header.i"].rpartition("@")[2]), entry, author)
    except (UnreadableError, KeyError):
        pass
    return False
