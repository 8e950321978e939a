"""The last good configuration: what is kept, what a start with wrong files makes of it, a power cut at every step."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pratique.service.lastgood import DamagedError, Kept, Store
from test_parent import Limited, answers
from test_service import Systemd, configured, imitation, running, send, write_list

from harness.ports import free_port, wait_until
from harness.service import PROGRAM, Service

# ---- a real service ------------------------------------------------------------------------------------


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


@contextlib.contextmanager
def serving(folder: Path, state: Path, **more: Any) -> Iterator[Service]:
    """A service with a state directory, once its configuration has been kept."""
    environment = {"STATE_DIRECTORY": str(state)} | more.pop("environment", {})
    with running(folder, environment=environment, **more) as service:
        assert wait_until(lambda: (state / "last-good" / "about.json").exists(), 10), service.log()
        yield service


def start(folder: Path, state: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`pratique run` that is to end by itself."""
    command: list[str | Path] = [PROGRAM, "run", "--config", folder / "pratique.yaml", *options]
    env = os.environ | {"STATE_DIRECTORY": str(state)} | environment
    return subprocess.run(command, capture_output=True, text=True, timeout=30, env=env)


def start_again(folder: Path, state: Path, notify: str = "") -> Service:
    """The service with the files as they are now."""
    address = f"unix:{folder}/milter.sock"
    return Service(folder / "pratique.yaml", address, STATE_DIRECTORY=str(state), NOTIFY_SOCKET=notify)


def about(state: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((state / "last-good" / "about.json").read_text())
    return found


def break_list(folder: Path) -> None:
    (folder / "trusted-senders.yaml").write_text("senders:\n  first:\n    domain: fr\n    adresses: []\n")


def break_service_file(folder: Path) -> None:
    with (folder / "pratique.yaml").open("a") as opened:
        opened.write("mod: x\n")


def remove_service_file(folder: Path) -> None:
    (folder / "pratique.yaml").unlink()


def hide_service_file(folder: Path) -> None:
    (folder / "pratique.yaml").unlink()
    (folder / "pratique.yaml").mkdir()


def remove_list(folder: Path) -> None:
    (folder / "trusted-senders.yaml").unlink()


def test_what_is_in_force_is_kept_verbatim(tmp_path: Path, state: Path) -> None:
    with serving(tmp_path, state) as service:
        for path in (tmp_path / "pratique.yaml", tmp_path / "trusted-senders.yaml"):
            kept = state / "last-good" / ("senders" if "senders" in path.name else "") / path.name
            assert kept.read_bytes() == path.read_bytes()
            assert kept.stat().st_mode & 0o777 == 0o600
        found = about(state)
        assert (found["generation"], found["uid"]) == (1, None)
        assert abs(found["since"] - time.time()) < 60
        write_list(tmp_path, "second")
        assert service.reload().returncode == 0
        assert about(state)["generation"] == 2  # on the disk before the command ends
        assert about(state)["uid"] == os.geteuid()
        kept = state / "last-good" / "senders" / "trusted-senders.yaml"
        assert kept.read_bytes() == (tmp_path / "trusted-senders.yaml").read_bytes()
        break_list(tmp_path)
        assert service.reload().returncode == 78
        assert about(state)["generation"] == 2
        write_list(tmp_path, "second")
        assert service.reload().returncode == 0  # the very files once more
        assert wait_until(lambda: about(state)["generation"] == 3, 5)
        assert about(state)["first_generation"] == 2
        assert sorted(path.name for path in (state / "generations").iterdir()) == ["000001", "000003"]
    with start_again(tmp_path, state) as service:
        assert "generation=3" not in service.log()  # nothing new: the number stays
        assert send(service.address) == imitation("second")
        time.sleep(1)
        assert about(state)["generation"] == 3


def test_a_service_that_is_stopped_at_once_has_kept_its_configuration(tmp_path: Path, state: Path) -> None:
    configured(tmp_path)
    with start_again(tmp_path, state) as service:
        # The socket is open before a worker serves, and only then the configuration is in force.
        assert send(service.address) == imitation("first")
        service.signal(signal.SIGTERM)
        assert service.wait(10) == 0
    break_list(tmp_path)
    with start_again(tmp_path, state) as service:
        assert send(service.address) == imitation("first")


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (break_list, "trusted-senders.yaml:3:13: senders.first.domain: "),
        (break_service_file, "mod: there is no such key"),
        (remove_service_file, "pratique.yaml: No such file or directory"),
        (hide_service_file, "pratique.yaml: Is a directory"),
        (remove_list, "trusted-senders.yaml: No such file or directory"),
    ],
)
def test_a_start_with_wrong_files_serves_what_was_good(spoil: Any, error: str, tmp_path: Path, state: Path) -> None:
    with serving(tmp_path, state) as service:
        pass
    spoil(tmp_path)
    started = time.monotonic()
    with start_again(tmp_path, state) as service:
        assert send(service.address) == imitation("first")
        assert time.monotonic() - started < 10
        log = service.log()
        assert error in log
        assert "in force is the last good configuration, of 20" in log
        # A reload of wrong files fails as ever, and that of good ones ends it.
        (tmp_path / "run").mkdir()
        if spoil is not remove_service_file and spoil is not hide_service_file:
            assert service.reload().returncode == 78
        if spoil is hide_service_file:
            (tmp_path / "pratique.yaml").rmdir()
        configured(tmp_path)
        write_list(tmp_path, "second")
        assert service.reload().returncode == 0
        assert send(service.address) == imitation("second")
    break_list(tmp_path)
    refused = start(tmp_path, state, "--strict")
    assert refused.returncode == 78
    assert refused.stderr.count("\n") == 2
    assert "last good" not in refused.stderr


