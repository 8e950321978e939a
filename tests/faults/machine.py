"""The machine: no room for the log, a clock that jumps, no memory, no descriptors."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.shapes import text
from faults import mail
from faults.harm import GoingOn, at_least, until_fired, wait
from faults.mta import message_over
from faults.senders import Sent, sent_over_wire
from faults.site import Site

from harness.milter_client import MilterClient
from harness.ports import unpacked, wait_until


def log_full(site: Site, going_on: GoingOn) -> None:
    """The disk of the log is full soon; then there is room again."""
    place = _log_on_small_disk(site)
    for _ in at_least(1, going_on):
        if not wait_until(lambda: shutil.disk_usage(place.parent).free == 0):
            raise TimeoutError("the disk does not get full")
        site.fired["disk full"] += 1
        time.sleep(0.5)
        with place.open("r+b") as file:
            file.truncate()
        time.sleep(0.5)


def small_disk(site: Site) -> list[str | Path]:
    folder = site.folder / "small"
    folder.mkdir(exist_ok=True)
    mount = f'mount -t tmpfs -o size=16k tmpfs {folder} && exec "$@" 2>> {folder}/log'
    return ["unshare", "--mount", "--", "sh", "-c", mount, "sh"]


def _log_on_small_disk(site: Site) -> Path:
    return Path(f"/proc/{site.service.pid}/root{site.folder}/small/log")


def small_log(site: Site) -> str:
    """What stands in the log on the small disk."""
    return _log_on_small_disk(site).read_text()


def no_log(site: Site, going_on: GoingOn) -> None:
    """Nothing can be written to standard error at all."""
    for pid in (site.service.pid, *site.service.children()):
        site.fired["process without a log"] += os.readlink(f"/proc/{pid}/fd/2") == "/dev/full"
    wait(0.5, going_on)


def full(_site: Site) -> list[str | Path]:
    return ["sh", "-c", 'exec "$@" 2> /dev/full', "sh"]


_JUMPS = ("+0", "+1h", "-1h", "+30d", "-30d", "+400d", "-20y", "+0")


def clock_jumps(site: Site, going_on: GoingOn) -> None:
    for n in at_least(len(_JUMPS), going_on):
        _set_clock(site, _JUMPS[n % len(_JUMPS)])
        site.fired["clock set"] += 1
        time.sleep(0.4)
    _set_clock(site, "+0")


def _set_clock(site: Site, offset: str) -> None:
    new = site.folder / "clock.new"
    new.write_text(offset + "\n")
    new.rename(site.folder / "clock")


def faked_clock(site: Site) -> dict[str, str]:
    """The real libfaketime: all that asks for the time of day is told another one, C and Python alike; the monotonic
    clock goes on, as it does when an administrator or NTP sets the clock."""
    _set_clock(site, "+0")
    library = unpacked("libfaketime", f"usr/lib/{platform.machine()}-linux-gnu/faketime/libfaketimeMT.so.1")
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(site.folder / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def memory_limit(site: Site, going_on: GoingOn, times: int = 3) -> list[Sent]:
    """A worker may have no more than it has, and a little; and large messages come, several at a time."""
    found: list[Sent] = []
    fields = [(b"X-Large", b" " + b"x" * 50_000)] * 18
    body = text(4 << 20)

    def large(number: int) -> Sent:
        message = mail.message(number)
        try:
            with MilterClient(site.address, 60) as client:
                client.connect(message.client, helo="out.mailer.example")
                whole = message.fields + fields if message.kind == "ordinary" else message.fields
                content = body if message.kind == "ordinary" else message.body
                return sent_over_wire(number, client.message(whole, content, mail_from=message.mail_from))
        except OSError as problem:
            return Sent(number, "wire", "deferred", why=repr(problem))

    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    first = 2_000_000
    for n in until_fired(site, "message cut or deferred", times, going_on):
        for pid in site.service.children():
            with contextlib.suppress(OSError):
                size = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
                resource.prlimit(pid, resource.RLIMIT_AS, (size + ((4, 16, 40)[n % 3] << 20), unlimited[1]))
        with ThreadPoolExecutor(8) as pool:
            sent = list(pool.map(large, range(first, first + 24)))
        site.fired["message cut or deferred"] += sum(one.fate == "deferred" for one in sent)
        found += sent
        first += 24
    for pid in site.service.children():
        with contextlib.suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_AS, unlimited)
    return found


_SPARE = 5  # descriptors with which a worker may stop accepting, to have some for what it has in hand


def no_descriptors(site: Site, going_on: GoingOn) -> list[Sent]:
    """A worker may open no more files than it has, and a few."""
    found: list[Sent] = []
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    for n in until_fired(site, "worker at its limit of descriptors", 1, going_on):
        for pid in site.service.children():
            with contextlib.suppress(OSError):
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (24, limits[1]))
        clients: list[tuple[int, MilterClient]] = []
        with ThreadPoolExecutor(60) as pool:

            def opened(number: int) -> Sent | tuple[int, MilterClient]:
                try:
                    client = MilterClient(site.address, 2)
                    client.connect(mail.message(number).client, helo="out.mailer.example")
                except OSError as problem:
                    return Sent(number, "wire", "deferred", why=repr(problem))
                return number, client

            for result in pool.map(opened, range(2_000_000 + 60 * n, 2_000_060 + 60 * n)):
                found.append(result) if isinstance(result, Sent) else clients.append(result)
            for pid in site.service.children():
                with contextlib.suppress(OSError):
                    site.fired["worker at its limit of descriptors"] += (
                        len(os.listdir(f"/proc/{pid}/fd")) >= 24 - _SPARE
                    )
            found += pool.map(message_over, clients)
        for pid in site.service.children():
            with contextlib.suppress(OSError):
                resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    return found
