"""The commands: `run`, `reload`, `check`, `explain`. For people, and with --json for programs.

Rules of this module: it speaks to people and decides nothing. Exit statuses are those of sysexits.h. Text from
a message is escaped before it reaches a terminal.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import click

from pratique import __version__, service

from . import check, explain, reload
from .common import EX_SOFTWARE, EX_USAGE, CommandError, config_option, load_settings


def main() -> None:
    """Entry point: every ending has an exit status of its own, and no traceback but for our own errors."""
    try:
        sys.exit(commands.main(standalone_mode=False))
    except click.UsageError as problem:
        problem.show()
        sys.exit(EX_USAGE)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except CommandError as problem:
        click.echo(f"pratique: {problem}", err=True)
        sys.exit(problem.status)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception:
        traceback.print_exc()
        sys.exit(EX_SOFTWARE)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", prog_name="pratique")
def commands() -> None:
    """Lets verified mail of trusted procurement platforms through the quarantine, and tags the rest."""


@commands.command()
@config_option
def run(config: Path) -> None:
    """Serve as a milter, in the foreground, until SIGTERM."""
    settings = load_settings(config)
    service.set_up_log(settings)
    try:
        service.run(config, settings)
    except service.ServiceError as problem:
        raise CommandError(str(problem), problem.status) from None


commands.add_command(check.command)
commands.add_command(explain.command)
commands.add_command(reload.command)
