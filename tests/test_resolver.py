"""DNS as the service asks it: what is believed, remembered, given on when DNS fails, and how long a message waits."""

from __future__ import annotations

import io
import ipaddress
import itertools
import json
import os
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.query
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pratique import stored
from pratique.cli import explain
from pratique.model import (
    DnsAnswer,
    DnsSettings,
    DnsState,
    DnsStatus,
    Entry,
    Evidence,
    Question,
    Session,
    Settings,
    TrustedList,
    Verdict,
)
from pratique.resolver import Lookups, NetworkResolver, ZoneResolver, network, responses, servers, snapshot
from pratique.resolver.cache import Known, Store
from pratique.resolver.records import absolute
from pratique.resolver.responses import Failure
from pratique.resolver.servers import PATIENCE, Servers

from harness import corpus
from harness.dns_server import DnsServer
from harness.lying_dns import Behaviour, LyingDns, Said, made, reply, silence
from harness.milter_client import MilterClient, Outcome
from harness.ports import free_port, wait_until
from harness.service import PROGRAM, Service
from harness.signing import Sign, key_record, sign

TIMEOUT, SERVFAIL = DnsAnswer(DnsStatus.TIMEOUT), DnsAnswer(DnsStatus.SERVFAIL)
NO_NAME, NO_DATA = DnsAnswer(DnsStatus.NO_NAME), DnsAnswer(DnsStatus.NO_DATA)
SOA = "x.example 900 IN SOA ns.x.example. h.x.example. 1 3600 600 86400"
SLACK = 5.0  # seconds that a busy machine may add: less than any wait that the tests forbid


def text(value: str, ttl: int = 300) -> Behaviour:
    """Answers every question with a TXT record."""
    return lambda query: [reply(query, f'{query.question[0].name} {ttl} IN TXT "{value}"')]


def rcode(name: str, *authority: str) -> Behaviour:
    return lambda query: [reply(query, rcode=name, authority=authority)]


def found(*values: str) -> DnsAnswer:
    return DnsAnswer(DnsStatus.ANSWER, tuple(v.encode() for v in values))


def stale(value: str) -> DnsAnswer:
    return DnsAnswer(DnsStatus.ANSWER, (value.encode(),), stale=True)


