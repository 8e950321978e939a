"""`pratique doctor`: what live DNS and the log say of each entry, a verdict, and what to change."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress

from pratique.advice import Advice, Facts, Level, advise
from pratique.authentication import published, spf_survey
from pratique.logbook import LONGEST_LINE, Seen, read
from pratique.model import Alignment, DkimEvidence, DnsSettings, DnsStatus, Entry, Lookup, Settings, SpfResult
from pratique.reasons import Reason
from pratique.resolver import Lookups, NetworkResolver, Resolver
from pratique.resolver.probe import Measured, measure
from pratique.rights import refusal

from .common import (
    EX_DATAERR,
    EX_TEMPFAIL,
    EX_USAGE,
    CommandError,
    config_option,
    load_settings,
    open_resolver,
    safe,
    zone_option,
)

STATUS = {Level.OK: 0, Level.WARNING: 1, Level.BROKEN: 2, Level.UNANSWERED: EX_TEMPFAIL}
_PATIENCE = 4  # a survey of SPF asks more than the service does for a message: so many times `dns: timeout`
_SOON = 1.0  # seconds until a progress bar is worth its while
_RECORDS_SHOWN = 12
_AT_ONCE = 8  # entries that are examined at the same time
_MEASURED = 12  # names of an entry whose answers are measured
_DNS_PORT = 53
_UNITS = {"s": 1, "m": 60, "": 1}


def _seconds(_context: click.Context, _parameter: click.Parameter, value: str) -> float:
    match = re.fullmatch(r"(\d{1,4})([sm]?)", value)
    if match is None or int(match[1]) == 0:
        raise click.BadParameter(f"{value!r} is no time such as 30s or 2m")
    return float(int(match[1]) * _UNITS[match[2]])


@click.command("doctor")
@config_option
@click.option("--log", "logs", multiple=True, metavar="FILE", help="a log of the service (- is standard input)")
@zone_option
@click.option(
    "--timeout",
    default="30s",
    show_default=True,
    metavar="TIME",
    callback=_seconds,
    help="how long DNS may take for all entries together",
)
@click.option("--json", "as_json", is_flag=True, help="one JSON object")
@click.argument("senders", nargs=-1, metavar="[ID]…")
def command(
    config: Path, logs: tuple[str, ...], zone: Path | None, timeout: float, as_json: bool, senders: tuple[str, ...]
) -> None:
    """What DNS says of each trusted sender, and what to change.

    Of those named by ID, else of all. With --log also what its mail really looked like.

    \b
    Exit status: 0  all is well
                 1  something to look at
                 2  mail of an entry cannot be verified today
                 75 DNS did not answer
    """
    settings = load_settings(config)
    today = datetime.now(UTC).date()
    entries = _chosen(settings, senders)
    seen = read(_lines(logs), today) if logs else None
    resolver = open_resolver(settings, zone)
    deadline = time.monotonic() + timeout
    server = None
    if isinstance(resolver, NetworkResolver) and entries:
        try:
            server = _answering(resolver, settings.dns, deadline)
        except CommandError as problem:
            if as_json:
                click.echo(json.dumps({"status": problem.status, "problem": str(problem), "entries": []}, indent=2))
            raise
    with _progress(len(entries)) as tick:
        facts = _examine_all(entries, _Asking(resolver, settings.dns.timeout, deadline, server), seen, tick)
    advices = [(found, advise(found, today)) for found in facts]
    if as_json:
        click.echo(json.dumps(_as_object(advices), ensure_ascii=False, indent=2))
    else:
        click.echo("\n\n".join("\n".join(in_words(facts, advice)) for facts, advice in advices))
    if time.monotonic() >= deadline:
        text = f"after {timeout:.0f} s no more was asked: what is unanswered may have an answer; --timeout gives more"
        click.echo(f"pratique: warning: {text}", err=True)
    raise click.exceptions.Exit(_status([advice.level for _, advice in advices]))


def _status(levels: list[Level]) -> int:
    return STATUS[max(levels, default=Level.OK)]


def _chosen(settings: Settings, senders: tuple[str, ...]) -> list[Entry]:
    entries = settings.senders.entries
    for sender in senders:
        if settings.senders.entry(sender) is None:
            raise CommandError(
                f"{sender}: no such trusted sender; there are {', '.join(e.id for e in entries)}", EX_USAGE
            )
    return [entry for entry in entries if not senders or entry.id in senders]


def _lines(logs: tuple[str, ...]) -> Iterator[str]:
    for name in logs:
        try:
            with click.open_file(name, encoding="utf-8", errors="replace") as source:
                while line := source.readline(LONGEST_LINE + 1):
                    yield line
        except OSError as problem:
            raise CommandError(f"{name}: cannot read the log: {refusal(problem, name)}", EX_DATAERR) from None


@contextmanager
def _progress(steps: int) -> Iterator[Any]:
    """A progress bar on a terminal, once it takes long."""
    progress = Progress(console=Console(stderr=True), transient=True)
    if not progress.console.is_terminal:
        yield lambda: None
        return
    task = progress.add_task("asking DNS", total=steps)
    timer = threading.Timer(_SOON, progress.start)
    timer.start()
    try:
        yield lambda: progress.advance(task)
    finally:
        timer.cancel()
        timer.join()
        progress.stop()


# ---- the name servers --------------------------------------------------------------------------------

Server = tuple[str, int]


def _answering(resolver: NetworkResolver, dns: DnsSettings, deadline: float) -> Server:
    """A server that answers. Asks each of them one question. Raises CommandError where none says anything."""
    patience = min(dns.timeout, deadline - time.monotonic())
    servers = resolver.servers
    with ThreadPoolExecutor(len(servers)) as pool:
        replies = list(pool.map(lambda server: measure(server, ".", "NS", patience), servers))
    silent = [server for server, reply in zip(servers, replies, strict=True) if not reply.rcode]
    said = f"{_named(silent, dns)} {'does' if len(silent) == 1 else 'do'} not answer"
    if len(silent) == len(servers):
        raise CommandError(f"dns: {said}: nothing can be said of any entry", EX_TEMPFAIL)
    if silent:
        click.echo(f"pratique: warning: dns: {said}; the others do", err=True)
    for server, reply in zip(servers, replies, strict=True):
        for problem in _limits(reply):
            click.echo(f"pratique: warning: dns: {_named([server], dns)} {problem}", err=True)
    order = sorted(zip(servers, replies, strict=True), key=lambda pair: (not pair[1].rcode, pair[1].rcode == "REFUSED"))
    return order[0][0]


def _limits(reply: Measured) -> Iterator[str]:
    if reply.rcode == "REFUSED":
        yield "refuses to answer (REFUSED): it may not serve this host"
    if reply.without_edns:
        yield f"refuses EDNS ({reply.without_edns}): an answer over 512 bytes must come over TCP"


def _named(servers: list[Server], dns: DnsSettings) -> str:
    """The servers, and where they stand."""
    names = [host if port == _DNS_PORT else f"{f'[{host}]' if ':' in host else host}:{port}" for host, port in servers]
    return f"{' and '.join(names)} (from {'`dns: servers`' if dns.servers else '/etc/resolv.conf'})"


# ---- gathering ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Asking:
    """How DNS is asked: `timeout` seconds for the questions of one message, and until when in all. `server` is the one
    by which answers are measured."""

    resolver: Resolver
    timeout: float
    deadline: float = float("inf")
    server: Server | None = None

    def lookups(self, times: float = 1) -> Lookups:
        return Lookups(self.resolver, min(times * self.timeout, max(self.deadline - time.monotonic(), 0)))


def _examine_all(
    entries: list[Entry], asking: _Asking, seen: dict[str, Seen] | None, tick: Callable[[], None]
) -> list[Facts]:
    """The facts of all entries, some at the same time."""

    def one(entry: Entry) -> Facts:
        found = _examine(entry, asking, seen)
        tick()
        return found

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            return list(pool.map(one, entries))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def examine(entry: Entry, resolver: Resolver, timeout: float, logged: dict[str, Seen] | None) -> Facts:
    """All facts of an entry."""
    return _examine(entry, _Asking(resolver, timeout), logged)


def _examine(entry: Entry, asking: _Asking, logged: dict[str, Seen] | None) -> Facts:
    """The log says which MAIL FROM domains and selectors its mail really has; a forger is free to use any other domain
    that counts."""
    seen = None if logged is None else logged.get(entry.id, Seen())
    own = _own_domains(entry)
    senders = sorted(d for d in (seen.senders if seen else ()) if d and any(entry.counts_domain(d, o) for o in own))
    surveys = tuple(
        spf_survey.survey(domain, entry, asking.lookups(_PATIENCE)) for domain in dict.fromkeys([*senders, *own])
    )
    keys = tuple(_keys(entry, own, list(seen.keys) if seen else [], asking.lookups()))
    return Facts(
        entry,
        surveys,
        keys,
        tuple(dict.fromkeys(published.dmarc(domain, asking.lookups()) for domain in _author_domains(entry))),
        seen,
        tuple(_missing(entry, asking.lookups())),
        tuple(_answers(surveys, keys, asking)),
    )


def _missing(entry: Entry, lookup: Lookup) -> Iterator[str]:
    """The entry's domains that do not exist."""
    for domain in dict.fromkeys(
        [entry.domain, *_author_domains(entry), *sorted(entry.evidence_domains | entry.signers)]
    ):
        if lookup(domain, "TXT").status is DnsStatus.NO_NAME:
            yield domain


