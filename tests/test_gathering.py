"""DNS for one message that claims a trusted sender: how many queries it causes, and how long it waits for which."""

from __future__ import annotations

import io
import ipaddress
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import dns.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.authentication import asking
from pratique.authentication.asking import MOST_ELSEWHERE, MOST_QUERIES
from pratique.cli import explain
from pratique.model import (
    Action,
    Decision,
    DnsAnswer,
    DnsSettings,
    DnsState,
    DnsStatus,
    Entry,
    Question,
    Require,
    Session,
    Settings,
    TrustedList,
    Verdict,
    is_within,
)
from pratique.reasons import Reason
from pratique.resolver import Lookups, NetworkResolver, ZoneResolver, network

from harness import corpus
from harness.lying_dns import LyingDns, Said, reply
from harness.signing import Hop, Sign, key_record, seal, sign

ENTRY = Entry("x", "X", "x.example", (("a", "x.example"),))
NOTICE = b"From: a@x.example\r\nSubject: s\r\nDate: @NOW@\r\n\r\nbody\r\n"
SERVER, STRANGER = "192.0.2.1", "203.0.113.66"
KEY = key_record("ed25519")
WAITING = 2.0  # seconds that a message may take where something proves it
SLACK = 0.7  # seconds that a busy machine may add


def signed(*selectors: str, data: bytes = NOTICE, domain: str = "x.example") -> bytes:
    data = corpus.Case("", "", "", data, "", {}, {}).present()
    for selector in reversed(selectors):
        data = sign(data, Sign(domain, selector, "ed25519", signed=("From", "Subject")))
    return data


def judge(resolver: Any, message: bytes, mail_from: str = "b@x.example", client: str = SERVER, entry: Entry = ENTRY,
          timeout: float = 5.0, helo: str = "mail.evil.example", **more: Any) -> Decision:  # fmt: skip
    session = Session(ipaddress.ip_address(client), helo, mail_from)
    options = Settings(TrustedList((entry,)), authserv_id="mx", dns=DnsSettings(timeout=timeout), **more)
    return explain.judge(io.BytesIO(message), session, options, resolver)


def quoted(text: str) -> str:
    """The strings of a TXT record."""
    return " ".join(f'"{text[i : i + 200]}"' for i in range(0, len(text), 200))


class Dns:
    """A server that answers from records, after a while, and says nothing of some names."""

    def __init__(self, server: LyingDns) -> None:
        self.server = server
        self.records: dict[Question, list[str]] = {}
        self.silent: set[str] = set()
        self.slow: dict[str, float] = {}
        self.resolver = NetworkResolver(DnsSettings((server.server,)))
        server.udp = self.answer

    def answer(self, query: dns.message.Message) -> Said:
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True)
        if name in self.silent:
            return
        time.sleep(self.slow.get(name, 0))
        rdtype = dns.rdatatype.to_text(question.rdtype)
        found = [f"{name} 300 IN {rdtype} {data}" for data in self.records.get((name, rdtype), [])]
        soa = () if found else ("x.example 60 IN SOA ns.x.example. h.x.example. 1 3600 600 86400 60",)
        yield reply(query, *found, authority=soa, rcode="NOERROR" if found else "NXDOMAIN")

    def txt(self, name: str, text: str) -> None:
        self.records[name, "TXT"] = [quoted(text)]

    def asked(self, name: str) -> int:
        return [asked for asked, _, _ in self.server.asked].count(name)


@pytest.fixture
def server() -> Iterator[Dns]:
    with LyingDns() as lying:
        found = Dns(lying)
        found.txt("x.example", f"v=spf1 ip4:{SERVER} -all")
        found.txt("s1._domainkey.x.example", KEY)
        yield found


def timed(judging: Callable[[], Decision]) -> tuple[Decision, float]:
    started = time.monotonic()
    return judging(), time.monotonic() - started


# ---- nothing waits for what only another needs ------------------------------------------------------------------


@pytest.mark.parametrize("require", [Require.ANY, Require.SPF])
def test_a_silent_key_and_a_passing_spf(server: Dns, require: Require) -> None:
    server.silent.add("gone._domainkey.x.example")
    entry = Entry("x", "X", "x.example", ENTRY.addresses, require)
    found, seconds = timed(lambda: judge(server.resolver, signed("gone"), entry=entry))
    assert (found.verdict, found.by) == (Verdict.VERIFIED, ("spf",))
    assert seconds < WAITING
    assert found.evidence.dns is DnsState.TEMPERROR