class Clock:
    """The monotonic clock, and how far it is put ahead."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


class Site:
    """A resolver that asks lying servers, with a clock that can be put ahead, and what its observer was told."""

    def __init__(self, *servers: LyingDns, memory: Path | None = None, **options: Any) -> None:
        self.clock = Clock()
        self.observed: list[tuple[str, str, bool]] = []
        asked = tuple(server.server for server in servers)
        self.resolver = NetworkResolver(
            DnsSettings(asked, **options),
            lambda rdtype, status, _, stale: self.observed.append((rdtype, status, stale)),
            memory,
            clock=self.clock,
        )

    def ask(self, name: str = "k.x.example", rdtype: str = "TXT", seconds: float = 5) -> DnsAnswer:
        return self.resolver.ask(name, rdtype, seconds)

    def keep(self, name: str = "k.x.example", rdtype: str = "TXT") -> None:
        self.resolver.keep([(name, rdtype)])


@pytest.fixture
def server() -> Iterator[LyingDns]:
    with LyingDns(text("v")) as lying:
        yield lying


# ---- a real server ---------------------------------------------------------------------------------------

LONG = "a" * 250
ZONE = f"""
t.x.example. 300 IN TXT "one" "two"
big.x.example. 300 IN TXT {" ".join(f'"{LONG}"' for _ in range(40))}
mail.x.example. 300 IN A 192.0.2.1
mail.x.example. 300 IN AAAA 2001:db8::1
x.example. 300 IN MX 10 mail.x.example.
alias.x.example. 300 IN CNAME t.x.example.
1.2.0.192.in-addr.arpa. 300 IN PTR mail.x.example.
;servfail broken.x.example.
"""


def test_every_type_by_a_real_server() -> None:
    with DnsServer(ZONE) as unbound:
        resolver = NetworkResolver(DnsSettings((("127.0.0.1", unbound.port),)))
        asked = {
            ("t.x.example", "TXT"): found("onetwo"),
            ("big.x.example", "TXT"): found(LONG * 40),  # over TCP
            ("alias.x.example", "TXT"): found("onetwo"),
            ("mail.x.example", "A"): DnsAnswer(DnsStatus.ANSWER, ("192.0.2.1",)),
            ("mail.x.example", "AAAA"): DnsAnswer(DnsStatus.ANSWER, ("2001:db8::1",)),
            ("x.example", "MX"): DnsAnswer(DnsStatus.ANSWER, ((10, "mail.x.example"),)),
            ("1.2.0.192.in-addr.arpa", "PTR"): DnsAnswer(DnsStatus.ANSWER, ("mail.x.example",)),
            ("mail.x.example", "TXT"): NO_DATA,
            ("nobody.x.example", "A"): NO_NAME,
            ("broken.x.example", "A"): SERVFAIL,
        }
        for _ in range(2):
            assert {question: resolver.ask(*question, 5) for question in asked} == asked
        assert sorted(set(unbound.queries())) == sorted(asked)
        assert len(unbound.queries()) == len(asked) + 1  # the big one twice: over UDP, and over TCP


# ---- whose answer is believed ------------------------------------------------------------------------------


def wrong_id(query: dns.message.Message) -> bytes:
    genuine = reply(query, 'k.x.example 300 IN TXT "forged"')
    return struct.pack("!H", query.id ^ 1) + genuine[2:]


def wrong_question(query: dns.message.Message) -> bytes:
    other = dns.message.make_query("other.x.example", "TXT", id=query.id)
    return reply(other, 'k.x.example 300 IN TXT "forged"')


def another_opcode(query: dns.message.Message) -> bytes:
    response = made(query, 'k.x.example 300 IN TXT "forged"')
    response.set_opcode(dns.opcode.NOTIFY)
    return response.to_wire()


LIES: dict[str, Callable[[dns.message.Message], bytes]] = {
    "garbage": lambda _: b"\xff" * 40,
    "garbage with our id": lambda query: struct.pack("!H", query.id) + b"\x81\x80" + b"\xff" * 40,
    "nothing": lambda _: b"",
    "our own question": lambda query: query.to_wire(),
    "cut short": lambda query: reply(query, 'k.x.example 300 IN TXT "forged"')[:-3],
    "more behind the end": lambda query: reply(query, 'k.x.example 300 IN TXT "forged"') + b"x",
    "wrong id": wrong_id,
    "wrong question": wrong_question,
    "another opcode": another_opcode,
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_passed_over(lie: str, server: LyingDns) -> None:
    """The genuine answer may follow, and where none does, nothing was said."""
    server.udp = lambda query: [LIES[lie](query), reply(query, 'k.x.example 300 IN TXT "v"')]
    assert Site(server).ask() == found("v")
    server.udp = lambda query: [LIES[lie](query)] * 3
    assert Site(server).ask(seconds=0.3) == TIMEOUT


def test_an_answer_from_another_address_is_passed_over() -> None:
    with LyingDns(text("forged"), elsewhere=True) as server:
        assert Site(server).ask(seconds=0.3) == TIMEOUT
        assert server.asked


USELESS: dict[str, Behaviour] = {
    "SERVFAIL": rcode("SERVFAIL"),
    "REFUSED": rcode("REFUSED"),
    "FORMERR": rcode("FORMERR"),
    "NOTIMP": rcode("NOTIMP"),
    "a loop of aliases": lambda query: [
        reply(query, "k.x.example 300 IN CNAME l.x.example.", "l.x.example 300 IN CNAME k.x.example.")
    ],
    "an answer for a name that is not": lambda query: [reply(query, 'k.x.example 300 IN TXT "v"', rcode="NXDOMAIN")],
}


@pytest.mark.parametrize("name", USELESS)
def test_a_useless_answer_is_a_failure_and_the_next_server_is_asked(name: str, server: LyingDns) -> None:
    with LyingDns(USELESS[name]) as useless:
        assert Site(useless).ask() == SERVFAIL
        assert Site(useless, server).ask() == found("v")


# ---- no answer is not "nothing there" (RFC 2308 §2) ---------------------------------------------------------


def name_of(query: dns.message.Message) -> str:
    return query.question[0].name.to_text()


def referral(query: dns.message.Message) -> Said:
    """What a server says that does not recurse: Windows DNS with recursion off, an authoritative server."""
    response = made(query, authority=("example 300 IN NS ns.example.",))
    response.flags &= ~dns.flags.RA
    return [response.to_wire()]


def upward(query: dns.message.Message) -> Said:
    return [reply(query, authority=(". 300 IN NS a.root-servers.example.",))]


def half(query: dns.message.Message) -> Said:
    return [reply(query, f"{name_of(query)} 300 IN CNAME end.other.example.")]


def half_with_ns(query: dns.message.Message) -> Said:
    ns = "other.example 300 IN NS ns.other.example."
    return [reply(query, f"{name_of(query)} 300 IN CNAME end.other.example.", authority=(ns,))]


def soa_of_another_zone(query: dns.message.Message) -> Said:
    return [reply(query, authority=(f"{SOA.replace('x.example', 'y.example', 1)} 60",))]


def no_soa(query: dns.message.Message) -> Said:
    return [reply(query)]


def something_else(query: dns.message.Message) -> Said:
    return [reply(query, f"{name_of(query)} 300 IN A 192.0.2.1", 'l.x.example 300 IN TXT "v"')]


LAME: dict[str, Behaviour] = {
    "a referral": referral,
    "an upward referral": upward,
    "half a chain": half,
    "half a chain with NS": half_with_ns,
    "the SOA of another zone": soa_of_another_zone,
    "nothing": no_soa,
    "records that nobody asked for": something_else,
    "REFUSED": rcode("REFUSED"),
    "NOTAUTH": rcode("NOTAUTH"),
}


def delayed(seconds: float, said: Behaviour) -> Behaviour:
    def wait(query: dns.message.Message) -> Said:
        time.sleep(seconds)
        return said(query)

    return wait


@pytest.mark.parametrize("name", LAME)
def test_a_server_that_does_not_answer_is_no_proof_of_absence(
    name: str, server: LyingDns, caplog: pytest.LogCaptureFixture
) -> None:
    with LyingDns(LAME[name]) as lame:
        site = Site(lame)
        assert [site.ask(f"{n}.x.example") for n in range(3)] == [SERVFAIL] * 3
        said = f"dns: 127.0.0.1 port {lame.port} does not resolve names for this host, or not all: "
        assert [r.getMessage()[: len(said)] for r in caplog.records] == [said]
        assert Site(lame, server).ask() == found("v")
        assert Site(server, lame).ask() == found("v")
        server.udp = delayed(PATIENCE + 0.4, text("slow"))
        site = Site(server, lame)
        assert [site.ask(f"{n}.x.example") for n in range(3)] == [found("slow")] * 3


def test_a_slow_server_counts_though_it_was_thought_silent(server: LyingDns) -> None:
    """A second server that resolves some names only, such as those of the site itself, must not hide a slow first."""
    server.udp = delayed(PATIENCE + 0.4, text("slow"))
    with LyingDns(lambda query: (text("own") if "own" in name_of(query) else referral)(query)) as partly:
        site = Site(server, partly)
        assert site.ask("own.x.example") == found("own")
        assert site.ask() == found("slow")


def test_a_dead_server_is_not_waited_for_at_each_name_that_cannot_be_resolved() -> None:
    broken = rcode("SERVFAIL")
    with LyingDns(silence) as dead, LyingDns(lambda q: (broken if "evil" in name_of(q) else text("v"))(q)) as other:
        site = Site(dead, other)
        assert site.ask() == found("v")
        started = time.monotonic()
        assert site.ask("evil.example") == SERVFAIL
        assert time.monotonic() - started < PATIENCE + SLACK


@pytest.mark.parametrize("name", [*LAME, "NXDOMAIN without SOA", "SERVFAIL"])
@pytest.mark.parametrize("options", [{}, {"cache": False}, {"stale": 0.0}])
def test_what_is_known_stays_known_where_a_server_does_not_answer(
    name: str, options: dict[str, Any], server: LyingDns
) -> None:
    site = Site(server, **options)
    site.ask()
    site.keep()
    server.udp = (LAME | {"NXDOMAIN without SOA": rcode("NXDOMAIN"), "SERVFAIL": rcode("SERVFAIL")})[name]
    if "stale" in options:
        site.clock.ahead += 290
        site.resolver.start()
        assert wait_until(lambda: len(site.observed) == 2, 10)
        site.resolver.stop()
        assert site.ask() == found("v")
        return
    site.clock.ahead += 301
    assert site.ask() == stale("v")
    site.clock.ahead += 40
    server.udp = rcode("SERVFAIL")
    assert site.ask() == stale("v")
    server.udp = rcode("NXDOMAIN", f"{SOA} 60")
    site.clock.ahead += 40
    assert site.ask() == NO_NAME


def test_a_name_that_does_not_exist_without_soa(server: LyingDns) -> None:
    """RPZ and local zones of unbound say so. It is an answer where nothing better is said or known."""
    with LyingDns(rcode("NXDOMAIN")) as filtering:
        assert Site(filtering).ask() == NO_NAME
        assert Site(filtering, server).ask() == found("v")
        server.udp = referral
        assert Site(filtering, server).ask() == Site(server, filtering).ask() == NO_NAME


GENUINE_ZONE = f"""
x.example. 300 IN TXT "v=spf1 ip4:192.0.2.0/28 -all"
s1._domainkey.x.example. 300 IN CNAME key.operator.example.
key.operator.example. 300 IN TXT "{key_record("ed25519")}"
"""
LONG_AGO = 400.0  # seconds after which all of it has run out


def relayed(unbound: DnsServer, seconds: float = 0) -> Behaviour:
    """What a real server says, later."""

    def relay(query: dns.message.Message) -> Said:
        time.sleep(seconds)
        return [dns.query.udp(query, "127.0.0.1", 5, unbound.port).to_wire()]

    return relay


@pytest.mark.parametrize("proof", ["DKIM", "SPF"])
@pytest.mark.parametrize("name", [*LAME, "NXDOMAIN without SOA", "SERVFAIL", "silence"])
def test_a_genuine_notice_is_not_held_against_its_sender_for_a_server_that_does_not_answer(
    proof: str, name: str, server: LyingDns
) -> None:
    bad = (LAME | {"NXDOMAIN without SOA": rcode("NXDOMAIN"), "SERVFAIL": rcode("SERVFAIL"), "silence": silence})[name]
    message, client, mail_from = NOTICE, "192.0.2.1", "b@x.example"
    if proof == "DKIM":
        signed = sign(NOTICE, Sign("x.example", "s1", "ed25519", signed=("From", "Subject")))
        message, client, mail_from = signed, "203.0.113.1", ""
    unknown = Verdict.UNVERIFIED if name == "NXDOMAIN without SOA" else Verdict.UNDETERMINED

    def judged(site: Site) -> tuple[Verdict, DnsState]:
        session = Session(ipaddress.ip_address(client), "helo.evil.example", mail_from)
        settings = Settings(TrustedList((PLATFORM,)), authserv_id="mx.example.org", dns=DnsSettings(timeout=3.0))
        decision = explain.judge(io.BytesIO(message), session, settings, site.resolver)
        return decision.verdict, decision.evidence.dns

    with DnsServer(GENUINE_ZONE) as unbound, LyingDns(bad) as lame:
        server.udp = relayed(unbound)
        assert judged(Site(lame))[0] is unknown
        assert judged(Site(lame, server)) == (Verdict.VERIFIED, DnsState.OK)
        if name != "silence":
            server.udp = relayed(unbound, PATIENCE + 0.2)
            assert judged(Site(server, lame)) == (Verdict.VERIFIED, DnsState.OK)
        server.udp = relayed(unbound)
        site = Site(server)
        assert judged(site) == (Verdict.VERIFIED, DnsState.OK)
        for said in (bad, rcode("SERVFAIL"), bad):
            site.clock.ahead += LONG_AGO
            server.udp = said
            assert judged(site) == (Verdict.VERIFIED, DnsState.STALE)


# ---- servers without EDNS (RFC 6891 §6.2.2, §7) -------------------------------------------------------------


def has_opt(query: dns.message.Message) -> bool:
    return query.edns >= 0


def header_only(query: dns.message.Message) -> Said:
    """FORMERR as old servers send it: the header, with the counts of our query, and nothing behind it."""
    data = bytearray(query.to_wire()[:12])
    data[2] |= 0x80
    data[3] = 1
    return [bytes(data)]


NO_EDNS: dict[str, Behaviour] = {
    "FORMERR": rcode("FORMERR"),
    "NOTIMP": rcode("NOTIMP"),
    "BADVERS": rcode("BADVERS"),
    "FORMERR, header only": header_only,
    "silence": silence,
}


def without_edns(refusal: Behaviour, said: Behaviour) -> Behaviour:
    return lambda query: (refusal if has_opt(query) else said)(query)


@pytest.mark.parametrize("name", NO_EDNS)
def test_a_server_without_edns_is_asked_without(name: str, server: LyingDns, caplog: pytest.LogCaptureFixture) -> None:
    server.udp = without_edns(NO_EDNS[name], text("v"))
    site = Site(server)
    started = time.monotonic()
    assert site.ask() == found("v")
    assert time.monotonic() - started < (PATIENCE if name == "silence" else 0) + SLACK
    assert len(server.asked) == 2
    assert [site.ask(f"{n}.x.example") for n in range(5)] == [found("v")] * 5
    assert len(server.asked) == 7  # it is remembered
    site.clock.ahead += 901
    server.udp = without_edns(text("with"), rcode("FORMERR"))
    assert site.ask() == found("with")
    text_of = f"dns: 127.0.0.1 port {server.port} answers only queries without EDNS: it is asked without"
    assert [r.getMessage() for r in caplog.records] == [text_of]


@pytest.mark.parametrize("name", NO_EDNS)
def test_without_edns_a_long_answer_comes_over_tcp(name: str, server: LyingDns) -> None:
    server.udp = without_edns(NO_EDNS[name], truncated)
    server.tcp = without_edns(NO_EDNS[name], text("whole"))
    site = Site(server)
    assert [site.ask(f"{n}.x.example") for n in range(2)] == [found("whole")] * 2


def test_a_server_that_refuses_every_query_is_asked_twice_at_most() -> None:
    with LyingDns(lambda query: [*rcode("FORMERR")(query)] * 5) as server:
        started = time.monotonic()
        assert Site(server).ask() == SERVFAIL
        assert time.monotonic() - started < SLACK
        assert len(server.asked) == 2


def test_no_edns_at_any_server_and_the_deadline_holds() -> None:
    with LyingDns(without_edns(silence, text("v"))) as one, LyingDns(without_edns(silence, silence)) as other:
        started = time.monotonic()
        assert Site(other, one).ask(seconds=5) == found("v")
        assert Site(other).ask(seconds=0.5) == TIMEOUT
        assert time.monotonic() - started < 3 * PATIENCE + 0.5 + SLACK


def test_a_lost_query_does_not_take_edns_from_a_server(server: LyingDns) -> None:
    """Without EDNS a key of 2048 bits comes over TCP."""
    site = Site(server)
    assert site.ask("a.x.example") == found("v")
    server.udp = lambda query: text("again")(query) if len(server.asked) > 2 and has_opt(query) else []
    assert site.ask("b.x.example") == found("again")
    server.udp = without_edns(silence, text("plain"))
    assert site.ask("d.x.example") == found("plain")
    opts: list[bool] = []
    server.udp = lambda query: opts.append(has_opt(query)) or text("v")(query)  # type: ignore[func-returns-value]
    assert site.ask("c.x.example") == found("v")
    assert opts == [True]


# ---- truncation --------------------------------------------------------------------------------------------


def truncated(query: dns.message.Message) -> Said:
    response = made(query)
    response.flags |= dns.flags.TC
    return [response.to_wire()]


def test_a_truncated_answer_is_asked_for_over_tcp() -> None:
    with LyingDns(truncated, text("whole")) as server:
        assert Site(server).ask() == found("whole")
        assert [transport for _, _, transport in server.asked] == ["udp", "tcp"]


def test_cut_in_the_middle_of_a_record() -> None:
    def cut(query: dns.message.Message) -> Said:
        response = made(query, 'k.x.example 300 IN TXT "whole"')
        response.flags |= dns.flags.TC
        return [response.to_wire()[:-2]]

    with LyingDns(cut, text("whole")) as server:
        assert Site(server).ask() == found("whole")


let_go = threading.Event()


def never(_query: dns.message.Message) -> Said:
    let_go.wait(30)
    return []


@pytest.mark.parametrize(
    "tcp", [silence, never, truncated, lambda _: [b"\xff" * 40], lambda q: [wrong_id(q)], rcode("SERVFAIL")]
)
def test_no_whole_answer_is_a_failure_and_takes_no_longer_than_allowed(tcp: Behaviour, server: LyingDns) -> None:
    let_go.clear()
    with LyingDns(truncated, tcp) as half:
        started = time.monotonic()
        assert Site(half).ask(seconds=0.5) == SERVFAIL
        assert time.monotonic() - started < 0.5 + SLACK
        let_go.set()
        assert Site(half, server).ask() == found("v")


@pytest.mark.parametrize(
    ("records", "found"),
    [
        (["k.x.example 300 IN TXT " + f'"{LONG}"' * 60], True),
        (["k.x.example 300 IN TXT " + f'"{LONG}"' * 70], False),
        ([f"k.x.example 300 IN TXT {n}" for n in range(250)], True),
        ([f"k.x.example 300 IN TXT {n}" for n in range(300)], False),
    ],
)
def test_large_answers_are_read_and_huge_ones_refused(records: list[str], found: bool) -> None:
    """A forger's server can answer with 64 kB, which take 0.1 s to read, to a hundred questions of one message."""
    with LyingDns(truncated, lambda query: [reply(query, *records)]) as server:
        answer = Site(server).ask()
        assert (answer.failed, len(answer.records)) == ((False, len(records)) if found else (True, 0))


