"""Answers that are known, in bounded memory. Times are those of the process's monotonic clock."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from pratique.model import DnsAnswer, DnsStatus, Question

_OVERHEAD = 500  # octets of an entry beside its name and records, measured


@dataclass(slots=True)
class Known:
    """An answer and until when it holds. The rest is for names of trusted senders (see network.py)."""

    answer: DnsAnswer
    expires: float
    refresh: float = 0  # when it is asked for anew though nobody needs it yet
    used: float = 0  # when a message last asked for it
    retry: float = 0  # no message asks before: DNS failed for the name a moment ago
    failure: DnsStatus = DnsStatus.TIMEOUT  # how it did


class Store:
    """Question to Known; beyond `count` or `size` octets the least recently used go."""

    def __init__(self, count: int, size: int):
        self._count, self._size, self._held = count, size, 0
        self._known: OrderedDict[Question, Known] = OrderedDict()

    def get(self, question: Question) -> Known | None:
        known = self._known.get(question)
        if known:
            self._known.move_to_end(question)
        return known

    def put(self, question: Question, known: Known) -> None:
        self.pop(question)
        self._known[question] = known
        self._held += _octets(question, known)
        while len(self._known) > self._count or self._held > self._size:
            self.pop(next(iter(self._known)))

    def pop(self, question: Question) -> Known | None:
        known = self._known.pop(question, None)
        if known:
            self._held -= _octets(question, known)
        return known

    def __iter__(self) -> Iterator[tuple[Question, Known]]:
        return iter(list(self._known.items()))

    def __len__(self) -> int:
        return len(self._known)


def _octets(question: Question, known: Known) -> int:
    return _OVERHEAD + len(question[0]) + sum(map(sys.getsizeof, known.answer.records))
