"""`pratique check`: validates both files, says what the list means, and what an edit changes in trust."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from pratique import service
from pratique.config import ConfigError, Document, Problem, Reading, parse_list, read, read_text
from pratique.configuration_diff import TITLES, effects
from pratique.model import Entry, Require, Settings, TrustedList
from pratique.trust import Change, proof

from .common import EX_CONFIG, config_option, safe

EX_DIFFERENT = 1
_PATIENCE = 2.0  # seconds for the service to say what it has in force


@click.command("check")
@config_option
@click.option(
    "--against",
    type=click.Path(path_type=Path, readable=False),
    metavar="OLD",
    help="an older list or service's file, - for standard input: print what changes for mail; exit 0 same, 1 different",
)
@click.option("--json", "as_json", is_flag=True, help="print one JSON object, for programs")
def command(config: Path, against: Path | None, as_json: bool) -> None:
    """Check both configuration files: exit 0, or 78 with every error."""
    reading = read(config, review=True)
    errors = list(reading.errors)
    old: Settings | None = None
    if against:
        old, wrong = older(against, reading)
        errors += [problem for problem in wrong if problem not in errors]
    found = effects(old, reading.settings) if old and reading.settings and not errors else None
    in_force = service.ask_status(config, _PATIENCE)
    if as_json:
        facts = as_object(config, reading, errors, found)
        if in_force:
            facts["in_force"] = _in_force_object(reading, in_force)
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        _tell(config, reading, errors, found)
        if found is None and (said := in_force_text(reading, in_force)):
            click.echo(said, err=bool(errors))
    raise click.exceptions.Exit(EX_CONFIG if errors else EX_DIFFERENT if found else 0)


def older(path: Path, reading: Reading) -> tuple[Settings | None, Sequence[Problem]]:
    """The configuration to compare with. A file whose `senders` holds entries is a list: everything else is then as
    it is now. Any other file is a service's file."""
    place = Path("/dev/stdin") if str(path) == "-" else path
    try:
        text = read_text(place)
        if not text.strip() and not place.is_file():  # a pipe or /dev/null: there was no list before
            return reading.settings and replace(reading.settings, senders=TrustedList()), ()
        value = Document(text, str(path)).value
    except ConfigError as wrong:
        return None, wrong.problems
    if isinstance(value, dict) and isinstance(value.get("senders"), dict | list):
        own = reading.settings.local_domains if reading.settings else frozenset()
        parsed = parse_list(text, str(path), own)
        senders = TrustedList(tuple(placed.entry for placed in parsed.entries))
        return reading.settings and replace(reading.settings, senders=senders), parsed.errors
    other = read(path)
    return other.settings, other.errors


# ---- what is in force ------------------------------------------------------------------------------


def in_force_text(reading: Reading, facts: Mapping[str, Any] | None) -> str:
    """What the running service has in force, compared with the files; empty where no service answers."""
    if facts is None:
        return ""
    since = datetime.fromtimestamp(facts["since"], UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    number, count = facts["generation"], facts["senders"]
    last_good = "the last good configuration, " if facts["source"] == "last-good" else ""
    said = f"in force since {since}: {last_good}generation {number}, {count} trusted sender{'s' * (count != 1)}"
    if reading.errors:
        return f"pratique: {said}. It stays in force until the files are right and `pratique reload` was run"
    if differing := _differing(reading, facts):
        return f"{said}\nnot in force yet: {', '.join(differing)}. To take the files into use: pratique reload"
    return said if facts["source"] == "files" else f"{said}. To take the files into use: pratique reload"


def _differing(reading: Reading, facts: Mapping[str, Any]) -> list[str]:
    """The files that are not what is in force, and those that are no longer read."""
    here = {os.path.abspath(path): hashlib.sha256(octets).hexdigest() for path, octets in reading.texts.items()}
    there = {os.path.abspath(path): digest for path, digest in facts["files"].items()}
    return sorted(path for path in here.keys() | there.keys() if here.get(path) != there.get(path))


def _in_force_object(reading: Reading, facts: Mapping[str, Any]) -> dict[str, Any]:
    since = datetime.fromtimestamp(facts["since"], UTC).isoformat()
    known = {"generation": facts["generation"], "source": facts["source"], "since": since}
    return known | {"senders": facts["senders"], "differing": _differing(reading, facts)}


# ---- for people ------------------------------------------------------------------------------------


def _tell(config: Path, reading: Reading, errors: list[Problem], found: list[Change] | None) -> None:
    for warning in reading.warnings:
        click.echo(f"pratique: warning: {safe(str(warning))}", err=True)
    for error in errors:
        click.echo(f"pratique: {safe(str(error))}", err=True)
    if errors or reading.settings is None:
        return
    if found is not None:
        _tell_changes(found)
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


def _tell_changes(found: list[Change]) -> None:
    for group, title in TITLES.items():
        if lines := [str(change) for change in found if change.group is group]:
            click.echo(f"{title}:")
            for line in lines:
                click.echo(f"  {safe(line)}")
    if not found:
        click.echo("no message is treated in another way")


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
        **({"names": list(entry.names)} if entry.other_names else {}),
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "group": change.group,
        "change": change.kind,
        "address": change.address or None,
        "sender": change.sender or None,
        "what": change.what or None,
        "text": change.text,
    }
