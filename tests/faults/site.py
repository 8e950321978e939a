"""The site on which things go wrong: DNS, Postfix and the service, each of which can be taken away."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench import load
from faults import mail
from faults.senders import Sent, sent_over_wire

from harness.dns_server import DnsServer
from harness.lying_dns import Behaviour, LyingDns
from harness.milter_client import MilterClient
from harness.ports import free_port, wait_until
from harness.postfix import Postfix
from harness.service import Service
from harness.stand import SHIPPED, shipped_main_cf

# As the service runs here: a worker that hangs is found in 3 seconds, not in 15, and connections that libmilter forgot
# in 2, not in 10, so that there is time for all faults. The parent writes down which workers ended without its order:
# to a file that is open from the start, because some faults leave it no descriptors.
_CHANGES = """
    import os
    import pratique.service.crew as crew
    import pratique.service.worker as worker
    crew.SILENCE, crew.START = 3, 10
    worker.LOOK = 1
    ends = os.open({ends!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    ended, hear = crew.Crew.ended, crew.Crew._hear
    def noted_end(self, pid, status):
        one = self.workers.get(pid)
        if one is not None and not one.going:
            os.write(ends, b"%d %d\\n" % (pid, status))
        return ended(self, pid, status)
    def noted_leave(self, one):
        before = one.going
        hear(self, one)
        if one.going and not before:
            os.write(ends, b"%d leaves\\n" % one.child.pid)
    crew.Crew.ended, crew.Crew._hear = noted_end, noted_leave
    from pratique.cli import main
    main()
    """


@dataclass(frozen=True)
class Figures:
    """What all processes of the service hold."""

    memory: float  # MiB
    threads: int
    descriptors: int

    def __str__(self) -> str:
        return f"{self.memory:.0f} MiB, {self.threads} threads, {self.descriptors} descriptors"


NOTHING = Figures(0, 0, 0)


def figures(pid: int) -> Figures:
    """What a service holds now. A process that ends meanwhile is looked at no further."""
    while True:
        with contextlib.suppress(OSError):
            family = load.family(pid)
            threads = sum(len(os.listdir(f"/proc/{one}/task")) for one in family)
            descriptors = sum(len(os.listdir(f"/proc/{one}/fd")) for one in family)
            return Figures(load.memory_of(pid), threads, descriptors)
        time.sleep(0.05)


def state(pid: int) -> str:
    """The letter of a process' state: T stopped, Z ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


Settings = Mapping[str, Any]


class Site:
    """Runs while the context is open; the service only between `serve` and `close`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.dns = DnsServer(mail.ZONE, self.port)
        self.postfix = Postfix(
            main_cf={"milter_default_action": "accept", "service_throttle_time": "1s"} | shipped_main_cf()
        )
        self.address = f"unix:{self.postfix.socket_directory}/milter.sock"
        (folder / "first").mkdir()
        (folder / "current").symlink_to("first")  # as where each release has a folder of its own
        self.config = folder / "current" / "pratique.yaml"
        self._log = folder / "log"
        self._running = ExitStack()
        self._service: Service | None = None
        self.start_took = 0.0  # seconds, of the last restart
        self._program: list[str | Path] = []
        self._environment: dict[str, str] = {}
        self.processes = 2  # children of the parent when all is well
        self.random = random.Random()
        self.fired: Counter[str] = Counter()  # how often each thing that was to go wrong did
        self.harmed: set[int] = set()  # processes that were killed or stopped on purpose
        self.second_port = free_port()  # of another DNS server, or of the metrics endpoint
        self.first_dns: LyingDns | None = None
        self.kept = -1  # a descriptor that a fault keeps open
        self._ends = folder / "ends"
        (folder / "program.py").write_text(textwrap.dedent(_CHANGES).format(ends=str(self._ends)))

    def __enter__(self) -> Site:
        with ExitStack() as running:
            running.callback(self.close)
            self.dns.__enter__()
            running.callback(lambda: self.dns.__exit__(None, None, None))
            running.enter_context(self.postfix)
            self._running = running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def begin(self, seed: str) -> None:
        """Before each fault: nothing has gone wrong yet, and what is left to chance is decided by the seed."""
        self.random.seed(seed)
        self.fired.clear()
        self.harmed.clear()
        self._ends.unlink(missing_ok=True)

    # ---- the service

    def harm(self, pid: int, number: int) -> None:
        """Send a signal to a process of the service, unless it has ended."""
        self.harmed.add(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """All workers are stopped, as a busy hypervisor or a snapshot does it."""
        stopped = self.service.children()
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        self.fired["workers stood still"] += sum(wait_until(lambda p=pid: state(p) in "TZ") for pid in stopped)  # type: ignore[misc]
        yield
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def ended_by_themselves(self) -> list[str]:
        """The workers that ended, or left, without an order of the parent and without harm done to them."""
        lines = self._ends.read_text().splitlines() if self._ends.exists() else []
        return [line for line in lines if int(line.split()[0]) not in self.harmed]

    @property
    def service(self) -> Service:
        assert self._service
        return self._service

    def serve(
        self,
        settings: Mapping[str, Any],
        wrapper: Sequence[str | Path] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start the service, its settings laid over those of the campaign."""
        shutil.copy(SHIPPED / "trusted-senders.yaml", self.config.parent)
        all_settings: dict[str, Any] = {
            "socket": self.address,
            "workers": 2,
            "authserv_id": "mx1.example.org",
            "actions": {"unverified": "quarantine"},
            "log": {"level": "debug"},
            "stop_timeout": "3s",
        } | dict(settings)
        all_settings["dns"] = {"servers": [self.dns.address], "timeout": "3s"} | settings.get("dns", {})
        self.config.write_text(yaml.safe_dump(all_settings))
        self.processes = all_settings["workers"] + ("metrics" in all_settings)
        self._log.unlink(missing_ok=True)
        self._program = [*wrapper, sys.executable, self.folder / "program.py"]
        self._environment = dict(environment or {})
        self._start()
        self.start_took = 0.0
        wait_until(lambda: len(self.service.children()) == self.processes)

    def _start(self) -> None:
        self._service = Service(self.config, self.address, self._program, log=self._log, **self._environment)
        self._service.__enter__()

    def restart(self) -> None:
        """As systemd does, once the service has ended."""
        self.service.stop()
        begun = time.monotonic()
        self._start()
        self.start_took = time.monotonic() - begun

    def close(self) -> None:
        """End the service."""
        if self._service:
            self._service.stop()
            self._service = None

    def figures(self) -> Figures:
        return figures(self.service.pid)

    def answers_after(self, patience: float = 60) -> float:
        """Seconds until a genuine notice is verified."""
        begun = time.monotonic()
        while time.monotonic() < begun + patience:
            with contextlib.suppress(OSError), MilterClient(self.address, 2) as client:
                message = mail.message(0)
                client.connect(message.client)
                outcome = client.message(message.fields, message.body, mail_from=message.mail_from)
                if sent_over_wire(0, outcome).verdict == "verified":
                    return time.monotonic() - begun
            time.sleep(0.01)
        raise TimeoutError(f"no genuine notice was verified within {patience} s:\n{self.service.log()[-4000:]}")

    # ---- DNS

    @contextlib.contextmanager
    def no_dns(self) -> Iterator[None]:
        """The resolver is gone."""
        self.dns.__exit__(None, None, None)
        try:
            yield
        finally:
            self.dns = DnsServer(mail.ZONE, self.port)
            self.dns.__enter__()

    @contextlib.contextmanager
    def other_dns(self, udp: Behaviour, tcp: Behaviour) -> Iterator[LyingDns]:
        """Another one answers in its place."""
        with self.no_dns():
            liar = LyingDns(udp, tcp)
            liar.port = self.port
            with liar:
                yield liar

    # ---- what has arrived

    def arrived(self, patience: float = 120) -> list[tuple[int, Sent]]:
        """Every message in Postfix's mailboxes and hold queue, each taken away; the queue is waited for."""
        queue = self.postfix.queue_directory
        on_its_way = [queue / name for name in ("maildrop", "incoming", "active", "deferred")]

        def empty() -> bool:
            files = [path for place in on_its_way for path in place.rglob("*") if path.is_file()]
            return all("." in path.name for path in files)  # which is what a killed cleanup leaves

        if not wait_until(empty, patience):
            raise TimeoutError(f"Postfix's queue does not empty:\n{self.postfix.log()[-4000:]}")
        found: list[tuple[int, Sent]] = []
        for path in (self.postfix.folder / "mail").glob("*/new/*"):
            found.append(_seen(path.read_bytes(), "delivered"))
            path.unlink()
        held = [path for path in (queue / "hold").rglob("*") if path.is_file()]
        found += [_seen(self.postfix.queue_file_content(path.name), "held") for path in held]
        for path in held:
            path.unlink()
        return found


def _seen(content: bytes, fate: str) -> tuple[int, Sent]:
    number = mail.number_of(content)
    header = content.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    return number, Sent(number, "smtp", fate, mail.verdict(header))
