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
import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import dns.exception
import dns.flags
import dns.inet
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from pratique.model import DnsAnswer, DnsStatus

from .records import answer

log = logging.getLogger("pratique")

Server = tuple[str, int]

RESOLV_CONF = Path("/etc/resolv.conf")
PATIENCE = 0.8  # seconds until the next server is asked, or the only one again; doubled each round
_SILENCE = 60.0  # seconds for which a server that said nothing, while another did, is asked last
_PAUSE = 0.25  # seconds between rounds where every server refuses at once: one may be about to start
_HEADER = struct.Struct("!6H")  # id, flags, and how many questions, answers, and other records follow
_PAYLOAD = 1232  # octets over UDP, so that nothing is fragmented (EDNS, RFC 6891)
_LARGEST = 16_384  # octets of an answer, over TCP as well
_MOST_RECORDS = 256  # in all its sections
_PORT = 53
_LARGEST_FILE = 65_536  # bytes of resolv.conf that are read
_MOST_SERVERS = 8


@dataclass(frozen=True, slots=True)
class Reply:
    """What the servers said, and for how many seconds it holds. `nobody`: no server is running at all."""

    answer: DnsAnswer
    ttl: float = 0
    nobody: bool = False


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
        exchange = _Exchange(query, deadline, self._clock)
        try:
            return self._ask(exchange, deadline)
        finally:
            exchange.close()
            self._note(exchange)

    def _ask(self, exchange: _Exchange, deadline: float) -> Reply:
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

    def _note(self, exchange: _Exchange) -> None:
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


class _Exchange:
    """One question, put to several servers until one of them answers. An answer may come late: every socket stays
    open. A connected socket takes nothing from another address, and is told where nobody listens."""

    def __init__(self, query: dns.message.QueryMessage, deadline: float, clock: Callable[[], float]):
        self._query = query
        self._wire = query.to_wire()
        self._deadline = deadline
        self._clock = clock
        self._sockets: dict[Server, socket.socket] = {}
        self._poll = select.poll()
        self.asked: dict[Server, float] = {}
        self.heard: set[Server] = set()  # said something to the point
        self.failed: set[Server] = set()  # of these: SERVFAIL, REFUSED, what cannot be used
        self.refused: set[Server] = set()  # nobody listens there

    @property
    def waiting(self) -> bool:
        return bool(self._sockets)

    def close(self) -> None:
        for server in list(self._sockets):
            self._drop(server)

    def _drop(self, server: Server) -> None:
        connection = self._sockets.pop(server, None)
        if connection:
            self._poll.unregister(connection)
            connection.close()

    def send(self, server: Server) -> None:
        """Ask a server, or ask it again."""
        self.asked.setdefault(server, self._clock())
        try:
            if server not in self._sockets:
                family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
                connection = socket.socket(family, socket.SOCK_DGRAM)
                self._sockets[server] = connection
                self._poll.register(connection, select.POLLIN)
                connection.setblocking(False)
                connection.connect(dns.inet.low_level_address_tuple(server))
            self._sockets[server].send(self._wire)
        except OSError:
            self._refuse(server)

    def _refuse(self, server: Server) -> None:
        self.refused.add(server)
        self._drop(server)

    def receive(self, until: float) -> Reply | None:
        """The first reply that can be used; None where there is none by then, or nobody to wait for."""
        while self._sockets and (left := until - self._clock()) > 0:
            ready = {number for number, _ in self._poll.poll(1000 * left)}
            for server, connection in list(self._sockets.items()):
                if connection.fileno() in ready and (reply := self._read(server, connection)):
                    return reply
        return None

    def _read(self, server: Server, connection: socket.socket) -> Reply | None:
        """One datagram. What is no response to our question is passed over: the genuine one may follow."""
        try:
            data = connection.recv(_LARGEST)
        except BlockingIOError:
            return None
        except OSError:  # ICMP: port or host unreachable
            self._refuse(server)
            return None
        response = _parse(data)
        if response is None or not self._query.is_response(response):
            return None
        self.heard.add(server)
        if response.flags & dns.flags.TC:
            response = self._over_tcp(server)
        reply = _reply(response, self._query) if response else None
        if reply is None:
            self.failed.add(server)
            self._drop(server)
        return reply

    def _over_tcp(self, server: Server) -> dns.message.Message | None:
        """The whole answer. With other servers to ask it may take half of the time that is left."""
        left = self._deadline - self._clock()
        until = self._clock() + (left if len(self.asked) == 1 else left / 2)
        try:
            with socket.create_connection(server, max(until - self._clock(), 0.001)) as connection:
                connection.sendall(struct.pack("!H", len(self._wire)) + self._wire)
                (length,) = struct.unpack("!H", self._take(connection, 2, until))
                if length > _LARGEST:
                    return None
                response = _parse(self._take(connection, length, until))
        except OSError:
            return None
        whole = response and self._query.is_response(response) and not response.flags & dns.flags.TC
        return response if whole else None

    def _take(self, connection: socket.socket, length: int, until: float) -> bytes:
        """So many octets, however slowly they come. Raises OSError where they do not come in time."""
        data = b""
        while len(data) < length:
            connection.settimeout(max(until - self._clock(), 0.001))
            piece = connection.recv(length - len(data))
            if not piece or self._clock() > until:
                raise TimeoutError
            data += piece
        return data


def _parse(data: bytes) -> dns.message.Message | None:
    if len(data) >= _HEADER.size and sum(_HEADER.unpack_from(data)[3:]) > _MOST_RECORDS:
        return None
    try:
        return dns.message.from_wire(data, raise_on_truncation=True)
    except dns.message.Truncated as truncated:  # cut anywhere: its header and question are enough
        return cast(dns.message.Message, truncated.kwargs["message"])
    except (dns.exception.DNSException, ValueError):
        return None


def _reply(response: dns.message.Message, query: dns.message.QueryMessage) -> Reply | None:
    """What a response says, CNAMEs followed; None where the server failed, or what it says cannot be."""
    if response.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return None
    if not isinstance(response, dns.message.QueryMessage):
        return None
    try:
        chain = response.resolve_chaining()
    except dns.exception.DNSException:  # a loop of CNAMEs, an answer for a name that is not
        return None
    if response.rcode() == dns.rcode.NXDOMAIN:
        found = DnsAnswer(DnsStatus.NO_NAME)
    else:
        found = answer(chain.answer or (), dns.rdatatype.to_text(query.question[0].rdtype))
    # RFC 2308 §5: what is not there is remembered for as long as the SOA says, and without one not at all.
    certain = found.records or any(rrset.rdtype == dns.rdatatype.SOA for rrset in response.authority)
    return Reply(found, chain.minimum_ttl if certain else 0)
