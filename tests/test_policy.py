"""The decision as a table: claim, evidence, requirement in; verdict, proof, reason out."""

from __future__ import annotations

import ipaddress
import itertools
from dataclasses import replace
from datetime import date

import pytest

from pratique.model import (
    ArcEvidence,
    ArcResult,
    Claim,
    ClaimKind,
    DkimEvidence,
    DkimResult,
    Entry,
    Evidence,
    IPNetwork,
    Require,
    SpfEvidence,
    SpfResult,
    Truth,
    Verdict,
)
from pratique.policy import decide, requirement
from pratique.reasons import Reason

TODAY = date(2026, 11, 22)
ENTRY = Entry("x", "X", "x.example", (("a", "x.example"),))
LISTED, DOMAIN = Claim(ClaimKind.LISTED, "x"), Claim(ClaimKind.DOMAIN, "x")

DKIM = {
    Truth.TRUE: DkimEvidence(DkimResult.PASS, aligned=True, counts=True),
    Truth.UNKNOWN: DkimEvidence(DkimResult.TEMPERROR, aligned=True, reason=Reason.DNS_TEMPERROR),
    Truth.FALSE: DkimEvidence(DkimResult.NEUTRAL, reason=Reason.UNALIGNED),
}
SPF = {
    Truth.TRUE: SpfEvidence(SpfResult.PASS, aligned=True, counts=True),
    Truth.UNKNOWN: SpfEvidence(SpfResult.TEMPERROR, aligned=True, reason=Reason.DNS_TEMPERROR),
    Truth.FALSE: SpfEvidence(SpfResult.FAIL, aligned=True, reason=Reason.SPF_NOT_PASS),
}
EVERY = list(itertools.product(Truth, Truth, (True, False)))


def evidence(dkim: Truth, spf: Truth, network: bool) -> Evidence:
    return Evidence((DKIM[dkim],), SPF[spf], network)


def with_networks(require: Require, listed: bool) -> Entry:
    networks: tuple[IPNetwork, ...] = (ipaddress.ip_network("192.0.2.0/24"),) if listed else ()
    return replace(ENTRY, require=require, networks=networks)


@pytest.mark.parametrize(("dkim", "spf", "network"), EVERY)
@pytest.mark.parametrize("listed", [True, False])
def test_requirement(dkim: Truth, spf: Truth, network: bool, listed: bool) -> None:
    """design#requirement, said once more in numbers: 0 false, 1 unknown, 2 true."""
    if network and not listed:
        return  # there is no network to be in
    found = {r: requirement(with_networks(r, listed), evidence(dkim, spf, network)).value for r in Require}
    in_network = 2 if network else 0
    assert found == {
        Require.ANY: max(dkim.value, spf.value, in_network),
        Require.DKIM: dkim.value,
        Require.SPF: spf.value,
        Require.NETWORK: in_network,
        Require.ALL: min(dkim.value, spf.value, in_network if listed else 2),
    }


@pytest.mark.parametrize(
    ("claim", "met", "verdict"),
    [
        (LISTED, Truth.TRUE, Verdict.VERIFIED),
        (LISTED, Truth.UNKNOWN, Verdict.UNDETERMINED),
        (LISTED, Truth.FALSE, Verdict.UNVERIFIED),
        (DOMAIN, Truth.TRUE, Verdict.UNLISTED),
        (DOMAIN, Truth.UNKNOWN, Verdict.UNVERIFIED),
        (DOMAIN, Truth.FALSE, Verdict.UNVERIFIED),
    ],
)
def test_rows_3_to_7(claim: Claim, met: Truth, verdict: Verdict) -> None:
    judged = decide(claim, evidence(met, Truth.FALSE, False), ENTRY, TODAY)
    assert judged.verdict is verdict
    assert judged.by == (("dkim",) if met is Truth.TRUE else ())
    expected = {Truth.TRUE: None, Truth.UNKNOWN: Reason.DNS_TEMPERROR, Truth.FALSE: Reason.NO_ALIGNED_PASS}
    assert judged.reason is expected[met]


DOUBTFUL = [
    Evidence((replace(DKIM[Truth.UNKNOWN], doubtful=True),), SPF[Truth.FALSE]),
    Evidence((DKIM[Truth.FALSE],), replace(SPF[Truth.UNKNOWN], doubtful=True)),
    Evidence((), SPF[Truth.FALSE], arc=ArcEvidence(ArcResult.TEMPERROR, doubtful=True)),
]


