"""What stands beside the mail: who reads the log, who asks for metrics, who speaks to the control socket."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import select
import signal
import socket
import struct
import termios
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from faults import mail
from faults.harm import GoingOn, at_least, until_fired
from faults.limits import cpu
from faults.senders import Sent, one_message
from faults.site import Settings, Site
from pratique.service.control import ask

from harness.milter_client import MilterClient
from harness.ports import wait_until

# ---- the log ------------------------------------------------------------------------------------------

_PAGE = os.sysconf("SC_PAGE_SIZE")
_LONG = 1400  # octets of a line, of which three do not fit on a page


def as_json(_site: Site) -> Settings:
    return {"log": {"level": "debug", "format": "json"}}


def log_pipe(site: Site) -> list[str | Path]:
    """The log is a pipe of two pages, of which the campaign holds the other end."""
    place = _pipe(site)
    place.unlink(missing_ok=True)
    os.mkfifo(place)
    site.kept = os.open(place, os.O_RDWR | os.O_NONBLOCK)
    fcntl.fcntl(site.kept, fcntl.F_SETPIPE_SZ, 2 * _PAGE)
    return ["sh", "-c", f'exec "$@" 2> {place}', "sh"]


def close_log_pipe(site: Site) -> None:
    os.close(site.kept)


def _pipe(site: Site) -> Path:
    return site.folder / "log.pipe"


def log_that_nobody_reads(site: Site, going_on: GoingOn, times: int = 6) -> list[Sent]:
    """One page of the pipe is free, which makes it writable, and lines are as long as they get: what does not fit must
    not make the worker wait."""
    found: list[Sent] = []
    number = mail.ORDINARY + site.random.randrange(900_000)
    for _ in until_fired(site, "line as long as they get", times, going_on):
        _drain(site)
        os.write(site.kept, b"x" * _PAGE)
        site.fired["pipe with one page free"] += _waiting(site) >= _PAGE
        for _ in range(4):
            with contextlib.suppress(OSError), MilterClient(site.address, 10) as client:
                _long_line(client)
        site.fired["pipe full"] += not _writable(site)
        found += [one_message(site.address, number + n, 20) for n in range(8)]
        number += 8
        _drain(site)
        with contextlib.suppress(OSError), MilterClient(site.address, 10) as client:
            _long_line(client)
        wait_until(lambda: _waiting(site) > 0)
        site.fired["line as long as they get"] += any(len(line) > _LONG for line in _drain(site).split(b"\n"))
    return found


def _long_line(client: MilterClient) -> None:
    """A message whose line in the log is as long as it gets."""
    long = "\U0001f600" * 200
    fields = [
        (b"From", f' "nepasrepondre@ternum-bfc.fr {long}" <a@evil.example>'.encode()),
        (b"Message-ID", f" <{long}@evil.example>".encode()),
        (b"Subject", f" {long}".encode()),
    ]
    client.connect(mail.FORGER, client_name=f"{long}.example", helo=f"{long}.example")
    client.message(fields, b"text\r\n", mail_from=f"{long}@evil.example", queue_id=long[:30])


def _waiting(site: Site) -> int:
    return int(struct.unpack("i", fcntl.ioctl(site.kept, termios.FIONREAD, b"\0" * 4))[0])


def _writable(site: Site) -> bool:
    return bool(select.select([], [site.kept], [], 0)[1])


def _drain(site: Site) -> bytes:
    data = b""
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(site.kept, 1 << 16):
            data += piece
    return data


# ---- metrics ------------------------------------------------------------------------------------------

_MOST_THREADS = 40  # of the process that serves the figures
_MOST_CPU = 20.0  # seconds that it may need to get rid of half requests


def with_metrics(site: Site) -> Settings:
    return {"metrics": {"listen": f"127.0.0.1:{site.second_port}"}}


def half_requests(site: Site, going_on: GoingOn, clients: int = 2500) -> None:
    """Clients of the metrics endpoint that send half a request, and a byte more every two seconds."""
    exporter = max(site.service.children())  # it is forked last
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with contextlib.ExitStack() as opened:
        peers = []
        for _ in range(clients):
            peer = socket.socket()
            opened.callback(peer.close)
            peer.setblocking(False)
            peer.connect_ex(("127.0.0.1", site.second_port))
            peers.append(peer)
        for _ in at_least(3, going_on):
            for peer in peers:
                with contextlib.suppress(OSError):
                    site.fired["piece of a half request"] += peer.send(b"GET /metrics HTTP/1.0\r\nX-Slow: ") > 0
            threads = len(os.listdir(f"/proc/{exporter}/task"))
            if threads > _MOST_THREADS:
                raise RuntimeError(f"{clients} half requests cost {threads} threads")
            time.sleep(2)
    spent = cpu(exporter)
    if not wait_until(lambda: _scraped(site), 120):
        raise RuntimeError("no figures after the half requests have ended")
    if (used := cpu(exporter) - spent) > _MOST_CPU:
        raise RuntimeError(f"half requests that ended cost {used:.0f} s of CPU")


def exporter_stopped(site: Site, going_on: GoingOn) -> None:
    """The process that serves the figures stands still: it is replaced, as a worker is."""
    for _ in at_least(1, going_on):
        exporter = max(site.service.children())
        site.harm(exporter, signal.SIGSTOP)
        if not wait_until(lambda e=exporter: e not in site.service.children() and _scraped(site)):  # type: ignore[misc]
            raise RuntimeError("the process that serves metrics hangs, and is not replaced")
        site.fired["exporter stopped and replaced"] += 1


def metrics_abused(site: Site, going_on: GoingOn, clients: int = 2500) -> None:
    half_requests(site, going_on, clients)
    exporter_stopped(site, lambda: False)


def _scraped(site: Site) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{site.second_port}/metrics", timeout=20) as answer:
            return b"pratique_workers" in answer.read()
    except OSError:
        return False


# ---- the control socket --------------------------------------------------------------------------------


def control_abused(site: Site, going_on: GoingOn) -> None:
    """A hundred reloads at once, clients that ask nothing, and clients that ask for what there is not."""
    place = site.address.partition(":")[2] + ".control"
    for _ in at_least(1, going_on):
        with ThreadPoolExecutor(100) as pool:
            answers = list(pool.map(lambda _: ask(site.config, True, 60), range(100)))
        site.fired["reload answered"] += sum(answer.status == 0 for answer in answers)
        with contextlib.ExitStack() as opened:
            for n in range(40):
                peer = socket.socket(socket.AF_UNIX)
                opened.callback(peer.close)
                peer.setblocking(False)
                with contextlib.suppress(OSError):
                    peer.connect(place)
                    sent = peer.send((b"reload", b"\xff" * 9000, b"stop now\n", site.random.randbytes(100))[n % 4])
                    site.fired["half or wrong request"] += sent > 0
            if not wait_until(lambda: ask(site.config, True, 60).status == 0):
                raise RuntimeError(f"`pratique reload` gets no answer:\n{site.service.log()[-4000:]}")
