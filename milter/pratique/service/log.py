"""The log: whole lines to standard error, whatever becomes of it.

Rules of this module: it never raises, and waits half a second at most for a reader that is slow, once. A line is
written whole or not at all, by one write(2) of at most PIPE_BUF octets: so the lines of several processes never mix in
a pipe. Lines that were lost are counted, and the count is written as soon as there is room.
"""

from __future__ import annotations

import json
import logging
import os
import select
import socket
import stat
from collections.abc import Iterator

from pratique.model import Settings, printable

log = logging.getLogger("pratique")

_SYSLOG = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}
_STDERR = 2
_PATIENCE = 500  # milliseconds for a reader of the log that has stopped reading
_LONGEST = select.PIPE_BUF  # octets of a write
_CUT = " [cut]"
_ENDS = 1500  # characters that are kept of both ends of a text that is too long for JSON


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
    """Writes records without blocking. What cannot be written is lost, and counted."""

    def __init__(self) -> None:
        super().__init__()
        self._patience = _PATIENCE
        self._ready = select.poll()
        self._ready.register(_STDERR, select.POLLOUT)
        self._cut = False  # the last line did not fit on the disk: its end is missing
        self._lost = 0
        self._write = _write_to_socket if _unblock(_STDERR) else _write

    def emit(self, record: logging.LogRecord) -> None:
        try:
            for piece in _pieces(self.format(record)):
                if not self._put(piece):
                    self._lost += piece.count(b"\n")
        except Exception:
            self.handleError(record)

    def _put(self, piece: bytes) -> bool:
        """Write lines, together with the count of those that were lost before; whether that worked."""
        notice = self._notice() if self._lost else b""
        if len(notice) + len(piece) > _LONGEST:
            if not self._written(notice):
                return False
            self._lost, notice = 0, b""
        if not self._written(notice + piece):
            return False
        self._lost = 0
        return True

    def _notice(self) -> bytes:
        text = f"{self._lost} log lines were lost: nobody read them, or there was no room"
        facts = {"msg": text, "levelno": logging.WARNING, "levelname": "WARNING"}
        return next(_pieces(self.format(logging.makeLogRecord(facts))))

    def _written(self, data: bytes) -> bool:
        """Whether all was written."""
        if self._cut:
            data = b"\n" + data
        try:
            written = self._write(data)
        except BlockingIOError:
            written = self._written_later(data)
        except OSError:
            return False
        if written:
            self._cut = written < len(data)
        return written == len(data)

    def _written_later(self, data: bytes) -> int:
        """Wait for the reader, but not again before something was written."""
        try:
            if self._ready.poll(self._patience):
                written = self._write(data)
                self._patience = _PATIENCE
                return written
        except OSError:
            pass
        self._patience = 0
        return 0


def _unblock(descriptor: int) -> bool:
    """Have writes to a descriptor return at once where they would wait; whether it is a socket, which needs a flag.

    The open file is shared with other programs, which may rely on waiting: so it is opened again for us alone. A pipe
    that belongs to another user cannot be. Then it is set for all who share it: the supervisor that made it for us.
    """
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:  # it is closed
        return False
    if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        return stat.S_ISSOCK(mode)
    try:
        own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        if stat.S_ISFIFO(mode):
            os.set_blocking(descriptor, False)
    else:
        os.dup2(own, descriptor)
        os.close(own)
    return False


def _write(data: bytes) -> int:
    return os.write(_STDERR, data)


def _write_to_socket(data: bytes) -> int:
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, _STDERR)
    try:
        return opened.send(data, socket.MSG_DONTWAIT)
    finally:
        opened.detach()


def _pieces(text: str) -> Iterator[bytes]:
    """Whole lines, so many at a time as may be written in one go. A line that is too long by itself is cut."""
    piece = b""
    for line in text.split("\n"):
        data = line.encode("utf-8", "backslashreplace")
        if len(data) >= _LONGEST:
            data = data[: _LONGEST - 1 - len(_CUT)].decode("utf-8", "ignore").encode() + _CUT.encode()
        if len(piece) + len(data) >= _LONGEST:
            yield piece
            piece = b""
        piece += data + b"\n"
    yield piece


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
            lines = [_json(record.levelname.lower(), "\n".join(lines))]
        prefix = f"<{_SYSLOG.get(record.levelno, 6)}>" if self._with_level else ""
        return "\n".join(prefix + line for line in lines)


def _json(level: str, message: str) -> str:
    """A JSON object on one line that can be written in one go: without the middle of a text that is too long."""
    kept = _ENDS
    line = json.dumps({"level": level, "message": message})
    while len(line) > _LONGEST - len("<3>\n"):
        line = json.dumps({"level": level, "message": f"{message[:kept]} […] {message[-kept:]}"})
        kept = kept * 2 // 3
    return line
