"""`pratique check`: validates both files, and says what the list means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pratique.model import Entry, Require

from .common import config_option, load_settings


@click.command("check")
@config_option
def command(config: Path) -> None:
    """Check both configuration files: exit 0, or 78 with every error."""
    settings = load_settings(config)
    for entry in settings.senders.entries:
        count = len(entry.addresses)
        click.echo(f"{entry.id}: {count} address{'es' * (count > 1)} of {entry.domain}, {_requirement(entry)}")
        if entry.networks:
            click.echo(f"{entry.id}: anyone who sends through its networks is trusted: {_listed(entry.networks)}")
    click.echo(f"{config}: good, {len(settings.senders.entries)} trusted senders, mode {settings.mode}")


def _requirement(entry: Entry) -> str:
    listed = bool(entry.networks)
    proof = {
        Require.ANY: "DKIM, SPF or its networks" if listed else "DKIM or SPF",
        Require.ALL: "DKIM, SPF and its networks" if listed else "DKIM and SPF",
        Require.DKIM: "DKIM",
        Require.SPF: "SPF",
        Require.NETWORK: "its networks",
    }[entry.require]
    return f"by {proof}, {entry.alignment}, expires {entry.expires or 'never'}"


def _listed(items: tuple[Any, ...]) -> str:
    return ", ".join(map(str, items))
