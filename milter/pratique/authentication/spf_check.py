"""SPF: the result for the identity that counts, by pyspf, and which mechanism let the client pass (RFC 7208).

pyspf evaluates mechanisms; the identity, the DNS behind it, modifiers, the count of void lookups and the judgement of
what matched are ours.
"""

from __future__ import annotations

import functools
import re
import socket
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import spf
from publicsuffixlist import PublicSuffixList

from pratique.mailbox import UnreadableError, parse_path, to_a_labels
from pratique.model import (
    Address,
    DnsAnswer,
    DnsStatus,
    Entry,
    IPAddress,
    Lookup,
    Question,
    Session,
    SpfEvidence,
    SpfResult,
    is_within,
)
from pratique.reasons import Reason

WIDEST_IPV4 = 8  # prefix lengths: a shorter one lets nearly everyone pass
WIDEST_IPV6 = 32
_CLIENT_MACRO = re.compile(r"%\{[ip]", re.IGNORECASE)
_MOST_RECORDS = 100  # of one answer that are looked at: each address is compared with the client's
_LONGEST_RECORD = 4096  # octets, eight times what RFC 7208 §3.4 advises
_MOST_MACROS = 100  # expanded for one message: each may take the local part to pieces
_SHOWN = 200  # characters of a mechanism
_REMEMBERED = 256  # evaluations; a platform has a few clients

# Stand for text of the client's in a name: chosen freely (local part, HELO, reverse name), or only among what the
# platform or its provider has published (the client's address, a subdomain in MAIL FROM).
_FREE, _BOUND = "\x01", "\x02"
_MACRO_STRING = re.compile(
    r"(?:[!-$&-~]|%[%_-]|%\{[slodiphcrtv](?:[1-9][0-9]*|)r?[.\-+,/_=]*\})*", re.IGNORECASE
)  # RFC 7208 §7.1


@functools.cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()


