"""DNS for the service: asked over the network, remembered, and where it fails, answered from what it said before.

Every answer is remembered for its TTL. Those that trusted senders depend on (`keep`) are held apart, so that no
flood of other names drives them out; a thread asks for them anew before they run out; and where DNS fails they are
given on, marked as stale, for up to `stale` after they ran out (RFC 8767). NXDOMAIN or an empty key is an answer
and no failure: it replaces what was there.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

from pratique.model import DnsAnswer, DnsSettings, DnsStatus, Question, is_within

from . import snapshot
from .cache import Known, Store
from .records import absolute
from .responses import Reply
from .servers import RESOLV_CONF, Servers

log = logging.getLogger("pratique")

Observer = Callable[[str, str, float, bool], None]
"""Called once a question that went to the network, or was given a stale answer: type, DnsStatus, seconds, stale."""

LONGEST_TTL = 86_400.0  # seconds; also where a server says a hundred years
SEEN = (10_000, 16 << 20)  # answers, and their octets, that are remembered
KEPT = (1000, 4 << 20)  # of these for trusted senders, beside them
_SHORTEST_TTL = 5.0  # a burst of mail from one sender asks once
_LONGEST_NEGATIVE = 3600.0  # RFC 2308 §5: a key that was published late is seen within the hour
_FAILURE_TTL = 5.0  # RFC 9520 §3.2; far less than any MTA waits before it tries a deferred message again
_CLIENT_TIMER = 1.8  # RFC 8767 §5: how long a message waits for what is also known from before
_RECHECK = 30.0  # RFC 8767 §5: how long nobody waits for a name again, or for servers that are all silent
_REFRESH = (0.75, 0.9)  # of the TTL
_SELDOM = 60.0  # no name is refreshed more often
_FORGOTTEN = 7 * 86_400.0  # nor any that no message asked for all this time
_SAVE = 60.0
_MOST_HELPERS = 64  # threads that ask for messages; with none left, a message asks one question after the other


class NetworkResolver:
    """Answers for all threads of a process. `start` only after the last fork; without it nothing is refreshed.

    `memory` is a file that carries the kept answers over a restart, and from one worker to the others: whom a notice
    reaches while DNS is down need not be who had the last one.
    """

    def __init__(
        self,
        settings: DnsSettings,
        observe: Observer | None = None,
        memory: Path | None = None,
        *,
        before_wait: Callable[[], object] = lambda: None,
        resolv_conf: Path = RESOLV_CONF,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._settings = settings
        self._observe: Observer = observe or (lambda *_: None)
        self._memory = memory
        self._before_wait = before_wait  # is called by a message's thread before it waits for the network
        self._clock = clock
        self._servers = Servers(settings.servers, resolv_conf, clock)
        self._lock = threading.Lock()
        self._seen = Store(*SEEN)
        self._kept = Store(*KEPT)
        self._proven: dict[Question, None] = {}  # kept now, or in the past: an ordered set
        self._flights: dict[Question, Future[DnsAnswer]] = {}
        self._helpers = threading.BoundedSemaphore(_MOST_HELPERS)
        self._unanswered: set[Question] = set()  # of the kept ones, since something was answered
        self._silent_until = 0.0
        self._stopping = False
        self._wake = threading.Event()
        self._unsaved = False
        self._read_at = 0  # the file's time when it was read last
        self._thread: threading.Thread | None = None
        if memory and settings.stale:
            self._recall(memory)

    @property
    def problem(self) -> str:
        """Why there is no server to ask; empty if there is one."""
        return self._servers.problem

    @property
    def servers(self) -> tuple[tuple[str, int], ...]:
        """The servers that are asked, by address and port."""
        return tuple(self._servers.current)

    # ---- for messages

    def ask(self, name: str, rdtype: str, seconds: float) -> DnsAnswer:
        """The answer to one question within `seconds`; with none left, only what is known."""
        question = (name, rdtype)
        if absolute(name) is None:
            return DnsAnswer(DnsStatus.NO_NAME)
        self._learn_from_others(question)
        started = self._clock()
        answer, leads = DnsAnswer(DnsStatus.TIMEOUT), False
        while True:
            with self._lock:
                now = self._clock()
                fresh, old = self._known(question, now)
                if fresh:
                    return fresh
                until = started + (min(seconds, _CLIENT_TIMER) if old else seconds)
                if old and now < max(old.retry, self._silent_until):
                    answer = DnsAnswer(old.failure)
                    break
                if now >= until:
                    break
                mine: Future[DnsAnswer] = Future()
                flight = self._flights.setdefault(question, mine)
                leads = flight is mine
            self._before_wait()
            answer = self._lead(question, flight, until) if leads else _joined(flight, until - now)
            if leads or not answer.failed:
                break
            # who asked first gave up: the next turn asks with the time that is left to this message
        stale = old if answer.failed else None
        if leads or stale:
            self._observe(rdtype, answer.status.value, self._clock() - started, stale is not None)
        return replace(stale.answer, stale=True) if stale else answer

    def begin(self, name: str, rdtype: str, seconds: float) -> DnsAnswer | Future[DnsAnswer] | None:
        """Ask in a thread of its own, unless the answer is known without asking. None where no thread can be had."""
        question = (name, rdtype)
        with self._lock:
            now = self._clock()
            fresh, old = self._known(question, now)
        if fresh:
            return fresh
        if absolute(name) is None or (old and now < max(old.retry, self._silent_until)):
            return self.ask(name, rdtype, seconds)
        if not self._helpers.acquire(blocking=False):
            return None
        future: Future[DnsAnswer] = Future()
        try:
            threading.Thread(target=self._answer, args=(future, question, seconds), name="lookup", daemon=True).start()
        except RuntimeError:  # no thread can be started
            self._helpers.release()
            return None
        return future

    def _answer(self, future: Future[DnsAnswer], question: Question, seconds: float) -> None:
        answer = DnsAnswer(DnsStatus.TIMEOUT)
        try:
            answer = self.ask(*question, seconds)
        except Exception:  # an edge of its own: nobody above would log it
            log.exception("dns: lookup failed")
        finally:
            self._helpers.release()
            future.set_result(answer)

    def keep(self, questions: Iterable[Question]) -> None:
        """Questions of a trusted sender that were answered: the answers are refreshed, and given on when DNS fails."""
        with self._lock:
            now = self._clock()
            for question in questions:
                known = self._kept.get(question)
                if known is None and (known := self._seen.pop(question)):
                    known.refresh = _when_to_refresh(now, known.expires - now)
                    self._kept.put(question, known)
                    self._unsaved = True
                    self._wake.set()
                if known:
                    known.used = now
                    self._note_proven(question)

    def has_proven(self, name: str) -> bool:
        """Whether a TXT record at this name has proven mail of a trusted sender before."""
        with self._lock:
            return (name, "TXT") in self._proven

    def answers_within(self, domain: str) -> bool:
        """Whether DNS works for a domain: a name of a trusted sender, at it or below it, has a fresh answer, and no
        lookup of that name failed a moment ago."""
        with self._lock:
            now = self._clock()
            return now >= self._silent_until and any(
                known.retry <= now < known.expires and is_within(name, domain) for (name, _), known in self._kept
            )

    def _note_proven(self, question: Question) -> None:
        self._proven.pop(question, None)
        self._proven[question] = None  # the newest stands last
        if len(self._proven) > 2 * KEPT[0]:
            del self._proven[next(iter(self._proven))]

    def _known(self, question: Question, now: float) -> tuple[DnsAnswer | None, Known | None]:
        """An answer that holds, and else what may stand in for one where DNS fails."""
        kept = self._kept.get(question)
        known = kept or self._seen.get(question)
        if known and now < known.expires and self._settings.cache:
            return known.answer, None
        return None, kept if kept and self._lasts(kept, now) else None

    def _lasts(self, kept: Known, now: float) -> bool:
        """Whether an answer may still be given on as stale."""
        return self._settings.stale > 0 and now < kept.expires + self._settings.stale

    # ---- the network

    def _lead(self, question: Question, flight: Future[DnsAnswer], until: float) -> DnsAnswer:
        """Ask for all who wait for the same, and learn from what is said."""
        started = self._clock()
        reply = Reply(DnsAnswer(DnsStatus.TIMEOUT))
        name = absolute(question[0])
        try:
            if name is not None:
                reply = self._servers.ask(name, question[1], until - started)
        finally:
            with self._lock:
                reply = self._checked(question, reply)
                event = self._learn(question, reply, until - started)
                del self._flights[question]
            flight.set_result(reply.answer)
        if event:
            log.warning("dns: %s", event)
        return reply.answer

    def _checked(self, question: Question, reply: Reply) -> Reply:
        """The reply; a failed one where it denies without proof (RFC 2308 §2) what is known of a trusted sender."""
        kept, now = self._kept.get(question), self._clock()
        if reply.certain or kept is None or not (now < kept.expires or self._lasts(kept, now)):
            return reply
        return Reply(DnsAnswer(DnsStatus.SERVFAIL))

    def _learn(self, question: Question, reply: Reply, allowed: float) -> str:
        """Remember a reply that had `allowed` seconds to come; a text where the servers fall silent, or speak again."""
        now = self._clock()
        kept = self._kept.get(question)
        if reply.answer.failed:
            return self._learn_failure(question, kept, reply, allowed, now)
        ttl = min(max(reply.ttl, _SHORTEST_TTL), LONGEST_TTL if reply.answer.records else _LONGEST_NEGATIVE)
        known = Known(reply.answer, now + ttl)
        if kept and reply.answer.records:
            known.used, known.refresh = kept.used, _when_to_refresh(now, ttl)
            self._kept.put(question, known)
        else:
            if self._kept.pop(question):
                self._unsaved = True
                self._wake.set()
            if not reply.answer.records:
                self._proven.pop(question, None)
            self._seen.put(question, known)
        self._unanswered.clear()
        was_silent, self._silent_until = self._silent_until > 0, 0.0
        return "the servers answer again" if was_silent else ""

    def _learn_failure(self, question: Question, kept: Known | None, reply: Reply, allowed: float, now: float) -> str:
        timeout = reply.answer.status is DnsStatus.TIMEOUT
        if timeout and allowed < 0.8 * min(_CLIENT_TIMER, self._settings.timeout):
            return ""  # hardly asked: nothing is known of the name or the servers
        if kept is None or not (now < kept.expires or self._lasts(kept, now)):
            self._kept.pop(question)
            self._seen.put(question, Known(reply.answer, now + _FAILURE_TTL))
            return ""
        kept.failure = reply.answer.status
        kept.refresh = now + _RECHECK * random.uniform(1, 1.3)  # noqa: S311
        if not reply.nobody:
            kept.retry = kept.refresh
            if timeout:
                self._unanswered.add(question)
            # One name may be slow by itself, and a name in a forger's zone is: two of platforms are not.
            if not timeout or len(self._unanswered) < 2:
                return ""
        was_silent, self._silent_until = self._silent_until > 0, now + _RECHECK
        return "" if was_silent else "no server answers: trusted senders are judged by what is known of them"

    # ---- the thread that keeps what is kept fresh

    def start(self) -> None:
        """Refresh from now on, in a thread of this process, in which signals must be ignored: it could take them."""
        self._stopping = False
        self._thread = threading.Thread(target=self._keep_fresh, name="dns", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and remember for the next process."""
        self._stopping = True
        self._wake.set()
        if self._thread:
            self._thread.join(0.5)  # it may be waiting for an answer, and is no reason to stay
            self._thread = None
        self._save()

    def _keep_fresh(self) -> None:
        saved = self._clock()
        while True:
            self._wake.wait(self._pause())
            if self._stopping:
                return
            self._wake.clear()
            try:
                while (question := self._due()) and not self._stopping:
                    self._refresh(question)
                if self._unsaved or self._clock() >= saved + _SAVE:
                    self._save()
                    saved = self._clock()
            except Exception:  # an edge of its own: nobody above would log it, and the next name may do
                log.exception("dns: cannot refresh what is known")

    def _pause(self) -> float:
        """Seconds until something is due: at most a minute, which is less than anything new takes to become so."""
        with self._lock:
            next_one = min((known.refresh for _, known in self._kept), default=float("inf"))
            left = max(next_one, self._silent_until) - self._clock()
            return min(max(left, 1.0), _SAVE) if self._settings.cache else _SAVE

    def _due(self) -> Question | None:
        """A kept question whose time has come. While no server answers, one in half a minute."""
        with self._lock:
            now = self._clock()
            if now < self._silent_until or not self._settings.cache:
                return None
            for question, known in self._kept:
                if now >= known.used + _FORGOTTEN:
                    self._kept.pop(question)
                elif now >= known.refresh:
                    known.refresh = now + _SELDOM  # whatever comes of it
                    return question
            return None

    def _refresh(self, question: Question) -> None:
        started = self._clock()
        mine: Future[DnsAnswer] = Future()
        with self._lock:
            if self._flights.setdefault(question, mine) is not mine:
                return  # a message is asking already
        answer = self._lead(question, mine, started + self._settings.timeout)
        self._observe(question[1], answer.status.value, self._clock() - started, False)

    # ---- over a restart

    def _save(self) -> None:
        """Write what is kept, and leave what others have written of names that nothing is known of here."""
        if not (self._memory and self._settings.stale):
            return
        self._unsaved = False
        with snapshot.alone(self._memory) as alone:
            if not alone:
                return
            theirs = snapshot.load(self._memory, LONGEST_TTL, self._settings.stale)
            with self._lock:
                now = self._clock()
                kept = [(question, k.answer, k.expires - now) for question, k in self._kept if self._lasts(k, now)]
                kept += [other for other in theirs if not self._knows(other[0])][: max(0, KEPT[0] - len(kept))]
            snapshot.save(self._memory, kept)
            self._read_at = snapshot.time_of(self._memory)

    def _knows(self, question: Question) -> bool:
        """Whether there is an answer here, be it that there is nothing: an older one of others must not come back."""
        seen = self._seen.get(question)
        return self._kept.get(question) is not None or (seen is not None and not seen.answer.failed)

    def _recall(self, path: Path) -> None:
        self._read_at = snapshot.time_of(path)
        found = snapshot.load(path, LONGEST_TTL, self._settings.stale)
        with self._lock:
            now = self._clock()
            for question, answer, left in found:
                if not self._knows(question):
                    refresh = now + random.uniform(0, _SELDOM)  # noqa: S311
                    self._kept.put(question, Known(answer, now + left, refresh=refresh, used=now))
                    self._note_proven(question)

    def _learn_from_others(self, question: Question) -> None:
        """Where nothing is known of a name here, another worker may have written what it knows."""
        if not (self._memory and self._settings.stale) or self._knows(question):
            return
        if snapshot.time_of(self._memory) != self._read_at:
            self._recall(self._memory)


def _joined(flight: Future[DnsAnswer], seconds: float) -> DnsAnswer:
    """What another thread is told that asks the same."""
    try:
        return flight.result(seconds)
    except TimeoutError:
        return DnsAnswer(DnsStatus.TIMEOUT)


def _when_to_refresh(now: float, ttl: float) -> float:
    return now + max(_SELDOM, ttl * random.uniform(*_REFRESH))  # noqa: S311
