"""Responses of name servers: read from their bytes, and what they say to a question."""

from __future__ import annotations

import struct
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Reply:
    """What the servers said, and for how many seconds it holds. `nobody`: no server is running at all."""

    answer: DnsAnswer
    ttl: float = 0
    nobody: bool = False


def parse(data: bytes) -> dns.message.Message | None:
    if len(data) >= HEADER.size and sum(HEADER.unpack_from(data)[3:]) > _MOST_RECORDS:
        return None
    try:
        return dns.message.from_wire(data, raise_on_truncation=True)
    except dns.message.Truncated as truncated:  # cut anywhere: its header and question are enough
        return cast(dns.message.Message, truncated.kwargs["message"])
    except (dns.exception.DNSException, ValueError):
        return None


def reply_of(response: dns.message.Message, query: dns.message.QueryMessage) -> Reply | None:
    """What a response says, CNAMEs followed; None where the server failed, or what it says cannot be."""
    if response.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return None
    if not isinstance(response, dns.message.QueryMessage):
        return None
    try:
        chain = response.resolve_chaining()
    except dns.exception.DNSException:  # a loop of CNAMEs, an answer for a name that is not
        return None
    if response.rcode() == dns.rcode.NXDOMAIN:
        found = DnsAnswer(DnsStatus.NO_NAME)
    else:
        found = answer(chain.answer or (), dns.rdatatype.to_text(query.question[0].rdtype))
    # RFC 2308 §5: what is not there is remembered for as long as the SOA says, and without one not at all.
    certain = found.records or any(rrset.rdtype == dns.rdatatype.SOA for rrset in response.authority)
    return Reply(found, chain.minimum_ttl if certain else 0)
