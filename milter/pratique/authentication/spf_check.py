"""SPF: the result for the identity that counts, by pyspf, and which mechanism let the client pass (RFC 7208).

pyspf evaluates records; the identity, the DNS behind it and the judgement of what matched are ours.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from typing import Any

import spf

from pratique.mailbox import UnreadableError, parse_path, to_a_labels
from pratique.model import Address, DnsAnswer, Entry, IPAddress, Lookup, Question, Session, SpfEvidence, SpfResult
from pratique.reasons import Reason

WIDEST_IPV4 = 8  # prefix lengths: a shorter one lets nearly everyone pass
WIDEST_IPV6 = 32
_CLIENT_MACRO = re.compile(r"%\{[ip]", re.IGNORECASE)
# A name that ends in what the client chooses (local part, HELO, reverse name) lies in a zone of the client's.
_CHOSEN_BY_CLIENT = re.compile(r"%\{[lhp][^}]*\}\.?(?:/[0-9/]*)?\Z", re.IGNORECASE)
_MOST_RECORDS = 100  # of one answer that are looked at: each address is compared with the client's
_LONGEST_RECORD = 4096  # octets, eight times what RFC 7208 §3.4 advises
_MOST_MACROS = 100  # expanded for one message: each may take the local part to pieces
_SHOWN = 200  # characters of a mechanism
_REMEMBERED = 256  # evaluations; a platform has a few clients


class Query(spf.query):  # type: ignore[misc]
    """pyspf's evaluation on our DNS, which notes the innermost mechanism that matched, and what it asked DNS.

    pyspf itself tells only the outermost: for `include:b` nothing of what matched inside b.
    """

    innermost = ""  # the mechanism as written
    record: str | None = None  # the domain whose record it stands in
    prefix = 0  # the length it was compared with, where it compares addresses
    chosen = False  # whether the client chose a name on the way there
    _compared = 0
    _macros = 0
    _text = ""  # of the record that is being evaluated

    def __init__(self, lookup: Lookup, client: IPAddress, sender: str, helo: str):
        super().__init__(i=str(client), s=sender, h=helo, strict=True, querytime=0)
        self._lookup = lookup
        self._asked: dict[Question, DnsAnswer] = {}
        self.literal: set[Question] = set()  # asked as the records name them: no part is the client's choice
        self._expanded: set[str] = set()  # names made by macros
        self._in_literal = True  # the record that is being evaluated is such a name's

    def expand(self, s: Any, stripdot: bool = True) -> Any:
        """The text with its macros replaced. Raises PermError where there are too many in one message."""
        self._macros += str(s).count("%{")
        if self._macros > _MOST_MACROS:
            raise spf.PermError(f"more than {_MOST_MACROS} macros")
        expanded = super().expand(s, stripdot)
        if "%" in str(s):
            self._expanded.add(str(expanded).removesuffix("."))
        return expanded

    def dns(self, name: Any, qtype: str, cnames: Any = None, ignore_void: bool = False) -> list[Any]:  # noqa: ARG002
        """One look-up; CNAMEs are followed already. Raises TempError, and PermError over two void ones."""
        name = str(name).removesuffix(".")
        answer = self._asked[name, qtype] = self._lookup(name, qtype)
        if self._in_literal and name not in self._expanded:
            self.literal.add((name, qtype))
        if answer.failed:
            raise spf.TempError(f"DNS {answer.status}", name)
        if not answer.records:
            self.void_lookups += 1
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError(f"Void lookup limit of {spf.MAX_VOID_LOOKUPS} exceeded")
        records = answer.records[:_MOST_RECORDS]
        if qtype != "TXT":
            return list(records)
        if any(isinstance(r, bytes) and len(r) > _LONGEST_RECORD and r[:6].lower() == b"v=spf1" for r in records):
            raise spf.PermError(f"SPF record of more than {_LONGEST_RECORD} octets", name)
        return [(record,) for record in records]

    def get_explanation(self, spec: Any) -> None:
        """`exp=` is for replies that we do not give: no look-up."""

    def validated_ptrs(self) -> list[str]:
        """The client's names. What DNS does not say of them is passed over (RFC 7208 §5.5, §7.3): their zone is
        the client's, and must not turn a result into an error."""
        here, self._in_literal = self._in_literal, False
        try:
            names = self.dns_ptr(self.i)
            return [name for name in names[: spf.MAX_PTR] if self._leads_to_the_client(name)]
        except spf.TempError:
            return []
        finally:
            self._in_literal = here

    def _leads_to_the_client(self, name: str) -> bool:
        try:
            return self.cidrmatch(self.dns_a(name, self.A), self.cidrmax)
        except spf.TempError:
            return False

    def cidrmatch(self, ipaddrs: Any, n: int) -> bool:
        """Whether the client shares its first n bits with one of the addresses. pyspf makes two objects of each
        address, and there may be thousands."""
        family = socket.AF_INET6 if self.v == "ip6" else socket.AF_INET
        shift = self.cidrmax - n
        wanted = int(self.ipaddr) >> shift
        try:
            matched = any(int.from_bytes(socket.inet_pton(family, a)) >> shift == wanted for a in ipaddrs)
        except (OSError, ValueError) as problem:
            raise spf.PermError(str(problem)) from None
        self._compared = n
        return matched

    def check1(self, record: Any, domain: str, recursion: int) -> Any:
        # At recursion 0 pyspf notes what matched: so every record is evaluated as if it were the first. The
        # depth stays bounded by the ten look-ups of strict evaluation. An `include` then comes here with 1, a
        # `redirect`, from within another record, with 0.
        outer, self._text = self._text, record
        here, self._in_literal = self._in_literal, self._in_literal and domain not in self._expanded
        try:
            return super().check1(record, domain, 0)
        finally:
            self._text, self._in_literal = outer, here
            redirects = [term for term in outer.split() if term.lower().startswith("redirect=")]
            if recursion == 0 and any(map(_CHOSEN_BY_CLIENT.search, redirects)):
                self.chosen = True

    @property
    def mechanism(self) -> str | None:
        return self.innermost

    @mechanism.setter
    def mechanism(self, matched: str | None) -> None:
        # Set at the end of each record, the inner ones first. For an `include` that matched, the record
        # inside was evaluated just before, and what it noted is what we want.
        matched = matched or ""
        if _name(matched) != "include":
            self.innermost, self.record, self.prefix = matched, self.d, self._compared
            self.chosen = False
        self.chosen = self.chosen or bool(_CHOSEN_BY_CLIENT.search(matched))

    @property
    def grounds(self) -> tuple[tuple[Question, DnsAnswer], ...]:
        """The answers on which the result rests, in their order; none where macros made it rest on more of the
        message than client and domain."""
        return () if self._macros else tuple(self._asked.items())

    @property
    def lets_nearly_everyone_pass(self) -> bool:
        name = _name(self.innermost)
        if self.chosen:
            return True
        if name in ("a", "mx", "ip4", "ip6"):
            return self.prefix < (WIDEST_IPV6 if self.v == "ip6" else WIDEST_IPV4)
        return name == "all" or (name == "exists" and not _CLIENT_MACRO.search(self.innermost))


