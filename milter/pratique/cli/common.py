"""What every command needs: exit statuses, errors that end a command, the --config option."""

from __future__ import annotations

from pathlib import Path

import click

from pratique.config import DEFAULT_CONFIG, ConfigError, load
from pratique.model import Settings

EX_USAGE, EX_DATAERR, EX_SOFTWARE, EX_CONFIG = 64, 65, 70, 78


class CommandError(Exception):
    """Ends a command with a text and an exit status."""

    def __init__(self, text: str, status: int):
        super().__init__(text)
        self.status = status


def load_settings(config: Path) -> Settings:
    try:
        settings = load(config)
    except ConfigError as problem:
        raise CommandError(str(problem).replace("\n", "\npratique: "), EX_CONFIG) from None
    for warning in settings.warnings:
        click.echo(f"pratique: warning: {warning}", err=True)
    return settings


config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, readable=False),  # why it cannot be read, the configuration says better
    default=DEFAULT_CONFIG,
    show_default=True,
    metavar="FILE",
    help="the service's file; it names the list of trusted senders",
)


def safe(text: str) -> str:
    """Text from outside, for a terminal: what is not printable as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
