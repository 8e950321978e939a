"""One fault after another: mail before, while and after, and what became of each message.

Rules of this module: sent = delivered + held + deferred, for every fault; what was deferred comes again, and then
arrives; each tag is the one that the message deserves; the service is what it was.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from faults import mail
from faults.senders import Senders, Sent
from faults.site import NOTHING, Figures, Site
from faults.wrong import Fault

_RATE = 200.0  # messages a second, at most
_AGAIN = 60.0  # seconds within which all that was deferred must arrive
_SETTLE = 30.0  # seconds within which the service must be as small as it was
# What may be more than before: caches grow with what they have seen, and malloc keeps an arena for each thread that
# ever ran beside others. What leaks does so with every message, and there are hundreds.
MORE_MEMORY, MORE_THREADS, MORE_DESCRIPTORS = 16.0, 2, 4


@dataclass
class Row:
    """What one fault did."""

    fault: str
    fates: Counter[str] = field(default_factory=Counter)
    late: int = 0  # of the deferred: arrived, sent again
    twice: int = 0  # arrived although the MTA's client had no answer, and so came again
    wrong: list[str] = field(default_factory=list)
    why: Counter[str] = field(default_factory=Counter)  # messages were put off
    answers: float = 0.0
    before: Figures = NOTHING
    after: Figures = NOTHING

    @property
    def sent(self) -> int:
        return sum(self.fates.values())

    def cells(self) -> list[str]:
        f = self.fates
        return [
            *(self.fault, str(self.sent), str(f["delivered"]), str(f["held"]), str(f["deferred"]), str(self.late)),
            *(str(self.twice), str(len(self.wrong)), f"{self.answers:.2f}"),
            f"{self.before.memory:.0f} → {self.after.memory:.0f}",
            f"{self.before.threads} → {self.after.threads}",
            f"{self.before.descriptors} → {self.after.descriptors}",
        ]


HEAD = ("fault", "sent", "delivered", "held", "deferred", "of these, came again and arrived", "arrived twice",
        "wrong", "answers after, s", "memory, MiB", "threads", "descriptors")  # fmt: skip


def table(rows: Iterable[Row]) -> str:
    """In Markdown."""
    lines = [list(HEAD), ["---"] + ["---:"] * (len(HEAD) - 1), *(row.cells() for row in rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def run(site: Site, senders: Senders, fault: Fault, messages: int, longest: float = 120) -> Row:
    """Send so many messages while something goes wrong; where that takes longer than so many seconds, the rest come
    after it."""
    row = Row(fault.name)
    site.serve(fault.settings, fault.wrapper(site), fault.environment(site))
    try:
        port = site.postfix.port
        _warm_up(site, senders, row)
        row.before = site.figures()
        futures = senders.start(site.address, port, 0, messages, _RATE)
        more: list[Sent] = []
        try:
            end = time.monotonic() + longest
            more = fault.run(site, lambda: senders.sent() < messages and time.monotonic() < end) or []
        finally:
            senders.stop()
        row.answers = site.start_took + site.answers_after()
        sent = [one for future in futures for one in future.result()] + more
        account(row, fault, sent, site.arrived())
        _again(site, senders, row, [one for one in sent if one.fate in ("deferred", "unanswered")])
        row.after = _settled(site, row)
        if fault.said not in fault.log(site):
            row.wrong.append(f"the log does not say {fault.said!r}")
    finally:
        site.close()
    return row


def _warm_up(site: Site, senders: Senders, row: Row) -> None:
    """What was there before: keys and SPF records of the platform are known, libraries loaded, threads have run."""
    futures = senders.start(site.address, site.postfix.port, 3_000_000, 60, 200)
    senders.stop()
    sent = [one for future in futures for one in future.result()]
    account(Row(row.fault), Fault(row.fault, lambda *_: None), sent, site.arrived())
    site.answers_after()


# ---- what became of it -----------------------------------------------------------------------------------


def account(row: Row, fault: Fault, sent: list[Sent], arrived: list[tuple[int, Sent]]) -> None:
    """Count, and note what is wrong."""
    there: dict[int, list[Sent]] = {}
    for number, one in arrived:
        there.setdefault(number, []).append(one)
    for one in sent:
        found = there.pop(one.number, [])
        match one.fate:
            case "queued" if len(found) == 1:
                final = found[0]
            case "queued":
                final = replace(one, fate="lost", why=f"queued as {one.why}, arrived {len(found)} times")
            case "unanswered" if len(found) <= 1:
                final = replace(one, fate="deferred")
                row.twice += len(found)
                row.wrong += [_wrong(f, fault) for f in found if _wrong(f, fault)]
            case _ if found:
                final = replace(one, fate="lost", why=f"{one.fate}, and arrived {len(found)} times: {one.why}")
            case _:
                final = one
        row.fates[final.fate] += 1
        if final.fate == "deferred":
            row.why[f"{final.through}: {final.why[:120]}"] += 1
        if problem := _wrong(final, fault):
            row.wrong.append(problem)
    row.wrong += [f"{number} arrived, and nobody sent it" for number in there]


def _wrong(one: Sent, fault: Fault) -> str:
    """What is wrong with how a message ended: its tag, or that it did not end."""
    message = mail.message(one.number)
    what = f"{one.number} ({message.kind}, {one.through}): "
    if one.fate == "deferred":
        return ""
    if one.fate not in ("delivered", "held"):
        return f"{what}{one.fate}: {one.why}"
    if one.verdict != message.deserves and one.verdict not in fault.verdicts.get(message.kind, ()):
        return f"{what}{one.verdict}, deserves {message.deserves}"
    return "" if (one.fate == "held") == (one.verdict == "unverified") else f"{what}{one.fate}, {one.verdict}"


def _again(site: Site, senders: Senders, row: Row, left: list[Sent]) -> None:
    """What was put off comes again, until all has arrived: with exactly the tag that it deserves."""
    exactly = Fault(row.fault, lambda *_: None)
    deadline = time.monotonic() + _AGAIN
    while left:
        sent = senders.again(site.address, site.postfix.port, left)
        count = Row(row.fault)
        account(count, exactly, sent, site.arrived())
        row.wrong += count.wrong
        row.late += count.fates["delivered"] + count.fates["held"]
        left = [one for one in sent if one.fate in ("deferred", "unanswered")]
        if left and time.monotonic() > deadline:
            row.wrong.append(f"{len(left)} messages do not arrive, such as {left[0]}")
            return
        if left:
            time.sleep(1)


def _settled(site: Site, row: Row) -> Figures:
    """What the service holds when all is over; where that stays more than before, it is wrong."""
    deadline = time.monotonic() + _SETTLE
    while True:
        now = site.figures()
        small = now.memory <= row.before.memory + MORE_MEMORY and len(site.service.children()) == 2
        few = now.threads <= row.before.threads + MORE_THREADS
        if small and few and now.descriptors <= row.before.descriptors + MORE_DESCRIPTORS:
            return now
        if time.monotonic() > deadline:
            row.wrong.append(f"it was {row.before}, and is {now}, {len(site.service.children())} workers")
            return now
        time.sleep(0.2)
