"""What is counted for Prometheus, and the process that serves it. Imported only where `metrics` is on.

Rules of this module: the only one that imports prometheus_client. No label comes from a message: `sender` is the id of
an entry, the others are words of ours.

Each worker counts into files of its own that are mapped into memory, and the exporter adds them up when it is asked. A
file belongs to a slot and not to a process: the next worker in the slot goes on where the last one ended. So a counter
never falls, and a hundred reloads leave no hundred files.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import prometheus_client.values
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from pratique import __version__
from pratique.model import Action, Decision, DkimResult, SpfResult, Verdict

from .crew import Source
from .log import log
from .worker import Hooks
from .zeros import Labels

# Taken from the disk at once: a page that has no room when it is first written to kills the process.
_FILES = {"counter": 1 << 18, "histogram": 1 << 16}
_TEXTS = {
    "pratique_messages": "Messages judged.",
    "pratique_dkim_results": "DKIM results of messages that claim a sender.",
    "pratique_spf_results": "SPF results of messages that claim a sender.",
}
_ZEROS = "zeros.json"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_MOST_JUDGED = 50_000  # messages that wait to be counted: hundreds, unless there is something wrong with the files
_MOST_REQUESTS = 8  # at a time
_PATIENCE = 3.0  # seconds for a whole request
_LONGEST_REQUEST = 8192  # octets
_PAUSE = 0.1  # seconds before the next try, where no connection could be accepted
ALIVE = b"."  # what the parent hears where its figures have arrived

_Judged = tuple[Verdict, Action, str, float, DkimResult | None, SpfResult | None]


class Figures(NamedTuple):
    """What the parent knows."""

    workers: int = 0
    restarts: int = 0
    generation: int = 0
    in_flight: int = 0
    reload_good: bool = True
    reload_time: float = 0.0  # of the last reload, or of the start
    source: str = Source.FILES.value
    pending: bool = False

    def packed(self) -> bytes:
        return json.dumps(self).encode()

    @classmethod
    def unpacked(cls, data: bytes) -> Figures:
        return cls(*json.loads(data))


# ---- in a worker -----------------------------------------------------------------------------------


def hooks(folder: Path, slot: int) -> Hooks:
    """The counters of the worker in a slot. Raises OSError where there is no room for them."""
    for kind, size in _FILES.items():
        descriptor = os.open(folder / f"{kind}_{slot}.db", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size)
        finally:
            os.close(descriptor)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    prometheus_client.values.ValueClass = prometheus_client.values.MultiProcessValue(lambda: slot)  # type: ignore[no-untyped-call]
    counters = _Counters(CollectorRegistry())
    return Hooks(counters.decided, counters.asked, counters.write)


class _Counters:
    def __init__(self, registry: CollectorRegistry) -> None:
        counter = functools.partial(Counter, registry=registry)
        histogram = functools.partial(Histogram, registry=registry, buckets=_SECONDS)
        messages = counter("pratique_messages", _TEXTS["pratique_messages"], ("verdict", "action", "sender"))
        self._messages = functools.lru_cache(1024)(messages.labels)  # the search for one costs more than to count it
        self._checks = histogram("pratique_check_duration_seconds", "Time from end of message to the decision.")
        self._dkim = counter("pratique_dkim_results", _TEXTS["pratique_dkim_results"], ("result",))
        self._spf = counter("pratique_spf_results", _TEXTS["pratique_spf_results"], ("result",))
        self._queries = counter("pratique_dns_queries", "Questions that went to the network.", ("type", "status"))
        self._query_time = histogram("pratique_dns_query_seconds", "Time until DNS answered, or did not.")
        self._stale = counter("pratique_dns_stale_answers", "Old answers that stood in for failed ones.")

        self._judged: deque[_Judged] = deque(maxlen=_MOST_JUDGED)

    def decided(self, decision: Decision, seconds: float) -> None:
        """Keep in mind what `write` counts, in one go: between two messages it costs three times as much."""
        dkim = spf = None
        if decision.claim.needs_evidence:
            dkim, spf = decision.evidence.dkim_result, decision.evidence.spf.result
        self._judged.append((decision.verdict, decision.action, decision.sender or "", seconds, dkim, spf))

    def write(self) -> None:
        """Count what was judged since the last time."""
        while self._judged:
            verdict, action, sender, seconds, dkim, spf = self._judged.popleft()
            self._messages(verdict.value, action.value, sender).inc()
            self._checks.observe(seconds)
            if dkim and spf:
                self._dkim.labels(dkim.value).inc()
                self._spf.labels(spf.value).inc()

    def asked(self, rdtype: str, status: str, seconds: float, stale: bool) -> None:
        """One question to DNS: what came of it on the network, and whether an old answer was given instead."""
        self._queries.labels(rdtype, status).inc()
        self._query_time.observe(seconds)
        if stale:
            self._stale.inc()


# ---- in the exporter -------------------------------------------------------------------------------


def export(listening: socket.socket, folder: Path, parent: socket.socket) -> None:
    """Serve all workers' figures over HTTP; what only the parent knows it sends, and is told that we live."""
    known = _Known()
    registry = CollectorRegistry()
    registry.register(known)
    registry.register(_Counted(folder))
    server = None
    while data := parent.recv(4096):
        known.figures = Figures.unpacked(data)
        parent.send(ALIVE)
        if server is None:  # not earlier: no figure is wrong
            server = _Server(listening, registry)
            server.start()