def _answers(
    surveys: Iterable[spf_survey.SpfSurvey], keys: Iterable[DkimEvidence], asking: _Asking
) -> Iterator[published.TxtAnswer]:
    """What stands at the names of the SPF records and of the keys, and how large it is."""
    surveys = list(surveys)
    names = [survey.domain for survey in surveys if survey.result is not SpfResult.NONE]
    names += [record.domain for survey in surveys for record in survey.records if record.text]
    names += [f"{key.selector}._domainkey.{key.domain}" for key in keys if key.reason is not Reason.KEY_MISSING]
    lookup = asking.lookups()
    for name in list(dict.fromkeys(names))[:_MEASURED]:
        found = published.TxtAnswer(name, len(lookup(name, "TXT").records))
        left = min(asking.timeout, asking.deadline - time.monotonic())
        if asking.server and left > 0:
            how = measure(asking.server, name, "TXT", left)
            found = published.TxtAnswer(name, found.records, how.octets, how.truncated, how.tcp)
        yield found


def _author_domains(entry: Entry) -> list[str]:
    return list(dict.fromkeys(domain for _, domain in entry.addresses))


def _own_domains(entry: Entry) -> list[str]:
    """Where its evidence is to be looked for, as far as the entry says."""
    if entry.evidence_domains:
        return sorted(entry.evidence_domains)
    authors = _author_domains(entry)
    return authors if entry.alignment is Alignment.STRICT else list(dict.fromkeys([*authors, entry.domain]))


