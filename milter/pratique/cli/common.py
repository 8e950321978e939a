"""What every command needs: exit statuses, errors that end a command, the --config option."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

import click

from pratique.config import DEFAULT_CONFIG, ConfigError, load
from pratique.model import Settings, printable
from pratique.resolver import DnsConfigError, NetworkResolver, Resolver, ZoneResolver
from pratique.rights import name_of_user, refusal

EX_USAGE, EX_DATAERR, EX_SOFTWARE, EX_CANTCREAT, EX_TEMPFAIL, EX_CONFIG = 64, 65, 70, 73, 75, 78


class CommandError(Exception):
    """Ends a command with a text and an exit status."""

    def __init__(self, text: str, status: int):
        super().__init__(text)
        self.status = status


_NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO)


def refused(problem: OSError) -> str:
    """One line for what is the machine's refusal and not our error; empty for anything else."""
    if problem.errno not in _NOT_OURS:
        return ""
    if not isinstance(problem.filename, str):
        return f"cannot write: {problem.strerror}"
    return safe(f"{problem.filename}: {refusal(problem, problem.filename)}")


def refuse_root(socket: str) -> None:
    """Refuse to serve as root where the socket's folder is another user's. The socket would be root's, and the service
    of that user could neither open nor replace it."""
    kind, _, path = socket.partition(":")
    if os.geteuid() != 0 or kind not in ("unix", "local"):
        return
    folder = Path(path).parent
    with contextlib.suppress(OSError):
        if (owner := folder.stat().st_uid) != 0:
            raise CommandError(
                f"socket {socket}: the folder {folder} belongs to {name_of_user(owner)}, and this is root: start the "
                f"service with `systemctl start pratique`, or run it as that user",
                EX_CANTCREAT,
            )


def load_settings(config: Path) -> Settings:
    try:
        settings = load(config)
    except ConfigError as problem:
        raise CommandError(safe(str(problem), "\n").replace("\n", "\npratique: "), EX_CONFIG) from None
    return settings


def open_resolver(settings: Settings, zone: Path | None) -> Resolver:
    """The service's own, or the one that answers from a zone file."""
    if zone:
        try:
            return ZoneResolver.from_file(zone)
        except DnsConfigError as problem:
            raise CommandError(str(problem), EX_CONFIG) from None
    resolver = NetworkResolver(settings.dns)
    if resolver.problem:
        raise CommandError(f"dns: {resolver.problem}", EX_CONFIG)
    return resolver


config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, readable=False),  # why it cannot be read, the configuration says better
    default=DEFAULT_CONFIG,
    show_default=True,
    metavar="FILE",
    help="the service's file; it names the list of trusted senders",
)

zone_option = click.option(
    "--zone",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="answer DNS from a zone file (RFC 1035)",
)

safe = printable  # text from outside, for a terminal