@pytest.mark.parametrize("require", [Require.ANY, Require.DKIM])
def test_a_silent_spf_domain_and_a_passing_signature(server: Dns, require: Require) -> None:
    server.silent.add("x.example")
    entry = Entry("x", "X", "x.example", ENTRY.addresses, require)
    for known in (False, True):
        found, seconds = timed(lambda: judge(server.resolver, signed("s1"), entry=entry))
        assert (found.verdict, found.by) == (Verdict.VERIFIED, ("dkim",)), known
        assert seconds < 0.3 + SLACK


def test_a_silent_include_and_a_signature_whose_key_is_slow(server: Dns) -> None:
    server.txt("x.example", "v=spf1 include:silent.example -all")
    server.silent.add("silent.example")
    server.slow["s1._domainkey.x.example"] = 0.6
    found, seconds = timed(lambda: judge(server.resolver, signed("s1")))
    assert (found.verdict, found.by) == (Verdict.VERIFIED, ("dkim",))
    assert seconds < 0.6 + 0.3 + SLACK


@pytest.mark.parametrize("place", [0, 9])
def test_silent_keys_and_one_that_answers(server: Dns, place: int) -> None:
    """One signature does not wait for another one's key, wherever it stands."""
    selectors = [f"gone{n}" for n in range(9)]
    server.silent |= {f"{s}._domainkey.x.example" for s in selectors}
    selectors.insert(place, "s1")
    found, seconds = timed(lambda: judge(server.resolver, signed(*selectors), "b@other.example", STRANGER))
    assert (found.verdict, found.by) == (Verdict.VERIFIED, ("dkim",))
    assert seconds < 0.3 + SLACK


def test_both_that_prove_a_message_are_told(server: Dns) -> None:
    server.slow["x.example"] = 0.1
    for _ in range(2):
        found = judge(server.resolver, signed("s1"))
        assert (found.verdict, found.by) == (Verdict.VERIFIED, ("dkim", "spf"))


def test_where_both_are_required_both_are_waited_for(server: Dns) -> None:
    entry = Entry("x", "X", "x.example", ENTRY.addresses, Require.ALL)
    server.slow |= {"x.example": 0.8, "s1._domainkey.x.example": 0.5}
    found, seconds = timed(lambda: judge(server.resolver, signed("s1"), entry=entry))
    assert (found.verdict, found.by) == (Verdict.VERIFIED, ("dkim", "spf"))
    assert seconds < 0.8 + SLACK  # at the same time, and not one after the other
    server.silent.add("s2._domainkey.x.example")
    found, seconds = timed(lambda: judge(server.resolver, signed("s2"), entry=entry, timeout=1.0))
    assert (found.verdict, found.action) != (Verdict.VERIFIED, Action.TAG)
    assert 0.9 < seconds < 1.0 + SLACK


def test_nothing_answers(server: Dns) -> None:
    server.silent |= {"x.example", "s1._domainkey.x.example"}
    found, seconds = timed(lambda: judge(server.resolver, signed("s1"), timeout=1.0))
    assert (found.verdict, found.action, found.reason) == (*(Verdict.UNDETERMINED, Action.DEFER, Reason.DNS_TEMPERROR),)
    assert seconds < 1.0 + SLACK


def test_a_network_that_proves_a_message_does_not_wait(server: Dns) -> None:
    entry = Entry("x", "X", "x.example", ENTRY.addresses, networks=(ipaddress.ip_network("192.0.2.0/24"),))
    server.silent |= {"x.example", "s1._domainkey.x.example"}
    found, seconds = timed(lambda: judge(server.resolver, signed("s1"), entry=entry))
    assert (found.verdict, found.by) == (Verdict.VERIFIED, ("network",))
    assert seconds < 2 * 0.3 + SLACK


