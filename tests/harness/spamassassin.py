"""A private SpamAssassin for tests, from the packages that tests/setup unpacked: Debian's own rules, and ours.

`SpamAssassin` is the command, with a configuration folder of its own; `Spamd` its daemon, and spamass-milter before
it, as nobody. DNS is the server of the test.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from harness.dns_server import DnsServer
from harness.ports import Server, as_nobody, free_port, listens_on, overlaid, unpacked

# Rules that would ask servers elsewhere, or wait for them.
_LOCAL = "dns_server {dns}\ndns_available yes\nskip_rbl_checks 1\nuse_bayes 0\nuse_pyzor 0\nuse_razor2 0\n"


def perl_program(place: Path, program: Path, *packages: str) -> Path:
    """A copy of a Perl program that finds the modules of unpacked packages, also where it starts itself again.

    Under -T (taint mode) Perl does not look at PERL5LIB.
    """
    shebang, _, text = program.read_text().partition("\n")
    libraries = ", ".join(f"'{unpacked(package, 'usr/share/perl5')}'" for package in packages)
    place.write_text(f"{shebang}\nuse lib ({libraries});\n" + text.replace("use lib '/usr/share/perl5';", ""))
    place.chmod(0o755)
    return place


class SpamAssassin:
    """The command, while the context is open. `files` are laid over /etc/spamassassin: name to text."""

    def __init__(self, dns: DnsServer, files: Mapping[str, str]) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="pratique-spamassassin-")
        self.folder = Path(self._temporary.name)
        self.etc = self.folder / "etc"
        shutil.copytree(unpacked("spamassassin", "etc/spamassassin"), self.etc)
        dns_server = re.sub(r"^(.*):(\d+)$", r"[\1]:\2", dns.address)
        for name, text in {"99_test.cf": _LOCAL.format(dns=dns_server), **files}.items():
            (self.etc / name).write_text(text)
        (self.folder / "home").mkdir()
        for place in (self.folder, *self.folder.rglob("*")):
            shutil.chown(place, "nobody", "nogroup")
        self.options = [
            f"--configpath={unpacked('spamassassin', 'usr/share/spamassassin')}",
            f"--siteconfigpath={self.etc}",
        ]

    def __enter__(self) -> SpamAssassin:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._temporary.cleanup()

    def run(self, *arguments: str, message: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """The command `spamassassin`, on a message."""
        program = unpacked("spamassassin", "usr/bin/spamassassin")
        command: list[str | Path] = [perl_program(self.folder / "spamassassin", program, "spamassassin"), *self.options]
        command += [f"--prefspath={self.folder}/home/user_prefs", *arguments]
        environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(self.folder / "home")}
        return subprocess.run(command, input=message, env=environment, capture_output=True, timeout=120)

    def tests(self, message: bytes, client: str, mail_from: str, helo: str = "mail.example") -> set[str]:
        """The names of the rules that hit a message, as it would have arrived by SMTP."""
        received = f"Received: from {helo} ({helo} [{client}]) by mx1.example.org (Postfix) with ESMTP id 1\r\n"
        trace = f"Return-Path: <{mail_from}>\r\n{received}\tfor <x@example.org>; Sun, 22 Nov 2026 08:00:00 +0100\r\n"
        done = self.run("--test-mode", "--cf=add_header all Hits _TESTS_", message=trace.encode() + message)
        hits = re.search(rb"(?m)^X-Spam-Hits: ((?:.*(?:\n[ \t])?)*)", done.stdout)
        assert hits, done
        return set(re.sub(rb"\s", b"", hits[1]).decode().split(","))


class Spamd:
    """spamd with the configuration of a SpamAssassin, and spamass-milter before it, while the context is open.

    `address` is where Postfix finds the milter.
    """

    def __init__(self, dns: DnsServer, files: Mapping[str, str]) -> None:
        self._spamassassin = SpamAssassin(dns, files)
        self._folder = self._spamassassin.folder
        self._ports = free_port(), free_port()
        self.address = f"inet:127.0.0.1:{self._ports[1]}"
        self._servers: list[Server] = []

    def __enter__(self) -> Spamd:
        spamd, milter = map(str, self._ports)
        program = perl_program(self._folder / "spamd", unpacked("spamd", "usr/sbin/spamd"), "spamassassin")
        options = [
            "--listen",
            "127.0.0.1",
            "--port",
            spamd,
            "--max-children",
            "1",
            "--nouser-config",
            "--syslog=stderr",
        ]
        self._start(as_nobody([program, *self._spamassassin.options, *options]), self._ports[0])
        # It starts spamc by the path that Debian gave it.
        behind: list[str | Path] = [
            "/usr/sbin/spamass-milter",
            "-p",
            f"inet:{milter}@127.0.0.1",
            "--",
            "-d",
            "127.0.0.1",
        ]
        self._start(overlaid(as_nobody([*behind, "-p", spamd]), "spamass-milter", "spamc"), self._ports[1])
        return self

    def _start(self, command: list[str | Path], port: int) -> None:
        environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(self._folder / "home")}
        server = Server(command, self._folder / "log", environment)
        self._servers.append(server)
        if not server.comes_up(lambda: listens_on(port), 30):
            log = self.log()
            self.__exit__(None, None, None)
            raise RuntimeError(f"{command} did not start:\n{log}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in reversed(self._servers):
            server.end(patience=0.5)
        self._spamassassin.__exit__(None, None, None)

    def log(self) -> str:
        """What both have logged so far."""
        return (self._folder / "log").read_text(errors="replace")