def _keys(entry: Entry, own: list[str], logged: Iterable[tuple[str, str]], lookup: Lookups) -> Iterator[DkimEvidence]:
    """The keys of the entry's selectors, at the first domain that has one, and of those in the log."""
    known = dict.fromkeys(logged)
    for domain, selector in known:
        if domain in entry.signers or any(entry.counts_domain(domain, author) for author in _author_domains(entry)):
            yield published.key(domain, selector, lookup)
    for selector in entry.selectors:
        if not any(selector == seen for _, seen in known):
            found = [published.key(domain, selector, lookup) for domain in [*own, *sorted(entry.signers)]]
            there = [key for key in found if key.reason is not Reason.KEY_MISSING]
            yield min(there or found, key=lambda key: not key.counts)


# ---- telling -----------------------------------------------------------------------------------------


def in_words(facts: Facts, advice: Advice) -> Iterator[str]:
    entry = facts.entry
    yield f"{entry.id}  {safe(entry.name)}"
    yield f"  {advice.level.word:<10} {safe(advice.verdict)}"
    for finding in advice.findings:
        mark = "" if finding.level is Level.OK else f"{finding.level.word}: "
        yield f"  {finding.about:<10} {mark}{safe(finding.text)}"
        if finding.change:
            yield f"  {'':<10}   -> {safe(finding.change)}"
    for survey in facts.spf:
        yield from _tree(survey)


