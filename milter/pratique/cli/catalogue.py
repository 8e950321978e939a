"""`pratique catalogue`: platforms with the addresses they publish, and the way of one into the list.

`add` changes only the lines it adds, checks the whole configuration with them first, and replaces the file in one
step; where anything speaks against it, nothing is changed.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from pratique.config import ConfigError, load, parse_service
from pratique.config.catalogue import Platform, parse_catalogue, shipped
from pratique.config.document import Document
from pratique.config.insertion import InsertionError, entry_lines, with_entry
from pratique.model import Address, Entry, ascii_lower
from pratique.rights import refusal

from .common import EX_CANTCREAT, EX_CONFIG, EX_USAGE, CommandError, config_option, safe

_NOT_FOUND = 1

GRADES = {
    "A": "the platform, or who runs it for its users, publishes these addresses",
    "B": "these addresses come from elsewhere than the platform's own pages for its users",
}


class _Group(click.Group):
    """`catalogue` alone lists, `catalogue WORD…` searches."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in {*self.commands, "-h", "--help"}:
            args = ["search", *args]
        return super().parse_args(ctx, args)


@click.group("catalogue", cls=_Group)
def command() -> None:
    """Platforms, and the addresses they publish.

    Without a command: lists them all, or those that hold every WORD given.
    """


catalogue_option = click.option(
    "--catalogue",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="the catalogue  [default: the one that comes with this version]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="for programs")
id_argument = click.argument("platform", metavar="ID")


def _read(catalogue: Path | None, config: Path) -> dict[str, Platform]:
    beside = config.parent / "catalogue.yaml"  # of an installation by hand
    file = catalogue or shipped() or beside
    try:
        return parse_catalogue(_text(file), str(file))
    except ConfigError as problem:
        raise _config_error(problem) from None


def _config_error(problem: ConfigError) -> CommandError:
    lines = [str(p) for p in problem.problems] or [str(problem)]
    return CommandError("\npratique: ".join(lines), EX_CONFIG)


def _find(platforms: dict[str, Platform], name: str) -> Platform:
    if name not in platforms:
        near = difflib.get_close_matches(name, platforms, n=1)
        hint = f"did you mean {near[0]}?" if near else "`pratique catalogue` lists all"
        raise CommandError(f"{safe(name)}: not in the catalogue: {hint}", EX_USAGE)
    return platforms[name]


# ---- list, search, show ------------------------------------------------------------------------------


@command.command("list")
@config_option
@catalogue_option
@json_option
def list_(config: Path, catalogue: Path | None, as_json: bool) -> None:
    """List all platforms."""
    _list(_read(catalogue, config), as_json)


@command.command("search")
@config_option
@catalogue_option
@json_option
@click.argument("words", nargs=-1, metavar="WORD…")
def search(config: Path, catalogue: Path | None, as_json: bool, words: tuple[str, ...]) -> None:
    """List the platforms that hold every word, whatever its case and accents. Exit status 1: there is none."""
    platforms = _read(catalogue, config)
    found = {name: p for name, p in platforms.items() if all(_plain(w) in _haystack(name, p) for w in words)}
    if found or as_json:
        _list(found, as_json)
    else:
        click.echo(f"pratique: no platform in the catalogue holds {' and '.join(map(safe, words))}", err=True)
    if not found:
        raise click.exceptions.Exit(_NOT_FOUND)


def _plain(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))


def _haystack(name: str, platform: Platform) -> str:
    return _plain("\n".join([name, *map(str, _object(name, platform).values()), *platform.trusted]))


