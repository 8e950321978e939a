"""DNS: one small resolver with a deadline for all look-ups of a message, and one that reads a zone file.

Rules of this module: the only one that imports dnspython. A look-up never raises; it says what DNS said.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import dns.exception
import dns.name
import dns.nameserver
import dns.node
import dns.rdataclass
import dns.rdatatype
import dns.resolver
import dns.zone

from .model import DnsAnswer, DnsSettings, DnsState, DnsStatus

_LONGEST_CNAME_CHAIN = 10
_CACHED_NAMES = 10_000
_EMPTY = dns.zone.Zone(dns.name.root).find_node(dns.name.root, create=True)


class DnsConfigError(ValueError):
    """No name servers to ask, or a zone file that cannot be read; the text says what."""


class Resolver(Protocol):
    """Answers one question within `seconds`."""

    def ask(self, name: str, rdtype: str, seconds: float) -> DnsAnswer: ...


class Lookups:
    """All look-ups of one message: one answer a question, one deadline for all of them."""

    def __init__(self, resolver: Resolver, timeout: float, clock: Callable[[], float] = time.monotonic):
        self._resolver = resolver
        self._clock = clock
        self._deadline = clock() + timeout
        self._answers: dict[tuple[str, str], DnsAnswer] = {}

    def __call__(self, name: str, rdtype: str) -> DnsAnswer:
        question = (name.lower().rstrip("."), rdtype)
        if question not in self._answers:
            left = self._deadline - self._clock()
            self._answers[question] = self._resolver.ask(*question, left) if left > 0 else DnsAnswer(DnsStatus.TIMEOUT)
        return self._answers[question]

    @property
    def state(self) -> DnsState:
        return DnsState.TEMPERROR if any(a.failed for a in self._answers.values()) else DnsState.OK


class NetworkResolver:
    """Asks name servers, and keeps answers as long as their TTL says."""

    def __init__(self, settings: DnsSettings):
        try:
            self._resolver = dns.resolver.Resolver(configure=not settings.servers)
        except dns.resolver.NoResolverConfiguration as problem:
            raise DnsConfigError(f"no name servers: {problem}") from None
        if settings.servers:
            self._resolver.nameservers = [
                dns.nameserver.Do53Nameserver(address, port) for address, port in settings.servers
            ]
        self._resolver.search = []
        self._resolver.use_edns(0, 0, 1232)
        if settings.cache:
            self._resolver.cache = dns.resolver.LRUCache(_CACHED_NAMES)

    def ask(self, name: str, rdtype: str, seconds: float) -> DnsAnswer:
        try:
            answer = self._resolver.resolve(
                _absolute(name), rdtype, lifetime=seconds, raise_on_no_answer=False, search=False
            )
        except dns.resolver.NXDOMAIN:
            return DnsAnswer(DnsStatus.NO_NAME)
        except dns.exception.Timeout:
            return DnsAnswer(DnsStatus.TIMEOUT)
        except (dns.resolver.NoNameservers, OSError):
            return DnsAnswer(DnsStatus.SERVFAIL)
        except (dns.exception.DNSException, UnicodeError):  # a name that is none: too long, an empty label
            return DnsAnswer(DnsStatus.NO_NAME)
        return _answer(list(answer.rrset or ()), rdtype)


class ZoneResolver:
    """Answers from an RFC 1035 master file, whose names are relative to the root.

    Two comments make DNS fail, for trying what happens then: `;timeout NAME` and `;servfail NAME`, each for
    the name and all below it.
    """

    def __init__(self, text: str):
        self._failing = [
            (dns.name.from_text(name), DnsStatus.TIMEOUT if kind == "timeout" else DnsStatus.SERVFAIL)
            for kind, name in re.findall(r"^;(timeout|servfail)[ \t]+(\S+)[ \t]*$", text, re.MULTILINE)
        ]
        try:
            self._zone = _zone(text)
        except (dns.exception.DNSException, ValueError) as problem:
            raise DnsConfigError(str(problem).replace("<string>:", "line ")) from None

    @classmethod
    def from_file(cls, path: Path) -> ZoneResolver:
        try:
            return cls(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeError, DnsConfigError) as problem:
            raise DnsConfigError(f"{path}: {getattr(problem, 'strerror', None) or problem}") from None

    def ask(self, name: str, rdtype: str, seconds: float) -> DnsAnswer:  # noqa: ARG002
        try:
            here = _absolute(name)
        except (dns.exception.DNSException, UnicodeError):
            return DnsAnswer(DnsStatus.NO_NAME)
        for _ in range(_LONGEST_CNAME_CHAIN):
            failure = next((status for above, status in self._failing if here.is_subdomain(above)), None)
            if failure:
                return DnsAnswer(failure)
            node = self._node(here)
            if node is None:
                return DnsAnswer(DnsStatus.NO_NAME)
            rdataset = node.get_rdataset(dns.rdataclass.IN, dns.rdatatype.from_text(rdtype))
            if rdataset:
                return _answer(list(rdataset), rdtype)
            alias = node.get_rdataset(dns.rdataclass.IN, dns.rdatatype.CNAME)
            if not alias:
                return DnsAnswer(DnsStatus.NO_DATA)
            here = alias[0].target
        return DnsAnswer(DnsStatus.SERVFAIL)

    def _node(self, name: dns.name.Name) -> dns.node.Node | None:
        """The node of a name; an empty one where only names below it exist; a wildcard's (RFC 4592)."""
        if (node := self._zone.get_node(name)) is not None:
            return node
        above = name
        while above != dns.name.root:
            if any(n != above and n.is_subdomain(above) for n in self._zone.nodes):
                return _EMPTY if above == name else self._zone.get_node(dns.name.from_text("*", above))
            above = above.parent()
        return self._zone.get_node(dns.name.from_text("*"))


def _zone(text: str) -> dns.zone.Zone:
    """A master file's zone; records without a TTL are taken too, though RFC 1035 wants one somewhere."""
    try:
        return dns.zone.from_text(text, origin=".", relativize=False, check_origin=False)
    except dns.exception.SyntaxError:
        try:
            return dns.zone.from_text(f"$TTL 300\n{text}", origin=".", relativize=False, check_origin=False)
        except dns.exception.SyntaxError:
            pass
        raise  # the first error: its line numbers are the file's


def _absolute(name: str) -> dns.name.Name:
    """A name label by label, so that no backslash in it is an escape, and nothing is mapped to ASCII."""
    return dns.name.Name([*(label.encode("ascii") for label in name.split(".")), b""])


def _answer(records: list[Any], rdtype: str) -> DnsAnswer:
    if not records:
        return DnsAnswer(DnsStatus.NO_DATA)
    return DnsAnswer(DnsStatus.ANSWER, tuple(_plain(r, rdtype) for r in records))


def _plain(record: Any, rdtype: str) -> str | bytes | tuple[int, str]:
    match rdtype:
        case "TXT":
            return b"".join(record.strings)
        case "MX":
            return (record.preference, record.exchange.to_text(omit_final_dot=True))
        case "PTR":
            return str(record.target.to_text(omit_final_dot=True))
        case _:
            return str(record.address)