class Query(spf.query):  # type: ignore[misc]
    """pyspf's evaluation on our DNS, which notes the innermost mechanism that matched, and what it asked DNS.

    pyspf itself tells only the outermost: for `include:b` nothing of what matched inside b.
    """

    innermost = ""  # the mechanism as written
    record: str | None = None  # the domain whose record it stands in
    prefix = 0  # the length it was compared with, where it compares addresses
    chosen = False  # whether the client chose a name on the way there
    d: str  # of pyspf: the domain of the record that is being evaluated
    over_limit = False  # the message has used up its DNS queries
    doubtful = False  # DNS gave no answer for a name that the client can choose
    _compared = 0
    _macros = 0
    _free = False  # some name holds text that the client chose freely
    _matched = False  # a mechanism of the record that was evaluated last
    _void = False  # a lookup of the current term was void
    _literal_term = True  # every name of the current term, so far, is as the record has it

    def __init__(
        self, lookup: Lookup, client: IPAddress, sender: str, helo: str, platform: AbstractSet[str] = frozenset(),
        fixed: AbstractSet[str] = frozenset(),
    ):  # fmt: skip
        """`platform` are the domains under which the client cannot register names; a sender domain that is not one of
        `fixed` is chosen by the client, up to the domain of `platform` that it ends in."""
        super().__init__(i=str(client), s=sender, h=helo, strict=True, querytime=0)
        self._lookup = lookup
        self._asked: dict[Question, DnsAnswer] = {}
        self.literal: set[Question] = set()  # asked as the records name them: no part is the client's choice
        self._platform = platform
        self._marks: dict[str, str] = {}  # names made by macros, with marks for the parts that the client chooses
        self._in_literal = True  # the record that is being evaluated is at no such name
        above = max((name for name in platform if is_within(self.o, name)), key=len, default=self.o)
        self._origin = self.o if self.o in fixed or self.o == above else f"{_BOUND}.{above}"
        self._current = self._origin  # the domain of the record that is being evaluated, with marks

    def expand(self, s: Any, stripdot: bool = True) -> Any:
        """The text with its macros replaced. Raises PermError where there are too many in one message."""
        self._macros += str(s).count("%{")
        if self._macros > _MOST_MACROS:
            raise spf.PermError(f"more than {_MOST_MACROS} macros")
        if "%" in str(s) and not _MACRO_STRING.fullmatch(str(s)):
            raise spf.PermError("not a macro string", s)
        expanded = super().expand(s, stripdot)
        if "%" in str(s):
            name, marked = str(expanded).removesuffix("."), self._marked(str(s))
            self._free = self._free or _FREE in marked
            if _FREE not in self._marks.get(name, ""):
                self._marks[name] = marked
        return expanded

    def _marked(self, text: str) -> str:
        """The text with its macros replaced, and marks where they stand for the client's own words."""
        return str(spf.RE_CHAR.sub(lambda match: self._marked_macro(match[0]), text))

    def _marked_macro(self, macro: str) -> str:
        if len(macro) == 2:
            return {"%%": "%", "%_": " "}.get(macro, "%20")
        letter, how = macro[2].lower(), macro[3:-1]
        words = {"s": f"{_FREE}@{self._origin}", "o": self._origin, "d": self._current, "v": self.v, "i": _BOUND}
        text = words.get(letter, _FREE)
        mark = _FREE if _FREE in text else _BOUND
        if mark in text and "r" in how.lower():
            return mark  # the client's words may have any number of parts: reversed, they can stand anywhere
        return str(spf.expand_one(text, how.lower(), spf.JOINERS.get(letter)))

    def is_chosen(self, text: str) -> bool:
        """Whether the client can choose whose name a domain-spec is: one outside the zone that the record points to.

        To the right of the client's last word there must be a dot and a domain where not everyone can register names.
        Words that are chosen freely must stand below the platform's registered domain, or below a name that holds it.
        """
        marked = self._marked(text).removesuffix(".").lower()
        place = max(marked.rfind(_FREE), marked.rfind(_BOUND))
        if place < 0:
            return False
        right = marked[place + 1 :]
        if not right.startswith(".") or _suffixes().is_public(right[1:]):
            return True
        below = marked[marked.rfind(_FREE) + 1 :] + "." if _FREE in marked else ""
        registered = (_suffixes().privatesuffix(name) or name for name in self._platform)
        return bool(below) and not any(f".{name}." in below for name in registered)

    def dns(self, name: Any, qtype: str, cnames: Any = None, ignore_void: bool = False) -> list[Any]:  # noqa: ARG002
        """One lookup; CNAMEs are followed already. Raises TempError, and PermError over two terms with void ones."""
        name = str(name).removesuffix(".")
        answer = self._asked[name, qtype] = self._lookup(name, qtype)
        self._literal_term = self._literal_term and self._in_literal and name not in self._marks
        if self._literal_term:
            self.literal.add((name, qtype))
        if answer.status is DnsStatus.NOT_ASKED:
            self.over_limit = True
            raise spf.PermError("too many DNS queries for one message", name)
        if answer.failed:
            self.doubtful = self._free and not self._literal_term
            raise spf.TempError(f"DNS {answer.status}", name)
        if not answer.records and not self._void:
            self._void = True  # RFC 7208 §4.6.4 counts terms, not their lookups
            self.void_lookups += 1
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError(f"Void lookup limit of {spf.MAX_VOID_LOOKUPS} exceeded")
        records = answer.records[:_MOST_RECORDS]
        if qtype != "TXT":
            return list(records)
        if any(isinstance(r, bytes) and len(r) > _LONGEST_RECORD and r[:6].lower() == b"v=spf1" for r in records):
            raise spf.PermError(f"SPF record of more than {_LONGEST_RECORD} octets", name)
        return [(record,) for record in records]

    def check_lookups(self) -> None:
        """pyspf calls this where it begins to evaluate a term that asks DNS. Raises PermError over ten of them."""
        self.begin_term()
        super().check_lookups()

    def begin_term(self) -> None:
        """What is counted for each term starts again."""
        self._void, self._literal_term = False, True

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

    def check1(self, record: Any, domain: str, recursion: int) -> Any:  # noqa: ARG002
        """The result of a record, redirect followed."""
        if not record:
            return super().check1(record, domain, 0)
        here = self.d, self._in_literal, self._current
        self.d, self._in_literal = domain, self._in_literal and domain not in self._marks
        self._current = self._marks.get(domain, self._origin if domain == self.o else domain)
        try:
            mechanisms, redirect = self._without_modifiers(record)
            # At recursion 0 pyspf notes what matched: so every record is evaluated as if it were the first. The
            # depth stays bounded by the ten lookups of strict evaluation.
            result = super().check1(mechanisms, domain, 0)
            if redirect is None or self._matched:
                return result
            self.check_lookups()  # RFC 7208 §4.6.4: only a redirect that is followed counts
            name = self.expand_domain(redirect)
            target = self.dns_spf(name)
            if not target:
                raise spf.PermError("redirect domain has no SPF record", name)
            result = self.check1(target, name, 0)
            self.chosen = self.chosen or self.is_chosen(redirect)
            return result
        finally:
            self.d, self._in_literal, self._current = here

    def _without_modifiers(self, record: str) -> tuple[str, str | None]:
        """The record's mechanisms, and the domain-spec of its redirect. Raises PermError.

        pyspf compares the names of modifiers with case, and takes none twice. RFC 7208 §4.6.1, §6: case does not
        matter, and unknown modifiers are ignored however often they appear, as long as they are macro strings.
        """
        kept: list[str] = []
        known: dict[str, str] = {}
        for term in record.split(" "):
            modifier = spf.RE_MODIFIER.match(term)
            if modifier is None or not kept:  # the first is the version
                kept.append(term)
                continue
            name, text = modifier[1].lower(), term[modifier.end() :]
            if name not in ("redirect", "exp"):
                self._macros += text.count("%{")
                if self._macros > _MOST_MACROS or not _MACRO_STRING.fullmatch(text):
                    raise spf.PermError("modifier is no macro string, or has too many macros", term)
                continue
            if name in known:
                raise spf.PermError(f"{name}= must not appear twice", term)
            known[name] = text
            if not self.expand_domain(text):
                raise spf.PermError(f"{name}= has an empty domain", term)
        return " ".join(kept), known.get("redirect")

    @property
    def mechanism(self) -> str | None:
        return self.innermost

    @mechanism.setter
    def mechanism(self, matched: str | None) -> None:
        # Set at the end of each record, the inner ones first. For an `include` that matched, the record
        # inside was evaluated just before, and what it noted is what we want.
        self._matched = matched is not None
        matched = matched or ""
        if _name(matched) != "include":
            self.innermost, self.record, self.prefix = matched, self.d, self._compared
            self.chosen = False
        self.chosen = self.chosen or self.is_chosen(_domain_spec(matched))

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


