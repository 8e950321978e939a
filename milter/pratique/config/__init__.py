"""The two YAML files to frozen settings, or to errors that say what to write instead.

Rules of this package: the only one that imports yaml and pydantic. Everything but `read` and `load` is pure: text
in, settings or problems out. Every problem names file, line, column, key, what was found and what would be right;
all problems of both files are told at once.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pratique.model import Entry, Settings, TrustedList
from pratique.rights import refusal

from .catalogue import as_entries, parse_catalogue, shipped
from .document import ConfigError, Document, NotPermittedError, Place, Problem, quoted
from .files import SenderFile, SendersFile, ServiceFile
from .lists import Placed, hidden, overlaps, warnings_of
from .lookalikes import lookalikes
from .trusted import Site
from .words import validated

DEFAULT_CONFIG = Path("/etc/pratique/pratique.yaml")
_NO_DAY = date.min


@dataclass(slots=True)
class ParsedList:
    """The enabled entries of one file that are good, and what is wrong with the others."""

    entries: list[Placed] = field(default_factory=list)
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Reading:
    """Both files as they were read: settings, or None where there are errors. `texts` are the files, verbatim."""

    settings: Settings | None
    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    texts: Mapping[Path, bytes] = field(default_factory=dict)


# ---- text to values: pure --------------------------------------------------------------------------


def parse_senders(text: str, file: str, local_domains: frozenset[str] = frozenset()) -> list[Entry]:
    """The enabled entries of a trusted list. Raises ConfigError."""
    parsed = parse_list(text, file, local_domains)
    if errors := parsed.errors + list(overlaps(parsed.entries)):
        raise ConfigError(errors)
    return [placed.entry for placed in parsed.entries]


def parse_list(text: str, file: str, local_domains: frozenset[str] = frozenset(), today: date = _NO_DAY) -> ParsedList:
    """The entries of one file that are good, and every error and warning."""
    try:
        document = Document(text, file)
    except ConfigError as wrong:
        return ParsedList(errors=wrong.problems)
    site = Site(local_domains)
    whole, errors = validated(SendersFile, document, site)
    parsed = ParsedList(errors=errors)
    senders = document.value.get("senders") if isinstance(document.value, dict) else None
    if whole is None and isinstance(senders, dict):  # the good ones among them
        bad = {place[1] for place in document.broken if len(place) > 1}
        entries = {s: _or_none(SenderFile, e, site) for s, e in senders.items() if s not in bad}
    else:
        entries = dict(whole.senders) if whole else {}
    for sender, entry in entries.items():
        if entry and entry.enabled:
            placed = Placed(entry.entry(sender), document)
            parsed.entries.append(placed)
            parsed.errors += hidden(placed)
            parsed.warnings += warnings_of(placed, today)
    if not parsed.entries and not parsed.errors:
        parsed.warnings.append(document.at(("senders",), "every entry has `enabled: no`: nothing is trusted", True))
    return parsed


def parse_service(text: str, file: str) -> ServiceFile:
    """The service's file. Raises ConfigError."""
    document = Document(text, file)
    service, errors = validated(ServiceFile, document, None)
    if service is None:
        raise ConfigError(errors)
    return service


def _or_none(model: type[SenderFile], value: Any, site: Site) -> SenderFile | None:
    try:
        return model.model_validate(value, context=site)
    except ValidationError:
        return None


# ---- files -----------------------------------------------------------------------------------------


def load(
    path: Path, today: date | None = None, instead: Mapping[Path, str] | None = None, review: bool = False
) -> Settings:
    """Both files. Raises ConfigError; nothing else. `instead` holds texts that files are to have: would they do?"""
    reading = read(path, today, instead, review=review)
    if reading.settings is None:
        raise ConfigError(list(reading.errors))
    return reading.settings


def read(
    path: Path, today: date | None = None, instead: Mapping[Path, str] | None = None,
    kept: Mapping[Path, bytes] | None = None, review: bool = False,
) -> Reading:  # fmt: skip
    """Both files, with every error and warning of both; `today` is for the warnings, `instead` as for `load`.

    `kept` are files as they were once read: they stand for the disk, of which nothing is looked at. `review` is for a
    change that a person makes: an entry that looks like a platform is then an error. Else it is a warning, because a
    newer catalogue must not keep the service from starting.
    """
    instead = instead or {}
    texts: dict[Path, bytes] = {}
    try:
        text = _decoded(path, _octets(path, kept, texts))
    except ConfigError as wrong:
        hint = "name the service's file with --config FILE; an empty one will do"
        return Reading(None, _with_hint(wrong, hint))
    warnings: list[Problem] = []
    document: Document | None = None
    try:
        document = Document(text, str(path))
        service, errors = validated(ServiceFile, document, None)
        named = document.value.get("senders") if isinstance(document.value, dict) else None
    except ConfigError as wrong:
        service, errors = None, wrong.problems
        match = re.search(r"^senders: *([^\s#]+)", text, re.MULTILINE)
        named = match[1] if match else None
    folder = path.parent / (named if isinstance(named, str) else ServiceFile().senders)
    own = frozenset(service.local_domains) if service else frozenset()
    entries: list[Placed] = []
    files: list[Path] = []
    try:
        files, left_out = _list_files(folder, instead) if kept is None else (_kept_files(folder, kept), [])
        warnings += left_out
        if not files and document is not None:
            nothing = ConfigError([Problem(str(folder), 0, 0, "no file in it has a name that ends in .yaml")])
            errors += _no_list(nothing, document)
    except NotPermittedError as wrong:
        errors += wrong.problems
    for file in files:
        try:
            text = instead[file] if file in instead else _decoded(file, _octets(file, kept, texts))
            parsed = parse_list(text, str(file), own, today or datetime.now(UTC).date())
        except ConfigError as wrong:
            if any(problem.line for problem in wrong.problems):
                errors += wrong.problems
            elif service is not None and document is not None:  # else the name may be what is wrong
                errors += _no_list(wrong, document)
            continue
        entries += parsed.entries
        errors += parsed.errors
        warnings += parsed.warnings
    errors += overlaps(entries)
    senders = TrustedList(tuple(placed.entry for placed in entries))
    if not errors:
        alike = lookalikes(entries, senders, _platforms())
        if review:
            errors += alike
        else:
            warnings += alike
    if service is None or errors:
        return Reading(None, tuple(errors), tuple(warnings), texts)
    sources = tuple(map(str, dict.fromkeys((path, folder, *files))))
    return Reading(replace(service.settings(senders), sources=sources), (), tuple(warnings), texts)


