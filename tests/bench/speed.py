#!/usr/bin/env python
"""What Pratique costs, beside a milter that does nothing and OpenDKIM: see tests/bench/run.

The figure to compare is CPU time a message: that of all processes of a milter, divided by the messages it had. Rate and
latency are those of a sender written in Python on the same cores, and so no more than a lower and an upper bound.
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from bench import load
from bench.shapes import Message

from harness import corpus
from harness.dns_server import DnsServer
from harness.milter_client import wait_ready
from harness.opendkim import OpenDkim
from harness.ports import Server, free_port
from harness.postfix import Postfix
from harness.service import Service

CASE = corpus.Case("bench", "", "", b"", "", {}, {}, {}, {})
PRATIQUE, NOTHING, OPENDKIM = "pratique", "nothing", "opendkim"

# mail, connections; then what Pratique may cost at most, as a multiple of a peer
TARGETS: list[tuple[str, int, dict[str, float]]] = [
    ("mix", 1, {}),
    ("mix", 8, {NOTHING: 1.0, OPENDKIM: 0.45}),
    ("ordinary-50k", 8, {NOTHING: 1.0}),
    ("claimed-4k", 8, {OPENDKIM: 1.0}),
    ("claimed-50k", 8, {OPENDKIM: 0.8}),
    ("claimed-1m", 8, {OPENDKIM: 0.8}),
    ("claimed-10m", 8, {OPENDKIM: 0.8}),
]


# ---- the milters -----------------------------------------------------------------------------------------


@contextmanager
def pratique(folder: Path, dns: DnsServer, **settings: object) -> Iterator[tuple[str, int]]:
    address = f"unix:{folder}/pratique.sock"
    config = corpus.write_config(folder, CASE, socket=address, dns={"servers": [dns.address]}, **settings)
    with Service(config, address) as service:
        yield address, service.pid


@contextmanager
def nothing(folder: Path, _: DnsServer) -> Iterator[tuple[str, int]]:
    address = f"unix:{folder}/nothing.sock"
    server = Server([sys.executable, ROOT / "tests/bench/nothing.py", address], folder / "nothing.log")
    try:
        wait_ready(address)
        yield address, server.pid
    finally:
        server.end(patience=0)


@contextmanager
def opendkim(_: Path, dns: DnsServer) -> Iterator[tuple[str, int]]:
    with OpenDkim(dns, busy=True) as server:
        yield server.address, server.pid


Start = Callable[[Path, DnsServer], AbstractContextManager[tuple[str, int]]]
PEERS: dict[str, Start] = {PRATIQUE: pratique, NOTHING: nothing, OPENDKIM: opendkim}


# ---- the table of targets ----------------------------------------------------------------------------------


def targets(seconds: float, rounds: int) -> int:
    """Every milter on all mail, in turn, several times; the median counts."""
    measured: dict[tuple[str, str, int], list[load.Sent]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pratique-bench-")))
        dns = stack.enter_context(DnsServer(load.ZONE))
        running = {name: stack.enter_context(start(folder, dns)) for name, start in PEERS.items()}
        for name, connections, _ in TARGETS:
            mail = load.corpus(name)
            for address, pid in running.values():
                load.send(address, pid, mail, connections, 0.5)
            for _ in range(rounds):
                for peer, (address, pid) in running.items():
                    sent = load.send(address, pid, mail, connections, seconds)
                    measured.setdefault((peer, name, connections), []).append(sent)
            print(f"{name}, {connections} connections: measured", file=sys.stderr, flush=True)
    print("CPU milliseconds a message, medians\n")
    print("| mail, connections | pratique | does nothing | opendkim | to be reached | |\n|---|---|---|---|---|---|")
    missed = 0
    for name, connections, wanted in TARGETS:
        cost = {peer: statistics.median(s.cpu for s in measured[peer, name, connections]) for peer in PEERS}
        ratios = {peer: cost[PRATIQUE] / cost[peer] for peer in wanted}
        reached = all(ratios[peer] <= most for peer, most in wanted.items())
        missed += not reached
        said = ", ".join(f"{ratios[peer]:.2f} x {peer} (at most {most})" for peer, most in wanted.items())
        figures = " | ".join(f"{cost[peer]:.2f}" for peer in PEERS)
        print(f"| {name}, c={connections} | {figures} | {said or 'no target'} | {'reached' if reached else 'MISSED'} |")
    print(
        "\nOpenDMARC may be counted beside OpenDKIM for claimed mail; it asks the system's resolver, and is left out."
    )
    return memory() + missed


def memory() -> int:
    """What two idle workers take, and what each message in flight adds."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pratique-bench-")))
        dns = stack.enter_context(DnsServer(load.ZONE))
        address, pid = stack.enter_context(pratique(folder, dns, workers=2))
        time.sleep(1)
        idle = load.memory_of(pid)
        notice = load.claimed(10 << 20)
        load.send(address, pid, [notice], 8, 1)
        with load.busy(address, notice, 8):
            before = load.memory_of(pid)
        with load.busy(address, notice, 40):
            added = (load.memory_of(pid) - before) / 32
    print(f"\nMemory (PSS): {idle:.0f} MiB with two idle workers (at most 80); {added:.2f} MiB more for each message")
    print("of 10 MiB in flight (at most 1).")
    return (idle > 80) + (added > 1)


