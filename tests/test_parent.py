"""The parent when something around it fails: links, sockets and file descriptors; and who may ask it for what.

All of it with a real `pratique run`, as in test_service.py.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pratique.service import parent
from test_service import FIELDS, Gate, Systemd, configured, imitation, running, send, tag, write_list

from harness.milter_client import MilterClient, Outcome
from harness.ports import free_port, wait_until
from harness.service import PROGRAM, Service

NOBODY, DAEMON, GAMES = 65534, 1, 60  # users and groups that every Debian has


def answers(address: str, seconds: float) -> bool:
    """Whether a message is judged within some seconds, over however many tries."""

    def once() -> bool:
        try:
            return send(address).startswith("imitation")
        except OSError:
            return False

    return wait_until(once, seconds)


# ---- links ---------------------------------------------------------------------------------------------


def swap(link: Path, target: str) -> None:
    """Have a link lead elsewhere, as deployments do it."""
    link.with_suffix(".new").symlink_to(target)
    link.with_suffix(".new").rename(link)


@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_configuration_behind_a_swapped_link_is_reloaded(what: str, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        configured(tmp_path / name, socket=f"unix:{tmp_path}/milter.sock", senders=f"{tmp_path}/{name}/list.yaml")
        write_list(tmp_path / name, name)
        (tmp_path / name / "trusted-senders.yaml").rename(tmp_path / name / "list.yaml")
    link = tmp_path / ("current" if what == "folder" else "pratique.yaml")
    leads_to = {name: name if what == "folder" else f"{name}/pratique.yaml" for name in ("first", "second")}
    swap(link, leads_to["first"])
    config = link / "pratique.yaml" if what == "folder" else link
    with Service(config, f"unix:{tmp_path}/milter.sock") as service:
        assert send(service.address) == imitation("first")
        swap(link, leads_to["second"])
        done = service.reload()
        assert (done.returncode, done.stderr) == (0, "")
        assert send(service.address) == imitation("second")
        # By the file's own name, too, wherever the command is typed.
        done = subprocess.run(
            [PROGRAM, "reload", "--config", "second/pratique.yaml"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        other = subprocess.run([PROGRAM, "reload", "--config", tmp_path / "first/pratique.yaml"], timeout=60)
        assert other.returncode == 69


# ---- sockets -------------------------------------------------------------------------------------------


def test_a_socket_that_is_removed_comes_back_and_loses_nothing(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    gate.gate.touch()
    with running(tmp_path, gate.changes) as service, MilterClient(service.address) as before:
        path = tmp_path / "milter.sock"
        mode = path.stat().st_mode
        before.connect()
        for _ in range(2):
            path.unlink()
            assert answers(service.address, 3)
            assert path.stat().st_mode == mode
        gate.gate.unlink()
        gate.started.unlink()
        gate.begin(service)
        path.unlink()
        assert wait_until(path.exists, 3)
        gate.open()
        assert answers(service.address, 3)
        outcome = gate.end()
        assert isinstance(outcome, Outcome)
        assert tag(outcome) == imitation("first")
        assert tag(before.message(FIELDS, b"text\r\n")) == imitation("first")
        assert service.log().count("was removed: opened again") == 3
        assert "exited" not in service.log()
        assert "ended by itself" not in service.log()
        write_list(tmp_path, "second")
        assert service.reload().returncode == 0
        assert send(service.address) == imitation("second")
        service.signal(signal.SIGTERM)
        before.drop()
        assert service.wait(10) == 0
        assert not path.exists()


def test_a_folder_that_is_removed_and_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "socket"
    folder.mkdir()
    with running(tmp_path, socket=f"unix:{folder}/milter.sock") as service:
        folder.rename(tmp_path / "away")
        assert wait_until(lambda: "cannot be opened again: " in service.log(), 5)
        time.sleep(2.5)
        assert service.log().count("cannot be opened again: ") == 1
        folder.mkdir()
        assert answers(service.address, 3)
        assert wait_until(lambda: service.reload().returncode == 0, 3)


def test_a_socket_in_our_place_that_answers_is_left_alone(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        path = tmp_path / "milter.sock"
        path.rename(tmp_path / "away")
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(tmp_path / "other"))
            other.listen(64)
            os.rename(tmp_path / "other", path)  # in one step: the service must not come first
            inode = path.stat().st_ino
            if not wait_until(lambda: "another milter is listening there already" in service.log(), 5):
                pytest.fail(service.log())
            assert path.stat().st_ino == inode
        assert answers(service.address, 5)  # it is gone: its socket is stale


def test_a_control_socket_that_is_removed_comes_back(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        (tmp_path / "milter.sock.control").unlink()
        assert wait_until((tmp_path / "milter.sock.control").exists, 3)
        write_list(tmp_path, "second")
        assert service.reload().returncode == 0
        assert send(service.address) == imitation("second")
        service.signal(signal.SIGTERM)
        assert service.wait(10) == 0
        assert not (tmp_path / "milter.sock.control").exists()


# ---- reload waits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("option", "status"), [((), 78), (("--wait",), 78), (("--no-wait",), 0)])
def test_reload_waits_unless_told_otherwise(option: tuple[str, ...], status: int, tmp_path: Path) -> None:
    with running(tmp_path) as service:
        (tmp_path / "trusted-senders.yaml").write_text("no list")
        done = service.reload(*option)
        assert done.returncode == status
        assert (f"{tmp_path}/trusted-senders.yaml:1:1: " in done.stderr) == (status == 78)
        assert wait_until(lambda: "nothing has changed, generation 1 stays in force" in service.log(), 10)


# ---- who may ask ---------------------------------------------------------------------------------------

AS_USER = """
import os, sys
import encodings.idna, pratique.cli.reload, pratique.cli.check
uid, groups = int(sys.argv.pop(1)), [int(g) for g in sys.argv.pop(1).split(",")]
os.setgroups(groups[1:]); os.setgid(groups[0]); os.setuid(uid)
pratique.cli.main()
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user can reach."""
    if os.geteuid() != 0:
        pytest.fail("this test becomes other users: run it as root")
    with tempfile.TemporaryDirectory(prefix="pratique-test-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def as_user(uid: int, groups: str, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """A command as another user; the first group is the primary one."""
    program = [sys.executable, "-c", AS_USER, str(uid), groups, *command]
    return subprocess.run(program, capture_output=True, text=True, timeout=60)


def test_editors_may_reload_and_others_are_told_who_may(public: Path) -> None:
    with running(public, "import pratique.service.control as c\nc.EDITORS = 'games'") as service:
        reload = ("reload", "--config", public / "pratique.yaml")
        for uid, groups in ((NOBODY, f"{NOBODY},{GAMES}"), (NOBODY, f"{GAMES}"), (0, "0")):
            done = as_user(uid, groups, *reload)
            assert (done.returncode, done.stderr) == (0, ""), (uid, groups)
            assert f"`pratique reload` of uid {uid}" in service.log()
        for uid, groups in ((NOBODY, f"{NOBODY}"), (DAEMON, f"{DAEMON},{NOBODY}")):
            before = service.log().count(" is in force")
            for option in ("--wait", "--no-wait"):
                done = as_user(uid, groups, *reload, option)
                assert done.returncode == 77
                assert done.stderr.startswith(f"pratique: permission denied: this is uid {uid}, ")
                assert "members of the group games may ask for a reload" in done.stderr
                assert done.stderr.count("\n") == 1
            assert service.log().count(" is in force") == before
        assert f"reload: refused: uid {DAEMON} may not ask for it" in service.log()


def test_a_control_socket_that_cannot_be_reached_is_one_line(public: Path) -> None:
    (public / "socket").mkdir(mode=0o700)
    with running(public, socket=f"unix:{public}/socket/milter.sock"):
        done = as_user(NOBODY, f"{NOBODY}", "reload", "--config", public / "pratique.yaml")
        assert done.returncode == 77
        assert done.stderr.startswith(f"pratique: permission denied: {public}/socket/milter.sock.control ")
        assert "group pratique-editors" in done.stderr
        assert done.stderr.count("\n") == 1


def test_strangers_cannot_take_the_places_of_those_who_may_ask(public: Path) -> None:
    """A user who opens connections and says nothing."""
    occupy = f"""
