"""The DNS lookups of one message: how many there may be, and whose silence may count in the message's favour.

Rules of this module: it decides nothing about mail; SPF, DKIM and ARC ask through it.
"""

from __future__ import annotations

from collections.abc import Callable

from pratique.model import DnsAnswer, DnsStatus, Entry, Lookup, Question, is_within

from .signature import Signature

MOST_QUERIES = 40  # of one message: its signatures, the ten terms of an SPF record and their hosts, and an ARC chain
MOST_ELSEWHERE = 20  # of these: for names outside the platform's own domains, which belong to somebody else
_NOT_ASKED = DnsAnswer(DnsStatus.NOT_ASKED)


class Asking:
    """The lookups of a message that claims `entry`, with an author of `from_domain`."""

    def __init__(self, lookup: Lookup, entry: Entry, from_domain: str):
        self._lookup = lookup
        self._domains = {entry.domain, from_domain, *entry.evidence_domains}
        self._own = {entry.domain, *entry.evidence_domains, *entry.signers}
        self._signers = entry.signers
        self._asked: set[Question] = set()
        self._elsewhere = 0

    def __call__(self, name: str, rdtype: str) -> DnsAnswer:
        return self._lookup(name, rdtype) if self._may_ask((name.lower().rstrip("."), rdtype)) else _NOT_ASKED

    def _may_ask(self, question: Question) -> bool:
        """Whether a question is one of the first 40. Not one of those after them is asked: the answer is the same
        whatever the resolver remembers."""
        if question in self._asked:
            return True
        elsewhere = not any(is_within(question[0], domain) for domain in self._own)
        if len(self._asked) >= MOST_QUERIES or (elsewhere and self._elsewhere >= MOST_ELSEWHERE):
            return False
        self._asked.add(question)
        self._elsewhere += elsewhere
        return True

    # ---- whose silence counts

    def doubts_domain(self, domain: str) -> bool:
        """Whether a forger could have picked a domain for MAIL FROM because DNS does not answer for it: it is none that
        the entry or From names, and has not proven mail before."""
        return domain not in self._domains and not self._knows("has_proven", domain)

    def doubts_key(self, signature: Signature, sealers: frozenset[str] = frozenset()) -> bool:
        """Whether a forger could have picked a key's name because DNS does not answer for it.

        A key that has proven mail is beyond doubt. Another one is, below a domain of the entry (or one of `sealers`),
        only as long as DNS does not work for this domain at all: a single selector may be broken for years.
        """
        if self._knows("has_proven", signature.key_name):
            return False
        domain = signature.domain
        named = domain in self._domains or domain in self._signers or domain in sealers
        return not named or self._knows("answers_within", domain)

    def _knows(self, what: str, name: str) -> bool:
        """What the resolver remembers of a name. A zone file has no past."""
        ask: Callable[[str], bool] | None = getattr(self._lookup, what, None)
        return ask is not None and ask(name)
