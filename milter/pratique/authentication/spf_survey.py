"""An SPF record as a whole: whom it lets send, through which other records, and what it costs (RFC 7208 §4.6.4).

For people: the service never imports this. pyspf reads the terms and evaluates; here they are only walked,
every one of them, where an evaluation ends at the first that matches.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import spf

from pratique.model import Address, Entry, IPAddress, IPNetwork, Lookup, Session, SpfEvidence, SpfResult

from . import spf_check
from .spf_check import Query

MOST_LOOKUPS, MOST_VOID_LOOKUPS = spf.MAX_LOOKUP, spf.MAX_VOID_LOOKUPS
_WALKED = 4 * MOST_LOOKUPS  # look-ups after which a walk ends: a record may include itself
_TRIED = 8  # networks of a record that are tried with the service's own check
_SHOWN = 200  # characters of a term or a text
_Mechanism = tuple[str, str, str, int, str]  # pyspf's: as written, kind, domain or address, prefix length, result
_SIGNS = {"pass": "+", "fail": "-", "softfail": "~", "neutral": "?"}

# Nobody sends from these (RFC 5737, RFC 3849): what lets them pass lets pass anybody.
UNRELATED: tuple[IPAddress, ...] = tuple(
    map(ipaddress.ip_address, ("192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1"))
)


@dataclass(frozen=True, slots=True)
class SpfRecord:
    """One record of the tree. `by` is the term that led to it, `passes` whether what it lets pass passes above."""

    domain: str
    by: str
    depth: int
    passes: bool
    text: str | None  # None: there is no record


@dataclass(frozen=True, slots=True)
class SpfSurvey:
    """What stands in DNS for MAIL FROM of a domain.

    `result` is `none`, `temperror`, `permerror`, or `pass` where the record can be evaluated; `problem` says why not.
    """

    domain: str
    result: SpfResult
    problem: str = ""
    records: tuple[SpfRecord, ...] = ()
    lookups: tuple[str, ...] = ()  # the terms that cost one, as written
    voids: tuple[str, ...] = ()  # names asked for in vain; of the client family with more of them
    networks: tuple[IPNetwork, ...] = ()  # that may send, merged
    widest: tuple[tuple[str, IPNetwork], ...] = ()  # (domain of the record, network) as written
    dynamic: tuple[str, ...] = ()  # terms whose answer depends on the client: exists, ptr, macros
    ending: str = ""  # how the record treats all others: `-all`, `~all`, …; "" where it says nothing
    open_records: tuple[str, ...] = ()  # domains of records that let all pass
    probes: tuple[tuple[IPAddress, SpfEvidence], ...] = ()
    refused: str = ""  # what the service says of hosts that the record names, where it lets none of them pass

    @property
    def lets_someone_pass(self) -> bool:
        """Whether some host could pass in a way that counts."""
        if self.refused:
            return False
        counting = any(_counts(network) for _, network in self.widest)
        return self.result is SpfResult.PASS and (counting or bool(self.dynamic))

    @property
    def strangers(self) -> list[tuple[IPAddress, SpfEvidence]]:
        """The unrelated addresses that pass."""
        return [(client, found) for client, found in self.probes if found.result is SpfResult.PASS]


def survey(domain: str, entry: Entry, lookup: Lookup) -> SpfSurvey:
    """The record of a domain for MAIL FROM, walked and then tried with unrelated addresses by the service's check."""
    sender = Address(entry.addresses[0][0].replace("*", "x") or "postmaster", domain)
    walk = _Walk(sender, lookup)
    try:
        walk.record(domain)
    except spf.TempError as problem:
        return walk.result(domain, SpfResult.TEMPERROR, _text(problem))
    except spf.PermError as problem:
        return walk.result(domain, SpfResult.PERMERROR, _text(problem))
    if walk.records[0].text is None:
        return walk.result(domain, SpfResult.NONE)
    probes = []
    for client in UNRELATED:
        session = Session(client, domain, str(sender))
        found = spf_check.check(session, entry, sender, lookup)
        if found.result in (SpfResult.PERMERROR, SpfResult.TEMPERROR):
            why = _text(Query(lookup, client, str(sender), domain).check()[2])
            return walk.result(domain, found.result, f"{why} (for a client {_family(client)})")
        probes.append((client, found))
    whole = walk.result(domain, SpfResult.PASS, probes=tuple(probes))
    return replace(whole, refused=_refused(whole, entry, sender, lookup))


def _refused(survey: SpfSurvey, entry: Entry, sender: Address, lookup: Lookup) -> str:
    """Try hosts that the record names with the service's own check: the walk and the check must not disagree."""
    said = ""
    for _, network in [pair for pair in survey.widest[::-1] if _counts(pair[1])][:_TRIED]:
        for client in dict.fromkeys((network[0], network[-1])):
            found = spf_check.check(Session(client, survey.domain, str(sender)), entry, sender, lookup)
            if found.counts or found.result is SpfResult.TEMPERROR:
                return ""
            said = said or f"{found.result} for {client}" + (f" ({found.reason})" if found.reason else "")
    return said


def _counts(network: IPNetwork) -> bool:
    """Whether a pass by a network counts: it is not too wide."""
    widest = spf_check.WIDEST_IPV4 if isinstance(network, ipaddress.IPv4Network) else spf_check.WIDEST_IPV6
    return network.prefixlen >= widest