def test_an_answer_that_drips_takes_no_longer_than_allowed() -> None:
    with LyingDns(truncated, text("whole")) as server:
        assert Site(server).ask() == found("whole")
        server.drip = 0.5
        started = time.monotonic()
        assert Site(server).ask(seconds=0.5) == SERVFAIL
        assert time.monotonic() - started < 0.5 + SLACK


# ---- which server, and how long ----------------------------------------------------------------------------


def test_a_dead_server_is_waited_for_once(server: LyingDns) -> None:
    with LyingDns(silence) as dead:
        site = Site(dead, server)
        assert site.ask("a.x.example") == found("v")
        for name in "bcdef":
            assert site.ask(f"{name}.x.example") == found("v")
        assert [name for name, _, _ in dead.asked] == ["a.x.example"]
        site.clock.ahead += 61
        dead.udp = text("here again")
        assert site.ask("g.x.example") == found("here again")


def test_nobody_listens_at_the_first_server(server: LyingDns) -> None:
    resolver = NetworkResolver(DnsSettings((("127.0.0.1", free_port()), server.server)))
    assert resolver.ask("k.x.example", "TXT", 5) == found("v")


def test_a_server_that_starts_while_we_wait() -> None:
    server = LyingDns(text("v"))
    site = Site(server)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(site.ask)
        time.sleep(0.4)
        with server:
            assert answer.result() == found("v")


def test_nobody_listens_anywhere() -> None:
    """A resolver that restarts is waited for, by one message. The others are told at once; each one asks."""
    port = free_port()
    resolver = NetworkResolver(DnsSettings((("127.0.0.1", port), ("127.0.0.1", free_port()))))
    taken = []
    for n in range(5):
        started = time.monotonic()
        assert resolver.ask(f"{n}.x.example", "TXT", 5) == TIMEOUT
        taken.append(time.monotonic() - started)
    assert taken[0] < 1 + SLACK
    assert max(taken[1:]) < SLACK
    server = LyingDns(text("v"))
    server.port = port
    with server:
        assert resolver.ask("6.x.example", "TXT", 5) == found("v")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_lost_question_is_asked_again(host: str) -> None:
    with LyingDns(host=host) as lossy:
        lossy.udp = lambda query: text("v")(query) if len(lossy.asked) > 1 else []
        assert Site(lossy).ask() == found("v")
        assert len(lossy.asked) == 2


