"""Mail that is in hand, and mail that comes, while something beside the service fails: DNS, peers, limits, the log.

All of it with a real `pratique run`. Ordinary mail needs no DNS; claimed mail waits for a server that says nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import select
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from test_service import FIELDS, configured, imitation, running, send, state, tag

from harness.lying_dns import LyingDns
from harness.milter_client import ACTIONS, STEPS, MilterClient, Outcome, open_socket, wait_ready
from harness.ports import free_port, wait_until
from harness.service import PROGRAM

CLAIMED = [(b"From", b" <notices@shop.example>"), (b"Subject", b" Tender")]
ORDINARY = [(b"From", b" <a@other.example>"), (b"Subject", b" Lunch")]


# ---- ordinary mail does not wait for DNS ---------------------------------------------------------------


def claimed_or_ordinary(client: MilterClient, number: int, claimed: bool) -> Outcome:
    """One message; a claimed one has a MAIL FROM of its own, so that DNS is asked for each."""
    mail_from = f"b@m{number}.shop.example" if claimed else "b@other.example"
    return client.message(CLAIMED if claimed else ORDINARY, b"text\r\n", mail_from=mail_from)


@pytest.mark.parametrize("kind", ["unix", "inet"])
@pytest.mark.parametrize("opened", ["new connections", "connections that were open"])
def test_ordinary_mail_does_not_wait_for_the_dns_of_claimed_mail(kind: str, opened: str, tmp_path: Path) -> None:
    """All workers stand still for a moment, so that libmilter finds sixteen connections at once."""
    standstill, claimed, ordinary = 0.3, 8, 8
    more = {"socket": f"inet:{free_port()}@127.0.0.1"} if kind == "inet" else {}
    with LyingDns() as dns, running(tmp_path, workers=1, dns={"servers": [f"127.0.0.1:{dns.port}"]}, **more) as service:
        before = service.children()

        def connected(_: int) -> MilterClient:
            client = MilterClient(service.address, 30)
            client.connect()
            return client

        def sender(number: int) -> float:
            started = time.monotonic()
            with waiting.pop() if opened != "new connections" else connected(number) as client:
                outcome = claimed_or_ordinary(client, number, number < claimed)
            assert number < claimed or tag(outcome).startswith("unclaimed")
            return time.monotonic() - started

        with ThreadPoolExecutor(claimed + ordinary) as pool:
            waiting = list(pool.map(connected, range(claimed + ordinary))) if opened != "new connections" else []
            for pid in before:
                os.kill(pid, signal.SIGSTOP)
            assert wait_until(lambda: {state(pid) for pid in before} == {"T"}, 5)
            sending = [pool.submit(sender, number) for number in range(claimed + ordinary)]
            time.sleep(standstill)
            for pid in before:
                os.kill(pid, signal.SIGCONT)
            seconds = [sent.result() for sent in sending]
        assert min(seconds[:claimed]) > 2  # they did wait for DNS
        assert max(seconds[claimed:]) < standstill + 1
        assert service.children() == before


def test_half_packets_do_not_keep_a_thread_from_other_mail(tmp_path: Path) -> None:
    """A thread of libmilter waits for the rest of a packet, and does not know that it will wait."""
    with running(tmp_path, workers=1) as service:
        worker = service.children()[0]
        os.kill(worker, signal.SIGSTOP)
        assert wait_until(lambda: state(worker) == "T", 5)
        with open_socket(service.address, 5) as first, open_socket(service.address, 5) as second:
            for half in (first, second):
                half.sendall(b"\0\0\0\x0dO")
            with ThreadPoolExecutor(2) as pool:
                sending = [pool.submit(send, service.address) for _ in range(2)]
                time.sleep(0.2)
                os.kill(worker, signal.SIGCONT)
                started = time.monotonic()
                assert [sent.result() for sent in sending] == [imitation("first")] * 2
        assert time.monotonic() - started < 3
        assert service.children() == [worker]


# ---- what libmilter may still own is left alone ----------------------------------------------------------


def test_a_peer_that_negotiates_twice_and_does_not_read_costs_nobody_anything(tmp_path: Path) -> None:
    """libmilter waits to write to this peer, and so leaves its second negotiation unread: as if it had no thread."""
    changes = "import pratique.service.worker as worker\nworker.LOOK = 0.5"
    forged = [(b"X-Trusted-Sender", b" verified")] * 30_000
    with running(tmp_path, changes, workers=1) as service:
        before = service.children()
        with MilterClient(service.address) as peer:
            peer.connect()
            peer.message([*FIELDS, *forged], b"text\r\n", until="body")
            peer.send_packet(b"E")
            peer.send_packet(b"O", bytes([0, 0, 0, 6]) + ACTIONS.to_bytes(4) + STEPS.to_bytes(4))
            for _ in range(6):
                time.sleep(0.5)
                assert send(service.address) == imitation("first")
            peer.drop()
        assert service.children() == before
        assert "no thread" not in service.log()


# ---- limits ----------------------------------------------------------------------------------------------


def ticks(pid: int) -> int:
    """The CPU time of a process, in hundredths of a second."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(words[11]) + int(words[12])