def _name(mechanism: str) -> str:
    return re.split("[:/]", mechanism.lstrip("+-?~"))[0].lower()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of a query: its result, the innermost mechanism that matched and the domain of that record, whether it
    lets nearly everyone pass, what DNS was asked literally, and the `grounds`."""

    result: SpfResult
    mechanism: str | None
    record: str | None
    too_wide: bool
    literal: frozenset[Question]
    grounds: tuple[tuple[Question, DnsAnswer], ...]


_remembered: dict[tuple[IPAddress, str], Evaluation] = {}


def evaluate(lookup: Lookup, client: IPAddress, sender: Address, helo: str) -> Evaluation:
    """check_host() of RFC 7208 §4. One of before does again while DNS gives the answers on which it rests: they are
    asked for in the same order, and the first that differs makes it worthless."""
    known = _remembered.get((client, sender.domain))
    if known and all(lookup(*question) == answer for question, answer in known.grounds):
        return known
    query = Query(lookup, client, f"{sender.local}@{sender.domain}", helo)
    result = SpfResult(query.check()[0])
    return Evaluation(
        result, query.innermost[:_SHOWN] or None, query.record, query.lets_nearly_everyone_pass,
        frozenset(query.literal), query.grounds,
    )  # fmt: skip


def _remember(client: IPAddress, domain: str, evaluation: Evaluation) -> None:
    if len(_remembered) >= _REMEMBERED:
        _remembered.clear()
    _remembered[client, domain] = evaluation


def check(
    session: Session, entry: Entry, author: Address, lookup: Lookup, no_client: Reason = Reason.NO_CLIENT_ADDRESS
) -> SpfEvidence:
    """The evidence of SPF: MAIL FROM, or HELO where the reverse-path is null (RFC 7208 §2.4), never else.

    `no_client` is the reason to give where the session has no client to judge."""
    if session.client is None:
        return SpfEvidence(reason=no_client)
    try:
        sender = parse_path(session.mail_from)
    except UnreadableError as problem:
        return SpfEvidence(reason=problem.reason)
    identity = "mailfrom"
    if sender is None:
        identity = "helo"
        try:
            sender = Address("postmaster", to_a_labels(session.helo))
        except UnreadableError:
            return SpfEvidence(identity=identity, reason=Reason.HELO_MALFORMED)
    found = evaluate(lookup, session.client, sender, session.helo)
    aligned = entry.counts_domain(sender.domain, author.domain)
    reason = _objection(found, aligned)
    if found.grounds and reason is None:  # the platform's own mail: nobody else can fill the memory
        _remember(session.client, sender.domain, found)
    # Where the record is the platform's for sure: under a wildcard record anyone could make up sub-domains.
    own = {entry.domain, *entry.evidence_domains, *(domain for _, domain in entry.addresses)}
    names = found.literal if reason is None or sender.domain in own else frozenset()
    return SpfEvidence(
        found.result, sender.domain, identity, aligned, reason is None, found.mechanism, found.record, reason, names
    )


def _objection(found: Evaluation, aligned: bool) -> Reason | None:
    """Why a result does not count, if it does not."""
    if not aligned:
        return Reason.UNALIGNED
    if found.result is SpfResult.TEMPERROR:
        return Reason.DNS_TEMPERROR
    if found.result is not SpfResult.PASS:
        return Reason.SPF_NOT_PASS
    return Reason.SPF_TOO_WIDE if found.too_wide else None
