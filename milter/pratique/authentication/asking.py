"""The DNS lookups of one message: how many there may be, and whose silence may count in the message's favour.

Rules of this module: it decides nothing about mail; SPF, DKIM and ARC ask through it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Protocol, cast

from pratique.model import DnsAnswer, DnsStatus, Entry, Lookup, Question

from .signature import Signature

MOST_QUERIES = 40  # of one message: its signatures, the ten terms of an SPF record and their hosts, and an ARC chain
MOST_ELSEWHERE = 20  # of these: for names outside the platform's own domains, which belong to somebody else
MOST_PATIENT = 2  # keys that are waited for as long as there is time; of more, each for a moment only
MOMENT = 1.6  # seconds
_TRIES, _TRIES_IN_A_MOMENT = 5, 2  # so often a question is sent that gets no answer
_NOT_ASKED = DnsAnswer(DnsStatus.NOT_ASKED)


class Lookups(Protocol):
    """A lookup that can wait for several answers at the same time: `pratique.resolver.Lookups`."""

    def __call__(self, name: str, rdtype: str, seconds: float = ...) -> DnsAnswer: ...
    def begin(self, name: str, rdtype: str, seconds: float = ...) -> DnsAnswer | bool: ...
    def is_answered(self, name: str, rdtype: str) -> bool: ...
    def wait(self, seconds: float) -> None: ...
    def left(self) -> float: ...


class Asking:
    """The lookups of a message that claims `entry`, with an author of `from_domain`."""

    def __init__(self, lookup: Lookup, entry: Entry, from_domain: str):
        self._lookup = lookup
        self._lookups = cast(Lookups, lookup) if hasattr(lookup, "begin") else None
        self._entry = entry
        self._from_domain = from_domain
        self._own = _endings(entry.domain, entry.evidence_domains, entry.signers)
        self._asked: set[Question] = set()
        self._again: dict[Question, int] = {}  # of these, not answered yet: how often it may be sent again
        self._elsewhere = 0

    def __call__(self, name: str, rdtype: str, seconds: float = math.inf) -> DnsAnswer:
        """The answer to a question, after at most `seconds`."""
        question = _normal(name, rdtype)
        if not self._may_ask(question, seconds):
            return _NOT_ASKED
        answer = self._lookups(name, rdtype, seconds) if self._lookups else self._lookup(name, rdtype)
        if answer.status is not DnsStatus.TIMEOUT:
            self._again.pop(question, None)
        return answer

    def begin(self, name: str, rdtype: str, seconds: float = math.inf) -> DnsAnswer | bool:
        """The answer if it is at hand. Else ask without waiting for it; False where this is not possible."""
        question = _normal(name, rdtype)
        if self._lookups is None or not self._may_ask(question, seconds):
            return False
        begun = self._lookups.begin(name, rdtype, seconds)
        if isinstance(begun, DnsAnswer) and begun.status is not DnsStatus.TIMEOUT:
            self._again.pop(question, None)
        return begun

    def is_answered(self, name: str, rdtype: str) -> bool:
        """Whether the answer to a question that was begun is there."""
        return self._lookups is None or self._lookups.is_answered(name, rdtype)

    def wait(self, seconds: float) -> None:
        """Wait until one of the questions that were begun is answered."""
        if self._lookups:
            self._lookups.wait(seconds)

    def left(self) -> float:
        """Seconds that are left for all lookups."""
        return self._lookups.left() if self._lookups else math.inf

    def _may_ask(self, question: Question, seconds: float) -> bool:
        """Whether the limits leave room for a question, which is sent several times while it is not answered. One whose
        answer is in a cache counts as well."""
        if question in self._asked:
            return True
        elsewhere = not f".{question[0]}".endswith(self._own)
        tries = _TRIES if seconds > MOMENT else _TRIES_IN_A_MOMENT
        again = sum(self._again.values()) if self._again else 0
        if len(self._asked) + again + tries > MOST_QUERIES or (elsewhere and self._elsewhere >= MOST_ELSEWHERE):
            return False
        self._asked.add(question)
        self._again[question] = tries - 1
        self._elsewhere += elsewhere
        return True

    # ---- whose silence counts

    def doubts_domain(self, domain: str) -> bool:
        """Whether a forger could have picked a domain for MAIL FROM because DNS does not answer for it: it is none that
        the entry or From names, and has not proven mail before."""
        return not self._names(domain) and not self._knows("has_proven", domain)

    def doubts_key(self, signature: Signature, sealers: frozenset[str] = frozenset()) -> bool:
        """Whether a forger could have picked a key's name because DNS does not answer for it.

        A key that has proven mail is beyond doubt. Another one is, below a domain of the entry (or one of `sealers`),
        only as long as DNS does not work for this domain at all: a single selector may be broken for years.
        """
        if self._knows("has_proven", signature.key_name):
            return False
        domain = signature.domain
        named = self._names(domain) or domain in self._entry.signers or domain in sealers
        return not named or self._knows("answers_within", domain)

    def _names(self, domain: str) -> bool:
        return domain in (self._entry.domain, self._from_domain) or domain in self._entry.evidence_domains

    def _knows(self, what: str, name: str) -> bool:
        """What the resolver remembers of a name. A zone file has no past."""
        ask: Callable[[str], bool] | None = getattr(self._lookup, what, None)
        return ask is not None and ask(name)


@functools.lru_cache(maxsize=1024)
def _endings(domain: str, evidence_domains: frozenset[str], signers: frozenset[str]) -> tuple[str, ...]:
    """What the names of the platform's own domains end in, a dot put before them."""
    return tuple(f".{name}" for name in (domain, *evidence_domains, *signers))


def _normal(name: str, rdtype: str) -> Question:
    return name.lower().rstrip("."), rdtype
