"""DNS: gone, silent, slow, lying."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import Any

import dns.flags
import dns.message
import dns.query
import dns.rcode

from faults import mail
from faults.harm import GoingOn, wait
from faults.site import Site

from harness.dns_server import DnsServer
from harness.lying_dns import Said, silence


def dns_gone(site: Site, going_on: GoingOn) -> None:
    """The resolver is not running: every question is refused at once. Then it is, and says nothing."""
    with site.no_dns():
        wait(1, going_on)
    with site.other_dns(silence, silence):
        wait(3, going_on)


def dns_slow(site: Site, going_on: GoingOn) -> None:
    """A second for each answer."""
    with DnsServer(mail.ZONE) as upstream, site.other_dns(*_from(upstream, lambda _: 1.0)):
        wait(3, going_on)


def dns_lies(site: Site, going_on: GoingOn) -> None:
    """Truncated with nobody behind, a foreign id, garbage, another question, other flags, half an answer, refusals."""
    count = 0

    def udp(query: dns.message.Message) -> Said:
        nonlocal count
        count += 1
        reply = dns.message.make_response(query, recursion_available=True)
        match count % 9:
            case 0:
                reply.flags |= dns.flags.TC
            case 1:
                reply.id ^= 0x5555
            case 2:
                return [os.urandom(60)]
            case 3:
                reply = dns.message.make_response(dns.message.make_query("other.example", "TXT", id=query.id))
            case 4:
                reply.flags &= ~dns.flags.QR
            case 5:
                return [reply.to_wire()[:14]]
            case 6:
                reply.set_rcode(dns.rcode.SERVFAIL)
            case 7:
                reply.set_rcode(dns.rcode.REFUSED)
            case 8:
                return [b"", b"\0" * 12, reply.to_wire()[:2]]
        return [reply.to_wire()]

    with site.other_dns(udp, lambda query: [query.to_wire()[:7]]):
        wait(3, going_on)


def _from(upstream: DnsServer, delay: Callable[[dns.message.Message], float]) -> tuple[Any, Any]:
    """Answers of another server, late."""

    def answer(query: dns.message.Message) -> Said:
        time.sleep(delay(query))
        with contextlib.suppress(Exception):
            return [dns.query.udp(query, "127.0.0.1", port=upstream.port, timeout=2).to_wire()]
        return []

    return answer, answer
