"""The whole flow of one message: header, body, decision. The milter and `pratique explain` both call it.

Rules of this module: no protocol and no output; it strings together claims, authentication, policy and
headers, and the clock and DNS are given to it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from . import headers, policy, received
from .authentication import Inspection
from .claims import find_claim
from .model import (
    Action,
    Because,
    Claim,
    ClaimKind,
    Decision,
    Entry,
    Evidence,
    Header,
    Mode,
    Origin,
    Session,
    Settings,
    Verdict,
    in_networks,
)
from .policy import Judgement
from .reasons import Reason
from .resolver import Lookups, Resolver

_LONGEST_DATE = 200  # octets of a Date field that are read
_NO_CLAIM = Claim(ClaimKind.NONE)
_NO_EVIDENCE = Evidence()
_SAID = (Action.QUARANTINE, Action.REJECT, Action.DEFER)  # of these the MTA wants to know why


class Examination:
    """One message: made at the end of its header, given the body while it `wants_body`, asked to decide."""

    def __init__(self, session: Session, header: Header, settings: Settings, now: datetime):
        self._session, self._header, self._settings, self._now = session, header, settings, now
        self._because = why_ours(session, header, settings)
        self._checked = self._because is None
        if self._checked:
            self._origin = received.find_origin(session, header, settings.relays)
            self.claim = find_claim(header, settings.senders, settings.limits, settings.local_domains)
        else:
            self._origin, self.claim = Origin(session.client, session.helo), _NO_CLAIM
        self._entry = settings.senders.entry(self.claim.sender)
        self._inspection: Inspection | None = None
        if self._entry and self.claim.address and self.claim.needs_evidence:
            judged = session
            if self._origin.relay:
                judged = replace(session, client=self._origin.client, helo=self._origin.helo)
            why_none = self._origin.reason or Reason.NO_CLIENT_ADDRESS
            self._inspection = Inspection(judged, header, self._entry, self.claim.address, settings, now, why_none)

    @property
    def wants_body(self) -> bool:
        return self._inspection is not None and self._inspection.body.wanted

    def body(self, piece: bytes) -> None:
        if self._inspection:
            self._inspection.body.update(piece)

    def decide(self, resolver: Resolver) -> Decision:
        """The verdict, and what follows from it. Asks DNS where something is claimed, and only then."""
        judgement, evidence = Judgement(Verdict.UNCHECKED), _NO_EVIDENCE
        if self._checked:
            if self._inspection:
                lookups = Lookups(resolver, self._settings.dns.timeout)
                evidence = self._inspection.evidence(lookups)
                if lookups.state is not evidence.dns:
                    evidence = replace(evidence, dns=lookups.state)
                lookups.keep(evidence.names)
            judgement = policy.decide(self.claim, evidence, self._entry, self._now.date())
        return conclude(
            self._session, self._header, self._settings, self._now, judgement, self.claim, evidence, self._entry,
            self._origin, self._because,
        )  # fmt: skip


def conclude(
    session: Session, header: Header, settings: Settings, now: datetime, judgement: Judgement,
    claim: Claim = _NO_CLAIM, evidence: Evidence = _NO_EVIDENCE, entry: Entry | None = None,
    origin: Origin | None = None, because: Because | None = None,
) -> Decision:  # fmt: skip
    """Action and header edits for a verdict."""
    verdict = judgement.verdict
    action = settings.action(verdict, entry)
    if judgement.waits and is_young(header, settings, now):
        # As long as the site defers what it cannot judge. Afterwards the action of the verdict applies.
        undetermined = settings.action(Verdict.UNDETERMINED, entry)
        action = undetermined if undetermined is Action.DEFER else action
    if settings.mode is Mode.OBSERVE and action is not Action.NONE:
        action = Action.TAG
    if action is Action.DEFER and not is_young(header, settings, now):
        action = Action.TAG
    edits = headers.strip(header, settings, session.hostname, headers.trusted_field(session, header, settings))
    decision = Decision(
        verdict, action, entry.id if entry else None, judgement.by, judgement.reason, claim, evidence,
        origin or Origin(session.client, session.helo), edits, len(edits),
        _in_words(judgement, entry) if action in _SAID else "", because,
    )  # fmt: skip
    if action is not Action.NONE:  # the decision's own edits grow by what depends on it
        edits += headers.subject_change(header, decision, settings)
        edits += headers.insertions(decision, settings, session.hostname)
    return decision


def _in_words(judgement: Judgement, entry: Entry | None) -> str:
    whose = f"claiming to be from {entry.domain} " if entry else ""
    return f"mail {whose}is {judgement.verdict}" + (f" ({judgement.reason})" if judgement.reason else "")


def internal_error(session: Session, header: Header, settings: Settings, now: datetime) -> Decision:
    """The decision where our own judging raised: nothing is known, and forged fields go all the same."""
    return conclude(session, header, settings, now, Judgement(Verdict.UNDETERMINED, reason=Reason.INTERNAL_ERROR))


def why_ours(session: Session, header: Header, settings: Settings) -> Because | None:
    """Mail of our own users and hosts, or already judged by another MX host of ours: design#decision, row 1.

    It is the client that connected that counts, whatever a Received field says; and a relay, which brings the mail
    of others, is none of our own, even inside `local_networks`.
    """
    if session.authenticated:
        return Because.AUTHENTICATED
    of_local_network = in_networks(session.client, settings.local_networks)
    if of_local_network and not received.relay_of(session.client, settings.relays):
        return Because.LOCAL_NETWORK
    if headers.trusted_field(session, header, settings) is not None:
        return Because.TRUSTED_HOST
    return None


def is_young(header: Header, settings: Settings, now: datetime) -> bool:
    """Whether the message's one readable Date is at most `defer_for` old, and not in the future."""
    dates = header.all(b"date")
    if len(dates) != 1 or len(dates[0].value) > _LONGEST_DATE:
        return False
    try:
        written = parsedate_to_datetime(dates[0].value.decode("ascii").strip())
        age = now - (written if written.tzinfo else written.replace(tzinfo=UTC))
    except (ValueError, TypeError, IndexError, OverflowError, UnicodeDecodeError):
        return False
    return -settings.clock_skew <= age <= settings.defer_for
