"""What SPF, DKIM, ARC and the client's network say about a message that claims an entry.

Rules of this package: the only one that imports `spf` and `dkim`. It runs in two steps, because the body
comes between: `Inspection` at the end of the header says which body hashes are needed, `evidence` at the end
of the message asks DNS. All that is judged here is judged against one entry and one author.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from pratique.model import (
    Address,
    ArcEvidence,
    DkimResult,
    Entry,
    Evidence,
    Header,
    Lookup,
    Require,
    Session,
    Settings,
    SpfResult,
    in_networks,
)
from pratique.reasons import Reason

from . import arc_check, dkim_check, spf_check
from .asking import Asking
from .body import BodyHashes
from .gathering import Gathering


class Inspection:
    """The authentication of one message, from the end of its header on."""

    def __init__(
        self, session: Session, header: Header, entry: Entry, author: Address, settings: Settings, now: datetime,
        no_client: Reason = Reason.NO_CLIENT_ADDRESS,
    ):  # fmt: skip
        """`session` is that of the client to judge; where it has none, `no_client` says why."""
        self._session = session
        self._no_client = no_client
        self._header = header
        self._entry = entry
        self._author = author
        self._candidates = dkim_check.candidates(header, entry, author, settings.limits, now, settings.clock_skew)
        self._chain = arc_check.Chain(ArcEvidence())
        self._sealers = settings.arc_sealers
        if entry.require is Require.ANY:  # the one under which ARC has a say
            self._chain = arc_check.read_chain(header, settings, now)
        signatures = [*(c.signature for c in self._candidates), self._chain.signature]
        self.body = BodyHashes(s.body_kind for s in signatures if s)

    def evidence(self, lookup: Lookup) -> Evidence:
        """All evidence: DKIM and SPF at the same time, ARC last, and only where nothing else has proven the message."""
        asking = Asking(lookup, self._entry, self._author.domain)
        hashes = self.body.digests()
        network = in_networks(self._session.client, self._entry.networks)
        reserve = _ARC_SECONDS if self._chain.signature else 0.0
        gathering = Gathering(asking, self._entry, self._candidates, self._header, hashes, network, reserve)
        gathering.begin()
        spf = spf_check.check(self._session, self._entry, self._author, gathering.spf_lookup, self._no_client)
        if spf.result is SpfResult.TEMPERROR and spf.domain and asking.doubts_domain(spf.domain):
            spf = replace(spf, doubtful=True)
        dkim = tuple(
            replace(found, doubtful=True)
            if found.result is DkimResult.TEMPERROR and candidate.signature and asking.doubts_key(candidate.signature)
            else found
            for candidate, found in zip(self._candidates, gathering.finish(spf), strict=True)
        )
        arc = ArcEvidence()
        if not (any(signature.counts for signature in dkim) or spf.counts or network):
            arc = arc_check.verify(
                self._chain, self._header, self._entry, self._author, hashes, asking,
                lambda key: asking.doubts_key(key, self._sealers),
            )  # fmt: skip
        return Evidence(dkim, spf, network, arc)


_ARC_SECONDS = 1.0  # of the time for DNS that a chain is sure to have


__all__ = ["Inspection"]
