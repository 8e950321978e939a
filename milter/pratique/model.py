"""The words of Pratique: messages, claims, evidence, decisions, the trusted list, settings.

Rules of this module: values that nobody changes; no I/O, no clock, no logging, nothing of ours imported but
the reason words. What a value means is said here once; the other modules compute with it.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import NamedTuple

from .reasons import Reason

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_ASCII_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def ascii_lower(text: str) -> str:
    """Lower-case A-Z only: str.lower() would fold foreign letters (U+212A) into ASCII ones."""
    return text.translate(_ASCII_LOWER)


def printable(text: str, keep: str = "") -> str:
    """Text from outside, for people: what is not printable, nor in `keep`, as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode("ascii") for c in text)


class Verdict(StrEnum):
    """What Pratique says of a message (design#decision)."""

    VERIFIED = "verified"  # a listed address, and the entry's requirement is met
    UNVERIFIED = "unverified"  # claims a trusted sender and does not prove it
    UNDETERMINED = "undetermined"  # could not be judged: DNS gave no answer, or we failed
    UNLISTED = "unlisted"  # proven mail of the domain, from an address that is not listed
    IMITATION = "imitation"  # another domain, made to look like a trusted sender
    UNCLAIMED = "unclaimed"  # has nothing to do with the list
    UNCHECKED = "unchecked"  # our own users and hosts: not judged


class Action(StrEnum):
    """What is done with a message."""

    NONE = "none"  # delivered as it is (only for unchecked mail)
    TAG = "tag"  # delivered with our fields
    QUARANTINE = "quarantine"  # tagged, and held by the MTA
    REJECT = "reject"  # 550 5.7.1
    DEFER = "defer"  # 451 4.7.1: the client tries again later


class Mode(StrEnum):
    """Whether verdicts have an effect."""

    ENFORCE = "enforce"
    OBSERVE = "observe"  # everything is judged and logged, nothing but our own field is changed


class Require(StrEnum):
    """What must hold for an entry's mail to be verified."""

    ANY = "any"
    DKIM = "dkim"
    SPF = "spf"
    NETWORK = "network"
    ALL = "all"


class Alignment(StrEnum):
    """How near the authenticated domain must be to the From domain."""

    RELAXED = "relaxed"  # both are the entry's domain or below it
    STRICT = "strict"  # equal


class Truth(Enum):
    """Three values: UNKNOWN where a look-up that got no answer could still make it true."""

    FALSE = 0
    UNKNOWN = 1
    TRUE = 2

    def __or__(self, other: Truth) -> Truth:
        return self if self._value_ >= other._value_ else other

    def __and__(self, other: Truth) -> Truth:
        return self if self._value_ <= other._value_ else other


class SpfResult(StrEnum):
    """RFC 7208 §2.6."""

    NONE = "none"  # no record, or no domain to ask for
    NEUTRAL = "neutral"  # the domain makes no statement about the client
    PASS = "pass"  # the client may send for the domain  # noqa: S105
    FAIL = "fail"  # the client may not
    SOFTFAIL = "softfail"  # the client probably may not
    TEMPERROR = "temperror"  # DNS gave no answer
    PERMERROR = "permerror"  # the record cannot be evaluated


class DkimResult(StrEnum):
    """RFC 8601 §2.7.1."""

    NONE = "none"  # not signed
    PASS = "pass"  # the signature holds, and nothing of ours speaks against it  # noqa: S105
    FAIL = "fail"  # the signature does not fit the message
    POLICY = "policy"  # readable, but not acceptable to us
    NEUTRAL = "neutral"  # not looked into (an unaligned domain)
    TEMPERROR = "temperror"  # DNS gave no answer
    PERMERROR = "permerror"  # cannot be evaluated: bad syntax, no key


Question = tuple[str, str]
"""Name, in lower case and without the last dot, and type of a DNS look-up."""


class ArcResult(StrEnum):
    """Of a chain of ARC sets: the words of RFC 8617 §5.2, and two for what was not settled."""

    NONE = "none"  # no chain, or none that could matter
    PASS = "pass"  # the chain holds, and every sealer is one of `arc_sealers`  # noqa: S105
    FAIL = "fail"  # the chain does not hold
    NEUTRAL = "neutral"  # not looked into: there is a sealer whom the site does not trust
    TEMPERROR = "temperror"  # DNS gave no answer


