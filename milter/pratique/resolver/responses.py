"""Responses of name servers: read from their bytes, and what they say to a question."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from pratique.model import DnsAnswer, DnsStatus

from .records import answer

_MOST_RECORDS = 256  # in all its sections
_MOST_LABELS = 4000  # of all names, compression undone; 250 TXT records of a long name have 2,500
_LONGEST_NAME = 127  # labels, and pointers (RFC 1035 §2.3.4)
_RECORD = struct.Struct("!HHIH")  # type, class, TTL, length of the data
_NAME_AT = {2: 0, 5: 0, 6: 0, 12: 0, 15: 2, 33: 6, 39: 0}  # in the data of NS, CNAME, SOA, PTR, MX, SRV, DNAME
HEADER = struct.Struct("!6H")  # id, flags, and how many questions, answers, and other records follow
_NO_EDNS = (dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS)  # RFC 6891 §6.1.3, §7


@dataclass(frozen=True, slots=True)
class Reply:
    """What the servers said, and for how many seconds it holds. `nobody`: no server is running at all. Not `certain`:
    the name does not exist, but no SOA record confirms it."""

    answer: DnsAnswer
    ttl: float = 0
    nobody: bool = False
    certain: bool = True


class Failure(Enum):
    """Why a response is no answer."""

    NAME = "the server could not resolve the name"
    SERVER = "the server does not resolve names for this host"
    EDNS = "the server does not accept EDNS"


def parse(data: bytes) -> dns.message.Message | None:
    """A message; None where it cannot be read, or has more records or longer names than any honest answer."""
    if _is_costly(data):
        return None
    try:
        return dns.message.from_wire(data, raise_on_truncation=True)
    except dns.message.Truncated as truncated:  # cut anywhere: its header and question are enough
        return cast(dns.message.Message, truncated.kwargs["message"])
    except (dns.exception.DNSException, ValueError):
        return None


def _is_costly(data: bytes) -> bool:
    """Whether reading a message would take too long.

    perf: dnspython needs 17 microseconds for a label. 255 MX records that point to one name of 120 labels fit into 4 kB
    and took 1.0 s; a forger's SPF record can ask for ten such answers.
    """
    if len(data) < HEADER.size:
        return False
    _, _, questions, *records = HEADER.unpack_from(data)
    if questions > 1 or sum(records) > _MOST_RECORDS:
        return True
    total, at = 0, HEADER.size
    try:
        for _ in range(questions):
            at = _name(data, at)[1] + 4
        for _ in range(sum(records)):
            labels, at = _name(data, at)
            rdtype, _, _, length = _RECORD.unpack_from(data, at)
            at += _RECORD.size
            if rdtype in _NAME_AT:
                labels += 2 * _name(data, at + _NAME_AT[rdtype])[0]  # it is made into canonical form as well
            total, at = total + labels, at + length
            if total > _MOST_LABELS:
                return True
    except (IndexError, struct.error):  # cut or damaged: dnspython stops at the same place
        pass
    return total > _MOST_LABELS


def _name(data: bytes, at: int) -> tuple[int, int]:
    """How many labels a name has, and where what follows it begins."""
    labels = pointers = end = 0
    while length := data[at]:
        if length < 0xC0:
            labels, at = labels + 1, at + 1 + length
        else:
            end = end or at + 2
            pointers, at = pointers + 1, (length & 0x3F) << 8 | data[at + 1]
        if labels > _LONGEST_NAME or pointers > _LONGEST_NAME:
            return _MOST_LABELS + 1, end or at
    return labels, end or at + 1


def refuses_edns(data: bytes) -> bool:
    """Whether this response says no to EDNS. Old servers send a header whose counts do not fit what follows."""
    return len(data) >= HEADER.size and HEADER.unpack_from(data)[1] & 0xF in _NO_EDNS


def reply_of(response: dns.message.Message, query: dns.message.QueryMessage) -> Reply | Failure:
    """What a response says, CNAMEs followed.

    That there is nothing must be said, not concluded from silence. RFC 2308 §2.2: a response without records says so
    by the SOA record of the zone. With NS records instead it is a referral, of a server that does not recurse. With a
    CNAME chain that ends nowhere, or with nothing at all, the server has not found out.
    """
    match response.rcode():
        case dns.rcode.NOERROR | dns.rcode.NXDOMAIN:
            pass
        case dns.rcode.FORMERR | dns.rcode.NOTIMP | dns.rcode.BADVERS if query.edns >= 0:
            return Failure.EDNS
        case dns.rcode.SERVFAIL:
            return Failure.NAME
        case _:
            return Failure.SERVER
    if not isinstance(response, dns.message.QueryMessage):
        return Failure.SERVER
    try:
        chain = response.resolve_chaining()
    except dns.exception.DNSException:  # a loop of CNAMEs, an answer for a name that does not exist
        return Failure.NAME
    if chain.answer:
        return Reply(answer(chain.answer, dns.rdatatype.to_text(query.question[0].rdtype)), chain.minimum_ttl)
    zones = [rrset.name for rrset in response.authority if rrset.rdtype == dns.rdatatype.SOA]
    certain = any(chain.canonical_name.is_subdomain(zone) for zone in zones)
    if response.rcode() == dns.rcode.NXDOMAIN:
        return Reply(DnsAnswer(DnsStatus.NO_NAME), chain.minimum_ttl if certain else 0, certain=certain)
    return Reply(DnsAnswer(DnsStatus.NO_DATA), chain.minimum_ttl) if certain else Failure.SERVER