def tell_zeros(folder: Path, found: list[Labels]) -> None:
    """In the parent: say which counters the exporter is to show at 0. Raises OSError."""
    new = folder / "zeros.new"
    new.write_text(json.dumps(found))
    new.replace(folder / _ZEROS)


class _Counted(Collector):
    """What all workers have counted, and 0 for what can be counted and has not been yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._workers = MultiProcessCollector(None, str(folder))  # type: ignore[no-untyped-call]

    def collect(self) -> Iterator[Metric]:
        missing: dict[str, tuple[tuple[str, ...], list[tuple[str, ...]]]] = {
            "pratique_messages": (("verdict", "action", "sender"), self._zeros()),
            "pratique_dkim_results": (("result",), [(result.value,) for result in DkimResult]),
            "pratique_spf_results": (("result",), [(result.value,) for result in SpfResult]),
        }
        for metric in self._workers.collect():  # type: ignore[no-untyped-call]
            if wanted := missing.pop(metric.name, None):
                _fill(metric, *wanted)
            yield metric
        for name, wanted in missing.items():  # no worker has counted anything
            metric = CounterMetricFamily(name, _TEXTS[name])
            _fill(metric, *wanted)
            yield metric

    def _zeros(self) -> list[tuple[str, ...]]:
        try:
            return [tuple(labels) for labels in json.loads((self._folder / _ZEROS).read_text())]
        except (OSError, ValueError):
            return []


def _fill(metric: Metric, names: tuple[str, ...], wanted: Iterable[tuple[str, ...]]) -> None:
    """Give a counter the samples that it lacks."""
    there = {tuple(sample.labels[name] for name in names) for sample in metric.samples}
    for labels in wanted:
        if labels not in there:
            metric.add_sample(f"{metric.name}_total", dict(zip(names, labels, strict=True)), 0.0)


class _Known(Collector):
    figures = Figures()

    def collect(self) -> Iterator[Metric]:
        now = self.figures
        gauges = (
            ("pratique_workers", "Workers that serve, those of old generations included.", now.workers),
            ("pratique_generation", "Counts the configurations taken into use since the start.", now.generation),
            ("pratique_messages_in_flight", "Messages that have begun and are not answered.", now.in_flight),
            ("pratique_config_pending", "Whether the files differ from what is in force.", now.pending),
            ("pratique_last_reload_success", "Whether the last reload took the files.", now.reload_good),
            ("pratique_last_reload_timestamp_seconds", "When the last reload was tried.", now.reload_time),
        )
        for name, text, value in gauges:
            yield GaugeMetricFamily(name, text, value=float(value))
        text = "Where the configuration in force comes from: last-good, if the files were wrong at the start."
        in_force = GaugeMetricFamily("pratique_config_in_force", text, labels=("source",))
        for source in Source:
            in_force.add_metric((source.value,), float(source == now.source))
        yield in_force
        text = "Workers that ended and were replaced."
        yield CounterMetricFamily("pratique_worker_restarts", text, value=float(now.restarts))
        build = GaugeMetricFamily("pratique_build_info", "Which Pratique this is.", labels=("version",))
        build.add_metric((__version__,), 1.0)
        yield build


class _Server:
    """Answers HTTP requests, so many at a time; the others wait in the queue of the socket.

    A client that says nothing, or too much, or does not read, is dropped without a word: the log is about mail.
    """

    def __init__(self, listening: socket.socket, registry: CollectorRegistry) -> None:
        self._listening = listening
        self._registry = registry
        listening.setblocking(True)

    def start(self) -> None:
        for _ in range(_MOST_REQUESTS):
            threading.Thread(target=self._serve, name="metrics", daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:  # the client is gone, or no descriptor is left
                time.sleep(_PAUSE)
                continue
            with connection:
                try:
                    self._answer(connection)
                except OSError:
                    pass
                except Exception:
                    log.exception("metrics: cannot answer a request")

    def _answer(self, connection: socket.socket) -> None:
        deadline = time.monotonic() + _PATIENCE
        request = b""
        while b"\r\n\r\n" not in request:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            piece = connection.recv(4096)
            request += piece
            if not piece or len(request) > _LONGEST_REQUEST:
                return
        answer = self._response(request.decode("latin-1"))
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        connection.sendall(answer)  # the timeout is for all of it

    def _response(self, request: str) -> bytes:
        first, *lines = request.partition("\r\n\r\n")[0].split("\r\n")
        method, _, rest = first.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status, kind, body = "200 OK", "text/plain; charset=utf-8", b""
        if method not in ("GET", "HEAD"):
            status, body = "405 Method Not Allowed", b"GET or HEAD\n"
        elif path not in ("/", "/metrics"):
            status, body = "404 Not Found", b"/metrics\n"
        else:
            encode, kind = choose_encoder(headers.get("accept", ""))
            body = encode(self._registry)
        head = f"HTTP/1.0 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + (b"" if method == "HEAD" else body)