def test_a_chain_has_time_of_its_own(server: Dns) -> None:
    """SPF's domain is silent for all the time that it may have; the forwarder's key is asked for all the same."""
    server.silent.add("x.example")
    server.txt("arc._domainkey.forwarder.example", key_record("rsa2048"))
    results = "mx.forwarder.example; dkim=pass header.d=x.example"
    sent = seal(corpus.Case("", "", "", NOTICE, "", {}, {}).present(), Hop("forwarder.example", "arc", results))
    found, seconds = timed(
        lambda: judge(server.resolver, sent, timeout=2.0, arc_sealers=frozenset(["forwarder.example"]))
    )
    assert (found.verdict, found.by) == (Verdict.VERIFIED, ("arc",)), found.evidence.arc
    assert seconds < 2.0 + SLACK


def test_without_helpers_a_silent_key_takes_a_share_only(server: Dns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.resolver, "_helpers", threading.BoundedSemaphore(1))
    assert server.resolver._helpers.acquire()
    server.silent |= {"gone._domainkey.x.example", "too._domainkey.x.example"}
    found, seconds = timed(lambda: judge(server.resolver, signed("gone", "too")))
    assert (found.verdict, found.by) == (Verdict.VERIFIED, ("spf",))
    assert seconds < WAITING


def test_a_thread_that_cannot_be_started(server: Dns, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(*_: object, **__: object) -> threading.Thread:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(network, "threading", SimpleNamespace(Thread=no_thread))
    for _ in range(2 * network._MOST_HELPERS):
        assert server.resolver.begin("y.example", "TXT", 1) is None
    assert judge(server.resolver, signed("s1")).by == ("dkim", "spf")


def test_helpers_come_back(server: Dns) -> None:
    for n in range(2 * network._MOST_HELPERS):
        begun = server.resolver.begin(f"{n}.y.example", "TXT", 1)
        if not isinstance(begun, DnsAnswer) and begun is not None:
            assert begun.result(2).status is DnsStatus.NO_NAME
    deadline = time.monotonic() + 5
    while server.resolver._helpers._value < network._MOST_HELPERS:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_error_in_a_helper_is_no_answer(server: Dns, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> DnsAnswer:
        raise ValueError("broken")

    monkeypatch.setattr(server.resolver, "ask", broken)
    begun = server.resolver.begin("y.example", "TXT", 1)
    assert begun is not None
    assert not isinstance(begun, DnsAnswer)
    assert begun.result(2).status is DnsStatus.TIMEOUT


def test_what_is_known_takes_no_thread(server: Dns, monkeypatch: pytest.MonkeyPatch) -> None:
    first = judge(server.resolver, signed("s1"))
    monkeypatch.setattr(network, "threading", SimpleNamespace(Thread=None))
    assert judge(server.resolver, signed("s1")) == first


def test_many_messages_at_once(server: Dns) -> None:
    server.silent |= {f"gone{n}._domainkey.x.example" for n in range(100)}
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda n: judge(server.resolver, signed(f"gone{n}", f"gone{n + 1}")), range(20)))
    assert {decision.by for decision in found} == {("spf",)}


# ---- whose silence counts -----------------------------------------------------------------------------------------


def old(message: bytes) -> bytes:
    date = message[message.index(b"Date: ") :].partition(b"\r\n")[0]
    return message.replace(date, b"Date: Wed, 07 Jan 2026 12:00:00 +0000")


def test_a_mail_domain_that_has_proven_mail(server: Dns) -> None:
    server.resolver = NetworkResolver(DnsSettings((server.server.server,), cache=False, stale=0))
    message, mail_from = old(signed()), "b@sub.x.example"
    server.txt("sub.x.example", f"v=spf1 ip4:{SERVER} -all")
    server.silent.add("sub.x.example")
    assert judge(server.resolver, message, mail_from, timeout=0.5).verdict is Verdict.UNVERIFIED
    server.silent.clear()
    assert judge(server.resolver, message, mail_from).verdict is Verdict.VERIFIED
    server.silent.add("sub.x.example")
    for _ in range(2):
        assert judge(server.resolver, message, mail_from, timeout=0.5).verdict is Verdict.UNDETERMINED
    server.silent.clear()
    del server.records["sub.x.example", "TXT"]  # the platform has taken the domain back
    assert judge(server.resolver, message, mail_from).verdict is Verdict.UNVERIFIED
    server.silent.add("sub.x.example")
    assert judge(server.resolver, message, mail_from, timeout=0.5).verdict is Verdict.UNVERIFIED