class DnsStatus(StrEnum):
    """What DNS said to one question."""

    ANSWER = "answer"  # records
    NO_DATA = "no-data"  # the name is there, without records of this type
    NO_NAME = "no-name"  # NXDOMAIN
    TIMEOUT = "timeout"  # no answer within the time we have
    SERVFAIL = "servfail"  # the servers failed or refused
    NOT_ASKED = "not-asked"  # the message has used up its queries


@dataclass(frozen=True, slots=True)
class DnsAnswer:
    """The answer to one question; `records` holds str for A, AAAA, PTR, bytes for TXT (strings joined),
    (preference, name) for MX. `stale`: DNS failed, and this is what it said before."""

    status: DnsStatus
    records: tuple[str | bytes | tuple[int, str], ...] = ()
    stale: bool = False

    @property
    def failed(self) -> bool:
        return self.status in (DnsStatus.TIMEOUT, DnsStatus.SERVFAIL)


Lookup = Callable[[str, str], DnsAnswer]
"""(name, type) to answer; never raises."""


class DnsState(StrEnum):
    """How DNS did for a whole message."""

    OK = "ok"
    STALE = "stale"  # an old answer stood in for a failed one
    TEMPERROR = "temperror"


# ---- the message -----------------------------------------------------------------------------------


class HeaderField(NamedTuple):
    """One field as it came: `value` is all after the colon, leading blank included, folds as CR LF."""

    name: bytes
    value: bytes

    @property
    def key(self) -> bytes:
        """The name for comparing: lower case, without the blanks some senders put before the colon."""
        return self.name.rstrip(b" \t").lower()


class Header:
    """The header, top first. Beyond the limits From is kept, up to a size; of the other fields the number is known, by
    key for Subject, for a From that was not kept and for those that only we may write, under b"" for the rest."""

    __slots__ = ("_asked", "_by_key", "beyond", "fields", "late_subject")

    def __init__(
        self,
        fields: Sequence[tuple[bytes, bytes]],
        beyond: Mapping[bytes, int] = MappingProxyType({}),
        late_subject: bytes | None = None,
    ):
        """`fields` are pairs as HeaderField is one; most are never looked at, and stay what they are. `late_subject` is
        how the first Subject beyond the limits begins."""
        self.fields = fields
        self.beyond = beyond
        self.late_subject = late_subject
        self._asked: dict[bytes, tuple[HeaderField, ...]] = {}
        self._by_key: dict[bytes, list[tuple[bytes, bytes]]] = {}
        for pair in fields:  # HeaderField.key, without a call for each field of all mail
            self._by_key.setdefault(pair[0].rstrip(b" \t").lower(), []).append(pair)

    def has_any(self, keys: AbstractSet[bytes]) -> bool:
        """Whether there is a field of one of the keys, be it beyond the limits."""
        return not (self._by_key.keys().isdisjoint(keys) and self.beyond.keys().isdisjoint(keys))

    def all(self, key: bytes) -> tuple[HeaderField, ...]:
        """The fields of a key: the same ones each time."""
        if key not in self._by_key:
            return ()
        if key not in self._asked:
            self._asked[key] = tuple(map(HeaderField._make, self._by_key[key]))
        return self._asked[key]


@dataclass(frozen=True, slots=True)
class Session:
    """What the SMTP session says about a message."""

    client: IPAddress | None
    helo: str
    mail_from: str  # as the client wrote it, angle brackets and all
    rcpts: tuple[str, ...] = ()
    rcpt_count: int = 0
    authenticated: bool = False
    hostname: str = ""  # of the MTA: macro {j}


@dataclass(frozen=True, slots=True)
class Origin:
    """The client that SPF and networks are about: who connected or, behind one of `relays`, who came before it.
    Without an address where that is not known; `reason` then says why."""

    client: IPAddress | None
    helo: str
    relay: IPAddress | None = None  # the client that connected, where it is one of `relays`
    reason: Reason | None = None


