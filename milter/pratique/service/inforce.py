"""Which configuration is in force: that of the files, or at a start with wrong files the last good one.

Rules of this module: a start reads here before the first fork, a reload in a child. The parent itself never reads a
file of the configuration.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pratique import config

from .changes import Prints, prints
from .crew import Generation, Source
from .errors import ServiceError
from .lastgood import DamagedError, Kept, Store, hashes, state_directory, state_directory_in
from .log import log, set_up_log


@dataclass(frozen=True, slots=True)
class Start:
    """What a start takes into force. `new` are files that are not the last good ones yet."""

    path: Path
    generation: Generation
    store: Store | None
    new: Kept | None = None


def at_start(path: Path, strict: bool) -> Start:
    """The configuration of the files or, unless `strict`, the last good one. Raises ServiceError."""
    path = Path(os.path.abspath(path))  # not resolved: where a link is swapped, a reload reads what it leads to then
    reading = config.read(path)
    if reading.settings is None:
        return _last_good(path, reading, strict)
    set_up_log(reading.settings)
    folder = state_directory(reading.settings.state_directory)
    store = Store(folder, path) if folder else None
    before = _kept_before(store)
    newest = max(store.newest() if store else 0, before.generation if before else 0)
    found = hashes(reading.texts)
    look = unchanged_look(path, reading.settings.sources, found)
    if before and before.hashes == found:
        number, first, since, new = before.generation, before.first, before.time, None
    else:
        number, first, since = newest + 1, newest + 1, time.time()
        new = Kept(reading.texts, number, first, since)
    settings = replace(reading.settings, generation=number)
    return Start(path, Generation(number, settings, Source.FILES, found, look, first, since), store, new)


def _last_good(path: Path, reading: config.Reading, strict: bool) -> Start:
    """The last good configuration, with all that is wrong with the files in the log. Raises ServiceError."""
    errors = [str(problem) for problem in reading.errors]
    text = reading.texts.get(path, b"").decode("utf-8", "replace")
    folder = state_directory(state_directory_in(text))
    if strict or folder is None:
        raise ServiceError("\n".join(errors), os.EX_CONFIG)
    store = Store(folder, path)
    try:
        kept = store.read()
    except DamagedError as problem:
        refused = f"the last good configuration cannot be used: {problem}"
        raise ServiceError("\n".join([*errors, refused]), os.EX_CONFIG) from None
    if kept is None:
        none = f"there is no last good configuration in {folder}"
        raise ServiceError("\n".join([*errors, none]), os.EX_CONFIG)
    good = config.read(path, kept=kept.files)
    if good.settings is None:
        errors += [f"the last good configuration cannot be used: {problem}" for problem in good.errors]
        raise ServiceError("\n".join(errors), os.EX_CONFIG)
    set_up_log(good.settings)
    for line in errors:
        log.error("%s", line)
    settings = replace(good.settings, generation=kept.generation)
    generation = Generation(
        kept.generation, settings, Source.LAST_GOOD, kept.hashes, prints(settings.sources), kept.first, kept.time
    )
    log.error("%s", last_good_text(generation))
    return Start(path, generation, store)


def last_good_text(generation: Generation) -> str:
    """What the log says as long as the last good configuration is in force."""
    return (
        f"the configuration files are wrong: in force is the last good configuration, of {at(generation.since)} "
        f"(generation {generation.number}). `pratique check` names every error; then run `pratique reload`"
    )


def at(seconds: float) -> str:
    """A time for people, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _kept_before(store: Store | None) -> Kept | None:
    try:
        return store.read() if store else None
    except DamagedError as problem:
        log.error("the last good configuration could not have been used: %s; it is replaced", problem)
    return None


def keep(store: Store, new: Kept) -> Path | None:
    """Stage a configuration. That it cannot be kept stops no mail, and is logged."""
    try:
        return store.stage(new)
    except OSError as problem:
        log.error("the configuration cannot be kept for the next start: %s: %s", store.folder, problem.strerror)
    return None


def unchanged_look(path: Path, sources: tuple[str, ...], read: Mapping[str, str]) -> Prints | None:
    """How the files look on disk, if they are still those that were read."""
    look = prints(sources)
    with suppress(config.ConfigError):
        if hashes(config.on_disk(path, sources)) == read:
            return look
    return None
