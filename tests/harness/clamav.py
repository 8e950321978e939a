"""A private ClamAV for tests: clamd with one signature, that of the EICAR test file, and clamav-milter before it.

The signature is our own: no test fetches a database of 300 MB.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import TracebackType

from harness.ports import Server, as_nobody, free_port, listens_on, unpacked

# The test file is harmless; in two pieces, so that no scanner finds it here.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR" + rb"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"

_CLAMD = """\
Foreground yes
LogFile {folder}/clamd.log
LocalSocket {socket}
LocalSocketMode 666
TCPSocket {port}
TCPAddr 127.0.0.1
DatabaseDirectory {folder}/db
TemporaryDirectory {folder}
User nobody
"""

_MILTER = """\
Foreground yes
LogFile {folder}/milter.log
MilterSocket inet:{port}@127.0.0.1
ClamdSocket unix:{socket}
OnInfected Reject
OnFail Defer
AddHeader No
User nobody
"""


class ClamAv:
    """clamd, and clamav-milter where `milter`, while the context is open. `socket` and `port` are clamd's, `address` is
    where Postfix finds the milter."""

    def __init__(self, milter: bool = False) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="pratique-clamav-")
        folder = self._folder = Path(self._temporary.name)
        self._milter_port = free_port() if milter else None
        self.port = free_port()
        self.socket = folder / "clamd.sock"
        self.address = f"inet:127.0.0.1:{self._milter_port}"
        (folder / "db").mkdir()
        (folder / "db/eicar.ndb").write_text(f"Eicar-Test-Signature:0:*:{EICAR.hex()}\n")
        values = {"folder": folder, "socket": self.socket}
        (folder / "clamd.conf").write_text(_CLAMD.format(port=self.port, **values))
        (folder / "milter.conf").write_text(_MILTER.format(port=self._milter_port, **values))
        for place in (folder, *folder.rglob("*")):
            shutil.chown(place, "nobody", "nogroup")
        self._servers: list[Server] = []

    def __enter__(self) -> ClamAv:
        self._start(unpacked("clamav-daemon", "usr/sbin/clamd"), "clamd.conf", self.port)
        if self._milter_port:
            self._start(unpacked("clamav-milter", "usr/sbin/clamav-milter"), "milter.conf", self._milter_port)
        return self

    def _start(self, program: Path, config: str, port: int) -> None:
        command = as_nobody([program, f"--config-file={self._folder / config}"])
        server = Server(command, self._folder / "output")
        self._servers.append(server)
        if not server.comes_up(lambda: listens_on(port), 30):
            log = "".join(place.read_text(errors="replace") for place in self._folder.glob("*.log"))
            log += (self._folder / "output").read_text(errors="replace")
            self.__exit__(None, None, None)
            raise RuntimeError(f"{program.name} did not start:\n{log}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in reversed(self._servers):
            server.end(patience=0.5)
        self._temporary.cleanup()
