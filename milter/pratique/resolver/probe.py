"""One question to one server, looked at closely: for people, never for mail.

The service wants an answer, from whichever server; `pratique doctor` wants to know how it came: whether the server
speaks at all, whether it takes EDNS, how large an answer is, and whether TCP works where UDP is too small for it.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from dataclasses import dataclass, replace

import dns.exception
import dns.flags
import dns.inet
import dns.message
import dns.name
import dns.rcode

from .exchange import take
from .records import absolute

_PAYLOAD = 1232  # octets over UDP, as the service asks for (EDNS, RFC 6891)
_AGAIN = 1.0  # seconds until a question over UDP is asked again: a datagram may be lost
_LARGEST = 65_535


@dataclass(frozen=True, slots=True)
class Measured:
    """How an answer came. `octets` is its whole size: over TCP where it was truncated over UDP, 0 where none came."""

    octets: int = 0
    rcode: str = ""  # NOERROR, NXDOMAIN, SERVFAIL, REFUSED, …; empty: no answer
    truncated: bool = False
    tcp: bool = True  # whether a truncated answer came over TCP
    without_edns: str = ""  # the code with which EDNS was refused, where it came without


def measure(server: tuple[str, int], name: str, rdtype: str, seconds: float) -> Measured:
    """Ask one server. Never raises."""
    asked = dns.name.root if name == "." else absolute(name)
    if asked is None:
        return Measured()
    query = dns.message.make_query(asked, rdtype, use_edns=0, payload=_PAYLOAD)
    found = _measure(server, query, seconds)
    if found.rcode in ("FORMERR", "NOTIMP", "BADVERS"):
        plain = _measure(server, dns.message.make_query(asked, rdtype), seconds)
        return replace(plain, without_edns=found.rcode)
    return found


def _measure(server: tuple[str, int], query: dns.message.QueryMessage, seconds: float) -> Measured:
    deadline = time.monotonic() + seconds
    over_udp = b""
    with contextlib.suppress(OSError):
        over_udp = _over_udp(server, query, deadline)
    response = _parsed(over_udp)
    if response is None:
        return Measured()
    found = Measured(len(over_udp), dns.rcode.to_text(response.rcode()))
    if not response.flags & dns.flags.TC:
        return found
    over_tcp = b""
    with contextlib.suppress(OSError):
        over_tcp = _over_tcp(server, query.to_wire(), deadline)
    whole = _parsed(over_tcp)
    if whole is None or not query.is_response(whole):
        return replace(found, truncated=True, tcp=False)
    return Measured(len(over_tcp), dns.rcode.to_text(whole.rcode()), truncated=True)


def _over_udp(server: tuple[str, int], query: dns.message.QueryMessage, deadline: float) -> bytes:
    """The first datagram that answers the question. Raises OSError where none comes, or no server is there."""
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as connection:
        connection.connect(dns.inet.low_level_address_tuple(server))
        while (left := deadline - time.monotonic()) > 0:
            connection.send(query.to_wire())
            again = time.monotonic() + min(left, _AGAIN)
            with contextlib.suppress(TimeoutError):
                while (left := again - time.monotonic()) > 0:
                    connection.settimeout(left)
                    data = connection.recv(_LARGEST)
                    response = _parsed(data)
                    if response is not None and query.is_response(response):
                        return data
    raise TimeoutError


def _over_tcp(server: tuple[str, int], wire: bytes, deadline: float) -> bytes:
    """The answer, however slowly it comes. Raises OSError where it is not whole in time."""
    with socket.create_connection(server, max(deadline - time.monotonic(), 0.001)) as connection:
        connection.sendall(struct.pack("!H", len(wire)) + wire)
        length = int.from_bytes(take(connection, 2, deadline, time.monotonic), "big")
        return take(connection, length, deadline, time.monotonic)


def _parsed(data: bytes) -> dns.message.Message | None:
    try:
        return dns.message.from_wire(data, continue_on_error=True)
    except (dns.exception.DNSException, ValueError):
        return None