def _tree(survey: spf_survey.SpfSurvey) -> Iterator[str]:
    """The records that a record leads to."""
    below = survey.records[1:]
    for number, record in enumerate(below[:_RECORDS_SHOWN]):
        label = f"{survey.domain}: " if number == 0 else " " * (len(survey.domain) + 2)
        yield f"  {'' if number else 'through':<10} {label}{'  ' * (record.depth - 1)}{safe(record.by)}"
    if len(below) > _RECORDS_SHOWN:
        yield f"  {'':<10} and {len(below) - _RECORDS_SHOWN} more"


def _as_object(advices: list[tuple[Facts, Advice]]) -> dict[str, Any]:
    return {
        "status": _status([advice.level for _, advice in advices]),
        "entries": [_entry(facts, advice) for facts, advice in advices],
    }


def _entry(facts: Facts, advice: Advice) -> dict[str, Any]:
    entry, seen = facts.entry, facts.seen
    return {
        "id": entry.id,
        "name": entry.name,
        "require": entry.require,
        "owner": entry.owner,
        "expires": _day(entry.expires),
        "level": advice.level.word,
        "verdict": advice.verdict,
        "recommended": advice.recommended,
        "findings": [
            {"level": f.level.word, "about": f.about, "text": f.text, "change": f.change or None}
            for f in advice.findings
        ],
        "spf": [_spf(survey) for survey in facts.spf],
        "dkim": [
            {name: getattr(key, name) for name in ("domain", "selector", "algorithm", "bits", "counts", "reason")}
            for key in facts.keys
        ],
        "dmarc": [
            {
                "domain": d.domain,
                "record": d.at or None,
                "policy": d.policy,
                "testing": d.testing,
                "problem": d.problem or None,
            }
            for d in facts.dmarc
        ],
        "missing": list(facts.missing),
        "answers": [
            {name: getattr(a, name) for name in ("name", "records", "octets", "truncated", "tcp")}
            for a in facts.answers
        ],
        "log": seen
        and {
            "verified": seen.verified,
            "signed": seen.signed,
            "spf": seen.by_spf,
            "unverified": seen.unverified,
            "undetermined": seen.undetermined,
            "reasons": dict(seen.reasons),
            "first": _day(seen.first),
            "last": _day(seen.last),
        },
    }


def _day(day: date | None) -> str | None:
    return day.isoformat() if day else None


def _spf(survey: spf_survey.SpfSurvey) -> dict[str, Any]:
    return {
        "domain": survey.domain,
        "result": survey.result,
        "problem": survey.problem or None,
        "record": survey.records[0].text if survey.records else None,
        "includes": [record.by for record in survey.records[1:]],
        "lookups": list(survey.lookups),
        "voids": list(survey.voids),
        "networks": [str(network) for network in survey.networks],
        "all": survey.ending or None,
        "strangers": [
            {"client": str(client), "mechanism": found.mechanism, "counts": found.counts}
            for client, found in survey.strangers
        ],
    }