def _text(problem: object) -> str:
    text = str(problem)
    for prefix in ("SPF Permanent Error: ", "SPF Temporary Error: "):
        text = text.removeprefix(prefix)
    return " ".join(text.split())[:_SHOWN]


def _family(client: IPAddress) -> str:
    return f"with an IPv{client.version} address"


@dataclass
class _Walk:
    """All terms of a record and of those it includes, for clients of both families."""

    sender: Address
    lookup: Lookup
    records: list[SpfRecord] = field(default_factory=list)
    lookups: list[str] = field(default_factory=list)
    networks: list[tuple[str, IPNetwork]] = field(default_factory=list)
    dynamic: list[str] = field(default_factory=list)
    ending: str = ""
    open_records: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        name = str(self.sender)
        self._families = [_Asking(self.lookup, client, name, self.sender.domain) for client in UNRELATED[2:]]

    def result(
        self, domain: str, result: SpfResult, problem: str = "", probes: tuple[tuple[IPAddress, SpfEvidence], ...] = ()
    ) -> SpfSurvey:
        four, six = (tuple(query.voids) for query in self._families)
        return SpfSurvey(
            domain, result, problem, tuple(self.records), tuple(self.lookups), six if len(six) > len(four) else four,
            tuple(_merged(network for _, network in self.networks)),
            tuple(sorted(self.networks, key=lambda pair: pair[1].prefixlen)),
            tuple(self.dynamic), self.ending, tuple(self.open_records), probes,
        )  # fmt: skip

    def record(self, domain: str, by: str = "", depth: int = 0, *, passes: bool = True, outermost: bool = True) -> bool:
        """Walk the record of a domain; False where there is none. Raises what pyspf raises."""
        text = self._families[0].dns_spf(domain)
        self._families[1].dns_spf(domain)  # for its count of void look-ups
        self.records.append(SpfRecord(domain, by, depth, passes, text))
        terms = [term for term in (text or "").split(" ")[1:] if term]
        redirect = None
        for query in self._families:
            query.d = domain
        mechanisms = []
        for term in terms:
            modifier = spf.RE_MODIFIER.split(term)[1:]
            if len(modifier) != 2:
                mechanisms.append([query.validate_mechanism(term) for query in self._families])
            elif modifier[0].lower() == "redirect":
                redirect = term, self._families[0].expand_domain(modifier[1])
        for four, six in mechanisms:
            term, kind, name, _, result = four
            counts = passes and result == "pass"
            if kind == "all":
                self.ending = _SIGNS[result] + "all" if outermost else self.ending
                self.open_records += [domain] * counts
                return True
            if kind not in ("ip4", "ip6"):
                self._costs_one(term)
            if counts and (kind in ("exists", "ptr") or "%{" in term):
                self.dynamic.append(term[:_SHOWN])
            if kind == "include":
                if not self.record(name, term, depth + 1, passes=counts, outermost=False):
                    raise spf.PermError("No valid SPF record for included domain", name)
                for query in self._families:
                    query.d = domain
            elif kind in ("a", "mx", "ip4", "ip6"):
                found = list(self._addresses(four, six))
                self.networks += [(domain, network) for network in found if counts]
        if redirect:
            self._costs_one(redirect[0])
            if not self.record(redirect[1], redirect[0], depth + 1, passes=passes, outermost=outermost):
                raise spf.PermError("redirect domain has no SPF record", redirect[1])
        return text is not None

    def _costs_one(self, term: str) -> None:
        self.lookups.append(term[:_SHOWN])
        if len(self.lookups) >= _WALKED:
            raise spf.PermError("Too many DNS lookups")

    def _addresses(self, four: _Mechanism, six: _Mechanism) -> Iterator[IPNetwork]:
        _, kind, name, _, _ = four
        if kind in ("a", "mx"):
            for query, (*_, prefix, _) in zip(self._families, (four, six), strict=True):
                found = query.dns_a(name, query.A) if kind == "a" else query.dns_mx(name)
                yield from (ipaddress.ip_network(f"{address}/{prefix}", strict=False) for address in found)
        else:
            yield ipaddress.ip_network(f"{name}/{(four if kind == 'ip4' else six)[3]}", strict=False)


class _Asking(Query):
    """pyspf's look-ups, which notes the void ones instead of ending over them."""

    def __init__(self, lookup: Lookup, client: IPAddress, sender: str, helo: str):
        super().__init__(lookup, client, sender, helo)
        self.voids: list[str] = []

    def dns(self, name: object, qtype: str, cnames: object = None, ignore_void: bool = False) -> list[object]:
        self.void_lookups = 0
        found: list[object] = super().dns(name, qtype, cnames, ignore_void)
        if self.void_lookups:
            self.voids.append(f"{qtype} {name}"[:_SHOWN])
        return found


def _merged(networks: Iterable[IPNetwork]) -> Iterator[IPNetwork]:
    every = list(networks)
    yield from ipaddress.collapse_addresses(n for n in every if isinstance(n, ipaddress.IPv4Network))
    yield from ipaddress.collapse_addresses(n for n in every if isinstance(n, ipaddress.IPv6Network))
