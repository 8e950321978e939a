"""The log as a handler: what becomes of lines that are too long, or find no room."""

from __future__ import annotations

import json
import logging
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from pratique.service import log as module


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_a_long_record_becomes_pieces_that_can_be_written_in_one_go(form: str) -> None:
    formatter = module._Lines(form == "json", with_level=True)
    record = logging.makeLogRecord({"msg": "first" + "\xe9" * 9000, "levelno": 40, "levelname": "ERROR"})
    try:
        raise ValueError("short\n" * 2000 + "last")
    except ValueError:
        record.exc_info = sys.exc_info()
    pieces = list(module._pieces(formatter.format(record)))
    assert all(len(piece) <= select.PIPE_BUF and piece.endswith(b"\n") for piece in pieces)
    text = b"".join(pieces).decode()
    assert text.startswith("<3>")
    if form == "json":
        message = json.loads(text.removeprefix("<3>"))["message"]
        assert (message[:5], message[-4:]) == ("first", "last")
    else:
        assert [line for line in text.splitlines() if not line.startswith("<3>")] == []
        assert text.count("short\n") == 2000
        assert text.endswith("last\n")
        assert text.count(" [cut]\n") == 1


LOGGING = """
import logging, sys
from pratique.model import Settings, TrustedList
from pratique.service.log import log, set_up_log
set_up_log(Settings(TrustedList()))
for number in range(int(sys.argv[1])):
    log.warning("line %d %s", number, "x" * 1000)
print("written", flush=True)
sys.stdin.readline()
log.warning("the last line")
"""


def test_lost_lines_are_counted_and_the_count_is_written_when_there_is_room(tmp_path: Path) -> None:
    many = 200  # of 1 kB; a pipe holds 64
    (tmp_path / "logging.txt").write_text(LOGGING)
    reading, writing = os.pipe()
    command: list[str | Path] = [sys.executable, tmp_path / "logging.txt", str(many)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=writing) as process:
        assert process.stdin
        os.close(writing)
        assert process.stdout
        assert process.stdout.readline() == b"written\n"
        first = os.read(reading, 1 << 20)
        process.stdin.write(b"\n")
        process.stdin.close()
        rest = b""
        while piece := os.read(reading, 1 << 16):
            rest += piece
    os.close(reading)
    written = first.splitlines()
    assert written == [f"line {number} {'x' * 1000}".encode() for number in range(len(written))]
    lost = many - len(written)
    assert lost > 100
    notice = f"{lost} log lines were lost: nobody read them, or there was no room"
    assert rest.decode().splitlines() == [notice, "the last line"]