def test_a_selector_that_a_forger_picks(server: Dns) -> None:
    """A key that never proved anything is silent, while DNS of its domain works: it is no failure of DNS."""
    forged = old(signed("lame"))
    server.silent.add("lame._domainkey.x.example")
    assert judge(server.resolver, forged, "b@evil.example", timeout=0.5).verdict is Verdict.UNDETERMINED
    assert judge(server.resolver, signed("s1"), "b@evil.example").verdict is Verdict.VERIFIED
    found = judge(server.resolver, forged, "b@evil.example", timeout=0.5)
    assert (found.verdict, found.reason, found.action) == (Verdict.UNVERIFIED, Reason.DNS_TEMPERROR, Action.TAG)
    young = judge(server.resolver, signed("lame"), "b@evil.example", timeout=0.5)
    assert (young.verdict, young.action) == (Verdict.UNVERIFIED, Action.DEFER)


def test_a_key_that_has_proven_mail(server: Dns) -> None:
    server.resolver = NetworkResolver(DnsSettings((server.server.server,), cache=False, stale=0))
    entry = Entry("x", "X", "x.example", ENTRY.addresses, Require.DKIM)
    server.txt("s1._domainkey.sub.x.example", KEY)
    server.silent.add("s1._domainkey.sub.x.example")
    message = old(signed("s1", domain="sub.x.example"))
    assert judge(server.resolver, message, timeout=0.5, entry=entry).verdict is Verdict.UNVERIFIED
    server.silent.clear()
    assert judge(server.resolver, message, entry=entry).verdict is Verdict.VERIFIED
    server.silent.add("s1._domainkey.sub.x.example")
    assert judge(server.resolver, message, timeout=0.5, entry=entry).verdict is Verdict.UNDETERMINED


@pytest.mark.parametrize(("domain", "verdict"), [("signer.example", "undetermined"), ("x.example", "undetermined"),
                                                 ("sub.x.example", "unverified")])  # fmt: skip
def test_a_key_of_a_domain_that_the_entry_names(domain: str, verdict: str) -> None:
    entry = Entry("x", "X", "x.example", ENTRY.addresses, signers=frozenset(["signer.example"]))
    resolver = ZoneResolver(f";servfail s1._domainkey.{domain}\n")
    found = judge(resolver, old(signed("s1", domain=domain)), "b@evil.example", entry=entry)
    assert found.verdict == verdict


def test_a_restart_forgets_no_name_that_has_proven_mail(server: Dns, tmp_path: Any) -> None:
    file = tmp_path / "dns.json"
    options = DnsSettings((server.server.server,))
    first = NetworkResolver(options, memory=file)
    server.txt("sub.x.example", f"v=spf1 ip4:{SERVER} -all")
    assert judge(first, signed(), "b@sub.x.example").verdict is Verdict.VERIFIED
    first.stop()
    second = NetworkResolver(options, memory=file)
    assert second.has_proven("sub.x.example")
    assert not second.has_proven("other.x.example")


# ---- how many queries ---------------------------------------------------------------------------------------------


class Counting:
    """A resolver that counts what it is asked."""

    def __init__(self, answer: Callable[[str, str], DnsAnswer]) -> None:
        self.answer = answer
        self.asked: list[Question] = []

    def ask(self, name: str, rdtype: str, seconds: float) -> DnsAnswer:  # noqa: ARG002
        self.asked.append((name, rdtype))
        return self.answer(name, rdtype)

    def keep(self, questions: object) -> None:
        pass

    @property
    def elsewhere(self) -> int:
        return sum(not is_within(name, "x.example") for name, _ in self.asked)


def zone(text: str) -> Counting:
    resolver = ZoneResolver(text)
    return Counting(lambda name, rdtype: resolver.ask(name, rdtype, 5))


def test_ordinary_mail_asks_nothing() -> None:
    resolver = zone("")
    message = signed("s1").replace(b"a@x.example", b"a@other.example")
    assert judge(resolver, message).verdict is Verdict.UNCLAIMED
    assert resolver.asked == []


