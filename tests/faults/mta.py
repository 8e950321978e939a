"""The MTA: killed, restarted, its connections cut, and a thousand of them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from faults import mail
from faults.harm import GoingOn, at_least
from faults.senders import Sent, sent_over_wire
from faults.site import Site

from harness.milter_client import MilterClient, Stage

_STATES: tuple[Stage, ...] = ("connect", "helo", "mail", "rcpt", "data", "header", "eoh", "body", "eom")


def mta_restarted(site: Site, going_on: GoingOn) -> None:
    """In order; and its processes that speak to us killed."""
    for n in at_least(2, going_on):
        if n % 2:
            for name in ("smtpd", "cleanup"):
                for pid in _postfix_processes(site, name):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        site.fired["process of the MTA killed"] += 1
            time.sleep(1.2)  # the master does not begin another one at once
        else:
            site.postfix.restart()
            site.fired["MTA restarted"] += 1
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
            site.fired["connection cut"] += 1
        raw = socket.socket(socket.AF_UNIX)
        with raw, contextlib.suppress(OSError):
            raw.connect(site.address.partition(":")[2])
            raw.sendall((b"", b"\0\0", struct.pack("!Ic", 13, b"O"), b"GET / HTTP/1.0\r\n\r\n", b"\xff" * 64)[n % 5])
            site.fired["connection of another protocol"] += 1
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
        site.fired["connections open at once"] += len(clients)
        with ThreadPoolExecutor(16) as pool:
            found += pool.map(message_over, clients)
    return found


def message_over(job: tuple[int, MilterClient]) -> Sent:
    """Send a message over a connection that has said HELO."""
    number, client = job
    message, begun = mail.message(number), time.monotonic()
    try:
        with client:
            return sent_over_wire(
                number,
                client.message(message.fields, message.body, mail_from=message.mail_from, queue_id=f"4Q{number}"),
                time.monotonic() - begun,
            )
    except OSError as problem:
        return Sent(number, "wire", "deferred", why=repr(problem))
