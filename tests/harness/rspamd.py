"""A private rspamd for tests, from the package that tests/setup unpacked: Debian's own configuration, and ours.

It runs as nobody, listens on 127.0.0.1 only, and asks the DNS server of the test. `address` is where Postfix finds
it as a milter. `files` are laid over /etc/rspamd: path to text.

    with Rspamd(dns, {"rspamd.conf.local": "..."}) as rspamd:
        print(rspamd.check(message, client="192.0.2.7", mail_from="a@b.example")["symbols"])
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.dns_server import DnsServer
from harness.ports import Server, as_nobody, free_port, listens_on, unpacked

_SHARED = {"SHAREDIR": "", "RULESDIR": "rules", "PLUGINSDIR": "plugins", "LUALIBDIR": "lualib", "WWWDIR": "www"}


class Rspamd:
    """Runs while the context is open."""

    def __init__(self, dns: DnsServer, files: Mapping[str, str]) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="pratique-rspamd-")
        self.folder = Path(self._temporary.name)
        self.etc = self.folder / "etc"
        self._port, milter = free_port(), free_port()
        self.address = f"inet:127.0.0.1:{milter}"
        shutil.copytree(unpacked("rspamd", "etc/rspamd"), self.etc)
        for name in ("run", "db", "log"):
            (self.folder / name).mkdir()
        ours = {
            # Debian's list of 9,609 suffixes takes seven seconds to compile at each start.
            "override.d/options.inc": f'dns {{ nameserver = ["{dns.address}"]; }}\nurl_tld = "{self.etc}/suffixes";\n',
            "suffixes": "com\nexample\nfr\norg\n",
            "override.d/worker-normal.inc": f'bind_socket = "127.0.0.1:{self._port}";\ncount = 1;\n',
            "override.d/worker-proxy.inc": f'bind_socket = "127.0.0.1:{milter}";\n',
            "local.d/worker-proxy.inc": 'upstream "local" { self_scan = yes; }\n',
            "override.d/worker-controller.inc": "enabled = false;\n",
            "override.d/logging.inc": 'type = "console";\nlevel = "info";\n',
            "override.d/fuzzy_check.conf": "enabled = false;\n",  # its servers are elsewhere
        }
        for name, text in {**ours, **files}.items():
            place = self.etc / name
            place.parent.mkdir(exist_ok=True)
            place.write_text(text)
        for place in (self.folder, *self.folder.rglob("*")):
            shutil.chown(place, "nobody", "nogroup")

    def __enter__(self) -> Rspamd:
        command: list[str | Path] = [unpacked("rspamd", "usr/bin/rspamd"), "-f"]
        command += ["-c", self.etc / "rspamd.conf", *self._variables()]
        self._server = Server(as_nobody(command), self.folder / "log/rspamd", self._environment())
        ports = (self._port, int(self.address.rpartition(":")[2]))
        if not self._server.comes_up(lambda: all(map(listens_on, ports)), 20):
            log = self.log()
            self.__exit__(None, None, None)
            raise RuntimeError(f"rspamd did not start:\n{log}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.end(patience=0.5)
        self._temporary.cleanup()

    def _variables(self) -> list[str]:
        share = unpacked("rspamd", "usr/share/rspamd")
        places = {name: share / below for name, below in _SHARED.items()}
        places |= {"CONFDIR": self.etc, "LOCAL_CONFDIR": self.etc}
        places |= {f"{name.upper()}DIR": self.folder / name for name in ("run", "db", "log")}
        return [f"--var={name}={place}" for name, place in places.items()]

    def _environment(self) -> dict[str, str]:
        share = unpacked("rspamd", "usr/share/rspamd")
        return {
            "PATH": os.environ["PATH"],
            "LD_LIBRARY_PATH": str(unpacked("rspamd", "usr/lib/rspamd")),
            **{name: str(share / below) for name, below in _SHARED.items()},
        }

    def log(self) -> str:
        """What it has logged so far."""
        return (self.folder / "log/rspamd").read_text(errors="replace")

    def config_test(self) -> str:
        """What `rspamadm configtest` says of the whole configuration."""
        command: list[str | Path] = [unpacked("rspamd", "usr/bin/rspamadm"), *self._variables()]
        command += ["configtest", "-c", self.etc / "rspamd.conf"]
        done = subprocess.run(command, env=self._environment(), capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr

    def check(self, message: bytes, client: str, mail_from: str, helo: str = "mail.example") -> dict[str, Any]:
        """Its judgement on a message: `action`, `score`, `symbols`."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        headers = {"IP": client, "From": mail_from, "Helo": helo, "Rcpt": "marches@commune.example"}
        connection.request("POST", "/checkv2", message, headers)
        found: dict[str, Any] = json.loads(connection.getresponse().read())
        connection.close()
        return found