def test_an_answer_to_the_first_question_after_the_second_was_asked() -> None:
    def slow(query: dns.message.Message) -> Said:
        if len(late.asked) == 1:
            time.sleep(PATIENCE + 0.3)
            yield from text("late")(query)

    late = LyingDns(slow)
    with late:
        assert Site(late).ask() == found("late")


def test_one_deadline_for_all_look_ups_of_a_message() -> None:
    with LyingDns(silence) as one, LyingDns(silence) as other:
        site = Site(one, other, timeout=1.0)
        started = time.monotonic()
        lookups = Lookups(site.resolver, 1.0)
        assert {lookups(f"{n}.x.example", "TXT") for n in range(20)} == {TIMEOUT}
        assert time.monotonic() - started < 1.0 + SLACK
        assert lookups.state is DnsState.TEMPERROR


def test_what_is_known_is_told_after_the_deadline_too(server: LyingDns) -> None:
    site = Site(server)
    assert site.ask() == found("v")
    lookups = Lookups(site.resolver, 0)
    assert lookups("K.x.example.", "TXT") == found("v")
    assert lookups("other.x.example", "TXT") == TIMEOUT


@pytest.mark.parametrize("name", ["", "a..b", "a" * 64, ".".join(["a" * 60] * 5), "é.example", "a\\.b\u2028.example"])
def test_what_is_no_name_is_not_asked_for(name: str, server: LyingDns) -> None:
    site = Site(server)
    assert site.ask(name) in (NO_NAME, found("v"))
    assert [asked for asked, _, _ in server.asked] == []


def test_resolv_conf(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("search evil.example\nnameserver 192.0.2.53\nnameserver 2001:db8::53\n")
    known = Servers(resolv_conf=file)
    assert known.current == [("192.0.2.53", 53), ("2001:db8::53", 53)]
    nobody = dns.name.from_text("k.x.example")
    for written, expected in (("nameserver 127.0.0.9\n", "127.0.0.9"), ("# nothing\n", "127.0.0.9")):
        file.write_text(written)
        known.ask(nobody, "TXT", 0)
        assert known.current == [(expected, 53)]
    file.unlink()
    known.ask(nobody, "TXT", 0)
    assert known.current == [("127.0.0.9", 53)]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (b"nameserver banana\nnameserver 192.0.2.53\n", ["192.0.2.53"]),
        (b"search \xff\xfe..a\nnameserver\nnameserver 192.0.2.53 # a comment\n", ["192.0.2.53"]),
        (b"nameserver https://192.0.2.53/\nnameserver fe80::1%lo\n", ["fe80::1%lo"]),
        (b"nameserver 192.0.2.53\n" * 100, ["192.0.2.53"] * 8),
        (b"#nameserver 192.0.2.53\n", []),
        (b"", []),
    ],
)
def test_what_a_resolv_conf_names(written: bytes, expected: list[str], tmp_path: Path) -> None:
    """dnspython raises for most of these, out of a lookup."""
    file = tmp_path / "resolv.conf"
    file.write_bytes(written)
    assert Servers(resolv_conf=file).current == [(address, 53) for address in expected]


@pytest.mark.parametrize("what", ["missing", "empty", "folder", "fifo"])
def test_without_a_resolver_at_start_dns_counts_as_silent_until_there_is_one(
    what: str, tmp_path: Path, server: LyingDns, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(servers, "_PORT", server.port)
    file = tmp_path / "resolv.conf"
    match what:
        case "empty":
            file.touch()
        case "folder":
            file.mkdir()
        case "fifo":
            os.mkfifo(file)
    resolver = NetworkResolver(DnsSettings(), resolv_conf=file, clock=(clock := Clock()))
    assert resolver.problem == f"{file} names no name server: DNS counts as silent until it names one"
    started = time.monotonic()
    assert resolver.ask("k.x.example", "TXT", 5) == TIMEOUT
    assert time.monotonic() - started < SLACK
    complete = tmp_path / "new"
    complete.write_text("nameserver 127.0.0.1\n")
    if what == "folder":
        file.rmdir()
    complete.rename(file)
    clock.ahead += 6  # a failure is remembered for 5 seconds
    assert [resolver.ask(name, "TXT", 5) for name in ("k.x.example", "l.x.example")] == [found("v")] * 2
    assert resolver.problem == ""
    assert [r.getMessage() for r in caplog.records] == [f"dns: {file} names a name server now: it is asked"]


# ---- one question in flight --------------------------------------------------------------------------------


def test_many_who_ask_the_same_ask_once() -> None:
    begun: list[int] = []

    def slow(query: dns.message.Message) -> Said:
        wait_until(lambda: len(begun) == 16)
        time.sleep(0.3)
        return text("v")(query)

    def ask(number: int) -> DnsAnswer:
        begun.append(number)
        return site.ask(seconds=60)

    with LyingDns(slow) as server, ThreadPoolExecutor(16) as pool:
        for cache in (True, False):
            site = Site(server, cache=cache)
            server.asked.clear()
            begun.clear()
            assert set(pool.map(ask, range(16))) == {found("v")}
            assert len(server.asked) == 1
            assert site.observed == [("TXT", "answer", False)]


def test_who_has_little_time_takes_none_from_the_others() -> None:
    given_up = threading.Event()

    def slow(query: dns.message.Message) -> Said:
        given_up.wait(30)
        return text("v")(query)

    with LyingDns(slow) as server, ThreadPoolExecutor(2) as pool:
        site = Site(server)
        hasty = pool.submit(site.ask, seconds=0.2)
        time.sleep(0.05)
        patient = pool.submit(site.ask, seconds=30)
        assert hasty.result() == TIMEOUT
        given_up.set()
        assert patient.result() == found("v")


# ---- how long it is remembered -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "holds"),
    [
        (text("v", 300), 300),
        (text("v", 0), 5),
        (text("v", 2**31 - 1), 86400),
        (text("v", 2**31), 5),  # a negative number to RFC 2181 §8: dnspython reads it as 0
        (text("v", 2**32 - 1), 5),
        (rcode("NXDOMAIN", f"{SOA} 60"), 60),
        (rcode("NXDOMAIN", f"{SOA} 1000"), 900),
        (rcode("NOERROR", f"{SOA} 60"), 60),
        (rcode("NXDOMAIN", f"{SOA.replace('900', '999999')} 999999"), 3600),
        (rcode("NXDOMAIN"), 5),
        (rcode("SERVFAIL"), 5),
        (
            lambda query: [reply(query, "k.x.example 20 IN CNAME l.x.example.", 'l.x.example 300 IN TXT "v"')],
            20,
        ),
    ],
)
def test_how_long_an_answer_holds(said: Behaviour, holds: float, server: LyingDns) -> None:
    server.udp = said
    site = Site(server)
    first = site.ask()
    site.clock.ahead += holds - 1
    assert site.ask() == first
    assert len(server.asked) == 1
    site.clock.ahead += 2
    assert site.ask() == first
    assert len(server.asked) == 2


def test_without_cache_each_message_asks(server: LyingDns) -> None:
    site = Site(server, cache=False)
    lookups = Lookups(site.resolver, 5)
    assert [lookups("k.x.example", "TXT") for _ in range(3)] == [found("v")] * 3
    assert len(server.asked) == 1
    assert Lookups(site.resolver, 5)("k.x.example", "TXT") == found("v")
    assert len(server.asked) == 2


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3000))))
def test_memory_is_bounded(puts: list[tuple[int, int]]) -> None:
    store = Store(10, 12_000)
    for number, size in puts:
        store.put((f"{number}", "TXT"), Known(DnsAnswer(DnsStatus.ANSWER, (b"x" * size,)), 0))
        assert len(store) <= 10
        assert sum(len(k.answer.records[0]) for _, k in store) <= 12_000
        assert store.get((f"{number}", "TXT"))
        assert next(reversed(list(store)))[0] == (f"{number}", "TXT")
    for question, _ in store:
        store.pop(question)
    assert store._held == 0


