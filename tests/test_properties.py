"""What holds for any claim, any evidence and any list."""

from __future__ import annotations

import ipaddress
import re
from datetime import date

import authres
from hypothesis import given
from hypothesis import strategies as st

from pratique import headers
from pratique.claims import find_claim
from pratique.model import (
    Action,
    Address,
    ArcEvidence,
    ArcResult,
    Claim,
    ClaimKind,
    Decision,
    DkimEvidence,
    DkimResult,
    Entry,
    Evidence,
    Header,
    HeaderField,
    Limits,
    Mode,
    Require,
    Session,
    Settings,
    SpfEvidence,
    SpfResult,
    TrustedHosts,
    TrustedList,
    Verdict,
)
from pratique.policy import decide
from pratique.reasons import Reason

LABEL = st.text("abz059", min_size=1, max_size=8) | st.just("a-b")
DOMAIN = st.lists(LABEL, min_size=2, max_size=4).map(".".join)
REASON = st.none() | st.sampled_from(Reason)
ADDRESS = st.builds(Address, st.text(min_size=1, max_size=20), DOMAIN)
DKIM = st.builds(
    DkimEvidence,
    *(st.sampled_from(DkimResult), DOMAIN, LABEL, st.just("rsa-sha256"), st.integers(0, 4096)),
    *(st.booleans(), st.booleans(), REASON),
)
SPF = st.builds(
    SpfEvidence,
    *(st.sampled_from(SpfResult), st.none() | DOMAIN, st.sampled_from(["mailfrom", "helo", None])),
    *(st.booleans(), st.booleans(), st.none() | st.text(max_size=9), st.none() | DOMAIN, REASON),
)
ARC = st.builds(ArcEvidence, st.sampled_from(ArcResult), st.lists(DOMAIN).map(tuple), st.booleans(), REASON)
EVIDENCE = st.builds(Evidence, st.lists(DKIM, max_size=4).map(tuple), SPF, st.booleans(), ARC)
NETWORK = ipaddress.ip_network("192.0.2.0/24")
ENTRY = st.builds(
    Entry,
    *(LABEL, st.text(min_size=1, max_size=20), DOMAIN, st.just((("a", "x.example"),)), st.sampled_from(Require)),
    networks=st.sampled_from([(), (NETWORK,)]),
    expires=st.none() | st.dates(),
)
CLAIM = st.builds(Claim, st.sampled_from(ClaimKind), LABEL, st.none() | ADDRESS, REASON)
TODAY = date(2026, 11, 22)


@given(CLAIM, EVIDENCE, st.none() | ENTRY, st.dates())
def test_nothing_is_verified_without_evidence_that_counts(
    claim: Claim, evidence: Evidence, entry: Entry | None, today: date
) -> None:
    judged = decide(claim, evidence, entry, today)
    proven = any(s.counts for s in evidence.dkim) or evidence.spf.counts or evidence.network
    proven = proven or (evidence.arc.counts and entry is not None and entry.require is Require.ANY)
    if judged.verdict in (Verdict.VERIFIED, Verdict.UNLISTED):
        assert proven
        assert judged.by
        assert entry is not None
        assert not entry.expired(today)
    if judged.verdict is Verdict.VERIFIED:
        assert claim.kind is ClaimKind.LISTED
        assert judged.reason is None
    assert judged.verdict is not Verdict.UNCHECKED
    assert (judged.reason is not None) or judged.verdict is not Verdict.UNVERIFIED or claim.reason is None


@given(st.binary(max_size=120), st.lists(ENTRY, max_size=3))
def test_any_from_and_any_list_give_a_claim(value: bytes, entries: list[Entry]) -> None:
    senders = TrustedList(tuple(entries))
    found = find_claim(Header((HeaderField(b"From", value),)), senders, Limits())
    assert found.sender is None or senders.entry(found.sender) is not None
    assert (found.kind is ClaimKind.NONE) == (found.sender is None)


@given(EVIDENCE, DOMAIN)
def test_authentication_results_are_read_as_they_were_meant(evidence: Evidence, host: str) -> None:
    text = headers.authentication_results(host, evidence)
    assert text.isprintable()
    read = authres.AuthenticationResultsHeader.parse(f"Authentication-Results: {text}")
    assert str(read) == f"Authentication-Results: {text}"
    assert read.authserv_id == host
    aligned = [s for s in evidence.dkim if s.aligned]
    looked_into = evidence.arc.result in (ArcResult.PASS, ArcResult.FAIL)
    spf = [r.result for r in read.results if r.method == "spf"]
    assert spf == [evidence.spf.result] * evidence.spf.evaluated
    others = [r.method for r in read.results[len(spf) :]]
    assert others == ["dkim"] * max(1, len(aligned)) + ["arc"] * looked_into
    assert headers.claims_authserv_id(text.encode(), [host])


@given(
    st.sampled_from(Verdict), st.none() | LABEL, st.lists(st.sampled_from(["dkim", "spf", "network"]), unique=True),
    REASON, st.sampled_from(Mode), DOMAIN,
)  # fmt: skip
def test_our_field_is_read_as_it_was_meant(
    verdict: Verdict, sender: str | None, by: list[str], reason: Reason | None, mode: Mode, host: str
) -> None:
    decision = Decision(verdict, Action.TAG, sender, tuple(by), reason)
    text = headers.trusted_sender(decision, mode, host)
    first, *pairs = text.split("; ")
    assert re.fullmatch(r"[a-z]+", first)
    assert (first == "verified") == (verdict is Verdict.VERIFIED and mode is Mode.ENFORCE)
    read = dict(pair.split("=", 1) for pair in pairs)
    wanted = {"would": verdict if mode is Mode.OBSERVE else "", "sender": sender, "by": "+".join(by), "reason": reason}
    assert read == {key: value for key, value in wanted.items() if value} | {"host": host}
    # another MX host of ours reads it as it was meant, too
    settings = Settings(trusted_hosts=TrustedHosts((NETWORK,), frozenset([host])))
    header = Header((HeaderField(b"X-Trusted-Sender", b" " + text.encode()),))
    session = Session(ipaddress.ip_address("192.0.2.1"), "", "")
    assert headers.trusted_field(session, header, settings) is header.all(b"x-trusted-sender")[0]
