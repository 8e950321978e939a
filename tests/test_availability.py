"""Mail that is in hand, and mail that comes, while something beside the service fails: DNS, peers, limits, the log.

All of it with a real `pratique run`. Ordinary mail needs no DNS; claimed mail waits for a server that says nothing.
"""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from test_service import FIELDS, imitation, running, send, state, tag

from harness.lying_dns import LyingDns
from harness.milter_client import ACTIONS, STEPS, MilterClient, Outcome, open_socket
from harness.ports import free_port, wait_until

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