_ATOM = r"[^\s\x00-\x20\"(),.:;<>@\[\\\]\x7f]+"
_DOT_ATOM = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox: local part as written (unquoted), domain as lower-case A-labels."""

    local: str
    domain: str

    def __str__(self) -> str:
        if _DOT_ATOM.fullmatch(self.local):
            return f"{self.local}@{self.domain}"
        return '"' + re.sub(r'([\\"])', r"\\\1", self.local) + f'"@{self.domain}'


# ---- the trusted list ------------------------------------------------------------------------------


def is_within(domain: str, parent: str) -> bool:
    """Whether a domain is `parent` or below it, label by label; both as lower-case A-labels."""
    return domain == parent or domain.endswith("." + parent)


@dataclass(frozen=True, slots=True)
class Entry:
    """One trusted sender. Addresses are (local part pattern, domain); `*` stands for any characters."""

    id: str
    name: str
    domain: str
    addresses: tuple[tuple[str, str], ...]
    require: Require = Require.ANY
    alignment: Alignment = Alignment.RELAXED
    networks: tuple[IPNetwork, ...] = ()
    signers: frozenset[str] = frozenset()
    evidence_domains: frozenset[str] = frozenset()
    selectors: tuple[str, ...] = ()
    expires: date | None = None
    owner: str | None = None
    note: str | None = None
    actions: Mapping[Verdict, Action] = field(default_factory=dict)
    other_names: tuple[str, ...] = ()  # short forms, former names
    also_known: frozenset[str] = frozenset()  # domains of the same platform that look like this one

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that a reader knows the platform by, the one it is shown under first."""
        return (self.name, *self.other_names)

    def lists(self, address: Address) -> bool:
        """Whether the very address is on the list; only A-Z is folded, and `*` never meets an `@`."""
        local = ascii_lower(address.local)
        return any(
            domain == address.domain
            and (local == pattern or ("*" in pattern and "@" not in local and _wildcard(pattern)(local)))
            for pattern, domain in self.addresses
        )

    def counts_domain(self, domain: str, from_domain: str) -> bool:
        """Whether an authenticated domain is aligned with a From domain under this entry (design#alignment)."""
        if self.evidence_domains:
            return domain in self.evidence_domains
        if self.alignment is Alignment.STRICT:
            return domain == from_domain
        return is_within(domain, self.domain) and is_within(from_domain, self.domain)

    def expired(self, today: date) -> bool:
        return self.expires is not None and today > self.expires


@functools.lru_cache(maxsize=1024)
def _wildcard(pattern: str) -> Callable[[str], re.Match[str] | None]:
    return re.compile("(?s:" + ".*".join(map(re.escape, pattern.split("*"))) + r")\Z").match


@dataclass(frozen=True, eq=False)
class TrustedList:
    """The entries in force. Two lists are equal only if they are the same one: so a list can be a key."""

    entries: tuple[Entry, ...] = ()

    def entry(self, sender: str | None) -> Entry | None:
        return self._by_id.get(sender) if sender else None

    def for_address(self, address: Address) -> Entry | None:
        """The entry that lists the very address: an exact one before a wildcard."""
        exact = (ascii_lower(address.local), address.domain)
        listing = [e for e in self._listing_at.get(address.domain, ()) if e.lists(address)]
        return next((e for e in listing if exact in e.addresses), listing[0] if listing else None)

    def for_domain(self, domain: str) -> Entry | None:
        """The entry whose domain this is, or is above it; the longest wins."""
        labels = domain.split(".")
        names = (".".join(labels[start:]) for start in range(len(labels)))
        return next((entry for name in names if (entry := self._by_domain.get(name))), None)

    @functools.cached_property
    def _by_id(self) -> dict[str, Entry]:
        return {entry.id: entry for entry in self.entries}

    @functools.cached_property
    def _listing_at(self) -> dict[str, list[Entry]]:
        """The entries that list addresses of a domain."""
        found: dict[str, list[Entry]] = {}
        for entry in self.entries:
            for domain in {domain: None for _, domain in entry.addresses}:
                found.setdefault(domain, []).append(entry)
        return found

    @functools.cached_property
    def _by_domain(self) -> dict[str, Entry]:
        """The first entry of each domain."""
        return {entry.domain: entry for entry in reversed(self.entries)}


# ---- claim, evidence, decision ---------------------------------------------------------------------


class ClaimKind(StrEnum):
    """What a message shows its reader."""

    LISTED = "listed"  # exactly one listed address
    DOMAIN = "domain"  # another address of a trusted domain
    AMBIGUOUS = "ambiguous"  # From has no single reading, and names a trusted sender or cannot be searched for one
    IMITATION = "imitation"  # another domain that looks like a trusted sender
    NONE = "none"  # nothing to do with the list


@dataclass(frozen=True, slots=True)
class Claim:
    """Which trusted sender a message shows, and how; `detail` says in our words what an imitation does."""

    kind: ClaimKind
    sender: str | None = None
    address: Address | None = None
    reason: Reason | None = None
    detail: str = ""

    @property
    def needs_evidence(self) -> bool:
        """Only these two verdicts depend on what SPF and DKIM say."""
        return self.kind in (ClaimKind.LISTED, ClaimKind.DOMAIN)


