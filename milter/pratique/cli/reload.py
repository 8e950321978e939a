"""`pratique reload`: has the running service take its files into use, and says whether it did."""

from __future__ import annotations

import os
from pathlib import Path

import click

from pratique import service
from pratique.rights import refusal

from .common import CommandError, config_option

_PATIENCE = 180.0  # seconds: longer than the service needs to give up


@click.command("reload")
@config_option
@click.option("--wait/--no-wait", default=True, help="wait for the outcome (the default), or only ask for the reload")
def command(config: Path, wait: bool) -> None:
    """Have the service take both files into use: exit 0, or 78 with every error in the files.

    If the files are wrong, the service keeps what it has. --no-wait ends at once, with 0, and the log has the outcome.
    """
    answer = service.ask(config, wait, _PATIENCE)
    if answer.status == os.EX_UNAVAILABLE:
        _refuse_unreadable(config)
    if answer.status:
        raise CommandError("\npratique: ".join(answer.lines), answer.status)
    for line in answer.lines:
        click.echo(f"pratique: {line}", err=line.startswith("warning: "))


def _refuse_unreadable(config: Path) -> None:
    """Where no service was found, and the file that names its socket may not be read, that is why."""
    try:
        os.close(os.open(config, os.O_RDONLY | os.O_NONBLOCK))
    except PermissionError as problem:
        raise CommandError(f"{config}: {refusal(problem, config)}", os.EX_NOPERM) from None
    except OSError:
        return
