"""A stored message, read the way an MTA hands it to a milter.

Rules of this module: what Postfix makes of odd input is done here too, so that `explain` judges what the filter
would see. A line ends at LF or CR LF; any other CR is a blank. A header line is cut at NUL, a field where it is
too long. A line that is no field ends the header. The body is read in pieces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

_FIELD = re.compile(rb"([\x21-\x39\x3b-\x7e]+)[ \t]*:(.*)", re.DOTALL)
_MBOX_LINE = re.compile(rb">*From (?![ \t]*:)")  # `From : x` is a field, for us: Postfix alone passes over it too
_DROPPED = (b"bcc", b"content-length", b"resent-bcc", b"return-path")  # message_drop_headers, postconf(5)
_LONGEST_FIELD = 60_000  # octets, a fold being one; Postfix cuts the rest off before it asks a milter
_PIECE = 65536
_LONGEST_LINE = 1 << 20  # octets; a longer one is taken for several


class MessageError(ValueError):
    """The input holds no message; the text says why."""


def read_header(source: BinaryIO) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The header fields, top first: name, and value with its leading blank and folds as CR LF. And the
    beginning of the body, where a line that is no field ended the header. Raises MessageError.

    Leading mbox `From ` lines are passed over.
    """
    fields: list[tuple[bytes, list[bytes]]] = []
    beginning, empty = b"", True
    while line := source.readline(_LONGEST_LINE):
        empty = False
        line = _line(line.removesuffix(b"\n"))
        text = line.partition(b"\0")[0]
        if not line:
            break
        if fields and text[:1] in (b" ", b"\t"):
            fields[-1][1].append(text)
        elif not fields and _MBOX_LINE.match(line):
            continue
        elif match := _FIELD.match(text):
            fields.append((match[1], [match[2]]))
        else:
            beginning = line + b"\r\n"
            break
    if not fields:
        raise MessageError("it is empty" if empty else "it has no header")
    return [(name, _value(name, lines)) for name, lines in fields if name.lower() not in _DROPPED], beginning


def read_body(source: BinaryIO, beginning: bytes) -> Iterator[bytes]:
    """The body in pieces, its line ends as CR LF."""
    if beginning:
        yield beginning
    ended, held = True, b""
    while piece := source.read(_PIECE):
        lines = (held + piece).split(b"\n")
        ended = not lines[-1]
        held = b"\r" if lines[-1].endswith(b"\r") else b""  # LF may follow
        yield b"\r\n".join(map(_line, lines))
    if not ended:
        yield b"\r\n"


def _value(name: bytes, lines: list[bytes]) -> bytes:
    return b"\n".join(lines)[: _LONGEST_FIELD - len(name) - 1].replace(b"\n", b"\r\n")


def _line(text: bytes) -> bytes:
    """A line without its LF."""
    return text.removesuffix(b"\r").replace(b"\r", b" ")