def test_an_honest_message_asks_what_it_needs() -> None:
    text = 'x.example. 300 IN TXT "v=spf1 include:_spf.x.example -all"\n'
    text += f'_spf.x.example. 300 IN TXT "v=spf1 ip4:{SERVER}"\n'
    text += f's1._domainkey.x.example. 300 IN TXT "{KEY}"\n'
    resolver = zone(text)
    assert judge(resolver, signed("s1")).by == ("dkim", "spf")
    assert sorted(resolver.asked) == [
        ("_spf.x.example", "TXT"), ("s1._domainkey.x.example", "TXT"), ("x.example", "TXT"),
    ]  # fmt: skip
    forwarded = zone(text)
    assert judge(forwarded, signed("s1"), "b@forwarder.example", STRANGER).by == ("dkim",)
    assert forwarded.asked == [("s1._domainkey.x.example", "TXT")]


def mx_everywhere(name: str, rdtype: str) -> DnsAnswer:
    """The records of a forger who answers any question so that it leads to many more."""
    if rdtype == "TXT":
        terms = " ".join(f"mx:m{n}.%{{l}}.victim.example" for n in range(9))
        return DnsAnswer(DnsStatus.ANSWER, (f"v=spf1 {terms} -all".encode(),))
    if rdtype == "MX":
        return DnsAnswer(DnsStatus.ANSWER, tuple((n, f"h{n}.{name}") for n in range(10)))
    if rdtype == "PTR":
        return DnsAnswer(DnsStatus.ANSWER, tuple(f"p{n}.victim.example" for n in range(10)))
    return DnsAnswer(DnsStatus.ANSWER, ("203.0.113.9",))


def test_spf_of_another_domain_is_not_evaluated() -> None:
    """Finding 7: 111 queries, 100 of them to names of a victim."""
    resolver = Counting(mx_everywhere)
    found = judge(resolver, signed(*(f"r{n}" for n in range(10))), "local@evil.example", STRANGER)
    assert found.verdict is Verdict.UNVERIFIED
    assert len(resolver.asked) == 10
    assert found.evidence.spf.reason is Reason.UNALIGNED


def test_a_record_of_the_platform_that_leads_elsewhere() -> None:
    resolver = Counting(mx_everywhere)
    found = judge(resolver, signed(*(f"r{n}" for n in range(10))), client=STRANGER)
    assert len(resolver.asked) <= MOST_QUERIES == 40
    assert resolver.elsewhere <= MOST_ELSEWHERE == 20
    assert (found.verdict, found.action) == (Verdict.UNVERIFIED, Action.TAG)
    assert found.evidence.spf.reason is Reason.TOO_MANY_QUERIES
    assert found.evidence.spf.result == "permerror"
    unsigned = judge(Counting(mx_everywhere), signed(), client=STRANGER)
    assert unsigned.reason is Reason.TOO_MANY_QUERIES


TERMS = st.sampled_from(
    ["a:%{l}.y.example", "mx:%{h}", "mx", "mx:m.x.example", "ptr", "include:%{p}.x.example", "include:%{l}.x.example",
     "include:i.victim.example", "exists:%{i}.%{l}.victim.example", "a", "foo=%{p}", "redirect=%{l}.victim.example"]
)  # fmt: skip
STATUSES = st.sampled_from([DnsStatus.NO_NAME, DnsStatus.TIMEOUT, DnsStatus.SERVFAIL])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(TERMS, max_size=12), min_size=1, max_size=5), st.integers(0, 12),
    st.sampled_from(["x.example", "sub.x.example", "evil.example"]), st.integers(0, 10), st.lists(STATUSES, max_size=8),
)  # fmt: skip
def test_no_message_causes_more_queries(
    records: list[list[str]], signatures: int, mail_domain: str, hosts: int, failures: list[DnsStatus]
) -> None:
    names: dict[Question, DnsAnswer] = {}
    endless, failing = itertools.cycle(records), iter(failures)

    def answer(name: str, rdtype: str) -> DnsAnswer:
        if rdtype == "TXT" and "_domainkey" in name:
            status = next(failing, DnsStatus.NO_NAME)
            return names.setdefault((name, rdtype), DnsAnswer(status))
        if rdtype == "TXT":
            return names.setdefault(
                (name, rdtype), DnsAnswer(DnsStatus.ANSWER, (("v=spf1 " + " ".join(next(endless))).encode(),))
            )
        found = mx_everywhere(name, rdtype)
        return DnsAnswer(found.status, found.records[:hosts] or ("203.0.113.9",)) if rdtype in ("MX", "PTR") else found

    resolver = Counting(answer)
    message = signed(*(f"r{n}" for n in range(signatures)))
    found = judge(resolver, message, f"local@{mail_domain}", STRANGER, helo="helo.evil.example")
    assert len(resolver.asked) <= MOST_QUERIES
    assert resolver.elsewhere <= MOST_ELSEWHERE
    assert found.verdict is not Verdict.VERIFIED


