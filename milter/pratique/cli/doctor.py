"""`pratique doctor`: what live DNS and the log say of each entry, a verdict, and what to change."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress

from pratique.advice import Advice, Facts, Level, advise
from pratique.authentication import published, spf_survey
from pratique.logbook import LONGEST_LINE, Seen, read
from pratique.model import Alignment, DkimEvidence, Entry, Settings
from pratique.reasons import Reason
from pratique.resolver import Lookups, Resolver
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


@click.command("doctor")
@config_option
@click.option("--log", "logs", multiple=True, metavar="FILE", help="a log of the service (- is standard input)")
@zone_option
@click.option("--json", "as_json", is_flag=True, help="one JSON object")
@click.argument("senders", nargs=-1, metavar="[ID]…")
def command(config: Path, logs: tuple[str, ...], zone: Path | None, as_json: bool, senders: tuple[str, ...]) -> None:
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
    advices = []
    with _progress(len(entries)) as tick:
        for entry in entries:
            facts = examine(entry, resolver, settings.dns.timeout, seen)
            advices.append((facts, advise(facts, today)))
            tick()
    if as_json:
        click.echo(json.dumps(_as_object(advices), ensure_ascii=False, indent=2))
    else:
        click.echo("\n\n".join("\n".join(in_words(facts, advice)) for facts, advice in advices))
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


# ---- gathering ---------------------------------------------------------------------------------------


def examine(entry: Entry, resolver: Resolver, timeout: float, logged: dict[str, Seen] | None) -> Facts:
    """All facts of an entry. The log says which MAIL FROM domains and selectors its mail really has; a forger is
    free to use any other domain that counts."""
    seen = None if logged is None else logged.get(entry.id, Seen())
    own = _own_domains(entry)
    senders = sorted(d for d in (seen.senders if seen else ()) if d and any(entry.counts_domain(d, o) for o in own))
    keys = list(seen.keys) if seen else []
    return Facts(
        entry,
        tuple(
            spf_survey.survey(domain, entry, Lookups(resolver, _PATIENCE * timeout))
            for domain in dict.fromkeys([*senders, *own])
        ),
        tuple(_keys(entry, own, keys, Lookups(resolver, timeout))),
        tuple(dict.fromkeys(published.dmarc(domain, Lookups(resolver, timeout)) for domain in _author_domains(entry))),
        seen,
    )


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
        "dmarc": [{"domain": d.domain, "policy": d.policy, "problem": d.problem or None} for d in facts.dmarc],
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
