"""What systemd is told, sd_notify(3). Without systemd nobody listens, and nothing happens.

Rules of this module: the only one that imports sdnotify. It never waits.
"""

from __future__ import annotations

import os
import time

import sdnotify


class Notifier:
    """Tells systemd how the service is; STATUS only where it has changed."""

    def __init__(self) -> None:
        self._notifier = sdnotify.SystemdNotifier()
        if self._notifier.socket:
            self._notifier.socket.setblocking(False)
        self._status = ""

    @property
    def watchdog(self) -> float | None:
        """Seconds within which systemd wants a sign of life from this very process."""
        if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
            return None
        microseconds = os.environ.get("WATCHDOG_USEC", "")
        return int(microseconds) / 1e6 if microseconds.isdigit() and int(microseconds) else None

    def ready(self) -> None:
        self._notifier.notify("READY=1")

    def reloading(self) -> None:
        self._notifier.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, seconds: float) -> None:
        """We stop, and that may take so long."""
        self._notifier.notify(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def alive(self) -> None:
        self._notifier.notify("WATCHDOG=1")

    def status(self, text: str) -> None:
        if text != self._status:
            self._status = text
            self._notifier.notify(f"STATUS={text}")
