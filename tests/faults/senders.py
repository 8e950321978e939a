"""Two processes that send: one over the wire, as Postfix speaks to a milter, one through Postfix.

What became of a message is what an MTA with our lines makes of it: an answer of 4xx, or none at all, and it is put off.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from typing import Any

from faults import mail

from harness.milter_client import MilterClient, Outcome
from harness.smtp import Connection

_PER_CONNECTION = 3  # messages, then a new one
_PATIENCE = 30.0  # seconds for an answer: longer than a worker that hangs may live


@dataclass(frozen=True)
class Sent:
    """A message and what became of it: `delivered`, `held`, `deferred`, `lost`; through Postfix `queued` (what follows
    is seen in its folders) and `unanswered` (the connection broke where the reply was due)."""

    number: int
    through: str
    fate: str
    verdict: str = ""
    why: str = ""
    seconds: float = 0.0  # from the connection to the answer


_counter: Any = None
_stop: Event | None = None


def _begin(counter: Any, stop: Event) -> None:
    global _counter, _stop
    _counter, _stop = counter, stop
    mail.kinds()


class Senders:
    """Sends until it is told to stop, and at least so many messages."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._counter = context.Value("L", 0)
        self._stop = context.Event()
        self._pool = ProcessPoolExecutor(2, context, _begin, (self._counter, self._stop))

    def __enter__(self) -> Senders:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown(cancel_futures=True)

    def start(self, wire: str, port: int, first: int, least: int, rate: float) -> list[Future[list[Sent]]]:
        """Begin; four in five messages go over the wire."""
        self._counter.value = 0
        self._stop.clear()
        return [
            self._pool.submit(_send, "wire", wire, first, least * 4 // 5, rate * 0.8, 8),
            self._pool.submit(_send, "smtp", str(port), first + 1_000_000, least // 5, rate * 0.2, 4),
        ]

    def again(self, wire: str, port: int, what: Sequence[Sent]) -> list[Sent]:
        """Send once more what was put off."""
        work = []
        for through, where in (("wire", wire), ("smtp", str(port))):
            numbers = [sent.number for sent in what if sent.through == through]
            work.append(self._pool.submit(_send_again, through, where, numbers, 6))
        return [sent for future in work for sent in future.result()]

    def sent(self) -> int:
        """How many are through."""
        return int(self._counter.value)

    def stop(self) -> None:
        self._stop.set()


def _send(through: str, where: str, first: int, least: int, rate: float, threads: int) -> list[Sent]:
    numbers = iter(range(first, first + 1_000_000))
    lock, begun, count = threading.Lock(), time.monotonic(), 0

    def due() -> Iterator[int]:
        nonlocal count
        while True:
            with lock:
                if count >= least and _stop is not None and _stop.is_set():
                    return
                count += 1
                wait = begun + count / rate - time.monotonic()
                number = next(numbers)
            if wait > 0:
                time.sleep(wait)
            yield number

    return _in_threads(through, where, due, threads)


def _send_again(through: str, where: str, numbers: list[int], threads: int) -> list[Sent]:
    shared, lock = iter(numbers), threading.Lock()

    def due() -> Iterator[int]:
        while True:
            with lock:
                number = next(shared, None)
            if number is None:
                return
            yield number

    return _in_threads(through, where, due, threads)


def _in_threads(through: str, where: str, due: Callable[[], Iterator[int]], threads: int) -> list[Sent]:
    results: list[Sent] = []
    work = wire if through == "wire" else smtp

    def run() -> None:
        for sent in work(where, due()):
            results.append(sent)
            if _counter is not None:
                with _counter.get_lock():
                    _counter.value += 1

    running = [threading.Thread(target=run) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return results


# ---- over the wire -----------------------------------------------------------------------------------


def wire(address: str, numbers: Iterator[int]) -> Iterator[Sent]:
    """Send each over a milter connection of its own kind, some after another over the same."""
    client: MilterClient | None = None
    left, known = 0, ""
    for number in numbers:
        message, begun = mail.message(number), time.monotonic()
        try:
            if client and (not left or known != message.client):
                client.quit()
                client = None
            if client is None:
                client = MilterClient(address, _PATIENCE)
                client.connect(message.client, helo="out.mailer.example")
                left, known = _PER_CONNECTION, message.client
            left -= 1
            outcome = client.message(message.fields, message.body, mail_from=message.mail_from, queue_id=f"4Q{number}")
            yield sent_over_wire(number, outcome, time.monotonic() - begun)
        except OSError as problem:
            with contextlib.suppress(Exception):
                if client:
                    client.drop()
            client = None
            yield Sent(number, "wire", "deferred", why=repr(problem)[:200], seconds=time.monotonic() - begun)
            time.sleep(0.05)  # an MTA does not come again at once
    if client:
        client.quit()


def sent_over_wire(number: int, outcome: Outcome, seconds: float = 0.0) -> Sent:
    """What an MTA makes of the milter's answer, which came after so many seconds."""
    match outcome.response:
        case "continue" | "accept":
            header = b"".join(b"%s:%s\r\n" % field for field in outcome.fields)
            fate = "delivered" if outcome.quarantine is None else "held"
            return Sent(number, "wire", fate, mail.verdict(header), seconds=seconds)
        case "tempfail":
            return Sent(number, "wire", "deferred", why="tempfail", seconds=seconds)
        case "replycode" if (outcome.reply or "").startswith("4"):
            return Sent(number, "wire", "deferred", why=outcome.reply or "", seconds=seconds)
    return Sent(number, "wire", "lost", why=f"{outcome.response} {outcome.reply}")


def one_message(address: str, number: int, patience: float = _PATIENCE) -> Sent:
    """Send a message over the wire, over a connection of its own."""
    message, begun = mail.message(number), time.monotonic()
    try:
        with MilterClient(address, patience) as client:
            client.connect(message.client, helo="out.mailer.example")
            outcome = client.message(message.fields, message.body, mail_from=message.mail_from, queue_id=f"4Q{number}")
            return sent_over_wire(number, outcome, time.monotonic() - begun)
    except OSError as problem:
        return Sent(number, "wire", "deferred", why=repr(problem)[:200], seconds=time.monotonic() - begun)


# ---- through Postfix -----------------------------------------------------------------------------------


def smtp(port: str, numbers: Iterator[int]) -> Iterator[Sent]:
    """Send each over an SMTP connection of its own."""
    for number in numbers:
        message, begun = mail.message(number), time.monotonic()
        asked = False
        try:
            with Connection(int(port), message.client, "out.mailer.example", timeout=_PATIENCE + 10) as connection:
                asked = True
                reply = connection.message(message.octets(), message.mail_from, [mail.BOX])
                seconds = time.monotonic() - begun
                if reply.code == 250:
                    yield Sent(number, "smtp", "queued", why=str(reply.queue_id), seconds=seconds)
                else:
                    fate = "deferred" if 400 <= reply.code < 500 else "lost"
                    yield Sent(number, "smtp", fate, why=f"{reply.stage} {reply.code} {reply.text}", seconds=seconds)
                with contextlib.suppress(OSError):
                    connection.quit()
        except OSError as problem:
            fate = "unanswered" if asked else "deferred"
            yield Sent(number, "smtp", fate, why=repr(problem)[:200], seconds=time.monotonic() - begun)
            time.sleep(0.05)
