"""Pratique at work: ten messages through a private Postfix, and what becomes of them. Run by tests/demo.

Ends with status 0 if every message fares as it should. Nothing outside temporary folders is written, no port but
those of 127.0.0.1 is used, and all that was started ends: at the end, by Ctrl-C or by SIGTERM.
"""

from __future__ import annotations

import argparse
import email.utils
import os
import secrets
import signal
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import zip_longest

from harness.dns_server import txt
from harness.ports import CHECKOUT, unpacked
from harness.signing import Sign, key_record, sign
from harness.stand import SHIPPED, Stand

BOX = "marches@commune.example"
HOST = "host=mx1.example.org"
TERNUM = "Territoires Numériques BFC <nepasrepondre@marches.ternum-bfc.fr>"
OPIC = "Visma Opic <noreply.opic@visma.com>"
FIELD = "X-Trusted-Sender"
TERNUM_HOST, VISMA_HOST, STRANGER = "192.0.2.20", "192.0.2.70", "203.0.113.66"  # SMTP clients


# The platforms' DNS as it might be, with keys of ours; Visma does not sign here.
ZONE = (
    txt("ternum-bfc.fr", "v=spf1 ip4:192.0.2.16/28 -all")
    + txt("s2026._domainkey.ternum-bfc.fr", key_record("rsa2048"))
    + txt("visma.com", "v=spf1 ip4:192.0.2.64/28 -all")
    + txt("offers.example", f"v=spf1 ip4:{STRANGER} -all")
    + txt("s1._domainkey.offers.example", key_record("other2048"))
    + ";timeout analys.visma.com\n"
)


@dataclass(frozen=True)
class Sent:
    """A message, who sends it, and what should become of it."""

    title: str
    message: bytes
    client: str
    mail_from: str
    verdict: str
    arrives: str = "delivered"  # or held, or refused
    rest: str = ""  # of our field, behind the verdict
    logged: str = ""  # words of the log line; where there is none: no line
    forged: bytes = b""  # a field on top that must be gone

    @property
    def field(self) -> str:
        return f"{FIELD}: " + "; ".join(part for part in (self.verdict, self.rest, HOST) if part)


def notice(author: str, subject: str) -> bytes:
    """A message as it is sent now."""
    lines = [f"From: {author}", f"To: {BOX}", f"Subject: {subject}", f"Date: {email.utils.formatdate()}"]
    lines += [f"Message-ID: <{secrets.token_hex(4)}@demo.example>", "MIME-Version: 1.0"]
    lines += ["Content-Type: text/plain; charset=utf-8", "", "A new notice is online.", ""]
    return "\r\n".join(lines).encode()


def messages() -> list[Sent]:
    """What is sent; the last one to a site that quarantines."""
    marche, annonce = "Nouvelle consultation", "Ny upphandling"
    forgery = b"X-Trusted-Sender: verified; sender=ternum-bfc; by=dkim; host=mx1.example.org\r\n"
    of_forger = Sign("offers.example", "s1", "other2048")
    return [
        Sent("Genuine notice, signed (DKIM)", sign(notice(TERNUM, marche), Sign("ternum-bfc.fr", "s2026")),
             TERNUM_HOST, "bounce@ternum-bfc.fr", "verified", rest="sender=ternum-bfc; by=dkim+spf",
             logged="action=tag by=dkim+spf dkim=pass"),
        Sent("Genuine notice that only SPF proves", notice(OPIC, annonce), VISMA_HOST, "bounce@visma.com", "verified",
             rest="sender=visma-opic; by=spf", logged="action=tag by=spf spf=pass dkim=none"),
        Sent("Forged: signed, but by the forger", sign(notice(TERNUM, marche), of_forger), STRANGER,
             "bounce@offers.example", "unverified", rest="sender=ternum-bfc; reason=no-aligned-pass",
             logged="action=tag dkim=neutral reason=no-aligned-pass"),
        Sent("Forged: from a host that may not send", notice(OPIC, annonce), STRANGER, "bounce@visma.com", "unverified",
             rest="sender=visma-opic; reason=no-aligned-pass", logged="action=tag spf=fail dkim=none"),
        Sent("Colleague whose mailbox is not on the list", notice("Anna Lind <anna.lind@visma.com>", "Hej"),
             VISMA_HOST, "anna.lind@visma.com", "unlisted", rest="sender=visma-opic; by=spf", logged="by=spf spf=pass"),
        Sent("Brings our field along, forged", notice("Offres <news@offers.example>", "Consultation urgente"), STRANGER,
             "bounce@offers.example", "unclaimed", logged="action=tag stripped=1", forged=forgery),
        Sent("Imitation of a platform's name", notice("Visma Opic <notices@offers.example>", annonce), STRANGER,
             "bounce@offers.example", "imitation", rest="sender=visma-opic; reason=display-name-imitates",
             logged="action=tag reason=display-name-imitates"),
        Sent("Newsletter: nothing to do with the list", sign(notice("Shop <news@offers.example>", "20 %"), of_forger),
             STRANGER, "bounce@offers.example", "unclaimed"),
        Sent("Notice by a subdomain whose DNS does not answer", notice("noreply.analys@visma.com", annonce), VISMA_HOST,
             "bounce@analys.visma.com", "unverified", "refused",
             logged="action=defer reason=dns-temperror spf=temperror"),
        Sent("Forged, to a site that quarantines", notice(TERNUM, marche), STRANGER, "bounce@ternum-bfc.fr",
             "unverified", "held", rest="sender=ternum-bfc; reason=no-aligned-pass; action=quarantine",
             logged="action=quarantine spf=fail"),
    ]  # fmt: skip


