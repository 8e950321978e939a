"""A private Postfix for tests, from the package that tests/setup unpacked.

It runs as root from a temporary folder beside any installed MTA, listens on 127.0.0.1 only and asks no
DNS. Mail for its mailboxes is delivered into maildirs; mail to anywhere else is discarded.

    with Postfix(milters="unix:pratique/milter.sock") as postfix:
        reply = postfix.send(b"From: a@b.example\\r\\n\\r\\nx", "a@b.example", ["marches@commune.example"])
        assert postfix.outcome(reply.queue_id).state == "delivered"
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from harness.ports import PATIENCE, Server, free_port, unpacked, wait_until
from harness.smtp import Connection, Reply

__all__ = ["Connection", "Outcome", "Postfix", "Reply"]

_MASTER_CF = """\
postlog   unix-dgram n - n - 1 postlogd
pickup    unix n - n 60 1 pickup
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
verify    unix - - n - 1 verify
flush     unix n - n 1000? 0 flush
proxymap  unix - - n - - proxymap
smtp      unix - - n - - smtp
relay     unix - - n - - smtp
lmtp      unix - - n - - lmtp
showq     unix n - n - - showq
error     unix - - n - - error
retry     unix - - n - - error
discard   unix - - n - - discard
virtual   unix - n n - - virtual
anvil     unix - - n - 1 anvil
scache    unix - - n - 1 scache
"""

# What `postfix start` would make: folder, owner is mail_owner, group is setgid_group, mode.
_QUEUE_FOLDERS = (
    *((name, True, False, 0o700) for name in ("active", "bounce", "corrupt", "defer", "deferred", "flush")),
    *((name, True, False, 0o700) for name in ("hold", "incoming", "private", "saved", "trace")),
    ("maildrop", True, True, 0o730),
    ("public", True, True, 0o710),
    ("pid", False, False, 0o755),
)


@dataclass(frozen=True)
class Outcome:
    """What became of a message; `content` as delivered (with the envelope fields on top) or as queued."""

    state: Literal["delivered", "held", "deferred", "bounced", "discarded"]
    content: bytes


class Postfix:
    """A private Postfix instance, running while the context is open.

    `main_cf` and `master_cf` are added to its configuration and may be changed before a `restart`. A milter
    may listen in `socket_directory` (umask 007); a unix socket in `milters` is relative to `queue_directory`.
    `smtpd` is what follows `smtp inet` in the line of master.cf for port 25.
    """

    def __init__(
        self,
        mailboxes: Sequence[str] = ("marches@commune.example",),
        milters: str = "",
        hostname: str = "mx1.example.org",
        main_cf: Mapping[str, str] | None = None,
        master_cf: Sequence[str] = (),
        smtpd: str = "n - n - - smtpd",
    ) -> None:
        self.port = free_port()
        self.smtpd = smtpd
        self.main_cf = dict(main_cf or {})
        self.master_cf = list(master_cf)
        self._mailboxes = mailboxes
        self._milters = milters
        self._hostname = hostname
        self._master: Server | None = None
        self._deliveries: dict[str, Path] = {}
        self._seen: set[Path] = set()
        self._temporary = tempfile.TemporaryDirectory(prefix="pratique-postfix-")
        self.folder = Path(self._temporary.name)
        self.queue_directory = self.folder / "queue"
        self.socket_directory = self.queue_directory / "pratique"
        self._make_folders()

    def __enter__(self) -> Postfix:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._temporary.cleanup()

    def _make_folders(self) -> None:
        # No accounts are made: an existing user and a group that is not the user's own do.
        try:
            self._owner, self._setgid = pwd.getpwnam("postfix"), grp.getgrnam("postdrop")
        except KeyError:
            self._owner, self._setgid = pwd.getpwnam("uucp"), grp.getgrnam("news")
        for folder in (self.folder, self.folder / "conf", self.queue_directory):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)  # whatever the umask
        for name, owned, grouped, mode in _QUEUE_FOLDERS:
            self._make(self.queue_directory / name, owned, self._setgid.gr_gid if grouped else 0, mode)
        self._make(self.folder / "data", True, 0, 0o700)
        self._make(self.folder / "mail", True, 0, 0o700)
        # A socket that root makes here under umask 007 is one that smtpd may use.
        self._make(self.socket_directory, False, self._owner.pw_gid, 0o2770)

    def _make(self, folder: Path, owned: bool, group: int, mode: int) -> None:
        folder.mkdir()
        os.chown(folder, self._owner.pw_uid if owned else 0, group)
        folder.chmod(mode)

    def _write_configuration(self) -> None:
        conf = self.folder / "conf"
        settings = {
            "compatibility_level": "3.6",
            "queue_directory": self.queue_directory,
            "data_directory": self.folder / "data",
            "meta_directory": conf,
            "daemon_directory": unpacked("postfix", "usr/lib/postfix/sbin"),
            "command_directory": unpacked("postfix", "usr/sbin"),
            "shlib_directory": unpacked("postfix", "usr/lib/postfix"),
            # The master hands its daemons no other variables than these.
            "import_environment": "MAIL_CONFIG TZ LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME LD_LIBRARY_PATH",
            "export_environment": "MAIL_CONFIG TZ LANG LD_LIBRARY_PATH",  # of sendmail to postdrop
            "maillog_file": self.folder / "log",
            "maillog_file_prefixes": self.folder,
            "mail_owner": self._owner.pw_name,
            "setgid_group": self._setgid.gr_name,
            "myhostname": self._hostname,
            "inet_interfaces": "127.0.0.1",
            "mydestination": "",
            "alias_maps": "",
            "alias_database": "",
            # 127.0.0.1 is a stranger, too, so that tests meet what the Internet meets.
            "mynetworks": "127.255.255.255/32",
            "local_header_rewrite_clients": "",
            "smtpd_authorized_xclient_hosts": "127.0.0.1",
            "smtpd_relay_restrictions": "reject_unauth_destination",
            "smtpd_milters": self._milters,
            "milter_protocol": "6",
            "milter_default_action": "tempfail",
            "smtpd_peername_lookup": "no",
            "smtp_dns_support_level": "disabled",
            "smtp_host_lookup": "native",
            "default_transport": "discard:nothing leaves a test",
            "virtual_mailbox_domains": " ".join(sorted({box.rpartition("@")[2] for box in self._mailboxes})),
            "virtual_mailbox_maps": f"texthash:{conf}/mailboxes",
            "virtual_mailbox_base": self.folder / "mail",
            "virtual_uid_maps": f"static:{self._owner.pw_uid}",
            "virtual_gid_maps": f"static:{self._owner.pw_gid}",
            "virtual_minimum_uid": "1",
            "virtual_mailbox_limit": "0",
            "message_size_limit": "314572800",
            # Long ids are never used twice.
            "enable_long_queue_ids": "yes",
            "notify_classes": "",
            "in_flow_delay": "0",
            "smtpd_error_sleep_time": "0",
            "smtpd_soft_error_limit": "1000",
            "smtpd_hard_error_limit": "1000",
            "smtpd_client_connection_count_limit": "0",
            **self.main_cf,
        }
        service = f"127.0.0.1:{self.port} inet {self.smtpd}"
        files = {
            "main.cf": "".join(f"{name} = {value}\n" for name, value in settings.items()),
            "master.cf": "\n".join([service, _MASTER_CF, *self.master_cf, ""]),
            "mailboxes": "".join(f"{box} {box}/\n" for box in self._mailboxes),
        }
        for name, text in files.items():
            (conf / name).write_text(text)
            (conf / name).chmod(0o644)
            # A file younger than 2 s might still be being written: every Postfix program waits that out.
            os.utime(conf / name, (time.time() - 10,) * 2)

    def start(self) -> None:
        """Start the master and wait until it listens."""
        self._write_configuration()
        # A cleanup that was killed leaves a file under a temporary name, of which postsuper cannot warn in our log.
        for left in (self.queue_directory / "incoming").glob("*.*"):
            left.unlink()
        # `postfix start` needs an installed Postfix, the master does not. But of a bad main.cf or master.cf
        # the master tells syslog only; these two commands say it (and the first puts the queue in order).
        self._run("postsuper")
        self._run("postconf", "-M")
        before = self.log().count("daemon started")
        master = unpacked("postfix", "usr/lib/postfix/sbin/master")
        command: list[str | Path] = [master, "-c", self.folder / "conf"]
        server = self._master = Server(command, self.folder / "output", self._environment())
        wait_until(lambda: self.log().count("daemon started") > before or not server.running(), 10)
        if not server.running() or self.log().count("daemon started") <= before:
            self.stop()
            raise RuntimeError(f"Postfix did not start:\n{(self.folder / 'output').read_text()}{self.log()}")

    def stop(self) -> None:
        """End all processes, also where the master has crashed; queue, mail and log stay."""
        if self._master:
            self._master.end()
            self._master = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/bin:/bin",
            "LD_LIBRARY_PATH": str(unpacked("postfix", "usr/lib/postfix")),
            # As `postfix start` does: without these the master cannot log that its port is taken.
            "POSTLOG_SERVICE": str(self.queue_directory / "public/postlog"),
            "POSTLOG_HOSTNAME": self._hostname,
        }

    def _run(self, command: str, *arguments: str) -> bytes:
        program = unpacked("postfix", f"usr/sbin/{command}")
        done = subprocess.run(
            [program, "-c", self.folder / "conf", *arguments], env=self._environment(), capture_output=True, timeout=60
        )
        if done.returncode:
            raise RuntimeError(f"{command} failed: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def log(self) -> str:
        """Postfix's log so far."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def connect(
        self,
        client: str | None = None,
        helo: str | None = None,
        client_name: str | None = None,
        login: str | None = None,
    ) -> Connection:
        """Open an SMTP connection."""
        return Connection(self.port, client, helo, client_name, login)

    def send(
        self,
        message: bytes,
        mail_from: str,
        rcpts: Sequence[str],
        client: str | None = None,
        helo: str | None = None,
        client_name: str | None = None,
        login: str | None = None,
        *,
        raw: bool = False,
        raw_mail_from: bool = False,
    ) -> Reply:
        """Send one message over a connection of its own; see `Connection.message`."""
        with self.connect(client, helo, client_name, login) as connection:
            reply = connection.message(message, mail_from, rcpts, raw=raw, raw_mail_from=raw_mail_from)
            connection.part()
            return reply

    def submit(self, message: bytes, rcpt: str) -> str:
        """Hand a message to the `sendmail` command, as a program on this machine does: the queue id."""
        before = self.log()
        program = unpacked("postfix", "usr/sbin/sendmail")
        command: list[str | Path] = [program, "-C", self.folder / "conf", "-i", rcpt]
        subprocess.run(command, input=message, env=self._environment(), check=True, timeout=60)
        found: list[str] = []

        def look() -> bool:
            found[:] = re.findall(r"postfix/pickup\[\d+\]: (\w+): uid=", self.log()[len(before) :])
            return bool(found)

        if not wait_until(look, 20):
            raise TimeoutError(f"pickup took no message:\n{self.log()[-4000:]}")
        return found[0]

    def queue(self) -> list[dict[str, Any]]:
        """What `postqueue -j` says of each queued message."""
        return [json.loads(line) for line in self._run("postqueue", "-j").splitlines()]

    def queue_file_content(self, queue_id: str) -> bytes:
        """Header and body of a queued message, with what milters changed."""
        return self._run("postcat", "-bhq", queue_id)

    def held(self, queue_id: str) -> bool:
        """Whether the message is on hold."""
        return (self.queue_directory / "hold" / queue_id).exists()

    def release(self, queue_id: str) -> None:
        """Let a held message go on, at once."""
        self._run("postsuper", "-H", queue_id)
        self._run("postqueue", "-f")

    def delivered(self, queue_id: str) -> bytes | None:
        """The file that a message was delivered as (the first one, of several recipients), or None."""
        host = re.escape(self._hostname.encode())
        received = re.compile(rb"\bby %s \(\w+(?:\) with \w+|, from userid \d+\))\s+id (\w+)" % host)
        for path in set((self.folder / "mail").glob("*/new/*")) - self._seen:
            self._seen.add(path)
            with path.open("rb") as file:
                found = received.search(file.read(100_000))
            if found:
                self._deliveries.setdefault(found[1].decode(), path)
        path_of_id = self._deliveries.get(queue_id)
        return path_of_id.read_bytes() if path_of_id else None

    def outcome(self, queue_id: str | None, timeout: float = PATIENCE) -> Outcome:
        """Wait until a message is delivered to all its recipients, held, deferred, bounced or discarded."""
        if queue_id is None:
            raise ValueError("the message was not queued")
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if outcome := self._outcome(queue_id):
                return outcome
            time.sleep(0.02)
        raise TimeoutError(f"{queue_id} is still on its way:\n{self.log()[-4000:]}")

    def _outcome(self, queue_id: str) -> Outcome | None:
        if self.held(queue_id):
            return Outcome("held", self.queue_file_content(queue_id))
        lines = re.findall(rf": {queue_id}: (.*)", self.log())
        if "removed" in lines:
            bounced = any("status=bounced" in line for line in lines)
            content = self.delivered(queue_id)
            if bounced or content is None:
                return Outcome("bounced" if bounced else "discarded", content or b"")
            return Outcome("delivered", content)
        if any(line.startswith("milter-discard:") for line in lines):
            return Outcome("discarded", b"")
        if any("status=deferred" in line for line in lines):
            return Outcome("deferred", self.queue_file_content(queue_id))
        return None
