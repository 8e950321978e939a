"""The service as a process: workers that die, lists that change, orders to stop, and the log that cannot be written.

All of it with a real `pratique run`. The messages here imitate a trusted sender, which is judged without DNS, and
whose id says which list was in force.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import ROOT

from harness.milter_client import MilterClient, MilterError, Outcome, open_socket, wait_ready
from harness.ports import PATIENCE, Server, free_port, wait_until
from harness.service import PROGRAM, Service
from harness.stand import SHIPPED, Stand

FIELDS = [(b"From", b' "notices@shop.example" <a@evil.example>'), (b"Subject", b" Tender")]
NOBODY = 65534


def write_list(folder: Path, sender: str) -> None:
    """A list whose only entry has this id."""
    entry = {"domain": "shop.example", "addresses": ["notices@shop.example"]}
    (folder / "trusted-senders.yaml").write_text(yaml.safe_dump({"senders": {sender: entry}}))


def configured(folder: Path, **more: Any) -> tuple[Path, str]:
    """A configuration in a folder, with the list `first`; and the socket."""
    write_list(folder, "first")
    address = f"unix:{folder}/milter.sock"
    settings = {"socket": address, "workers": 2, "log": {"level": "debug"}, "authserv_id": "mx1.example.org"} | more
    (folder / "pratique.yaml").write_text(yaml.safe_dump(settings))
    return folder / "pratique.yaml", str(settings["socket"])


@contextlib.contextmanager
def running(folder: Path, changes: str = "", **more: Any) -> Iterator[Service]:
    """A service; `changes` is Python that is run before it."""
    environment = more.pop("environment", {})
    config, address = configured(folder, **more)
    program: list[str | Path] = [PROGRAM]
    if changes:
        (folder / "program.py").write_text(textwrap.dedent(changes) + "\nfrom pratique.cli import main\nmain()\n")
        program = [sys.executable, folder / "program.py"]
    with Service(config, address, program, **environment) as service:
        workers = more.get("workers", 2)
        assert wait_until(lambda: sum(map(at_work, service.children())) >= workers, 10), service.log()
        yield service


def at_work(pid: int) -> bool:
    """Whether a worker has all its threads: its own, that for DNS, and libmilter's five."""
    try:
        return len(os.listdir(f"/proc/{pid}/task")) >= 7
    except OSError:
        return False


def tag(outcome: Outcome) -> str:
    assert outcome.response == "continue", outcome
    return outcome.fields[0][1].decode().strip()


def send(address: str, queue_id: str = "4TEST") -> str:
    """One message over a connection of its own: the field it gets."""
    with MilterClient(address) as client:
        client.connect()
        return tag(client.message(FIELDS, b"text\r\n", queue_id=queue_id))


def imitation(sender: str) -> str:
    return f"imitation; sender={sender}; reason=display-name-imitates; host=mx1.example.org"


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has buried counts."""
    return state(pid) == "Z"


def state(pid: int) -> str:
    """The letter of a process' state: T stopped, Z or nothing at all ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


# A message that is judged waits for a file.
GATE = """
    import os, time
    from pratique.filter import Filter
    whole = Filter._decide
    def slow(self):
        open({started!r}, "w").close()
        while not os.path.exists({gate!r}):
            time.sleep(0.01)
        return whole(self)
    Filter._decide = slow
    """


class Gate:
    """A service whose messages end when they are let, and one such message."""

    def __init__(self, folder: Path) -> None:
        self.gate, self.started = folder / "gate", folder / "started"
        self.changes = GATE.format(gate=str(self.gate), started=str(self.started))
        self.outcome: list[Outcome | MilterError] = []
        self._thread = threading.Thread(target=self._send)

    def begin(self, service: Service) -> None:
        """Send a message as far as its judging."""
        self._address = service.address
        self._thread.start()
        assert wait_until(self.started.exists, 10)

    def _send(self) -> None:
        try:
            with MilterClient(self._address, 120) as client:
                client.connect()
                self.outcome.append(client.message(FIELDS, b"text\r\n"))
        except (MilterError, ConnectionError) as problem:
            self.outcome.append(MilterError(str(problem)))

    def open(self) -> None:
        self.gate.touch()

    def end(self) -> Outcome | MilterError:
        self._thread.join(120)
        return self.outcome[0]


