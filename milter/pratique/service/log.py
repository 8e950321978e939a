"""The log: whole lines to standard error, whatever becomes of it.

Rules of this module: it never raises and never waits for long. A log that cannot be written stops no mail.
"""

from __future__ import annotations

import json
import logging
import os
import select

from pratique.model import Settings, printable

log = logging.getLogger("pratique")

_SYSLOG = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}
_STDERR = 2
_PATIENCE = 1000  # milliseconds for a reader of the log that has stopped reading


def set_up_log(settings: Settings) -> None:
    """Log to standard error. Under systemd every line carries its level (sd-daemon(3))."""
    handler = _WholeLines()
    handler.setFormatter(_Lines(settings.log_format == "json", "JOURNAL_STREAM" in os.environ))
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(settings.log_level.upper())
    logging.raiseExceptions = False  # not even a complaint about the log
    # each costs something, and nobody sees them: thread, process, and the place in the source
    logging.logThreads = logging.logProcesses = False
    logging._srcfile = None  # as "Optimization" in the logging HOWTO has it


class _WholeLines(logging.Handler):
    """One write(2) a record, so that the lines of several processes never mix. What cannot be written is lost."""

    def __init__(self) -> None:
        super().__init__()
        self._patience = _PATIENCE
        self._ready = select.poll()
        self._ready.register(_STDERR, select.POLLOUT)
        self._cut = False  # the last line did not fit on the disk: its end is missing

    def emit(self, record: logging.LogRecord) -> None:
        try:
            data = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
            self._write(b"\n" + data if self._cut else data)
        except OSError:
            pass
        except Exception:
            self.handleError(record)

    def _write(self, data: bytes) -> None:
        if not self._ready.poll(self._patience):
            self._patience = 0  # nobody reads: do not make the next message wait as well
            return
        self._patience = _PATIENCE
        written = os.write(_STDERR, data)
        self._cut = written < len(data)


class _Lines(logging.Formatter):
    """One line a record; a traceback follows on lines that nothing else in the log looks like."""

    def __init__(self, as_json: bool, with_level: bool):
        super().__init__()
        self._as_json = as_json
        self._with_level = with_level

    def format(self, record: logging.LogRecord) -> str:
        lines = [record.getMessage()]
        if record.exc_info:
            lines += [f"  | {line}" for line in self.formatException(record.exc_info).splitlines()]
        lines = [printable(line) for line in lines]
        if self._as_json and not lines[0].startswith("{"):
            lines = [json.dumps({"level": record.levelname.lower(), "message": "\n".join(lines)})]
        prefix = f"<{_SYSLOG.get(record.levelno, 6)}>" if self._with_level else ""
        return "\n".join(prefix + line for line in lines)
