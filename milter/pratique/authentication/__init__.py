"""What SPF, DKIM and the client's network say about a message that claims an entry.

Rules of this package: the only one that imports `spf` and `dkim`. It runs in two steps, because the body
comes between: `Inspection` at the end of the header says which body hashes are needed, `evidence` at the end
of the message asks DNS. All that is judged here is judged against one entry and one author.
"""

from __future__ import annotations

from datetime import datetime

from pratique.model import Address, Entry, Evidence, Header, Lookup, Session, Settings, in_networks

from . import dkim_check, spf_check
from .body import BodyHashes


class Inspection:
    """The authentication of one message, from the end of its header on."""

    def __init__(
        self, session: Session, header: Header, entry: Entry, author: Address, settings: Settings, now: datetime
    ):
        self._session = session
        self._header = header
        self._entry = entry
        self._author = author
        self._settings = settings
        self._candidates = dkim_check.candidates(header, entry, author, settings.limits, now, settings.clock_skew)
        self.body = BodyHashes(c.signature.body_kind for c in self._candidates if c.signature)

    def evidence(self, lookup: Lookup) -> Evidence:
        """All evidence. DKIM first: an SPF record of the sender's choosing must not use up its time for DNS."""
        hashes = self.body.digests()
        dkim = tuple(dkim_check.verify(c, self._header, hashes, lookup) for c in self._candidates)
        behind_relay = in_networks(self._session.client, self._settings.relays)
        spf = spf_check.check(self._session, self._entry, self._author, lookup, behind_relay)
        network = not behind_relay and in_networks(self._session.client, self._entry.networks)
        return Evidence(dkim, spf, network)


__all__ = ["Inspection"]