def test_a_question_that_is_asked_again_counts_as_often(server: Dns) -> None:
    """The worst of both: ten keys and a record that leads to many names, and the keys are silent."""
    selectors = [f"r{n}" for n in range(10)]
    server.silent |= {f"{s}._domainkey.lame.x.example" for s in selectors}
    server.txt("x.example", "v=spf1 " + " ".join(f"mx:m{n}.x.example" for n in range(9)) + " -all")
    for n in range(9):
        server.records[f"m{n}.x.example", "MX"] = [f"{h} h{h}.m{n}.x.example." for h in range(10)]
        server.records |= {(f"h{h}.m{n}.x.example", "A"): ["203.0.113.9"] for h in range(10)}
    found = judge(server.resolver, signed(*selectors, domain="lame.x.example"), client=STRANGER)
    assert found.verdict is Verdict.UNVERIFIED
    assert len(server.server.asked) <= MOST_QUERIES


def test_a_chain_of_sealers_stays_below_the_limit() -> None:
    """Ten hops whose keys are elsewhere, after a record that has asked for eighteen names elsewhere."""
    message = corpus.Case("", "", "", NOTICE, "", {}, {}).present()
    results = "mx.f.example; dkim=pass header.d=x.example"
    for n in range(1, 11):
        message = seal(message, Hop("f.example", f"k{n}", results if n == 1 else "mx.f.example; arc=pass", n))
    text = "".join(f"k{n}._domainkey.f.example. 300 IN TXT {quoted(key_record('rsa2048'))}\n" for n in range(1, 11))
    text += f"x.example. 300 IN TXT {quoted('v=spf1 ' + ' '.join(f'a:a{n}.y.example' for n in range(9)) + ' -all')}\n"
    text += "".join(f"a{n}.y.example. 300 IN A 203.0.113.9\n" for n in range(9))
    resolver = zone(text)
    found = judge(resolver, message, client=STRANGER, arc_sealers=frozenset(["f.example"]))
    assert found.by == ("arc",), found.evidence.arc  # 9 and 10 names: just below the limit
    assert resolver.elsewhere == 19


def test_the_limit_of_names_elsewhere_is_told_for_a_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MOST_ELSEWHERE", 0)
    message = corpus.Case("", "", "", NOTICE, "", {}, {}).present()
    message = seal(message, Hop("f.example", "k1", "mx.f.example; dkim=pass header.d=x.example"))
    resolver = zone(f"k1._domainkey.f.example. 300 IN TXT {quoted(key_record('rsa2048'))}\n")
    found = judge(resolver, message, "b@f.example", arc_sealers=frozenset(["f.example"]))
    assert (found.verdict, found.reason) == (Verdict.UNVERIFIED, Reason.TOO_MANY_QUERIES)
    assert resolver.asked == []


# ---- the lookups of one message ------------------------------------------------------------------------------------


def test_a_lookup_that_was_begun_is_asked_once(server: Dns) -> None:
    lookups = Lookups(server.resolver, 5)
    assert lookups.begin("X.example.", "TXT")
    assert lookups.begin("x.example", "TXT")
    lookups.wait(2)
    assert lookups.is_answered("x.example", "TXT")
    assert lookups("x.example", "TXT").records
    assert lookups.begin("x.example", "TXT") == lookups("x.example", "TXT")
    assert server.asked("x.example") == 1


def test_a_lookup_that_was_given_up_is_no_answer(server: Dns) -> None:
    server.silent.add("x.example")
    lookups = Lookups(server.resolver, 5)
    assert lookups.begin("x.example", "TXT")
    assert not lookups.is_answered("x.example", "TXT")
    assert lookups("x.example", "TXT", 0.1).status is DnsStatus.TIMEOUT
    assert lookups.state is DnsState.TEMPERROR


def test_without_time_nothing_is_begun(server: Dns) -> None:
    assert not Lookups(server.resolver, 0).begin("x.example", "TXT")
    assert not Lookups(ZoneResolver(""), 5).begin("x.example", "TXT")
    assert server.asked("x.example") == 0