# ---- DNS fails: what is known of trusted senders stands in --------------------------------------------------


def test_a_stale_answer_for_a_kept_name_and_for_no_other(server: LyingDns) -> None:
    site = Site(server)
    assert site.ask() == site.ask("other.x.example") == found("v")
    site.keep()
    server.udp = rcode("SERVFAIL")
    assert site.ask() == found("v")  # which holds yet
    site.clock.ahead += 301
    server.asked.clear()
    assert [site.ask() for _ in range(5)] == [stale("v")] * 5
    assert server.asked == [("k.x.example", "TXT", "udp")]  # once: then nobody waits for half a minute
    assert site.ask("other.x.example") == SERVFAIL
    site.clock.ahead += 40
    assert site.ask() == stale("v")
    assert len(server.asked) == 3
    site.clock.ahead += 40
    server.udp = text("new")
    assert site.ask() == found("new")
    site.clock.ahead += 200
    assert site.ask() == found("new")
    assert site.observed[2:] == [
        *[("TXT", "servfail", True)] * 5,
        ("TXT", "servfail", False),
        ("TXT", "servfail", True),
        ("TXT", "answer", False),
    ]


def test_stale_for_a_while_only(server: LyingDns) -> None:
    cases: tuple[tuple[dict[str, Any], int], ...] = (
        ({"stale": 3600.0}, 300 + 3600),
        ({"stale": 0.0}, 300),
        ({"stale": 0.0, "cache": False}, 0),
    )
    for options, holds in cases:
        server.udp = text("v")
        site = Site(server, **options)
        site.ask()
        site.keep()
        server.udp = rcode("SERVFAIL")
        if holds > 300:
            site.clock.ahead += holds - 1
            assert site.ask() == stale("v")
            site.clock.ahead -= holds - 1
        site.clock.ahead += holds + 1
        assert site.ask() == SERVFAIL
        assert site.ask() == SERVFAIL


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (rcode("NXDOMAIN", f"{SOA} 60"), NO_NAME),
        (rcode("NOERROR", f"{SOA} 60"), NO_DATA),
        (text("v=DKIM1; p=", 10), found("v=DKIM1; p=")),
    ],
)
def test_a_key_that_was_withdrawn_does_not_come_back(said: Behaviour, answer: DnsAnswer, server: LyingDns) -> None:
    site = Site(server)
    site.ask()
    site.keep()
    site.clock.ahead += 301
    server.udp = said
    assert site.ask() == answer
    site.clock.ahead += 70
    server.udp = rcode("SERVFAIL")
    assert site.ask().records in ((), answer.records)


def test_servers_that_are_silent_do_not_hold_up_every_message(server: LyingDns) -> None:
    """Each of two names is waited for; then all that is known is given on at once, until one name is answered."""
    site = Site(server)
    names = [f"{n}.x.example" for n in range(6)]
    for name in names:
        site.ask(name)
        site.keep(name)
    site.clock.ahead += 301
    server.udp = silence
    server.asked.clear()
    started = time.monotonic()
    lookups = Lookups(site.resolver, 5)
    assert [lookups(name, "TXT") for name in names] == [stale("v")] * 6
    assert time.monotonic() - started < 2 * 1.8 + SLACK
    assert lookups.state is DnsState.STALE
    assert {name for name, _, _ in server.asked} == set(names[:2])
    server.udp = text("v")
    assert site.ask("new.x.example") == found("v")
    assert [site.ask(name) for name in names[2:]] == [found("v")] * 4


def test_a_forger_with_slow_servers_makes_nothing_stale(server: LyingDns) -> None:
    site = Site(server, timeout=2.0)
    site.ask()
    site.keep()
    site.clock.ahead += 301
    server.udp = lambda query: [] if "evil" in str(query.question[0].name) else text("v2")(query)
    for n in range(2):
        assert site.ask(f"{n}.evil.example", seconds=1.7) == TIMEOUT
    assert site.ask() == found("v2")


def test_a_flood_of_names_drives_no_kept_one_out(server: LyingDns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "SEEN", (100, 1 << 20))
    site = Site(server)
    site.ask()
    site.keep()
    server.udp = lambda query: [reply(query, f"{query.question[0].name} 300 IN TXT " + f'"{LONG}"' * 60)]
    for n in range(80):
        site.ask(f"{n}.evil.example")
    server.udp = silence
    assert site.ask() == found("v")
    server.asked.clear()
    site.ask("0.evil.example", seconds=0.1)
    assert server.asked  # which was driven out


def test_kept_names_are_refreshed_before_they_run_out(server: LyingDns) -> None:
    site = Site(server)
    for name in ("a.x.example", "b.x.example", "c.x.example"):
        site.ask(name)
    site.keep("a.x.example")
    site.keep("b.x.example")
    server.udp = lambda query: rcode("SERVFAIL")(query) if "b." in str(query.question[0].name) else text("v2")(query)
    server.asked.clear()
    site.clock.ahead += 290
    site.resolver.start()
    assert wait_until(lambda: len(site.observed) == 5, 10)
    site.resolver.stop()
    assert sorted(name for name, _, _ in server.asked) == ["a.x.example", "b.x.example"]
    site.clock.ahead += 20
    assert site.ask("a.x.example") == found("v2")
    assert site.ask("b.x.example") == stale("v")
    assert len(server.asked) == 2


def test_a_refresh_that_fails_takes_nothing_away(server: LyingDns) -> None:
    site = Site(server, stale=0.0)
    site.ask()
    site.keep()
    server.udp = rcode("SERVFAIL")
    site.clock.ahead += 290
    site.resolver.start()
    assert wait_until(lambda: len(site.observed) == 2, 10)
    site.resolver.stop()
    assert site.ask() == found("v")
    site.clock.ahead += 20
    assert site.ask() == SERVFAIL


# ---- over a restart ------------------------------------------------------------------------------------------


def remembered(server: LyingDns, file: Path) -> Site:
    site = Site(server, memory=file)
    for question in (("k.x.example", "TXT"), ("x.example", "MX"), ("mail.x.example", "A")):
        site.resolver.ask(*question, 5)
        site.resolver.keep([question])
    site.resolver.stop()
    return site


def records(query: dns.message.Message) -> Said:
    return [
        reply(
            query,
            'k.x.example 300 IN TXT "v\\255\\"\\\\"',
            "x.example 300 IN MX 10 mail.x.example.",
            "mail.x.example 300 IN A 192.0.2.1",
        )
    ]