# ---- scaling ----------------------------------------------------------------------------------------------

WORKERS, CONNECTIONS = (1, 2, 4, 8), (1, 4, 16, 64, 256)


def scaling(seconds: float) -> int:
    """How cost, rate and latency go with workers and connections; writes the plot of the first."""
    rows: dict[int, list[load.Sent]] = {}
    mail = load.corpus("mix")
    with DnsServer(load.ZONE) as dns:
        for workers in WORKERS:
            with ExitStack() as stack:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pratique-bench-")))
                address, pid = stack.enter_context(pratique(folder, dns, workers=workers))
                load.send(address, pid, mail, 8, 1)
                rows[workers] = [load.send(address, pid, mail, c, seconds, 2 * c) for c in CONNECTIONS]
            print(f"{workers} workers: measured", file=sys.stderr, flush=True)
    print(
        "| workers | connections | CPU ms a message | messages a second | p50 ms | p99 ms |\n|---|---|---|---|---|---|"
    )
    for workers, found in rows.items():
        for connections, sent in zip(CONNECTIONS, found, strict=True):
            figures = f"{sent.cpu:.2f} | {sent.rate:.0f} | {sent.latency(0.5):.1f} | {sent.latency(0.99):.1f}"
            print(f"| {workers} | {connections} | {figures} |")
    plot(rows, ROOT / "docs" / "performance.svg")
    return 0


def plot(rows: dict[int, list[load.Sent]], place: Path) -> None:
    from matplotlib import pyplot  # type: ignore[import-not-found,import-untyped,unused-ignore]

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
    for workers, found in rows.items():
        left.plot(CONNECTIONS, [s.cpu for s in found], marker="o", label=f"{workers} workers")
        right.plot(CONNECTIONS, [s.latency(0.99) for s in found], marker="o", label=f"{workers} workers")
    for axes, title in ((left, "CPU ms a message"), (right, "99 % of the messages within … ms")):
        axes.set(xscale="log", xticks=CONNECTIONS, xticklabels=CONNECTIONS, xlabel="connections", title=title, ylim=0)
        axes.legend()
    right.set(yscale="log", ylim=(1, None))
    figure.tight_layout()
    figure.savefig(place, metadata={"Date": None})


# ---- through Postfix --------------------------------------------------------------------------------------


def through_postfix(count: int) -> int:
    """How long a message takes from the end of its data to Postfix's reply: without a filter, with it on a unix
    socket, and on an inet one."""
    print("| 4 KiB, one after the other | p50 ms | p99 ms |\n|---|---|---|")
    for kind, message in (("ordinary", load.ordinary(4096)), ("claimed", load.claimed(4096))):
        for socket in ("no filter", "unix", "inet"):
            took = sorted(_postfix_times(socket, message, count))
            print(f"| {kind}, {socket} | {1000 * took[count // 2]:.1f} | {1000 * took[count * 99 // 100]:.1f} |")
    return 0


def _postfix_times(socket: str, message: Message, count: int) -> Iterator[float]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pratique-bench-")))
        dns = stack.enter_context(DnsServer(load.ZONE))
        postfix = Postfix()
        port = free_port()
        theirs, ours = {
            "unix": ("unix:pratique/milter.sock", f"unix:{postfix.socket_directory}/milter.sock"),
            "inet": (f"inet:127.0.0.1:{port}", f"inet:{port}@127.0.0.1"),
        }.get(socket, ("", ""))
        if ours:
            config = corpus.write_config(folder, CASE, socket=ours, dns={"servers": [dns.address]})
            stack.enter_context(Service(config, ours))
        postfix.main_cf["smtpd_milters"] = theirs
        stack.enter_context(postfix)
        text = b"".join(b"%s:%s\r\n" % field for field in message.fields) + b"\r\n" + message.body
        for _ in range(count):
            with postfix.connect(message.client) as connection:
                for command in (f"MAIL FROM:{message.mail_from}", "RCPT TO:<marches@commune.example>", "DATA"):
                    connection.command(command.encode())
                started = time.perf_counter()
                connection.socket.sendall(text + b".\r\n")
                reply = connection.reply()
                yield time.perf_counter() - started
            if reply.code != 250:
                raise RuntimeError(f"Postfix said {reply}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter runs")
    parser.add_argument("--scaling", action="store_true", help="workers and connections")
    parser.add_argument("--postfix", action="store_true", help="latency through Postfix")
    options = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}\n")
    if options.scaling:
        return scaling(1 if options.quick else 4)
    if options.postfix:
        return through_postfix(100)
    return targets(1 if options.quick else 4, 1 if options.quick else 3)


if __name__ == "__main__":
    sys.exit(main())
