"""DNS: gone, silent, slow, lying."""

from __future__ import annotations

import contextlib
import time

import dns.flags
import dns.message
import dns.query
import dns.rcode

from faults import mail
from faults.harm import GoingOn, wait
from faults.site import Site

from harness.dns_server import DnsServer
from harness.lying_dns import Behaviour, LyingDns, Said, made, reply, silence


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
    with DnsServer(mail.ZONE) as upstream:
        answer = _late(from_upstream(upstream), 1.0)
        with site.other_dns(answer, answer) as slow:
            wait(3, going_on)
            site.fired["query to a slow server"] += len(slow.asked)


LIES = ("truncated, nobody over TCP", "foreign id", "garbage", "another question", "no reply", "half an answer",
        "SERVFAIL", "REFUSED", "too short")  # fmt: skip


def dns_lies(site: Site, going_on: GoingOn) -> None:
    """Truncated with nobody behind, a foreign id, garbage, another question, other flags, half an answer, refusals."""

    def udp(query: dns.message.Message) -> Said:
        lie = min(LIES, key=lambda lie: (site.fired[lie], site.random.random()))
        site.fired[lie] += 1
        said = dns.message.make_response(query, recursion_available=True)
        match lie:
            case "truncated, nobody over TCP":
                said.flags |= dns.flags.TC
            case "foreign id":
                said.id ^= 0x5555
            case "garbage":
                return [site.random.randbytes(60)]
            case "another question":
                said = dns.message.make_response(dns.message.make_query("other.example", "TXT", id=query.id))
            case "no reply":
                said.flags &= ~dns.flags.QR
            case "half an answer":
                return [said.to_wire()[:14]]
            case "SERVFAIL":
                said.set_rcode(dns.rcode.SERVFAIL)
            case "REFUSED":
                said.set_rcode(dns.rcode.REFUSED)
            case "too short":
                return [b"", b"\0" * 12, said.to_wire()[:2]]
        return [said.to_wire()]

    with site.other_dns(udp, lambda query: [query.to_wire()[:7]]):
        wait(3, going_on)


NO_ANSWERS = ("referral", "CNAME without its end", "nothing, and no SOA")


def no_answer(site: Site, going_on: GoingOn) -> None:
    """The only server says NOERROR and gives no answer."""
    with site.other_dns(*_without_answer(site)):
        wait(3, going_on)


def no_answer_from_the_first(site: Site, going_on: GoingOn) -> None:
    """The first of two servers says NOERROR and gives no answer; the second one is good."""
    assert site.first_dns
    site.first_dns.udp, site.first_dns.tcp = _without_answer(site)
    wait(3, going_on)


def start_first(site: Site) -> None:
    """A good server before the good one: while it answers nothing wrong, it is asked."""
    answer = from_upstream(site.dns)
    site.first_dns = LyingDns(answer, answer)
    site.first_dns.port = site.second_port
    site.first_dns.__enter__()


def end_first(site: Site) -> None:
    assert site.first_dns
    site.first_dns.__exit__(None, None, None)


def _without_answer(site: Site) -> tuple[Behaviour, Behaviour]:
    def answer(query: dns.message.Message) -> Said:
        name = query.question[0].name
        what = min(NO_ANSWERS, key=lambda what: (site.fired[what], site.random.random()))
        site.fired[what] += 1
        match what:
            case "referral":
                message = made(query, authority=("example. 300 IN NS ns.example.",))
                message.flags &= ~dns.flags.RA
                return [message.to_wire()]
            case "CNAME without its end":
                return [reply(query, f"{name} 300 IN CNAME end.{name}")]
        return [reply(query)]

    return answer, answer


_WITHOUT_EDNS = ("FORMERR", "NOTIMP", "BADVERS")


def edns_refused(site: Site, going_on: GoingOn) -> None:
    """A server refuses every query with EDNS, and answers the others."""
    with DnsServer(mail.ZONE) as upstream:
        answer = from_upstream(upstream)

        def old(query: dns.message.Message) -> Said:
            if query.edns < 0:
                site.fired["query without EDNS"] += 1
                return answer(query)
            what = site.random.choice(_WITHOUT_EDNS)
            site.fired["query with EDNS refused"] += 1
            if what != "BADVERS":  # a server that knows no EDNS returns none
                plain = dns.message.make_query(query.question[0].name, query.question[0].rdtype, id=query.id)
                return [reply(plain, rcode=what)]
            return [reply(query, rcode=what)]

        with site.other_dns(old, old):
            wait(3, going_on)


def edns_unanswered(site: Site, going_on: GoingOn) -> None:
    """A server, or a firewall before it, passes over every query with EDNS, and answers the others."""
    with DnsServer(mail.ZONE) as upstream:
        answer = from_upstream(upstream)

        def old(query: dns.message.Message) -> Said:
            site.fired["query without EDNS" if query.edns < 0 else "query with EDNS passed over"] += 1
            return answer(query) if query.edns < 0 else []

        with site.other_dns(old, old):
            wait(3, going_on)


def from_upstream(upstream: DnsServer) -> Behaviour:
    """The answers of another server."""

    def answer(query: dns.message.Message) -> Said:
        with contextlib.suppress(Exception):
            return [dns.query.udp(query, "127.0.0.1", port=upstream.port, timeout=2).to_wire()]
        return []

    return answer


def _late(answer: Behaviour, seconds: float) -> Behaviour:
    def late(query: dns.message.Message) -> Said:
        time.sleep(seconds)
        return answer(query)

    return late
