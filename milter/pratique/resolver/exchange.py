"""One question on its way: the sockets it is sent over, and the responses that come."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable

import dns.flags
import dns.inet
import dns.message

from .responses import Reply, parse, reply_of

Server = tuple[str, int]

_LARGEST = 16_384  # octets of an answer, over TCP as well


class Exchange:
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
        response = parse(data)
        if response is None or not self._query.is_response(response):
            return None
        self.heard.add(server)
        if response.flags & dns.flags.TC:
            response = self._over_tcp(server)
        reply = reply_of(response, self._query) if response else None
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
                response = parse(self._take(connection, length, until))
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