def test_at_the_limit_of_descriptors_workers_keep_what_they_have_and_accept_again(tmp_path: Path) -> None:
    many = 60
    changes = "import pratique.service.worker as worker\nworker.LOOK = 0.5"
    going_on = threading.Event()
    with (
        running(tmp_path, changes) as service,
        ThreadPoolExecutor(many) as pool,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(going_on.set)  # whatever happens, no sender waits for ever
        before = service.children()
        for pid in before:
            highest = max(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 12, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        begun: list[int] = []

        def sender(number: int) -> str:
            with MilterClient(service.address, 60) as client:
                client.connect()
                begun.append(number)
                going_on.wait()
                return tag(client.message(FIELDS, b"text\r\n"))

        sending = [pool.submit(sender, number) for number in range(many)]
        time.sleep(3)
        assert 0 < len(begun) < many  # the limit was met
        used = [ticks(pid) for pid in before]
        time.sleep(1)
        assert max(ticks(pid) - ago for pid, ago in zip(before, used, strict=True)) < 50  # they do not try all the time
        going_on.set()
        assert {sent.result() for sent in sending} == {imitation("first")}
        assert service.children() == before


def test_the_parent_is_the_last_that_the_kernel_kills_for_memory(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path, metrics={"listen": f"127.0.0.1:{port}"}) as service:
        assert wait_until(lambda: len(service.children()) == 3, 10)
        scores = [int(Path(f"/proc/{pid}/oom_score").read_text()) for pid in (service.pid, *service.children())]
        assert scores[0] + 100 < min(scores[1:])


# ---- the metrics endpoint --------------------------------------------------------------------------------


def scraped(port: int, seconds: float = 20) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=seconds) as answer:
        text: str = answer.read().decode()
    return text


def test_clients_that_do_not_go_on_cost_the_metrics_endpoint_little(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path, metrics={"listen": f"127.0.0.1:{port}"}) as service:
        assert wait_until(lambda: len(service.children()) == 3, 10)
        exporter = max(service.children())
        assert "pratique_workers" in scraped(port)
        ending = threading.Event()

        def drip(connection: socket.socket) -> float:
            """Send a request that never ends: how long it is borne."""
            started = time.monotonic()
            with contextlib.suppress(OSError):
                connection.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
                while not ending.is_set():
                    connection.sendall(b"x")
                    if select.select([connection], [], [], 0.1)[0]:
                        break
            return time.monotonic() - started

        with ThreadPoolExecutor(16) as pool, contextlib.ExitStack() as stack:
            stack.callback(ending.set)
            clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(16)]
            dripping = [pool.submit(drip, client) for client in clients]
            time.sleep(1)
            assert len(os.listdir(f"/proc/{exporter}/task")) <= 10
            assert wait_until(lambda: all(client.done() for client in dripping), 12)
            ending.set()
            assert min(client.result() for client in dripping) > 1
        for sent in (b"", b"\0" * 9000, b"GET / HTTP/1.0\r\n", b"POST /metrics HTTP/1.1\r\n\r\n", b"\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(sent)
        assert "pratique_workers 2.0" in scraped(port)
        assert exporter in service.children()
        assert [line for line in service.log().splitlines() if "listening on" not in line] == [
            "no state directory: wrong files at the next start will stop the service; set state_directory"
        ]


def test_a_metrics_process_that_hangs_is_replaced(tmp_path: Path) -> None:
    port = free_port()
    changes = "import pratique.service.exporter as exporter\nexporter.SILENCE = 2\nexporter._AGAIN = 0.5"
    with running(tmp_path, changes, metrics={"listen": f"127.0.0.1:{port}"}) as service:
        assert "pratique_workers" in scraped(port)
        exporter = max(service.children())
        os.kill(exporter, signal.SIGSTOP)
        assert wait_until(lambda: exporter not in service.children() and len(service.children()) == 3, 15)
        assert "pratique_workers 2.0" in scraped(port)
        assert "metrics: the process that serves them hangs: killed" in service.log()


# ---- the log ---------------------------------------------------------------------------------------------

LONG = "\N{GRINNING FACE}" * 200  # twelve octets each where they are escaped


@pytest.mark.parametrize("form", ["logfmt", "json"])
@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_log_that_nobody_reads_keeps_no_message_waiting(kind: str, form: str, tmp_path: Path) -> None:
    """There is room for a part of a line: a write that waits for more would hold up all mail of a worker."""
    config, address = configured(tmp_path, workers=1, log={"format": form, "level": "debug"})
    reading, writing = os.pipe() if kind == "pipe" else (end.detach() for end in socket.socketpair())
    with subprocess.Popen([PROGRAM, "run", "--config", config], stderr=writing) as process:
        try:
            wait_ready(address, 10)
            assert os.get_blocking(writing)  # what others share stays as it is
            os.set_blocking(writing, False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(writing, b"x" * 511 + b"\n")
            os.set_blocking(writing, True)
            assert len(os.read(reading, 4096)) == 4096

            def sender(number: int) -> str:
                with MilterClient(address, 10) as client:
                    client.connect(helo=LONG)
                    fields = [*FIELDS, (b"Message-ID", f" <{LONG}>".encode())]
                    for _ in range(4):
                        found = tag(client.message(fields, b"", mail_from=f"{LONG}@a.example", queue_id=f"4Q{number}"))
                return found

            started = time.monotonic()
            with ThreadPoolExecutor(8) as pool:
                assert set(pool.map(sender, range(8))) == {imitation("first")}
            assert time.monotonic() - started < 8
            os.set_blocking(reading, False)
            read = b""
            with contextlib.suppress(BlockingIOError):
                while True:
                    read += os.read(reading, 65536)
            send(address, "4LATER")

            def is_there() -> bool:
                nonlocal read
                with contextlib.suppress(BlockingIOError):
                    read += os.read(reading, 65536)
                return b"4LATER" in read and read.endswith(b"\n")

            assert wait_until(is_there, 5)
        finally:
            process.kill()
            os.close(reading)
            os.close(writing)
    lines = [line.lstrip("x") for line in read.decode().splitlines() if line.strip("x")]
    lost = [int(found[1]) for line in lines if (found := re.search(r"(\d+) log lines were lost", line))]
    messages = [line for line in lines if "4Q" in line or "4LATER" in line]
    assert sum(lost) + len(messages) == 8 * 4 + 1
    assert lost
    assert all(line.count("imitation") == 2 or "verdict" in line for line in messages)
    if form == "json":
        assert all(json.loads(line) for line in lines if line.startswith("{"))
    else:
        assert all(" ms=" in line for line in messages)
