"""Questions to name servers: which are asked, in which order, for how long, and whose answer is believed.

dnspython makes and reads the messages. Its resolver and its `query` functions are not used: they have one timeout for
all that a question takes and overrun it, leave a server alone only for the question in hand, drop an answer that comes
after they have asked again, and read an answer of any size, which takes 0.1 s of CPU for 64 kB of a forger's records.
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

import dns.message
import dns.name

from pratique.model import DnsAnswer, DnsStatus

from .exchange import Exchange, Server
from .responses import Reply

log = logging.getLogger("pratique")

RESOLV_CONF = Path("/etc/resolv.conf")
PATIENCE = 0.8  # seconds until the next server is asked, or the only one again; doubled each round
_SILENCE = 60.0  # seconds for which a server that said nothing, while another did, is asked last
_PAUSE = 0.25  # seconds between rounds where every server refuses at once: one may be about to start
_PAYLOAD = 1232  # octets over UDP, so that nothing is fragmented (EDNS, RFC 6891)
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
        query = dns.message.make_query(name, rdtype, use_edns=0, payload=_PAYLOAD)
        exchange = Exchange(query, deadline, self._clock)
        try:
            return self._ask(exchange, deadline)
        finally:
            exchange.close()
            self._note(exchange)

    def _ask(self, exchange: Exchange, deadline: float) -> Reply:
        now = self._clock()
        order = sorted(self.current, key=lambda server: self._silent.get(server, 0) > now)  # a stable sort
        for turn in itertools.count():
            for server in order:
                if server not in exchange.failed:
                    exchange.send(server)
                    reply = exchange.receive(min(self._clock() + PATIENCE * 2**turn, deadline))
                    if reply:
                        return reply
            left = deadline - self._clock()
            if exchange.failed:  # and the others had their time
                return Reply(DnsAnswer(DnsStatus.SERVFAIL))
            if left <= 0:
                break
            if not exchange.waiting:
                time.sleep(min(_PAUSE, left))
        return Reply(DnsAnswer(DnsStatus.TIMEOUT), nobody=bool(order) and exchange.refused >= set(order))

    def _note(self, exchange: Exchange) -> None:
        """Remember who said nothing though somebody else did: it is not the network then."""
        now = self._clock()
        for server, since in exchange.asked.items():
            if server in exchange.heard:
                self._silent.pop(server, None)
            elif exchange.heard and (server in exchange.refused or now - since >= PATIENCE):
                self._silent[server] = now + _SILENCE


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
