"""A whole site for tests: a DNS server with a zone of ours, `pratique run`, and a private MTA before it.

    with Stand(SHIPPED / "pratique.yaml", zone) as stand:
        reply = stand.postfix.send(message, "a@b.example", ["marches@commune.example"], client="192.0.2.7")
        print(stand.postfix.outcome(reply.queue_id), stand.log_line(reply.queue_id))

Postfix has the very settings of config/postfix/ (Sendmail: config/sendmail/), the service those of a
pratique.yaml: but for socket and DNS server, which are the stand's own.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from harness.dns_server import DnsServer
from harness.milter_client import wait_ready
from harness.ports import CHECKOUT, Server
from harness.postfix import Postfix
from harness.sendmail import Sendmail

SHIPPED = CHECKOUT / "config"


class Stand:
    """Runs while the context is open. `overrides` are laid over what the file `config` says.

    `second_cleanup`: with the lines of master.cf.pratique, as README installs it; without them Pratique sees what a
    client forged. `mta`: another than a Postfix with the shipped lines.
    `config` is then the service's file in force, `log` its log.
    """

    def __init__(
        self, config: Path, zone: str, *, second_cleanup: bool = False, mta: Sendmail | None = None, **overrides: Any
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="pratique-stand-")
        self._running = ExitStack()
        self._filter: Server | None = None
        self.folder = Path(self._temporary.name)
        self.config = self.folder / "pratique.yaml"
        self.log = self.folder / "log"
        self.dns = DnsServer(zone)
        self.mta = mta or _shipped_postfix(second_cleanup)
        self.socket = self.mta.socket_directory / "milter.sock"
        settings = (yaml.safe_load(config.read_text()) or {}) | overrides
        settings["senders"] = str(config.resolve().parent / settings.get("senders", "trusted-senders.yaml"))
        settings["socket"] = f"unix:{self.socket}"
        settings["dns"] = settings.get("dns", {}) | {"servers": [self.dns.address]}
        self.config.write_text(yaml.safe_dump(settings, sort_keys=False))

    @property
    def postfix(self) -> Postfix:
        """The MTA, where it is Postfix."""
        assert isinstance(self.mta, Postfix)
        return self.mta

    def __enter__(self) -> Stand:
        with ExitStack() as running:  # which ends in reverse what has begun, where the next does not begin
            running.enter_context(self._temporary)
            running.enter_context(self.dns)
            running.callback(self.stop_filter)
            self.start_filter()
            running.enter_context(self.mta)
            self._running = running.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    def start_filter(self) -> None:
        """Start `pratique run` and wait until it answers."""
        # Its log is for people, whatever started us.
        environment = {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}
        command: list[str | Path] = [CHECKOUT / ".venv/bin/pratique", "run", "--config", self.config]
        running = self._filter = Server(command, self.log, environment)
        try:
            if not running.comes_up(lambda: listens(self.socket), 10):
                raise TimeoutError
            wait_ready(f"unix:{self.socket}")
        except TimeoutError:
            self.stop_filter()
            raise RuntimeError(f"pratique did not start:\n{self.log.read_text(errors='replace')}") from None

    def stop_filter(self, kill: bool = False) -> None:
        """End `pratique run`, in order or by SIGKILL; the MTA finds nobody at the socket then."""
        if self._filter:
            self._filter.end(0 if kill else 5)
            self._filter = None

    def log_lines(self) -> list[str]:
        """The service's log so far. The line of a message is there before the client has its reply."""
        return self.log.read_text(errors="replace").splitlines()

    def log_line(self, queue_id: str | None) -> str | None:
        """The line about a message."""
        return next((line for line in self.log_lines() if line.startswith(f"{queue_id}: ")), None)


def _shipped_postfix(second_cleanup: bool) -> Postfix:
    smtpd, *services = shipped_master_cf() if second_cleanup else ["n - n - - smtpd"]
    # What holds while the filter is down must come from the shipped line, not from the site's default.
    main_cf = {"milter_default_action": "accept"} | shipped_main_cf()
    postfix = Postfix(main_cf=main_cf, master_cf=services, smtpd=smtpd)
    shutil.copy(SHIPPED / "postfix/header_checks.pratique", postfix.folder / "conf")
    return postfix


def listens(place: Path) -> bool:
    """Whether a server listens at a unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(place)) == 0


def shipped_main_cf() -> dict[str, str]:
    """The settings of config/postfix/main.cf.pratique."""
    pairs = (line.partition("=")[::2] for line in logical_lines("main.cf.pratique"))
    return {name.strip(): value.strip() for name, value in pairs}


def shipped_master_cf() -> list[str]:
    """The lines of config/postfix/master.cf.pratique: of the first one, port 25, what follows `smtp inet`."""
    first, *others = logical_lines("master.cf.pratique")
    return [first.removeprefix("smtp").strip().removeprefix("inet").strip(), *others]


def logical_lines(name: str) -> list[str]:
    """The lines of a file of config/postfix as Postfix reads them, postconf(5)."""
    text = re.sub(r"(?m)^[ \t]*(#.*)?\n", "", (SHIPPED / "postfix" / name).read_text())
    return re.sub(r"\n[ \t]+", " ", text).splitlines()