import os, socket, sys, time
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
held = [socket.socket(socket.AF_UNIX) for _ in range(60)]
for one in held:
    one.connect({str(public / "milter.sock.control")!r})
print("ready", flush=True)
time.sleep(60)
"""
    with running(public) as service:
        program = [sys.executable, "-c", occupy]
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as occupying:
            assert occupying.stdout
            assert occupying.stdout.readline() == "ready\n"
            started = time.monotonic()
            assert service.reload().returncode == 0
            assert time.monotonic() - started < 4
            occupying.kill()


# ---- no file descriptor is left ------------------------------------------------------------------------


class Limited:
    """A service whose parent can open nothing more while the context is open."""

    def __init__(self, service: Service) -> None:
        self._pid = service.pid

    def __enter__(self) -> None:
        self._before = resource.prlimit(self._pid, resource.RLIMIT_NOFILE)
        opened = {int(name) for name in os.listdir(f"/proc/{self._pid}/fd")}
        free = next(number for number in range(len(opened) + 1) if number not in opened)
        resource.prlimit(self._pid, resource.RLIMIT_NOFILE, (free, self._before[1]))

    def __exit__(self, *_: object) -> None:
        resource.prlimit(self._pid, resource.RLIMIT_NOFILE, self._before)


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def test_a_parent_without_descriptors_goes_on(tmp_path: Path) -> None:
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(tmp_path / "notify"))
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1500000"}
    with notify, running(tmp_path, environment=environment) as service:
        assert answers(service.address, 5)
        control = socket.socket(socket.AF_UNIX)
        with Limited(service):
            victim = min(service.children())
            os.kill(victim, signal.SIGKILL)
            assert wait_until(lambda: "cannot start a worker: Too many open files" in service.log(), 10)
            control.connect(str(tmp_path / "milter.sock.control"))
            before = cpu(service.pid)
            notify.settimeout(5)
            fed = time.monotonic() + 3
            count = 0
            while time.monotonic() < fed:
                count += b"WATCHDOG=1" in notify.recv(4096)
            assert count >= 3
            assert cpu(service.pid) - before < 1
            service.signal(signal.SIGHUP)
            assert wait_until(lambda: "cannot start the process that reads the files: " in service.log(), 10)
            assert send(service.address) == imitation("first")
            (tmp_path / "milter.sock").unlink()
            assert wait_until(lambda: "cannot be opened again: " in service.log(), 10)
            for _ in range(7):  # more often than the service starts workers in vain
                time.sleep(1)
                assert service.running()
        control.close()
        assert answers(service.address, 8)
        assert wait_until(lambda: len(service.children()) == 2, 20)
        write_list(tmp_path, "second")
        assert service.reload().returncode == 0
        assert send(service.address) == imitation("second")
        assert "do not share what they know" not in service.log()
        assert "Traceback" not in service.log()


def test_without_any_worker_it_waits_for_descriptors(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        assert answers(service.address, 5)
        with Limited(service):
            for pid in service.children():
                os.kill(pid, signal.SIGKILL)
            assert wait_until(lambda: service.log().count("cannot start a worker: ") >= 6, 20)
            assert service.running()
        assert answers(service.address, 10)


def test_metrics_that_get_no_descriptor_stop_no_mail(tmp_path: Path) -> None:
    with running(tmp_path, metrics={"listen": f"127.0.0.1:{free_port()}"}) as service:
        exporter = max(service.children())
        with Limited(service):
            os.kill(exporter, signal.SIGKILL)
            assert wait_until(lambda: "cannot begin the process that serves them: Too many" in service.log(), 15)
            assert send(service.address) == imitation("first")
        assert wait_until(lambda: len(service.children()) == 3, 15)


def test_an_error_of_the_parent_is_not_taken_for_one_of_the_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    folders = []

    def use() -> None:
        with parent._dns_memory() as memory:
            assert memory
            folders.append(memory.parent)
            raise OSError(24, "Too many open files")

    with pytest.raises(OSError, match="Too many"):
        use()
    assert [folder.exists() for folder in folders] == [False]
    assert capsys.readouterr().err == ""


def test_the_status_is_for_everyone(tmp_path: Path) -> None:
    with running(tmp_path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "milter.sock.control"))
        client.sendall(f"status {tmp_path}/pratique.yaml\n".encode())
        found = json.loads(client.recv(65536))
        assert (found["status"], found["facts"]["generation"]) == (0, 1)


# ---- what a reload says --------------------------------------------------------------------------------


def entry(sender: str, **more: object) -> dict[str, object]:
    return {"name": sender.title(), "domain": f"{sender}.example", "addresses": [f"a@{sender}.example"]} | more


def write_senders(folder: Path, **senders: dict[str, object]) -> None:
    (folder / "trusted-senders.yaml").write_text(yaml.safe_dump({"senders": senders}))


def test_a_reload_says_what_changes_in_trust_and_who_asked(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        write_senders(tmp_path, one=entry("one"), two=entry("two", require="dkim"))
        done = service.reload()
        assert done.returncode == 0
        assert done.stderr == "pratique: warning: 1 trusted sender is no longer trusted: first (first)\n"
        log = service.log().splitlines()
        assert f"reload: `pratique reload` of uid {os.geteuid()}" in log
        assert "reload: trust: + now trusts a@one.example by DKIM or SPF (entry one)" in log
        assert "reload: trust: - no longer trusts notices@shop.example (entry first)" in log
        write_senders(tmp_path, two=entry("two"))
        configured_mode(tmp_path)
        assert service.reload().returncode == 0
        log = service.log().splitlines()
        assert "reload: trust: ! weaker: a@two.example was by DKIM, now by DKIM or SPF" in log
        assert "reload: 1 trusted sender is no longer trusted: one (One)" in log
        assert "reload: held: ! mode was enforce, now observe" in log
        before = len(log)
        assert service.reload().returncode == 0  # nothing has changed
        assert not [
            line for line in service.log().splitlines()[before:] if "trust" in line and "is in force" not in line
        ]


def configured_mode(folder: Path) -> None:
    """Have the service observe only."""
    text = (folder / "pratique.yaml").read_text()
    (folder / "pratique.yaml").write_text(f"{text}mode: observe\n")


def test_what_a_reload_says_is_bounded(tmp_path: Path) -> None:
    many = {f"sender{number}": entry(f"sender{number}") for number in range(300)}
    with running(tmp_path) as service:
        write_senders(tmp_path, **many)
        assert service.reload().returncode == 0
        assert service.log().count("reload: trust: ") == 20
        assert "reload: and 281 changes more" in service.log()
        write_senders(tmp_path, sender0=many["sender0"])
        done = service.reload()
        assert "warning: 299 trusted senders are no longer trusted: sender1 (Sender1), " in done.stderr
        assert done.stderr.endswith(" and 279 more\n")


def test_each_line_has_the_generation_that_judged(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        send(service.address, "4ONE")
        write_list(tmp_path, "second")
        assert service.reload().returncode == 0
        send(service.address, "4TWO")
        assert service.log_lines("4ONE")[0].endswith(" gen=1")
        assert service.log_lines("4TWO")[0].endswith(" gen=2")


def test_all_recipients_reach_the_log(tmp_path: Path) -> None:
    rcpts = [f"person{number}@commune.example" for number in range(60)]
    with running(tmp_path) as service, MilterClient(service.address) as client:
        client.connect()
        client.message(FIELDS, b"text\r\n", queue_id="4MANY", rcpts=rcpts)
        line = service.log_lines("4MANY")[0]
        assert all(rcpt in line for rcpt in rcpts)
        assert " rcpts=60 " in line


def test_the_status_line_counts_what_is_not_judged(tmp_path: Path) -> None:
    systemd = Systemd(tmp_path)
    with running(tmp_path, environment={"NOTIFY_SOCKET": str(systemd.path)}) as service:
        systemd.wait_for("STATUS=2 workers, generation 1, NO MESSAGE YET: does the mail server use unix:")
        with MilterClient(service.address) as client:
            client.connect("127.0.0.1")
            client.message(FIELDS, b"text\r\n", queue_id="4LOCAL")
        systemd.wait_for("STATUS=2 workers, generation 1, 1 messages, 0 verified, 0 in flight, 1 unchecked")
        assert " because=local-network " in service.log_lines("4LOCAL")[0]
