"""What the private servers share: a free port, the unpacked packages, and processes that end for sure."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]

# Every wait of a test is a wait for a condition, and lasts at least this long before the test fails: the machine may be
# busy with other work, and then a process that needs 0.1 s gets its turn much later.
PATIENCE = 60.0  # seconds

# A port is taken only when its server starts. Until then no other test process may choose it: each choice binds a name
# in the kernel's abstract namespace, which the kernel removes when this process closes it or ends.
_chosen: deque[socket.socket] = deque(maxlen=64)


def unpacked(package: str, path: str) -> Path:
    """The file or folder `path` of a Debian package that tests/setup unpacked."""
    found = CHECKOUT / ".debian" / package / path
    if not found.exists():
        raise FileNotFoundError(f"{found} is missing: run tests/setup")
    return found


def free_port() -> int:
    """A port of 127.0.0.1 that is free for TCP and UDP, and that no other test process has chosen.

    Below the kernel's own range (32768 and up), so that no outgoing connection takes it meanwhile.
    """
    for port in random.sample(range(20000, 32000), 100):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            # As servers do; else a port whose last connection still lingers looks taken.
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
                claim = socket.socket(socket.AF_UNIX)
                _chosen.append(claim)
                claim.bind(f"\0pratique-test-port-{port}")
                return port
    raise RuntimeError("no free port found")


def listens_on(port: int) -> bool:
    """Whether a server listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Callable[[], bool], timeout: float = PATIENCE) -> bool:
    """Poll until the condition holds; False if it does not. `timeout` is for an idle machine: the wait never ends
    before PATIENCE."""
    return _within(condition, max(timeout, PATIENCE))


def _within(condition: Callable[[], bool], timeout: float) -> bool:
    """Poll until the condition holds; False if it does not within exactly `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class Server:
    """A server process, leader of a process group of its own, with all its children.

    What it prints is added to the file `output`. It ends with the process that started it at the latest.
    """

    def __init__(self, command: list[str | Path], output: Path, env: dict[str, str] | None = None) -> None:
        with output.open("ab") as file:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, env=env
            )
        # A killed pytest cleans nothing up, but the other end of this pipe is then closed. (The kernel's
        # own means, PR_SET_PDEATHSIG, is lost when the Postfix master changes its user.)
        self._watcher = subprocess.Popen(
            ["sh", "-c", f"read -r _; kill -TERM -{self._process.pid}"],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def comes_up(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait until the condition holds, or the process has ended; whether it runs, and the condition holds."""
        return wait_until(lambda: condition() or not self.running(), timeout) and self.running()

    def running(self) -> bool:
        """Whether the server itself is there; its children may outlive it."""
        return self._process.poll() is None

    def wait(self, timeout: float) -> int:
        """Wait for the server itself to end: its exit status. As with `wait_until`, never less than PATIENCE."""
        return self._process.wait(max(timeout, PATIENCE))

    def end(self, patience: float = 5) -> None:
        """End the server and all its children, also where it has crashed, and wait for them.

        After `patience` seconds they are killed.
        """
        self._watcher.kill()
        self._watcher.communicate()
        group = self._process.pid
        for number, timeout in ((signal.SIGTERM, patience), (signal.SIGKILL, PATIENCE)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, number)
            if _within(lambda: not self.running() and not _alive(group), timeout):
                return
        raise RuntimeError(f"process group {group} does not end")


def as_nobody(command: list[str | Path]) -> list[str | Path]:
    """The command as user nobody, for what refuses to run as root. It may read all, wherever the checkout lies."""
    can_read = [f"--{kind}-caps=+dac_read_search" for kind in ("inh", "ambient")]
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *can_read, "--", *command]


def overlaid(command: list[str | Path], *packages: str) -> list[str | Path]:
    """The command, to whom unpacked packages seem to be installed: for programs that look for their parts in /usr.

    It has a mount namespace of its own; nothing changes for anyone else.
    """
    layers = ":".join(str(unpacked(package, "usr")) for package in packages)
    mount = f'mount -t overlay overlay -o "lowerdir={layers}:/usr" /usr && exec "$@"'
    return ["unshare", "--mount", "--", "sh", "-c", mount, "sh", *command]


def _alive(group: int) -> bool:
    """Whether the group has a process that is no zombie (in a container nobody may reap those)."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, process_group = stat.read_text(errors="replace").rpartition(")")[2].split()[:3]
            if int(process_group) == group and state != "Z":
                return True
    return False