def test_what_is_kept_survives_a_restart(tmp_path: Path, server: LyingDns) -> None:
    server.udp = records
    file = tmp_path / "dns.json"
    remembered(server, file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == [".dns.json.lock", "dns.json"]
    server.udp = rcode("SERVFAIL")
    server.asked.clear()
    after = Site(server, memory=file)
    expected = {
        ("k.x.example", "TXT"): b'v\xff"\\',
        ("x.example", "MX"): (10, "mail.x.example"),
        ("mail.x.example", "A"): "192.0.2.1",
    }
    assert {q: after.resolver.ask(*q, 5).records[0] for q in expected} == expected
    assert server.asked == []
    after.clock.ahead += 301
    answers = [after.resolver.ask(*q, 5) for q in expected]
    assert all(a.stale and a.records for a in answers)
    after.clock.ahead += 86400
    assert after.ask() == SERVFAIL


@pytest.mark.parametrize(
    "written",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"version": 2, "answers": []}',
        b'{"version": 1}',
        b'{"version": 1, "answers": 5}',
        b'{"version": 1, "answers": [["k.x.example", "TXT", 1]]}',
        b'{"version": 1, "answers": [["k.x.example", "TXT", NOW, ["\\u20ac"]]]}',
        b'{"version": 1, "answers": [["k.x.example", "TXT", "soon", ["v"]]]}',
        b'{"version": 1, "answers": [["k.x.example", "TXT", NaN, ["v"]]]}',
        b'{"version": 1, "answers": [["k.x.example", "TXT", 1e400, ["v"]]]}',
        b'{"version": 1, "answers": [["k.x.example", "TXT", 1, ["v"]]]}',
        b'{"version": 1, "answers": [["k.x.example", "TXT", 99999999999, ["v"]]]}',
        b'{"version": 1, "answers": [["k.x.example", "MX", NOW, ["v"]]]}',
        b'{"version": 1, "answers": [["k.x.example", "MX", NOW, [[1e400, "v"]]]]}',
        b'{"version": 1, "answers": [["k.x.example", "TXT", 1' + b"0" * 400 + b', ["v"]]]}',
        b'{"version": 1, "answers": [["k.x.example", "TXT", 1' + b"0" * 5000 + b', ["v"]]]}',
        b'{"version": 1, "answers": [["k.x.example", ["TXT"], NOW, ["v"]]]}',
        b'{"version": 1, "answers": [[["k.x.example"], "TXT", NOW, ["v"]]]}',
        b'{"version": 1, "answers": [["k.x.example", "TXT", NOW, "v"]]}',
        b'{"version": 1, "answers": [["k.x.example", "TXT", NOW, [{}]]]}',
        b'{"version": 1, "answers": [["k.x.example", "A", NOW, ["v"]]]}',
        b'{"version": 1, "answers": [["k..x.example", "TXT", NOW, ["v"]]]}',
        b'{"version": 1, "answers": {"k.x.example": 1}}',
        b'{"version": 1, "answers": "k.x.example"}',
        b'{"version": 1, "answers": [' + b"[" * 100_000,
        b'{"version": 1, "answers": [["k.x.example", "TXT", NOW, ["v"]]]}' + b" " * (5 << 20),
        b"\0" * (33 << 20),
    ],
    ids=lambda written: f"{len(written)}-{written[-24:]!r}",
)
def test_a_damaged_file_is_passed_over(written: bytes, tmp_path: Path, server: LyingDns) -> None:
    """As is one whose times can only come from a clock that jumped."""
    file = tmp_path / "dns.json"
    file.write_bytes(written.replace(b"NOW", str(int(time.time())).encode()))
    server.udp = rcode("SERVFAIL")
    assert Site(server, memory=file).ask() == SERVFAIL


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)
NOW = time.time()
fitting = st.tuples(
    st.sampled_from(["k.x.example", "", "a..b", "\u20ac", "x" * 300]) | json_values,
    st.sampled_from(["TXT", "A", "AAAA", "MX", "PTR", "SOA"]) | json_values,
    st.sampled_from([NOW, NOW + 60, NOW - 10, 1e308, -1e308]) | json_values,
    st.lists(st.sampled_from(["v", "192.0.2.1", "2001:db8::1", [10, "m.x.example"], "\u20ac"]), max_size=3)
    | json_values,
)


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """The file with any values in any place, and then with some bytes changed."""
    document: Any = {"version": 1, "answers": draw(st.lists(fitting | json_values, max_size=4) | json_values)}
    data = bytearray(json.dumps(draw(st.just(document) | json_values)).encode())
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(data)))
        data[place : place + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(data)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damaged_files())
def test_no_content_of_the_file_raises_and_what_is_read_is_records(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "dns.json"
    file.write_bytes(data)
    for (name, rdtype), answer, left in snapshot.load(file, 86400, 86400):
        assert absolute(name)
        assert answer.records
        assert -86400 < left <= 86400
        for record in answer.records:
            match rdtype:
                case "TXT":
                    assert isinstance(record, bytes)
                case "MX":
                    assert isinstance(record, tuple)
                    assert [*map(type, record)] in ([int, str], [bool, str])
                case "PTR":
                    assert isinstance(record, str)
                case _:
                    assert ipaddress.ip_address(record)  # type: ignore[arg-type]
    NetworkResolver(DnsSettings(((("127.0.0.1"), 9),)), memory=file).stop()
    assert snapshot.load(file, 86400, 86400) is not None
    assert sorted(p.name for p in tmp_path.iterdir()) == [".dns.json.lock", "dns.json"]


def test_what_a_killed_worker_left_is_removed(tmp_path: Path, server: LyingDns) -> None:
    (tmp_path / ".dns.json.new").write_text("half")
    server.udp = records
    remembered(server, tmp_path / "dns.json")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".dns.json.lock", "dns.json"]


def test_a_worker_that_was_stopped_while_it_writes_stops_no_other(tmp_path: Path, server: LyingDns) -> None:
    server.udp = records
    with snapshot.alone(tmp_path / "dns.json") as alone:
        assert alone
        started = time.monotonic()
        remembered(server, tmp_path / "dns.json")
        assert time.monotonic() - started < 2 + SLACK
    assert not (tmp_path / "dns.json").exists()


def test_more_than_the_file_may_hold_is_not_written(tmp_path: Path) -> None:
    many = [((f"{n}.x.example", "TXT"), DnsAnswer(DnsStatus.ANSWER, (b"\xff" * 8000,)), 60.0) for n in range(1000)]
    snapshot.save(tmp_path / "dns.json", many)
    read = snapshot.load(tmp_path / "dns.json", 86400, 86400)
    assert [question for question, _, _ in read] == [question for question, _, _ in many][: len(read)]
    assert len(read) > 80