# ---- workers -----------------------------------------------------------------------------------------


def test_killed_workers_are_replaced_and_cost_their_own_messages_only(tmp_path: Path) -> None:
    with running(tmp_path, workers=3) as service:
        stop = threading.Event()

        def sender(number: int) -> tuple[int, int]:
            answered = cut = 0
            while not stop.is_set():
                try:
                    assert send(service.address, f"4Q{number}") == imitation("first")
                    answered += 1
                except ConnectionError:  # the MTA defers such a message
                    cut += 1
            return answered, cut

        with ThreadPoolExecutor(4) as pool:
            sending = [pool.submit(sender, number) for number in range(4)]
            for _ in range(6):
                before = set(service.children())
                victim = min(before)
                os.kill(victim, signal.SIGKILL)
                assert wait_until(lambda v=victim: v not in service.children() and len(service.children()) == 3, 20)  # type: ignore[misc]
            stop.set()
            answered, cut = map(sum, zip(*(s.result() for s in sending), strict=True))
        assert answered > 6
        assert cut < answered
        assert send(service.address) == imitation("first")
        assert service.log().count("has ended by itself (signal 9)") == 6


@pytest.mark.parametrize("kind", ["unix", "inet"])
def test_each_worker_accepts_at_once(kind: str, tmp_path: Path) -> None:
    more = {"socket": f"inet:{free_port()}@127.0.0.1"} if kind == "inet" else {}
    with running(tmp_path, **more) as service:
        for pid in service.children():
            os.kill(pid, signal.SIGSTOP)
            assert wait_until(lambda pid=pid: state(pid) == "T", 5)  # type: ignore[misc]
            started = time.monotonic()
            assert send(service.address) == imitation("first")
            assert time.monotonic() - started < 2  # libmilter looks for itself every five seconds
            os.kill(pid, signal.SIGCONT)


def test_a_worker_that_hangs_is_replaced(tmp_path: Path) -> None:
    with running(tmp_path, "import pratique.service.crew as crew\ncrew.SILENCE = crew.START = 4") as service:
        stopped = service.children()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        assert wait_until(lambda: not set(stopped) & set(service.children()), 20)
        assert send(service.address) == imitation("first")
        assert service.log().count(" hangs: killed, ") >= 2


def test_a_worker_whose_interpreter_is_held_is_replaced(tmp_path: Path) -> None:
    """By C code that never lets go of it."""
    changes = """
        import re
        import pratique.service.crew as crew
        from pratique.filter import Filter
        crew.SILENCE = 4
        whole = Filter._decide
        def stuck(self):
            if self._queue_id() == "4STUCK":
                re.match(r"(a+)+$", "a" * 64 + "b")
            return whole(self)
        Filter._decide = stuck
        """
    with running(tmp_path, changes) as service:
        with pytest.raises(ConnectionError):
            send(service.address, "4STUCK")
        assert send(service.address) == imitation("first")
        assert wait_until(lambda: len(service.children()) == 2, 10)


def test_a_worker_that_can_begin_no_thread_is_replaced(tmp_path: Path) -> None:
    """libmilter forgets such connections, and keeps them open as long as the worker lives."""
    with running(tmp_path) as service:
        before = service.children()
        for pid in before:
            size = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            resource.prlimit(pid, resource.RLIMIT_AS, (size + (4 << 20), resource.RLIM_INFINITY))

        def answered(_: int) -> bool:
            try:
                with MilterClient(service.address, 25) as client:
                    client.connect()
                return True
            except ConnectionError:
                return False

        def is_replaced() -> bool:
            return "could start no thread for" in service.log()

        # Threads that are there already may do for some connections: more come until one is too many.
        with ThreadPoolExecutor(40) as pool:
            assert any(not all(pool.map(answered, range(40))) and is_replaced() for _ in range(20))
        assert wait_until(lambda: set(before) != set(service.children()) and len(service.children()) == 2, 20)
        assert send(service.address) == imitation("first")


