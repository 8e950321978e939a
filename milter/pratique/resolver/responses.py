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
    """A message; None where it cannot be read, or has more records than any honest answer."""
    if len(data) >= HEADER.size and sum(HEADER.unpack_from(data)[3:]) > _MOST_RECORDS:
        return None
    try:
        return dns.message.from_wire(data, raise_on_truncation=True)
    except dns.message.Truncated as truncated:  # cut anywhere: its header and question are enough
        return cast(dns.message.Message, truncated.kwargs["message"])
    except (dns.exception.DNSException, ValueError):
        return None


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