def _truth(counts: bool, unanswered: bool) -> Truth:
    """Of one piece of evidence: `unanswered` is what a look-up could still make count, on the platform's own names."""
    if counts:
        return Truth.TRUE
    return Truth.UNKNOWN if unanswered else Truth.FALSE


@dataclass(frozen=True, slots=True)
class DkimEvidence:
    """One signature. `truth` is UNKNOWN where only a lookup is missing, unless it is `doubtful`: a forger could have
    picked the name because DNS does not answer for it."""

    result: DkimResult
    domain: str | None = None
    selector: str | None = None
    algorithm: str | None = None
    bits: int | None = None
    aligned: bool = False
    counts: bool = False
    reason: Reason | None = None
    doubtful: bool = False

    @property
    def truth(self) -> Truth:
        return _truth(self.counts, self.aligned and self.result is DkimResult.TEMPERROR and not self.doubtful)


@dataclass(frozen=True, slots=True)
class SpfEvidence:
    """The SPF result of one identity. `mechanism` is the innermost that matched, `record` its domain;
    `names` are what DNS was asked, where it is the platform that asks for it. `doubtful` as for DKIM."""

    result: SpfResult = SpfResult.NONE
    domain: str | None = None
    identity: str | None = None  # "mailfrom" or "helo"
    aligned: bool = False
    counts: bool = False
    mechanism: str | None = None
    record: str | None = None
    reason: Reason | None = None
    names: frozenset[Question] = frozenset()
    doubtful: bool = False

    @property
    def truth(self) -> Truth:
        return _truth(self.counts, self.aligned and self.result is SpfResult.TEMPERROR and not self.doubtful)

    @property
    def evaluated(self) -> bool:
        """Whether `result` is one of SPF at all: a record is evaluated only where a pass could count."""
        return self.reason not in _NOT_EVALUATED


_NOT_EVALUATED = (
    *(Reason.NOT_CHECKED, Reason.UNALIGNED, Reason.BEHIND_RELAY, Reason.RELAY_UNREADABLE, Reason.NO_CLIENT_ADDRESS),
)


@dataclass(frozen=True, slots=True)
class ArcEvidence:
    """The chain of ARC sets as a whole; `sealers` are the d= of its seals, the first hop's first, `names` their keys
    where the chain counts. `doubtful` as for DKIM."""

    result: ArcResult = ArcResult.NONE
    sealers: tuple[str, ...] = ()
    counts: bool = False
    reason: Reason | None = None
    names: frozenset[Question] = frozenset()
    doubtful: bool = False

    @property
    def truth(self) -> Truth:
        return _truth(self.counts, self.result is ArcResult.TEMPERROR and not self.doubtful)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that SPF, DKIM, the client's network and trusted forwarders say about a message."""

    dkim: tuple[DkimEvidence, ...] = ()
    spf: SpfEvidence = SpfEvidence(reason=Reason.NOT_CHECKED)
    network: bool = False
    arc: ArcEvidence = ArcEvidence()
    dns: DnsState = DnsState.OK

    @property
    def dkim_truth(self) -> Truth:
        return functools.reduce(Truth.__or__, (s.truth for s in self.dkim), Truth.FALSE)

    @property
    def names(self) -> frozenset[Question]:
        """What the platform's proofs hang on in DNS. Nobody else can add to it: a key is among them only after it
        has proven a message."""
        keys = {(f"{s.selector}._domainkey.{s.domain}", "TXT") for s in self.dkim if s.counts}
        return self.spf.names | self.arc.names | keys

    @property
    def without_doubt(self) -> Evidence:
        """The same evidence with every missing answer taken as UNKNOWN."""
        dkim = tuple(replace(s, doubtful=False) for s in self.dkim)
        return replace(self, dkim=dkim, spf=replace(self.spf, doubtful=False), arc=replace(self.arc, doubtful=False))

    @property
    def best_signature(self) -> DkimEvidence:
        """The one that stands for all: one that counts, else the aligned one that came nearest."""
        order = list(DkimResult)
        ranked = sorted(self.dkim, key=lambda s: (not s.counts, not s.aligned, order.index(s.result)))
        return ranked[0] if ranked else DkimEvidence(DkimResult.NONE)

    @property
    def dkim_result(self) -> DkimResult:
        """One word for all signatures."""
        return self.best_signature.result


@dataclass(frozen=True, slots=True)
class HeaderEdit:
    """One change of the header, in the order to be made. `index` counts fields of the name from 1;
    for an insertion it is the place in the header, 0 being the top."""

    op: str  # "insert", "delete", or "change" (Subject only)
    name: str
    index: int
    value: str | None = None


