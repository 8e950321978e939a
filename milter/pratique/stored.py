"""A stored message, read the way an MTA hands it to a milter.

Rules of this module: what Postfix makes of odd input is done here too (blanks before the colon, a line that
is no field, NUL, bare CR), so that `explain` judges what the filter would see. The body is read in pieces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

_FIELD = re.compile(rb"([\x21-\x39\x3b-\x7e]+)[ \t]*:(.*)", re.DOTALL)
_PIECE = 65536
_LONGEST_LINE = 1 << 20  # octets; a longer one is taken for several


class MessageError(ValueError):
    """The input holds no message; the text says why."""


def read_header(source: BinaryIO) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The header fields, top first: name, and value with its leading blank and folds as CR LF. And the
    beginning of the body, where a line that is no field ended the header. Raises MessageError.

    A leading mbox `From ` line is passed over.
    """
    fields: list[tuple[bytes, list[bytes]]] = []
    beginning, empty = b"", True
    while line := source.readline(_LONGEST_LINE):
        first, empty = empty, False
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        if not line:
            break
        if fields and line[:1] in b" \t":
            fields[-1][1].append(line)
        elif match := _FIELD.match(line):
            fields.append((match[1], [match[2]]))
        elif not (first and line.startswith((b"From ", b">From "))):
            beginning = line + b"\r\n"
            break
    if not fields:
        raise MessageError("it is empty" if empty else "it has no header")
    return [(name, b"\r\n".join(lines)) for name, lines in fields], beginning


def read_body(source: BinaryIO, beginning: bytes) -> Iterator[bytes]:
    """The body in pieces, its line ends as CR LF."""
    if beginning:
        yield beginning
    held = b""
    while piece := source.read(_PIECE):
        piece = (held + piece).replace(b"\r\n", b"\n")
        held = b"\r" if piece.endswith(b"\r") else b""
        yield piece.removesuffix(held).replace(b"\n", b"\r\n")
    if held:
        yield held
