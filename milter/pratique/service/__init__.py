"""The milter service: one parent, and several workers on one socket.

    parent      opens the sockets, forks, watches, replaces, reloads, talks to systemd; has no thread
    ├── worker  libmilter and the filter: as many as `workers` says, all accept from the same socket
    ├── loader  for a moment at reload: reads both files, so that no bad one can harm the parent
    └── metrics serves the figures of all workers, where `metrics` is on

Rules of this package: it knows processes, signals and libmilter's habits, and nothing of mail. The parent never
waits for anything but its selector. A child dies with the parent, whatever state it is in. Whatever ends in the
middle of a message ends its connection, and the MTA defers: nothing is ever accepted twice or half.
"""

from __future__ import annotations

from .control import ask, ask_status
from .errors import ServiceError
from .inforce import at_start
from .log import set_up_log
from .parent import run

__all__ = ["ServiceError", "ask", "ask_status", "at_start", "run", "set_up_log"]
