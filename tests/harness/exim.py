"""A private Exim as a relay, from the package that tests/setup unpacked: one message at a time, no daemon.

It takes any HELO name. Exim insists on its own user. None is made: in a mount namespace of its own it sees an account
file that has one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.ports import unpacked

_USER = 8  # mail, on every Debian
_CONFIGURATION = """\
primary_hostname = {hostname}
exim_path = {program}
spool_directory = {folder}/spool
log_file_path = {folder}/spool/%slog
keep_environment =
tls_advertise_hosts =
host_lookup =
helo_accept_junk_hosts = *
acl_smtp_rcpt = accept
acl_smtp_data = accept
begin acl
begin routers
next:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = smtp
begin transports
smtp:
  driver = smtp
  port = {port}
begin retry
* * F,1h,10m
begin authenticators
"""
_START = 'mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/group" /etc/group && shift && exec "$@"'


class Exim:
    """Hands what it is given to the SMTP server at `port`, as `hostname`."""

    def __init__(self, port: int, hostname: str) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="pratique-exim-")
        self._folder = Path(self._temporary.name)
        self._folder.chmod(0o755)
        self._log = ""
        (self._folder / "spool").mkdir()
        os.chown(self._folder / "spool", _USER, _USER)
        program = self._program = unpacked("exim4-daemon-light", "usr/sbin/exim4")
        text = _CONFIGURATION.format(hostname=hostname, program=program, folder=self._folder, port=port)
        (self._folder / "conf").write_text(text)
        for name, line in (
            ("passwd", f"Debian-exim:x:{_USER}:{_USER}::/:/bin/false"),
            ("group", f"Debian-exim:x:{_USER}:"),
        ):
            shutil.copy(f"/etc/{name}", self._folder / name)
            with (self._folder / name).open("a") as file:
                file.write(line + "\n")

    def __enter__(self) -> Exim:
        return self

    def __exit__(self, *_: object) -> None:
        self._temporary.cleanup()

    def relay(
        self, message: bytes, mail_from: str, rcpts: Sequence[str], client: str, helo: str, client_name: str = ""
    ) -> str:
        """Take a message by SMTP from a client of this address, name and HELO name, and hand it on at once.

        What Exim said and logged of it.
        """
        dialogue = [f"EHLO {helo}", f"MAIL FROM:<{mail_from}>", *(f"RCPT TO:<{rcpt}>" for rcpt in rcpts), "DATA"]
        text = "\r\n".join([*dialogue, ""]).encode() + message + b"\r\n.\r\nQUIT\r\n"
        facts = ["-oMa", client, *(["-oMs", client_name] if client_name else [])]
        namespace = ["unshare", "-m", "sh", "-c", _START, "sh", str(self._folder)]
        command = [*namespace, str(self._program), "-C", f"{self._folder}/conf", "-odf", *facts, "-bs"]
        done = subprocess.run(command, input=text, capture_output=True, timeout=60)
        log = (self._folder / "spool/mainlog").read_text() if (self._folder / "spool/mainlog").exists() else ""
        new, self._log = log.removeprefix(self._log), log
        return (done.stdout + done.stderr).decode(errors="replace") + new
