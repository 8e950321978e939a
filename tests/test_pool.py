"""The worker's connection to its own libmilter, by which it requests threads."""

from __future__ import annotations

import socket

from pratique.service.pool import Pool


def test_a_connection_that_libmilter_has_closed_is_an_unanswered_request() -> None:
    """As when the clock is set ahead: libmilter's time-outs go by the time of day."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"answer")
        pool = Pool(ours)
        assert pool.request()
        theirs.close()
        assert [pool.request() for _ in range(3)] == [False] * 3