def test_a_folder_of_lists(tmp_path: Path, state: Path) -> None:
    (tmp_path / "lists").mkdir()
    for name, domain in (("a", "shop"), ("b", "other")):
        text = f"senders: {{{name}: {{domain: {domain}.example, addresses: [notices@{domain}.example]}}}}\n"
        (tmp_path / "lists" / f"{name}.yaml").write_text(text)
    with serving(tmp_path, state, senders="lists"):
        pass
    assert sorted(path.name for path in (state / "last-good/senders").iterdir()) == ["a.yaml", "b.yaml"]
    shutil.rmtree(tmp_path / "lists")
    with start_again(tmp_path, state) as service:
        assert "2 trusted senders" in service.log()
        assert send(service.address) == imitation("a")


def test_everywhere_it_is_said(tmp_path: Path, state: Path) -> None:
    """systemctl status, check, the metrics; and nowhere, once the files are in force."""
    port = free_port()
    metrics = {"metrics": {"listen": f"127.0.0.1:{port}"}}
    with serving(tmp_path, state, **metrics) as service:
        assert value(port, 'pratique_config_in_force{source="files"}') == 1
        assert value(port, 'pratique_config_in_force{source="last-good"}') == 0
        assert value(port, "pratique_config_pending") == 0
        done = check(tmp_path)
        assert done.returncode == 0
        assert "in force since 20" in done.stdout.splitlines()[-1]
        assert done.stdout.splitlines()[-1].endswith(": generation 1, 1 trusted sender")
        write_list(tmp_path, "second")
        done = check(tmp_path)
        said = f"not in force yet: {tmp_path}/trusted-senders.yaml. To take the files into use: pratique reload"
        assert done.stdout.splitlines()[-1] == said
        assert wait_until(lambda: value(port, "pratique_config_pending") == 1, 20)
        write_list(tmp_path, "first")
        assert wait_until(lambda: value(port, "pratique_config_pending") == 0, 20)
    break_list(tmp_path)
    systemd = Systemd(tmp_path)
    with start_again(tmp_path, state, str(systemd.path)) as service:
        systemd.wait_for("STATUS=FILES ARE WRONG, LAST GOOD CONFIGURATION of 20")
        assert wait_until(lambda: value(port, 'pratique_config_in_force{source="files"}') == 0, 10)
        assert value(port, 'pratique_config_in_force{source="last-good"}') == 1
        assert value(port, "pratique_config_pending") == 1
        done = check(tmp_path)
        assert done.returncode == 78
        assert "the last good configuration, generation 1, 1 trusted sender" in done.stderr.splitlines()[-1]
        told = json.loads(check(tmp_path, "--json").stdout)
        assert told["in_force"]["source"] == "last-good"
        assert told["good"] is False
        write_list(tmp_path, "first")
        done = check(tmp_path)
        assert done.returncode == 0
        assert done.stdout.splitlines()[-1].endswith("To take the files into use: pratique reload")
        assert service.reload().returncode == 0
        assert wait_until(lambda: value(port, 'pratique_config_in_force{source="files"}') == 1, 10)
        assert wait_until(lambda: value(port, "pratique_config_pending") == 0, 10)
        assert "last good" not in check(tmp_path).stdout


