"""One question on its way: the sockets it is sent over, and the responses that come."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable

import dns.flags
import dns.inet
import dns.message
import dns.name

from .responses import HEADER, Failure, Reply, parse, refuses_edns, reply_of

Server = tuple[str, int]

_PAYLOAD = 1232  # bytes over UDP, so that nothing is fragmented (EDNS, RFC 6891)
_LARGEST = 16_384  # bytes of an answer, over TCP as well
_MOST_USELESS = 20  # datagrams with our id that are no response to our question


class Exchange:
    """One question, put to several servers until one of them answers.

    A response may come late: every socket stays open. A connected socket accepts nothing from another address, and is
    told when nobody listens. A server that leaves a query with EDNS unanswered, or refuses it, is sent one without:
    both have an id of their own, so that it is known which one was answered.
    """

    def __init__(self, name: dns.name.Name, rdtype: str, deadline: float, clock: Callable[[], float]):
        self._name, self._rdtype = name, rdtype
        self._queries = [dns.message.make_query(name, rdtype, use_edns=0, payload=_PAYLOAD)]
        self._deadline = deadline
        self._clock = clock
        self._sockets: dict[Server, socket.socket] = {}
        self._poll = select.poll()
        self._sent: dict[Server, int] = {}  # queries since it was last known that nobody listens
        self._useless: dict[Server, int] = {}
        self._refused_edns: set[Server] = set()
        self.asked: dict[Server, float] = {}
        self.heard: set[Server] = set()  # said something to the point
        self.failed: dict[Server, Failure] = {}  # of these: what cannot be used
        self.refused: set[Server] = set()  # nobody listens there
        self.answered: dict[Server, bool] = {}  # with something that can be used; whether to the query with EDNS
        self.weak: Reply | None = None  # a negative answer without SOA: an answer where no server has a better one

    @property
    def waiting(self) -> set[Server]:
        """The servers whose response may still come."""
        return set(self._sockets)

    def close(self) -> None:
        for server in list(self._sockets):
            self._drop(server)

    def _drop(self, server: Server) -> None:
        connection = self._sockets.pop(server, None)
        if connection:
            self._poll.unregister(connection)
            connection.close()

    def _query(self, plain: bool) -> dns.message.QueryMessage:
        """The question with EDNS, or the one without, which is seldom needed."""
        if plain and len(self._queries) == 1:
            self._queries.append(dns.message.make_query(self._name, self._rdtype, id=self._queries[0].id ^ 1))
        return self._queries[plain]

    def send(self, server: Server, plain: bool, every: int = 2) -> None:
        """Ask a server, or ask it again. Always without EDNS if `plain`, else only each second or third time."""
        self.asked.setdefault(server, self._clock())
        count = self._sent[server] = self._sent.get(server, 0) + 1
        query = self._query(plain or server in self._refused_edns or count % every == 0)
        try:
            if server not in self._sockets:
                family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
                connection = socket.socket(family, socket.SOCK_DGRAM)
                self._sockets[server] = connection
                self._poll.register(connection, select.POLLIN)
                connection.setblocking(False)
                connection.connect(dns.inet.low_level_address_tuple(server))
            self._sockets[server].send(query.to_wire())
        except OSError:
            self._refuse(server)

    def _refuse(self, server: Server) -> None:
        self.refused.add(server)
        self._sent.pop(server, None)
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
        query = self._asked_by(data)
        if query is None:
            return None
        said = self._said(server, query, data)
        if said is None:
            self._useless[server] = self._useless.get(server, 0) + 1
            said = Failure.NAME if self._useless[server] >= _MOST_USELESS else None
        return self._take_in(server, said, query.edns >= 0) if said else None

    def _asked_by(self, data: bytes) -> dns.message.QueryMessage | None:
        """The query that a datagram claims to answer; known without reading more than its header."""
        if len(data) < HEADER.size:
            return None
        number, flags = HEADER.unpack_from(data)[:2]
        return next((q for q in self._queries if q.id == number and flags & dns.flags.QR), None)

    def _said(self, server: Server, query: dns.message.QueryMessage, data: bytes) -> Reply | Failure | None:
        """What a datagram says; None where it is no response to the query."""
        response = parse(data)
        if response is None or not query.is_response(response):
            return Failure.EDNS if query.edns >= 0 and refuses_edns(data) else None
        if response.flags & dns.flags.TC:
            response = self._over_tcp(server, query)
        return reply_of(response, query) if response else Failure.NAME

    def _take_in(self, server: Server, said: Reply | Failure, edns: bool) -> Reply | None:
        """Note what a server said: the reply, if it is one that ends the search."""
        self.heard.add(server)
        if said is Failure.EDNS:
            if server not in self._refused_edns:
                self._refused_edns.add(server)
                self.send(server, plain=True)
            return None
        if isinstance(said, Reply):
            self.answered[server] = edns
            if said.certain:
                return said
            self.weak = self.weak or said
        self.failed[server] = said if isinstance(said, Failure) else Failure.NAME
        self._drop(server)
        return None

    def does_without_edns(self, server: Server, patience: float) -> bool:
        """Whether a server answered, but only when it was asked without EDNS."""
        waited = self._clock() - self.asked.get(server, self._clock()) >= patience and self._sent.get(server, 0) > 1
        return self.answered.get(server) is False and (server in self._refused_edns or waited)

    def _over_tcp(self, server: Server, query: dns.message.QueryMessage) -> dns.message.Message | None:
        """The whole answer. With other servers to ask it may take half of the time that is left."""
        left = self._deadline - self._clock()
        until = self._clock() + (left if len(self.asked) == 1 else left / 2)
        wire = query.to_wire()
        try:
            with socket.create_connection(server, max(until - self._clock(), 0.001)) as connection:
                connection.sendall(struct.pack("!H", len(wire)) + wire)
                (length,) = struct.unpack("!H", take(connection, 2, until, self._clock))
                if length > _LARGEST:
                    return None
                response = parse(take(connection, length, until, self._clock))
        except OSError:
            return None
        whole = response and query.is_response(response) and not response.flags & dns.flags.TC
        return response if whole else None


def take(connection: socket.socket, length: int, until: float, clock: Callable[[], float]) -> bytes:
    """So many bytes, however slowly they come. Raises OSError if they do not come in time."""
    data = b""
    while len(data) < length:
        connection.settimeout(max(until - clock(), 0.001))
        piece = connection.recv(length - len(data))
        if not piece or clock() > until:
            raise TimeoutError
        data += piece
    return data
