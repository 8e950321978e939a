"""The commands: `run` here, each other one in a module of its name. For people, and with --json for programs.

Rules of this module: it speaks to people and decides nothing. Exit statuses are those of sysexits.h. Text from
a message is escaped before it reaches a terminal.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from pathlib import Path

import click

from pratique import __version__, service

from .common import EX_SOFTWARE, EX_USAGE, CommandError, config_option, refuse_root, refused, safe


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
    except Exception as problem:
        if isinstance(problem, OSError) and (told := refused(problem)):
            click.echo(f"pratique: {told}", err=True)
            sys.exit(os.EX_NOPERM if isinstance(problem, PermissionError) else os.EX_IOERR)
        traceback.print_exc()
        sys.exit(EX_SOFTWARE)


class _Commands(click.Group):
    """Each command but `run` is a module of its own, imported when it is asked for: the service needs none of them."""

    modules = ("catalogue", "check", "doctor", "explain", "export", "reload")

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *self.modules])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.modules:
            return super().get_command(ctx, cmd_name)
        found: click.Command = importlib.import_module(f".{cmd_name}", __package__).command
        return found


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", prog_name="pratique")
def commands() -> None:
    """Lets verified mail of trusted procurement platforms through the quarantine, and tags the rest."""


@commands.command()
@config_option
@click.option("--strict", is_flag=True, help="where the files are wrong, exit with 78 instead of serving what was good")
def run(config: Path, strict: bool) -> None:
    """Serve as a milter, in the foreground, until SIGTERM.

    As root only where the folder of the socket is root's own. If the files are wrong, the service starts on the last
    good configuration, and says so.
    """
    try:
        start = service.at_start(config, strict)
        refuse_root(start.generation.settings.socket)
        service.run(start)
    except service.ServiceError as problem:
        raise CommandError(safe(str(problem), "\n").replace("\n", "\npratique: "), problem.status) from None
