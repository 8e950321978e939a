"""`pratique check`: validates both files, says what the list means, and what an edit changes in trust."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from pratique.config import ConfigError, Document, Problem, Reading, parse_list, read, read_text
from pratique.model import Entry, Require, TrustedList
from pratique.trust import Change, changes, proof

from .common import EX_CONFIG, config_option, safe

EX_DIFFERENT = 1


@click.command("check")
@config_option
@click.option(
    "--against",
    type=click.Path(path_type=Path, readable=False),
    metavar="OLD",
    help="an older list, or an older service's file: print what has changed in trust; exit 0 same, 1 different",
)
@click.option("--json", "as_json", is_flag=True, help="print one JSON object, for programs")
def command(config: Path, against: Path | None, as_json: bool) -> None:
    """Check both configuration files: exit 0, or 78 with every error."""
    reading = read(config)
    errors = list(reading.errors)
    old: TrustedList | None = None
    if against:
        old, wrong = older(against, reading)
        errors += [problem for problem in wrong if problem not in errors]
    new = reading.settings.senders if reading.settings else TrustedList()
    found = changes(old, new) if old is not None and not errors else None
    if as_json:
        click.echo(json.dumps(as_object(config, reading, errors, found), indent=2, ensure_ascii=False))
    else:
        _tell(config, reading, errors, found)
    raise click.exceptions.Exit(EX_CONFIG if errors else EX_DIFFERENT if found else 0)


def older(path: Path, reading: Reading) -> tuple[TrustedList | None, Sequence[Problem]]:
    """The list to compare with. A file whose `senders` holds entries is a list, any other a service's file."""
    try:
        text = read_text(path)
        value = Document(text, str(path)).value
    except ConfigError as wrong:
        return None, wrong.problems
    if isinstance(value, dict) and isinstance(value.get("senders"), dict | list):
        own = reading.settings.local_domains if reading.settings else frozenset()
        parsed = parse_list(text, str(path), own)
        return TrustedList(tuple(placed.entry for placed in parsed.entries)), parsed.errors
    settings = read(path)
    return settings.settings.senders if settings.settings else None, settings.errors


# ---- for people ------------------------------------------------------------------------------------


def _tell(config: Path, reading: Reading, errors: list[Problem], found: list[Change] | None) -> None:
    for warning in reading.warnings:
        click.echo(f"pratique: warning: {safe(str(warning))}", err=True)
    for error in errors:
        click.echo(f"pratique: {safe(str(error))}", err=True)
    if errors or reading.settings is None:
        return
    if found is not None:
        for change in found:
            click.echo(safe(str(change)))
        if not found:
            click.echo("the same trust")
        return
    entries = reading.settings.senders.entries
    for line in meaning(entries):
        click.echo(line)
    for entry in entries:
        if entry.networks:
            networks = ", ".join(map(str, entry.networks))
            click.echo(f"{entry.id}: anyone who sends through its networks is trusted: {networks}")
    platforms = f"{len(entries)} trusted sender{'s' * (len(entries) != 1)}"
    click.echo(f"{config}: good, {platforms}, mode {reading.settings.mode}")


def meaning(entries: Sequence[Entry]) -> list[str]:
    """One line an entry, in columns."""
    rows = [
        (entry.id, f"{_addresses(entry)} of {entry.domain}", f"by {proof(entry)}{_scope(entry)}", _expiry(entry))
        for entry in entries
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _addresses(entry: Entry) -> str:
    if any(not local.strip("*") for local, _ in entry.addresses):
        return "every address"
    count = len(entry.addresses)
    return f"{count} address{'es' * (count > 1)}"


def _scope(entry: Entry) -> str:
    if entry.require is Require.NETWORK:
        return ""
    if entry.evidence_domains:
        return f", only of {', '.join(sorted(entry.evidence_domains))}"
    return f", {entry.alignment}"


def _expiry(entry: Entry) -> str:
    return f"expires {entry.expires or 'never'}"


# ---- for programs ----------------------------------------------------------------------------------


def as_object(config: Path, reading: Reading, errors: list[Problem], found: list[Change] | None) -> dict[str, Any]:
    entries = reading.settings.senders.entries if reading.settings else ()
    return {
        "config": str(config),
        "good": not errors,
        "errors": [_problem(problem) for problem in errors],
        "warnings": [_problem(problem) for problem in reading.warnings],
        "senders": [_entry(entry) for entry in entries],
        "changes": None if found is None else [_change(change) for change in found],
    }


def _problem(problem: Problem) -> dict[str, Any]:
    place = {"file": problem.file, "line": problem.line or None, "column": problem.column or None}
    return {**place, "key": problem.key or None, "text": problem.text}


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "name": entry.name,
        "domain": entry.domain,
        "addresses": ["@".join(address) for address in entry.addresses],
        "require": entry.require,
        "alignment": entry.alignment,
        "networks": list(map(str, entry.networks)),
        "signers": sorted(entry.signers),
        "evidence_domains": sorted(entry.evidence_domains),
        "expires": entry.expires and entry.expires.isoformat(),
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "change": change.kind,
        "address": change.address,
        "sender": change.sender,
        "what": change.what or None,
        "text": change.text,
    }