def test_a_file_that_others_could_have_written_is_passed_over(
    tmp_path: Path, server: LyingDns, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "dns.json"
    remembered(server, file)
    link = tmp_path / "link"
    link.symlink_to(file)
    os.mkfifo(tmp_path / "fifo")
    server.udp = rcode("SERVFAIL")
    assert Site(server, memory=file).ask() == found("v")
    file.chmod(0o660)
    for path in (file, link, tmp_path / "fifo", tmp_path, tmp_path / "missing", tmp_path / "no" / "folder"):
        caplog.clear()
        site = Site(server, memory=path)
        assert site.ask() == SERVFAIL
        assert [r.levelname for r in caplog.records] == ["WARNING"] * path.exists()
    site.resolver.stop()
    assert "cannot write" in caplog.text


# ---- hostile bytes -------------------------------------------------------------------------------------------

QUERY = dns.message.make_query("k.x.example", "TXT", id=4711)
GENUINE = [
    reply(QUERY, 'k.x.example 300 IN TXT "v=DKIM1; p=abc"', authority=(f"{SOA} 60",)),
    reply(QUERY, "k.x.example 300 IN CNAME l.x.example.", 'l.x.example 300 IN TXT "v"'),
    reply(QUERY, "k.x.example 300 IN MX 10 mail.x.example.", "k.x.example 300 IN AAAA 2001:db8::1"),
    reply(QUERY, rcode="NXDOMAIN", authority=(f"{SOA} 60",)),
    *truncated(QUERY),
]


hostile = LyingDns()


@pytest.fixture(scope="module", autouse=True)
def _hostile() -> Iterator[None]:
    with hostile:
        yield


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A genuine answer with some octets changed, cut or added; now and then anything."""
    data = bytearray(draw(st.sampled_from(GENUINE)))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(2, len(data) - 1))
        data[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data) if draw(st.integers(0, 9)) else draw(st.binary(max_size=100))


@given(damaged())
def test_no_bytes_raise(data: bytes) -> None:
    response = responses.parse(data)
    if response is not None and QUERY.is_response(response):
        said = responses.reply_of(response, QUERY)
        assert isinstance(said, Failure) or (said.answer.failed is False and said.ttl >= 0)


@settings(max_examples=100)
@given(damaged(), damaged())
def test_no_bytes_raise_out_of_a_look_up(udp: bytes, tcp: bytes) -> None:
    hostile.udp = lambda query: [struct.pack("!H", query.id) + udp[2:]]
    hostile.tcp = lambda query: [struct.pack("!H", query.id) + tcp[2:]]
    assert Site(hostile).ask(seconds=0.02).status in DnsStatus


HEAD = QUERY.to_wire()[:2] + b"\x81\x80\0\1"
QUESTION = QUERY.to_wire()[12:]


def packet(*records: bytes, questions: bytes = QUESTION) -> bytes:
    return HEAD + struct.pack("!3H", len(records), 0, 0) + questions + b"".join(records)


def record(owner: bytes, rdtype: int, data: bytes) -> bytes:
    return owner + struct.pack("!HHIH", rdtype, 1, 300, len(data)) + data


LONG_NAME = b"\1a" * 120 + b"\0"
START = struct.pack("!H", 0xC000 | len(packet()))  # a pointer to the first record's name
CHAIN = b"".join(struct.pack("!H", 0xC000 | at) for at in [12, *range(len(packet()) + 12, len(packet()) + 7000, 2)])
END = struct.pack("!H", 0xC000 | len(packet()) + 12 + len(CHAIN) - 2)
COSTLY = {
    "MX of long names": [record(LONG_NAME, 16, b"\1a"), *[record(START, 15, b"\0\1" + START)] * 250],
    "a long name with many TXT": [record(LONG_NAME, 16, b"\1a"), *[record(START, 16, b"\1a")] * 250],
    "SOA of long names": [record(LONG_NAME, 16, b"\1a"), *[record(START, 6, START * 2 + b"\0" * 20)] * 250],
    "pointers to pointers": [record(b"\xc0\x0c", 16, CHAIN), *[record(END, 16, b"\1a")] * 250],
    "a pointer to itself": [record(START, 16, b"\1a")],
    "many questions": [],
}


@pytest.mark.parametrize("name", COSTLY)
def test_what_takes_long_to_read_is_refused(name: str) -> None:
    """One such answer took 1 s of CPU, and an SPF record of a forger can ask for ten."""
    data = packet(*COSTLY[name])
    if name == "many questions":
        data = HEAD[:4] + struct.pack("!4H", 2000, 0, 0, 0) + QUESTION + (b"\xc0\x0c" + QUESTION[-4:]) * 1999
    assert len(data) < 1 << 14
    spent = time.process_time()
    assert responses.parse(data) is None
    assert time.process_time() - spent < 0.05


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Records whose names point anywhere."""
    names = st.one_of(
        st.sampled_from([b"\xc0\x0c", LONG_NAME, START, b"\0"]),
        st.integers(0, 0x3FFF).map(lambda at: struct.pack("!H", 0xC000 | at)),
        st.lists(st.binary(min_size=1, max_size=63), max_size=8).map(
            lambda labels: b"".join(bytes([len(x)]) + x for x in labels) + b"\0"
        ),
    )
    data = st.one_of(names, names.map(lambda name: b"\0\1" + name), st.binary(max_size=40))
    types = st.sampled_from([1, 2, 5, 6, 12, 15, 16, 28, 33, 39, 41, 46, 255, 65280])
    few = draw(st.lists(st.tuples(names, types, data), max_size=6))
    return packet(*[record(*one) for one in few] * draw(st.sampled_from([1, 1, 40, 300])))


@given(answers())
def test_no_names_make_an_answer_long_to_read(data: bytes) -> None:
    response = responses.parse(data)
    if response is None or not QUERY.is_response(response):
        return
    assert sum(len(rrset.name.labels) - 1 for rrset in response.answer for _ in rrset) <= 4000
    assert isinstance(responses.reply_of(response, QUERY), Failure | responses.Reply)


# ---- which names are kept --------------------------------------------------------------------------------------

PLATFORM = Entry("x", "X", "x.example", (("a", "x.example"), ("a", "mail.x.example")))
SPF_ZONE = """
x.example. 300 IN TXT "v=spf1 include:_spf.x.example a:out.x.example mx exists:%{i}._e.x.example" (
                       " include:%{d1r}.y.example ptr -all" )
_spf.x.example. 300 IN TXT "v=spf1 ip4:192.0.2.0/28 include:_spf.operator.example ?all"
_spf.operator.example. 300 IN TXT "v=spf1 ip4:198.51.100.0/24 ?all"
out.x.example. 300 IN A 192.0.2.65
x.example. 300 IN MX 10 mx.x.example.
mx.x.example. 300 IN A 192.0.2.66
x.y.example. 300 IN TXT "v=spf1 a:chosen.y.example include:inner.y.example ?all"
inner.y.example. 300 IN TXT "v=spf1 a:inner-a.y.example ?all"
example.y.example. 300 IN TXT "v=spf1 a:chosen.y.example ?all"
chosen.y.example. 300 IN A 203.0.113.99
*.x.example. 300 IN TXT "v=spf1 ip4:192.0.2.0/28 a:made-up.x.example -all"
evil.example. 300 IN TXT "v=spf1 a:a.evil.example +all"
99.113.0.203.in-addr.arpa. 300 IN PTR names.evil.example.
names.evil.example. 300 IN A 203.0.113.99
"""
WALKED = {
    ("x.example", "TXT"),
    ("_spf.x.example", "TXT"),
    ("_spf.operator.example", "TXT"),
    ("out.x.example", "A"),
    ("x.example", "MX"),
    ("mx.x.example", "A"),
}


def evidence(mail_from: str, client: str, message: bytes, zone: str = SPF_ZONE) -> Evidence:
    session = Session(ipaddress.ip_address(client), "helo.evil.example", mail_from)
    settings = Settings(TrustedList((PLATFORM,)), authserv_id="mx.example.org")
    return explain.judge(io.BytesIO(message), session, settings, ZoneResolver(zone)).evidence


NOTICE = b"From: a@x.example\r\nSubject: s\r\n\r\nbody\r\n"


@pytest.mark.parametrize(
    ("mail_from", "client", "names"),
    [
        ("b@x.example", "192.0.2.1", {("x.example", "TXT"), ("_spf.x.example", "TXT")}),
        ("b@x.example", "203.0.113.1", WALKED),  # fails, and the whole tree was walked: it is the platform's
        ("b@sub.x.example", "192.0.2.1", {("sub.x.example", "TXT")}),  # passed
        ("b@sub.x.example", "203.0.113.1", set()),  # did not: anyone can make up such a name
        ("b@evil.example", "203.0.113.99", set()),
        ("", "203.0.113.99", set()),
    ],
)
def test_names_of_spf_that_are_kept(mail_from: str, client: str, names: set[Question]) -> None:
    assert evidence(mail_from, client, NOTICE).names == names


def test_names_of_keys_that_are_kept() -> None:
    zone = f'{SPF_ZONE}s1._domainkey.x.example. 300 IN TXT "{key_record("ed25519")}"\n'
    zone += zone.splitlines()[-1].replace("s1.", "s2.") + "\n"
    signed = sign(NOTICE, Sign("x.example", "s1", "ed25519", signed=("From", "Subject")))
    key = {("s1._domainkey.x.example", "TXT")}
    assert evidence("b@evil.example", "203.0.113.1", signed, zone).names == key
    forged = signed.replace(b"s=s1", b"s=s2") + b"more"
    assert evidence("b@evil.example", "203.0.113.1", forged, zone).names == set()


# ---- through the service ---------------------------------------------------------------------------------------


def test_the_service_while_dns_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known keys verify, and the log says so; unknown ones defer; and all is well once DNS is back. What is known
    survives a restart."""
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path))
    zone = "".join(f'{s}._domainkey.ternum-bfc.fr. 1 IN TXT "{key_record("ed25519")}"\n' for s in ("s1", "s2"))
    head = b"From: nepasrepondre@ternum-bfc.fr\r\nSubject: avis\r\nDate: " + corpus.NOW + b"\r\n"
    head = corpus.Case("", "", "", head, "", {}, {}).present()
    known, unknown = (
        sign(head + b"\r\nbody\r\n", Sign(selector=s, key="ed25519", signed=("From", "Subject"))) for s in ("s1", "s2")
    )
    address = f"unix:{tmp_path}/milter.sock"
    case = corpus.Case("", "", "", b"", "", {}, {})
    port = free_port()
    dns_settings = {"servers": [f"127.0.0.1:{port}"], "cache": False, "timeout": "2s"}
    config = corpus.write_config(tmp_path, case, socket=address, dns=dns_settings, workers=1)
    queue_ids = (f"4Q{n}" for n in itertools.count())

    def verified(service: Service, message: bytes) -> tuple[bool, bool]:
        outcome, line = deliver(service, message)
        return b" verified; " in outcome.fields[0][1] and " verdict=verified " in line, " dns=stale " in line

    def deliver(service: Service, message: bytes) -> tuple[Outcome, str]:
        fields, _ = stored.read_header(io.BytesIO(message))
        queue_id = next(queue_ids)
        with MilterClient(address) as client:
            client.connect("203.0.113.66", helo="mail.mailer.example")
            outcome = client.message(fields, b"body\r\n", mail_from="", queue_id=queue_id)
        return outcome, service.log_lines(queue_id)[-1]

    with Service(config, address) as service:
        with DnsServer(zone, port):
            assert verified(service, known) == (True, False)
        for _ in range(3):
            assert verified(service, known) == (True, True)
        assert service.log().count("dns: no server answers") == 1
        outcome, line = deliver(service, unknown)
        assert (outcome.response, (outcome.reply or "")[:9]) == ("replycode", "451 4.7.1")
        assert " verdict=undetermined action=defer " in line
        with DnsServer(zone, port):
            assert verified(service, unknown) == (True, False)
            assert verified(service, known) == (True, False)
        assert service.log().count("dns: the servers answer again") == 1
        os.kill(service.pid, signal.SIGTERM)
        assert service.wait(10) == 0
    with Service(config, address) as service:
        assert verified(service, known) == verified(service, unknown) == (True, True)


def test_the_service_starts_without_a_resolver(tmp_path: Path) -> None:
    """resolv.conf may be empty while the machine starts. Mail flows, claims are deferred, and nobody restarts it."""
    zone = f'sel._domainkey.ternum-bfc.fr. 300 IN TXT "{key_record("ed25519")}"\n'
    head = b"From: nepasrepondre@ternum-bfc.fr\r\nSubject: avis\r\nDate: " + corpus.NOW + b"\r\n"
    head = corpus.Case("", "", "", head, "", {}, {}).present()
    genuine = sign(head + b"\r\nbody\r\n", Sign(selector="sel", key="ed25519", signed=("From", "Subject")))
    address, resolv_conf, port = f"unix:{tmp_path}/milter.sock", tmp_path / "resolv.conf", free_port()
    config = corpus.write_config(tmp_path, corpus.Case("", "", "", b"", "", {}, {}), socket=address, workers=1)
    program = tmp_path / "program.py"
    program.write_text(
        f"""
from pathlib import Path
from pratique.resolver import NetworkResolver, servers
servers._PORT = {port}
NetworkResolver.__init__.__kwdefaults__["resolv_conf"] = Path({str(resolv_conf)!r})
from pratique.cli import main
main()
"""
    )

    def deliver(message: bytes) -> Outcome:
        fields, _ = stored.read_header(io.BytesIO(message))
        with MilterClient(address) as client:
            client.connect("203.0.113.66", helo="mail.mailer.example")
            return client.message(fields, b"body\r\n", mail_from="")

    with Service(config, address, [sys.executable, program]) as service:
        silent = f"dns: {resolv_conf} names no name server: DNS counts as silent until it names one"
        assert service.log().count(silent) == 1
        assert b" unclaimed" in deliver(b"From: a@else.example\r\n\r\n").fields[0][1]
        assert (deliver(genuine).reply or "")[:9] == "451 4.7.1"
        reload = service.reload("--wait")
        assert (reload.returncode, silent in reload.stdout + reload.stderr) == (0, True)
        resolv_conf.write_text("nameserver 127.0.0.1\n")
        with DnsServer(zone, port):
            assert wait_until(lambda: deliver(genuine).response == "continue", 15)
            assert b" verified" in deliver(genuine).fields[0][1]
        assert service.log().count("names a name server now") == 1


CACHES = {
    "full": "mount -t tmpfs -o size=16k none DIR ; head -c 20000 /dev/zero > DIR/filler",
    "read-only": "mount -t tmpfs -o ro none DIR",
    "gone": "mount -t tmpfs none DIR && cd DIR/.. && umount DIR && rmdir DIR",
}


@pytest.mark.parametrize("kind", CACHES)
def test_a_cache_that_cannot_be_written_is_said_once_and_nothing_is_left(kind: str, tmp_path: Path) -> None:
    """By all workers and for all names together; and killed workers leave nothing either."""
    cache = tmp_path / "cache"
    cache.mkdir()
    names = [f"s{n}" for n in range(12)]
    zone = "".join(f'{s}._domainkey.ternum-bfc.fr. 300 IN TXT "{key_record("ed25519")}"\n' for s in names)
    head = b"From: nepasrepondre@ternum-bfc.fr\r\nSubject: avis\r\nDate: " + corpus.NOW + b"\r\n"
    head = corpus.Case("", "", "", head, "", {}, {}).present()
    address = f"unix:{tmp_path}/milter.sock"
    with DnsServer(zone) as unbound:
        dns_settings = {"servers": [unbound.address]}
        case = corpus.Case("", "", "", b"", "", {}, {})
        config = corpus.write_config(tmp_path, case, socket=address, dns=dns_settings, workers=3)
        script = CACHES[kind].replace("DIR", str(cache)) + '; exec "$@"'
        program: list[str | Path] = ["unshare", "-m", "sh", "-c", script, "sh", PROGRAM]
        with Service(config, address, program, CACHE_DIRECTORY=str(cache)) as service:
            for number, name in enumerate(names):
                message = sign(head + b"\r\nbody\r\n", Sign(selector=name, key="ed25519", signed=("From", "Subject")))
                with MilterClient(address) as client:
                    client.connect("203.0.113.66", helo="mail.mailer.example")
                    fields, _ = stored.read_header(io.BytesIO(message))
                    outcome = client.message(fields, b"body\r\n", mail_from="")
                assert b" verified" in outcome.fields[0][1]
                if number % 5 == 4:
                    os.kill(service.children()[0], signal.SIGKILL)
                    time.sleep(1.2)
            assert wait_until(lambda: "cannot write" in service.log(), 10), service.log()
            seen = Path(f"/proc/{service.pid}/root{cache}")
            left = sorted(p.name for p in seen.iterdir()) if seen.exists() else []
            assert [name for name in left if name != "filler"] in ([], [".dns.json.lock"])
            os.kill(service.pid, signal.SIGTERM)
            assert service.wait(10) == 0
            assert service.log().count("cannot write") == 1, service.log()


def test_a_damaged_file_is_said_once_by_all_workers(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "dns.json").write_text('{"version": 1, "answers": [["a.example", "TXT", 1' + "0" * 400 + ', ["x"]]]}')
    address = f"unix:{tmp_path}/milter.sock"
    config = corpus.write_config(tmp_path, corpus.Case("", "", "", b"", "", {}, {}), socket=address, workers=4)
    with Service(config, address, CACHE_DIRECTORY=str(cache)) as service:
        assert wait_until(lambda: len(service.children()) == 4, 10)
        with MilterClient(address) as client:
            client.connect()
            assert client.message([(b"From", b" a@else.example")], b"body\r\n").response == "continue"
        os.kill(service.pid, signal.SIGTERM)
        assert service.wait(10) == 0
        assert service.log().count("cannot be read") == 1
        assert service.log().count("WARN") + service.log().count("dns:") <= 2
    assert json.loads((cache / "dns.json").read_text()) == {"version": 1, "answers": []}


def test_what_one_worker_knows_others_find(tmp_path: Path, server: LyingDns) -> None:
    """Whom a notice reaches while DNS is down need not be who had the last one; and what one has learned to be gone,
    none brings back."""
    server.udp = records
    file = tmp_path / "dns.json"
    other = Site(server, memory=file)
    remembered(server, file)
    server.udp = rcode("SERVFAIL")
    assert other.ask("k.x.example").records == (b'v\xff"\\',)
    server.udp = rcode("NXDOMAIN", f"{SOA} 60")
    other.clock.ahead += 301
    assert other.ask("k.x.example").status is DnsStatus.NO_NAME
    other.resolver.stop()
    assert b"k.x.example" not in file.read_bytes()
    assert b"mail.x.example" in file.read_bytes()
