#!/usr/bin/env python
"""What hostile messages cost, next to an honest one of the same size.

    .venv/bin/python tests/bench/hostile.py                  every shape, in this process
    .venv/bin/python tests/bench/hostile.py --only spf:      shapes whose name holds a text
    .venv/bin/python tests/bench/hostile.py --service        through a real `pratique run` and a real DNS server

The honest message is a notice of a platform on the shipped list: signed (RSA of 2048 bits, relaxed/relaxed, eight
fields), SPF passes too, its body an attachment in base64. It is verified. A cost is CPU time, the median of several
runs, with the header collected field by field and the body in pieces of 65,535 octets, as libmilter hands them over.
In this process a hostile message finds no name of its own in a cache; an honest one is remembered.
Exit status 1 where a shape costs more than `--bound` times the honest message, and more than `--floor` milliseconds.
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import cProfile
import functools
import gc
import ipaddress
import os
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from bench import shapes
from bench.shapes import Message, Records, Shape, Zone
from pratique import config, record
from pratique.examine import Examination
from pratique.headers import HeaderCollector
from pratique.model import Session, Settings

from harness import corpus
from harness.dns_server import DnsServer
from harness.milter_client import MilterClient
from harness.service import Service

PIECE = 65_535
ENOUGH, MOST = 0.2, 200  # CPU seconds, which the kernel counts in hundredths, and messages for one measurement
Measure = Callable[[Message], tuple[float, str]]
"""CPU seconds, and the verdict with its reason."""


def case(entries: int, named: str = "") -> corpus.Case:
    """The shipped list, with an address that has a wildcard, and as many more entries, or 300 of a name."""
    entries, named = (300, named) if named else (entries, "Platform {}")
    senders = {"visma-opic": {"addresses": ["noreply.opic@visma.com", "alert-*@visma.com"]}} | {
        f"more-{n}": {"name": named.format(n), "domain": f"p{n}.example", "addresses": [f"notice-*@p{n}.example"]}
        for n in range(entries)
    }
    return corpus.Case("bench", "", "", b"", "", {}, {}, {"subject_tag": "[?]"}, senders)


# ---- in this process -----------------------------------------------------------------------------------


def in_process(settings: Settings) -> Measure:
    def measure(message: Message) -> tuple[float, str]:
        gc.collect()
        if not message.remembered:
            shapes.forget()
        started = time.process_time()
        verdict = judge(message, settings)
        return time.process_time() - started, verdict

    return measure


def judge(message: Message, settings: Settings) -> str:
    """What the filter does with a message between the MTA's first field and its own last edit."""
    client = ipaddress.ip_address(message.client)
    session = Session(client, "out.mailer.example", message.mail_from, ("<a@b.example>",), 1)
    collector = HeaderCollector(settings)
    for name, value in message.fields:
        collector.add(name, value)
    header = collector.header()
    examination = Examination(session, header, settings, datetime.now(UTC))
    for start in range(0, len(message.body), PIECE):
        if not examination.wants_body:
            break
        examination.body(message.body[start : start + PIECE])
    decision = examination.decide(Zone({**shapes.KEYS, **message.dns}))
    record.logfmt("4Tn2Kx6Zz1", record.fields(decision, session, header, 1, settings.mode))
    edits = len(decision.edits)
    return f"{decision.verdict} {decision.reason or ''}" + (f", {edits} edits" if edits > 2 else "")


# ---- through the service -------------------------------------------------------------------------------


@contextmanager
def through_service(shape: Shape, entries: int) -> Iterator[Measure]:
    """CPU time of the whole process of `pratique run`, which asks a real DNS server over the loopback."""
    records = {**shapes.KEYS, **shape.make(shape.sizes[0]).dns}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pratique-bench-")))
        dns = stack.enter_context(DnsServer(zone_text(records)))
        socket = f"unix:{folder}/milter.sock"
        settings = {"socket": socket, "dns": {"servers": [dns.address], "cache": False}}
        service = stack.enter_context(
            Service(corpus.write_config(folder, case(entries, shape.named), **settings), socket)
        )

        def measure(message: Message) -> tuple[float, str]:
            before, sent = cpu_of(service.pid), 0
            while sent == 0 or (cpu_of(service.pid) - before < ENOUGH and sent < MOST):
                with MilterClient(socket, timeout=600) as client:
                    client.connect(message.client, helo="out.mailer.example")
                    outcome = client.message(
                        message.fields, message.body, mail_from=message.mail_from, raw=True, chunk=PIECE
                    )
                sent += 1
            top = next((value.decode() for _, value in outcome.fields[:1] if outcome.edits), outcome.response)
            verdict = top.strip().partition("; host")[0]
            return (cpu_of(service.pid) - before) / sent, f"{verdict}, {len(outcome.edits)} edits"

        yield measure


