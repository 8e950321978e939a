"""The last good configuration: both files as they were when they came into force, kept for a start with wrong files.

    STATE/last-good                  a link to the newest of the folders below; replaced in one step
    STATE/generations/000017/        one configuration that was in force
        pratique.yaml                the service's file, verbatim
        senders/NAME.yaml            the list, or all files of its folder, verbatim
        about.json                   where the files were read, their hashes, when, which generation, which uid asked
    STATE/generations/.000018.new/   staged: complete on the disk, not yet in force

Rules of this module: the only one that writes to the state directory. A folder is complete on the disk before it gets
its name, and has its name on the disk before the link leads to it: after a power cut the link leads to the old folder
or to the new one. What does not have the hash in about.json is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LINK = "last-good"
_FOLDER = "generations"
_ABOUT = "about.json"
_SERVICE = "pratique.yaml"
_SENDERS = "senders"
_FORMAT = 1
_KEPT = 50  # configurations before the last one
_LONGEST_ABOUT = 1 << 24  # bytes
_NAME = re.compile(r"\d{6,12}")
_STATE_DIRECTORY = re.compile(r"""(?m)^state_directory:[ \t]*["']?(/[^"'#\n]*)""")


class DamagedError(Exception):
    """What was kept cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A configuration that was in force."""

    files: Mapping[Path, bytes]
    generation: int
    first: int  # the generation with which these files came into force
    time: float  # when they did
    uid: int | None = None  # who asked for it; None: a start, a signal, or a changed file

    @property
    def hashes(self) -> dict[str, str]:
        return hashes(self.files)


def hashes(files: Mapping[Path, bytes]) -> dict[str, str]:
    """The hash of each file, by its path."""
    return {str(path): hashlib.sha256(octets).hexdigest() for path, octets in files.items()}


def state_directory(configured: str | None) -> Path | None:
    """The folder for what must outlive a restart: systemd's StateDirectory=, else the configured one."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0] or configured
    return Path(given) if given else None


def state_directory_in(text: str) -> str | None:
    """The `state_directory` of a file that has errors; not by the grammar of the file."""
    match = _STATE_DIRECTORY.search(text)
    return match[1].rstrip() if match else None


class Store:
    """The state directory of a service with a configuration file."""

    def __init__(self, folder: Path, config: Path) -> None:
        self.folder = folder
        self._config = config
        self._link = folder / _LINK
        self._generations = folder / _FOLDER

    # ---- read

    def read(self) -> Kept | None:
        """The last good configuration; None where there has never been one. Raises DamagedError."""
        try:
            os.lstat(self._link)
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise DamagedError(f"{self._link}: {problem.strerror}") from None
        return self._checked(self._link)

    def _checked(self, folder: Path) -> Kept:
        """What is kept in a folder. Raises DamagedError."""
        try:
            return self._read(folder)
        except OSError as problem:
            raise DamagedError(f"{problem.filename or folder}: {problem.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise DamagedError(f"{folder}/{_ABOUT}: not as it was written") from None

    def _read(self, folder: Path) -> Kept:
        with (folder / _ABOUT).open("rb") as opened:
            about = json.loads(opened.read(_LONGEST_ABOUT))
        if about.pop("sha256") != _digest(about) or about["format"] != _FORMAT:
            raise DamagedError(f"{folder}/{_ABOUT}: it does not have the hash that it was written with")
        if about["config"] != str(self._config):
            raise DamagedError(f"{folder}: it belongs to the service that has {about['config']}")
        if stat.S_IMODE(folder.stat().st_mode) & stat.S_IWOTH:
            raise DamagedError(f"{folder}: every user may write there")
        files = {}
        for known in about["files"]:
            octets = (folder / known["kept"]).read_bytes()
            if hashlib.sha256(octets).hexdigest() != known["sha256"]:
                raise DamagedError(f"{folder}/{known['kept']}: it does not have the hash that it was written with")
            files[Path(known["path"])] = octets
        return Kept(files, about["generation"], about["first_generation"], about["since"], about["uid"])

    def _names(self) -> list[str]:
        """The configurations that are kept, the oldest first."""
        try:
            return sorted(filter(_NAME.fullmatch, os.listdir(self._generations)), key=int)
        except OSError:
            return []

    def newest(self) -> int:
        """The highest number that a configuration has had here."""
        return max((int(name) for name in self._names()), default=0)

    # ---- write

    def stage(self, new: Kept) -> Path:
        """Write a configuration completely, beside those that count. Raises OSError."""
        staged = self._generations / f".{new.generation:06}.new"
        self._generations.mkdir(mode=0o700, exist_ok=True)
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(mode=0o700)
        (staged / _SENDERS).mkdir(mode=0o700)
        known = []
        for number, (path, octets) in enumerate(new.files.items()):
            kept = f"{_SENDERS}/{path.name}" if number else _SERVICE
            _write(staged / kept, octets)
            known.append({"path": str(path), "kept": kept, "sha256": hashlib.sha256(octets).hexdigest()})
        about: dict[str, Any] = {"format": _FORMAT, "config": str(self._config), "generation": new.generation}
        about |= {
            "first_generation": new.first,
            "since": new.time,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(new.time)),
        }
        about |= {"uid": new.uid, "files": known}
        _write(staged / _ABOUT, json.dumps(about | {"sha256": _digest(about)}, indent=1).encode())
        _sync(staged / _SENDERS)
        _sync(staged)
        return staged

    def commit(self, staged: Path) -> None:
        """Have a staged configuration be the last good one, now that it is in force. Raises OSError."""
        before = self._same_as(staged)
        name = staged.name.removeprefix(".").removesuffix(".new")
        shutil.rmtree(self._generations / name, ignore_errors=True)  # of a start that a power cut ended here
        staged.rename(self._generations / name)
        _sync(self._generations)
        link = self.folder / f".{_LINK}.new"
        link.unlink(missing_ok=True)
        link.symlink_to(f"{_FOLDER}/{name}")
        if self._link.is_dir() and not self._link.is_symlink():  # a backup that was copied back
            shutil.rmtree(self._link)
        link.replace(self._link)
        _sync(self.folder)
        if before and before != name:  # the same files once more
            shutil.rmtree(self._generations / before, ignore_errors=True)
        self._tidy(name)

    def _same_as(self, staged: Path) -> str | None:
        """The name of the last good configuration, if it has the same files as a staged one."""
        with contextlib.suppress(OSError, DamagedError):
            if self._checked(self._link).hashes == self._checked(staged).hashes:
                return os.path.basename(os.readlink(self._link))
        return None

    def _tidy(self, current: str) -> None:
        """Remove what is over the number that is kept, and what was staged and never came into force."""
        names = [name for name in self._names() if int(name) <= int(current)]
        leftover = [name for name in os.listdir(self._generations) if name.startswith(".") and name < f".{current}"]
        for name in [*names[: -_KEPT - 1], *leftover]:
            shutil.rmtree(self._generations / name, ignore_errors=True)


def _digest(about: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _write(path: Path, octets: bytes) -> None:
    """A new file, complete on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        left = memoryview(octets)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    """Have the names in a folder on the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
