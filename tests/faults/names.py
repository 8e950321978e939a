"""DNS: gone, silent, slow, lying."""

from __future__ import annotations

import contextlib
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
    judged = " dns="
    with site.no_dns():
        before = site.service.log().count(judged)
        wait(1, going_on)
        site.fired["judged while no server was there"] += site.service.log().count(judged) - before
    with site.other_dns(silence, silence) as silent:
        wait(3, going_on)
        site.fired["query to a silent server"] += len(silent.asked)


def dns_slow(site: Site, going_on: GoingOn) -> None:
    """A second for each answer."""
    with DnsServer(mail.ZONE) as upstream, site.other_dns(*_from(upstream, lambda _: 1.0)) as slow:
        wait(3, going_on)
        site.fired["query to a slow server"] += len(slow.asked)


LIES = ("truncated, nobody over TCP", "foreign id", "garbage", "another question", "no reply", "half an answer",
        "SERVFAIL", "REFUSED", "too short")  # fmt: skip


def dns_lies(site: Site, going_on: GoingOn) -> None:
    """Truncated with nobody behind, a foreign id, garbage, another question, other flags, half an answer, refusals."""

    def udp(query: dns.message.Message) -> Said:
        lie = min(LIES, key=lambda lie: (site.fired[lie], site.random.random()))
        site.fired[lie] += 1
        reply = dns.message.make_response(query, recursion_available=True)
        match lie:
            case "truncated, nobody over TCP":
                reply.flags |= dns.flags.TC
            case "foreign id":
                reply.id ^= 0x5555
            case "garbage":
                return [site.random.randbytes(60)]
            case "another question":
                reply = dns.message.make_response(dns.message.make_query("other.example", "TXT", id=query.id))
            case "no reply":
                reply.flags &= ~dns.flags.QR
            case "half an answer":
                return [reply.to_wire()[:14]]
            case "SERVFAIL":
                reply.set_rcode(dns.rcode.SERVFAIL)
            case "REFUSED":
                reply.set_rcode(dns.rcode.REFUSED)
            case "too short":
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