class Because(StrEnum):
    """Why a message is not judged."""

    AUTHENTICATED = "authenticated"  # a user of ours has logged in
    LOCAL_NETWORK = "local-network"  # the client is in `local_networks`
    TRUSTED_HOST = "trusted-host"  # another MX host of ours has judged it


@dataclass(frozen=True, slots=True)
class Decision:
    """What is said of a message and done with it."""

    verdict: Verdict
    action: Action
    sender: str | None = None
    by: tuple[str, ...] = ()
    reason: Reason | None = None
    claim: Claim = Claim(ClaimKind.NONE)
    evidence: Evidence = Evidence()
    origin: Origin = Origin(None, "")
    edits: Sequence[HeaderEdit] = ()
    stripped: int = 0  # how many of them delete a forged field
    text: str = ""  # for a reply or the quarantine: why, in one sentence
    because: Because | None = None  # why it is unchecked, where it is


# ---- settings --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what is read of a message: octets and counts."""

    header_size: int = 1 << 18
    header_fields: int = 1000
    from_size: int = 4096
    signature_size: int = 8192
    signatures: int = 10
    signed_fields: int = 250
    signed_size: int = 1 << 17


@dataclass(frozen=True, slots=True)
class Relay:
    """Hosts in front of us, and the names by which their Received fields may be known: none, and they are not read."""

    networks: tuple[IPNetwork, ...]
    received_by: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TrustedHosts:
    """Our other MX hosts: what they have judged is not judged again."""

    networks: tuple[IPNetwork, ...] = ()
    hosts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """`servers` are (address, port); empty: as resolv.conf says. `timeout` bounds all look-ups of a message; for
    `stale` seconds after it ran out an answer may stand in for a failed one."""

    servers: tuple[tuple[str, int], ...] = ()
    timeout: float = 5.0
    cache: bool = True
    stale: float = 86_400.0


LOOPBACK: tuple[IPNetwork, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))

DEFAULT_HEADER = "X-Trusted-Sender"

DEFAULT_ACTIONS: Mapping[Verdict, Action] = dict.fromkeys(Verdict, Action.TAG) | {
    Verdict.UNDETERMINED: Action.DEFER,
    Verdict.UNCHECKED: Action.NONE,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """Both configuration files, read and checked."""

    senders: TrustedList = TrustedList()
    socket: str = "unix:/var/spool/postfix/pratique/milter.sock"
    mode: Mode = Mode.ENFORCE
    actions: Mapping[Verdict, Action] = field(default_factory=lambda: DEFAULT_ACTIONS)
    authserv_id: str | None = None
    authserv_ids: frozenset[str] = frozenset()
    header: str = DEFAULT_HEADER
    subject_tag: str | None = None
    strip_authentication_results: bool = True
    local_networks: tuple[IPNetwork, ...] = LOOPBACK
    relays: tuple[Relay, ...] = ()
    arc_sealers: frozenset[str] = frozenset()
    trusted_hosts: TrustedHosts = TrustedHosts()
    local_domains: frozenset[str] = frozenset()
    defer_for: timedelta = timedelta(hours=4)
    clock_skew: timedelta = timedelta(minutes=5)
    dns: DnsSettings = DnsSettings()
    limits: Limits = Limits()
    log_format: str = "logfmt"
    log_level: str = "info"
    workers: int | None = None  # None: as many as suit the machine
    stop_timeout: timedelta = timedelta(seconds=30)
    reload_on_change: bool = False
    state_directory: str | None = None
    metrics: tuple[str, int] | None = None  # address and port
    sources: tuple[str, ...] = ()  # the files and folders all this comes from
    generation: int = 0  # the number of this configuration, which the service counts

    def action(self, verdict: Verdict, entry: Entry | None) -> Action:
        """The entry's action, else the site's. What is verified cannot be acted on."""
        if verdict in (Verdict.VERIFIED, Verdict.UNCHECKED):
            return DEFAULT_ACTIONS[verdict]
        if entry is not None and verdict in entry.actions:
            return entry.actions[verdict]
        return self.actions.get(verdict, DEFAULT_ACTIONS[verdict])


def in_networks(client: IPAddress | None, networks: tuple[IPNetwork, ...]) -> bool:
    """Whether the client's address is in one of the networks (IPv4-mapped IPv6 counts as IPv4)."""
    if client is None or not networks:
        return False
    mapped = client.ipv4_mapped if isinstance(client, ipaddress.IPv6Address) else None
    address = mapped or client
    return any(address.version == n.version and address in n for n in networks)
