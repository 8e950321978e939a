"""Connections that come at once after a calm, names that DNS is slow to find, and peers that do not read."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import struct
import termios
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import dns.message

from faults import mail
from faults.harm import GoingOn, at_least
from faults.names import from_upstream
from faults.senders import Sent, one_message
from faults.site import Site

from harness.dns_server import DnsServer
from harness.lying_dns import Said, silence
from harness.milter_client import ACTIONS, STEPS, MilterClient

_CALM = 1.2  # seconds in which nothing comes: the workers' idle threads are as few as they get
_STANDSTILLS = (0.2, 0.5, 1.0, 2.0)  # seconds
_CLAIMED, _ORDINARY = (4, 8, 16, 40), (4, 8, 16)  # connections at once


def bursts_after_calm(site: Site, going_on: GoingOn, times: int = 8) -> list[Sent]:
    """DNS is silent. Nothing comes for a while; then the workers stand still while connections come at once."""
    unknown, ordinary = _numbers(site, mail.UNKNOWN), _numbers(site, mail.ORDINARY)
    found: list[Sent] = []
    with site.other_dns(silence, silence) as silent:
        for _ in at_least(times, going_on):
            time.sleep(_CALM)
            seconds = site.random.choice(_STANDSTILLS)
            numbers = [next(unknown) for _ in range(site.random.choice(_CLAIMED))]
            numbers += [next(ordinary) for _ in range(site.random.choice(_ORDINARY))]
            site.random.shuffle(numbers)
            with ThreadPoolExecutor(len(numbers)) as pool:
                with site.standing_still():
                    sent = [pool.submit(one_message, site.address, number) for number in numbers]
                    time.sleep(seconds)
                # How long they waited because of one another, and not for the workers to go on.
                results = [job.result() for job in sent]
                found += [replace(one, seconds=max(0.0, one.seconds - seconds)) for one in results]
        site.fired["query to a silent server"] += len(silent.asked)
    return found


def slow_for_unknown_names(site: Site, going_on: GoingOn) -> list[Sent]:
    """DNS answers what the service has asked before; for other names it takes 6 seconds."""
    return _unknown_names(site, going_on, 6.0, "slow query for an unknown name")


def silent_for_unknown_names(site: Site, going_on: GoingOn) -> list[Sent]:
    """DNS answers what the service has asked before, and nothing else."""
    return _unknown_names(site, going_on, None, "silent query for an unknown name")


def _unknown_names(site: Site, going_on: GoingOn, delay: float | None, what: str) -> list[Sent]:
    with DnsServer(mail.ZONE) as upstream:
        answer = from_upstream(upstream)

        def unknown(query: dns.message.Message) -> Said:
            name = query.question[0].name.to_text()
            if name.startswith("u4"):
                site.fired[what] += 1
                if delay is None:
                    return []
                time.sleep(delay)
            return answer(query)

        numbers = _numbers(site, mail.UNKNOWN)
        with site.other_dns(unknown, unknown), ThreadPoolExecutor(60) as pool:
            return _sent_at(20.0, 3.0, going_on, lambda: pool.submit(one_message, site.address, next(numbers)))


def _sent_at(rate: float, seconds: float, going_on: GoingOn, send: Callable[[], Future[Sent]]) -> list[Sent]:
    sent, until = [], time.monotonic() + seconds
    while time.monotonic() < until or going_on():
        sent.append(send())
        time.sleep(1 / rate)
    return [job.result() for job in sent]


def _numbers(site: Site, first: int) -> itertools.count[int]:
    """Numbers of messages: other ones with each seed, so that no name is known."""
    return itertools.count(first + site.random.randrange(900_000))


def peers_that_do_not_read(site: Site, going_on: GoingOn, seconds: float = 10.0) -> None:
    """A message for which the answer is megabytes, and after it the first packet of the protocol once more. The peer
    reads nothing, so that a thread of the worker waits to write."""
    fields = [(b"X-Trusted-Sender", b" verified; host=mx1.example.org")] * 15_000
    for _ in at_least(1, going_on):
        peers = []
        for _ in range(2):
            peer = MilterClient(site.address)
            peer.connect(mail.FORGER, helo="out.mailer.example")
            peer.message(fields, b"text\r\n", mail_from="a@evil.example", until="body")
            peer.send_packet(b"E")
            peer.send_packet(b"O", struct.pack("!III", 6, ACTIONS, STEPS))
            peers.append(peer)
        time.sleep(seconds)
        site.fired["answer that nobody read"] += sum(_unread(peer) > 0 for peer in peers)
        for peer in peers:
            peer.drop()


def _unread(peer: MilterClient) -> int:
    """How many bytes a peer could read."""
    with contextlib.suppress(OSError):
        return int(struct.unpack("i", fcntl.ioctl(peer._sock, termios.FIONREAD, b"\0" * 4))[0])
    return 0
