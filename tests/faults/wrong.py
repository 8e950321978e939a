"""What goes wrong: each fault is a function that is called while mail comes in, and returns when all is well again.

Rules of this module: a fault does its harm, and looks at nothing; what became of the mail is looked at elsewhere.
"""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.query
from bench.shapes import text
from faults import mail
from faults.senders import Sent, sent_over_wire
from faults.site import Site

from harness.dns_server import DnsServer
from harness.lying_dns import Said, silence
from harness.milter_client import MilterClient, Stage
from harness.ports import unpacked, wait_until

from pratique.service.control import ask

GoingOn = Callable[[], bool]
"""Whether there is still mail to come under this fault."""

_STATES: tuple[Stage, ...] = ("connect", "helo", "mail", "rcpt", "data", "header", "eoh", "body", "eom")


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong. `at_all`: what this is not about may come out like that, too."""

    name: str
    run: Callable[[Site, GoingOn], list[Sent] | None]
    settings: Mapping[str, Any] = field(default_factory=dict)
    wrapper: Callable[[Site], list[str | Path]] = lambda _site: []
    environment: Callable[[Site], dict[str, str]] = lambda _site: {}
    verdicts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by kind, besides the one it deserves
    log: Callable[[Site], str] = lambda site: site.service.log()
    said: str = ""  # what must be in the log then


def at_least(times: int, going_on: GoingOn) -> Iterator[int]:
    """Count while it is going on, and so many times in any case."""
    count = 0
    while count < times or going_on():
        yield count
        count += 1


# ---- processes ---------------------------------------------------------------------------------------


def workers_killed(site: Site, going_on: GoingOn) -> None:
    for n in at_least(3, going_on):
        children = site.service.children()
        if children:
            _kill(children[n % len(children)], signal.SIGKILL)
        time.sleep(0.3)


def worker_stopped(site: Site, going_on: GoingOn, times: int = 4) -> None:
    """All, then one: until the parent has replaced them."""
    for n in at_least(times, going_on):
        stopped = site.service.children()[: 2 - n % 2]
        for pid in stopped:
            _kill(pid, signal.SIGSTOP)
        if not wait_until(lambda s=stopped: not set(s) & set(site.service.children()), 30):  # type: ignore[misc]
            raise TimeoutError(f"a worker that hangs was not replaced:\n{site.service.log()[-4000:]}")


def parent_killed(site: Site, going_on: GoingOn) -> None:
    """And started again, as systemd would."""
    for _ in at_least(1, going_on):
        workers = site.service.children()
        site.service.signal(signal.SIGKILL)
        if not wait_until(lambda w=workers: not any(Path(f"/proc/{pid}").exists() for pid in w), 10):  # type: ignore[misc]
            raise TimeoutError("workers survive their parent")
        site.restart()
        time.sleep(0.3)


def parent_stopped(site: Site, going_on: GoingOn) -> None:
    for _ in at_least(1, going_on):
        site.service.signal(signal.SIGSTOP)
        time.sleep(4)  # longer than a worker may be silent
        site.service.signal(signal.SIGCONT)
        time.sleep(0.2)


def restarted(site: Site, going_on: GoingOn) -> None:
    """In order, under load."""
    for _ in at_least(1, going_on):
        site.service.signal(signal.SIGTERM)
        if status := site.service.wait(20):
            raise RuntimeError(f"SIGTERM ended with status {status}:\n{site.service.log()[-4000:]}")
        site.restart()
        time.sleep(0.3)


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


# ---- DNS -----------------------------------------------------------------------------------------------


def dns_gone(site: Site, going_on: GoingOn) -> None:
    """The resolver is not running: every question is refused at once. Then it is, and says nothing."""
    with site.no_dns():
        _wait(1, going_on)
    with site.other_dns(silence, silence):
        _wait(3, going_on)


def dns_slow(site: Site, going_on: GoingOn) -> None:
    """A second for each answer."""
    with DnsServer(mail.ZONE) as upstream, site.other_dns(*_from(upstream, lambda _: 1.0)):
        _wait(3, going_on)


def dns_lies(site: Site, going_on: GoingOn) -> None:
    """Truncated with nobody behind, a foreign id, garbage, another question, other flags, half an answer, refusals."""
    count = 0

    def udp(query: dns.message.Message) -> Said:
        nonlocal count
        count += 1
        reply = dns.message.make_response(query, recursion_available=True)
        match count % 9:
            case 0:
                reply.flags |= dns.flags.TC
            case 1:
                reply.id ^= 0x5555
            case 2:
                return [os.urandom(60)]
            case 3:
                reply = dns.message.make_response(dns.message.make_query("other.example", "TXT", id=query.id))
            case 4:
                reply.flags &= ~dns.flags.QR
            case 5:
                return [reply.to_wire()[:14]]
            case 6:
                reply.set_rcode(2)
            case 7:
                reply.set_rcode(5)
            case 8:
                return [b"", b"\0" * 12, reply.to_wire()[:2]]
        return [reply.to_wire()]

    with site.other_dns(udp, lambda query: [query.to_wire()[:7]]):
        _wait(3, going_on)


def _from(upstream: DnsServer, delay: Callable[[dns.message.Message], float]) -> tuple[Any, Any]:
    """Answers of another server, late."""

    def answer(query: dns.message.Message) -> Said:
        time.sleep(delay(query))
        with contextlib.suppress(Exception):
            return [dns.query.udp(query, "127.0.0.1", port=upstream.port, timeout=2).to_wire()]
        return []

    return answer, answer


def _wait(seconds: float, going_on: GoingOn) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until or going_on():
        time.sleep(0.05)


# ---- lists ---------------------------------------------------------------------------------------------


def reloads(site: Site, going_on: GoingOn, times: int = 100) -> None:
    """Good and bad lists in turn."""
    place = site.folder / "trusted-senders.yaml"
    good = place.read_text()
    for n in at_least(times, going_on):
        bad = ("", "\n  - x\n", "\n\t\0", "\nsenders: {}\n")[n // 2 % 4] if n % 2 else ""
        place.write_text(good + bad if bad else good + f"# {n}\n")
        if n % 2 and not bad:
            place.unlink()
        answer = ask(site.config, True, 60)
        if answer.status != (os.EX_CONFIG if n % 2 else 0):
            raise RuntimeError(f"reload {n} said {answer}")
    place.write_text(good)


# ---- the MTA -------------------------------------------------------------------------------------------


def mta_restarted(site: Site, going_on: GoingOn) -> None:
    """In order; and its processes that speak to us killed."""
    for n in at_least(2, going_on):
        if n % 2:
            for name in ("smtpd", "cleanup"):
                for pid in _postfix_processes(site, name):
                    _kill(pid, signal.SIGKILL)
            time.sleep(1.2)  # the master does not begin another one at once
        else:
            site.postfix.restart()
            time.sleep(0.3)


def _postfix_processes(site: Site, name: str) -> list[int]:
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (place / "comm").read_text().strip() == name and _is_ours(place, site):
                found.append(int(place.name))
    return found


def _is_ours(place: Path, site: Site) -> bool:
    """Whether a Postfix process belongs to our instance: its configuration is in its environment."""
    return str(site.postfix.folder).encode() in (place / "environ").read_bytes()


def connections_cut(site: Site, going_on: GoingOn) -> None:
    """In every state of the protocol, in order and by a reset, between packets and within one."""
    for n in at_least(4 * len(_STATES), going_on):
        message = mail.message(n)
        state = _STATES[n // 4 % len(_STATES)]
        with contextlib.suppress(ConnectionError):
            client = MilterClient(site.address, 20)
            client.connect(message.client, helo=None if state == "connect" else "out.mailer.example")
            if state not in ("connect", "helo"):
                until: Stage = "body" if state == "eom" else state
                client.message(message.fields, message.body, mail_from=message.mail_from, until=until)
                if state == "eom":
                    client.send_packet(b"E")  # and nobody reads what is said
            if n % 2:
                client.send_packet(b"L")  # a field without a name
            _cut(client, reset=n % 4 > 1)
        raw = socket.socket(socket.AF_UNIX)
        with raw, contextlib.suppress(OSError):
            raw.connect(site.address.partition(":")[2])
            raw.sendall((b"", b"\0\0", struct.pack("!Ic", 13, b"O"), b"GET / HTTP/1.0\r\n\r\n", b"\xff" * 64)[n % 5])
        time.sleep(0.01)


def _cut(client: MilterClient, reset: bool) -> None:
    if reset:
        with contextlib.suppress(OSError):
            client._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client._output.clear()
    client.drop()


def thousand_connections(site: Site, going_on: GoingOn) -> list[Sent]:
    """All open at once, each with a message."""
    found: list[Sent] = []
    for n in at_least(1, going_on):
        first = 2_000_000 + 1000 * n
        clients: list[tuple[int, MilterClient]] = []
        for number in range(first, first + 1000):
            message = mail.message(number)
            try:
                client = MilterClient(site.address, 60)
                client.connect(message.client, helo="out.mailer.example")
                clients.append((number, client))
            except OSError as problem:
                found.append(Sent(number, "wire", "deferred", why=repr(problem)))
        with ThreadPoolExecutor(16) as pool:
            found += pool.map(_one, clients)
    return found


def _one(job: tuple[int, MilterClient]) -> Sent:
    number, client = job
    message = mail.message(number)
    try:
        with client:
            return sent_over_wire(
                number, client.message(message.fields, message.body, mail_from=message.mail_from, queue_id=f"4Q{number}")
            )
    except OSError as problem:
        return Sent(number, "wire", "deferred", why=repr(problem))


# ---- the machine -----------------------------------------------------------------------------------------


def log_full(site: Site, going_on: GoingOn) -> None:
    """The disk of the log is full soon; then there is room again."""
    place = _log_on_small_disk(site)
    for _ in at_least(1, going_on):
        if not wait_until(lambda: shutil.disk_usage(place.parent).free == 0, 20):
            raise TimeoutError("the disk does not get full")
        time.sleep(0.5)
        with place.open("r+b") as file:
            file.truncate()
        time.sleep(0.5)


def _small_disk(site: Site) -> list[str | Path]:
    folder = site.folder / "small"
    folder.mkdir(exist_ok=True)
    mount = f'mount -t tmpfs -o size=16k tmpfs {folder} && exec "$@" 2>> {folder}/log'
    return ["unshare", "--mount", "--", "sh", "-c", mount, "sh"]


def _log_on_small_disk(site: Site) -> Path:
    return Path(f"/proc/{site.service.pid}/root{site.folder}/small/log")


def no_log(_site: Site, going_on: GoingOn) -> None:
    """Nothing can be written to standard error at all."""
    _wait(0.5, going_on)


def _full(_site: Site) -> list[str | Path]:
    return ["sh", "-c", 'exec "$@" 2> /dev/full', "sh"]


_JUMPS = ("+0", "+1h", "-1h", "+30d", "-30d", "+400d", "-20y", "+0")


def clock_jumps(site: Site, going_on: GoingOn) -> None:
    for n in at_least(len(_JUMPS), going_on):
        _set_clock(site, _JUMPS[n % len(_JUMPS)])
        time.sleep(0.4)
    _set_clock(site, "+0")


def _set_clock(site: Site, offset: str) -> None:
    new = site.folder / "clock.new"
    new.write_text(offset + "\n")
    new.rename(site.folder / "clock")


def _faked_clock(site: Site) -> dict[str, str]:
    """The real libfaketime: all that asks for the time of day is told another one, C and Python alike; the monotonic
    clock goes on, as it does when an administrator or NTP sets the clock."""
    _set_clock(site, "+0")
    library = unpacked("libfaketime", f"usr/lib/{_multiarch()}/faketime/libfaketimeMT.so.1")
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(site.folder / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


@functools.cache
def _multiarch() -> str:
    return subprocess.run(["dpkg-architecture", "-qDEB_HOST_MULTIARCH"], capture_output=True, text=True).stdout.strip() or (
        f"{os.uname().machine}-linux-gnu"
    )


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
    for n in at_least(times, going_on):
        for pid in site.service.children():
            with contextlib.suppress(OSError):
                size = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
                resource.prlimit(pid, resource.RLIMIT_AS, (size + ((4, 16, 40)[n % 3] << 20), unlimited[1]))
        with ThreadPoolExecutor(8) as pool:
            found += pool.map(large, range(first, first + 24))
        first += 24
    for pid in site.service.children():
        with contextlib.suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_AS, unlimited)
    return found


def no_descriptors(site: Site, going_on: GoingOn) -> list[Sent]:
    """A worker may open no more files than it has, and a few."""
    found: list[Sent] = []
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    for n in at_least(1, going_on):
        for pid in site.service.children():
            with contextlib.suppress(OSError):
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (24, limits[1]))
        clients: list[tuple[int, MilterClient]] = []
        with ThreadPoolExecutor(60) as pool:

            def opened(number: int) -> Sent | tuple[int, MilterClient]:
                try:
                    client = MilterClient(site.address, 4)
                    client.connect(mail.message(number).client, helo="out.mailer.example")
                except OSError as problem:
                    return Sent(number, "wire", "deferred", why=repr(problem))
                return number, client

            for result in pool.map(opened, range(2_000_000 + 60 * n, 2_000_060 + 60 * n)):
                found.append(result) if isinstance(result, Sent) else clients.append(result)
            found += pool.map(_one, clients)
        for pid in site.service.children():
            with contextlib.suppress(OSError):
                resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    return found


def nothing(_site: Site, going_on: GoingOn) -> None:
    _wait(0.5, going_on)


_DATED = {"dated": ("unverified",)}  # a signature with a date cannot be judged by a clock that is wrong
_ASK_ALWAYS = {"dns": {"cache": False}}

FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("nothing goes wrong", nothing),
        Fault("workers killed (-9)", workers_killed, said="has ended by itself (signal 9)"),
        Fault("workers stopped", worker_stopped, said=" hangs: killed, "),
        Fault("parent killed (-9)", parent_killed),
        Fault("parent stopped", parent_stopped),
        Fault("restarted under load", restarted),
        Fault("DNS gone", dns_gone, _ASK_ALWAYS, said=" dns=stale"),
        Fault("DNS slow", dns_slow),
        Fault("DNS lies", dns_lies, _ASK_ALWAYS, said=" dns=stale"),
        Fault("100 reloads, good and bad", reloads, said="nothing has changed, generation "),
        Fault("MTA restarted, killed", mta_restarted),
        Fault("MTA connections cut", connections_cut),
        Fault("1000 connections at once", thousand_connections),
        Fault("log's disk full", log_full, wrapper=_small_disk, log=lambda s: _log_on_small_disk(s).read_text()),
        Fault("log cannot be written", no_log, wrapper=_full),
        Fault("clock jumps", clock_jumps, environment=_faked_clock, verdicts=_DATED),
        Fault("out of memory", memory_limit, said=" this worker is replaced"),
        Fault("out of descriptors", no_descriptors),
    )
}


def small(fault: Fault) -> Fault:
    """The short form."""
    times = {reloads: 10, memory_limit: 1, worker_stopped: 1}.get(fault.run)
    return replace(fault, run=functools.partial(fault.run, times=times)) if times else fault


# Messages for each fault, and the longest that one goes on while they come: of 20,000 messages, and of 2,000.
WHOLE, SHORT = (20_000 // len(FAULTS) + 1, 60.0), (2_000 // len(FAULTS) + 1, 3.0)
