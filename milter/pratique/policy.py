"""The decision: claim and evidence in, verdict and reason out.

Rules of this module: one pure function, in the order of the table in design#decision, in three-valued logic.
`verified` is returned at exactly one place.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from .model import Claim, ClaimKind, Entry, Evidence, Require, SpfResult, Truth, Verdict
from .reasons import Reason


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, what proves it (`by`), or why it is no better (`reason`). `waits`: a missing DNS answer could still
    prove the message, so that it is deferred while it is young."""

    verdict: Verdict
    by: tuple[str, ...] = ()
    reason: Reason | None = None
    waits: bool = False


_UNCLAIMED = Judgement(Verdict.UNCLAIMED)


def decide(claim: Claim, evidence: Evidence, entry: Entry | None, today: date) -> Judgement:
    """The verdict on a message that was checked; `entry` is the one claimed, `today` the day in UTC."""
    if claim.kind is ClaimKind.AMBIGUOUS:
        return Judgement(Verdict.UNVERIFIED, reason=claim.reason)
    if claim.kind is ClaimKind.IMITATION:
        return Judgement(Verdict.IMITATION, reason=claim.reason)
    if claim.kind is ClaimKind.NONE or entry is None:
        return _UNCLAIMED
    if entry.expired(today):
        return Judgement(Verdict.UNVERIFIED, reason=Reason.ENTRY_EXPIRED)
    met = requirement(entry, evidence)
    if met is Truth.TRUE:
        if claim.kind is ClaimKind.LISTED:
            return Judgement(Verdict.VERIFIED, by=proofs(entry, evidence))
        return Judgement(Verdict.UNLISTED, by=proofs(entry, evidence), reason=claim.reason)
    if met is Truth.UNKNOWN and claim.kind is ClaimKind.LISTED:
        return Judgement(Verdict.UNDETERMINED, reason=Reason.DNS_TEMPERROR)
    if requirement(entry, evidence.without_doubt) is Truth.UNKNOWN:
        return Judgement(Verdict.UNVERIFIED, reason=Reason.DNS_TEMPERROR, waits=True)
    return Judgement(Verdict.UNVERIFIED, reason=shortcoming(evidence))


def requirement(entry: Entry, evidence: Evidence) -> Truth:
    """Whether the entry's requirement is met. The network has a say only where the entry lists one, and what
    forwarders saw (ARC) only where the entry asks for nothing in particular."""
    dkim, spf, arc = evidence.dkim_truth, evidence.spf.truth, evidence.arc.truth
    network = Truth.TRUE if evidence.network else Truth.FALSE
    match entry.require:
        case Require.DKIM:
            return dkim
        case Require.SPF:
            return spf
        case Require.NETWORK:
            return network
        case Require.ANY:
            return dkim | spf | arc | network if entry.networks else dkim | spf | arc
        case Require.ALL:
            return dkim & spf & network if entry.networks else dkim & spf


def proofs(entry: Entry, evidence: Evidence) -> tuple[str, ...]:
    """The kinds of evidence that counted and were asked for."""
    counted = {
        "dkim": evidence.dkim_truth is Truth.TRUE,
        "spf": evidence.spf.truth is Truth.TRUE,
        "network": evidence.network,
        "arc": evidence.arc.counts and entry.require is Require.ANY,
    }
    every = entry.require in (Require.ANY, Require.ALL)
    return tuple(kind for kind, counts in counted.items() if counts and (every or kind == entry.require))


def shortcoming(evidence: Evidence) -> Reason:
    """The reason that helps most to see why a requirement was not met: what came nearest and failed."""
    for signature in evidence.dkim:
        if signature.aligned and not signature.counts and signature.reason:
            return signature.reason
    spf = evidence.spf
    if spf.aligned and (spf.result is SpfResult.PASS or spf.reason is Reason.TOO_MANY_QUERIES) and spf.reason:
        return spf.reason
    if evidence.dkim_truth is Truth.TRUE or spf.truth is Truth.TRUE or evidence.network:
        return Reason.REQUIREMENT_NOT_MET
    if evidence.arc.reason and evidence.arc.reason is not Reason.ARC_SEALER_UNLISTED:
        return evidence.arc.reason
    return spf.reason if spf.reason in (Reason.BEHIND_RELAY, Reason.RELAY_UNREADABLE) else Reason.NO_ALIGNED_PASS