@dataclass(frozen=True)
class Fate:
    """What became of a message."""

    arrived: str  # delivered, held or refused
    fields: list[str]  # all fields of our name
    place: str
    log: str
    intact: bool  # what was sent is there to the last byte, but for the forged field

    @property
    def verdict(self) -> str:
        if self.fields:
            return self.fields[0].removeprefix(f"{FIELD}: ").partition(";")[0]
        return next((word.removeprefix("verdict=") for word in self.log.split() if word.startswith("verdict=")), "none")


def send(stand: Stand, sent: Sent) -> Fate:
    """Send a message by SMTP, and see what becomes of it."""
    before = len(stand.log_lines())
    helo = "mail." + sent.mail_from.rpartition("@")[2]
    reply = stand.postfix.send(sent.forged + sent.message, sent.mail_from, [BOX], sent.client, helo)
    log = "\n".join(stand.log_lines()[before:])
    if reply.queue_id is None:
        return Fate("refused", [], f"refused for now: {reply.code} {reply.text}", log, True)
    outcome = stand.postfix.outcome(reply.queue_id)
    header = outcome.content.partition(b"\n\n")[0].decode(errors="replace")
    fields = [line for line in header.splitlines() if line.lower().startswith(FIELD.lower())]
    place = {"delivered": f"inbox of {BOX}", "held": "held in the queue of Postfix"}.get(outcome.state, outcome.state)
    intact = outcome.content.endswith(b"\n" + sent.message.replace(b"\r\n", b"\n"))
    return Fate(outcome.state, fields, place, log, intact)


def wrong(sent: Sent, fate: Fate) -> Iterator[str]:
    """What is not as it should be."""
    if fate.arrived != sent.arrives:
        yield f"it is {fate.arrived}, not {sent.arrives}"
    if fate.verdict != sent.verdict:
        yield f"the verdict is {fate.verdict}, not {sent.verdict}"
    if sent.arrives != "refused" and fate.fields != [sent.field]:
        yield f"it should carry {sent.field}"
    if not fate.intact:
        yield "it is not what was sent"
    if bool(sent.logged) != bool(fate.log):
        yield "there should be a log line" if sent.logged else "there should be no log line"
    missing = set(sent.logged.split()) - set(fate.log.split())
    if missing:
        yield f"the log line should have {' '.join(sorted(missing))}"


# ---- output --------------------------------------------------------------------------------------------

WIDTHS = (3, 49, 14, 53)


def row(*cells: Sequence[str]) -> str:
    """A row of the table; each cell is some paragraphs, wrapped to its column."""
    columns = [
        [
            line
            for text in cell
            for line in textwrap.wrap(text, width - 1, subsequent_indent="  ", break_on_hyphens=False)
        ]
        for cell, width in zip(cells, WIDTHS, strict=True)
    ]
    rows = zip_longest(*columns, fillvalue="")
    return "\n".join("".join(text.ljust(w) for text, w in zip(line, WIDTHS, strict=True)).rstrip() for line in rows)


