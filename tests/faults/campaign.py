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
from faults.wrong import Fault, Form

_RATE = 200.0  # messages a second, at most
_AGAIN = 120.0  # seconds within which all that was deferred must arrive
_SETTLE = 60.0  # seconds within which the service must be as small as it was
# What may be more than before: caches grow with what they have seen, and malloc keeps an arena for each thread that
# ever ran beside others. What leaks does so with every message, and there are hundreds.
MORE_MEMORY, MORE_THREADS, MORE_DESCRIPTORS = 8.0, 2, 4  # memory: for each process of the service


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
    tolerated: int = 0  # verdicts that a message does not deserve, and that this fault excuses
    fired: int = 0  # how often something went wrong on purpose
    ended: int = 0  # workers, without anybody's order and without harm done to them
    waits: list[float] = field(default_factory=list)  # of ordinary mail, in seconds
    repeat: str = ""  # the command that does the same again
    before: Figures = NOTHING
    after: Figures = NOTHING

    @property
    def sent(self) -> int:
        return sum(self.fates.values())

    @property
    def longest(self) -> float:
        """The longest that ordinary mail waited."""
        return max(self.waits, default=0.0)

    @property
    def most(self) -> float:
        """The time within which 99 of 100 ordinary messages were answered."""
        return sorted(self.waits)[len(self.waits) * 99 // 100] if self.waits else 0.0

    def cells(self) -> list[str]:
        f = self.fates
        return [
            *(self.fault, str(self.fired)),
            *(str(self.sent), str(f["delivered"]), str(f["held"]), str(f["deferred"]), str(self.late)),
            *(str(self.twice), str(len(self.wrong)), str(self.ended)),
            *(f"{self.most:.2f}", f"{self.longest:.2f}", f"{self.answers:.2f}"),
            f"{self.before.memory:.0f} → {self.after.memory:.0f}",
            f"{self.before.threads} → {self.after.threads}",
            f"{self.before.descriptors} → {self.after.descriptors}",
        ]


HEAD = ("fault", "injected", "sent", "delivered", "held", "deferred", "of these, came again and arrived",
        "arrived twice", "wrong", "workers ended by themselves", "ordinary mail, 99 % within, s", "longest, s",
        "answers after, s", "memory, MiB", "threads", "descriptors")  # fmt: skip


def table(rows: Iterable[Row]) -> str:
    """In Markdown."""
    lines = [list(HEAD), ["---"] + ["---:"] * (len(HEAD) - 1), *(row.cells() for row in rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def run(site: Site, senders: Senders, fault: Fault, form: Form, seed: int) -> Row:
    """Send the messages of a form while something goes wrong; where that takes longer than the form allows, the rest
    come after it."""
    row = Row(fault.name, repeat=f"tests/faults/run{form.option} --seed {seed} '{fault.name}'")
    site.begin(f"{seed} {fault.name}")
    fault.prepare(site)
    messages = form.messages if fault.background else 0
    site.serve(fault.settings(site), fault.wrapper(site), fault.environment(site))
    try:
        port = site.postfix.port
        _warm_up(site, senders, row)
        row.before = site.figures()
        first = site.random.randrange(0, 500_000)
        futures = senders.start(site.address, port, first, messages, _RATE) if fault.background else []
        more: list[Sent] = []
        try:
            end = time.monotonic() + form.longest
            more = fault.run(site, lambda: senders.sent() < messages and time.monotonic() < end) or []
        finally:
            senders.stop()
        row.answers = site.start_took + site.answers_after()
        sent = [one for future in futures for one in future.result()] + more
        account(row, fault, sent, site.arrived())
        row.waits = [one.seconds for one in sent if mail.message(one.number).kind == "ordinary"]
        _again(site, senders, row, [one for one in sent if one.fate in ("deferred", "unanswered")])
        row.after = _settled(site, row)
        _look(site, row, fault)
    except (RuntimeError, OSError) as problem:  # of the harness, or of a fault that found something wrong
        row.wrong.append(str(problem)[:1000])
    finally:
        site.close()
        fault.repair(site)
    return row


def _look(site: Site, row: Row, fault: Fault) -> None:
    """Whether the fault took place, and whether the service stood it."""
    if fault.said not in fault.log(site):
        row.wrong.append(f"the log does not say {fault.said!r}")
    site.fired["a verdict that the fault excuses"] += row.tolerated
    row.fired = sum(site.fired.values())
    row.wrong += [f"nothing was tried: no {what}" for what in fault.fires if not site.fired[what]]
    ended = site.ended_by_themselves()
    row.ended = len(ended)
    if ended and not fault.workers_may_end:
        row.wrong.append(f"workers ended by themselves: {', '.join(ended[:5])}")
    if row.longest > fault.longest_wait:
        row.wrong.append(f"ordinary mail waited {row.longest:.1f} s, {fault.longest_wait:.1f} s is the limit")
    if row.fates["deferred"] > fault.most_deferred:
        row.wrong.append(f"{row.fates['deferred']} messages were deferred: {row.why.most_common(3)}")


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
        row.tolerated += final.verdict in fault.verdicts.get(mail.message(one.number).kind, ())
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
        small = (
            now.memory <= row.before.memory + MORE_MEMORY * site.processes
            and len(site.service.children()) == site.processes
        )
        few = now.threads <= row.before.threads + MORE_THREADS
        if small and few and now.descriptors <= row.before.descriptors + MORE_DESCRIPTORS:
            return now
        if time.monotonic() > deadline:
            row.wrong.append(f"it was {row.before}, and is {now}, {len(site.service.children())} workers")
            return now
        time.sleep(0.2)
