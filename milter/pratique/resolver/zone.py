"""DNS from a master file, for `pratique explain --zone` and for tests."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import dns.exception
import dns.name
import dns.node
import dns.rdataclass
import dns.rdatatype
import dns.zone

from pratique.model import DnsAnswer, DnsStatus, Question

from .lookups import DnsConfigError
from .records import absolute, answer

_LONGEST_CNAME_CHAIN = 10
_EMPTY = dns.zone.Zone(dns.name.root).find_node(dns.name.root, create=True)


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
        here = absolute(name)
        if here is None:
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
                return answer(rdataset, rdtype)
            alias = node.get_rdataset(dns.rdataclass.IN, dns.rdatatype.CNAME)
            if not alias:
                return DnsAnswer(DnsStatus.NO_DATA)
            here = alias[0].target
        return DnsAnswer(DnsStatus.SERVFAIL)

    def keep(self, questions: Iterable[Question]) -> None:
        """A file forgets nothing."""

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
