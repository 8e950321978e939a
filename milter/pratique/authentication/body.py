"""Body hashes of DKIM, computed as the body arrives, in constant memory (RFC 6376 §3.4.3, §3.4.4, §3.7).

dkimpy wants the whole body and runs regular expressions over it, some of them quadratic. Here each piece
is canonicalised by bytes.replace and hashed at once; what may still be dropped (a run of empty lines, blanks
before a line end) is remembered as a count. The result is dkimpy's for any body and any cutting into pieces.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

_EMPTY_LINES = b"\r\n" * 4096
_BLANK_AT_END = re.compile(rb"\r(?<= \r)\n")  # looks at line ends, of which there are fewer than blanks


class BodyHash:
    """The hash of a body under one canonicalisation, `simple` or `relaxed`."""

    def __init__(self, canonicalization: str, algorithm: str = "sha256"):
        self._relaxed = canonicalization == "relaxed"
        self._hash = hashlib.new(algorithm)
        self._held = b""  # a CR, or blanks, of which the next piece says whether a line ends there
        self._line_ends = 0  # at the end of what was seen: hashed only if more text follows
        self._empty = True

    def update(self, piece: bytes) -> None:
        """Take the next piece of the body, cut anywhere; its lines end in CR LF."""
        data = self._held + piece
        kept = data.removesuffix(b"\r")
        if self._relaxed:
            kept = kept.rstrip(b" \t")
        self._held = data[len(kept) :]
        if self._relaxed:
            kept = _compress(kept)
            self._held = _compress(self._held)
        self._absorb(kept)

    def _absorb(self, text: bytes) -> None:
        bare = text.rstrip(b"\r\n")
        # the line ends at the very end of the text: CR LF pairs are marked, then the last marks are counted
        marked = text[len(bare) :].replace(b"\r\n", b"L")
        ends = len(marked) - len(marked.rstrip(b"L"))
        content = text[: len(text) - 2 * ends]
        if content:
            self._flush()
            self._hash.update(content)
            self._empty = False
        self._line_ends += ends

    def _flush(self) -> None:
        whole, rest = divmod(self._line_ends, 4096)
        for _ in range(whole):
            self._hash.update(_EMPTY_LINES)
        self._hash.update(_EMPTY_LINES[: 2 * rest])
        self._line_ends = 0

    def digest(self) -> bytes:
        """The hash of all that was given. Call it once, at the end of the body."""
        self._absorb(self._held)
        if not (self._empty and self._relaxed):
            self._hash.update(b"\r\n")
        return self._hash.digest()


def _compress(text: bytes) -> bytes:
    """Runs of blanks as one blank, none before a line end. Each turn of the loop halves the longest run."""
    text = text.replace(b"\t", b" ")
    if b" " not in text:  # base64, as most of a large message is: one letter is found thirty times faster than two
        return text
    while text.rfind(b"  ") >= 0:  # from the end, where CPython needs half the time of `in`
        text = text.replace(b"  ", b" ")
    return text.replace(b" \r\n", b"\r\n") if _BLANK_AT_END.search(text) else text


class BodyHashes:
    """The hashes that a message's signatures need: one for each (canonicalisation, hash algorithm)."""

    def __init__(self, kinds: Iterable[tuple[str, str]]):
        self._hashes = {kind: BodyHash(*kind) for kind in kinds}

    @property
    def wanted(self) -> bool:
        return bool(self._hashes)

    def update(self, piece: bytes) -> None:
        for body_hash in self._hashes.values():
            body_hash.update(piece)

    def digests(self) -> dict[tuple[str, str], bytes]:
        return {kind: body_hash.digest() for kind, body_hash in self._hashes.items()}