def cpu_of(pid: int) -> float:
    """Seconds, user and system, of a process and the children it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def zone_text(records: Records) -> str:
    lines = []
    for (name, rdtype), values in records.items():
        for value in values:
            if isinstance(value, bytes):
                strings = [value[i : i + 250] for i in range(0, len(value), 250)] or [b""]
                shown = " ".join('"' + s.decode().replace("\\", "\\\\").replace('"', '\\"') + '"' for s in strings)
            else:
                shown = f"{value[0]} {value[1]}." if isinstance(value, tuple) else f"{value}{'.' * (rdtype == 'PTR')}"
            lines.append(f"{name}. 300 IN {rdtype} {shown}")
    return "\n".join(lines) + "\n"


# ---- the table -----------------------------------------------------------------------------------------


def median(measure: Measure, message: Message, repeat: int) -> tuple[float, str]:
    """What takes long is not measured often."""
    runs = [measure(message)]
    while len(runs) < repeat and sum(cost for cost, _ in runs) < 5:
        runs.append(measure(message))
    return statistics.median(cost for cost, _ in runs), runs[-1][1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="TEXT", help="shapes whose name holds this; may be repeated")
    parser.add_argument("--sizes", type=int, nargs="+", help="only these of the sizes of a shape")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each, of which the median counts (5)")
    parser.add_argument("--entries", type=int, default=0, help="entries added to the shipped list (0)")
    parser.add_argument("--bound", type=float, default=5, help="how many times the honest cost is allowed (5)")
    parser.add_argument("--floor", type=float, default=0, help="milliseconds that are always allowed (0)")
    parser.add_argument("--over", type=float, default=0, help="show only ratios above this")
    parser.add_argument("--service", action="store_true", help="through `pratique run`")
    parser.add_argument("--profile", action="store_true", help="show where the time goes, for each shape (in process)")
    parser.add_argument("--list", action="store_true", help="only name the shapes")
    options = parser.parse_args()
    chosen = [s for s in shapes.SHAPES if not options.only or any(text in s.name for text in options.only)]
    if options.list:
        print("\n".join(f"{shape.name}  {shape.sizes}" for shape in chosen))
        return 0

    @functools.cache
    def settings_of(named: str) -> Settings:
        with tempfile.TemporaryDirectory() as folder:
            return config.load(corpus.write_config(Path(folder), case(options.entries, named)))

    if options.profile:
        for shape in chosen:
            profile(shape, settings_of(shape.named), options.sizes)
        return 0
    if options.service:
        return table(chosen, lambda shape: through_service(shape, options.entries), options)
    return table(chosen, lambda shape: nullcontext(in_process(settings_of(shape.named))), options)


def table(
    chosen: list[Shape], measuring: Callable[[Shape], AbstractContextManager[Measure]], options: argparse.Namespace
) -> int:
    honest: dict[tuple[str, int], float] = {}  # by the names of the list, and by size
    rows = []
    print(f"{'shape':48} {'size':>10} {'CPU ms':>10} {'honest':>9} {'ratio':>7}  verdict", flush=True)
    for shape in chosen:
        sizes = [size for size in shape.sizes if not options.sizes or size in options.sizes]
        if not sizes:
            continue
        with measuring(shape) as measure:
            for size in sizes:
                message = shape.make(size)
                real = round(message.size, -3)
                like = shape.named, real
                if like not in honest:
                    honest[like], verdict = median(measure, shapes.honest(real), max(9, options.repeat))
                    assert verdict.startswith("verified"), verdict
                cost, verdict = median(measure, message, options.repeat)
                ratio = cost / honest[like]
                rows.append((ratio, cost))
                if ratio >= options.over:
                    line = (
                        f"{shape.name:48} {message.size:10} {1000 * cost:10.2f} {1000 * honest[like]:9.2f} {ratio:7.1f}"
                    )
                    print(f"{line}  {verdict}", flush=True)
    beyond = [cost for ratio, cost in rows if ratio > options.bound and 1000 * cost > options.floor]
    print(f"{len(rows)} measured, {len(beyond)} above {options.bound:g} times the honest message of their size")
    return 1 if beyond else 0


def profile(shape: Shape, settings: Settings, sizes: list[int] | None) -> None:
    for size in sizes or shape.sizes[-1:]:
        message = shape.make(size)
        print(f"\n==== {shape.name}, {message.size} octets")
        with cProfile.Profile() as profiler:
            judge(message, settings)
        pstats.Stats(profiler).sort_stats("tottime").print_stats(12)


if __name__ == "__main__":
    sys.exit(main())
