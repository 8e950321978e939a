"""DKIM and SPF of one message: their lookups go on at the same time, and neither waits for a name of the other.

Rules of this module: it decides how long to wait, and nothing about mail. A message that is proven waits no longer than
a moment for what could only add to the proof.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

from pratique.model import DkimEvidence, DnsAnswer, Entry, Header, Require, SpfEvidence

from .asking import MOMENT, MOST_PATIENT, Asking
from .dkim_check import Candidate, verify

GRACE = 0.3  # seconds for what cannot change the verdict any more, but tells more of the message
ALONE = 1.5  # seconds that all keys together may take of SPF's time, where the resolver asks one after the other
_TXT = "TXT"


class Gathering:
    """The signatures of a message, each judged when its key has arrived."""

    def __init__(
        self, asking: Asking, entry: Entry, candidates: Sequence[Candidate], header: Header,
        hashes: Mapping[tuple[str, str], bytes], network: bool, reserve: float,
    ):  # fmt: skip
        """`reserve` are seconds to be left over for ARC."""
        self._asking = asking
        self._entry = entry
        self._candidates = candidates
        self._header = header
        self._hashes = hashes
        self._network = network and bool(entry.networks)
        self._reserve = reserve
        self._found: dict[int, DkimEvidence] = {}
        self._waiting: dict[int, str] = {}  # place of a signature to the name of its key
        self._until: dict[Require, float] = {}

    def begin(self) -> None:
        """Ask for every key at once. Where the resolver cannot, ask for one after the other."""
        names = {}
        for place, candidate in enumerate(self._candidates):
            signature = candidate.signature
            if signature and self._hashes[signature.body_kind] == signature.body_hash:
                names[place] = signature.key_name
            else:
                self._judge(place)  # no key could help
        patience = math.inf if len(names) <= MOST_PATIENT else MOMENT
        one_by_one = []
        for place, name in names.items():
            begun = self._asking.begin(name, _TXT, patience)
            if isinstance(begun, DnsAnswer):
                self._judge(place)
            elif begun:
                self._waiting[place] = name
            else:
                one_by_one.append(place)
        for place in one_by_one:
            self._judge(place, min(ALONE, self._left() / 2) / len(one_by_one))

    def spf_lookup(self, name: str, rdtype: str) -> DnsAnswer:
        """A lookup for SPF. Keys that arrive meanwhile are used: the message may be proven by them."""
        if not self._waiting and not self._is_settled(Require.SPF):
            return self._asking(name, rdtype, self._patience(Require.SPF))
        begun = self._asking.begin(name, rdtype)
        if isinstance(begun, DnsAnswer):
            return begun
        if not begun:
            return self._asking(name, rdtype, min(ALONE, self._patience(Require.SPF)))
        while not self._asking.is_answered(name, rdtype) and (left := self._patience(Require.SPF)) > 0:
            self._asking.wait(left)
            self._take_arrived()
        return self._asking(name, rdtype, 0)

    def finish(self, spf: SpfEvidence) -> tuple[DkimEvidence, ...]:
        """The evidence of all signatures, once those that could matter have their keys."""
        self._take_arrived()
        while self._waiting and (left := self._patience(Require.DKIM, spf.counts)) > 0:
            self._asking.wait(left)
            self._take_arrived()
        for place in list(self._waiting):
            self._judge(place, 0)
        return tuple(self._found[place] for place in range(len(self._candidates)))

    def _take_arrived(self) -> None:
        for place, name in list(self._waiting.items()):
            if self._asking.is_answered(name, _TXT):
                self._judge(place, 0)

    def _judge(self, place: int, seconds: float = 0) -> None:
        candidate = self._candidates[place]
        self._found[place] = verify(
            candidate, self._header, self._hashes, lambda name, rdtype: self._asking(name, rdtype, seconds)
        )
        self._waiting.pop(place, None)

    # ---- how long

    def _left(self) -> float:
        return self._asking.left() - self._reserve

    def _patience(self, kind: Require, spf_counts: bool = False) -> float:
        """Seconds to wait for evidence of a kind: all that are left, or a moment where it cannot change the verdict."""
        left = self._left()
        if self._is_settled(kind, spf_counts):
            now = time.monotonic()
            return min(left, self._until.setdefault(kind, now + GRACE) - now)
        return left

    def _is_settled(self, kind: Require, spf_counts: bool = False) -> bool:
        """Whether more evidence of a kind, `dkim` or `spf`, cannot change whether the requirement is met."""
        signed = any(found.counts for found in self._found.values())
        match self._entry.require:
            case Require.ANY:
                return signed or spf_counts or self._network
            case Require.ALL:
                return kind is Require.DKIM and signed
            case wanted:
                return wanted is not kind or (kind is Require.DKIM and signed)
