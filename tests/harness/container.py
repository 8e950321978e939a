"""A Debian 12 or 13 of its own, booted with systemd: debootstrap makes the tree, systemd-nspawn boots it.

tests/setup unpacks both programs. The tree is kept in .debian (2 minutes to make, 1 GB). What a container writes goes
into a layer above the tree, and is deleted with the container. The container has no network but a loopback interface of
its own. It sees the checkout at /checkout and the Python packages that systemd/install needs at /wheels.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from harness.ports import CHECKOUT, Server, unpacked, wait_until

RELEASES = ("bookworm", "trixie")  # Debian 12 and 13

_MIRROR = "http://deb.debian.org/debian"
_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "libnss-systemd", "procps", "iproute2"),
    *("python3", "python3-venv", "python3-dev", "gcc", "libc6-dev", "libmilter-dev", "ca-certificates"),
)
# Installed into the tree by apt, because debootstrap cannot put the dependencies of SpamAssassin into order.
_SERVERS = (
    *("postfix", "rspamd", "spamassassin", "spamd", "spamc"),
    *("dovecot-core", "dovecot-lmtpd", "dovecot-sieve", "m4"),
)
# Unpacked to /srv/sendmail: Sendmail would replace Postfix.
_UNPACKED = ("sendmail-cf", "sendmail-base", "sensible-mda")
# A test starts what it needs.
_NOT_AT_BOOT = ("rspamd", "dovecot", "spamd", "spamassassin", "spamassassin-maintenance.timer", "apt-daily.timer")


class Container:
    """Booted while the context is open."""

    def __init__(self, release: str) -> None:
        self.release = release
        self._temporary = tempfile.TemporaryDirectory(prefix="pratique-container-")
        self._folder = Path(self._temporary.name)
        self._server: Server | None = None
        self._init = ""
        for name in ("root", "upper", "work"):
            (self._folder / name).mkdir()

    def __enter__(self) -> Container:
        self._boot()
        return self

    def _boot(self) -> None:
        script = """
            mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" none "$2/root"
            shift 2
            exec "$@"
        """
        nspawn: list[str | Path] = [unpacked("systemd-container", "usr/bin/systemd-nspawn")]
        nspawn += ["--directory", self._folder / "root", "--boot", "--register=no", "--keep-unit", "--quiet"]
        nspawn += [
            "--private-network",
            "--link-journal=no",
            "--hostname=mx1",
            f"--bind-ro={wheels(self.release)}:/wheels",
        ]
        nspawn += [f"--bind-ro={CHECKOUT}:/checkout"]
        command = ["unshare", "--mount", "sh", "-ec", script, "sh", _tree(self.release), self._folder, *nspawn]
        self._server = Server(command, self._folder / "console", os.environ | _LIBRARIES)
        if not wait_until(lambda: self._find_init() or not self._server_runs(), 20) or not self._server_runs():
            self._fail("does not start")
        # `degraded` where a unit of the tree itself failed, which is no matter of ours.
        if not wait_until(lambda: self.run("systemctl is-system-running", check=False).strip() in _BOOTED, 60):
            self._fail("does not boot")

    def reboot(self) -> None:
        """Boot again: files stay, processes and addresses do not. systemd-nspawn ends, and is started again."""
        self.run("systemctl reboot", check=False)
        if not wait_until(lambda: not self._server_runs(), 90):
            self._fail("does not stop")
        assert self._server
        self._server.end()
        self._boot()

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


def _tree(release: str) -> Path:
    """The Debian tree, made once."""
    made_from = repr((_MIRROR, _PACKAGES, _SERVERS, _UNPACKED, _NOT_AT_BOOT, _FILL))
    tree = CHECKOUT / f".debian/tree-{release}-{hashlib.sha256(made_from.encode()).hexdigest()[:8]}"
    if tree.exists():
        return tree
    new = tree.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    environment = os.environ | {"DEBOOTSTRAP_DIR": str(unpacked("debootstrap", "usr/share/debootstrap"))}
    program = unpacked("debootstrap", "usr/sbin/debootstrap")
    include = f"--include={','.join(_PACKAGES)}"
    _run([program, "--variant=minbase", include, release, new, _MIRROR], environment)
    words = [" ".join(names) for names in (_SERVERS, _UNPACKED, _NOT_AT_BOOT)]
    _chroot(new, _FILL, *words)
    return new.rename(tree)


_FILL = """
    printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    apt-get -q update
    apt-get -q install -y --no-install-recommends $1
    mkdir /srv/sendmail
    cd /srv/sendmail
    apt-get -q download $2
    for package in *.deb; do dpkg -x "$package" .; done
    systemctl disable $3 || true
    rm /usr/sbin/policy-rc.d *.deb
    apt-get clean
"""


def wheels(release: str) -> Path:
    """The Python packages of systemd/requirements.txt, made once a version of it: by the commands of README, with the
    Python of the release."""
    readme = (CHECKOUT / "README.md").read_text()
    commands = re.findall(r"(?m)^    (python3 -m venv .*|\S+/pip (?:download|wheel) .*)$", readme)
    files = [(CHECKOUT / "systemd" / name).read_bytes() for name in ("requirements.txt", "requirements-build.txt")]
    made_from = hashlib.sha256(b"".join([*files, *(command.encode() for command in commands)])).hexdigest()[:8]
    folder = CHECKOUT / f".debian/wheels-{release}-{made_from}"
    if folder.exists():
        return folder
    script = "cd /checkout; mkdir -p wheels\n" + "\n".join(commands)
    with tempfile.TemporaryDirectory(prefix="pratique-wheels-") as name:
        root, upper, work = (Path(name, part) for part in ("root", "upper", "work"))
        for place in (root, upper / "checkout", work):
            place.mkdir(parents=True)
        shutil.copytree(CHECKOUT / "systemd", upper / "checkout/systemd")
        _run(["mount", "-t", "overlay", "-o", f"lowerdir={_tree(release)},upperdir={upper},workdir={work}", "x", root])
        try:
            _chroot(root, script)
        finally:
            _run(["umount", "--lazy", root])
        new = folder.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        shutil.copytree(upper / "checkout/wheels", new)
    return new.rename(folder)


def _chroot(tree: Path, script: str, *arguments: str) -> None:
    """Run a script in a tree, with the network and the certificates of this machine."""
    for name in ("resolv.conf", "hosts"):
        shutil.copy(f"/etc/{name}", tree / "etc")
    certificates = "/etc/ssl/certs/ca-certificates.crt"
    if Path(certificates).exists():
        (tree / "tmp").mkdir(exist_ok=True)
        shutil.copy(certificates, tree / "tmp/certificates")
    command = 'mount -t proc proc "$1/proc"; exec chroot "$1" sh -ec "$2" sh "$3" "$4" "$5"'
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "DEBIAN_FRONTEND": "noninteractive",
        "PIP_CERT": "/tmp/certificates",
        **{name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")},
    }
    words = [*arguments, "", "", ""][:3]
    _run(["unshare", "--mount", "sh", "-ec", command, "sh", tree, script, *words], environment)
    (tree / "tmp/certificates").unlink(missing_ok=True)


def _run(command: list[str | Path], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, timeout=1800)
    if done.returncode:
        output = (done.stdout + done.stderr).decode(errors="replace")
        raise RuntimeError(f"{command[0]} failed:\n{output[-3000:]}")
