"""The two YAML files to frozen settings, or to errors that say what to write instead.

Rules of this package: the only one that imports yaml and pydantic. Everything but `load` is pure: text in,
settings or problems out. Every problem names file, line, column, key, what was found and what would be right;
all problems of a file are told at once.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pratique.model import Entry, Require, Settings, TrustedList, is_within

from .document import ConfigError, Document, Place, Problem
from .files import NOT_YET, SenderFile, SendersFile, ServiceFile, validated

DEFAULT_CONFIG = Path("/etc/pratique/pratique.yaml")


def parse_senders(text: str, file: str, local_domains: frozenset[str] = frozenset()) -> list[Entry]:
    """The enabled entries of a trusted list. Raises ConfigError."""
    document = Document(text, file)
    listed = validated(SendersFile, document).senders
    problems = [p for sender, entry in listed.items() for p in _wrong(sender, entry, document, local_domains)]
    if problems:
        raise ConfigError(problems)
    return [entry.entry(sender) for sender, entry in listed.items() if entry.enabled]


def _wrong(sender: str, entry: SenderFile, document: Document, local_domains: frozenset[str]) -> Iterator[Problem]:
    here: Place = ("senders", sender)
    if not re.fullmatch(r"[a-z0-9-]{1,40}", sender):
        yield document.at(here, "expected a short id of a-z, 0-9 and hyphens, such as visma-opic", of_key=True)
    if any(is_within(entry.domain, own) or is_within(own, entry.domain) for own in local_domains):
        yield document.at((*here, "domain"), f"{entry.domain} is one of your own local_domains: not a trusted sender")
    for number, (local, domain) in enumerate(entry.addresses):
        place: Place = (*here, "addresses", number)
        if not is_within(domain, entry.domain):
            yield document.at(place, f"found {local}@{domain}: expected an address of {entry.domain}")
        if local.strip("*") == "" and not entry.whole_domain:
            yield document.at(
                place, f"*@{domain} trusts every mailbox of the domain: list addresses, or add `whole_domain: yes`"
            )
    if entry.require is Require.NETWORK and not entry.networks:
        yield document.at((*here, "require"), "network is required, and the entry has no `networks`")


def parse_service(text: str, file: str) -> tuple[ServiceFile, tuple[str, ...]]:
    """The service's file, and warnings. Raises ConfigError."""
    document = Document(text, file)
    service = validated(ServiceFile, document)
    idle = (
        document.at(place, "this version does not use the key", of_key=True) for place in NOT_YET if place in document
    )
    return service, tuple(map(str, idle))


def check_overlap(entries: list[Entry], file: str) -> None:
    """Two entries of one domain must not ask for different proof, nor bear one id. Raises ConfigError."""
    problems = []
    for number, entry in enumerate(entries):
        for other in entries[:number]:
            if entry.id == other.id:
                problems.append(Problem(file, 1, 1, f"senders.{entry.id}: the id is there twice: rename one"))
            elif entry.domain == other.domain and entry.require != other.require:
                text = f"senders.{entry.id}: requires {entry.require} of {entry.domain}, but {other.id} requires"
                problems.append(Problem(file, 1, 1, f"{text} {other.require}: make them the same, or one entry"))
    if problems:
        raise ConfigError(problems)


def load(path: Path) -> Settings:
    """Both files. Raises ConfigError; nothing else."""
    service, warnings = parse_service(_read(path), str(path))
    senders = path.parent / service.senders
    files = _lists(senders)
    problems: list[Problem] = []
    entries: list[Entry] = []
    for file in files:
        try:
            entries += parse_senders(_read(file), str(file), frozenset(service.local_domains))
        except ConfigError as wrong:
            if not wrong.problems:
                raise
            problems += wrong.problems
    if problems:
        raise ConfigError(problems)
    check_overlap(entries, str(senders))
    sources = tuple(map(str, (path, *dict.fromkeys((senders, *files)))))
    return replace(service.settings(TrustedList(tuple(entries)), warnings), sources=sources)


def _lists(senders: Path) -> list[Path]:
    """The files of a list: itself, or those of a folder."""
    try:
        names = sorted(os.listdir(senders)) if stat.S_ISDIR(senders.stat().st_mode) else None
    except OSError as problem:
        raise ConfigError(f"{senders}: {problem.strerror}") from None
    if names is None:
        return [senders]
    files = [senders / name for name in names if name.endswith(".yaml")]
    if not files:
        raise ConfigError(f"{senders}: there is no .yaml file in this folder")
    return files


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as problem:
        raise ConfigError(f"{path}: {problem.strerror}") from None
    except UnicodeDecodeError as problem:
        raise ConfigError(f"{path}: not UTF-8, at octet {problem.start + 1}: save the file as UTF-8") from None


__all__ = [
    "DEFAULT_CONFIG",
    "NOT_YET",
    "ConfigError",
    "Problem",
    "SenderFile",
    "ServiceFile",
    "load",
    "parse_senders",
    "parse_service",
]