def _list(platforms: dict[str, Platform], as_json: bool) -> None:
    if as_json:
        objects = [_object(name, platform) for name, platform in platforms.items()]
        click.echo(json.dumps(objects, ensure_ascii=False, indent=2))
        return
    rows = [("id", "grade", "country", "platform", "trusts")]
    rows += [(name, p.grade, p.country or "-", p.title, _trusts(p)) for name, p in platforms.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ("  ".join([*(f"{c:<{w}}" for c, w in zip(row[:4], widths, strict=True)), row[4]]) for row in rows)
    click.echo("\n".join(safe(line) for line in lines))


def _trusts(platform: Platform) -> str:
    addresses = len(platform.addresses)
    parts = [f"{addresses} address{'es' * (addresses > 1)} of {platform.domain}"] * bool(addresses)
    return " and ".join(parts + [f"every mailbox of {domain}" for domain in platform.domains])


def _object(name: str, platform: Platform) -> dict[str, Any]:
    values = platform.model_dump(mode="json")
    values["addresses"] = [f"{local}@{domain}" for local, domain in platform.addresses]
    values["name"] = platform.title
    return {"id": name, **values, **({"names": list(platform.name)} if len(platform.name) > 1 else {})}


@command.command("show")
@config_option
@catalogue_option
@json_option
@id_argument
def show(config: Path, catalogue: Path | None, as_json: bool, platform: str) -> None:
    """All that is known of a platform, and the entry that `add` would write."""
    found = _find(_read(catalogue, config), platform)
    lines = entry_lines(platform, found.entry())
    if as_json:
        text = "\n".join(lines) + "\n"
        click.echo(json.dumps(_object(platform, found) | {"entry": text}, ensure_ascii=False, indent=2))
    else:
        click.echo("\n".join([*map(safe, _about(platform, found)), "", *lines]))


def _about(name: str, platform: Platform) -> Iterator[str]:
    yield f"{name}: {platform.title}"
    if others := platform.name[1:]:
        yield f"  names     also {', '.join(others)}"
    yield f"  country   {platform.country or 'not bound to one'}, language {platform.language}"
    yield f"  grade     {platform.grade}: {GRADES[platform.grade]}"
    yield f"  source    {platform.source}, seen {platform.seen}"
    if platform.note:
        yield f"  note      {platform.note}"
    yield f"  meaning   {_meaning(platform)}"


def _meaning(platform: Platform) -> str:
    """What the entry trusts, plainly."""
    exact = [f"{local}@{domain}" for local, domain in platform.addresses]
    whole = [f"every mailbox of {domain}" for domain in platform.domains]
    whoever = ", whoever has one there," if whole else ""
    return f"trusts {', '.join(exact + whole)}{whoever} where DKIM or SPF proves {platform.domain} or a domain below it"


# ---- add ---------------------------------------------------------------------------------------------


@command.command("add")
@config_option
@catalogue_option
@click.option("--yes", is_flag=True, help="for a platform of grade B: you have looked at its source")
@id_argument
def add(config: Path, catalogue: Path | None, yes: bool, platform: str) -> None:
    """Write a platform's entry into the list. Changes only the lines it adds, and nothing if they would not hold."""
    found = _find(_read(catalogue, config), platform)
    if found.grade == "B" and not yes:
        why = f"{GRADES['B']}: {found.note}" if found.note else GRADES["B"]
        source = f"look at {found.source}, ask the platform, and add it with --yes"
        raise CommandError(f"{platform} is of grade B: {why}; {source}. Nothing was changed", EX_USAGE)
    try:
        file, text = _with(platform, found, config)
        settings = load(config, instead={file: text}, review=True)
    except (ConfigError, CommandError) as problem:
        told = _config_error(problem) if isinstance(problem, ConfigError) else problem
        separator = "; " if ": permission denied" in str(told) else "\npratique: "
        raise CommandError(f"{told}{separator}nothing was changed", EX_CONFIG) from None
    entry = settings.senders.entry(platform)
    if entry is None or set(entry.addresses) != {tuple(a.rsplit("@", 1)) for a in found.trusted}:
        raise CommandError(f"{file}: read again, the entry is another one; nothing was changed", EX_CONFIG)
    _write(file, text)
    click.echo(f"{file}: added {platform}\n{platform} {_meaning(found)}\nTo take it into use: pratique reload")


def _with(name: str, platform: Platform, config: Path) -> tuple[Path, str]:
    """The file to write, and its text with the entry. Raises ConfigError, CommandError."""
    service = parse_service(_text(config), str(config))
    senders = config.parent / service.senders
    is_folder = os.path.isdir(senders)
    files = _lists(senders) if is_folder else [senders]
    for file in files:
        _refuse_double(name, platform, Document(_text(file), str(file)))
    if is_folder:
        file = senders / f"{name}.yaml"
        if os.path.exists(file):
            raise CommandError(f"{file}: the file is there already", EX_CONFIG)
        return file, "\n".join(["senders:", *entry_lines(name, platform.entry())]) + "\n"
    try:
        return senders, with_entry(_text(senders), name, platform.entry())
    except InsertionError as problem:
        entry = "\n".join(entry_lines(name, platform.entry()))
        raise CommandError(f"{senders}: {problem}. Add it by hand:\n{entry}", EX_CONFIG) from None


def _lists(folder: Path) -> list[Path]:
    """The files of a folder of lists. Hidden ones are an editor's."""
    return [file for file in sorted(folder.glob("*.yaml")) if file.name[0] != "." and not os.path.isdir(file)]


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8")
    except OSError as problem:
        raise CommandError(f"{file}: {refusal(problem, file)}", EX_CONFIG) from None
    except UnicodeDecodeError as problem:
        raise CommandError(
            f"{file}: not UTF-8, at octet {problem.start + 1}: save the file as UTF-8", EX_CONFIG
        ) from None


def _refuse_double(name: str, platform: Platform, document: Document) -> None:
    """Raises ConfigError where the id or one of the addresses is in the list, even in an entry that is switched off."""
    listed = document.value.get("senders") if isinstance(document.value, dict) else None
    if isinstance(listed, dict) and name in listed:
        raise ConfigError([document.at(("senders", name), "this entry is there already", of_key=True)])
    problems = []
    for sender, entry in listed.items() if isinstance(listed, dict) else ():
        addresses = entry.get("addresses") if isinstance(entry, dict) else None
        for number, address in enumerate(addresses if isinstance(addresses, list) else ()):
            if any(_covers(str(address), new) or _covers(new, str(address)) for new in platform.trusted):
                place = ("senders", sender, "addresses", number)
                problems.append(document.at(place, f"{address} is trusted already, by the entry {sender}"))
    if problems:
        raise ConfigError(problems)


def _covers(pattern: str, address: str) -> bool:
    """Whether one listed address has the other in it."""
    (local, _, domain), (other, _, other_domain) = (ascii_lower(text).rpartition("@") for text in (pattern, address))
    return Entry("", "", domain, ((local, domain),)).lists(Address(other, other_domain))


def _write(file: Path, text: str) -> None:
    """Put the text into a file: mode, owner and group are kept, a symbolic link stays one.

    The file is replaced in one step. Where we could not keep its owner (a member of a group that may write to it), or
    may not write to its folder, the text is written into it, once there is room for all of it.
    """
    target = file.resolve()
    what = "replace"
    try:
        old = target.stat() if target.exists() else None
        if old and (not os.access(target.parent, os.W_OK) or os.geteuid() not in (0, old.st_uid)):
            what = "write"
            _overwrite(target, text.encode("utf-8"))
        else:
            _replace(target, old or _neighbour(target), text.encode("utf-8"))
    except OSError as problem:
        raise CommandError(f"{file}: {refusal(problem, target, what)}; nothing was changed", EX_CANTCREAT) from None


def _neighbour(target: Path) -> os.stat_result | None:
    """What a new file of a folder is to be like: another one there."""
    others = _lists(target.parent)
    return others[0].stat() if others else None


def _replace(target: Path, like: os.stat_result | None, octets: bytes) -> None:
    """Make the file anew, and put it in the place of the old one in one step."""
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as output:
            if like:
                if (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(handle, like.st_uid if os.geteuid() == 0 else -1, like.st_gid)
                os.fchmod(handle, like.st_mode & 0o7777)
            output.write(octets)
            output.flush()
            os.fsync(handle)
        os.replace(temporary, target)
        _sync(target.parent)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _overwrite(target: Path, octets: bytes) -> None:
    """Write into the file that is there. Room is asked for first, so that a full disk changes nothing."""
    handle = os.open(target, os.O_WRONLY)
    try:
        size = os.fstat(handle).st_size
        try:
            os.posix_fallocate(handle, 0, max(len(octets), 1))
        except OSError:
            os.ftruncate(handle, size)
            raise
        with os.fdopen(os.dup(handle), "wb") as output:
            output.write(octets)
        os.ftruncate(handle, len(octets))
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
