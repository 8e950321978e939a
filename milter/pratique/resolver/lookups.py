"""All look-ups of one message, and what a resolver must be able to do for them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Protocol

from pratique.model import DnsAnswer, DnsState, DnsStatus, Question

_MOST_RECORDS = 1000  # of all answers together, after which only what is known is answered


class DnsConfigError(ValueError):
    """A command has no name server to ask, or a zone file cannot be read; the text says which."""


class Resolver(Protocol):
    """Answers one question within `seconds`; with 0, only what it knows. Of questions to `keep` it does best to have
    the answers fresh, and at hand when DNS fails."""

    def ask(self, name: str, rdtype: str, seconds: float) -> DnsAnswer: ...
    def keep(self, questions: Iterable[Question]) -> None: ...


class Lookups:
    """All look-ups of one message: one answer a question, one deadline for all of them, and an end to the records
    that a forger's zone can have read for it."""

    def __init__(self, resolver: Resolver, timeout: float, clock: Callable[[], float] = time.monotonic):
        self._resolver = resolver
        self._clock = clock
        self._deadline = clock() + timeout
        self._answers: dict[Question, DnsAnswer] = {}
        self._under_way: dict[Question, Future[DnsAnswer]] = {}
        self._records = 0

    def __call__(self, name: str, rdtype: str, seconds: float = math.inf) -> DnsAnswer:
        """The answer to a question, after at most `seconds`."""
        question = _normal(name, rdtype)
        if not self.is_answered(name, rdtype):
            left = min(self.left(), max(0.0, seconds))
            under_way = self._under_way.pop(question, None)
            self._note(question, _in_time(under_way, left) if under_way else self._resolver.ask(*question, left))
        return self._answers[question]

    def left(self) -> float:
        """Seconds that are left for all lookups."""
        return 0.0 if self._records > _MOST_RECORDS else max(0.0, self._deadline - self._clock())

    def begin(self, name: str, rdtype: str, seconds: float = math.inf) -> DnsAnswer | bool:
        """The answer if it is at hand. Else ask, and wait for nothing: the answer has `seconds` to come. False where
        nothing could be asked."""
        question = _normal(name, rdtype)
        if question in self._under_way or question in self._answers:
            return self._answers.get(question, True)
        begin = getattr(self._resolver, "begin", None)  # a zone file answers at once, and has none
        begun = begin(*question, min(left, seconds)) if begin and (left := self.left()) > 0 else None
        if isinstance(begun, DnsAnswer):
            self._note(question, begun)
            return begun
        if begun:
            self._under_way[question] = begun
        return begun is not None

    def is_answered(self, name: str, rdtype: str) -> bool:
        """Whether the answer to a question is there."""
        question = _normal(name, rdtype)
        under_way = self._under_way.get(question)
        if under_way and under_way.done():
            self._note(question, self._under_way.pop(question).result())
        return question in self._answers

    def wait(self, seconds: float) -> None:
        """Wait for one of the questions that were begun to be answered."""
        wait(self._under_way.values(), min(seconds, self.left()), FIRST_COMPLETED)

    def _note(self, question: Question, answer: DnsAnswer) -> None:
        self._answers[question] = answer
        self._records += len(answer.records)

    def keep(self, questions: Iterable[Question]) -> None:
        """The questions of a trusted sender: their answers are worth keeping."""
        asked = {_normal(*question) for question in questions} & self._answers.keys()
        self._resolver.keep(question for question in asked if self._answers[question].records)

    def has_proven(self, name: str) -> bool:
        """Whether a TXT record at this name has proven mail of a trusted sender before. A zone file has no past."""
        ask = getattr(self._resolver, "has_proven", None)
        return bool(ask and ask(name.lower()))

    def answers_within(self, domain: str) -> bool:
        """Whether the resolver knows that DNS works for names of trusted senders at a domain or below it."""
        ask = getattr(self._resolver, "answers_within", None)
        return bool(ask and ask(domain))

    @property
    def state(self) -> DnsState:
        """STALE before TEMPERROR: that a verdict rests on an old answer is told nowhere else."""
        answers = self._answers.values()
        if any(a.stale for a in answers):
            return DnsState.STALE
        return DnsState.TEMPERROR if any(a.failed for a in answers) else DnsState.OK


def _in_time(under_way: Future[DnsAnswer], seconds: float) -> DnsAnswer:
    try:
        return under_way.result(seconds)
    except TimeoutError:
        return DnsAnswer(DnsStatus.TIMEOUT)


def _normal(name: str, rdtype: str) -> Question:
    return name.lower().rstrip("."), rdtype
