"""DNS from a master file, for `pratique explain --zone` and for tests."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import dns.exception
import dns.name
import dns.node
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer
import dns.transaction
import dns.zonefile

from pratique.model import DnsAnswer, DnsStatus, Question
from pratique.rights import refusal

from .lookups import DnsConfigError
from .records import absolute, answer

_LONGEST_CNAME_CHAIN = 10
_DEFAULT_TTL = 300  # RFC 1035 §5.1 wants a TTL somewhere; a file for `explain` need not have one
_RECORD = "NAME [TTL] [IN] TYPE DATA"
_EMPTY = dns.node.Node()  # type: ignore[no-untyped-call]
_OWNER = re.compile(r"^(\S+)[ \t]+(?:(?:\d+[smhdw]?|IN)[ \t]+)*SOA\b", re.IGNORECASE | re.MULTILINE)
_ORIGIN = re.compile(r"^\$ORIGIN\b", re.IGNORECASE | re.MULTILINE)
_APEX = re.compile(r"^@[ \t]", re.MULTILINE)


class ZoneResolver:
    """Answers from an RFC 1035 master file.

    Relative names are below `$ORIGIN`. Without it they are below the owner of the SOA, if that is an absolute name;
    a file without both is a list of whole names, relative to the root.

    Two comments make DNS fail, for trying what happens then: `;timeout NAME` and `;servfail NAME`, each for
    the name and all below it.
    """

    def __init__(self, text: str, file: str = "zone"):
        self._failing = [
            (dns.name.from_text(name), DnsStatus.TIMEOUT if kind == "timeout" else DnsStatus.SERVFAIL)
            for kind, name in re.findall(r"^;(timeout|servfail)[ \t]+(\S+)[ \t]*$", text, re.MULTILINE)
        ]
        self._nodes = _nodes(text, file)

    @classmethod
    def from_file(cls, path: Path) -> ZoneResolver:
        try:
            octets = path.read_bytes()
        except OSError as problem:
            raise DnsConfigError(f"{path}: cannot read the zone file: {refusal(problem, path)}") from None
        try:
            return cls(octets.decode("utf-8-sig"), str(path))
        except UnicodeDecodeError:  # a comment in Latin-1 is no reason to refuse a zone
            return cls(octets.decode("latin-1"), str(path))

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
        if (node := self._nodes.get(name)) is not None:
            return node
        above = name
        while above != dns.name.root:
            if any(n != above and n.is_subdomain(above) for n in self._nodes):
                return _EMPTY if above == name else self._nodes.get(dns.name.from_text("*", above))
            above = above.parent()
        return self._nodes.get(dns.name.from_text("*"))


def _nodes(text: str, file: str) -> dict[dns.name.Name, dns.node.Node]:
    """All names of a master file. Raises DnsConfigError with file, line and reason."""
    tokenizer = dns.tokenizer.Tokenizer(text, file)
    records = _Records(_apexes(text))
    reader = dns.zonefile.Reader(
        tokenizer, dns.rdataclass.IN, cast(dns.transaction.Transaction, records), default_ttl=_DEFAULT_TTL
    )
    records.reader = reader
    reader.current_origin = reader.last_name = _origin(text, file)
    try:
        reader.read()
    except (dns.exception.DNSException, ValueError) as problem:
        raise DnsConfigError(f"{file}:{_line(tokenizer, text)}: {_plainly(str(problem))}") from None
    return records.nodes


def _line(tokenizer: dns.tokenizer.Tokenizer, text: str) -> int:
    """The line in which reading stopped. The tokenizer's own count is one too high where that is the line's end."""
    read = tokenizer.file.tell() - bool(tokenizer.ungotten_char)
    return text.count("\n", 0, max(read - 1, 0)) + 1


def _plainly(text: str) -> str:
    """dnspython's text in words of a zone file."""
    text = re.sub(r"^.*?:\d+: ", "", text, flags=re.DOTALL)  # its own file and line
    text = re.sub(r"caught exception <class '[\w.]+'>: ", "", text)
    text = re.sub(r"unknown rdatatype '(.*)'", rf"'\1' is no record type ({_RECORD})", text)
    text = text.replace("Text input is malformed.", f"this is no record ({_RECORD})")
    return text.replace("zone file directive '$INCLUDE' is not allowed", "$INCLUDE: put the records into this file")


def _origin(text: str, file: str) -> dns.name.Name:
    """The first origin of relative names. Raises DnsConfigError where `@` stands for a name that nothing tells."""
    at = _APEX.search(text)
    origin = _ORIGIN.search(text)
    if not at or (origin and origin.start() < at.start()) or _apexes(text):
        return dns.name.root
    named = absolute(re.sub(r"^db\.|\.(zone|db|hosts|txt)$", "", Path(file).name))
    if named is None or len(named) < 3:  # two labels and the root
        line = text.count("\n", 0, at.start()) + 1
        raise DnsConfigError(f"{file}:{line}: nothing says which zone `@` is: write `$ORIGIN example.org.` above it")
    return named


def _apexes(text: str) -> frozenset[dns.name.Name]:
    """The owners of SOA records where they give the origin: absolute names before any `$ORIGIN`."""
    explicit = _ORIGIN.search(text)
    found = set()
    for match in _OWNER.finditer(text, 0, explicit.start() if explicit else len(text)):
        with contextlib.suppress(dns.exception.DNSException, UnicodeError):
            name = dns.name.from_text(match[1], None)
            if name.is_absolute() and name != dns.name.root:
                found.add(name)
    return frozenset(found)


class _Records:
    """Collects the records for dnspython's reader, which wants a transaction of one zone: a file may have several."""

    def __init__(self, apexes: frozenset[dns.name.Name]):
        self.nodes: dict[dns.name.Name, dns.node.Node] = {}
        self.reader: dns.zonefile.Reader | None = None
        self.manager = self
        self._apexes = apexes

    def origin_information(self) -> tuple[dns.name.Name, bool, dns.name.Name]:
        return dns.name.root, False, dns.name.root

    def add(self, name: dns.name.Name, ttl: int, record: dns.rdata.Rdata) -> None:
        node = self.nodes.setdefault(name, dns.node.Node())  # type: ignore[no-untyped-call]
        kinds = {node.classify(), dns.node.NodeKind.classify(record.rdtype, record.covers())}
        if kinds >= {dns.node.NodeKind.CNAME, dns.node.NodeKind.REGULAR}:
            raise ValueError(f"{name} has a CNAME and other records (RFC 1034 §3.6.2)")
        node.find_rdataset(record.rdclass, record.rdtype, record.covers(), create=True).add(record, ttl)
        if record.rdtype == dns.rdatatype.SOA and name in self._apexes and self.reader:
            self.reader.current_origin = name

    def check_put_rdataset(self, check: object) -> None:
        """The reader's own check, which needs a whole zone: `add` has it."""

    def _set_origin(self, origin: dns.name.Name) -> None:
        """The reader keeps it."""

    def add_unicode(self, standard: str) -> None:
        """The reader keeps it."""