def check(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [PROGRAM, "check", "--config", folder / "pratique.yaml", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def value(port: int, name: str) -> float | None:
    """A figure of the metrics; None while nobody serves them, or it is not there."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        time.sleep(0.5)
        return value(port, name)
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), None)


def test_a_bad_list_and_the_parent_killed(tmp_path: Path, state: Path) -> None:
    """What systemd does then, by hand: mail flows again within 3 seconds."""
    with serving(tmp_path, state) as service:
        break_list(tmp_path)
        assert service.reload().returncode == 78
        service.signal(signal.SIGKILL)
        assert service.wait(5) == -signal.SIGKILL
        started = time.monotonic()
        with start_again(tmp_path, state) as second:
            assert send(second.address) == imitation("first")
            assert time.monotonic() - started < 3


def test_without_a_good_one_the_start_fails(tmp_path: Path, state: Path) -> None:
    configured(tmp_path)
    break_list(tmp_path)
    done = start(tmp_path, state)
    assert done.returncode == 78
    assert f"there is no last good configuration in {state}" in done.stderr
    assert "trusted-senders.yaml:3:13: " in done.stderr


def test_the_folder_named_in_a_file_with_errors(tmp_path: Path, state: Path) -> None:
    with running(tmp_path, state_directory=str(state)) as service:
        assert "no state directory" not in service.log()
        assert wait_until((state / "last-good").exists, 10)
    break_service_file(tmp_path)
    with Service(tmp_path / "pratique.yaml", f"unix:{tmp_path}/milter.sock") as service:
        assert send(service.address) == imitation("first")


def test_no_state_directory_is_said(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        assert "no state directory: wrong files at the next start will stop the service" in service.log()


def readable(state: Path, folder: Path) -> bool:
    try:
        return Store(state, folder / "pratique.yaml").read() is not None
    except DamagedError:
        return False


@pytest.mark.parametrize("what", ["cut", "bit", "gone", "about", "no json", "dangling", "of another service", "open"])
def test_a_damaged_one_is_refused_and_said(what: str, tmp_path: Path, state: Path) -> None:
    with serving(tmp_path, state):
        pass
    place = state / "last-good"
    kept = place / "senders" / "trusted-senders.yaml"
    match what:
        case "cut":
            os.truncate(kept, 10)
        case "bit":
            octets = bytearray(kept.read_bytes())
            octets[20] ^= 1
            kept.write_bytes(octets)
        case "gone":
            kept.unlink()
        case "about":
            found = about(state)
            found["generation"] = 7
            (place / "about.json").write_text(json.dumps(found))
        case "no json":
            (place / "about.json").write_text("[" * 100_000)
        case "dangling":
            shutil.rmtree(state / "generations")
        case "of another service":
            (tmp_path / "pratique.yaml").rename(tmp_path / "other.yaml")
        case "open":
            os.chmod(place.resolve(), 0o777)
    break_list(tmp_path)
    if what == "of another service":
        command: list[str | Path] = [PROGRAM, "run", "--config", tmp_path / "other.yaml"]
        env = os.environ | {"STATE_DIRECTORY": str(state)}
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=env)
    else:
        done = start(tmp_path, state)
    assert done.returncode == 78
    assert "the last good configuration cannot be used: " in done.stderr
    assert "Traceback" not in done.stderr
    # With good files it starts, says so, and has a new one.
    write_list(tmp_path, "second")
    if what == "of another service":
        return
    with start_again(tmp_path, state) as service:
        assert "the last good configuration could not have been used: " in service.log()
        assert wait_until(lambda: readable(state, tmp_path), 10)


def test_a_state_directory_that_cannot_be_written_stops_no_mail(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no folder")
    environment = {"STATE_DIRECTORY": str(tmp_path / "state")}
    with running(tmp_path, environment=environment) as service:
        assert "the configuration cannot be kept for the next start: " in service.log()
        write_list(tmp_path, "second")
        assert service.reload().returncode == 0
        assert send(service.address) == imitation("second")


def test_without_descriptors_it_is_kept_later(tmp_path: Path, state: Path) -> None:
    slow = "import pratique.service.lastgood as l, time\nwhole = l.Store.commit\n"
    slow += "def commit(*a):\n    time.sleep(1)\n    whole(*a)\nl.Store.commit = commit\n"
    environment = {"STATE_DIRECTORY": str(state)}
    with running(tmp_path, slow, environment=environment) as service:
        assert answers(service.address, 5)
        write_list(tmp_path, "second")
        assert service.reload("--no-wait").returncode == 0
        with Limited(service):
            time.sleep(2)
            assert service.running()
        assert wait_until(lambda: (state / "last-good").exists() and about(state)["generation"] >= 1, 20)
        assert answers(service.address, 5)


# ---- a power cut at every step -------------------------------------------------------------------------

OLD = {Path("/etc/p.yaml"): b"mode: observe\n", Path("/etc/l.yaml"): b"old" * 5000}
NEW = {Path("/etc/p.yaml"): b"mode: enforce\n", Path("/etc/l.yaml"): b"new" * 5000}

# Ends the process before or after the step `number` of those that change the disk. Where the power is cut, what was
# written and not yet synced is half there.
CUT = """
    import os, sys
    from pathlib import Path
    number, after, cut = int(sys.argv[2]), sys.argv[3] == "after", sys.argv[4] == "power"
    steps = 0
    unsynced = {}
    def end():
        for path in unsynced.values():
            if cut and os.path.isfile(path):
                os.truncate(path, os.path.getsize(path) // 2)
        os._exit(99)
    def layer(name):
        real = getattr(os, name)
        def step(*arguments, **more):
            global steps
            steps += 1
            if steps == number and not after:
                end()
            if name == "write":
                where = os.readlink(f"/proc/self/fd/{arguments[0]}")
                unsynced[where] = where
                arguments = (arguments[0], bytes(arguments[1])[:4096])  # a disk takes less than it is given
            try:
                done = real(*arguments, **more)
            except OSError:
                if steps == number and after:
                    end()
                raise
            if name == "fsync":
                unsynced.pop(os.readlink(f"/proc/self/fd/{arguments[0]}"), None)
            if name in ("rename", "replace"):
                for path in list(unsynced):
                    if path.startswith(f"{os.path.abspath(arguments[0])}/"):
                        moved = path.replace(os.path.abspath(arguments[0]), os.path.abspath(arguments[1]), 1)
                        unsynced[moved] = moved
                        del unsynced[path]
            if steps == number and after:
                end()
            return done
        setattr(os, name, step)
    for name in ("open", "write", "fsync", "close", "mkdir", "rename", "replace", "symlink", "unlink", "rmdir"):
        layer(name)
    from pratique.service.lastgood import Kept, Store
    store = Store(Path(sys.argv[1]), Path("/etc/p.yaml"))
    files = {Path("/etc/p.yaml"): b"mode: enforce\\n", Path("/etc/l.yaml"): b"new" * 5000}
    store.commit(store.stage(Kept(files, 2, 2, 1.0, 0)))
    """


def keep(store: Store, number: int, files: dict[Path, bytes]) -> None:
    store.commit(store.stage(Kept(files, number, number, 1.0)))


@pytest.mark.parametrize("how", ["kill", "power"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_power_cut_at_every_step_leaves_the_old_or_the_new(when: str, how: str, tmp_path: Path) -> None:
    script = tmp_path / "cut.py"
    script.write_text(textwrap.dedent(CUT))
    found = []
    for number in range(1, 200):
        folder = tmp_path / f"state-{number}"
        folder.mkdir(mode=0o700)
        store = Store(folder, Path("/etc/p.yaml"))
        keep(store, 1, OLD)
        done = subprocess.run([sys.executable, script, folder, str(number), when, how], timeout=30)
        kept = store.read()
        assert kept is not None
        assert kept.files in (OLD, NEW), number
        found.append(kept.files == NEW)
        keep(store, 3, OLD)  # whatever was left behind is no hindrance
        again = store.read()
        assert again is not None
        assert (again.files, again.generation) == (OLD, 3)
        assert not [name for name in os.listdir(folder / "generations") if name.startswith(".")]
        if done.returncode == 0:
            break
        assert done.returncode == 99
    assert number > 25
    assert found == sorted(found)  # once the new one counts it does so for good
    assert True in found
    assert False in found


def test_fifty_are_kept_before_the_last(tmp_path: Path) -> None:
    store = Store(tmp_path, Path("/etc/p.yaml"))
    for number in range(1, 60):
        keep(store, number, {Path("/etc/p.yaml"): b"%d" % number, Path("/etc/l.yaml"): b""})
    names = sorted(os.listdir(tmp_path / "generations"))
    assert names == [f"{number:06}" for number in range(9, 60)]
    assert store.newest() == 59


def test_a_backup_that_was_copied_back_without_its_link(tmp_path: Path) -> None:
    store = Store(tmp_path, Path("/etc/p.yaml"))
    keep(store, 1, OLD)
    folder = (tmp_path / "last-good").resolve()
    (tmp_path / "last-good").unlink()
    shutil.copytree(folder, tmp_path / "last-good")
    kept = store.read()
    assert kept is not None
    assert kept.files == OLD
    keep(store, 2, NEW)
    kept = store.read()
    assert kept is not None
    assert kept.files == NEW


def test_a_name_out_of_the_folder_is_not_read(tmp_path: Path) -> None:
    """Nor anything else that the hash does not cover: about.json is refused as a whole."""
    store = Store(tmp_path, Path("/etc/p.yaml"))
    keep(store, 1, OLD)
    path = tmp_path / "last-good" / "about.json"
    path.write_text(path.read_text().replace("senders/l.yaml", "../../../etc/passwd"))
    with pytest.raises(DamagedError, match="hash"):
        store.read()