def _domain_spec(mechanism: str) -> str:
    """The domain-spec of a mechanism, without the prefix lengths behind it; empty where it has none."""
    without_lengths: str = spf.RE_CIDR.split(spf.RE_DUAL_CIDR.split(mechanism)[0])[0]
    return without_lengths.partition(":")[2]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of a query: its result, the innermost mechanism that matched and the domain of that record, whether it
    lets nearly everyone pass, what DNS was asked literally, the `grounds`, and what the query says of its DNS."""

    result: SpfResult
    mechanism: str | None
    record: str | None
    too_wide: bool
    literal: frozenset[Question]
    grounds: tuple[tuple[Question, DnsAnswer], ...]
    over_limit: bool
    doubtful: bool


_remembered: dict[tuple[IPAddress, str], Evaluation] = {}


def evaluate(
    lookup: Lookup, client: IPAddress, sender: Address, helo: str, platform: AbstractSet[str] = frozenset(),
    fixed: AbstractSet[str] = frozenset(),
) -> Evaluation:  # fmt: skip
    """check_host() of RFC 7208 §4. One of before does again while DNS gives the answers on which it rests: they are
    asked for in the same order, and the first that differs makes it worthless."""
    known = _remembered.get((client, sender.domain))
    if known and all(lookup(*question) == answer for question, answer in known.grounds):
        return known
    query = Query(lookup, client, f"{sender.local}@{sender.domain}", helo, platform, fixed)
    result = SpfResult(query.check()[0])
    return Evaluation(
        result, query.innermost[:_SHOWN] or None, query.record, query.lets_nearly_everyone_pass,
        frozenset(query.literal), query.grounds, query.over_limit, query.doubtful,
    )  # fmt: skip


def _remember(client: IPAddress, domain: str, evaluation: Evaluation) -> None:
    if len(_remembered) >= _REMEMBERED:
        _remembered.clear()
    _remembered[client, domain] = evaluation


def check(
    session: Session, entry: Entry, author: Address, lookup: Lookup, no_client: Reason = Reason.NO_CLIENT_ADDRESS
) -> SpfEvidence:
    """The evidence of SPF: MAIL FROM, or HELO where the reverse-path is null (RFC 7208 §2.4), never else.

    A domain that cannot count is not looked up: its owner would choose which names are asked, and how many.
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
    if not entry.counts_domain(sender.domain, author.domain):
        return SpfEvidence(domain=sender.domain, identity=identity, reason=Reason.UNALIGNED)
    platform = entry.evidence_domains | {entry.domain}
    # Where the record is the platform's for sure: under a wildcard record anyone could make up sub-domains.
    own = {*platform, *(domain for _, domain in entry.addresses)}
    found = evaluate(lookup, session.client, sender, session.helo, platform, own)
    reason = _objection(found)
    if found.grounds and reason is None:  # the platform's own mail: nobody else can fill the memory
        _remember(session.client, sender.domain, found)
    names = found.literal if reason is None or sender.domain in own else frozenset()
    return SpfEvidence(
        found.result, sender.domain, identity, True, reason is None, found.mechanism, found.record, reason, names,
        found.doubtful,
    )  # fmt: skip


def _objection(found: Evaluation) -> Reason | None:
    """Why a result does not count, if it does not."""
    if found.result is SpfResult.TEMPERROR:
        return Reason.DNS_TEMPERROR
    if found.over_limit:
        return Reason.TOO_MANY_QUERIES
    if found.result is not SpfResult.PASS:
        return Reason.SPF_NOT_PASS
    return Reason.SPF_TOO_WIDE if found.too_wide else None
