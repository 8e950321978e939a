"""A private Dovecot for tests, from the packages that tests/setup unpacked: LMTP with Sieve into real mailboxes.

Any mailbox exists. `before` is a folder of Sieve scripts that run before a user's own, as sieve_before.
"""

from __future__ import annotations

import shutil
import smtplib
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from harness.ports import Server, free_port, listens_on, overlaid

_PACKAGES = ("dovecot-sieve", "dovecot-lmtpd", "dovecot-core")

_CONFIG = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = lmtp
listen = 127.0.0.1
ssl = no
default_internal_user = nobody
default_internal_group = nogroup
default_login_user = nobody
mail_location = maildir:~/Maildir
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={folder}/mail/%u
}}
passdb {{
  driver = static
  args = nopassword=y
}}
service lmtp {{
  inet_listener lmtp {{
    port = {port}
  }}
  unix_listener lmtp {{
    mode = 0
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
protocol lmtp {{
  mail_plugins = sieve
}}
plugin {{
  sieve = file:~/sieve;active=~/.dovecot.sieve
  sieve_before = {folder}/before
}}
lda_mailbox_autocreate = yes
postmaster_address = postmaster@example.org
hostname = mx1.example.org
"""


class Dovecot:
    """Runs while the context is open; `address` is where Postfix finds its LMTP. `before`: name to script."""

    def __init__(self, before: Mapping[str, str]) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="pratique-dovecot-")
        self.folder = Path(self._temporary.name)
        self.folder.chmod(0o755)
        self._port = free_port()
        self.address = f"lmtp:inet:127.0.0.1:{self._port}"
        for name in ("run", "state", "mail", "before"):
            (self.folder / name).mkdir()
        for name in ("mail", "before"):
            shutil.chown(self.folder / name, "nobody", "nogroup")
        for name, script in before.items():
            (self.folder / "before" / name).write_text(script)
        (self.folder / "conf").write_text(_CONFIG.format(folder=self.folder, port=self._port))

    def __enter__(self) -> Dovecot:
        command: list[str | Path] = ["/usr/sbin/dovecot", "-F", "-c", self.folder / "conf"]
        server = self._server = Server(overlaid(command, *_PACKAGES), self.folder / "output")
        if not server.comes_up(lambda: listens_on(self._port), 15):
            log = self.log()
            self.__exit__(None, None, None)
            raise RuntimeError(f"dovecot did not start:\n{log}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.end(patience=2)
        self._temporary.cleanup()

    def log(self) -> str:
        """What it has logged so far."""
        places = (self.folder / "output", self.folder / "log")
        return "".join(place.read_text(errors="replace") for place in places if place.exists())

    def deliver(self, user: str, message: bytes) -> None:
        """Deliver a message by LMTP, as an MTA does."""
        with smtplib.LMTP("127.0.0.1", self._port) as connection:
            connection.sendmail("bounce@mailer.example", [user], message)

    def find(self, user: str, text: bytes) -> tuple[str, bytes] | None:
        """The mailbox, INBOX or another, and the content of the message that holds a text."""
        maildir = self.folder / "mail" / user / "Maildir"
        for file in [
            *maildir.glob("new/*"),
            *maildir.glob(".*/new/*"),
            *maildir.glob("cur/*"),
            *maildir.glob(".*/cur/*"),
        ]:
            content = file.read_bytes()
            if text in content:
                folder = file.parent.parent
                return ("INBOX" if folder == maildir else folder.name.removeprefix(".")), content
        return None

    def compile(self, script: Path) -> str:
        """What sievec says of a script: nothing if it is good."""
        command: list[str | Path] = ["sievec", "-c", self.folder / "conf", script, self.folder / "compiled"]
        done = subprocess.run(overlaid(command, *_PACKAGES), capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr
