"""A private amavis for tests, from the package that tests/setup unpacked: Debian's own configuration, and ours.

It runs as nobody on 127.0.0.1, with the unpacked SpamAssassin inside. `files` are laid over /etc/amavis/conf.d: name
to text. What it holds lies in `quarantine`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from harness.dns_server import DnsServer
from harness.ports import Server, as_nobody, free_port, listens_on, unpacked
from harness.smtp import Connection
from harness.spamassassin import SpamAssassin, perl_program

# Debian's files that say nothing of the host; what those that are left out say of it stands in _SITE.
_DEBIAN = ("01-debian", "15-av_scanners", "20-debian_defaults")

_SITE = r"""
use strict;
$mydomain = 'example.org';
$myhostname = 'mx1.example.org';
@local_domains_acl = ('commune.example');
$MYHOME = '{home}';
$TEMPBASE = '{home}';
$QUARANTINEDIR = '{home}/quarantine';
$quarantine_subdir_levels = 0;
$db_home = '{home}';
$enable_db = 0;
$enable_zmq = 0;
$helpers_home = '{home}';
$pid_file = '{home}/pid';
$lock_file = '{home}/lock';
$unix_socketname = undef;
$daemon_user = 'nobody';
$daemon_group = 'nogroup';
$file = '{file}';
$max_servers = 1;
$max_requests = 1000;
$DO_SYSLOG = 0;
$LOGFILE = '{home}/log';
$log_level = 2;
$inet_socket_port = {port};
$inet_socket_bind = '127.0.0.1';
$forward_method = 'smtp:[127.0.0.1]:{back}';
$notify_method = undef;
$virus_admin = undef;
$sa_configpath = '{rules}';
$sa_siteconfigpath = '{sa}';
@bypass_virus_checks_maps = ({no_virus});
@bypass_spam_checks_maps = (0);
require Net::DNS::Resolver;
# Else it makes one that knows /etc/resolv.conf only.
$Amavis::dns_resolver = Net::DNS::Resolver->new(nameservers => ['127.0.0.1'], port => {dns});
1;
"""


class Amavis:
    """Runs while the context is open, hands mail back to port `back`. `rules` are those of its SpamAssassin; `clamd`
    the socket of a virus scanner."""

    def __init__(
        self, dns: DnsServer, files: Mapping[str, str], rules: Mapping[str, str], back: int, clamd: Path | None = None
    ) -> None:
        self.port = free_port()
        self._spamassassin = SpamAssassin(dns, rules)
        self._temporary = tempfile.TemporaryDirectory(prefix="pratique-amavis-")
        self.folder = Path(self._temporary.name)
        self.folder.chmod(0o755)
        self.home = self.folder / "home"
        self.quarantine = self.home / "quarantine"
        (self.folder / "conf.d").mkdir()  # in which amavis may not write, or it does not start
        for place in (self.home, self.quarantine):
            place.mkdir()
            shutil.chown(place, "nobody", "nogroup")
        program = unpacked("amavisd-new", "usr/sbin/amavisd")
        self._program = perl_program(self.folder / "amavisd", program, "amavisd-new", "spamassassin")
        debian = unpacked("amavisd-new", "etc/amavis/conf.d")
        site = {name: (debian / name).read_text() for name in _DEBIAN}
        if clamd:
            site["15-av_scanners"] = site["15-av_scanners"].replace("/var/run/clamav/clamd.ctl", str(clamd))
        values = {
            "home": self.home,
            "port": self.port,
            "back": back,
            "rules": unpacked("spamassassin", "usr/share/spamassassin"),
            "file": unpacked("file", "usr/bin/file"),
            "sa": self._spamassassin.etc,
            "dns": dns.address.rpartition(":")[2],
            "no_virus": 0 if clamd else 1,
        }
        site["40-site"] = re.sub(r"\{(\w+)\}", lambda name: str(values[name[1]]), _SITE)
        for name, text in {**site, **files}.items():
            (self.folder / "conf.d" / name).write_text(text)

    def __enter__(self) -> Amavis:
        command = self._command("foreground")
        self._server = Server(command, self.folder / "output")
        if not self._server.comes_up(lambda: listens_on(self.port), 30):
            log = self.log()
            self.__exit__(None, None, None)
            raise RuntimeError(f"amavis did not start:\n{log}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.end(patience=0.5)
        self._temporary.cleanup()
        self._spamassassin.__exit__(None, None, None)

    def _command(self, *arguments: str) -> list[str | Path]:
        command: list[str | Path] = [self._program]
        for file in sorted((self.folder / "conf.d").iterdir()):
            command += ["-c", file]
        return as_nobody([*command, *arguments])

    def config_test(self) -> subprocess.CompletedProcess[bytes]:
        """`amavisd test-config`."""
        return subprocess.run(self._command("test-config"), capture_output=True, timeout=60)

    def log(self) -> str:
        """What it has logged so far."""
        places = (self.folder / "output", self.home / "log")
        return "".join(place.read_text(errors="replace") for place in places if place.exists())

    def connect(self) -> Connection:
        return Connection(self.port)
