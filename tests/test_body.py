"""The streamed body hash is dkimpy's, for any body and any cutting (RFC 6376 §3.4)."""

from __future__ import annotations

import hashlib
import itertools

import dkim.canonicalization
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique.authentication.body import BodyHash

ALGORITHMS = {"simple": dkim.canonicalization.Simple, "relaxed": dkim.canonicalization.Relaxed}
# What matters to canonicalisation, and some text: bare CR and LF among it.
PIECES = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b" ", b"\t", b"a", b"text ", b"\r\n\r\n", b" \r\n"]), max_size=40
)


def streamed(canonicalization: str, pieces: list[bytes]) -> bytes:
    body = BodyHash(canonicalization)
    for piece in pieces:
        body.update(piece)
    return body.digest()


def by_dkimpy(canonicalization: str, body: bytes) -> bytes:
    return hashlib.sha256(ALGORITHMS[canonicalization].canonicalize_body(body)).digest()


@pytest.mark.parametrize("canonicalization", ALGORITHMS)
@given(pieces=PIECES)
def test_any_cutting(canonicalization: str, pieces: list[bytes]) -> None:
    assert streamed(canonicalization, pieces) == by_dkimpy(canonicalization, b"".join(pieces))


@pytest.mark.parametrize("canonicalization", ALGORITHMS)
@given(body=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=5))
def test_any_octets(canonicalization: str, body: bytes, cuts: list[int]) -> None:
    ends = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[a:b] for a, b in itertools.pairwise(ends)]
    assert streamed(canonicalization, pieces) == by_dkimpy(canonicalization, body)


@pytest.mark.parametrize("canonicalization", ALGORITHMS)
@pytest.mark.parametrize("body", [b"\r\n" * 20_000 + b"x", b"x" + b"\r\n" * 20_000, b"a\r\n" + b" " * 5000 + b"\r\n"])
def test_long_runs(canonicalization: str, body: bytes) -> None:
    pieces = [body[i : i + 4097] for i in range(0, len(body), 4097)]
    assert streamed(canonicalization, pieces) == by_dkimpy(canonicalization, body)
