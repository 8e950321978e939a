"""`pratique export`: the trusted list for a filter that is not ours."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from pratique.export import TARGETS, export

from .common import config_option, load_settings, safe


@click.command("export")
@click.option("--to", "target", required=True, type=click.Choice(list(TARGETS)), help="the filter it is for")
@config_option
def command(target: str, config: Path) -> None:
    """Print the trusted list for another filter, with the proof that it can ask for. Warnings go to standard error."""
    settings = load_settings(config)
    text, warnings = export(target, settings.senders.entries, str(config), datetime.now(UTC).date())
    click.echo(text, nl=False)
    for warning in warnings:
        click.echo(f"pratique: warning: {safe(warning)}", err=True)
