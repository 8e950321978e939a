"""A private Sendmail for tests, from the packages that tests/setup unpacks.

It runs as root from a temporary folder, in namespaces of its own: its /etc and /run are the folder's, so that it
has the very paths of an installed Sendmail (and of config/sendmail/pratique.mc) and sees none of the machine's.
Its network is a loopback on which every address of the world is local: a client simply has the address that a
test gives it, as its real source address, and Sendmail needs no XCLIENT.

    with Sendmail() as sendmail:
        reply = sendmail.send(b"From: a@b.example\\r\\n\\r\\nx", "a@b.example", [BOX], client="192.0.2.7")
        assert sendmail.outcome(reply.queue_id).state == "delivered"
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import re
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from harness.ports import CHECKOUT, PATIENCE, Server, unpacked, wait_until
from harness.postfix import Outcome
from harness.smtp import PASSWORD, Connection, Reply

SHIPPED = CHECKOUT / "config/sendmail/pratique.mc"

# The site: what config/sendmail/pratique.mc is taken into. No DNS, no ident, no look at the machine's load.
_SITE = """\
include(`{cf}/m4/cf.m4')dnl
OSTYPE(`linux')dnl
define(`confDOMAIN_NAME', `{hostname}')dnl
define(`confCW_FILE', `/etc/mail/local-host-names')dnl
define(`confPID_FILE', `/run/sendmail/pid')dnl
define(`QUEUE_DIR', `/run/sendmail/queue')dnl
define(`STATUS_FILE', `/run/sendmail/status')dnl
define(`HELP_FILE', `/etc/mail/helpfile')dnl
define(`ALIAS_FILE', `')dnl
define(`confSERVICE_SWITCH_FILE', `/etc/mail/service.switch')dnl
define(`confTO_IDENT', `0s')dnl
define(`confQUEUE_LA', `10000')dnl
define(`confREFUSE_LA', `10000')dnl
define(`confCONNECTION_RATE_THROTTLE', `0')dnl
define(`confAUTH_MECHANISMS', `PLAIN')dnl
TRUST_AUTH_MECH(`PLAIN')dnl
FEATURE(`no_default_msa')dnl
FEATURE(`use_cw_file')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`nocanonify')dnl
FEATURE(`virtusertable', `hash -o /etc/mail/virtusertable')dnl
VIRTUSER_DOMAIN(`{domain}')dnl
DAEMON_OPTIONS(`Name=MTA-v4, Family=inet, Addr=127.0.0.1, Port=25')dnl
DAEMON_OPTIONS(`Name=MTA-v6, Family=inet6, Addr=::1, Port=25')dnl
define(`LOCAL_MAILER_PATH', `/etc/mail/deliver')dnl
define(`LOCAL_MAILER_ARGS', `deliver $i $u')dnl
dnl As with Debian the mailer stays root (S) and gets no -r. It needs no account (w) and no aliases (A), adds no
dnl Date, From, Message-Id (DFM: after the milter, and of no interest) and changes no octet (9).
MODIFY_MAILER_FLAGS(`LOCAL', `+S')dnl
MODIFY_MAILER_FLAGS(`LOCAL', `-ADFMfhrmw9')dnl
MAILER(`local')dnl
MAILER(`smtp')dnl
{site}
"""

_DELIVER = """\
#!/bin/sh
cat > "/run/delivered/$1.part" && mv "/run/delivered/$1.part" "/run/delivered/$1"
"""

_ENTER = """\
set -e
folder=$1 hostname=$2 ip=$3
shift 3
mount -t overlay -o "lowerdir=$folder/etc:/etc" none /etc
mount --bind "$folder/run" /run
mount -t tmpfs none /dev
mknod -m 666 /dev/null c 1 3
mknod -m 666 /dev/urandom c 1 9
ln -s /run/log /dev/log
hostname "$hostname"
"$ip" link set lo up
"$ip" route add local 0.0.0.0/0 dev lo
"$ip" -6 route add local ::/0 dev lo
exec "$@"
"""

_CLONE_NEWNET = 0x40000000  # linux/sched.h; os.setns comes with Python 3.12
_IPV6_FREEBIND = 78  # linux/in6.h; unknown to Python's socket module


class Sendmail:
    """A private Sendmail, running while the context is open.

    A milter listens in `socket_directory` at `milter.sock`; Sendmail knows it as /run/pratique/milter.sock. `site`
    are the lines of the site's own .mc file, by default to take in the shipped one.
    """

    def __init__(
        self,
        mailboxes: Sequence[str] = ("marches@commune.example",),
        hostname: str = "mx1.example.org",
        site: str = f"include(`{SHIPPED}')dnl",
    ) -> None:
        self.hostname = hostname
        self._mailboxes = mailboxes
        self._site = site
        self._daemon: Server | None = None
        self._temporary = tempfile.TemporaryDirectory(prefix="pratique-sendmail-")
        self.folder = Path(self._temporary.name)
        self.folder.chmod(0o755)
        self.socket_directory = self.folder / "run/pratique"
        self._queue = self.folder / "run/sendmail/queue"
        for name in ("etc/mail", "etc/sasl2", "run/pratique", "run/delivered", "run/sendmail/queue"):
            (self.folder / name).mkdir(parents=True)
        for folder in (self.folder / "etc", self.folder / "run"):
            folder.chmod(0o755)
        self._queue.chmod(0o700)
        self.socket_directory.chmod(0o750)

    def __enter__(self) -> Sendmail:
        try:
            self._log_socket = _syslog(self.folder / "run/log", self.folder / "log")
            self._write_configuration()
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        with contextlib.suppress(AttributeError, OSError):
            self._log_socket.shutdown(socket.SHUT_RDWR)  # which ends the thread that reads it
        self._temporary.cleanup()

    def _write_configuration(self) -> None:
        etc, cf = self.folder / "etc", unpacked("sendmail-cf", "usr/share/sendmail/cf")
        domains = sorted({box.rpartition("@")[2] for box in self._mailboxes})
        site = _SITE.format(cf=cf, hostname=self.hostname, domain=" ".join(domains), site=self._site)
        users = [(box, box.partition("@")[0]) for box in self._mailboxes]
        users += [(f"@{domain}", "error:5.1.1:550 User unknown") for domain in domains]
        files = {
            "mail/sendmail.mc": site,
            "mail/local-host-names": "\n".join([self.hostname, *domains, ""]),
            "mail/helpfile": "",
            "mail/service.switch": "hosts files\n",
            "mail/deliver": _DELIVER,
            "hosts": f"127.0.0.1 localhost\n192.0.2.255 {self.hostname}\n",
            "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
            "sasl2/Sendmail.conf": "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: PLAIN\n"
            "sasldb_path: /etc/sasl2/users\n",
        }
        for name, text in files.items():
            (etc / name).write_text(text)
            (etc / name).chmod(0o755 if name == "mail/deliver" else 0o644)
        m4: list[str | Path] = [unpacked("m4", "usr/bin/m4"), f"-D_CF_DIR_={cf}/", etc / "mail/sendmail.mc"]
        (etc / "mail/sendmail.cf").write_bytes(_output(m4))
        makemap = unpacked("sendmail-bin", "usr/libexec/sendmail/makemap")
        table = "".join(f"{address}\t{user}\n" for address, user in users).encode()
        _output([makemap, "-C", etc / "mail/sendmail.cf", "hash", etc / "mail/virtusertable"], table)
        saslpasswd = unpacked("sasl2-bin", "usr/sbin/saslpasswd2")
        _output([saslpasswd, "-c", "-p", "-f", etc / "sasl2/users", "-u", self.hostname, "anna"], PASSWORD.encode())

    def start(self) -> None:
        """Start the daemon and wait until it listens."""
        apart = ["--mount", "--uts", "--net", "--pid", "--fork", "--kill-child"]
        enter: list[str | Path] = ["unshare", *apart, "sh", "-c", _ENTER, "sh", self.folder, self.hostname]
        program = unpacked("sendmail-bin", "usr/libexec/sendmail/sendmail")
        self._daemon = Server([*enter, unpacked("iproute2", "sbin/ip"), program, "-bD"], self.folder / "output")
        if not wait_until(lambda: self._listens() or not self._running(), 20) or not self._running():
            self.stop()
            raise RuntimeError(f"Sendmail did not start:\n{(self.folder / 'output').read_text()}{self.log()}")

    def _running(self) -> bool:
        return self._daemon is not None and self._daemon.running()

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), self._dial("127.0.0.1"):
            return True
        return False

    def stop(self) -> None:
        """End all processes; queue, mail and log stay."""
        if self._daemon:
            self._daemon.end()
            self._daemon = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def log(self) -> str:
        """What Sendmail told syslog so far."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _dial(self, client: str, port: int = 25) -> socket.socket:
        """A connection to Sendmail from a client's address, made in Sendmail's network."""
        assert self._daemon
        network = f"/proc/{self._daemon.pid}/ns/net"
        address = ipaddress.ip_address(client)
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        address = mapped or address
        made: list[socket.socket | OSError] = []

        def dial() -> None:
            # A thread of its own, because it changes its network for good; a socket stays where it was made.
            try:
                with open(network, "rb") as file:
                    if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), "setns")
                made.append(_connect(address, port))
            except OSError as problem:
                made.append(problem)

        thread = threading.Thread(target=dial)
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            raise made[0]
        return made[0]

    def connect(
        self, client: str | None = None, helo: str | None = None, login: str | None = None, port: int = 25
    ) -> Connection:
        """Open an SMTP connection. `login`: the user `anna` authenticates herself."""
        return Connection(self._dial(client or "127.0.0.1", port), helo=helo, login=login)

    def send(
        self,
        message: bytes,
        mail_from: str,
        rcpts: Sequence[str],
        client: str | None = None,
        helo: str | None = None,
        login: str | None = None,
        *,
        raw: bool = False,
        raw_mail_from: bool = False,
    ) -> Reply:
        """Send one message over a connection of its own; see `Connection.message`."""
        with self.connect(client, helo, login) as connection:
            reply = connection.message(message, mail_from, rcpts, raw=raw, raw_mail_from=raw_mail_from)
            connection.part()
            return reply

    def run(self, *arguments: str) -> str:
        """What the command `sendmail` says, in the daemon's place."""
        assert self._daemon
        program = unpacked("sendmail-bin", "usr/libexec/sendmail/sendmail")
        enter = ["nsenter", "--target", str(self._daemon.pid), "--mount", "--uts", "--net", "--"]
        return _output([*enter, program, *arguments]).decode("utf-8", "replace")

    def held(self, queue_id: str) -> bool:
        """Whether the message is in quarantine."""
        return (self._queue / f"hf{queue_id}").exists()

    def release(self, queue_id: str) -> None:
        """Let a quarantined message go on, at once."""
        self.run("-qQ", f"-qI{queue_id}", "-Q")
        self.run(f"-qI{queue_id}")

    def queue(self) -> list[str]:
        """The ids of all messages in the queue, on hold or not."""
        return sorted({path.name[2:] for path in self._queue.glob("[qh]f*")})

    def outcome(self, queue_id: str | None, timeout: float = PATIENCE) -> Outcome:
        """Wait until a message is delivered or held."""
        if queue_id is None:
            raise ValueError("the message was not queued")
        delivered = self.folder / "run/delivered" / queue_id
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if delivered.exists():
                return Outcome("delivered", delivered.read_bytes())
            if self.held(queue_id):
                return Outcome("held", (self._queue / f"hf{queue_id}").read_bytes())
            time.sleep(0.02)
        raise TimeoutError(f"{queue_id} is still on its way:\n{self.log()[-4000:]}")


def _connect(client: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> socket.socket:
    """A connection to Sendmail from this address, which need be nobody's."""
    made = socket.socket(socket.AF_INET if client.version == 4 else socket.AF_INET6)
    try:
        if client.version == 6:
            made.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        made.bind((str(client), 0))
        made.connect(("127.0.0.1" if client.version == 4 else "::1", port))
    except OSError:
        made.close()
        raise
    return made


def _syslog(place: Path, log: Path) -> socket.socket:
    """Write what comes to a socket like /dev/log into a file, until it is shut down."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind(str(place))
    place.chmod(0o666)

    def write() -> None:
        with server, log.open("ab", buffering=0) as file:
            while line := server.recv(65536):
                file.write(re.sub(rb"^<\d+>", b"", line).rstrip(b"\0\n") + b"\n")

    threading.Thread(target=write, daemon=True).start()
    return server


def _output(command: Sequence[str | Path], text: bytes = b"") -> bytes:
    done = subprocess.run(command, input=text, capture_output=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {(done.stderr or done.stdout).decode(errors='replace').strip()}")
    return done.stdout
