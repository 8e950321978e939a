"""The kept answers in a file, so that a restart while DNS is down forgets nothing.

Rules of this module: whatever is wrong with the file, it is passed over. Times in it are of the clock on the wall, and
one that jumps may shorten the life of an answer, never prolong it by more than the longest TTL.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pratique.model import DnsAnswer, DnsStatus, Question

log = logging.getLogger("pratique")

_VERSION = 1
_LARGEST = 32 << 20  # octets

Kept = tuple[Question, DnsAnswer, float]
"""Question, answer, and for how many seconds it holds yet: below zero where it has run out."""


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """While no other worker reads and writes the file: one of them would undo what the other adds."""
    try:
        descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:  # saving will say why
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def time_of(path: Path) -> int:
    """When the file was written, in nanoseconds; 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def save(path: Path, kept: Iterable[Kept]) -> None:
    """Write the file beside and move it into place."""
    now = time.time()
    answers = [[*question, round(now + left), list(map(_as_json, answer.records))] for question, answer, left in kept]
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
            json.dump({"version": _VERSION, "answers": answers}, file)
        beside.replace(path)
    except OSError as problem:
        log.warning("dns: cannot write %s: %s", path, problem.strerror)


def load(path: Path, longest_ttl: float, stale: float) -> list[Kept]:
    """What the file holds that is of use yet; nothing where it is missing, damaged, or could be another's work."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
                raise ValueError("somebody else could have written it")
            return list(_read(file.read(_LARGEST), longest_ttl, stale))
    except FileNotFoundError:
        return []
    except OSError as problem:
        log.warning("dns: %s: %s: ignored", path, problem.strerror)
    except (ValueError, TypeError, KeyError, RecursionError) as problem:
        log.warning("dns: %s: cannot be read (%s): ignored", path, ascii(str(problem))[:100])
    return []


def _read(data: bytes, longest_ttl: float, stale: float) -> Iterator[Kept]:
    now = time.time()
    document = json.loads(data)
    if document["version"] != _VERSION:
        raise ValueError("another version")
    for name, rdtype, expires, records in document["answers"]:
        left = float(expires) - now
        if -stale < left <= longest_ttl:
            yield (
                (str(name), str(rdtype)),
                DnsAnswer(DnsStatus.ANSWER, tuple(_as_record(r, rdtype) for r in records)),
                left,
            )


def _as_json(record: Any) -> Any:
    return record.decode("latin-1") if isinstance(record, bytes) else record


def _as_record(value: Any, rdtype: str) -> str | bytes | tuple[int, str]:
    match rdtype:
        case "TXT":
            return str(value).encode("latin-1")
        case "MX":
            preference, name = value
            return int(preference), str(name)
        case _:
            return str(value)
