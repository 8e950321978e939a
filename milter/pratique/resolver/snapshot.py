"""The kept answers in a file, so that a restart while DNS is down forgets nothing.

Rules of this module: whatever is wrong with the file or its disk, the service goes on without it. Times in it are of
the wall clock, and one that jumps may shorten the life of an answer, never prolong it by more than the longest TTL.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import logging
import mmap
import os
import stat
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pratique.model import DnsAnswer, DnsStatus, Question

from .records import absolute

log = logging.getLogger("pratique")

_VERSION = 1
_LARGEST = 4 << 20  # bytes of the file
_TYPES = ("TXT", "A", "AAAA", "MX", "PTR")
_READ, _WRITTEN = 0, 4  # places in _said
_said = mmap.mmap(-1, 8)  # what was logged last, by a checksum; all processes that are forked share it

Kept = tuple[Question, DnsAnswer, float]
"""Question, answer, and for how many seconds it holds yet: below zero where it has run out."""


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """While no other worker reads and writes the file; False where that cannot be had soon."""
    try:
        descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as problem:
        _say(_WRITTEN, f"cannot write {path}: {problem.strerror}: a restart forgets what is known")
        yield False
        return
    try:
        yield _locked(descriptor)
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """Whether the lock could be had. A worker that was stopped while it holds the lock must not stop the others."""
    for _ in range(20):
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.05)
    return False


def time_of(path: Path) -> int:
    """When the file was written, in nanoseconds; 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def save(path: Path, kept: Iterable[Kept]) -> None:
    """Write the file under another name and move it into place, while `alone`. What cannot be written is removed."""
    beside = path.with_name(f".{path.name}.new")
    try:
        # Left by a worker that was killed while it wrote; a link or a file of somebody else is not written to.
        beside.unlink(missing_ok=True)
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
            file.write(_as_bytes(kept))
        beside.replace(path)
    except OSError as problem:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        _say(_WRITTEN, f"cannot write {path}: {problem.strerror}: a restart forgets what is known")
    else:
        _say(_WRITTEN, "")


def _as_bytes(kept: Iterable[Kept]) -> bytes:
    """The file's content: as many answers as it may hold."""
    now = time.time()
    lines: list[bytes] = []
    left = _LARGEST - 100
    for question, answer, seconds in kept:
        line = json.dumps([*question, round(now + seconds), list(map(_as_json, answer.records))]).encode()
        left -= len(line) + 2
        if left < 0:
            break
        lines.append(line)
    return b'{"version": %d, "answers": [%s]}' % (_VERSION, b",\n".join(lines))


def load(path: Path, longest_ttl: float, stale: float) -> list[Kept]:
    """What the file holds that is of use yet; nothing where it is missing, damaged, or could be another's work."""
    problem, found = "", list[Kept]()
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
                raise ValueError("somebody else could have written it")
            if status.st_size > _LARGEST:
                raise ValueError("it is too large")
            found = list(_read(file.read(_LARGEST), longest_ttl, stale))
    except FileNotFoundError:
        pass
    except OSError as error:
        problem = f"{path}: {error.strerror}: ignored"
    except Exception as error:  # an edge: no content of a file, whatever it is, may keep the service from starting
        problem = f"{path}: cannot be read ({ascii(str(error))[:100]}): ignored"
    _say(_READ, problem)
    return found


def _say(place: int, problem: str) -> None:
    """Log a problem once, whichever worker meets it first, until it is another one or gone."""
    checksum = zlib.crc32(problem.encode("utf-8", "replace")).to_bytes(4, "big")
    if _said[place : place + 4] != checksum:
        _said[place : place + 4] = checksum
        if problem:
            log.warning("dns: %s", problem)
        elif place == _WRITTEN:
            log.info("dns: what is known is written to the disk again")


def _read(data: bytes, longest_ttl: float, stale: float) -> Iterator[Kept]:
    now = time.time()
    document = json.loads(data)
    if document["version"] != _VERSION:
        raise ValueError("another version")
    for name, rdtype, expires, records in document["answers"]:
        if rdtype not in _TYPES or absolute(name) is None:
            raise ValueError("no question")
        left = float(expires) - now
        if -stale < left <= longest_ttl and isinstance(records, list) and records:
            yield (name, rdtype), DnsAnswer(DnsStatus.ANSWER, tuple(_as_record(r, rdtype) for r in records)), left


def _as_json(record: Any) -> Any:
    return record.decode("latin-1") if isinstance(record, bytes) else record


def _as_record(value: Any, rdtype: str) -> str | bytes | tuple[int, str]:
    match rdtype, value:
        case "TXT", str():
            return value.encode("latin-1")
        case "MX", [int(preference), str(name)] if 0 <= preference < 65536 and name.isascii():
            return preference, name
        case "PTR", str() if value.isascii():
            return value
        case (("A" | "AAAA"), str()):
            return str(ipaddress.ip_address(value))
    raise ValueError("no record")
