"""Mail for the benchmarks, and connections that send it to a milter as Postfix does.

The mail: notices of a platform (`claimed`), signed and with SPF, and mail of others (`ordinary`) with forty header
fields and a signature. `mix` is what a site receives: one claimed message in a hundred, mean 71 KiB.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from bench.shapes import DOMAIN, Field, Message, body_hash, header, text

from harness.milter_client import MilterClient
from harness.signing import Sign, key_record, sign

KIB = 1024
SIZES = {"4k": 4 * KIB, "50k": 50 * KIB, "1m": KIB * KIB, "10m": 10 * KIB * KIB}
CLAIMED, OTHERS = "192.0.2.10", "198.51.100.10"
ZONE = (
    f"s1._domainkey.{DOMAIN}. 300 IN TXT "
    + " ".join(f'"{key_record()[i : i + 200]}"' for i in range(0, len(key_record()), 200))
    + f'\n{DOMAIN}. 300 IN TXT "v=spf1 ip4:192.0.2.0/24 -all"\n'
    + "".join(
        f"s1._domainkey.brand{n}.example. 300 IN CNAME s1._domainkey.{DOMAIN}.\n"
        f'brand{n}.example. 300 IN TXT "v=spf1 ip4:198.51.100.0/24 -all"\n'
        for n in range(25)
    )
)


def claimed(size: int) -> Message:
    """A notice of the platform: it is verified, by DKIM and SPF."""
    return _signed(header(), text(size - 1_000), DOMAIN, f"<bounce@{DOMAIN}>", CLAIMED)


def ordinary(size: int, brand: int = 0) -> Message:
    """A newsletter: forty fields, its own signature."""
    domain = f"brand{brand}.example"
    more = {f"X-Campaign-{n}": b" " + b"%x" % (n * 7919**3) * 5 for n in range(30)}
    fields = header(
        From=f" Brand <news@{domain}>".encode(), **{"List-Unsubscribe": b" <https://brand.example/u>"}, **more
    )
    return _signed(fields, text(size - 3_000), domain, f"<bounce@{domain}>", OTHERS)


def _signed(fields: list[Field], body: bytes, domain: str, mail_from: str, client: str) -> Message:
    lines = b"".join(name + b":" + value + b"\r\n" for name, value in fields) + b"\r\n"
    how = Sign(domain, "s1", tags={"bh": body_hash(body, "relaxed")})
    signature = sign(lines, how).removesuffix(lines).removesuffix(b"\r\n").partition(b":")[2]
    return Message([(b"DKIM-Signature", signature), *fields], body, mail_from, client)


def corpus(name: str) -> list[Message]:
    """`mix`, or KIND-SIZE such as claimed-4k; the same at every call."""
    if name == "mix":
        sizes = ["4k"] * 60 + ["50k"] * 35 + ["1m"] * 5
        random.Random(1).shuffle(sizes)
        mixed = [ordinary(SIZES[size], n % 25) for n, size in enumerate(sizes[1:])]
        return [claimed(SIZES["4k"]), *mixed]
    kind, _, size = name.partition("-")
    return [claimed(SIZES[size])] if kind == "claimed" else [ordinary(SIZES[size], n) for n in range(5)]


# ---- sending -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """What became of a load: CPU milliseconds of the milter for each message, messages a second, and how long the
    messages took, in seconds, shortest first."""

    cpu: float
    rate: float
    latencies: list[float]

    def latency(self, part: float) -> float:
        """Milliseconds within which this part of the messages was through."""
        return 1000 * self.latencies[min(int(part * len(self.latencies)), len(self.latencies) - 1)]


Judge = Callable[[Message, tuple[bytes, ...]], bool]


def send(address: str, pid: int, mail: list[Message], connections: int, seconds: float, least: int = 20) -> Sent:
    """Send for some seconds over so many connections at a time, each for one message as most mail comes, and at
    least so many messages. Raises RuntimeError where the milter answers anything but that the mail may pass."""
    context = multiprocessing.get_context("fork")
    processes = min(2, connections)
    shares = [connections // processes + (n < connections % processes) for n in range(processes)]
    before, started = cpu_of(pid), time.monotonic()
    ends = []
    for share in shares:
        ours, theirs = context.Pipe()
        work = context.Process(
            target=_sender, args=(theirs, address, mail, share, started + seconds, least / connections)
        )
        work.start()
        ends.append((work, ours))
    latencies: list[float] = []
    for work, end in ends:
        result = end.recv()
        work.join()
        if isinstance(result, str):
            raise RuntimeError(f"{address}: {result}")
        latencies += result
    taken = time.monotonic() - started
    spent = cpu_of(pid) - before
    return Sent(1000 * spent / len(latencies), len(latencies) / taken, sorted(latencies))


def _sender(end: Connection, address: str, mail: list[Message], connections: int, until: float, least: float) -> None:
    """One process of senders, a thread for each connection."""
    latencies: list[float] = []
    problems: list[str] = []

    def work(number: int) -> None:
        place, done = number * 7, 0
        while not problems and (time.monotonic() < until or done < least):
            message = mail[place % len(mail)]
            try:
                latencies.append(_one(address, message))
            except (OSError, RuntimeError) as problem:
                problems.append(f"{problem!r}")
            place += 1
            done += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    end.send(problems[0] if problems else latencies)


def _one(address: str, message: Message) -> float:
    started = time.perf_counter()
    with MilterClient(address, timeout=120) as client:
        client.connect(message.client, helo="out.mailer.example")
        outcome = client.message(message.fields, message.body, mail_from=message.mail_from, raw=True)
    if outcome.response not in ("continue", "accept"):
        raise RuntimeError(f"the milter said {outcome}")
    return time.perf_counter() - started


# ---- the milter's processes ------------------------------------------------------------------------------


def family(pid: int) -> list[int]:
    """A process and all that it has started."""
    parents = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(place.parent.name)] = int(fields[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def cpu_of(pid: int) -> float:
    """CPU seconds, user and system, of a process and all that it has started."""
    ticks = 0
    for one in family(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_of(pid: int) -> float:
    """MiB, shared pages divided among those that share them (PSS)."""
    total = 0
    for one in family(pid):
        rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
        total += int(rollup.partition("\nPss:")[2].split()[0])
    return total / 1024


@contextmanager
def busy(address: str, message: Message, connections: int) -> Iterator[None]:
    """So many messages in flight, each at the last piece of its body."""
    clients = [MilterClient(address, timeout=120) for _ in range(connections)]
    for client in clients:
        client.connect(message.client, helo="out.mailer.example")
        client.message(message.fields, message.body, mail_from=message.mail_from, raw=True, until="body")
    try:
        yield
    finally:
        for client in clients:
            client.drop()
