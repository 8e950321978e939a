"""Files that change or vanish under the service: the configuration's folder, the sockets, the kept answers of DNS."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from faults import mail
from faults.harm import GoingOn, at_least, wait
from faults.mta import message_over
from faults.site import Site
from pratique.service.control import ask

from harness.milter_client import MilterClient
from harness.ports import wait_until

_BACK = 30.0  # seconds within which a removed socket must be back, on a busy machine


def link_swapped(site: Site, going_on: GoingOn, times: int = 4) -> None:
    """A new folder with the configuration, and the link to the old one replaced by a link to the new one."""
    for n in at_least(times, going_on):
        new = site.folder / f"release-{n}"
        shutil.copytree(site.config.parent.resolve(), new, dirs_exist_ok=True)
        with (new / "trusted-senders.yaml").open("a") as file:
            file.write(f"# release {n}\n")
        link = site.folder / "next"
        link.symlink_to(new.name)
        link.rename(site.folder / "current")
        answer = ask(site.config, True, 120)
        if answer.status:
            raise RuntimeError(f"after the link was swapped, a reload said {answer}")
        site.fired["reload after the link was swapped"] += 1


def sockets_removed(site: Site, going_on: GoingOn, times: int = 2) -> None:
    """The milter socket and the control socket are removed, while a message is in hand."""
    place = Path(site.address.partition(":")[2])
    control = Path(f"{place}.control")
    for n in at_least(times, going_on):
        number = mail.ORDINARY + 900_000 + n
        client = MilterClient(site.address)
        client.connect(mail.message(number).client, helo="out.mailer.example")
        place.unlink()
        control.unlink()
        site.fired["socket removed"] += not place.exists()
        began = time.monotonic()
        if not wait_until(lambda: place.exists() and control.exists()) or time.monotonic() - began > _BACK:
            raise TimeoutError(f"the sockets do not come back:\n{site.service.log()[-4000:]}")
        site.answers_after()
        if (sent := message_over((number, client))).fate != "delivered":
            raise RuntimeError(f"a message in hand was lost with the socket: {sent}")
        if (answer := ask(site.config, True, 120)).status:
            raise RuntimeError(f"after the control socket was removed, a reload said {answer}")


# ---- the file with what DNS said ---------------------------------------------------------------------

_GOOD = {"version": 1, "answers": [["a.example", "TXT", 4_000_000_000, ["x"]]]}
_HOSTILE: dict[str, bytes] = {
    "a number of 400 digits": json.dumps(_GOOD).replace("4000000000", "1" + "0" * 400).encode(),
    "an infinite preference": b'{"version": 1, "answers": [["a.example", "MX", 4000000000, [[1e400, "mx.example"]]]]}',
    "an infinite time": b'{"version": 1, "answers": [["a.example", "TXT", 1e400, ["x"]]]}',
    "not a number": b'{"version": 1, "answers": [["a.example", "TXT", NaN, ["x"]]]}',
    "truncated": json.dumps(_GOOD).encode()[:-9],
    "NUL bytes": b"\0" * 5000,
    "empty": b"",
    "100,000 brackets": b"[" * 100_000,
    "a list": b"[1, 2, 3]",
    "answers of another kind": b'{"version": 1, "answers": {"a": 1}}',
    "records of another kind": b'{"version": 1, "answers": [["a.example", "MX", 4000000000, [7, null, {}]]]}',
    "a lone surrogate": b'{"version": 1, "answers": [["\\ud800.example", "TXT", 4000000000, ["\\ud800"]]]}',
    "another version": b'{"version": 1000000, "answers": []}',
}


_WORST = ["a number of 400 digits", "an infinite preference"]  # which no file that is only damaged has


def cache_folder(site: Site) -> dict[str, str]:
    (site.folder / "cache").mkdir(exist_ok=True)
    return {"CACHE_DIRECTORY": str(site.folder / "cache")}


def hostile_memory(site: Site, going_on: GoingOn, times: int = len(_HOSTILE)) -> None:
    """The file with the kept answers of DNS holds anything, and the service is started with it."""
    names = _WORST + site.random.sample(sorted(_HOSTILE.keys() - set(_WORST)), len(_HOSTILE) - len(_WORST))
    for n in at_least(times, going_on):
        site.service.signal(signal.SIGTERM)
        if status := site.service.wait(60):
            raise RuntimeError(f"SIGTERM ended with status {status}:\n{site.service.log()[-4000:]}")
        place = site.folder / "cache" / "dns.json"
        place.write_bytes(_HOSTILE[names[n % len(names)]])
        place.chmod(0o600)
        try:
            site.restart()
        except RuntimeError as problem:
            raise RuntimeError(f"dns.json: {names[n % len(names)]}: {problem}") from None
        site.fired["start with a hostile file"] += 1
        time.sleep(0.2)


def small_cache(site: Site) -> list[str | Path]:
    """The folder with the kept answers of DNS lies on a disk of 64 KiB, which only the service sees."""
    folder = site.folder / "small-cache"
    folder.mkdir(exist_ok=True)
    return ["unshare", "--mount", "--", "sh", "-c", f'mount -t tmpfs -o size=64k tmpfs {folder} && exec "$@"', "sh"]


def small_cache_folder(site: Site) -> dict[str, str]:
    return {"CACHE_DIRECTORY": str(site.folder / "small-cache")}


_MOST_WARNINGS = 40  # some for each process that ever ran; one for each name and worker would be hundreds


def cache_full(site: Site, going_on: GoingOn) -> None:
    """The disk of the kept answers is full, and workers are killed; then it cannot be written at all; then it can."""
    place = Path(f"/proc/{site.service.pid}/root{site.folder}/small-cache")
    for _ in at_least(1, going_on):
        with contextlib.suppress(OSError), (place / "other").open("wb") as file:
            while True:
                file.write(b"x" * 4096)
                file.flush()
        site.fired["cache disk full"] += shutil.disk_usage(place).free == 0
        site.harm(site.random.choice(site.service.children()), signal.SIGKILL)
        wait(2, lambda: False)
        _remount(site, "ro")
        try:
            (place / "probe").touch()
        except OSError:
            site.fired["cache read-only"] += 1
        site.harm(site.random.choice(site.service.children()), signal.SIGKILL)
        wait(2, lambda: False)
        _remount(site, "rw")
        (place / "other").unlink()
        if not wait_until(lambda: not _left_over(site, place)):
            raise RuntimeError(f"files of dead workers stay: {_left_over(site, place)}")
    warnings = [line for line in site.service.log().splitlines() if "small-cache" in line]
    if len(warnings) > _MOST_WARNINGS:
        raise RuntimeError(f"{len(warnings)} warnings of a full cache disk, such as {warnings[:3]}")


def _left_over(site: Site, place: Path) -> list[str]:
    """The files beside dns.json that belong to no living worker."""
    alive = {str(pid) for pid in site.service.children()}
    return [name for name in os.listdir(place) if name.startswith(".dns.json.") and not _is_of(name, alive)]


def _is_of(name: str, alive: set[str]) -> bool:
    return name.endswith(".lock") or name.rpartition(".")[2] in alive


def _remount(site: Site, how: str) -> None:
    command = ["nsenter", "-t", str(site.service.pid), "-m", "mount", "-o", f"remount,{how}"]
    subprocess.run([*command, str(site.folder / "small-cache")], check=True, timeout=60)
