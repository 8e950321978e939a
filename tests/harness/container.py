"""A Debian 12 of its own, booted with systemd: debootstrap makes the tree, systemd-nspawn boots it.

Both are unpacked by tests/setup. The tree is kept in .debian (2 minutes to make, 800 MB); what a container writes is
laid over it and gone with it. It has no network but a loopback of its own, sees the checkout at /checkout and, at
/wheels, the Python packages that systemd/install needs.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType

from harness.ports import CHECKOUT, Server, unpacked, wait_until

_MIRROR = "http://deb.debian.org/debian"
_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "libnss-systemd", "procps", "iproute2", "postfix", "rspamd"),
    *("python3", "python3-venv", "python3-dev", "gcc", "libc6-dev", "libmilter-dev"),
)
# pip builds pymilter in the container, with gcc and libmilter; everything else comes as a wheel.
_BUILT_THERE = "pymilter"


class Container:
    """Booted while the context is open."""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="pratique-container-")
        self._folder = Path(self._temporary.name)
        self._server: Server | None = None
        self._init = ""
        for name in ("root", "upper", "work"):
            (self._folder / name).mkdir()

    def __enter__(self) -> Container:
        script = """
            mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" none "$2/root"
            shift 2
            exec "$@"
        """
        nspawn: list[str | Path] = [unpacked("systemd-container", "usr/bin/systemd-nspawn")]
        nspawn += ["--directory", self._folder / "root", "--boot", "--register=no", "--keep-unit", "--quiet"]
        nspawn += ["--private-network", "--link-journal=no", "--hostname=mx1", f"--bind-ro={_wheels()}:/wheels"]
        nspawn += [f"--bind-ro={CHECKOUT}:/checkout"]
        command = ["unshare", "--mount", "sh", "-ec", script, "sh", _tree(), self._folder, *nspawn]
        self._server = Server(command, self._folder / "console", os.environ | _LIBRARIES)
        if not wait_until(lambda: self._find_init() or not self._server_runs(), 20) or not self._server_runs():
            self._fail("does not start")
        # `degraded` where a unit of the tree itself failed, which is no matter of ours.
        if not wait_until(lambda: self.run("systemctl is-system-running", check=False).strip() in _BOOTED, 60):
            self._fail("does not boot")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server:
            self._server.end(patience=20)
        self._temporary.cleanup()

    def _server_runs(self) -> bool:
        return self._server is not None and self._server.running()

    def _fail(self, what: str) -> None:
        console = (self._folder / "console").read_text(errors="replace")
        self.__exit__(None, None, None)
        raise RuntimeError(f"the container {what}:\n{console[-4000:]}")

    def _find_init(self) -> bool:
        """The container's first process, a child of systemd-nspawn, seen from outside."""
        assert self._server
        children = Path(f"/proc/{self._server.pid}/task/{self._server.pid}/children")
        for pid in children.read_text().split() if children.exists() else []:
            status = Path(f"/proc/{pid}/status")
            if status.exists() and "\nNSpid:\t" + pid + "\t1\n" in status.read_text():
                self._init = pid
                return True
        return False

    def run(self, script: str, check: bool = True, timeout: float = 300) -> str:
        """What a bash script prints in the container, errors too. Where it fails, RuntimeError, unless not `check`."""
        enter = ["nsenter", "--target", self._init, "--all", "--", "bash", "-ec", script]
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
        done = subprocess.run(
            ["env", "-C", "/", *enter],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            env=environment,
        )
        output = done.stdout.decode("utf-8", "replace")
        if check and done.returncode:
            raise RuntimeError(f"{script}: status {done.returncode}\n{output}")
        return output

    def status(self, script: str) -> tuple[int, str]:
        """Exit status of a bash script, and what it printed."""
        output = self.run(f"({script}) && echo 0 || echo $?", check=False)
        text, _, number = output.rstrip("\n").rpartition("\n")
        return int(number), text

    def write(self, path: str, text: str) -> None:
        """A file in the container, as it is seen there."""
        place = Path(f"/proc/{self._init}/root{path}")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)


_BOOTED = ("running", "degraded")
_LIBRARIES = {"LD_LIBRARY_PATH": str(unpacked("libsystemd-shared", "usr/lib/x86_64-linux-gnu/systemd"))}


def _tree() -> Path:
    """The Debian tree, made once."""
    tree = CHECKOUT / f".debian/tree-{hashlib.sha256(repr((_MIRROR, _PACKAGES)).encode()).hexdigest()[:8]}"
    if tree.exists():
        return tree
    new = tree.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    environment = os.environ | {"DEBOOTSTRAP_DIR": str(unpacked("debootstrap", "usr/share/debootstrap"))}
    program = unpacked("debootstrap", "usr/sbin/debootstrap")
    include = f"--include={','.join(_PACKAGES)}"
    _run([program, "--variant=minbase", include, "bookworm", new, _MIRROR], environment)
    return new.rename(tree)


def _wheels() -> Path:
    """The Python packages of setup.cfg, made once a version of it."""
    if sys.version_info[:2] != (3, 11):
        raise RuntimeError("the container has Python 3.11: its wheels can only be made with that")
    made_from = hashlib.sha256((CHECKOUT / "setup.cfg").read_bytes()).hexdigest()[:8]
    folder = CHECKOUT / f".debian/wheels-{made_from}"
    if folder.exists():
        return folder
    new = folder.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    with tempfile.TemporaryDirectory() as sources:  # pip writes into what it builds
        for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(CHECKOUT / name, sources)
        shutil.copytree(CHECKOUT / "milter", Path(sources, "milter"))
        _run([*pip, "wheel", "--wheel-dir", new, sources, "setuptools", "wheel"], dict(os.environ))
    for wheel in [*new.glob("pratique-*"), *new.glob(f"{_BUILT_THERE}-*")]:
        wheel.unlink()
    _run([*pip, "download", "--dest", new, "--no-deps", "--no-binary", _BUILT_THERE, _BUILT_THERE], dict(os.environ))
    return new.rename(folder)


def _run(command: list[str | Path], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, timeout=900)
    if done.returncode:
        output = (done.stdout + done.stderr).decode(errors="replace")
        raise RuntimeError(f"{command[0]} failed:\n{output[-3000:]}")