def on_disk(path: Path, sources: tuple[str, ...]) -> dict[Path, bytes]:
    """The files as they are now, if `sources` is what the settings come from. Raises ConfigError."""
    texts: dict[Path, bytes] = {}
    _octets(path, None, texts)
    for file in _list_files(Path(sources[1]), {})[0]:
        _octets(file, None, texts)
    return texts


def _platforms() -> TrustedList:
    """The platforms of the shipped catalogue; none where it is not installed."""
    path = shipped()
    try:
        return as_entries(parse_catalogue(read_text(path), str(path))) if path else TrustedList()
    except ConfigError:
        return TrustedList()


def _list_files(path: Path, instead: Iterable[Path]) -> tuple[list[Path], list[Problem]]:
    """The list's own file, or the .yaml files of a folder, with those that are to be in it; and a warning for each file
    of the folder that is not read. Hidden files are an editor's. Raises ConfigError."""
    try:
        if not path.is_dir():
            return [path], []
        names = {path / name for name in os.listdir(path) if not name.startswith(".")}
    except PermissionError as problem:
        raise NotPermittedError([Problem(str(path), 0, 0, refusal(problem, path))]) from None
    except OSError:
        return [path], []
    read = {file for file in names if file.name.endswith(".yaml") and not os.path.isdir(file)}
    left_out = [
        Problem(str(file), 0, 0, _why_left_out(file))
        for file in sorted(names - read)
        if ".schema.json" not in file.name
    ]
    files = sorted(read | {file for file in instead if file.parent == path})
    return files, left_out


def _why_left_out(file: Path) -> str:
    if os.path.isdir(file):
        return "not read: it is a folder; put its files into the folder above it"
    stem = re.sub(r"(?i)(\.ya?ml)?(\.txt)?$", "", file.name)
    if re.search(r"(?i)\.ya?ml(\.txt)?$", file.name):
        return f"not read: its name does not end in .yaml; rename it to {quoted(stem + '.yaml')}"
    return "not read: its name does not end in .yaml"


def _kept_files(path: Path, kept: Mapping[Path, bytes]) -> list[Path]:
    """The list's own file, or those of its folder, among files that were kept."""
    return [path] if path in kept else sorted(file for file in kept if file.parent == path)


def _no_list(wrong: ConfigError, document: Document) -> Iterable[Problem]:
    place: Place = ("senders",)
    if place in document and not isinstance(wrong, NotPermittedError):
        return [document.at(place, f"found {p}: expected a file, or a folder of .yaml files") for p in wrong.problems]
    return _with_hint(
        wrong, f"the list of trusted senders belongs here, or its path under `senders:` in {document.file}"
    )


def _with_hint(wrong: ConfigError, hint: str) -> tuple[Problem, ...]:
    if isinstance(wrong, NotPermittedError):
        return tuple(wrong.problems)
    return tuple(p if p.line else Problem(p.file, 0, 0, f"{p.text}: {hint}") for p in wrong.problems)


def read_text(path: Path) -> str:
    """A file's text; a byte order mark, which some editors write, is no part of it. Raises ConfigError."""
    return _decoded(path, _octets(path, None, {}))


def _octets(path: Path, kept: Mapping[Path, bytes] | None, texts: dict[Path, bytes]) -> bytes:
    """A file as it is, or as it was kept; it is added to `texts`. Raises ConfigError."""
    try:
        texts[path] = path.read_bytes() if kept is None else kept[path]
    except PermissionError as problem:
        raise NotPermittedError([Problem(str(path), 0, 0, refusal(problem, path))]) from None
    except (OSError, ValueError, KeyError) as problem:
        text = getattr(problem, "strerror", None) or "cannot be read"
        raise ConfigError([Problem(str(path), 0, 0, text)]) from None
    return texts[path]


def _decoded(path: Path, octets: bytes) -> str:
    """The text of a file in UTF-8. Raises ConfigError."""
    if octets[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in octets[:4]:
        raise ConfigError(
            [Problem(str(path), 1, 1, "found a file in UTF-16 (some editors say Unicode): save it as UTF-8")]
        )
    try:
        return octets.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as problem:
        line = octets[: problem.start].count(b"\n") + 1
        before = octets[octets.rfind(b"\n", 0, problem.start) + 1 : problem.start].decode("utf-8", "replace")
        letter = octets[problem.start : problem.start + 1].decode("cp1252", "replace")
        text = f'not UTF-8: found an octet that is "{letter}" in Latin-1 (Windows-1252, ANSI): save the file as UTF-8'
        raise ConfigError([Problem(str(path), line, len(before) + 1, text)]) from None


__all__ = [
    "DEFAULT_CONFIG",
    "ConfigError",
    "Document",
    "ParsedList",
    "Problem",
    "Reading",
    "SenderFile",
    "SendersFile",
    "ServiceFile",
    "load",
    "on_disk",
    "parse_list",
    "parse_senders",
    "parse_service",
    "read",
    "read_text",
]
