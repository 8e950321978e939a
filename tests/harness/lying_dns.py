"""A DNS server that does what no real one does on demand: lie, stutter, and fall silent.

Real servers answer as they should, and what must be tested is what happens when one does not (an attacker between,
a broken middlebox, a server that dies). So the answers here are the test's own: bytes, made by a function that is
given the question. Everything that a real server can be made to do is tested with unbound (dns_server.py).
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from harness.ports import free_port

Said = Iterable[bytes]
Behaviour = Callable[[dns.message.Message], Said]
"""The question to the datagrams that are sent back, in order; a generator may wait in between."""


def reply(query: dns.message.Message, *records: str, authority: tuple[str, ...] = (), rcode: str = "NOERROR") -> bytes:
    """A proper answer of records in text form: `name ttl IN type data`."""
    response = made(query, *records, authority=authority, rcode=rcode)
    return response.to_wire(max_size=65535)


def made(
    query: dns.message.Message, *records: str, authority: tuple[str, ...] = (), rcode: str = "NOERROR"
) -> dns.message.Message:
    response = dns.message.make_response(query, recursion_available=True)
    response.set_rcode(dns.rcode.from_text(rcode))
    for section, texts in ((response.answer, records), (response.authority, authority)):
        for text in texts:
            name, ttl, rdclass, rdtype, data = text.split(None, 4)
            rrset = dns.rrset.from_text(dns.name.from_text(name), int(ttl), rdclass, rdtype, data)
            same = next((r for r in section if (r.name, r.rdtype) == (rrset.name, rrset.rdtype)), None)
            if same is None:
                section.append(rrset)
            else:
                for data_of in rrset:
                    same.add(data_of)
    return response


def silence(_query: dns.message.Message) -> Said:
    return ()


class LyingDns:
    """Answers on a port of `host` over UDP by `udp`, over TCP by `tcp`, until the context is left.

    Both may be replaced at any time. `elsewhere`: what it says over UDP comes from another port than was asked.
    `drip`: over TCP it sends octet by octet, with so many seconds between.
    `asked` lists the questions, as (name, type, "udp" or "tcp").
    """

    def __init__(
        self, udp: Behaviour = silence, tcp: Behaviour = silence, host: str = "127.0.0.1", elsewhere: bool = False
    ) -> None:
        self.udp, self.tcp, self._elsewhere = udp, tcp, elsewhere
        self.drip = 0.0
        self.host, self.port = host, free_port()
        self.asked: list[tuple[str, str, str]] = []
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._threads: list[threading.Thread] = []
        self._ending = threading.Event()

    @property
    def server(self) -> tuple[str, int]:
        return self.host, self.port

    def __enter__(self) -> LyingDns:
        self._udp = socket.socket(self._family, socket.SOCK_DGRAM)
        self._tcp = socket.socket(self._family, socket.SOCK_STREAM)
        self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for listening in (self._udp, self._tcp):
            listening.bind((self.host, self.port))
            listening.settimeout(0.05)
        self._tcp.listen(16)
        self._run(self._serve_udp)
        self._run(self._serve_tcp)
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(10)
        self._udp.close()
        self._tcp.close()

    def _run(self, what: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=what, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve_udp(self) -> None:
        while not self._ending.is_set():
            with contextlib.suppress(TimeoutError):
                data, sender = self._udp.recvfrom(65535)
                self._run(self._answer_udp, data, sender)

    def _answer_udp(self, data: bytes, sender: tuple[Any, ...]) -> None:
        with socket.socket(self._family, socket.SOCK_DGRAM) as other:
            for datagram in self.udp(self._noted(data, "udp")):
                with contextlib.suppress(OSError):
                    (other if self._elsewhere else self._udp).sendto(datagram, sender)

    def _serve_tcp(self) -> None:
        while not self._ending.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self._tcp.accept()
                self._run(self._answer_tcp, connection)

    def _answer_tcp(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, struct.error):
            connection.settimeout(5)
            (length,) = struct.unpack("!H", connection.recv(2, socket.MSG_WAITALL))
            query = self._noted(connection.recv(length, socket.MSG_WAITALL), "tcp")
            for message in self.tcp(query):
                whole = struct.pack("!H", len(message)) + message
                for piece in (bytes([octet]) for octet in whole) if self.drip else (whole,):
                    connection.sendall(piece)
                    time.sleep(self.drip)

    def _noted(self, data: bytes, transport: str) -> dns.message.Message:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True)
        self.asked.append((name, dns.rdatatype.to_text(question.rdtype), transport))
        return query