def show(number: int, sent: Sent, fate: Fate) -> bool:
    """Print a row with its log line; whether all is as it should be."""
    author = next(line for line in sent.message.decode().splitlines() if line.startswith("From: "))
    facts = [sent.title, author, *([sent.forged.decode().strip()] if sent.forged else [])]
    facts += [f"MAIL FROM {sent.mail_from}", f"client {sent.client}"]
    print(row([str(number)], facts, [fate.verdict], [fate.place, *fate.fields]))
    log = fate.log or "no line: it has nothing to do with the list, and nothing was deleted (`level: debug` logs it)"
    print(textwrap.fill(log, 117, initial_indent="   log  ", subsequent_indent="        ", break_on_hyphens=False))
    problems = list(wrong(sent, fate))
    for problem in problems:
        print(f"   NOT AS EXPECTED: {problem}")
    print(flush=True)
    return not problems


def tell(title: str, stand: Stand) -> None:
    """Where the parts of a running site are."""
    folder, conf = stand.postfix.folder, stand.postfix.folder / "conf"
    print(f"\n{title}: SMTP on 127.0.0.1 port {stand.postfix.port}")
    print(f"  inbox     {folder}/mail/{BOX}/new")
    print(f"  logs      {stand.log} (Pratique), {folder}/log (Postfix)")
    print(f"  settings  {stand.config} (Pratique), {conf}/main.cf (Postfix)")
    print(f"  queue     $P/sbin/postqueue -c {conf} -p")
    print(f"  release   $P/sbin/postsuper -c {conf} -H ALL; $P/sbin/postqueue -c {conf} -f")


def serve(shipped: Stand, strict: Stand) -> None:
    """Leave all running until a signal comes."""
    print("\nAll of it goes on running, for mail of your own.")
    tell("As shipped", shipped)
    tell("With unverified: quarantine", strict)
    print("\nFor the commands of the private Postfix ($P), in your shell:")
    print(f"  P={unpacked('postfix', 'usr')}; export LD_LIBRARY_PATH=$P/lib/postfix")
    print("\nA genuine notice of Visma Opic, with swaks; with another --xclient-addr it is a forged one:")
    print(f"  swaks --server 127.0.0.1 --port {shipped.postfix.port} --xclient-addr {VISMA_HOST} \\")
    print(f"    --from bounce@visma.com --to {BOX} --header 'From: {OPIC}'")
    print(f"\nTo stop: Ctrl-C, or kill {os.getpid()}", flush=True)
    while True:
        signal.pause()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="tests/demo", description="Sends mail through a private Postfix and Pratique."
    )
    parser.add_argument("--serve", action="store_true", help="leave all of it running, for mail of your own")
    arguments = parser.parse_args()
    ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    good = True
    config = SHIPPED / "pratique.yaml"

    def stop(number: int, _frame: object) -> None:
        for end in ends:
            signal.signal(end, signal.SIG_IGN)  # the ending itself is not to be interrupted
        sys.exit(128 + number if not arguments.serve else not good)

    for end in ends:
        if signal.getsignal(end) is not signal.SIG_IGN:  # as under nohup
            signal.signal(end, stop)
    with ExitStack() as running:
        shipped = running.enter_context(Stand(config, ZONE))
        strict = running.enter_context(Stand(config, ZONE, actions={"unverified": "quarantine"}))
        print(
            f"Pratique behind a private Postfix, with {config.relative_to(CHECKOUT)} and the trusted list as shipped."
        )
        print("Only socket, DNS server and queue differ.\n")
        print(row(["#"], ["what was sent"], ["verdict"], ["what arrived where"]))
        print("-" * sum(WIDTHS))
        *tagged, held = messages()
        results = [show(i, sent, send(shipped, sent)) for i, sent in enumerate(tagged, 1)]
        print("The next one goes to a site that differs from the shipped configuration in one line:")
        print("actions: {unverified: quarantine}\n")
        results.append(show(len(results) + 1, held, send(strict, held)))
        good = all(results)
        print(f"{sum(results)} of {len(results)} as expected", flush=True)
        if arguments.serve:
            serve(shipped, strict)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