@pytest.mark.parametrize("facts", DOUBTFUL)
@pytest.mark.parametrize("claim", [LISTED, DOMAIN])
def test_a_forger_does_not_make_a_message_undetermined(claim: Claim, facts: Evidence) -> None:
    """No answer for a name that a forger could have picked: not unknown, and still worth waiting for."""
    judged = decide(claim, facts, ENTRY, TODAY)
    assert (judged.verdict, judged.reason) == (Verdict.UNVERIFIED, Reason.DNS_TEMPERROR)
    assert judged.waits
    without = decide(claim, facts.without_doubt, ENTRY, TODAY)
    assert without.verdict is (Verdict.UNDETERMINED if claim is LISTED else Verdict.UNVERIFIED)
    expired = decide(claim, facts, replace(ENTRY, expires=date(2026, 11, 21)), TODAY)
    assert (expired.reason, expired.waits) == (Reason.ENTRY_EXPIRED, False)


def test_what_cannot_be_met_any_more_does_not_wait() -> None:
    doubtful_spf = replace(SPF[Truth.UNKNOWN], doubtful=True)
    for require, dkim, waits in [
        (Require.ANY, Truth.FALSE, True),
        (Require.SPF, Truth.FALSE, True),
        (Require.ALL, Truth.TRUE, True),
        (Require.ALL, Truth.UNKNOWN, True),
        (Require.ALL, Truth.FALSE, False),
        (Require.DKIM, Truth.FALSE, False),
        (Require.NETWORK, Truth.FALSE, False),
    ]:
        judged = decide(LISTED, Evidence((DKIM[dkim],), doubtful_spf), replace(ENTRY, require=require), TODAY)
        assert (judged.verdict, judged.waits) == (Verdict.UNVERIFIED, waits), require
    proven = decide(LISTED, Evidence((DKIM[Truth.TRUE],), doubtful_spf), ENTRY, TODAY)
    assert proven.verdict is Verdict.VERIFIED
    own = decide(LISTED, Evidence((DKIM[Truth.UNKNOWN],), doubtful_spf), ENTRY, TODAY)
    assert (own.verdict, own.waits) == (Verdict.UNDETERMINED, False)


@pytest.mark.parametrize("kind", [k for k in ClaimKind if k not in (ClaimKind.LISTED, ClaimKind.DOMAIN)])
def test_no_evidence_verifies_another_claim(kind: ClaimKind) -> None:
    claim = Claim(kind, "x", reason=Reason.GROUP_IN_FROM)
    for facts in EVERY:
        assert decide(claim, evidence(*facts), ENTRY, TODAY).verdict in (
            Verdict.UNVERIFIED,
            Verdict.IMITATION,
            Verdict.UNCLAIMED,
        )


@pytest.mark.parametrize(("expires", "verdict"), [(TODAY, Verdict.VERIFIED), (date(2026, 11, 21), Verdict.UNVERIFIED)])
def test_an_entry_is_good_on_the_day_it_expires(expires: date, verdict: Verdict) -> None:
    judged = decide(LISTED, evidence(Truth.TRUE, Truth.TRUE, False), replace(ENTRY, expires=expires), TODAY)
    assert judged.verdict is verdict


def test_by_names_what_was_asked_for() -> None:
    both = evidence(Truth.TRUE, Truth.TRUE, False)
    found = {r: decide(LISTED, both, replace(ENTRY, require=r), TODAY).by for r in Require}
    assert found[Require.ANY] == found[Require.ALL] == ("dkim", "spf")
    assert (found[Require.DKIM], found[Require.SPF], found[Require.NETWORK]) == (("dkim",), ("spf",), ())


def test_the_reason_is_that_of_the_nearest_miss() -> None:
    broken = DkimEvidence(DkimResult.FAIL, aligned=True, reason=Reason.BODY_HASH_MISMATCH)
    judged = decide(LISTED, Evidence((DKIM[Truth.FALSE], broken), SPF[Truth.FALSE]), ENTRY, TODAY)
    assert judged.reason is Reason.BODY_HASH_MISMATCH
    only_dkim = decide(LISTED, evidence(Truth.TRUE, Truth.FALSE, False), replace(ENTRY, require=Require.SPF), TODAY)
    assert only_dkim.reason is Reason.REQUIREMENT_NOT_MET


def test_a_signature_that_does_not_say_why_it_fails_is_passed_over() -> None:
    silent = DkimEvidence(DkimResult.FAIL, aligned=True)
    judged = decide(LISTED, Evidence((silent,), SPF[Truth.FALSE]), ENTRY, TODAY)
    assert judged.reason is Reason.NO_ALIGNED_PASS


def test_the_network_alone_is_not_what_dkim_asks_for() -> None:
    judged = decide(LISTED, evidence(Truth.FALSE, Truth.FALSE, True), with_networks(Require.DKIM, True), TODAY)
    assert judged.reason is Reason.REQUIREMENT_NOT_MET


def test_without_its_entry_a_claim_is_none() -> None:
    assert decide(LISTED, evidence(Truth.TRUE, Truth.TRUE, True), None, TODAY).verdict is Verdict.UNCLAIMED