def test_it_gives_up_where_no_worker_gets_on_its_feet(tmp_path: Path) -> None:
    config, _ = configured(tmp_path)
    broken = "import pratique.service.worker as w\nw.Tally = None\nfrom pratique.cli import main\nmain()\n"
    result = subprocess.run(
        [sys.executable, "-c", broken, "run", "--config", config], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 70
    assert result.stderr.splitlines()[-1].startswith("pratique: 5 workers of generation 1 have failed at their start")
    assert not (tmp_path / "milter.sock").exists()


def test_signals_to_a_worker_are_the_parents_business(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        before = service.children()
        for pid in before:
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
                os.kill(pid, number)
        time.sleep(0.5)
        assert service.children() == before
        assert send(service.address) == imitation("first")


# ---- the parent dies ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["unix", "inet"])
def test_nobody_survives_the_parent_and_the_next_one_starts_at_once(kind: str, tmp_path: Path) -> None:
    more = {"socket": f"inet:{free_port()}@127.0.0.1"} if kind == "inet" else {}
    with running(tmp_path, **more) as service:
        workers = service.children()
        os.kill(workers[0], signal.SIGSTOP)
        service.signal(signal.SIGKILL)
        with running(tmp_path, **more) as second:
            assert wait_until(lambda: all(map(gone, workers)), 5)
            assert send(second.address) == imitation("first")


# ---- reload ------------------------------------------------------------------------------------------


def test_a_good_list_comes_into_force_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        write_list(tmp_path, "second")
        assert send(service.address) == imitation("first")
        good = service.reload("--wait")
        assert (good.returncode, good.stderr) == (0, "")
        assert good.stdout == "pratique: generation 2 is in force, 1 trusted senders, 2 workers\n"
        assert {send(service.address) for _ in range(5)} == {imitation("second")}

        (tmp_path / "trusted-senders.yaml").write_text("senders:\n  third:\n    domain: fr\n    adresses: []\n")
        bad = service.reload("--wait")
        assert (bad.returncode, bad.stdout) == (78, "")
        lines = bad.stderr.splitlines()
        assert len(lines) == 2
        assert all(line.startswith(f"pratique: {tmp_path}/trusted-senders.yaml:") for line in lines)
        for line in lines:
            assert f"reload: {line.removeprefix('pratique: ')}" in service.log()
        assert "reload: nothing has changed, generation 2 stays in force" in service.log()
        assert send(service.address) == imitation("second")

        (tmp_path / "pratique.yaml").write_text((tmp_path / "pratique.yaml").read_text() + "mod: x\n")
        bad = service.reload("--wait")
        assert (bad.returncode, "did you mean mode?" in bad.stderr) == (78, True)
        assert wait_until(lambda: len(service.children()) == 2, 20)  # the first generation is gone


def test_sighup_reloads_and_one_reload_follows_another(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        write_list(tmp_path, "second")
        service.signal(signal.SIGHUP)
        assert wait_until(lambda: "generation 2 is in force" in service.log(), 20)
        write_list(tmp_path, "third")
        assert service.reload().returncode == 0
        with ThreadPoolExecutor(3) as pool:
            results = [pool.submit(service.reload, "--wait") for _ in range(3)]
            assert [r.result().returncode for r in results] == [0, 0, 0]
        assert send(service.address) == imitation("third")


def test_a_session_keeps_the_list_it_began_with(tmp_path: Path) -> None:
    with running(tmp_path) as service, MilterClient(service.address) as before, MilterClient(service.address) as half:
        before.connect()
        assert tag(before.message(FIELDS, b"text\r\n")) == imitation("first")
        half.connect()
        half.message(FIELDS, b"text\r\n", until="header")
        write_list(tmp_path, "second")
        assert service.reload("--wait").returncode == 0
        with MilterClient(service.address) as after:
            after.connect()
            assert tag(after.message(FIELDS, b"text\r\n")) == imitation("second")
        half.abort()
        assert tag(half.message(FIELDS, b"text\r\n")) == imitation("first")
        assert tag(before.message(FIELDS, b"text\r\n")) == imitation("first")


def test_only_so_many_generations_linger(tmp_path: Path) -> None:
    """Reloaded often, with a connection open each time: the eldest are closed, between two messages."""
    with running(tmp_path) as service, contextlib.ExitStack() as stack:
        clients = []
        for _ in range(5):
            client = MilterClient(service.address)
            stack.callback(client.drop)
            client.connect()
            clients.append(client)
            assert service.reload("--wait").returncode == 0
        assert wait_until(lambda: len(service.children()) <= 4, 20)  # two in force, and two that linger
        assert tag(clients[-1].message(FIELDS, b"text\r\n")) == imitation("first")
        with pytest.raises(ConnectionError):
            clients[0].message(FIELDS, b"text\r\n")


def test_new_workers_that_do_not_begin_change_nothing(tmp_path: Path) -> None:
    changes = """
        import pratique.service.worker as w
        whole = w.serve
        def serve(settings, *more):
            if settings.senders.entries[0].id == "second":
                raise RuntimeError("as the test wants it")
            whole(settings, *more)
        w.serve = serve
        """
    with running(tmp_path, changes) as service:
        write_list(tmp_path, "second")
        result = service.reload("--wait")
        assert (result.returncode, "the new workers do not begin" in result.stderr) == (70, True)
        assert send(service.address) == imitation("first")
        assert wait_until(lambda: len(service.children()) == 2, 10)


def test_a_changed_file_is_taken_where_that_is_wanted(tmp_path: Path) -> None:
    with running(tmp_path, reload_on_change=True) as service:
        write_list(tmp_path, "second")  # the parent has looked at the files before any worker accepts
        assert wait_until(lambda: "generation 2 is in force" in service.log(), 20)
        (tmp_path / "trusted-senders.yaml").write_text("no list")
        assert wait_until(lambda: "generation 2 stays in force" in service.log(), 20)
        assert send(service.address) == imitation("second")


def test_what_needs_a_restart_is_said(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        configured(tmp_path, socket=service.address, metrics={"listen": "127.0.0.1:9894"}, workers=1)
        result = service.reload("--wait")
        assert result.returncode == 0
        assert "metrics has changed, and stays as it is until the service is restarted" in result.stderr
        assert wait_until(lambda: len(service.children()) == 1, 20)


def test_reload_without_a_service(tmp_path: Path) -> None:
    config, _ = configured(tmp_path)
    result = subprocess.run([PROGRAM, "reload", "--config", config], capture_output=True, text=True, timeout=30)
    assert result.returncode == 69
    assert result.stderr.startswith(f"pratique: no service is running at {tmp_path}/milter.sock.control or ")


def test_reload_over_an_internet_socket(tmp_path: Path) -> None:
    """The service is found in the folder that systemd makes for it."""
    (tmp_path / "run").mkdir()
    environment = {"RUNTIME_DIRECTORY": f"{tmp_path}/run"}
    with running(tmp_path, socket=f"inet:{free_port()}@127.0.0.1", environment=environment) as service:
        write_list(tmp_path, "second")
        assert service.reload("--wait").returncode == 0
        assert send(service.address) == imitation("second")
        other = tmp_path / "other"
        other.mkdir()
        config, _ = configured(other)
        command: list[str | Path] = [PROGRAM, "reload", "--config", config]
        result = subprocess.run(command, capture_output=True, text=True, timeout=30, env=os.environ | environment)
        assert result.returncode == 69
        assert f"the service here has {tmp_path}/pratique.yaml" in result.stderr


def test_reload_under_load_loses_and_defers_nothing(tmp_path: Path) -> None:
    """Through a real Postfix, while the list changes again and again."""
    write_list(tmp_path, "first")
    (tmp_path / "pratique.yaml").write_text("authserv_id: mx1.example.org\n")
    message = b'From: "notices@shop.example" <a@evil.example>\r\nSubject: Tender\r\n\r\ntext\r\n'
    with Stand(tmp_path / "pratique.yaml", "", workers=2) as stand, ThreadPoolExecutor(4) as pool:
        stop = threading.Event()

        def sender() -> list[str | None]:
            ids = []
            while not stop.is_set():
                with stand.postfix.connect("203.0.113.66") as connection:
                    for _ in range(3):
                        reply = connection.message(message, "a@evil.example", ["marches@commune.example"])
                        assert reply.code == 250, reply
                        ids.append(reply.queue_id)
            return ids

        sending = [pool.submit(sender) for _ in range(4)]
        try:
            for number in range(4):
                write_list(tmp_path, f"list-{number}")
                command: list[str | Path] = [PROGRAM, "reload", "--wait", "--config", stand.config]
                assert subprocess.run(command, timeout=60).returncode == 0
        finally:
            stop.set()
        ids = [queue_id for s in sending for queue_id in s.result()]
        assert len(ids) > 4
        senders = {f"list-{number}" for number in range(4)} | {"first"}
        assert wait_until(lambda: not stand.postfix.queue(), 120)
        delivered = [path.read_text() for path in (stand.postfix.folder / "mail").glob("*/new/*")]
        assert len(delivered) == len(ids)
        tags = {f"X-Trusted-Sender: {imitation(sender)}" for sender in senders}
        found = [tags & set(text.splitlines()) for text in delivered]
        assert all(len(lines) == 1 for lines in found)
        assert len(set.union(*found)) > 1


# ---- stop --------------------------------------------------------------------------------------------


def accepts(address: str) -> bool:
    """Whether any process accepts connections at the socket."""
    try:
        open_socket(address, 60).close()
    except OSError:
        return False
    return True


def test_sigterm_finishes_the_messages_in_flight(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    with running(tmp_path, gate.changes) as service, MilterClient(service.address) as idle:
        idle.connect()
        gate.begin(service)
        service.signal(signal.SIGTERM)
        # The workers close the socket a moment after the parent has written this line.
        assert wait_until(lambda: "stopping: " in service.log() and not accepts(service.address))
        assert service.running()
        gate.open()
        outcome = gate.end()
        assert isinstance(outcome, Outcome)
        assert tag(outcome) == imitation("first")
        assert service.wait(10) == 0
        assert service.log().splitlines()[-1] == "pratique: stopped"
        assert sorted(p.name for p in tmp_path.iterdir() if p.is_socket()) == []


def test_a_second_sigterm_stops_at_once(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    with running(tmp_path, gate.changes, stop_timeout="1h") as service:
        gate.begin(service)
        service.signal(signal.SIGTERM)
        assert wait_until(lambda: "stopping: " in service.log(), 10)
        service.signal(signal.SIGTERM)
        assert service.wait(10) == 0
        assert isinstance(gate.end(), MilterError)


def test_stopping_takes_no_longer_than_stop_timeout(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    with running(tmp_path, gate.changes, stop_timeout="1s") as service:
        gate.begin(service)
        os.kill(service.children()[0], signal.SIGSTOP)
        started = time.monotonic()
        service.signal(signal.SIGTERM)
        assert service.wait(20) == 0
        assert time.monotonic() - started < 25  # and not the 30 seconds of the default
        assert isinstance(gate.end(), MilterError)


def test_a_busy_service_stops(tmp_path: Path) -> None:
    """New messages on connections that are open do not keep a stopping worker from its end."""
    with running(tmp_path, stop_timeout="1h") as service, ThreadPoolExecutor(8) as pool:

        def sender() -> None:
            with MilterClient(service.address) as client:
                client.connect()
                while True:
                    assert tag(client.message(FIELDS, b"text\r\n")) == imitation("first")

        sending = [pool.submit(sender) for _ in range(8)]
        assert wait_until(lambda: service.log().count("verdict=imitation") > 20, 20)
        service.signal(signal.SIGTERM)
        assert service.wait(20) == 0
        for s in sending:
            assert isinstance(s.exception(), ConnectionError)


# ---- as any user -------------------------------------------------------------------------------------

# As another user Python may not be readable here: so everything is loaded before.
AS_NOBODY = f"""
import encodings.idna, encodings.punycode, os
import pratique.cli, pratique.service.metrics
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
pratique.cli.main()
"""


@pytest.fixture
def for_nobody(tmp_path: Path) -> Iterator[Path]:
    """A folder that belongs to nobody, and that nobody can reach."""
    if os.geteuid() != 0:
        pytest.fail("this test becomes another user: run it as root")
    folder = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    folder.chmod(0o755)
    (folder / "socket").mkdir()
    os.chown(folder / "socket", NOBODY, NOBODY)
    yield folder
    subprocess.run(["rm", "-rf", folder], check=True)
    assert tmp_path.exists()


def test_without_rights_the_socket_survives_workers_and_reloads(for_nobody: Path) -> None:
    path = for_nobody / "socket" / "milter.sock"
    config, address = configured(for_nobody, socket=f"unix:{path}")
    with Service(config, address, [sys.executable, "-c", AS_NOBODY]) as service:
        assert os.stat(f"/proc/{service.pid}").st_uid in (0, NOBODY)  # not dumpable: it shows as root's
        found = path.stat()
        assert (found.st_uid, stat.filemode(found.st_mode)) == (NOBODY, "srwxrwx---")
        os.kill(service.children()[0], signal.SIGKILL)
        write_list(for_nobody, "second")
        assert service.reload("--wait").returncode == 0
        assert wait_until(lambda: len(service.children()) == 2, 20)
        assert send(address) == imitation("second")
        service.signal(signal.SIGTERM)
        assert service.wait(10) == 0
        assert list((for_nobody / "socket").iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "status", "text"),
    [
        ("folder", 73, "Permission denied: {folder}/socket belongs to root, and we run as nobody"),
        ("hidden folder", 73, "Permission denied"),
        ("config", 78, "{folder}/pratique.yaml: permission denied: nobody may not read pratique.yaml (owner root"),
        ("list", 78, "{folder}/trusted-senders.yaml: permission denied: nobody may not read trusted-senders.yaml"),
        ("folder of lists", 78, "{folder}/lists: permission denied: nobody may not read lists (owner root"),
        ("hidden folder of lists", 78, "permission denied: nobody may not enter the folder {folder}/hidden (owner"),
    ],
)
def test_a_wrong_owner_is_one_clear_line(wrong: str, status: int, text: str, for_nobody: Path) -> None:
    more = {}
    if "lists" in wrong:
        more["senders"] = "hidden/lists" if "hidden" in wrong else "lists"
        (for_nobody / more["senders"]).mkdir(parents=True)
        (for_nobody / more["senders"].split("/")[0]).chmod(0o700)
    config, _ = configured(for_nobody, socket=f"unix:{for_nobody}/socket/milter.sock", **more)
    match wrong:
        case "folder":
            os.chown(for_nobody / "socket", 0, 0)
        case "hidden folder":
            for_nobody.joinpath("socket/in").mkdir()
            configured(for_nobody, socket=f"unix:{for_nobody}/socket/in/milter.sock")
            os.chown(for_nobody / "socket", 0, 0)
            (for_nobody / "socket").chmod(0o700)
        case "config":
            config.chmod(0o600)
        case "list":
            (for_nobody / "trusted-senders.yaml").chmod(0o600)
    result = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, "run", "--config", config], capture_output=True, text=True, timeout=30
    )
    assert result.returncode == status, result.stderr
    assert text.format(folder=for_nobody) in result.stderr
    assert result.stderr.count("\n") == 1


# ---- the log -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("log", ["2>/dev/full", "2>&-", "2>&- >&- <&-"])
def test_a_log_that_cannot_be_written_stops_no_mail(log: str, tmp_path: Path) -> None:
    config, address = configured(tmp_path)
    command: list[str | Path] = ["sh", "-c", f'exec "$0" "$@" {log}', PROGRAM, "run", "--config", config]
    server = Server(command, tmp_path / "log")
    try:
        wait_ready(address)
        write_list(tmp_path, "second")
        reload = subprocess.run([PROGRAM, "reload", "--wait", "--config", config], timeout=60)
        assert reload.returncode == 0
        assert send(address) == imitation("second")
    finally:
        server.end()


def test_a_log_that_nobody_reads_stops_no_mail(tmp_path: Path) -> None:
    config, address = configured(tmp_path)
    reading, writing = os.pipe()
    process = subprocess.Popen([PROGRAM, "run", "--config", config], stderr=writing)
    try:
        os.set_blocking(writing, False)
        wait_ready(address)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writing, b"x" * 512)
        os.set_blocking(writing, True)
        assert [send(address) for _ in range(10)] == [imitation("first")] * 10
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reading)
        os.close(writing)


def test_lines_of_several_workers_do_not_mix(tmp_path: Path) -> None:
    long = [(b"From", b' "notices@shop.example" <a@evil.example>'), (b"Message-ID", b" <" + b"\xc3\xa9" * 900 + b">")]
    with running(tmp_path, workers=4) as service:

        def sender(number: int) -> None:
            with MilterClient(service.address) as client:
                client.connect()
                for count in range(25):
                    client.message(long, b"", queue_id=f"4Q{number}X{count}X")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(sender, range(8)))
        lines = [line for line in service.log().splitlines() if line.startswith("4Q")]
        assert {line.partition(":")[0] for line in lines} == {f"4Q{n}X{c}X" for n in range(8) for c in range(25)}
        assert len(lines) == 200
        assert all(" verdict=imitation " in line and " ms=" in line and line.count("verdict=") == 1 for line in lines)


# ---- systemd -----------------------------------------------------------------------------------------


class Systemd:
    """The socket that systemd listens at."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.settimeout(PATIENCE)

    def wait_for(self, line: str) -> list[str]:
        """All that was said until a line that begins so."""
        said: list[str] = []
        deadline = time.monotonic() + PATIENCE
        while not any(known.startswith(line) for known in said):
            assert time.monotonic() < deadline, f"{line} is missing: {said}"
            said += self._socket.recv(4096).decode().splitlines()
        return said

    def silent(self, line: str, seconds: float) -> bool:
        """Whether such a line is not said for some time, after what has been said already."""
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(4096)
        time.sleep(seconds)
        said = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                said += self._socket.recv(4096) + b"\n"
        self._socket.settimeout(PATIENCE)
        return line.encode() not in said


def test_what_systemd_is_told(tmp_path: Path) -> None:
    systemd = Systemd(tmp_path)
    environment = {"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "1500000"}
    with running(tmp_path, environment=environment) as service:
        systemd.wait_for("READY=1")
        systemd.wait_for("WATCHDOG=1")
        send(service.address)
        systemd.wait_for("STATUS=2 workers, generation 1, 1 messages, 0 verified, 0 in flight")
        service.signal(signal.SIGHUP)
        assert any(line.startswith("MONOTONIC_USEC=") for line in systemd.wait_for("RELOADING=1"))
        systemd.wait_for("READY=1")
        (tmp_path / "trusted-senders.yaml").write_text("no list")
        with ThreadPoolExecutor(1) as pool:  # systemd reads all the time; the kernel keeps ten
            reloading = pool.submit(service.reload, "--wait")
            systemd.wait_for("RELOADING=1")
            systemd.wait_for("READY=1")
            assert reloading.result().returncode == 78
        assert wait_until(lambda: len(service.children()) == 2, 20)
        # The watchdog is fed by an answer at the socket: none can come from workers that are stopped.
        for pid in service.children():
            os.kill(pid, signal.SIGSTOP)
        # What was answered just before is still told.
        assert wait_until(lambda: systemd.silent("WATCHDOG=1", 2))
        for pid in service.children():
            os.kill(pid, signal.SIGCONT)
        systemd.wait_for("WATCHDOG=1")
        service.signal(signal.SIGTERM)
        systemd.wait_for("STOPPING=1")
        assert service.wait(10) == 0


def test_the_shipped_file_serves(tmp_path: Path) -> None:
    """As many workers as the machine is worth, and all figures as they are shipped."""
    settings = yaml.safe_load((SHIPPED / "pratique.yaml").read_text()) or {}
    (tmp_path / "trusted-senders.yaml").write_bytes((ROOT / "config" / "trusted-senders.yaml").read_bytes())
    address = f"unix:{tmp_path}/milter.sock"
    (tmp_path / "pratique.yaml").write_text(yaml.safe_dump(settings | {"socket": address}))
    with Service(tmp_path / "pratique.yaml", address) as service:
        expected = min(8, max(2, 2 * len(os.sched_getaffinity(0))))
        assert wait_until(lambda: len(service.children()) == expected, 10)
