"""A real `pratique run`, started as a process, with its log in a file."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.milter_client import wait_ready
from harness.ports import Server, wait_until

PROGRAM = Path(sys.executable).with_name("pratique")


class Service:
    """Serves with a configuration file until the context is left. `program` stands in for `pratique`."""

    def __init__(
        self, config: Path, address: str, program: Sequence[str | Path] = (PROGRAM,), *, log: Path | None = None,
        **environment: str,
    ) -> None:  # fmt: skip
        self.address = address
        self._config = config
        self._program = program
        self._environment = dict(os.environ) | environment
        self._log = log or config.with_suffix(".log")

    def __enter__(self) -> Service:
        self._server = Server([*self._program, "run", "--config", self._config], self._log, env=self._environment)
        try:
            wait_ready(self.address)
        except OSError:
            self.stop()
            raise RuntimeError(f"pratique run did not start:\n{self.log()}") from None
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._server.pid

    def running(self) -> bool:
        return self._server.running()

    def children(self) -> list[int]:
        """All processes that it has forked and not buried: workers, and where metrics are on who serves them."""
        try:
            return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        except FileNotFoundError:
            return []

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def reload(self, *options: str) -> subprocess.CompletedProcess[str]:
        """`pratique reload` with the same configuration file."""
        command: list[str | Path] = [PROGRAM, "reload", "--config", self._config, *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=self._environment)

    def wait(self, timeout: float) -> int:
        return self._server.wait(timeout)

    def stop(self) -> None:
        """End it at once, with all its workers: there is nothing to save."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._server.end()

    def log(self) -> str:
        """All that it wrote to standard error."""
        return self._log.read_text()

    def log_lines(self, queue_id: str) -> list[str]:
        """The lines on one message, waited for."""
        start = f"{queue_id}: "
        wait_until(lambda: any(line.startswith(start) for line in self.log().splitlines()), 5)
        return [line for line in self.log().splitlines() if line.startswith(start)]
