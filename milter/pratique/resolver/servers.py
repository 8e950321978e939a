"""Questions to name servers: which are asked, in which order, for how long, and whose answer is believed.

dnspython makes and reads the messages. Its resolver and its `query` functions are not used: they have one timeout for
all that a question takes and overrun it, leave a server alone only for the question in hand, drop an answer that comes
after they have asked again, and read an answer of any size, which takes 0.1 s of CPU for 64 kB of a forger's records.
Tried 2026-11 (dnspython 2.9, c-ares by pycares 5.2): both take a referral, half a CNAME chain and an empty answer for
"no records" and ask no other server. dnspython never asks without EDNS; c-ares does for FORMERR only.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import dns.name

from pratique.model import DnsAnswer, DnsStatus

from .exchange import Exchange, Server
from .responses import Failure, Reply

log = logging.getLogger("pratique")

RESOLV_CONF = Path("/etc/resolv.conf")
PATIENCE = 0.8  # seconds until the next server is asked, or the only one again; doubled every two rounds
_SILENCE = 60.0  # seconds for which a server that said nothing, while another did, is asked last
_PAUSE = 0.25  # seconds between rounds where nobody listens: a server may be about to start
_STARTING = 0.7  # seconds for which such a server is waited for: unbound and BIND restart in less
_NOBODY = 5.0  # seconds for which no further message waits for it
_REMEMBERED = 900.0  # seconds for which it is remembered that a server does with EDNS, or without
_SAID = 3600.0  # seconds between two lines on a server that does not resolve names
_NO_ANSWER = "it refused, referred to others, or gave an answer without records and SOA"
_PORT = 53
_LARGEST_FILE = 65_536  # bytes of resolv.conf that are read
_MOST_SERVERS = 8


class Servers:
    """The name servers, given or those of resolv.conf, which is read again when it changes."""

    def __init__(
        self,
        given: tuple[Server, ...] = (),
        resolv_conf: Path = RESOLV_CONF,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.current = list(given)
        self._file = None if given else resolv_conf
        self._stamp: tuple[int, ...] = ()
        self._clock = clock
        self._silent: dict[Server, float] = {}
        self._plain: dict[Server, float] = {}  # asked without EDNS until then
        self._edns_until: dict[Server, float] = {}  # it answered with EDNS: a lost packet must not change that
        self._nobody_until = 0.0
        self._said_until: dict[Server, float] = {}
        self._read_file()
        self._none = not self.current

    def _read_file(self) -> None:
        """Use the servers that resolv.conf names. While it is missing or names none, the previous ones remain."""
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            status = os.stat(self._file)
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
            if stamp != self._stamp and (servers := _named_in(self._file)):
                self.current, self._stamp = servers, stamp

    @property
    def problem(self) -> str:
        """Why there is no server to ask; empty if there is one."""
        return "" if self.current else f"{self._file} names no name server: DNS counts as silent until it names one"

    def ask(self, name: dns.name.Name, rdtype: str, seconds: float) -> Reply:
        """The reply to one question; a failed one where nobody answered within `seconds`."""
        self._read_file()
        if not self.current:
            return Reply(DnsAnswer(DnsStatus.TIMEOUT), nobody=True)
        if self._none:
            self._none = False
            log.warning("dns: %s names a name server now: it is asked", self._file)
        deadline = self._clock() + seconds
        exchange = Exchange(name, rdtype, deadline, self._clock)
        try:
            return self._ask(exchange, deadline)
        finally:
            exchange.close()
            self._note(exchange)

    def _ask(self, exchange: Exchange, deadline: float) -> Reply:
        started = self._clock()
        silent = {server for server in self.current if self._silent.get(server, 0) > started}
        order = sorted(self.current, key=silent.__contains__)  # a stable sort
        starting = started + (_STARTING if started >= self._nobody_until else 0)
        for turn in itertools.count():
            for server in order:
                if server not in exchange.failed:
                    every = 3 if self._edns_until.get(server, 0) > started else 2
                    exchange.send(server, self._plain.get(server, 0) > started, every)
                    reply = exchange.receive(min(self._clock() + PATIENCE * 2 ** (turn // 2), deadline))
                    if reply:
                        return reply
            now = self._clock()
            if now >= deadline or (exchange.failed and not _worth_waiting(exchange, silent)):
                break
            if not exchange.waiting:
                if now >= starting:
                    break
                time.sleep(min(_PAUSE, deadline - now))
        if exchange.failed:
            return exchange.weak or Reply(DnsAnswer(DnsStatus.SERVFAIL))
        return Reply(DnsAnswer(DnsStatus.TIMEOUT), nobody=exchange.refused >= set(order))

    def _note(self, exchange: Exchange) -> None:
        """Remember which servers said nothing while another one answered, and which answer only without EDNS."""
        now = self._clock()
        for server, since in exchange.asked.items():
            if server in exchange.heard:
                self._silent.pop(server, None)
            elif exchange.answered and (server in exchange.refused or now - since >= PATIENCE):
                self._silent[server] = now + _SILENCE
            if exchange.answered.get(server):
                self._edns_until[server] = now + _REMEMBERED
            elif exchange.does_without_edns(server, PATIENCE) and self._edns_until.get(server, 0) <= now:
                if server not in self._plain:
                    log.warning("dns: %s port %d answers only queries without EDNS: it is asked without", *server)
                self._plain[server] = now + _REMEMBERED
            if exchange.failed.get(server) is Failure.SERVER and self._said_until.get(server, 0) <= now:
                self._said_until[server] = now + _SAID
                log.warning("dns: %s port %d does not resolve names for this host, or not all: %s", *server, _NO_ANSWER)
        if exchange.heard:
            self._nobody_until = 0.0
        elif exchange.refused >= set(self.current):
            self._nobody_until = now + _NOBODY


def _worth_waiting(exchange: Exchange, silent: set[Server]) -> bool:
    """Whether to wait for other servers when one has failed. Not for those that have been silent for some time, unless
    all others refuse to resolve anything: a slow server is better than one that never answers."""
    may_answer = exchange.waiting
    return bool(may_answer - silent if Failure.NAME in exchange.failed.values() else may_answer)


def _named_in(file: Path) -> list[Server]:
    """The servers of a resolv.conf. A line that names none is passed over: one typing error must not stop all mail."""
    with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb") as opened:
        lines = (opened.read(_LARGEST_FILE) or b"").decode("ascii", "replace").splitlines()
    servers: list[Server] = []
    for line in lines:
        with contextlib.suppress(ValueError):
            keyword, address = line.split()[:2]
            if keyword == "nameserver":
                servers.append((str(ipaddress.ip_address(address)), _PORT))
    return servers[:_MOST_SERVERS]
